"""Collects the inputs of planning: live state, and which object belongs to which resource.

The order matters. Projects come first, because everything else is read through them. Then each list
is read once, and objects that a list lacks are read by id, because lists lag behind writes. Once
resources are bound to objects, the lists inside those objects can be read, and last the fields that
have calls of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from msgspec.structs import replace

from reconciler.engine.binding.bindings import Binding
from reconciler.engine.binding.identity import other_projects, surplus_marks
from reconciler.engine.binding.leftovers import Leftovers, find_leftovers
from reconciler.engine.binding.matcher import Matcher
from reconciler.engine.binding.renames import with_renamed_projects
from reconciler.engine.inputs import PlanInputs
from reconciler.engine.overview import Overview, Survey
from reconciler.engine.refresh import failures
from reconciler.engine.refresh.missing import MissingObjects
from reconciler.engine.refresh.projects import LiveProjects
from reconciler.engine.refresh.reader import Reader
from reconciler.engine.refresh.retention_reads import with_retention_matches
from reconciler.engine.refresh.targets import ReadTargets
from reconciler.engine.scope import Scope
from reconciler.engine.selection import select
from reconciler.engine.snapshot import Snapshot, current_value, inputs_digest, project_id
from reconciler.model.address import Address
from reconciler.model.provider import LiveReader
from reconciler.model.resource import Resource, by_address
from reconciler.model.values import Reference


def collect(inputs: PlanInputs, provider: LiveReader, *, parallelism: int = 10) -> Snapshot:
    """Read everything that a plan depends on. Changes nothing.

    Raises ApiError if projects cannot be read, if the API refuses every list, and if it does not
    answer. Any other refusal is an error of the addresses that needed the read.
    """
    return _Collector(with_renamed_projects(inputs), provider, parallelism).collect()


class _Collector:
    """Reads and binds in turns, because each reading needs the ids from the binding before it.

    `collect` is the order of the steps.
    """

    def __init__(self, inputs: PlanInputs, provider: LiveReader, parallelism: int) -> None:
        self._inputs = inputs
        self._provider = provider
        # First, because it decides what is read at all. It needs no live state.
        self._selection = select(inputs)
        self._targets = ReadTargets(inputs, self._selection)
        self._resources = by_address(inputs.resources)
        self._reader = Reader(
            provider,
            inputs.kinds,
            parallelism=parallelism,
            pages=inputs.pages,
            survey=inputs.options.inventory,
            sharers_of=self._targets.sharers_of,
        )
        # Shared, not copied: the reader fills it while resources are bound from it.
        self._live = self._reader.state
        self._missing = MissingObjects(inputs, self._targets, self._reader)
        self._projects = LiveProjects(inputs, provider, self._live)
        self._bindings: dict[Address, Binding] = {}

    def collect(self) -> Snapshot:
        self._read_projects()
        self._bind_projects()
        # Before the other lists: objects must not count as deleted because their project was
        # confused with another.
        problems = list(other_projects(self._snapshot(), self._projects.exists))
        self._read_outer_scopes()
        problems += failures.unreadable_projects(self._snapshot())
        matcher = self._bind_all()
        # Lists inside objects need bound parents. What they show can change bindings, hence the
        # second matcher.
        matcher = self._read_nested_scopes() or matcher
        self._read_own_calls()
        survey = self._survey()
        snapshot = self._snapshot().with_problems(problems)
        # Refusals come before unbound resources: an object that could not be read must not be
        # reported as missing.
        snapshot = failures.with_refused_reads(snapshot, self._targets)
        snapshot = failures.with_unbound(snapshot, matcher)
        # Last, because an object that any resource was bound to is no leftover.
        leftovers = find_leftovers(matcher)
        snapshot = replace(
            snapshot,
            taken=matcher.taken,
            leftovers=leftovers,
            overview=self._overview(matcher, leftovers, survey),
        )
        snapshot = snapshot.with_problems(surplus_marks(snapshot))
        snapshot = failures.with_unread_lists(snapshot)
        return with_retention_matches(snapshot, self._reader, self._targets, matcher.claims)

    def _snapshot(self) -> Snapshot:
        """The results so far."""
        return Snapshot(
            inputs=self._inputs,
            selection=self._selection,
            resources=self._resources,
            live=self._live,
            bindings=self._bindings,
            missing_projects=frozenset(self._projects.missing),
        )

    # Projects

    def _read_projects(self) -> None:
        self._projects.bind_given()
        kinds = self._inputs.kinds
        scopes = {scope for scope in self._targets.outer if kinds[scope.kind].defines_project}
        self._reader.read_lists(sorted(scopes, key=lambda scope: scope.kind))
        for error in self._live.failed.values():
            raise error  # everything else is read through projects
        # A project that was created a moment ago may be missing from the list. Its objects would be
        # planned as new if it counted as gone.
        self._missing.confirm(scopes)

    def _bind_projects(self) -> None:
        """Bind projects before everything else, because objects are read through their project."""
        matcher = self._new_matcher()
        for address in self._selection.order:
            resource = self._resources[address]
            if resource.kind.defines_project:
                self._projects.bind(address.name, self._bind(resource, matcher).live)
        self._projects.bind_recorded(self._resources.keys())

    # Lists

    def _read_outer_scopes(self) -> None:
        inputs, targets = self._inputs, self._targets
        scopes = targets.outer
        # Before any list that such a key would open.
        self._revoke_lost_keys()
        only_ids = targets.only_ids(scopes)
        self._reader.read_lists(
            sorted(scopes, key=lambda scope: scope.sort_key),
            # A scope that nothing declared or recorded needs is only searched; its refusal blocks
            # nothing.
            optional=scopes - targets.needed(self._current_value),
            only_ids=only_ids,
            own_calls=targets.recorded_own_calls(),
            on_wait=self._read_contents,
        )
        # The state may have been lost. Only marks can tell what this stack once created.
        if inputs.state_is_new:
            self._read_marked(scopes)
        # Lists lag behind writes, so an unlisted object is read by its id before it counts as gone.
        self._reader.confirm(targets.known_ids(scopes))
        # A known object that is gone may have a successor, which only the full list shows.
        self._reader.reread(only_ids)
        # Again, because an object that the part lacked can be missing from the full list as well.
        self._missing.confirm(scopes)

    def _read_marked(self, scopes: Collection[Scope]) -> None:
        """Search for objects with our mark that neither a manifest nor a record names."""
        kinds, can_read = self._inputs.kinds, self._provider.can_read
        marked = self._targets.marked(scopes)
        # A project without a key is left out rather than reported as unreadable: nothing says that
        # it has objects of ours.
        readable = [scope for scope in marked if can_read(kinds[scope.kind], scope.project)]
        self._reader.read_lists(readable, optional=frozenset(readable))

    def _read_contents(self) -> None:
        """Read the files of folders while the first requests are in flight."""
        if self._inputs.contents is not None:
            self._resources = by_address(self._inputs.contents())

    def _revoke_lost_keys(self) -> None:
        """Close projects whose key is invalid, because a run died after deleting the key's account."""
        for project, writer in self._inputs.key_writers.items():
            # The delivered key outlives its account in the sink, and using it would fail every read
            # of the project. Only the missing account shows that it is invalid.
            record = self._inputs.records.get(writer)
            if record is not None and writer in self._inputs.ownership.unfinished:
                scope = Scope(writer.kind, writer.project)
                self._reader.read_lists([scope])
                self._reader.confirm([(scope, record.id)])
                if self._live.find(writer.kind, writer.project, record.id) is None:
                    self._reader.revoked.add(project)

    def _read_nested_scopes(self) -> Matcher | None:
        """Read the lists inside bound objects, and bind again."""
        # Parents are references as a rule, and their values are the ids that binding has just
        # found.
        scopes = self._targets.nested(self._current_value)
        if not scopes:
            return None
        self._reader.read_lists(sorted(scopes, key=lambda scope: scope.sort_key))
        self._missing.confirm(scopes)
        return self._bind_all()

    def _survey(self) -> Survey | None:
        """Read the objects that no manifest and no record names, if unmanaged objects are
        requested.

        Bindings are complete by now, so what is read here changes no decision.
        """
        options = self._inputs.options
        if not options.unmanaged:
            return None
        if options.targets:
            return Survey()
        from reconciler.engine.refresh.survey import SurveyReader  # imported late: few plans ask

        return SurveyReader(self._inputs, self._reader, self._projects.ids).read()

    def _overview(self, matcher: Matcher, leftovers: Leftovers, survey: Survey | None) -> Overview:
        if survey is None:
            return Overview()
        from reconciler.engine.binding.census import overview_of  # imported late: few plans ask

        return overview_of(matcher, leftovers, survey, ignore=self._inputs.ignore)

    # Fields with calls of their own

    def _read_own_calls(self) -> None:
        wanted: dict[tuple[Scope, str], set[str]] = defaultdict(set)
        for address, binding in self._bindings.items():
            resource, live = self._resources[address], binding.live
            if live is None or not resource.kind.own_calls:
                continue
            scope = self._live.scope_of(address.kind, address.project, live.id)
            wanted[scope, live.id] |= self._targets.own_calls(resource, binding.record)
        # Most of these fields were read beside the lists. What is left belongs to objects that no
        # record named.
        self._reader.read_own_calls(wanted)
        for address, binding in self._bindings.items():
            # The bindings still hold the objects as listed, without the fields just read.
            if binding.live is not None and self._resources[address].kind.own_calls:
                current = self._live.find(address.kind, address.project, binding.live.id)
                self._bindings[address] = replace(binding, live=current)

    # Binding

    def _bind_all(self) -> Matcher:
        matcher = self._new_matcher()
        # In dependency order, because the natural key of a resource can contain the id of another
        # one.
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
