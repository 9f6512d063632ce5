"""Runs of assistants on threads, and their steps. No model runs: the output is canned.

A run advances each time it is read: queued, in progress, completed, with a reply to the last
message. An assistant with a function calls it once, and the run waits for its output.
"""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.errors import bad_request
from reconciler.emulator.paging import page_of
from reconciler.emulator.routes.assistants import (
    BETA,
    RESOURCES,
    TOOL,
    completed,
    find_assistant,
    response_format,
    show_assistant,
    tool_resources,
)
from reconciler.emulator.routes.threads import (
    ACTIVE,
    MESSAGE,
    THREAD,
    find_files,
    find_thread,
    make_message,
    make_thread,
    refuse_while_running,
)
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ObjectRow
from reconciler.emulator.validation import (
    anything,
    boolean,
    choice,
    fields,
    integer,
    listed,
    metadata,
    nullable,
    number,
    tagged,
    text,
    wrong_type,
)

_LIFETIME = 600
_TRUNCATION = fields(
    {"type": choice("auto", "last_messages")}, {"last_messages": nullable(integer(minimum=1))}
)
_NAMED_TOOL = tagged(
    {
        "code_interpreter": fields({"type": anything}),
        "file_search": fields({"type": anything}),
        "function": fields({"type": anything, "function": fields({"name": text()})}),
    }
)


def _tool_choice(value: Any, place: str) -> Any:
    if isinstance(value, str):
        return choice("none", "auto", "required")(value, place)
    if not isinstance(value, dict):
        raise wrong_type(value, place, "one of a string or an object")
    return _NAMED_TOOL(value, place)


_ASSISTANT = {"assistant_id": text()}
_SETTINGS = {
    "model": nullable(text(minimum=1)),
    "instructions": nullable(text(maximum=256_000)),
    "tools": nullable(listed(TOOL, maximum=20)),
    "metadata": nullable(metadata),
    "temperature": nullable(number(0, 2)),
    "top_p": nullable(number(0, 1)),
    "stream": nullable(boolean()),
    "max_prompt_tokens": nullable(integer(minimum=256)),
    "max_completion_tokens": nullable(integer(minimum=256)),
    "truncation_strategy": nullable(_TRUNCATION),
    "tool_choice": nullable(_tool_choice),
    "parallel_tool_calls": boolean(),
    "response_format": nullable(response_format),
}
_CREATE = fields(
    _ASSISTANT,
    {
        **_SETTINGS,
        "reasoning_effort": nullable(text()),
        "additional_instructions": nullable(text()),
        "additional_messages": nullable(listed(MESSAGE)),
    },
)
_CREATE_BOTH = fields(
    _ASSISTANT, {**_SETTINGS, "thread": THREAD, "tool_resources": nullable(RESOURCES)}
)
_MODIFY = fields({}, {"metadata": nullable(metadata)})
_OUTPUTS = fields(
    {"tool_outputs": listed(fields({}, {"tool_call_id": text(), "output": text()}))},
    {"stream": nullable(boolean())},
)

# --- runs


def create_thread_and_run(call: Call) -> dict[str, Any]:
    sent = _not_streamed(call.json(_CREATE_BOTH))
    find_assistant(call, sent["assistant_id"])
    thread = make_thread(call, sent.get("thread", {}))
    if sent.get("tool_resources") is not None:
        thread.body["tool_resources"] = tool_resources(
            call, thread.body["tool_resources"], sent["tool_resources"]
        )
    return _started(call, thread, sent)


def create_run(call: Call) -> dict[str, Any]:
    thread, sent = find_thread(call), _not_streamed(call.json(_CREATE))
    find_assistant(call, sent["assistant_id"])
    refuse_while_running(call, thread, "Thread {thread} already has an active run {run}.")
    more = sent.get("additional_messages") or []
    for message in more:
        find_files(call, message)
    for message in more:
        make_message(call, thread, message)
    return _started(call, thread, sent)


def list_runs(call: Call) -> dict[str, Any]:
    return call.list_answer(call.store.collection("run", find_thread(call).id), page_of(call.query))


def retrieve_run(call: Call) -> dict[str, Any]:
    run = _run(call)
    _move_on(call, run)
    return run.body


