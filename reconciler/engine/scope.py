"""Where objects are listed, and what was read from there.

A scope is one list of the API: a kind, a project, and the parent object for kinds that live inside others. `LiveState`
is filled by `refresh/` and only looked up afterwards. It knows nothing of providers, so that planning can use it.
"""

from __future__ import annotations

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
"""Fields with calls of their own that are to be read, by the scope and id of their object."""


class LiveState:
    """What was read: the objects of each scope by id, and the reads that failed."""

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self.kinds = kinds
        self.unreadable: set[Scope] = set()
        """Scopes that may exist, and that no key opens."""
        self.failed: dict[Scope, ApiError] = {}
        """Lists that the API refused, each with its answer."""
        self.failed_objects: dict[tuple[Scope, str], ApiError] = {}
        """Objects whose own reads the API refused, each with its answer."""
        self.unsearched: dict[Scope, ApiError | CredentialError] = {}
        """Optional lists that were refused or had no key."""
        self.unread: dict[Scope, ApiError | CredentialError] = {}
        """Lists that only an overview wants, and that were refused or had no key. Nothing is known of them."""
        self._unreadable_kinds: set[tuple[str, str | None]] = set()
        self._listed: dict[Scope, dict[str, LiveObject]] = {}
        self._scopes: dict[tuple[str, str | None], dict[Scope, None]] = defaultdict(dict)

    @property
    def listed(self) -> Mapping[Scope, Mapping[str, LiveObject]]:
        """The objects of each scope that was listed."""
        return self._listed

    def list(self, scope: Scope, objects: Iterable[LiveObject]) -> None:
        """Remember the objects of a scope."""
        self._listed[scope] = {live.id: live for live in objects}
        self._scopes[scope.kind, scope.project][scope] = None

    def forget(self, scope: Scope) -> None:
        """Forget the objects of a scope, so that it is listed again."""
        del self._listed[scope]
        del self._scopes[scope.kind, scope.project][scope]

    def scope_of(self, kind: str, project: str | None, id: str) -> Scope:
        """The scope that lists an object; ValueError where the kind has no such ids."""
        return Scope(kind, project, self.kinds[kind].parent_and_id(id)[0])

    def objects(self, kind: str, project: str | None) -> Collection[LiveObject]:
        """All objects of a kind in a project, of every parent, ended ones included."""
        if not self.kinds[kind].parents:
            return self._listed.get(Scope(kind, project), {}).values()
        scopes = self._scopes.get((kind, project), ())
        return [live for scope in scopes for live in self._listed[scope].values()]

    def was_listed(self, kind: str, project: str | None) -> bool:
        """Whether the list of a kind without parents was read in a project."""
        return Scope(kind, project) in self._listed

    def find(self, kind: str, project: str | None, id: str) -> LiveObject | None:
        """The object with an id, if it was read."""
        try:
            return self._listed.get(self.scope_of(kind, project, id), {}).get(id)
        except ValueError:
            return None

    def mark_unreadable(self, scopes: Collection[Scope]) -> None:
        """Note that no key opens these scopes."""
        self.unreadable.update(scopes)
        self._unreadable_kinds.update((scope.kind, scope.project) for scope in scopes)

    def fail(self, scope: Scope, error: ApiError) -> None:
        """Note that the API refused the list of a scope."""
        self.failed[scope] = error
        self._unreadable_kinds.add((scope.kind, scope.project))

    def is_unreadable(self, kind: str, project: str | None) -> bool:
        """Whether any scope of a kind in a project could not be read."""
        return (kind, project) in self._unreadable_kinds

    def put(self, live: LiveObject) -> None:
        """Remember an object, in place of an earlier reading of it."""
        scope = self.scope_of(live.kind.name, live.project, live.id)
        if scope not in self._listed:
            self.list(scope, ())
        self._listed[scope][live.id] = live
