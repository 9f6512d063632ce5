"""Routes and the `Call` that handlers receive.

A route is an entry in `ROUTES` of a module in `routes/`: method, path, handler and kind of key. A
handler is a function of a `Call` that returns the JSON of the response, or a `Reply` if it is not
JSON. It runs under the store's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from reconciler.emulator.errors import ErrorAnswer, bad_request, not_found
from reconciler.emulator.options import EmulatorOptions
from reconciler.emulator.paging import Page, envelope, listing
from reconciler.emulator.query import Query
from reconciler.emulator.store import ORGANIZATION, Collection, ObjectRow, Store
from reconciler.emulator.validation import Check


class Access(Enum):
    """The kind of key that a route requires; the two never overlap."""

    ADMIN = "admin"
    PROJECT = "project"


@dataclass(frozen=True)
class Principal:
    """The caller: its kind of key, its project, and its name in the audit log."""

    access: Access
    key_id: str
    project: ObjectRow | None = None
    actor: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Upload:
    """A file uploaded in a form."""

    filename: str
    content: bytes


Form = dict[str, "str | Upload"]


@dataclass(frozen=True)
class Reply:
    """A response that is not JSON."""

    content: bytes
    content_type: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Call:
    """One request, as handlers see it."""

    store: Store
    options: EmulatorOptions
    principal: Principal
    params: dict[str, str]
    query: Query
    sent: Any = None
    form: Form = field(default_factory=dict)

    def json(self, shape: Check) -> dict[str, Any]:
        """Return the validated body; a missing body counts as an empty object."""
        sent = {} if self.sent is None else self.sent
        if not isinstance(sent, dict):
            raise bad_request("Invalid body: expected a JSON object.", code="invalid_type")
        result: dict[str, Any] = shape(sent, "")
        return result

    @property
    def now(self) -> int:
        return self.store.now()

    @property
    def project_id(self) -> str:
        """The project of the call; only for routes that require a project key."""
        if self.principal.project is None:
            raise RuntimeError("an admin key acts in no project")
        return self.principal.project.id

    def path_record(
        self, kind: str, scope: str, name: str, refusal: str, *, with_param: bool = True
    ) -> ObjectRow:
        """Return the record whose id stands in the path as `name`, or refuse, with that name as `param` unless told.

        In the refusal `{id}` stands for that id, and the name of another segment for what stands
        there.
        """
        id = self.params[name]
        record = self.store.get(kind, scope, id)
        if record is None:
            raise not_found(
                refusal.format(id=id, **self.params), param=name if with_param else None
            )
        return record

    def removed(self, record: ObjectRow, object: str) -> dict[str, Any]:
        """Remove a record, and return the answer that says so as an `object`."""
        self.store.remove(record)
        return {"id": record.id, "object": object, "deleted": True}

    def path_project(self, *, to_change: bool = False) -> ObjectRow:
        """Return the project in an admin path; archived projects are read-only."""
        project = self.path_record(
            "project", ORGANIZATION, "project_id", "No project found with id '{id}'."
        )
        if to_change and project.body["status"] == "archived":
            raise bad_request(
                f"Project '{project.id}' is archived and cannot be changed.", param="project_id"
            )
        return project

    def scope_project(self, *, to_change: bool = False) -> ObjectRow | None:
        """Return the project in an admin path, or None for paths of the organization."""
        return self.path_project(to_change=to_change) if "project_id" in self.params else None

    @property
    def scope_id(self) -> str:
        """The scope of an admin path: the project it names, otherwise the organization."""
        project = self.scope_project()
        return ORGANIZATION if project is None else project.id

    def is_listed(self, record: ObjectRow) -> bool:
        """Whether lists already show the record; they may lag behind creates."""
        return record.born + self.options.list_lag_ms / 1000 <= self.store.clock()

    def is_too_young(self, route: Route) -> bool:
        """Whether the path names an object that single reads do not show yet; they may lag behind creates."""
        if not self.options.read_lag_ms or not route.path.endswith("}"):
            return False
        id = self.params[route.path.rpartition("{")[2].removesuffix("}")]
        born = [
            record.born
            for kind in self.store.counts()
            for record in self.store.all(kind)
            if record.id == id
        ]
        return any(moment + self.options.read_lag_ms / 1000 > self.store.clock() for moment in born)

    def list_answer(
        self,
        collection: Collection,
        page: Page,
        *,
        render: Callable[[ObjectRow], dict[str, Any]] = lambda record: record.body,
        keep: Callable[[ObjectRow], bool] = lambda record: True,  # noqa: ARG005 - the default keeps all
    ) -> dict[str, Any]:
        """Return a page of a collection in the list envelope."""
        found, more = self.page(collection, page, keep=keep)
        return envelope([render(record) for record in found], more)

    def page(
        self,
        collection: Collection,
        page: Page,
        *,
        keep: Callable[[ObjectRow], bool] = lambda record: True,  # noqa: ARG005 - the default keeps all
    ) -> tuple[list[ObjectRow], bool]:
        """Return the records of a page that lists already show, and whether there are more."""
        return listing(collection).cut(page, lambda record: self.is_listed(record) and keep(record))


Handler = Callable[[Call], "dict[str, Any] | Reply"]


@dataclass(frozen=True)
class Route:
    """One method of one path. `{name}` in the path matches one segment."""

    method: str
    path: str
    handler: Handler
    access: Access
    beta: str | None = None
    """The value of the OpenAI-Beta header without which the route refuses."""
    takes_form: bool = False
    """Whether the body is multipart/form-data instead of JSON."""
    repeats_detail: bool = False
    """Whether errors carry the second key of the files endpoints."""
    status: int = 200
    """What a success is answered with."""


class Router:
    """Finds the route of a method and a path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._by_length: dict[int, list[tuple[list[str], dict[str, Route]]]] = {}
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        segments = route.path.split("/")
        candidates = self._by_length.setdefault(len(segments), [])
        for known, methods in candidates:
            if known == segments:
                methods[route.method] = route
                return
        candidates.append((segments, {route.method: route}))

    def find(self, path: str) -> tuple[dict[str, Route], dict[str, str]]:
        """Return the routes of a path by method, and its path parameters; no routes if it is unknown."""
        parts = path.split("/")
        for segments, methods in self._by_length.get(len(parts), ()):
            params = _match(segments, parts)
            if params is not None:
                return methods, params
        return {}, {}


def _match(segments: list[str], parts: list[str]) -> dict[str, str] | None:
    params: dict[str, str] = {}
    for segment, part in zip(segments, parts, strict=True):
        if segment.startswith("{") and part:
            params[segment[1:-1]] = part
        elif segment != part:
            return None
    return params


def wrong_method(method: str, path: str, allowed: Iterable[str]) -> ErrorAnswer:
    return ErrorAnswer(
        405,
        f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)",
        code="method_not_supported",
        headers={"Allow": ", ".join(sorted(allowed))},
    )