def modify_run(call: Call) -> dict[str, Any]:
    run, sent = _run(call), call.json(_MODIFY)
    if "metadata" in sent:
        run.body["metadata"] = sent["metadata"] or {}
        call.store.changed(run)
    return run.body


def cancel_run(call: Call) -> dict[str, Any]:
    run = _run(call)
    if run.body["status"] not in ACTIVE or run.body["status"] == "cancelling":
        raise bad_request(f"Cannot cancel run with status '{run.body['status']}'.")
    return _put(call, run, status="cancelling", required_action=None)


def submit_tool_outputs(call: Call) -> dict[str, Any]:
    run, sent = _run(call), _not_streamed(call.json(_OUTPUTS))
    action = run.body["required_action"]
    if action is None:
        raise bad_request(f"Runs in status '{run.body['status']}' do not accept tool outputs.")
    outputs = {
        output.get("tool_call_id"): output.get("output", "") for output in sent["tool_outputs"]
    }
    asked = [tool_call["id"] for tool_call in action["submit_tool_outputs"]["tool_calls"]]
    if sorted(outputs, key=str) != sorted(asked):
        raise bad_request(
            f"Expected tool outputs for call_ids {asked}, got {list(outputs)}.",
            param="tool_outputs",
        )
    for step in call.store.collection("run_step", run.id).ordered():
        for tool_call in step.body["step_details"].get("tool_calls", []):
            tool_call["function"]["output"] = outputs[tool_call["id"]]
        step.body.update(status="completed", completed_at=call.now)
        call.store.changed(step)
    return _put(call, run, status="queued", required_action=None)


def _started(call: Call, thread: ObjectRow, sent: dict[str, Any]) -> dict[str, Any]:
    assistant = show_assistant(find_assistant(call, sent["assistant_id"]))
    tools = sent.get("tools")
    words = [
        sent.get("instructions") or assistant["instructions"],
        sent.get("additional_instructions"),
    ]
    body = {
        "id": ids.fresh("run"),
        "object": "thread.run",
        "created_at": call.now,
        "assistant_id": assistant["id"],
        "thread_id": thread.id,
        "status": "queued",
        "started_at": None,
        "expires_at": call.now + _LIFETIME,
        **dict.fromkeys(
            ("cancelled_at", "failed_at", "completed_at", "required_action", "last_error")
        ),
        "model": sent.get("model") or assistant["model"],
        "instructions": " ".join(word for word in words if word),
        "tools": assistant["tools"] if tools is None else [completed(tool) for tool in tools],
        "metadata": sent.get("metadata") or {},
        "temperature": _first(sent.get("temperature"), assistant["temperature"]),
        "top_p": _first(sent.get("top_p"), assistant["top_p"]),
        "max_prompt_tokens": sent.get("max_prompt_tokens"),
        "max_completion_tokens": sent.get("max_completion_tokens"),
        "truncation_strategy": {
            "last_messages": None,
            **(sent.get("truncation_strategy") or {"type": "auto"}),
        },
        "incomplete_details": None,
        "usage": None,
        "response_format": sent.get("response_format") or assistant["response_format"],
        "tool_choice": sent.get("tool_choice") or "auto",
        "parallel_tool_calls": sent.get("parallel_tool_calls", True),
        "reasoning_effort": sent.get("reasoning_effort") or assistant.get("reasoning_effort"),
        "tool_resources": {},
    }
    return call.store.add("run", thread.id, body).body


def _first(value: Any, other: Any) -> Any:
    return other if value is None else value


def _not_streamed(sent: dict[str, Any]) -> dict[str, Any]:
    if sent.get("stream"):
        raise bad_request(
            "The emulator does not stream runs.", param="stream", code="unsupported_value"
        )
    return sent


def _run(call: Call) -> ObjectRow:
    return call.path_record(
        "run", find_thread(call).id, "run_id", "No run found with id '{id}'.", with_param=False
    )


def _put(call: Call, run: ObjectRow, **changes: Any) -> dict[str, Any]:
    run.body.update(changes)
    call.store.changed(run)
    return run.body


# --- progress of runs


