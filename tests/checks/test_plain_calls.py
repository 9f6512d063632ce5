"""Every operation without special needs is called once, on objects created beforehand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.emulator import Emulator
from reconciler.model.checking import CheckStatus
from reconciler.model.values import LocalFile

from .conftest import Checking

GRADER = {"type": "string_check", "name": "same", "input": "a", "reference": "a", "operation": "eq"}
QUESTION = {"type": "predicate", "instructions": "Is it about coats?", "name": "coats"}
PNG = b"\x89PNG\r\n\x1a\n"

Post = Callable[[str, dict[str, Any]], dict[str, Any]]
Get = Callable[[str], dict[str, Any]]


@pytest.fixture
def post(emulator: Emulator) -> Post:
    """What somebody else makes, with either key; the answer."""
    return lambda path, body: httpx.post(
        f"{emulator.base_url}{path}", headers=headers(emulator, path), json=body
    ).json()


@pytest.fixture
def get(emulator: Emulator) -> Get:
    """What somebody else sees."""
    return lambda path: httpx.get(
        f"{emulator.base_url}{path}", headers=headers(emulator, path)
    ).json()


def headers(emulator: Emulator, path: str) -> dict[str, str]:
    key = emulator.admin_key if path.startswith("/organization") else emulator.api_key
    return {"Authorization": f"Bearer {key}", "OpenAI-Beta": "assistants=v2"}


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("createCompletion", {"model": "gpt-3.5-turbo-instruct", "prompt": "Once"}),
        ("createEmbedding", {"model": "text-embedding-3-small", "input": "coat"}),
        ("createDecision", {"model": "gpt-5.1", "input": "coats", "questions": [QUESTION]}),
        ("countInputTokens", {"model": "gpt-5.1", "input": "one two"}),
        ("compactResponse", {"model": "gpt-5.1", "input": "one two"}),
        ("runGrader", {"grader": GRADER, "model_sample": "a"}),
        ("validateGrader", {"grader": GRADER}),
    ],
)
def test_an_operation_is_called_with_its_body(
    check: Checking, operation: str, body: dict[str, Any]
) -> None:
    outcome = check({"operation": operation, "body": body})
    assert outcome.status is CheckStatus.PASSED, outcome


@pytest.mark.parametrize(
    ("operation", "name", "body"),
    [
        ("createTranslation", "file", {"model": "whisper-1"}),
        ("createImageEdit", "image", {"model": "gpt-image-1", "prompt": "A line"}),
        ("createImageVariation", "image", {}),
    ],
)
def test_an_operation_is_called_with_its_file(
    check: Checking, tmp_path: Path, operation: str, name: str, body: dict[str, Any]
) -> None:
    (tmp_path / "sent.png").write_bytes(PNG)
    sent = LocalFile("sent.png", hashlib.sha256(PNG).hexdigest(), len(PNG))
    outcome = check(
        {"operation": operation, "files": {name: sent}, "body": body}, may_cost=lambda _: True
    )
    assert outcome.status is CheckStatus.PASSED, outcome


def test_a_stored_chat_is_found_and_read(check: Checking, post: Post) -> None:
    chat = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Hello"}], "store": True}
    id = post("/chat/completions", chat)["id"]
    assert check(reading("listChatCompletions")).status is CheckStatus.PASSED
    assert check(reading("getChatCompletion", completion_id=id)).status is CheckStatus.PASSED
    assert (
        check(reading("getChatCompletionMessages", completion_id=id)).status is CheckStatus.PASSED
    )


def test_what_was_asked_is_read_from_a_response(check: Checking, post: Post) -> None:
    id = post("/responses", {"model": "gpt-5.1", "input": "Hello", "store": True})["id"]
    assert check(reading("listInputItems", response_id=id)).status is CheckStatus.PASSED


def test_a_run_in_a_thread_of_its_own_is_waited_for_and_one_that_is_there_is_read(
    check: Checking, post: Post, get: Get
) -> None:
    bot = post("/assistants", {"model": "gpt-4.1"})["id"]
    assert (
        check({"operation": "createThreadAndRun", "body": {"assistant_id": bot}}).status
        is CheckStatus.PASSED
    )
    thread = post("/threads", {"messages": [{"role": "user", "content": "Hello"}]})["id"]
    run = post(f"/threads/{thread}/runs", {"assistant_id": bot})["id"]
    assert check(reading("getRun", thread_id=thread, run_id=run)).status is CheckStatus.PASSED
    assert check(reading("listRuns", thread_id=thread)).status is CheckStatus.PASSED
    assert check(reading("listRunSteps", thread_id=thread, run_id=run)).status is CheckStatus.PASSED
    for _ in range(2):
        get(f"/threads/{thread}/runs/{run}")  # it moves on when it is looked at
    step = get(f"/threads/{thread}/runs/{run}/steps")["data"][0]["id"]
    assert (
        check(reading("getRunStep", thread_id=thread, run_id=run, step_id=step)).status
        is CheckStatus.PASSED
    )


def test_a_run_that_takes_too_long_is_cancelled(check: Checking, post: Post, get: Get) -> None:
    bot = post(
        "/assistants",
        {"model": "gpt-4.1", "tools": [{"type": "function", "function": {"name": "wait"}}]},
    )["id"]
    thread = post("/threads", {})["id"]
    spec = {
        **reading("createRun", thread_id=thread),
        "body": {"assistant_id": bot},
        "wait_seconds": 0,
    }
    assert check(spec).status is CheckStatus.FAILED
    assert get(f"/threads/{thread}/runs")["data"][0]["status"] in ("cancelling", "cancelled")


def test_what_was_indexed_of_a_file_is_read(
    check: Checking, post: Post, emulator: Emulator
) -> None:
    files: Any = {"file": ("a.md", b"# A\n"), "purpose": (None, "assistants")}
    key = {"Authorization": f"Bearer {emulator.api_key}"}
    file = httpx.post(f"{emulator.base_url}/files", headers=key, files=files).json()["id"]
    store = post("/vector_stores", {"file_ids": [file]})["id"]
    spec = reading("retrieveVectorStoreFileContent", vector_store_id=store, file_id=file)
    assert check(spec).status is CheckStatus.PASSED


def test_a_model_is_read(check: Checking) -> None:
    assert check(reading("retrieveModel", model="gpt-5.1")).status is CheckStatus.PASSED


def test_an_external_key_is_tried(check: Checking, post: Post) -> None:
    key = {
        "type": "azure",
        "name": "Vault",
        "tenant_id": "t",
        "vault_uri": "https://vault",
        "key_name": "k",
    }
    id = post("/organization/external_keys", key)["id"]
    assert check(reading("validateExternalKey", external_key_id=id)).status is CheckStatus.PASSED


def test_an_external_storage_is_tried(check: Checking, post: Post) -> None:
    project = post("/organization/projects", {"name": "Search"})["id"]
    provider = {"type": "oci", "bucket": "b", "region": "eu", "tenancy_ocid": "t"}
    id = post("/organization/external_storage", {"project_id": project, "provider": provider})["id"]
    assert (
        check(reading("validateExternalStorage", external_storage_id=id)).status
        is CheckStatus.PASSED
    )


def test_a_webhook_is_tried(check: Checking, post: Post) -> None:
    hook = {"name": "it", "url": "https://example.com/hook", "event_types": ["batch.completed"]}
    id = post("/webhook_endpoints", hook)["id"]
    spec = {
        **reading("testWebhookEndpoint", webhook_endpoint_id=id),
        "body": {"event_type": "batch.completed"},
    }
    assert check(spec).status is CheckStatus.PASSED


def reading(operation: str, **parameters: str) -> dict[str, Any]:
    return {"operation": operation, **({"parameters": parameters} if parameters else {})}
