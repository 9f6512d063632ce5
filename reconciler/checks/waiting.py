"""Background work: polled until it ends, given tool outputs on request, cancelled on timeout."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

from reconciler.checks.client import CheckClient
from reconciler.errors import ReconcilerError
from reconciler.model.checking import CheckFinding
from reconciler.rules.operations import Operation, PollPlan

# The pauses between two reads grow from the first to the second.
_FIRST_SECONDS = 0.2
_MOST_SECONDS = 3.0
# How long cancelled work may take to end.
_ENDING_SECONDS = 10.0


def wait(
    client: CheckClient,
    operation: Operation,
    begun: dict[str, Any],
    *,
    seconds: float,
    outputs: Mapping[str, Any],
) -> tuple[dict[str, Any], list[CheckFinding]]:
    """The work in its last state, and a finding if it did not end in time."""
    waiting = operation.waiting
    if waiting is None:
        return begun, []
    now = begun
    try:
        # Not `Waits.poll`: the first state is known already, tool outputs are sent without a pause,
        # and each wait names the present status.
        ends_at, pause = time.monotonic() + seconds, _FIRST_SECONDS
        while _is_unfinished(waiting, now):
            status = now.get("status")
            left = ends_at - time.monotonic()
            if left <= 0:
                ended = _ended(client, waiting, _cancelled(client, waiting, now))
                message = f"elapsed while it was {status}; it was cancelled"
                return ended, [CheckFinding("wait_seconds", message)]
            if status == waiting.asks:
                now = _answered(client, waiting, now, outputs)
                continue
            client.client.http.waits.pause(min(pause, left), f"{operation.name} is {status}")
            pause = min(pause * 1.5, _MOST_SECONDS)
            now = client.follow(waiting.read, now)
    except BaseException:
        # An interrupt too: work that nobody waits for would go on and cost money.
        _cancelled(client, waiting, now)
        raise
    return now, []


def _is_unfinished(waiting: PollPlan, now: Mapping[str, Any]) -> bool:
    status = now.get("status")
    if status in waiting.running:
        return True
    return waiting.asks is not None and status == waiting.asks


def _answered(
    client: CheckClient, waiting: PollPlan, now: dict[str, Any], outputs: Mapping[str, Any]
) -> dict[str, Any]:
    """The work after it got the outputs of the functions that it called."""
    calls_of, body_of = _DIALECTS[waiting.dialect]
    answers = []
    for call in calls_of(now):
        name = call.get("name")
        if not isinstance(name, str):
            raise ReconcilerError("A function without a name is called.")
        if name not in outputs:
            raise ReconcilerError(
                f'The model called the function "{name}", which spec.tool_outputs does not list.',
                hint="Add its output: a text, or JSON that is sent as text.",
            )
        answers.append((call, _output_text(outputs[name])))
    if not answers or waiting.answer is None:
        raise ReconcilerError("The run waits for an action other than function outputs.")
    answer = client.follow(waiting.answer, now, body=body_of(answers))
    return _state_after(client, waiting, now, answer)


def _output_text(output: Any) -> str:
    if isinstance(output, str):
        return output
    return json.dumps(output, ensure_ascii=False)


def _state_after(
    client: CheckClient, waiting: PollPlan, now: dict[str, Any], answer: dict[str, Any]
) -> dict[str, Any]:
    """The work after a call whose answer may not show it."""
    if "status" in answer:
        return answer
    return client.follow(waiting.read, now, last=True)


_Calls = list[dict[str, Any]]
_Answers = list[tuple[dict[str, Any], str]]


def _calls_of_run(now: Mapping[str, Any]) -> _Calls:
    # No part of an answer has a certain shape, not even if its status promises one.
    required = _map_at(_map_at(now, "required_action"), "submit_tool_outputs")
    calls = required.get("tool_calls")
    if not isinstance(calls, list):
        return []
    shown = []
    for call in calls:
        function = _map_at(call, "function")
        if function:
            shown.append({"id": call.get("id"), "name": function.get("name")})
    return shown


def _map_at(value: Any, name: str) -> Mapping[str, Any]:
    """The map below a name; an empty one if there is none."""
    if isinstance(value, Mapping) and isinstance(value.get(name), Mapping):
        return cast(Mapping[str, Any], value[name])
    return {}


def _answer_to_run(answers: _Answers) -> dict[str, Any]:
    outputs = [{"tool_call_id": call["id"], "output": output} for call, output in answers]
    return {"tool_outputs": outputs}


def _calls_of_session(now: Mapping[str, Any]) -> _Calls:
    actions = now.get("required_actions")
    if not isinstance(actions, list):
        return []
    maps = [action for action in actions if isinstance(action, dict)]
    return [action for action in maps if action.get("type") == "function_call"]


def _answer_to_session(answers: _Answers) -> dict[str, Any]:
    results = [
        {
            "type": "agent.session.input.tool_result",
            "call_id": call.get("call_id"),
            "turn_id": call.get("turn_id"),
            "success": True,
            "output": output,
        }
        for call, output in answers
    ]
    return {"events": results}


_DIALECTS: Mapping[
    str, tuple[Callable[[Mapping[str, Any]], _Calls], Callable[[_Answers], dict[str, Any]]]
] = {
    "run": (_calls_of_run, _answer_to_run),
    "session": (_calls_of_session, _answer_to_session),
}
_CANCELS: Mapping[str, Any] = {
    "run": None,
    "session": {"events": [{"type": "agent.session.input.cancel"}]},
}


def _ended(client: CheckClient, waiting: PollPlan, now: dict[str, Any]) -> dict[str, Any]:
    """Cancelled work after its end or a short wait: until it ends, it may create more objects."""
    ends_at = time.monotonic() + _ENDING_SECONDS
    while now.get("status") in waiting.running and time.monotonic() < ends_at:
        client.client.http.waits.pause(_FIRST_SECONDS, "it is being cancelled")
        now = client.follow(waiting.read, now)
    return now


def _cancelled(client: CheckClient, waiting: PollPlan, now: dict[str, Any]) -> dict[str, Any]:
    """The work after its cancellation; unchanged where it cannot be cancelled."""
    try:
        answer = client.follow(waiting.cancel, now, body=_CANCELS[waiting.dialect], last=True)
        return _state_after(client, waiting, now, answer)
    except ReconcilerError:
        # The work has ended meanwhile, or the server is down. The check tests neither.
        return now
