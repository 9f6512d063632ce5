"""Keeps the answers to GET requests, so that each is sent once, and makes recordings of them."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from reconciler.api.transport.request import Request
from reconciler.api.transport.responses import Response
from reconciler.errors import ApiError
from reconciler.kinds import KINDS
from reconciler.model.comparing import with_hidden
from reconciler.model.kind import Kind
from reconciler.model.secret import Redactor
from reconciler.rehearsal.recording import (
    RecordedCalls,
    RecordedList,
    RecordedObject,
    RecordedRefusal,
)

_PROJECT_HEADER = "openai-project"
_CURSORS = ("after", "page")
_PARAMETER = re.compile(r"\{\w+\}")
_NOT_RECORDED = (
    "/organization/audit_logs",
    "/organization/usage",
    "/organization/costs",
    "/models",
)
"""Answers that the emulator makes itself."""

_FOR_GOOD = (401, 403, 404, 410)

Slot = tuple[bool, str]
"""Whether the key is the admin key, and the name of its project in the configuration."""


class _List(Struct):
    slot: Slot
    path: str
    query: dict[str, str]
    template: str
    items: list[dict[str, Any]] = field(default_factory=list)
    has_more: bool = False


class Capture:
    """A `ReadLog` that sends each GET once and keeps its answer. Safe to use from threads.

    `redactor` masks the secrets of this run in kept answers.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._lock = threading.Lock()
        self._gates: dict[tuple[Any, ...], threading.Lock] = {}
        self._answers: dict[tuple[Any, ...], Response] = {}
        self._lists: dict[tuple[Any, ...], _List] = {}
        self._objects: dict[tuple[Slot, str], tuple[str, dict[str, Any]]] = {}
        self._refusals: dict[tuple[Slot, str], ApiError] = {}
        self._projects: dict[str, str] = {}
        self._calls: Counter[tuple[str, str, bool]] = Counter()

    def exchange(self, request: Request, send: Callable[[Request], Response]) -> Response:
        """The answer to a request, from memory where it was sent before."""
        key = (_slot(request), request.target, _query(request.query))
        with self._lock:
            gate = self._gates.setdefault(key, threading.Lock())
        # Kinds that share a list ask for it at the same time; the first one sends the request.
        with gate:
            known = self._answers.get(key)
            return known if known is not None else self._send(key, request, send)

    def _send(
        self, key: tuple[Any, ...], request: Request, send: Callable[[Request], Response]
    ) -> Response:
        try:
            response = send(request)
        except ApiError as error:
            with self._lock:
                self._count(request)
                self._note_refusal(request, error)
            raise
        with self._lock:
            self._count(request)
            self._answers[key] = response
            if self._is_recorded(request):
                self._note_project(request, response.headers)
                self._note(request, response.body)
        return response

    # Results

    def project_of(self, name: str | None) -> str:
        """The id of a project by the name of its key; empty if no answer named it."""
        return self._projects.get(name or "", "")

    def lists(self) -> list[RecordedList]:
        """Every list; the longest reading of each."""
        # Readers may ask for the same list with other queries, and stop after the first page.
        longest: dict[tuple[str, str], _List] = {}
        for entry in self._lists.values():
            place = (self._project(entry.slot), entry.path)
            if place not in longest or len(longest[place].items) < len(entry.items):
                longest[place] = entry
        lists = []
        for entry in longest.values():
            items = [self._clean(entry.template, item) for item in entry.items]
            project = self._project(entry.slot)
            lists.append(RecordedList(entry.path, items, project, entry.query, entry.has_more))
        return lists

    def objects(self) -> list[RecordedObject]:
        """Every object that was read singly."""
        objects = []
        for (slot, path), (template, body) in self._objects.items():
            clean = self._clean(template, body)
            objects.append(RecordedObject(path, clean, self._project(slot)))
        return objects

    def refusals(self) -> list[RecordedRefusal]:
        """Every path that the API refused for good."""
        refusals = []
        for (slot, path), error in self._refusals.items():
            # Other errors may have been temporary.
            if error.status in _FOR_GOOD:
                message = self._redactor(str(error).split("\n")[0])
                project = self._project(slot)
                refusals.append(RecordedRefusal(path, error.status, message, error.code, project))
        return refusals

    def calls(self) -> list[RecordedCalls]:
        """The requests by route."""
        recorded = []
        for (method, path, is_admin), calls in sorted(self._calls.items()):
            recorded.append(RecordedCalls(method, path, calls, is_admin))
        return recorded

    # Notes

    def _is_recorded(self, request: Request) -> bool:
        return not request.is_download and not request.target.startswith(_NOT_RECORDED)

    def _count(self, request: Request) -> None:
        self._calls[request.method, request.path, request.key.is_admin] += 1

    def _note_project(self, request: Request, headers: Mapping[str, str]) -> None:
        if not request.key.is_admin:
            id = request.key.project_id or headers.get(_PROJECT_HEADER, "").strip()
            if id:
                self._projects.setdefault(request.key.project or "", id)

    def _note_refusal(self, request: Request, error: ApiError) -> None:
        if self._is_recorded(request):
            if not request.key.is_admin and request.key.project_id:
                self._projects.setdefault(request.key.project or "", request.key.project_id)
            self._refusals[_slot(request), _decoded(request)] = error

    def _note(self, request: Request, body: dict[str, Any]) -> None:
        slot, path = _slot(request), _decoded(request)
        items = body.get("data")
        if not isinstance(items, list):
            self._objects[slot, path] = (request.path, body)
            return
        query = {name: str(value) for name, value in request.query.items() if name not in _CURSORS}
        key = (slot, path, _query(query))
        # A first page begins the list again, so that no item is in it twice.
        if request.is_first_page or key not in self._lists:
            self._lists[key] = _List(slot, path, query, request.path)
        self._lists[key].items += [item for item in items if isinstance(item, dict)]
        self._lists[key].has_more = body.get("has_more") is True

    def _project(self, slot: Slot) -> str:
        is_admin, name = slot
        return "" if is_admin else self._projects.get(name) or _unknown_project(name)

    def _clean(self, template: str, body: dict[str, Any]) -> dict[str, Any]:
        """An answer without the fields that hold secrets, and without known secrets elsewhere."""
        shown = dict(body)
        for kind in _kinds_at(template):
            for declared in kind.shown_otherwise:
                name = declared.name
                if declared.has_hidden and name in shown:
                    shown[name] = with_hidden(declared.type, shown[name], None)
                elif declared.takes_secrets:
                    shown.pop(name, None)
        masked: dict[str, Any] = self._redactor.masked(shown)
        return masked


def _unknown_project(name: str) -> str:
    """Stands for the project of a key whose answers do not name it."""
    return f"proj_of_the_key_{name or 'default'}"


def _slot(request: Request) -> Slot:
    return request.key.is_admin, "" if request.key.is_admin else request.key.project or ""


def _query(query: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, str(value)) for name, value in query.items()))


def _decoded(request: Request) -> str:
    return request.path.format_map(dict(request.ids))


def _kinds_at(template: str) -> Iterator[Kind]:
    return iter(_KINDS_AT.get(_PARAMETER.sub("{}", template), ()))


def _kinds_by_path() -> dict[str, list[Kind]]:
    kinds: dict[str, list[Kind]] = {}
    for kind in KINDS.values():
        for collection in kind.collections:
            path = _PARAMETER.sub("{}", collection)
            for place in (path, f"{path}/{{}}"):
                kinds.setdefault(place, []).append(kind)
    return kinds


_KINDS_AT = _kinds_by_path()
