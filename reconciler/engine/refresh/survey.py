"""Reads objects that neither a manifest nor a record names: every kind, in every readable project.

Projects that the configuration does not name appear under their ids, which cannot be names in a
manifest. Refused lists are noted and stop nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import product
from typing import Any

from msgspec.structs import replace

from reconciler.engine.binding.natural_keys import is_gone
from reconciler.engine.inputs import PlanInputs
from reconciler.engine.overview import Survey
from reconciler.engine.refresh.failures import with_status
from reconciler.engine.refresh.reader import Reader
from reconciler.engine.scope import Scope
from reconciler.errors import ApiError
from reconciler.model.kind import Kind, Removal, ScopeType
from reconciler.model.resource import LiveObject

_UNAUTHORIZED = 401
_NO_LIST = "the API has no list of them"


class SurveyReader:
    """Reads through a reader that has read everything the plan needs.

    `project_ids` are the ids of the projects that the configuration names, by name.
    """

    def __init__(self, inputs: PlanInputs, reader: Reader, project_ids: dict[str, str]) -> None:
        self._inputs = inputs
        self._reader = reader
        self._live = reader.state
        self._project_ids = dict(project_ids)
        self._project_names: dict[str, str] = {}
        # The overview has to tell the lists of the plan from those that only it reads.
        self._needed = frozenset(self._live.listed)
        self._reasons: dict[Scope, str] = {}
        names = inputs.declarable or inputs.kinds
        self._kinds = [kind for name, kind in inputs.kinds.items() if name in names]
        self._is_inventory = inputs.options.inventory

    def read(self) -> Survey:
        """Read all lists: of the organization, of each project, and inside objects."""
        self._reader.start_survey()
        # From the outside in: projects are found in lists of the organization, and parents in lists
        # of projects.
        self._read_organization()
        projects = self._find_projects()
        self._read_projects(projects)
        self._read_project_data(projects)
        self._read_nested()
        # Last, since objects that have ended hold nothing that could be read.
        self._read_ended()
        return Survey(
            scopes=frozenset(self._live.listed) - self._needed,
            unread=self._unread(),
            project_ids=self._project_ids,
            project_names=self._project_names,
            settings=self._settings(projects),
        )

    def _listed(self, *scopes: ScopeType) -> Iterator[Kind]:
        """The kinds with a list in some types of scope.

        Only an inventory reads settings. Settings that exist once a project need no read to prove
        that they exist.
        """
        for kind in self._kinds:
            is_setting = kind.always_exists and kind.removal is Removal.RESTORE
            is_wanted = self._is_inventory and not kind.calls.singleton
            if kind.scope in scopes and kind.calls.listable and (is_wanted or not is_setting):
                yield kind

    def _outer(self, *scopes: ScopeType) -> list[Kind]:
        """The kinds with a list outside of objects, in some types of scope."""
        return [kind for kind in self._listed(*scopes) if not kind.parents]

    def _settings(self, projects: Iterable[str]) -> frozenset[Scope]:
        """The settings that exist and were not read."""
        if not self._is_inventory or not self._live.listed:
            return frozenset()
        scopes: set[Scope] = set()
        for kind in self._kinds:
            if kind.always_exists and kind.calls.singleton:
                if kind.scope is ScopeType.EITHER:
                    scopes.add(Scope(kind.name, None))
                scopes.update(_in_projects([kind], projects))
        return frozenset(scopes - self._live.listed.keys())

    # Lists outside of objects

    def _read_organization(self) -> None:
        kinds = self._outer(ScopeType.ORGANIZATION, ScopeType.EITHER)
        self._reader.read_lists(_in_projects(kinds, [None]))

    def _read_ended(self) -> None:
        """Read the objects that lists show only if asked: archived projects."""
        if not self._is_inventory:
            return
        for kind in self._kinds:
            scope = Scope(kind.name, None)
            if not kind.ended_query or scope not in self._live.listed:
                continue
            # Under another query the same list is another answer, so it must not come from the
            # cache.
            asking = replace(kind, list_query={**kind.list_query, **kind.ended_query})
            for live in self._reader.provider.list(asking, None, fresh=True):
                if live.id not in self._live.listed[scope]:
                    self._live.put(replace(live, kind=kind))

    def _find_projects(self) -> list[str]:
        """The names of all projects that can hold objects. Binds those that only the API knows."""
        # Of several names of one project the first one counts, so that each list is read once.
        names = {id: name for name, id in reversed(self._project_ids.items())}
        ended = set()
        for live in self._projects_listed():
            if is_gone(live):
                ended.add(live.id)
            elif live.id not in names:
                names[live.id] = live.id
                self._project_ids[live.id] = live.id
                self._project_names[live.id] = str(live.attributes.get("name") or live.id)
                # The id serves as the name: no manifest can contain a name like it.
                self._reader.provider.bind_project(live.id, live.id)
        return [name for id, name in names.items() if id not in ended]

    def _projects_listed(self) -> Iterator[LiveObject]:
        for kind in self._kinds:
            if kind.defines_project:
                yield from self._live.objects(kind.name, None)

    def _read_projects(self, projects: Iterable[str]) -> None:
        kinds = self._outer(ScopeType.PROJECT, ScopeType.EITHER)
        self._reader.read_lists(_in_projects(kinds, projects))

    def _read_project_data(self, projects: Collection[str]) -> None:
        """Read the lists that take a key of the project.

        One list of each project comes first: if the key is of another project, no call can succeed.
        """
        kinds = self._outer(ScopeType.PROJECT_KEY)
        if not kinds:
            return
        first = kinds[0]
        opened: list[str] = []
        for project in projects:
            # Asked once per project, because all kinds of this scope use the same key.
            if self._reader.provider.can_read(first, project):
                opened.append(project)
            else:
                self._note(kinds, project, f"no key of the project {self._shown(project)}")
        self._reader.read_lists(_in_projects([first], opened))
        readable: list[str | None] = []
        for project in opened:
            error = self._live.unread.get(Scope(first.name, project))
            if isinstance(error, ApiError) and error.status == _UNAUTHORIZED:
                self._note(kinds, project, with_status(error))
            else:
                readable.append(project)
        if self._needs_default(readable):
            readable.append(None)
        self._reader.read_lists(_in_projects(kinds, readable))

    def _needs_default(self, readable: Collection[str | None]) -> bool:
        """Whether no named project was read with the default key."""
        keyed = self._inputs.keyed_projects
        # A readable project without a key of its own was read with the default key.
        return "" in keyed and set(readable) <= set(keyed)

    def _note(self, kinds: Iterable[Kind], project: str | None, reason: str) -> None:
        for kind in kinds:
            scope = Scope(kind.name, project)
            if scope not in self._live.listed:
                self._reasons[scope] = reason

    def _shown(self, project: str) -> str:
        return f'"{self._project_names.get(project, project)}"'

    # Lists inside objects

    def _read_nested(self) -> None:
        scopes: dict[Scope, None] = {}
        for kind in self._listed(*ScopeType):
            for fields in kind.parents:
                if len(fields) == 1:
                    scopes.update(
                        dict.fromkeys(filter(self._is_informative, self._inside(kind, fields[0])))
                    )
        self._reader.read_lists(scopes)

    def _inside(self, kind: Kind, field: str) -> Iterator[Scope]:
        """The lists of a kind inside the objects that were read; `field` names the parent."""
        for source in kind.parent_sources.get(field, ()):
            parent_kind, _, attribute = source.partition(".")
            # A copy, because reading adds lists during this loop.
            for scope, objects in list(self._live.listed.items()):
                if scope.kind != parent_kind or not _can_contain(scope, kind):
                    continue
                is_global = kind.scope is ScopeType.ORGANIZATION
                for live in objects.values():
                    id: Any = live.own_id
                    # Some parents are no objects of their own, only named by a field of one.
                    if attribute:
                        id = live.attributes.get(attribute)
                    if isinstance(id, str) and not is_gone(live):
                        project = None if is_global else scope.project
                        yield Scope(kind.name, project, ((field, id),))

    def _is_informative(self, scope: Scope) -> bool:
        """Whether a list can show anything that no other list does.

        The list of users shows the predefined role of each user. Without custom roles, the role
        assignments of a user add nothing.
        """
        kind = self._live.kinds[scope.kind]
        field = scope.parent[0][0]
        shown_with = kind.shown_with_parent.get(field)
        if shown_with is None:
            return True
        objects = self._live.objects(shown_with, scope.project)
        return any(live.kind.read_only_reason(live.attributes) is None for live in objects)

    # Unread lists

    def _unread(self) -> dict[Scope, str]:
        # Our own reasons come first: they say more than the error of a call that could not succeed.
        reasons = dict(self._reasons)
        for scope, error in (self._live.unread | self._live.unsearched).items():
            reasons.setdefault(scope, with_status(error))
        for scope, refusal in self._live.failed.items():
            reasons.setdefault(scope, with_status(refusal))
        if not self._is_inventory:
            return reasons
        for kind in self._kinds:
            if not kind.calls.listable or (kind.parents and not kind.parent_sources):
                reasons.setdefault(Scope(kind.name, None), _NO_LIST)
        return reasons


def _in_projects(kinds: Collection[Kind], projects: Iterable[str | None]) -> Iterator[Scope]:
    """The lists of some kinds, project by project."""
    for project, kind in product(projects, kinds):
        yield Scope(kind.name, project)


def _can_contain(scope: Scope, kind: Kind) -> bool:
    """Whether the objects of a scope can contain objects of a kind."""
    return kind.scope is not ScopeType.PROJECT or scope.project is not None
