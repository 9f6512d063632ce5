"""Control routes below /_emulator/: reset, seed, load, requests, state, options, faults, clock, keys.

They need no key and are not part of the emulated API. All errors are a plain 400 with a message.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from reconciler.emulator.answers import Answer
from reconciler.emulator.copies import Organization
from reconciler.emulator.faults import Fault
from reconciler.emulator.routes import ROUTER
from reconciler.emulator.state import State


def control(state: State, method: str, path: str, content: bytes) -> Answer:
    """Answer one control request."""
    name = path.removeprefix("/_emulator/")
    handler = _ROUTES.get((method, name))
    if handler is None:
        routes = ", ".join(f"{m} /_emulator/{n}" for m, n in _ROUTES)
        return Answer.of_json(
            {"error": {"message": f"No such control route; there are {routes}"}}, 404
        )
    try:
        return Answer.of_json(handler(state, json.loads(content) if content.strip() else {}))
    except (ValueError, TypeError) as error:
        return Answer.of_json({"error": {"message": str(error)}}, 400)


def _reset(state: State, body: Any) -> Any:  # noqa: ARG001 - the signature of every control route
    state.reset()
    return {"reset": True}


def _seed(state: State, body: Any) -> Any:
    return {"created": state.seed(_mapping(body))}


def _load(state: State, body: Any) -> Any:
    return state.load(Organization.parse(body), ROUTER)


def _requests(state: State, body: Any) -> Any:  # noqa: ARG001
    return {"requests": [record.as_json() for record in state.recorder.all()]}


def _clear_requests(state: State, body: Any) -> Any:  # noqa: ARG001
    state.recorder.clear()
    return {"requests": []}


def _options(state: State, body: Any) -> Any:
    state.change_options(_mapping(body))
    return {"options": state.options.as_json()}


def _add_fault(state: State, body: Any) -> Any:
    specs = _mapping(body).get("faults", [body["fault"]] if "fault" in body else None)
    if not isinstance(specs, list) or not all(isinstance(spec, str) for spec in specs):
        raise ValueError('send {"fault": "on=…,do=…"} or {"faults": [...]}')
    for fault in [Fault.parse(spec) for spec in specs]:
        state.add_fault(fault)
    return _faults(state)


def _clear_faults(state: State, body: Any) -> Any:  # noqa: ARG001
    state.faults.replace(())
    return _faults(state)


def _faults(state: State) -> Any:
    return {"faults": [str(fault) for fault in state.faults.armed()]}


def _clock(state: State, body: Any) -> Any:
    return {"now": state.advance(_mapping(body).get("advance_seconds", 0))}


def _keys(state: State, body: Any) -> Any:
    key_id, used_at = _mapping(body).get("id"), _mapping(body).get("last_used_at")
    is_time = used_at is None or (isinstance(used_at, int) and not isinstance(used_at, bool))
    if not isinstance(key_id, str) or not is_time:
        raise ValueError('send {"id": "key_…", "last_used_at": UNIX_SECONDS or null}')
    state.set_last_used(key_id, used_at)
    return {"id": key_id, "last_used_at": used_at}


def _state(state: State, body: Any) -> Any:  # noqa: ARG001
    with state.store.lock:
        counts = state.store.counts()
        objects = {kind: [record.body for record in state.store.all(kind)] for kind in counts}
        # Serialize and parse, so that the response is a copy of the records.
        copied = json.loads(json.dumps(objects))
    return {
        "options": state.options.as_json(),
        **_faults(state),
        "counts": counts,
        "objects": copied,
    }


def _mapping(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise TypeError("send a JSON object")
    return body


_ROUTES: dict[tuple[str, str], Callable[[State, Any], Any]] = {
    ("POST", "reset"): _reset,
    ("POST", "seed"): _seed,
    ("POST", "load"): _load,
    ("GET", "requests"): _requests,
    ("DELETE", "requests"): _clear_requests,
    ("POST", "options"): _options,
    ("POST", "faults"): _add_fault,
    ("DELETE", "faults"): _clear_faults,
    ("GET", "state"): _state,
    ("POST", "clock"): _clock,
    ("POST", "keys"): _keys,
}
