"""Reads what no manifest and no record names: every kind, in every project that a key opens.

Projects that the configuration does not name go by their id here, which no name in a manifest can
be mistaken for. Refused lists are noted and stop nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from msgspec.structs import replace

from reconciler.engine.binding.natural_keys import is_gone
from reconciler.engine.inputs import PlanInputs
from reconciler.engine.overview import Survey
from reconciler.engine.refresh.reader import Reader
from reconciler.engine.scope import Scope
from reconciler.errors import ApiError, CredentialError
from reconciler.model.kind import Kind, Removal, ScopeType
from reconciler.model.resource import LiveObject

_UNAUTHORIZED = 401
_NO_LIST = "the API has no list of them"


class SurveyReader:
    """Reads through a reader that has read what the plan needs.

    `project_ids` are the ids of the projects that the configuration names, by name.
    """

    def __init__(self, inputs: PlanInputs, reader: Reader, project_ids: dict[str, str]) -> None:
        self._inputs = inputs
        self._reader = reader
        self._live = reader.state
        self._project_ids = dict(project_ids)
        self._project_names: dict[str, str] = {}
        # The overview tells what the plan needed from what is read for the overview alone.
        self._needed = frozenset(self._live.listed)
        self._reasons: dict[Scope, str] = {}
        names = inputs.declarable or inputs.kinds
        self._kinds = [kind for name, kind in inputs.kinds.items() if name in names]

    def read(self) -> Survey:
        """Read all lists: of the organization, of each project, and inside objects."""
        self._reader.survey = True
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

        Only an inventory reads settings, apart from those that exist once a project: nothing has to
        be read to know that they exist.
        """
        for kind in self._kinds:
            is_setting = kind.always_exists and kind.removal is Removal.RESTORE
            is_wanted = self._inputs.options.inventory and not kind.calls.singleton
            if kind.scope in scopes and kind.calls.listable and (is_wanted or not is_setting):
                yield kind

    def _settings(self, projects: Iterable[str]) -> frozenset[Scope]:
        """The settings that exist and were not read."""
        if not self._inputs.options.inventory or not self._live.listed:
            return frozenset()
        scopes = set()
        for kind in self._kinds:
            if kind.always_exists and kind.calls.singleton:
                if kind.scope is ScopeType.EITHER:
                    scopes.add(Scope(kind.name, None))
                scopes.update(Scope(kind.name, project) for project in projects)
        return frozenset(scopes - self._live.listed.keys())

    # Lists outside of objects

    def _read_organization(self) -> None:
        kinds = self._listed(ScopeType.ORGANIZATION, ScopeType.EITHER)
        self._reader.read_lists([Scope(kind.name, None) for kind in kinds if not kind.parents])

    def _read_ended(self) -> None:
        """Read the objects that lists show only if asked: archived projects."""
        kinds = self._kinds if self._inputs.options.inventory else ()
        for kind in kinds:
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
        # Of several names of one project, the first one stands; each list is read once.
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
        kinds = list(self._listed(ScopeType.PROJECT, ScopeType.EITHER))
        scopes: list[Scope] = []
        for project in projects:
            scopes += [Scope(kind.name, project) for kind in kinds if not kind.parents]
        self._reader.read_lists(scopes)

    def _read_project_data(self, projects: Collection[str]) -> None:
        """Read the lists that take a key of the project.

        One list of each project comes first: if the key is of another project, no call can succeed.
        """
        kinds = [kind for kind in self._listed(ScopeType.PROJECT_KEY) if not kind.parents]
        if not kinds:
            return
        first = kinds[0]
        can_read = self._reader.provider.can_read
        opened = [project for project in projects if can_read(first, project)]
        for project in projects:
            if project not in opened:
                self._note(kinds, project, f"no key of the project {self._shown(project)}")
        self._reader.read_lists([Scope(first.name, project) for project in opened])
        readable: list[str | None] = []
        for project in opened:
            error = self._live.unread.get(Scope(first.name, project))
            if isinstance(error, ApiError) and error.status == _UNAUTHORIZED:
                self._note(kinds, project, _reason(error))
            else:
                readable.append(project)
        if self._needs_default(readable):
            readable.append(None)
        self._reader.read_lists(Scope(kind.name, project) for project in readable for kind in kinds)

    def _needs_default(self, readable: Collection[str | None]) -> bool:
        """Whether no named project stands for the project of the default key."""
        keyed = self._inputs.keyed_projects
        by_default_key = [project for project in readable if project not in keyed]
        return "" in keyed and not by_default_key

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
                    inside = self._inside(kind, fields[0])
                    scopes.update(dict.fromkeys(scope for scope in inside if self._tells(scope)))
        self._reader.read_lists(scopes)

    def _inside(self, kind: Kind, field: str) -> Iterator[Scope]:
        """The lists of a kind inside the objects that were read; `field` names the parent."""
        for source in kind.parent_sources.get(field, ()):
            parent_kind, _, attribute = source.partition(".")
            # A copy, since reading adds lists while this one is walked through.
            for scope, objects in list(self._live.listed.items()):
                is_reached = kind.scope is ScopeType.ORGANIZATION or _is_in_scope(kind, scope)
                if scope.kind != parent_kind or not is_reached:
                    continue
                project = None if kind.scope is ScopeType.ORGANIZATION else scope.project
                for live in objects.values():
                    # Some parents are no objects of their own, only named by a field of one.
                    id = live.attributes.get(attribute) if attribute else live.own_id
                    if isinstance(id, str) and not is_gone(live):
                        yield Scope(kind.name, project, ((field, id),))

    def _tells(self, scope: Scope) -> bool:
        """Whether a list can show anything that no other list does.

        A user's predefined role is shown with the user, so without a role that somebody made, the
        grants of a user tell nothing.
        """
        kind = self._live.kinds[scope.kind]
        field = scope.parent[0][0]
        shown_with = kind.shown_with_parent.get(field)
        if shown_with is None:
            return True
        objects = self._live.objects(shown_with, scope.project)
        return any(live.kind.read_only_reason(live.attributes) is None for live in objects)

    # What could not be read

    def _unread(self) -> dict[Scope, str]:
        # Our own reasons come first: an error of a call that could not succeed says less.
        reasons = dict(self._reasons)
        for scope, error in (self._live.unread | self._live.unsearched).items():
            reasons.setdefault(scope, _reason(error))
        for scope, refusal in self._live.failed.items():
            reasons.setdefault(scope, _reason(refusal))
        for kind in self._kinds if self._inputs.options.inventory else ():
            if not kind.calls.listable or (kind.parents and not kind.parent_sources):
                reasons.setdefault(Scope(kind.name, None), _NO_LIST)
        return reasons


def _is_in_scope(kind: Kind, scope: Scope) -> bool:
    """Whether the objects of a scope can hold objects of a kind."""
    return kind.scope is not ScopeType.PROJECT or scope.project is not None


def _reason(error: ApiError | CredentialError) -> str:
    status = error.status if isinstance(error, ApiError) else None
    return f"{error} ({status})" if status and str(status) not in str(error) else str(error)
