"""Scopes, and the live state read from them.

A scope is one list of the API: kind, project, and the parent for kinds that live inside others.
`refresh/` fills `LiveState`; afterwards it is only read. It knows no provider, so planning can use
it.
"""

from __future__ import annotations

import builtins
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from reconciler.errors import ApiError, CredentialError
from reconciler.model.calls import Parent
from reconciler.model.kind import Kind
from reconciler.model.resource import LiveObject


class Scope(Struct, frozen=True):
    """One list of the API: the kind's name, the project's name in the configuration, the parent."""

    kind: str
    project: str | None
    parent: Parent = ()

    @property
    def sort_key(self) -> tuple[str, str, Parent]:
        """Projects first, so that requests for one project go out together."""
        return self.project or "", self.kind, self.parent


OwnCallFields = Mapping[tuple[Scope, str], Collection[str]]
"""Fields with calls of their own to read, by scope and id of the object."""


class LiveState:
    """The objects of each scope by id, and the failed reads."""

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self.kinds = kinds
        # Each kind of "not read" permits other conclusions. Only a listed scope proves that an
        # object is absent.
        self.unreadable: set[Scope] = set()
        """Scopes that may exist but that no key opens."""
        self.failed: dict[Scope, ApiError] = {}
        """Refused lists, each with the API's answer."""
        self.failed_objects: dict[tuple[Scope, str], ApiError] = {}
        """Refused reads of single objects, each with the API's answer."""
        self.unsearched: dict[Scope, ApiError | CredentialError] = {}
        """Optional lists that were refused or had no key."""
        self.unread: dict[Scope, ApiError | CredentialError] = {}
        """Lists that only an overview needs, and that were refused or had no key. Their objects are
        unknown.
        """
        self._unreadable_kinds: set[tuple[str, str | None]] = set()
        self._listed: dict[Scope, dict[str, LiveObject]] = {}
        self._scopes: dict[tuple[str, str | None], dict[Scope, None]] = defaultdict(dict)

    @property
    def listed(self) -> Mapping[Scope, Mapping[str, LiveObject]]:
        """The objects of each scope that was listed."""
        return self._listed

    def list(self, scope: Scope, objects: Iterable[LiveObject]) -> None:
        """Store the objects of a scope."""
        self._listed[scope] = {live.id: live for live in objects}
        self._scopes[scope.kind, scope.project][scope] = None

    def forget(self, scope: Scope) -> None:
        """Drop the objects of a scope, so that it is listed again."""
        # Both tables or neither: a scope in one of them alone would be listed and yet not searched.
        del self._listed[scope]
        del self._scopes[scope.kind, scope.project][scope]

    def lacking(self, wanted: Iterable[tuple[Scope, str]]) -> builtins.list[tuple[Scope, str]]:
        """The objects among `wanted` that their lists lack. A scope that was not listed proves
        nothing.
        """
        # In one pass without further calls, because a large state has thousands of known objects.
        listed = self._listed
        return [(scope, id) for scope, id in wanted if scope in listed and id not in listed[scope]]

    def scope_of(self, kind: str, project: str | None, id: str) -> Scope:
        """The scope that lists an object. Raises ValueError if the id cannot belong to the kind."""
        return Scope(kind, project, self.kinds[kind].parent_and_id(id)[0])

    def objects(self, kind: str, project: str | None) -> Collection[LiveObject]:
        """All objects of a kind in a project, of every parent, ended ones included."""
        # The common case without a copy: most kinds have one list per project.
        if not self.kinds[kind].parents:
            return self._listed.get(Scope(kind, project), {}).values()
        scopes = self._scopes.get((kind, project), ())
        return [live for scope in scopes for live in self._listed[scope].values()]

    def was_listed(self, kind: str, project: str | None) -> bool:
        """Whether the list of a kind without parents was read in a project."""
        return Scope(kind, project) in self._listed

    def find(self, kind: str, project: str | None, id: str) -> LiveObject | None:
        """An object by id; None if it was not read."""
        try:
            # The id contains the parent, and so the list: no search through all lists of the kind.
            return self._listed.get(self.scope_of(kind, project, id), {}).get(id)
        except ValueError:
            return None

    def mark_unreadable(self, scopes: Collection[Scope]) -> None:
        """Record that no key opens these scopes."""
        self.unreadable.update(scopes)
        self._unreadable_kinds.update((scope.kind, scope.project) for scope in scopes)

    def fail(self, scope: Scope, error: ApiError) -> None:
        """Record that the API refused the list of a scope."""
        self.failed[scope] = error
        # Indexed without the parent, because callers ask by address and do not know the parent.
        self._unreadable_kinds.add((scope.kind, scope.project))

    def is_unreadable(self, kind: str, project: str | None) -> bool:
        """Whether any scope of a kind in a project could not be read."""
        return (kind, project) in self._unreadable_kinds

    def put(self, live: LiveObject) -> None:
        """Store an object, replacing an earlier reading."""
        # A single read can reach an object whose list was not requested.
        scope = self.scope_of(live.kind.name, live.project, live.id)
        if scope not in self._listed:
            self.list(scope, ())
        self._listed[scope][live.id] = live
