"""A loaded organization is shown exactly as it was read."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from reconciler.emulator import Emulator

PROJECT_KEY = "sk-of-the-copy-of-the-project"
STORE = {
    "id": "vs_0", "object": "vector_store", "created_at": 1758064068, "name": None, "description": None,
    "usage_bytes": 512, "file_counts": {"in_progress": 0, "completed": 3, "failed": 0, "cancelled": 0, "total": 3},
    "status": "completed", "expires_after": None, "expires_at": None, "last_active_at": 1758064068, "metadata": {},
}  # fmt: skip
JOB = {
    "object": "fine_tuning.job", "model": "gpt-4o-mini-2024-07-18", "created_at": 1758064068, "finished_at": None,
    "fine_tuned_model": None, "status": "cancelled", "trained_tokens": None, "training_file": "file-gone",
    "error": {"code": None, "param": None, "message": None}, "estimated_finish": None, "result_files": [],
}  # fmt: skip


def call(emulator: Emulator, method: str, path: str, **body: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {PROJECT_KEY}"}
    url = f"{emulator.base_url}{path}"
    return httpx.request(method, url, headers=headers, json=body or None)


def loaded(emulator: Emulator, **answers: Any) -> dict[str, Any]:
    return emulator.load({"keys": [{"value": PROJECT_KEY, "project": "proj_1"}], **answers})


def test_a_list_of_many_pages_keeps_every_item_and_the_order(emulator: Emulator) -> None:
    jobs = [{**JOB, "id": f"ftjob-{number:03}"} for number in range(45)]
    path = "/fine_tuning/jobs"
    report = loaded(emulator, lists=[{"path": path, "project": "proj_1", "items": jobs}])
    assert report["missing"] == []
    shown = call(emulator, "GET", f"{path}?limit=100").json()["data"]
    assert shown == jobs


def test_what_the_emulator_computes_otherwise_stays_until_it_changes(emulator: Emulator) -> None:
    loaded(emulator, lists=[{"path": "/vector_stores", "project": "proj_1", "items": [STORE]}])
    assert call(emulator, "GET", "/vector_stores/vs_0").json() == STORE
    renamed = call(emulator, "POST", "/vector_stores/vs_0", name="Handbook").json()
    assert (renamed["name"], renamed["file_counts"]) == ("Handbook", STORE["file_counts"])
    assert renamed["last_active_at"] > STORE["last_active_at"]


def test_a_refused_path_is_refused_with_all_below_it(emulator: Emulator) -> None:
    body = {"error": {"message": "No.", "type": "invalid_request_error"}}
    refusal = {"path": "/vector_stores", "project": "proj_1", "status": 403, "body": body}
    loaded(emulator, refusals=[refusal])
    answers = [call(emulator, "GET", f"/vector_stores{tail}") for tail in ("", "/vs_0")]
    assert [(one.status_code, one.json()) for one in answers] == [(403, body), (403, body)]


def test_what_was_read_below_a_refused_path_is_shown(emulator: Emulator) -> None:
    body = {"error": {"message": "No.", "type": "invalid_request_error"}}
    refusal = {"path": "/vector_stores", "project": "proj_1", "status": 403, "body": body}
    store = {"path": "/vector_stores/vs_0", "project": "proj_1", "body": STORE}
    loaded(emulator, objects=[store], refusals=[refusal])
    assert call(emulator, "GET", "/vector_stores").status_code == 403
    assert call(emulator, "GET", "/vector_stores/vs_0").json() == STORE


def test_an_absent_object_can_be_created_in_the_copy(emulator: Emulator) -> None:
    missing = {"path": "/vector_stores/vs_0", "project": "proj_1", "status": 404, "body": {}}
    loaded(emulator, refusals=[missing])
    made = call(emulator, "POST", "/vector_stores", name="New").json()
    assert call(emulator, "GET", f"/vector_stores/{made['id']}").json()["name"] == "New"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"lists": [{"path": "/files"}]}, "items"),
        ({"objekts": []}, "unknown 'objekts'"),
        ([], "send a JSON object"),
    ],
)
def test_a_body_that_cannot_be_loaded_is_refused(
    emulator: Emulator, body: Any, sentence: str
) -> None:
    url = emulator.base_url.replace("/v1", "/_emulator/load")
    answer = httpx.post(url, json=body)
    assert answer.status_code == 400
    assert sentence in answer.json()["error"]["message"]


def test_fields_that_the_emulator_would_show_otherwise_are_named(emulator: Emulator) -> None:
    store = {"id": "vs_1", "object": "vector_store", "name": "A", "created_at": 1, "novel": True}
    lists = [{"path": "/vector_stores", "project": "proj_1", "items": [store]}]
    report = loaded(emulator, lists=lists)
    assert "novel" in report["copied"]["/vector_stores"]


def test_a_path_that_the_emulator_does_not_have_is_named(emulator: Emulator) -> None:
    report = emulator.load({"lists": [{"path": "/organization/novelties", "items": [{"id": "n"}]}]})
    assert report["unknown"] == ["/organization/novelties"]
