"""Checks make the right calls, wait for their work, clean up, and show no secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.emulator import Emulator
from reconciler.model.address import Address
from reconciler.model.checking import CheckStatus
from reconciler.model.values import LocalFile, Reference, Unknown
from tests.checks.conftest import Answering, Checking

HELLO = {"model": "gpt-5.1", "input": "Hello"}
CHAT = {"model": "gpt-5.1", "messages": [{"role": "user", "content": "Hello"}]}


def response(**body: Any) -> dict[str, Any]:
    return {"operation": "createResponse", "body": {**HELLO, **body}}


def left(emulator: Emulator) -> dict[str, int]:
    return {
        name: count
        for name, count in emulator.store.counts().items()
        if name in ("response", "chat_completion")
    }


def test_a_check_passes_when_its_answer_is_as_expected(check: Checking) -> None:
    expect = {
        "values": {"output[0].content[0].text": "You said: Hello"},
        "schema": {"required": ["usage"]},
    }
    assert check({**response(), "expect": expect}).status is CheckStatus.PASSED


def test_a_response_is_not_even_stored_unless_the_body_says_so(
    check: Checking, emulator: Emulator
) -> None:
    check(response())
    assert [request.request_body["store"] for request in emulator.requests] == [False]


@pytest.mark.parametrize(
    "spec",
    [
        response(store=True),
        response(background=True),
        {"operation": "createChatCompletion", "body": {**CHAT, "store": True}},
        {**response(store=True), "expect": {"values": {"status": "failed"}}},
        {**response(store=True), "expect": {"values": {"length(status": 1}}},
    ],
    ids=["response", "background", "chat", "failed", "broken"],
)
def test_objects_that_a_check_creates_are_removed(
    check: Checking, emulator: Emulator, spec: dict[str, Any]
) -> None:
    check(spec)
    assert any(
        request.method == "DELETE" and request.status == 200 for request in emulator.requests
    )
    assert left(emulator) == {}


def test_a_response_in_the_background_is_waited_for(check: Checking) -> None:
    outcome = check({**response(background=True), "expect": {"values": {"status": "completed"}}})
    assert outcome.status is CheckStatus.PASSED


def test_work_that_takes_too_long_is_cancelled_and_has_failed(
    check: Checking, emulator: Emulator
) -> None:
    outcome = check({**response(background=True), "wait_seconds": 0})
    assert [str(finding) for finding in outcome.findings] == [
        "wait_seconds elapsed while it was queued; it was cancelled"
    ]
    assert [
        request.path.rpartition("/")[2] for request in emulator.requests if request.method == "POST"
    ][-1] == "cancel"
    assert left(emulator) == {}


def test_a_stop_in_the_middle_leaves_nothing_behind(check: Checking, emulator: Emulator) -> None:
    check.stops_at_pause.set()
    outcome = check(response(background=True))
    assert (outcome.status, outcome.message) == (CheckStatus.SKIPPED, "the run was stopped")
    assert [request.method for request in emulator.requests] == ["POST", "POST", "DELETE"]
    assert left(emulator) == {}


def test_after_a_stop_no_check_is_begun(check: Checking, emulator: Emulator) -> None:
    check.stop.set()
    assert check(response()).status is CheckStatus.SKIPPED
    assert emulator.requests == []


def test_objects_that_cannot_be_removed_are_reported(
    over_wire: Callable[[Answering], Checking],
) -> None:
    refused = httpx.Response(403, json={"error": {"message": "Not you."}})
    check = over_wire(
        lambda request: (
            refused if request.method == "DELETE" else {"id": "resp_1", "status": "completed"}
        )
    )
    outcome = check(response(store=True))
    assert outcome.status is CheckStatus.PASSED
    [note] = outcome.notes
    assert note.startswith("Cannot remove the object (DELETE /responses/resp_1): ")


@pytest.mark.parametrize("id", [None, "", 7, {}])
def test_an_object_without_an_id_in_the_answer_is_reported_as_a_leftover(
    over_wire: Callable[[Answering], Checking], id: Any
) -> None:
    outcome = over_wire(lambda _: {"id": id, "status": "completed"})(response(store=True))
    assert outcome.status is CheckStatus.PASSED
    assert [note for note in outcome.notes if "has no id" not in note] == []
    assert outcome.notes


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("createRealtimeSession", {"model": "gpt-realtime"}),
        ("createRealtimeTranscriptionSession", {}),
        ("createRealtimeClientSecret", {"session": {"type": "realtime", "model": "gpt-realtime"}}),
        ("createRealtimeTranslationClientSecret", {"session": {"model": "gpt-realtime"}}),
        ("createChatKitSession", {"user": "ada", "workflow": {"id": "wf_1"}}),
    ],
)
def test_a_key_in_an_answer_is_seen_by_nobody(
    check: Checking, emulator: Emulator, operation: str, body: dict[str, Any]
) -> None:
    everything = {
        "to_string(@)": "?",
        "reverse(to_string(@))": "?",
        "to_string(@) | contains(@, 'ek_')": False,
    }
    outcome = check({"operation": operation, "body": body, "expect": {"values": everything}})
    [secret] = {
        value
        for request in emulator.requests
        for value in (request.response_body.get("value"), _secret_of(request.response_body))
        if value
    }
    text = " ".join(map(str, outcome.findings))
    assert len(outcome.findings) == 2
    assert secret[:8] not in text
    assert secret[::-1][:8] not in text
    assert check.redactor(f"a {secret}") == "a •••"


def _secret_of(body: dict[str, Any]) -> Any:
    secret = body.get("client_secret")
    return secret.get("value") if isinstance(secret, dict) else secret


def test_a_refusal_is_an_answer(check: Checking) -> None:
    spec = response(model="gpt-0")
    assert [str(finding) for finding in check(spec).findings] == [
        "status is 404 (The model `gpt-0` does not exist or you do not have access to it.); expected 200"
    ]
    assert check({**spec, "expect": {"status": 404}}).status is CheckStatus.PASSED


def test_a_retired_operation_is_reported(check: Checking) -> None:
    findings = check(
        {"operation": "getRun", "parameters": {"thread_id": "thread_1", "run_id": "run_1"}}
    ).findings
    assert "2026-08-26" in str(findings[-1])
    assert "createAgentSession" in str(findings[-1])


def test_a_page_of_a_proxy_is_no_answer(over_wire: Callable[[Answering], Checking]) -> None:
    check = over_wire(lambda _: httpx.Response(404, html="<h1>Not here</h1>"))
    outcome = check({**response(), "expect": {"status": 404}})
    assert outcome.status is CheckStatus.ERROR
    assert "it looks like a proxy" in outcome.message


def test_text_in_place_of_json_is_no_answer(over_wire: Callable[[Answering], Checking]) -> None:
    outcome = over_wire(lambda _: httpx.Response(200, text="warming up"))(response())
    assert (outcome.status, "instead of JSON" in outcome.message) == (CheckStatus.ERROR, True)


def test_a_call_without_lasting_effects_is_retried_after_an_outage(
    check: Checking, emulator: Emulator
) -> None:
    emulator.set_options(faults=["on=POST:/moderations,do=error:503"])
    assert (
        check({"operation": "createModeration", "body": {"input": "a coat"}}).status
        is CheckStatus.PASSED
    )


def test_a_call_that_may_have_created_an_object_is_not_retried(
    over_wire: Callable[[Answering], Checking],
) -> None:
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.method)
        return httpx.Response(500, json={"error": {"message": "Oh."}})

    outcome = over_wire(answer)(response(store=True))
    assert (outcome.status, sent) == (CheckStatus.ERROR, ["POST"])
    assert "unknown" in outcome.message


# --- files, bytes ----------------------------------------------------------------------------------------------------


def local(path: Path, content: bytes) -> LocalFile:
    import hashlib

    path.write_bytes(content)
    return LocalFile(path.name, hashlib.sha256(content).hexdigest(), len(content))


def test_a_file_is_sent_as_part_of_a_form(check: Checking, tmp_path: Path) -> None:
    spec = {
        "operation": "createTranscription",
        "files": {"file": local(tmp_path / "hello.wav", b"RIFF")},
        "body": {
            "model": "whisper-1",
            "temperature": 0,
            "timestamp_granularities": ["word", "segment"],
        },
        "expect": {"values": {"text": "This is hello.wav, with 4 bytes of sound."}},
    }
    assert check(spec).status is CheckStatus.PASSED


def test_a_file_that_changed_since_it_was_read_is_not_sent(
    check: Checking, emulator: Emulator, tmp_path: Path
) -> None:
    file = local(tmp_path / "hello.wav", b"RIFF")
    (tmp_path / "hello.wav").write_bytes(b"else")
    outcome = check(
        {
            "operation": "createTranscription",
            "files": {"file": file},
            "body": {"model": "whisper-1"},
        }
    )
    assert (outcome.status, emulator.requests) == (CheckStatus.ERROR, [])


def test_sound_is_known_by_its_type_and_its_size(check: Checking) -> None:
    spec = {
        "operation": "createSpeech",
        "body": {"model": "tts-1", "voice": "alloy", "input": "Hi", "response_format": "wav"},
        "expect": {"values": {"content_type": "audio/wav", "bytes": {"more_than": 44}}},
    }
    assert check(spec).status is CheckStatus.PASSED


def test_images_are_created_only_by_costly_checks(check: Checking, emulator: Emulator) -> None:
    spec = {"operation": "createImage", "body": {"model": "gpt-image-1", "prompt": "A dot"}}
    assert check(spec).status is CheckStatus.SKIPPED
    assert emulator.requests == []
    assert check(spec, may_cost=lambda _: True).status is CheckStatus.PASSED


# --- references and budgets ------------------------------------------------------------------------------------------


def test_a_check_of_an_unapplied_resource_is_explained(check: Checking) -> None:
    spec = {**response(), "parameters": {"x": Reference(Address("VectorStore", "handbook"))}}
    outcome = check(spec, lookup=lambda reference: Unknown(str(reference)))
    assert (outcome.status, outcome.message) == (
        CheckStatus.ERROR,
        "${VectorStore/handbook} has no value yet. Apply first.",
    )


def costs(*amounts: tuple[str, float]) -> Answering:
    results = [
        {"amount": {"value": value, "currency": "usd"}, "project_id": id} for id, value in amounts
    ]
    bucket = {"start_time": 1_793_500_000, "results": results}
    return lambda _: {"data": [bucket], "has_more": False}


def test_a_budget_counts_what_its_project_spent(over_wire: Callable[[Answering], Checking]) -> None:
    check = over_wire(costs(("proj_1", 60.5), ("proj_1", 39.5), ("proj_2", 900.0)))
    used_up = check({"budget": {"below": 100}}, project="search")
    assert [str(finding) for finding in used_up.findings] == [
        "budget is used up: 100.00 USD since 2026-11-01; expected below 100"
    ]
    assert check({"budget": {"below": 100.01}}, project="search").status is CheckStatus.PASSED
    assert check({"budget": {"below": 1000}}).status is CheckStatus.FAILED


def test_one_read_serves_all_budgets(over_wire: Callable[[Answering], Checking]) -> None:
    check = over_wire(costs(("proj_1", 1.0)))
    for below in (1, 2, 3):
        check({"budget": {"below": below}}, project="search")
    assert check.client.calls == 1


# --- runs ------------------------------------------------------------------------------------------------------------


class Threads:
    """A thread with a run that calls a function, over a fake wire."""

    def __init__(self, *, asks: bool = True, ends: bool = True) -> None:
        self.seen: list[str] = []
        self.bodies: dict[str, Any] = {}
        self.status = iter(
            ["in_progress", "requires_action", "in_progress", "completed"]
            if asks
            else ["in_progress"]
        )
        self.ends = ends
        self.messages = ["msg_old"]

    def __call__(self, request: httpx.Request) -> Any:
        path = request.url.path.removeprefix("/v1")
        self.seen.append(f"{request.method} {path}")
        if request.content:
            self.bodies[f"{request.method} {path}"] = json.loads(request.content)
        if path.endswith("/messages"):
            return {"data": [{"id": id} for id in self.messages]}
        if path.endswith("/steps"):
            return {"data": []}
        if request.method == "DELETE":
            return {"deleted": True}
        return self._run(request.method, path)

    def _run(self, method: str, path: str) -> dict[str, Any]:
        run = {
            "id": "run_1",
            "thread_id": "thread_1",
            "status": "queued",
            "metadata": {"team": "cx"},
        }
        if path.endswith("/cancel"):
            self.status = iter(["cancelling", "cancelled"])
            return {**run, "status": "cancelling"}
        if method == "GET":
            run["status"] = next(self.status, "in_progress" if not self.ends else "completed")
            self.messages = ["msg_new", "msg_old"]
        call = {
            "id": "call_1",
            "type": "function",
            "function": {"name": "weather", "arguments": "{}"},
        }
        if run["status"] == "requires_action":
            run["required_action"] = {"submit_tool_outputs": {"tool_calls": [call]}}  # type: ignore[assignment]
        return run


RUN = {
    "operation": "createRun",
    "parameters": {"thread_id": "thread_1"},
    "body": {"assistant_id": "asst_1"},
    "tool_outputs": {"weather": {"degrees": 20}},
    "expect": {"values": {"status": "completed", "messages[0].id": "msg_new"}},
}


def test_a_run_is_followed_to_its_end_and_answered_what_it_asks(
    over_wire: Callable[[Answering], Checking],
) -> None:
    threads = Threads()
    assert over_wire(threads)(RUN).findings == ()
    outputs = threads.bodies["POST /threads/thread_1/runs/run_1/submit_tool_outputs"][
        "tool_outputs"
    ]
    assert outputs == [{"tool_call_id": "call_1", "output": '{"degrees": 20}'}]


def test_a_run_on_somebodys_thread_leaves_its_messages_as_they_were(
    check: Checking, emulator: Emulator
) -> None:
    with httpx.Client(base_url=emulator.base_url) as http:
        http.headers.update(
            {"Authorization": f"Bearer {emulator.api_key}", "OpenAI-Beta": "assistants=v2"}
        )
        tools = [{"type": "function", "function": {"name": "weather"}}]
        assistant = http.post("/assistants", json={"model": "gpt-4.1", "tools": tools}).json()["id"]
        asked = [{"role": "user", "content": "Is it warm in Oslo?"}]
        thread = http.post("/threads", json={"messages": asked}).json()["id"]
        before = http.get(f"/threads/{thread}/messages").json()["data"]
        spec = {**RUN, "parameters": {"thread_id": thread}, "body": {"assistant_id": assistant}}
        says = {"messages[0].content[0].text.value": {"contains": "Oslo"}, "length(steps)": 2}
        assert check({**spec, "expect": {"values": says}}).findings == ()
        assert http.get(f"/threads/{thread}/messages").json()["data"] == before


def test_messages_of_a_run_are_removed_and_the_run_is_marked(
    over_wire: Callable[[Answering], Checking],
) -> None:
    threads = Threads()
    over_wire(threads)(RUN)
    assert [call for call in threads.seen if call.startswith("DELETE")] == [
        "DELETE /threads/thread_1/messages/msg_new"
    ]
    assert threads.bodies["POST /threads/thread_1/runs/run_1"] == {
        "metadata": {"team": "cx", "reconciler_check": "Check/it", "reconciler_passed": "true"}
    }


def test_a_thread_that_a_check_makes_is_deleted(over_wire: Callable[[Answering], Checking]) -> None:
    threads = Threads(asks=False)
    over_wire(threads)({"operation": "createThreadAndRun", "body": {"assistant_id": "asst_1"}})
    assert [call for call in threads.seen if call.startswith("DELETE")] == [
        "DELETE /threads/thread_1"
    ]


def test_a_session_of_an_agent_is_followed_answered_and_deleted(
    check: Checking, emulator: Emulator
) -> None:
    tool = {
        "type": "function",
        "name": "weather",
        "description": "Tells it.",
        "parameters": {"type": "object"},
    }
    spec = {
        "operation": "createAgentSession",
        "body": {"agent": {"model": "gpt-5.5", "tools": [tool]}, "input": "Is it warm?"},
        "tool_outputs": {"weather": "20"},
        "expect": {
            "values": {"status": "idle", "items[0].content[0].text": "You said: Is it warm?"}
        },
    }
    assert check(spec).findings == ()
    assert emulator.store.counts().get("agent_session", 0) == 0
    late = check({**spec, "wait_seconds": 0, "expect": {}})
    assert [str(finding) for finding in late.findings] == [
        "wait_seconds elapsed while it was in_progress; it was cancelled"
    ]
    assert emulator.store.counts().get("agent_session", 0) == 0


def test_a_run_that_never_ends_is_cancelled(over_wire: Callable[[Answering], Checking]) -> None:
    threads = Threads(asks=False, ends=False)
    outcome = over_wire(threads)({**RUN, "wait_seconds": 0.01, "expect": {}})
    assert outcome.status is CheckStatus.FAILED
    cancelled = threads.seen.index("POST /threads/thread_1/runs/run_1/cancel")
    assert threads.seen[cancelled + 1 : cancelled + 3] == ["GET /threads/thread_1/runs/run_1"] * 2


def test_a_function_without_an_output_ends_the_run(
    over_wire: Callable[[Answering], Checking],
) -> None:
    threads = Threads()
    outcome = over_wire(threads)({**RUN, "tool_outputs": {}})
    assert outcome.status is CheckStatus.ERROR
    assert '"weather"' in outcome.message
    assert threads.seen[-3] == "POST /threads/thread_1/runs/run_1/cancel"


def test_a_function_without_a_name_is_not_called_none(
    over_wire: Callable[[Answering], Checking],
) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": None, "arguments": "{}"}}
    asking = {
        "status": "requires_action",
        "required_action": {"submit_tool_outputs": {"tool_calls": [call]}},
    }

    def answer(request: httpx.Request) -> dict[str, Any]:
        return {"id": "run_1", "thread_id": "thread_1", "data": [], **asking}

    outcome = over_wire(answer)(RUN)
    assert (outcome.status, outcome.message) == (
        CheckStatus.ERROR,
        "A function without a name is called.",
    )


def test_a_run_that_asks_for_outputs_without_end_is_ended_when_its_time_is_over(
    over_wire: Callable[[Answering], Checking],
) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    asking = {
        "status": "requires_action",
        "required_action": {"submit_tool_outputs": {"tool_calls": [call]}},
    }

    def answer(request: httpx.Request) -> dict[str, Any]:
        is_over = request.method == "GET" or request.url.path.endswith("/cancel")
        state = {"status": "cancelled"} if is_over else asking
        return {"id": "run_1", "thread_id": "thread_1", "data": [], **state}

    outcome = over_wire(answer)({**RUN, "wait_seconds": 0.05, "expect": {}})
    assert [str(finding) for finding in outcome.findings] == [
        "wait_seconds elapsed while it was requires_action; it was cancelled"
    ]
