"""Reads everything that the keys can read, each list once, whatever the manifests declare.

A list that is refused is noted and the rest goes on: other projects and kinds are not affected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct, field

from reconciler.app.session import Session
from reconciler.engine.binding.natural_keys import is_gone
from reconciler.engine.refresh.reader import Reader
from reconciler.engine.scope import LiveState, Scope
from reconciler.errors import CredentialError, RetiredError, UsageError
from reconciler.kinds import KINDS
from reconciler.model.kind import Field, Kind, Readable, ScopeType, TerminalState
from reconciler.model.resource import LiveObject
from reconciler.model.types import FileSetType

_PARENTS: Mapping[str, tuple[str, ...]] = {
    "group_id": ("Group", "ProjectGroup"),
    "user_id": ("User", "ProjectUser"),
    "workload_identity_provider_id": ("WorkloadIdentityProvider",),
    "vault_id": ("Vault",),
    "eval_id": ("Eval",),
}
"""By the field that names a parent: the parent's kind in the organization and in a project."""

_OF_A_KEY = "files, stores, agents and the other objects that take a key of the project"
_MOST_NAMED = 5
_ASSIGNED = "RoleAssignment"
_ROLE = "Role"


class Unread(Struct, frozen=True):
    """A list that could not be read, or was not asked for a stated reason."""

    kind: str
    project: str | None
    reason: str
    is_expected: bool = False
    """Whether the list was not requested: the server has no such objects, or no key is set."""


class Wanted(Struct, frozen=True):
    """What to read. An empty collection means everything."""

    kinds: frozenset[str] = frozenset()
    projects: frozenset[str] = frozenset()

    def wants_kind(self, kind: Kind) -> bool:
        """Whether objects of a kind are wanted."""
        return not self.kinds or kind.name in self.kinds

    def wants_project(self, name: str | None) -> bool:
        """Whether the objects of a project are wanted; None is the organization."""
        return not self.projects or name in self.projects


class Reading(Struct):
    """What was read."""

    live: LiveState
    projects: dict[str, LiveObject] = field(default_factory=dict)
    """The projects that are in use, by their name in the configuration."""
    archived: list[LiveObject] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)

    def objects(self, kind: str) -> list[LiveObject]:
        """The objects of a kind in every scope, in the order in which they were listed."""
        objects: list[LiveObject] = []
        for scope, listed in self.live.listed.items():
            if scope.kind == kind:
                objects += listed.values()
        return objects


NameProjects = Callable[[Sequence[LiveObject]], Mapping[str, str]]
"""Chooses the name of each project, by its id."""


def read_organization(session: Session, wanted: Wanted, name_projects: NameProjects) -> Reading:
    """Read all objects of the wanted kinds and projects. Sends nothing but GET requests.

    Raises ApiError where projects cannot be read at all, CredentialError without any key, and
    UsageError for an unknown project.
    """
    return _OrganizationReader(session, wanted, name_projects).read()