def _move_on(call: Call, run: ObjectRow) -> None:
    """Advance a run by one step, since it was read."""
    status = run.body["status"]
    if status in ACTIVE and run.body["expires_at"] <= call.now:
        _put(call, run, status="expired", required_action=None)
    elif status == "queued":
        _put(call, run, status="in_progress", started_at=run.body["started_at"] or call.now)
    elif status == "cancelling":
        _put(call, run, status="cancelled", cancelled_at=call.now)
    elif status == "in_progress":
        functions = [
            tool["function"]["name"] for tool in run.body["tools"] if tool["type"] == "function"
        ]
        called = len(call.store.collection("run_step", run.id)) > 0
        if functions and not called and run.body["tool_choice"] != "none":
            _ask_for_outputs(call, run, functions[0])
        else:
            _complete(call, run)


def _ask_for_outputs(call: Call, run: ObjectRow, function: str) -> None:
    asked = {
        "id": ids.fresh("tool_call"),
        "type": "function",
        "function": {"name": function, "arguments": "{}"},
    }
    shown = {**asked, "function": {"name": function, "arguments": "{}", "output": None}}
    _add_step(call, run, "in_progress", {"type": "tool_calls", "tool_calls": [shown]})
    action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [asked]}}
    _put(call, run, status="requires_action", required_action=action)


def _complete(call: Call, run: ObjectRow) -> None:
    said = _last_words(call, run)
    words = f"You said: {said}" if said else "Hello."
    content = [{"type": "text", "text": words}]
    message = make_message(
        call, find_thread(call), {"role": "assistant", "content": content}, run=run
    )
    step = {"type": "message_creation", "message_creation": {"message_id": message.id}}
    _add_step(call, run, "completed", step)
    usage = _usage(len(said.split()), len(words.split()))
    _put(call, run, status="completed", completed_at=call.now, expires_at=None, usage=usage)


def _last_words(call: Call, run: ObjectRow) -> str:
    """The last text of a user in the thread."""
    messages = call.store.collection("thread_message", run.scope).ordered()
    texts = [
        part["text"]["value"]
        for message in messages
        if message.body["role"] == "user"
        for part in message.body["content"]
        if part["type"] == "text"
    ]
    return texts[-1] if texts else ""


def _usage(read: int, written: int) -> dict[str, int]:
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


# --- steps


def list_steps(call: Call) -> dict[str, Any]:
    return call.list_answer(call.store.collection("run_step", _run(call).id), page_of(call.query))


def retrieve_step(call: Call) -> dict[str, Any]:
    refusal = "No run step found with id '{id}'."
    return call.path_record("run_step", _run(call).id, "step_id", refusal, with_param=False).body


def _add_step(call: Call, run: ObjectRow, status: str, details: dict[str, Any]) -> None:
    done = status == "completed"
    body = {
        "id": ids.fresh("run_step"),
        "object": "thread.run.step",
        "created_at": call.now,
        "run_id": run.id,
        "assistant_id": run.body["assistant_id"],
        "thread_id": run.body["thread_id"],
        "type": details["type"],
        "status": status,
        "cancelled_at": None,
        "completed_at": call.now if done else None,
        "expired_at": None,
        "failed_at": None,
        "last_error": None,
        "metadata": {},
        "step_details": details,
        "usage": _usage(0, 0) if done else None,
    }
    call.store.add("run_step", run.id, body)


_ALL = "/threads/{thread_id}/runs"
_ONE = f"{_ALL}/{{run_id}}"
_STEPS = f"{_ONE}/steps"
ROUTES = (
    Route("POST", "/threads/runs", create_thread_and_run, Access.PROJECT, beta=BETA),
    Route("GET", _ALL, list_runs, Access.PROJECT, beta=BETA),
    Route("POST", _ALL, create_run, Access.PROJECT, beta=BETA),
    Route("GET", _ONE, retrieve_run, Access.PROJECT, beta=BETA),
    Route("POST", _ONE, modify_run, Access.PROJECT, beta=BETA),
    Route("POST", f"{_ONE}/cancel", cancel_run, Access.PROJECT, beta=BETA),
    Route("POST", f"{_ONE}/submit_tool_outputs", submit_tool_outputs, Access.PROJECT, beta=BETA),
    Route("GET", _STEPS, list_steps, Access.PROJECT, beta=BETA),
    Route("GET", f"{_STEPS}/{{step_id}}", retrieve_step, Access.PROJECT, beta=BETA),
)
