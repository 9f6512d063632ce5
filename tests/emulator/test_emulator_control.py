"""The control routes, and the record of requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from reconciler.emulator import Emulator


@pytest.fixture
def control(emulator: Emulator) -> Iterator[httpx.Client]:
    """The control routes; they need no key."""
    with httpx.Client(
        base_url=emulator.base_url.removesuffix("/v1") + "/_emulator", verify=False
    ) as opened:
        yield opened


def test_requests_are_recorded_with_what_was_sent_and_answered(
    emulator: Emulator, http: httpx.Client
) -> None:
    made = http.post("/vector_stores", json={"name": "Handbook"}).json()
    http.get("/vector_stores", params={"limit": 5, "order": "asc"})
    first, second = emulator.requests
    assert (first.method, first.path, first.status, first.key_class) == (
        "POST",
        "/vector_stores",
        200,
        "project",
    )
    assert (first.request_body, first.response_body) == ({"name": "Handbook"}, made)
    assert (second.query, second.request_body) == ({"limit": "5", "order": "asc"}, None)


@pytest.mark.parametrize(
    ("key", "expected"), [("sk-admin-emulator", "admin"), ("sk-wrong", "unknown"), (None, "none")]
)
def test_the_record_tells_the_class_of_the_key(
    emulator: Emulator, connect: Callable[..., httpx.Client], key: str | None, expected: str
) -> None:
    connect(emulator, key).get("/organization/projects")
    assert emulator.requests[0].key_class == expected


def test_the_record_is_cleared(emulator: Emulator, http: httpx.Client) -> None:
    http.get("/models")
    emulator.clear_requests()
    assert emulator.requests == []


def test_requests_are_read_and_cleared_over_http(control: httpx.Client, http: httpx.Client) -> None:
    http.get("/models/gpt-4.1")
    [record] = control.get("/requests").json()["requests"]
    control.delete("/requests")
    assert (record["path"], record["response_body"]["id"]) == ("/models/gpt-4.1", "gpt-4.1")
    assert control.get("/requests").json() == {"requests": []}


def test_the_record_tells_when_each_request_came(
    control: httpx.Client, emulator: Emulator, http: httpx.Client, clock: Any
) -> None:
    http.get("/models")
    clock.advance(7)
    http.get("/models")
    first, second = control.get("/requests").json()["requests"]
    assert (first["at"], second["at"]) == (clock() - 7, clock())
    assert emulator.requests[1].at == second["at"]


def test_a_reset_returns_to_the_beginning(
    control: httpx.Client, emulator: Emulator, http: httpx.Client
) -> None:
    before = emulator.store.counts()
    http.post("/vector_stores", json={})
    emulator.add_fault("on=GET:/nothing,do=reset")
    assert control.post("/reset").status_code == 200
    assert (emulator.store.counts(), emulator.requests, emulator.state.faults.armed()) == (
        before,
        [],
        (),
    )
    assert http.get("/models").status_code == 200


def test_a_seed_makes_many_objects(
    control: httpx.Client, emulator: Emulator, http: httpx.Client
) -> None:
    counts = {
        "projects": 2,
        "service_accounts_per_project": 3,
        "users_per_project": 7,
        "assistants": 4,
        "vector_stores": 2,
        "files_per_store": 5,
    }
    created = control.post("/seed", json=counts).json()["created"]
    found = emulator.store.counts()
    assert [len(created[name]) for name in ("projects", "assistants", "vector_stores")] == [2, 4, 2]
    assert (found["service_account"], found["vector_store_file"], found["file"]) == (6, 10, 10)
    assert len(emulator.store.collection("project_user", created["projects"][0])) == 7
    assert {store["status"] for store in http.get("/vector_stores").json()["data"]} == {"completed"}


def test_seeded_objects_look_like_those_made_by_request(
    emulator: Emulator, http: httpx.Client
) -> None:
    emulator.seed(assistants=1)
    [seeded] = http.get("/assistants").json()["data"]
    made = http.post("/assistants", json={"model": "gpt-4.1"}).json()
    assert list(seeded) == list(made)
    assert (seeded["temperature"], seeded["response_format"]) == (1.0, "auto")


def test_options_are_changed_over_http(control: httpx.Client, emulator: Emulator) -> None:
    answer = control.post("/options", json={"index_delay_ms": 5, "retire_assistants": True}).json()
    assert answer["options"]["index_delay_ms"] == 5
    assert emulator.options.retire_assistants is True


def test_faults_are_armed_and_cleared_over_http(control: httpx.Client, http: httpx.Client) -> None:
    armed = control.post(
        "/faults", json={"faults": ["on=GET:/models,do=error:503,times=0"]}
    ).json()["faults"]
    struck = http.get("/models").status_code
    control.delete("/faults")
    assert armed == ["on=GET:/models,do=error:503,when=before,times=0,skip=0"]
    assert (struck, http.get("/models").status_code) == (503, 200)


def test_the_state_shows_objects_and_options(control: httpx.Client, emulator: Emulator) -> None:
    state = control.get("/state").json()
    assert state["counts"]["project"] == 1
    assert state["objects"]["project"][0]["id"] == emulator.project_id
    assert state["options"]["latency_ms"] == 0


def test_the_state_shows_no_secret(control: httpx.Client) -> None:
    assert "sk-emulator" not in control.get("/state").text


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/seed", {"cats": 3}, "unknown count 'cats'"),
        ("/seed", {"projects": "many"}, "must be a whole number"),
        ("/options", {"speed": 1}, "unknown option 'speed'"),
        ("/options", [], "send a JSON object"),
        ("/faults", {"fault": "do=nothing"}, "unknown action 'nothing'"),
        ("/faults", {}, "send"),
    ],
    ids=str,
)
def test_a_bad_control_request_is_told_why(
    control: httpx.Client, path: str, body: Any, message: str
) -> None:
    answer = control.post(path, json=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_an_unknown_control_route_names_those_there_are(control: httpx.Client) -> None:
    answer = control.get("/nothing")
    assert answer.status_code == 404
    assert "POST /_emulator/seed" in answer.json()["error"]["message"]


def test_a_failure_of_our_own_is_answered_and_recorded(
    emulator: Emulator, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulator.store, "collection", None)
    answer = http.get("/vector_stores")
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
    assert "TypeError" in (emulator.requests[0].error or "")


def test_a_snapshot_brings_back_every_object_as_often_as_wanted(
    start: Any, connect: Any, tmp_path: Any
) -> None:
    emulator = start(data=tmp_path / "data")
    http = connect(emulator, emulator.api_key)
    id = http.post("/vector_stores", json={"name": "kept"}).json()["id"]
    snapshot = emulator.snapshot()
    for _ in range(2):
        http.delete(f"/vector_stores/{id}")
        http.post("/vector_stores", json={"name": "new"})
        emulator.restore(snapshot)
        assert [store["id"] for store in http.get("/vector_stores").json()["data"]] == [id]