class _OrganizationReader:
    def __init__(self, session: Session, wanted: Wanted, name_projects: NameProjects) -> None:
        # Several kinds share one list, and this run writes nothing that would change it.
        session.provider.share_lists()
        self._session = session
        self._wanted = wanted
        self._name_projects = name_projects
        self._reader = Reader(session.provider, KINDS, parallelism=session.parallelism, pages={})
        self._reading = Reading(self._reader.state)
        self._has_admin_key = _has_key(session.keys.admin)
        self._has_default_key = session.keys.has_project(None)

    def read(self) -> Reading:
        if not self._has_admin_key and not self._has_default_key:
            self._require_any_key()
        self._read_projects()
        # In two steps, since the lists inside of objects follow from the lists of these objects.
        self._read_lists(list(self._outer_scopes()))
        self._read_lists(list(self._nested_scopes()))
        self._read_members()
        self._note_failures()
        return self._reading

    def _require_any_key(self) -> None:
        keys = self._session.keys
        if not any(keys.has_project(name) for name in self._session.stack.credentials.projects):
            raise CredentialError(
                "No key is set, so nothing can be read.",
                hint="Set OPENAI_ADMIN_KEY for the organization, and OPENAI_API_KEY for the objects "
                "of a project.",
            )

    def _read_projects(self) -> None:
        kind = next(kind for kind in KINDS.values() if kind.defines_project)
        if not self._has_admin_key:
            reason = "no admin key is set (OPENAI_ADMIN_KEY)"
            self._note("everything of the organization", None, reason, is_expected=True)
            return
        scope = Scope(kind.name, None)
        self._reader.read_lists([scope])
        # Nothing in a project can be reached without the list of projects.
        for error in self._reading.live.failed.values():
            raise error
        in_use: list[LiveObject] = []
        for live in self._reading.live.listed[scope].values():
            group = self._reading.archived if is_gone(live) else in_use
            group.append(live)
        # All at once: a name depends on those that other projects have.
        names = self._name_projects(in_use)
        for live in in_use:
            self._reading.projects[names[live.id]] = live
            self._session.provider.bind_project(names[live.id], live.id)
        self._check_projects()

    def _check_projects(self) -> None:
        for name in sorted(self._wanted.projects - self._reading.projects.keys()):
            known = ", ".join(sorted(self._reading.projects)[:10])
            raise UsageError(
                f"--project {name}: the organization has no project of that name",
                hint=f"Its projects are {known}.",
            )

    # Scopes

    def _outer_scopes(self) -> Iterator[Scope]:
        for kind in self._kinds():
            if kind.parents or kind.defines_project or not kind.calls.listable:
                continue
            yield from self._scopes_of(kind)

    def _kinds(self) -> list[Kind]:
        """The wanted kinds, and the kinds of their parents."""
        names = {kind.name for kind in KINDS.values() if self._wanted.wants_kind(kind)}
        for kind in KINDS.values():
            if kind.name in names:
                for fields in kind.parents:
                    names.update(_PARENTS.get(fields[-1], ()))
        # Whether the grants of a user are worth a call depends on the roles.
        if _ASSIGNED in names:
            names.add(_ROLE)
        return [kind for kind in KINDS.values() if kind.name in names]

    def _scopes_of(self, kind: Kind) -> Iterator[Scope]:
        wants_organization = self._wanted.wants_project(None)
        if kind.scope is ScopeType.PROJECT_KEY:
            yield from self._keyed_scopes(kind)
            return
        if not self._has_admin_key:
            return
        if kind.scope in (ScopeType.ORGANIZATION, ScopeType.EITHER) and wants_organization:
            yield Scope(kind.name, None)
        if kind.scope in (ScopeType.PROJECT, ScopeType.EITHER):
            for name in self._reading.projects:
                if self._wanted.wants_project(name):
                    yield Scope(kind.name, name)

    def _keyed_scopes(self, kind: Kind) -> Iterator[Scope]:
        """The projects with a key of their own, and that of the default key."""
        keys = self._session.keys
        if self._wanted.wants_project(None) and self._has_default_key:
            yield Scope(kind.name, None)
        for name in self._session.stack.credentials.projects:
            is_wanted = name in self._reading.projects and self._wanted.wants_project(name)
            if is_wanted and keys.has_project(name):
                yield Scope(kind.name, name)

    def _nested_scopes(self) -> Iterator[Scope]:
        for kind in self._kinds():
            if not kind.parents or not kind.calls.listable:
                continue
            for path in kind.collections:
                yield from self._inside(kind, path)

    def _inside(self, kind: Kind, path: str) -> Iterator[Scope]:
        """The scopes of one collection: one for each object that can be the parent."""
        in_project = "{project}" in path
        for fields in kind.parents:
            if f"{{{fields[-1]}}}" not in path or fields[-1] not in _PARENTS:
                continue
            for parent in self._parents_of(fields[-1], in_project=in_project):
                is_assignment = kind.name == _ASSIGNED
                if is_assignment and not self._may_have_roles(fields[-1], parent.project):
                    continue
                yield Scope(kind.name, parent.project, ((fields[-1], parent.own_id),))

    def _parents_of(self, name: str, *, in_project: bool) -> list[LiveObject]:
        kinds = _PARENTS[name]
        is_keyed = KINDS[kinds[0]].scope is ScopeType.PROJECT_KEY
        if is_keyed:
            return self._reading.objects(kinds[0])
        return self._reading.objects(kinds[-1] if in_project else kinds[0])

    def _may_have_roles(self, parent: str, project: str | None) -> bool:
        """Whether a principal can have grants that no other list shows.

        Lists of users show their predefined role, so only custom roles are worth a call per user.
        """
        if parent == "group_id":
            return True
        roles = self._reading.live.objects(_ROLE, project)
        return any(live.kind.read_only_reason(live.attributes) is None for live in roles)

    # Reading

    def _read_lists(self, scopes: Iterable[Scope]) -> None:
        ordered = sorted(scopes, key=lambda scope: scope.sort_key)
        self._reader.read_lists(ordered)

    def _read_members(self) -> None:
        """Read the members of collections, which no list of objects shows."""
        wanted = {}
        for scope, objects in self._reading.live.listed.items():
            kind = KINDS[scope.kind]
            names = {field.name for field in kind.own_calls if _has_members(field)}
            if not names or not self._wanted.wants_kind(kind):
                continue
            for live in objects.values():
                if live.kind.terminal_state(live.attributes) is not TerminalState.GONE:
                    wanted[scope, live.id] = names
        self._reader.read_own_calls(wanted)

    def _note_failures(self) -> None:
        for scope, error in self._reading.live.failed.items():
            is_retired = isinstance(error, RetiredError)
            reason = str(error).split("\n")[0]
            self._note(scope.kind, scope.project, reason, is_expected=is_retired)
        for (scope, id), error in self._reading.live.failed_objects.items():
            self._note(scope.kind, scope.project, f"{id}: {error}")
        self._note_missing_keys()

    def _note_missing_keys(self) -> None:
        """Note the projects whose objects take a key of the project that is not set."""
        keys, credentials = self._session.keys, self._session.stack.credentials
        if not any(kind.scope is ScopeType.PROJECT_KEY for kind in self._kinds()):
            return
        for name in credentials.projects:
            if self._wanted.wants_project(name) and not keys.has_project(name):
                reason = f"credentials.projects.{name} has no value"
                self._note(_OF_A_KEY, name, reason)
        if self._wanted.wants_project(None) and not self._has_default_key:
            reason = "no API key is set (OPENAI_API_KEY)"
            self._note(f"{_OF_A_KEY} of the default key", None, reason, is_expected=True)
        projects = filter(self._wanted.wants_project, self._reading.projects)
        without = [name for name in projects if name not in credentials.projects]
        if len(without) > 1 or self._wanted.projects:
            more = ", …" if len(without) > _MOST_NAMED else ""
            shown = ", ".join(without[:_MOST_NAMED]) + more
            reason = (
                f"{len(without):,} projects have no key of their own in credentials.projects "
                f"({shown}), so only what OPENAI_API_KEY shows was read"
            )
            self._note(_OF_A_KEY, None, reason, is_expected=True)

    def _note(
        self, what: str, project: str | None, reason: str, *, is_expected: bool = False
    ) -> None:
        self._reading.unread.append(Unread(what, project, reason, is_expected))


def _has_members(field: Field) -> bool:
    """Whether a field is a set of files that can be read."""
    return isinstance(field.type, FileSetType) and field.readable is not Readable.NEVER


def _has_key(key: Callable[[], object]) -> bool:
    try:
        key()
    except CredentialError:
        return False
    return True
