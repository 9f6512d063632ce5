"""Evaluates the requests to a copy during an apply."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from reconciler.emulator.recorder import RequestRecord
from reconciler.model.rehearsal import RouteCalls
from reconciler.rehearsal.recording import Recording

_FAILED_FROM = 400


def calls_by_route(requests: Sequence[RequestRecord]) -> list[RouteCalls]:
    """The calls by route, writes first, the most frequent first."""
    calls: Counter[tuple[str, str, bool]] = Counter()
    refused: Counter[tuple[str, str, bool]] = Counter()
    for request in requests:
        key = (request.method, request.route or request.path, request.key_class == "admin")
        calls[key] += 1
        if request.status >= _FAILED_FROM or request.status == 0:
            refused[key] += 1
    routes = []
    for key, number in calls.items():
        method, path, is_admin = key
        routes.append(RouteCalls(method, path, number, refused[key], is_admin))
    return sorted(routes, key=lambda route: (not route.writes, -route.calls, route.path))


def refused_calls(requests: Sequence[RequestRecord], redact: Callable[[str], str]) -> Iterator[str]:
    """A sentence for each refused call; looking for an absent object does not count."""
    seen: dict[str, None] = {}
    for request in requests:
        is_lookup = request.method == "GET" and request.status == 404
        if request.status < _FAILED_FROM or is_lookup:
            continue
        body = request.response_body
        error = body.get("error") if isinstance(body, dict) else None
        message = error.get("message") if isinstance(error, dict) else ""
        seen[redact(f"{request.method} {request.path}: {request.status} {message}".strip())] = None
    yield from seen


def guessed_lists(requests: Sequence[RequestRecord], recording: Recording) -> Iterator[str]:
    """Lists that the engine read in the copy and that are not in the recording."""
    known = {entry.path for entry in recording.lists}
    known |= {refusal.path for refusal in recording.refusals}
    # A list inside an object that the copy has created is empty at the API too.
    made = set()
    for request in requests:
        if request.method == "POST" and isinstance(request.response_body, dict):
            made.add(str(request.response_body.get("id")))
    guessed: dict[str, None] = {}
    for request in requests:
        body = request.response_body if request.method == "GET" else None
        is_list = isinstance(body, dict) and isinstance(body.get("data"), list)
        is_own = bool(made.intersection(request.path.split("/")))
        if is_list and not is_own and request.path not in known and _is_copied(request.path):
            guessed[request.path] = None
    for path in guessed:
        yield f"{path}: was not read live, so the copy takes it as empty"


def _is_copied(path: str) -> bool:
    return not path.startswith(("/organization/audit_logs", "/models"))
