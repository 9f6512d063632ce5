"""Answers have the recorded shapes of the live API: every key, every null, in that order."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

Upload = Callable[..., dict[str, Any]]


def same(answer: Any, expected: Any) -> bool:
    """Compare including the order of keys."""
    return json.dumps(answer) == json.dumps(expected)


def test_an_assistant_of_a_model_alone_shows_every_default(http: httpx.Client) -> None:
    answer = http.post("/assistants", json={"model": "gpt-4o"}).json()
    assert same(
        answer,
        {
            "id": answer["id"],
            "object": "assistant",
            "created_at": 1_800_000_000,
            "name": None,
            "description": None,
            "model": "gpt-4o",
            "instructions": None,
            "tools": [],
            "top_p": 1.0,
            "temperature": 1.0,
            "reasoning_effort": None,
            "tool_resources": {},
            "metadata": {},
            "response_format": "auto",
        },
    )


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (
            {"type": "file_search"},
            {
                "type": "file_search",
                "file_search": {
                    "ranking_options": {
                        "ranker": "default_2024_08_21",
                        "score_threshold": 0.0,
                        "hybrid_search": None,
                    }
                },
            },
        ),
        (
            {
                "type": "file_search",
                "file_search": {
                    "max_num_results": 2,
                    "ranking_options": {"ranker": "default_2024_08_21", "score_threshold": 0.5},
                },
            },
            {
                "type": "file_search",
                "file_search": {
                    "max_num_results": 2,
                    "ranking_options": {
                        "ranker": "default_2024_08_21",
                        "score_threshold": 0.5,
                        "hybrid_search": None,
                    },
                },
            },
        ),
        (
            {
                "type": "function",
                "function": {"name": "weather", "description": "Tells the weather"},
            },
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": "Tells the weather",
                    "parameters": {"type": "object", "properties": {}},
                    "strict": False,
                },
            },
        ),
        ({"type": "code_interpreter"}, {"type": "code_interpreter"}),
    ],
    ids=["file_search", "file_search with options", "function", "code_interpreter"],
)
def test_the_server_completes_a_tool(
    http: httpx.Client, sent: dict[str, Any], shown: dict[str, Any]
) -> None:
    answer = http.post("/assistants", json={"model": "gpt-4o", "tools": [sent]}).json()
    assert same(answer["tools"], [shown])


def test_a_code_interpreter_makes_its_empty_file_list_appear(http: httpx.Client) -> None:
    answer = http.post(
        "/assistants", json={"model": "gpt-4o", "tools": [{"type": "code_interpreter"}]}
    ).json()
    assert answer["tool_resources"] == {"code_interpreter": {"file_ids": []}}
    without = http.post(f"/assistants/{answer['id']}", json={"tools": []}).json()
    assert without["tool_resources"] == {}


def test_an_inline_vector_store_is_answered_by_its_id(http: httpx.Client, upload: Upload) -> None:
    inline = {
        "file_search": {"vector_stores": [{"file_ids": [upload()["id"]], "metadata": {"a": "b"}}]}
    }
    answer = http.post("/assistants", json={"model": "gpt-4o", "tool_resources": inline}).json()
    [store] = http.get("/vector_stores").json()["data"]
    assert answer["tool_resources"] == {"file_search": {"vector_store_ids": [store["id"]]}}
    assert (store["metadata"], store["file_counts"]["total"]) == ({"a": "b"}, 1)


def test_a_new_vector_store_shows_every_null(http: httpx.Client) -> None:
    answer = http.post("/vector_stores", json={}).json()
    counts = {"in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0, "total": 0}
    assert same(
        answer,
        {
            "id": answer["id"],
            "object": "vector_store",
            "created_at": 1_800_000_000,
            "name": None,
            "description": None,
            "usage_bytes": 0,
            "file_counts": counts,
            "status": "completed",
            "expires_after": None,
            "expires_at": None,
            "last_active_at": 1_800_000_000,
            "metadata": {},
        },
    )


def test_a_vector_store_made_with_files_is_in_progress_and_computes_its_end(
    http: httpx.Client, upload: Upload
) -> None:
    body = {"file_ids": [upload()["id"]], "expires_after": {"anchor": "last_active_at", "days": 3}}
    answer = http.post("/vector_stores", json=body).json()
    assert (answer["status"], answer["file_counts"]["in_progress"]) == ("in_progress", 1)
    assert answer["expires_at"] == 1_800_000_000 + 3 * 86_400


def test_an_attached_file_shows_static_chunking_for_auto(
    http: httpx.Client, upload: Upload
) -> None:
    store, file = http.post("/vector_stores", json={}).json(), upload()
    body = {"file_id": file["id"], "chunking_strategy": {"type": "auto"}}
    answer = http.post(f"/vector_stores/{store['id']}/files", json=body).json()
    assert same(
        answer,
        {
            "id": file["id"],
            "object": "vector_store.file",
            "usage_bytes": 0,
            "created_at": 1_800_000_000,
            "vector_store_id": store["id"],
            "status": "in_progress",
            "last_error": None,
            "chunking_strategy": {
                "type": "static",
                "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400},
            },
            "attributes": {},
        },
    )


def test_a_batch_and_its_files_show_what_was_recorded(http: httpx.Client, upload: Upload) -> None:
    store, file = http.post("/vector_stores", json={}).json(), upload()
    path = f"/vector_stores/{store['id']}/file_batches"
    batch = http.post(path, json={"file_ids": [file["id"]]}).json()
    [listed] = http.get(f"{path}/{batch['id']}/files").json()["data"]
    assert list(batch) == ["id", "object", "created_at", "status", "vector_store_id", "file_counts"]
    assert (batch["object"], batch["status"]) == ("vector_store.file_batch", "in_progress")
    assert list(listed) == [
        "id", "object", "usage_bytes", "created_at", "vector_store_id", "status", "last_error", "chunking_strategy",
        "attributes",
    ]  # fmt: skip


def test_a_file_is_processed_at_once(upload: Upload) -> None:
    answer = upload("你好.txt", b"hello")
    assert same(
        answer,
        {
            "object": "file",
            "id": answer["id"],
            "purpose": "assistants",
            "filename": "你好.txt",
            "bytes": 5,
            "created_at": 1_800_000_000,
            "expires_at": None,
            "status": "processed",
            "status_details": None,
        },
    )


def test_a_batch_file_expires_after_thirty_days_unasked(upload: Upload) -> None:
    assert upload("b.jsonl", b"{}", "batch")["expires_at"] == 1_800_000_000 + 30 * 86_400


def test_an_upload_shows_what_was_recorded(http: httpx.Client) -> None:
    body = {"filename": "a.jsonl", "purpose": "fine-tune", "bytes": 8, "mime_type": "text/jsonl"}
    answer = http.post("/uploads", json=body).json()
    assert same(
        answer,
        {
            "id": answer["id"],
            "object": "upload",
            "bytes": 8,
            "created_at": 1_800_000_000,
            "filename": "a.jsonl",
            "purpose": "fine-tune",
            "status": "pending",
            "expires_at": 1_800_003_600,
        },
    )


def test_deletes_answer_in_their_several_ways(http: httpx.Client, upload: Upload) -> None:
    file = upload()
    store = http.post("/vector_stores", json={"file_ids": [file["id"]]}).json()
    assistant = http.post("/assistants", json={"model": "gpt-4o"}).json()
    detached = http.delete(f"/vector_stores/{store['id']}/files/{file['id']}").json()
    assert detached == {"id": file["id"], "object": "vector_store.file.deleted", "deleted": True}
    gone = http.delete(f"/files/{file['id']}").json()
    assert same(gone, {"object": "file", "deleted": True, "id": file["id"]})
    gone = http.delete(f"/vector_stores/{store['id']}").json()
    assert same(gone, {"id": store["id"], "object": "vector_store.deleted", "deleted": True})
    answer = http.delete(f"/assistants/{assistant['id']}").json()
    assert same(answer, {"id": assistant["id"], "object": "assistant.deleted", "deleted": True})


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("/assistants", ["object", "data", "first_id", "last_id", "has_more"]),
        ("/vector_stores", ["object", "data", "first_id", "last_id", "has_more"]),
        ("/files", ["object", "data", "has_more", "first_id", "last_id"]),
        ("/models", ["object", "data"]),
    ],
)
def test_list_envelopes_have_their_recorded_keys(
    http: httpx.Client, path: str, keys: list[str]
) -> None:
    assert list(http.get(path).json()) == keys


@pytest.mark.parametrize(
    ("path", "body", "pattern"),
    [
        ("/assistants", {"model": "m"}, r"asst_[A-Za-z0-9]{24}"),
        ("/vector_stores", {}, r"vs_[0-9a-f]{32}"),
        (
            "/uploads",
            {"filename": "a", "purpose": "batch", "bytes": 1, "mime_type": "t"},
            r"upload_[0-9a-f]{32}",
        ),
    ],
)
def test_identifiers_have_their_recorded_form(
    http: httpx.Client, path: str, body: dict[str, Any], pattern: str
) -> None:
    assert re.fullmatch(pattern, http.post(path, json=body).json()["id"])


def test_answers_carry_the_recorded_headers(http: httpx.Client, emulator: Any) -> None:
    headers = http.get("/models").headers
    assert headers["content-type"] == "application/json"
    assert headers["openai-version"] == "2020-10-01"
    assert re.fullmatch(r"req_[0-9a-f]{32}", headers["x-request-id"])
    assert int(headers["openai-processing-ms"]) >= 1
    assert (headers["openai-organization"], headers["openai-project"]) == (
        "org-emulator",
        emulator.project_id,
    )


def test_file_content_is_a_named_attachment(http: httpx.Client, upload: Upload) -> None:
    file = upload("data.jsonl", b"{}", "user_data")
    answer = http.get(f"/files/{file['id']}/content")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="data.jsonl"'


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "/files/fake_id",
            {
                "error": {
                    "message": "No such File object: fake_id",
                    "type": "invalid_request_error",
                    "param": "id",
                    "code": None,
                },
                "detail": {"message": "No such File object: fake_id", "code": None},
            },
        ),
        (
            "/models/fake_id",
            {
                "error": {
                    "message": "The model 'fake_id' does not exist",
                    "type": "invalid_request_error",
                    "param": "model",
                    "code": "model_not_found",
                }
            },
        ),
        (
            "/nothing",
            {
                "error": {
                    "message": "Invalid URL (GET /v1/nothing)",
                    "type": "invalid_request_error",
                    "param": None,
                    "code": None,
                }
            },
        ),
    ],
)
def test_not_found_is_worded_as_recorded(
    http: httpx.Client, path: str, expected: dict[str, Any]
) -> None:
    answer = http.get(path)
    assert answer.status_code == 404
    assert same(answer.json(), expected)


def test_an_unknown_purpose_is_refused_as_recorded(http: httpx.Client) -> None:
    answer = http.post(
        "/files", data={"purpose": "world_domination"}, files={"file": ("a.txt", b"x")}
    )
    purposes = "['fine-tune', 'assistants', 'batch', 'user_data', 'vision', 'evals']"
    message = f"'world_domination' is not one of {purposes} - 'purpose'"
    assert answer.status_code == 400
    assert same(
        answer.json(),
        {
            "error": {
                "message": message,
                "type": "invalid_request_error",
                "param": "purpose",
                "code": None,
            },
            "detail": {"message": message, "code": None},
        },
    )


def test_a_wrong_method_is_refused_with_the_right_ones(http: httpx.Client) -> None:
    answer = http.patch("/assistants")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    assert answer.json()["error"]["type"] == "invalid_request_error"
