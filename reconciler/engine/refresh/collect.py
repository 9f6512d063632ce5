"""Collects what planning needs: live state, and which object belongs to which resource.

The order matters. Projects come first, since everything else is read through them. Then each list is read once, and
objects that a list lacks are read by id, because lists lag behind writes. Once resources are bound to objects, the
lists inside those objects can be read, and last the fields that have calls of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

from msgspec.structs import replace

from reconciler.engine.binding.census import overview_of
from reconciler.engine.binding.identity import other_projects, surplus_marks
from reconciler.engine.binding.leftovers import Leftovers, find_leftovers
from reconciler.engine.binding.matcher import Binding, Matcher
from reconciler.engine.binding.natural_keys import is_gone
from reconciler.engine.binding.renames import with_renamed_projects
from reconciler.engine.inputs import PlanInputs
from reconciler.engine.overview import Overview, Survey
from reconciler.engine.refresh import failures
from reconciler.engine.refresh.reader import Reader
from reconciler.engine.refresh.survey import SurveyReader
from reconciler.engine.refresh.targets import ReadTargets
from reconciler.engine.retention_match import collection_fields, matched_objects
from reconciler.engine.scope import Scope
from reconciler.engine.selection import select
from reconciler.engine.snapshot import Snapshot, current_value, inputs_digest, project_id
from reconciler.model.address import Address
from reconciler.model.kind import Kind
from reconciler.model.provider import LiveReader
from reconciler.model.resource import Resource
from reconciler.model.values import Reference, texts_in


def collect(inputs: PlanInputs, provider: LiveReader, *, parallelism: int = 10) -> Snapshot:
    """Read everything that a plan is decided from. Changes nothing anywhere.

    Raises ApiError where projects cannot be read, where the API refuses every list, and where it does not answer.
    Any other refusal is an error of the addresses that needed the read.
    """
    return _Collector(with_renamed_projects(inputs), provider, parallelism).collect()


class _Collector:
    def __init__(self, inputs: PlanInputs, provider: LiveReader, parallelism: int) -> None:
        self._inputs = inputs
        self._provider = provider
        self._selection = select(inputs)
        self._targets = ReadTargets(inputs, self._selection)
        self._resources: Mapping[Address, Resource] = {
            resource.address: resource for resource in inputs.resources
        }
        self._reader = Reader(
            provider,
            inputs.kinds,
            parallelism=parallelism,
            pages=inputs.pages,
            survey=inputs.options.inventory,
        )
        self._live = self._reader.state
        self._bindings: dict[Address, Binding] = {}
        self._known_projects = set(inputs.projects)
        self._missing_projects: set[str] = set()
        self._project_ids: dict[str, str] = dict(inputs.projects)
        self._removed: set[str] = set()
        """Ids of recently written objects that the audit log says were deleted again."""

    def collect(self) -> Snapshot:
        self._read_projects()
        self._bind_projects()
        problems = list(other_projects(self._snapshot(), self._exists))
        self._read_outer_scopes()
        problems += failures.unreadable_projects(self._snapshot())
        matcher = self._bind_all()
        matcher = self._read_nested_scopes() or matcher
        self._read_own_calls()
        survey = self._survey()
        snapshot = self._snapshot().with_problems(problems)
        snapshot = failures.with_refused_reads(snapshot, self._targets)
        snapshot = failures.with_unbound(snapshot, matcher)
        leftovers = find_leftovers(matcher)
        snapshot = replace(
            snapshot,
            taken=matcher.taken,
            leftovers=leftovers,
            overview=self._overview(matcher, leftovers, survey),
        )
        snapshot = snapshot.with_problems(surplus_marks(snapshot))
        snapshot = failures.with_unread_lists(snapshot)
        return self._with_retention_matches(snapshot, matcher)

    def _snapshot(self) -> Snapshot:
        """What is known so far."""
        return Snapshot(
            inputs=self._inputs,
            selection=self._selection,
            resources=self._resources,
            live=self._live,
            bindings=self._bindings,
            missing_projects=frozenset(self._missing_projects),
        )

    # Projects

    def _read_projects(self) -> None:
        for name, id in self._inputs.projects.items():
            self._provider.bind_project(name, id)
        kinds = self._inputs.kinds
        scopes = {scope for scope in self._targets.outer if kinds[scope.kind].defines_project}
        self._reader.read_lists(sorted(scopes, key=lambda scope: scope.kind))
        for error in self._live.failed.values():
            raise error  # everything else is read through projects
        self._confirm(scopes)

    def _bind_projects(self) -> None:
        """Tell the provider the id of each project. Objects in a project that does not exist do not exist either."""
        inputs, matcher = self._inputs, self._new_matcher()
        for address in self._selection.order:
            resource = self._resources[address]
            if resource.kind.defines_project:
                live = self._bind(resource, matcher).live
                self._bind_project(address.name, live.id if live is not None else None)
        for address, record in inputs.records.items():
            kind = inputs.kinds.get(address.kind)
            if kind is not None and kind.defines_project and address not in self._resources:
                recorded = self._live.find(address.kind, address.project, record.id)
                exists = recorded is not None and not is_gone(recorded)
                self._bind_project(address.name, record.id if exists else None)
        # A project that neither a manifest nor a record declares is known by the objects recorded in it.
        known = self._known_projects | self._missing_projects
        for address, record in inputs.records.items():
            if address.project and record.project_id and address.project not in known:
                self._provider.bind_project(address.project, record.project_id)

    def _bind_project(self, name: str, id: str | None) -> None:
        if id is None:
            self._missing_projects.add(name)
        else:
            self._known_projects.add(name)
            self._project_ids[name] = id
            self._provider.bind_project(name, id)

    def _exists(self, kind: Kind, id: str) -> bool:
        """Whether an object of the organization exists; one that no list shows is read by its id."""
        live = self._live.find(kind.name, None, id) or self._provider.get(kind, None, id)
        return live is not None and not is_gone(live)

    # Lists

    def _read_outer_scopes(self) -> None:
        inputs, targets = self._inputs, self._targets
        scopes = targets.outer
        self._revoke_lost_keys()
        only_ids = targets.only_ids(scopes)
        self._reader.read_lists(
            sorted(scopes, key=lambda scope: scope.sort_key),
            optional=scopes - targets.needed(self._current_value),
            only_ids=only_ids,
            own_calls=targets.recorded_own_calls(),
            on_wait=self._read_contents,
        )
        if inputs.state_is_new:
            marked = targets.marked(scopes)
            readable = [
                at for at in marked if self._provider.can_read(inputs.kinds[at.kind], at.project)
            ]
            self._reader.read_lists(readable, optional=frozenset(readable))
        self._reader.confirm(targets.known_ids(scopes))
        self._reader.reread(only_ids)
        self._confirm(scopes)  # again: an object that a list lacked is not in the full list either

    def _read_contents(self) -> None:
        """Read the files of folders, while the first answers are awaited."""
        if self._inputs.contents is not None:
            self._resources = {resource.address: resource for resource in self._inputs.contents()}

    def _revoke_lost_keys(self) -> None:
        """Close projects whose key no longer works, because a run died after it deleted the key's account.

        The key is still where it was delivered, so only the account tells.
        """
        for project, writer in self._inputs.key_writers.items():
            record = self._inputs.records.get(writer)
            if record is not None and writer in self._inputs.ownership.unfinished:
                scope = Scope(writer.kind, writer.project)
                self._reader.read_lists([scope])
                self._reader.confirm([(scope, record.id)])
                if self._live.find(writer.kind, writer.project, record.id) is None:
                    self._reader.revoked.add(project)

    def _read_nested_scopes(self) -> Matcher | None:
        """Read the lists inside objects, which had to be bound first, and bind again."""
        scopes = self._targets.nested(self._current_value)
        if not scopes:
            return None
        self._reader.read_lists(sorted(scopes, key=lambda scope: scope.sort_key))
        self._confirm(scopes)
        return self._bind_all()

    def _survey(self) -> Survey | None:
        """Read what no manifest and no record names, where unmanaged objects are asked for.

        Bindings are complete by now, so what is read here changes no decision.
        """
        options = self._inputs.options
        if not options.unmanaged:
            return None
        if options.targets:
            return Survey()
        return SurveyReader(self._inputs, self._reader, self._project_ids).read()

    def _overview(self, matcher: Matcher, leftovers: Leftovers, survey: Survey | None) -> Overview:
        if survey is None:
            return Overview()
        return overview_of(matcher, leftovers, survey, ignore=self._inputs.ignore)

    # Objects that lists lack

    def _confirm(self, scopes: Collection[Scope]) -> None:
        """Read by id what the lists lack, and wait for what was created too recently to be in a list for certain."""
        self._reader.confirm(self._targets.known_ids(scopes))
        self._ask_whether_removed(scopes)
        window = self._inputs.consistency
        deadlines = [until for *_, until in self._recent_but_missing(scopes)]
        longest = max(deadlines, default=0.0) - window.clock()
        attempts = window.poll("what was created a moment ago does not show yet", longest)
        next(attempts)  # the reading above
        while (missing := self._recent_but_missing(scopes)) and next(attempts, None) is not None:
            self._reader.list_again([(scope, id) for scope, id, _ in missing])

    def _recent_but_missing(self, scopes: Collection[Scope]) -> list[tuple[Scope, str, float]]:
        """Objects that do not show and were created so recently that they need not, with when they have to."""
        listed = self._live.listed
        known = self._targets.known_ids(scopes)
        missing = [
            (scope, id) for scope, id in known if scope in listed and id not in listed[scope]
        ]
        if not missing:
            return []
        window = self._inputs.consistency
        records = self._inputs.records
        deadlines = {
            records[address].id: created_by + window.seconds
            for address, created_by in self._recently_written.items()
            if address in records
        }
        # The reading at the end of the wait counts, so an object is given up only after its deadline.
        return [
            (scope, id, deadlines[id])
            for scope, id in missing
            if deadlines.get(id, 0.0) > window.clock() and id not in self._removed
        ]

    def _ask_whether_removed(self, scopes: Collection[Scope]) -> None:
        """Ask the audit log which missing objects were deleted again: those are not waited for."""
        own_ids: dict[str, str] = {}
        for scope, id, _ in self._recent_but_missing(scopes):
            kind = self._inputs.kinds[scope.kind]
            if kind.audit_event_types and not kind.unique_key:
                own_ids[kind.parent_and_id(id)[1]] = id
        if own_ids:
            removed = self._inputs.removed(own_ids.keys())
            self._removed |= {own_ids[id] for id in removed if id in own_ids}

    @cached_property
    def _recently_written(self) -> Mapping[Address, float]:
        """Asked once, after the first answers, when the server's time is known."""
        return self._inputs.recently_written()

    # Fields with calls of their own

    def _read_own_calls(self) -> None:
        wanted: dict[tuple[Scope, str], set[str]] = defaultdict(set)
        for address, binding in self._bindings.items():
            resource, live = self._resources[address], binding.live
            if live is None or not resource.kind.own_calls:
                continue
            names = self._targets.own_calls(resource, binding.record)
            if names:
                wanted[self._live.scope_of(address.kind, address.project, live.id), live.id] |= (
                    names
                )
        self._reader.read_own_calls(wanted)
        for address, binding in self._bindings.items():
            if binding.live is not None and self._resources[address].kind.own_calls:
                current = self._live.find(address.kind, address.project, binding.live.id)
                self._bindings[address] = replace(binding, live=current)

    def _with_retention_matches(self, snapshot: Snapshot, matcher: Matcher) -> Snapshot:
        """Add what retention rules remove. Only where they match anything, collections are read for what they hold."""
        matches = matched_objects(snapshot)
        if not matches:
            return snapshot
        collections = [
            (scope, live)
            for scope in self._targets.retention
            for live in self._live.listed.get(scope, {}).values()
            if collection_fields(live.kind)
            and live.kind.terminal_state(live.attributes) is None
            and (live.is_marked or matcher.claims.is_claimed(live))
        ]
        self._reader.read_own_calls(
            {(scope, live.id): collection_fields(live.kind) for scope, live in collections}
        )
        current = [self._live.listed[scope][live.id].own_calls for scope, live in collections]
        held = set(texts_in(current))
        return replace(
            snapshot, retention_matches=[match for match in matches if match.live.id not in held]
        )

    # Binding

    def _bind_all(self) -> Matcher:
        matcher = self._new_matcher()
        for address in self._selection.order:
            self._bind(self._resources[address], matcher)
        return matcher

    def _new_matcher(self) -> Matcher:
        return Matcher(self._inputs, self._live, self._resources, self._project_id)

    def _bind(self, resource: Resource, matcher: Matcher) -> Binding:
        spec = resource.kind.fill_defaults(resource.resolved(self._current_value))
        digest = inputs_digest(resource, self._resources, self._current_value)
        binding = self._bindings[resource.address] = matcher.bind(resource, spec, digest)
        return binding

    def _project_id(self, name: str | None) -> str | None:
        return project_id(name, self._inputs, self._selection, self._bindings)

    def _current_value(self, reference: Reference) -> Any:
        return current_value(reference, self._bindings)
