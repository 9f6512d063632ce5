"""Decides an action and a reason for each address, from desired, live and prior state.

Resources are processed in dependency order. So when a reference is evaluated, it is known whether
its target stays, and has a value, or will be created, and is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from reconciler.engine import diff
from reconciler.engine.binding.bindings import Binding
from reconciler.engine.jobs import WAIT
from reconciler.engine.plan.blocking import blocked_by, waiting_for
from reconciler.engine.plan.comparison import MissingFields, ResourceComparison
from reconciler.engine.plan.drift import drift_of
from reconciler.engine.plan.losses import with_losses
from reconciler.engine.plan.removal import (
    destroyed,
    undeclared,
    with_archived_projects,
    with_last_ones,
)
from reconciler.engine.plan.retention import with_retention
from reconciler.engine.snapshot import UNBOUND, BlockingProblem, Snapshot
from reconciler.errors import ApiError
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, FieldChange, OutputChange, Plan, Reason
from reconciler.model.diagnostic import Diagnostic, Severity
from reconciler.model.kind import Kind, Removal
from reconciler.model.resource import LiveObject, Record, Resource, shown_to_others
from reconciler.model.values import LocalFile, Reference, Spec, Unknown, substitute, value_at


def make_plan(snapshot: Snapshot) -> Plan:
    """Make a plan. Problems of single addresses become diagnostics and block only these addresses."""
    planner = _Planner(snapshot)
    changes = planner.decide()
    # Its diagnostics include the problems that appeared while deciding.
    snapshot = planner.snapshot
    inputs = snapshot.inputs
    return Plan(
        stack=inputs.ownership.stack,
        environment=inputs.ownership.environment,
        changes=tuple(changes),
        drift=tuple(drift_of(snapshot, planner.declared, planner.specs)),
        outputs=tuple(_output_changes(snapshot, planner.lookup)),
        unmanaged=tuple(snapshot.overview.unmanaged),
        diagnostics=tuple(_effective_diagnostics(snapshot, changes)),
        unsearched=snapshot.search_failed,
        state_serial=inputs.state_serial,
        destroy=inputs.options.destroy,
    )


class _Planner:
    """Decides on one resource at a time."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.declared: dict[Address, Change] = {}
        """The decisions so far, by selected resource."""
        self.specs: dict[Address, Spec] = {}
        """The completed spec of each resource, references resolved as far as they are known."""
        self._errors = dict(snapshot.errors)
        self._problems: list[BlockingProblem] = []
        """Errors found while comparing. The snapshot takes them over once all resources are
        decided."""
        self._missing_fields = MissingFields()

    def decide(self) -> list[Change]:
        # In dependency order: deciding about a resource evaluates its references, which depend on
        # the decisions about their targets.
        for address in self.snapshot.selection.order:
            resource = self.snapshot.resources[address]
            self.declared[address] = self._or_blocked(resource, self._decide(resource))
        warnings = map(BlockingProblem, self._missing_fields.warnings())
        snapshot = self.snapshot = self.snapshot.with_problems([*self._problems, *warnings])
        # The destruction of an object that does not exist is no change, unless the state records it.
        changes = [
            change
            for change in self.declared.values()
            if change.reason is not Reason.GONE or change.is_change
        ]
        # The order of these passes matters. Deletions exist before projects are archived, and only
        # then it is known which objects of a kind remain.
        changes += undeclared(snapshot)
        changes = with_retention(snapshot, changes)
        changes = with_archived_projects(snapshot, changes)
        changes = with_last_ones(snapshot, changes)
        return [with_losses(snapshot.kind(change.address), change) for change in changes]

    def lookup(self, reference: Reference) -> Any:
        """The value of a reference; unknown if its target will be created."""
        address = reference.address
        change = self.declared.get(address)
        binding = self.snapshot.bindings.get(address, UNBOUND)
        live = binding.live
        if live is None and binding.record is not None and address in self._errors:
            # It could not be read. Its recorded values keep its dependents free of differences.
            return _recorded_value(reference, binding.record, self.snapshot.kind(address))
        # An object that is replaced takes its values with it.
        if change is not None and change.makes_object:
            live = None
        if not reference.path:
            return Unknown(str(reference)) if live is None else live.own_id
        value = value_at(self.specs.get(address, {}), reference.path)
        if value is None and live is not None:
            value = value_at(shown_to_others(live), reference.path)
        # A reference to the field of a file means its path; bytes are no value of a field.
        if isinstance(value, LocalFile):
            return value.path
        return Unknown(str(reference)) if value is None else value

    def _or_blocked(self, resource: Resource, change: Change) -> Change:
        """The change, unless the resource has an error or is to be written after one that has."""
        error = self._errors.get(resource.address)
        if error is not None:
            return blocked_by(change, error)
        # Deletions wait for nothing: an error elsewhere is no reason to keep an unwanted object.
        if change.action in (Action.NO_OP, Action.DELETE, Action.FORGET):
            return change
        # Sorted, so that the same plan always names the same dependency.
        for need in sorted(self.snapshot.selection.needs[resource.address]):
            if need in self.declared and self.declared[need].blocked:
                return waiting_for(change, need)
        return change

    def _decide(self, resource: Resource) -> Change:
        snapshot, address = self.snapshot, resource.address
        binding = snapshot.bindings[address]
        # References first, because a default can depend on the value of another field.
        spec = resource.kind.fill_defaults(resource.resolved(self.lookup))
        self.specs[address] = spec
        unchanged = self._unchanged(resource, binding)
        # Do not compare a resource with an error: its spec or its live object is incomplete.
        if address in self._errors:
            return unchanged
        if snapshot.inputs.options.destroy:
            return destroyed(snapshot, resource, binding, unchanged)
        if binding.live is not None:
            return self._compared(resource, binding, binding.live, spec, unchanged)
        # An invite is no longer needed once its address belongs to a member.
        if snapshot.satisfied_by_object(resource) is not None:
            return replace(unchanged, reason=Reason.SATISFIED)
        return self._created(resource, binding, spec, unchanged)

    def _unchanged(self, resource: Resource, binding: Binding) -> Change:
        """The no-op change of a resource, from which all its other changes start."""
        kind, lifecycle, record = resource.kind, resource.lifecycle, binding.record
        address = resource.address
        depends_on: Collection[Address] = self.snapshot.selection.needs[address]
        prevent_destroy = lifecycle.prevent_destroy
        if record is not None:
            # Deletions are ordered by the references of the recorded object, too.
            depends_on = {*depends_on, *record.depends_on}
            if prevent_destroy is None:
                prevent_destroy = record.prevent_destroy
        before_destroy = lifecycle.create_before_destroy
        if before_destroy is None or kind.unique_key:
            # An object that cannot be deleted gets its former values back, which has to happen
            # before the next one is written. With a unique key, the old object has to go before the
            # API accepts a new one. A key that opens a project has to work until the next one is
            # delivered.
            opens = address in self.snapshot.key_writers
            before_destroy = kind.create_before_destroy or opens
        return Change(
            address=address,
            action=Action.NO_OP,
            reason=Reason.IN_SYNC,
            id=self._id(address, binding),
            project_id=self.snapshot.project_id(address.project),
            scope=kind.scope.value,
            desired=kind.fill_defaults(resource.spec),
            restored=resource.restored,
            depends_on=tuple(sorted(depends_on)),
            location=resource.location,
            removal=kind.removal,
            create_before_destroy=before_destroy,
            prevent_destroy=bool(prevent_destroy),
            on_remove=resource.on_remove.value,
            sets_on_remove=lifecycle.on_remove is not None,
            renamed_from=binding.renamed_from,
            strict=lifecycle.strict,
            is_job=kind.job is not None,
        )

    def _id(self, address: Address, binding: Binding) -> str | None:
        if binding.live is not None:
            return binding.live.id
        # An unreadable object keeps its recorded id, so that its dependents and its record stay
        # intact.
        if binding.record is not None and address in self._errors:
            return binding.record.id
        return None

    def _created(
        self, resource: Resource, binding: Binding, spec: Spec, unchanged: Change
    ) -> Change:
        kind, address = resource.kind, resource.address
        after = {**diff.beyond_defaults(kind, resource.restored), **spec}
        fields = [
            FieldChange((name,), None, value) for name, value in after.items() if value is not None
        ]
        ownership = self.snapshot.inputs.ownership
        return replace(
            unchanged,
            action=Action.CREATE,
            reason=_create_reason(kind, binding),
            fields=tuple(fields),
            after=after,
            wait_for_job=bool(after.get(WAIT)),
            # The plan could not search, or a run died while creating: apply searches before it
            # creates.
            verify_before_create=self.snapshot.is_unreadable(address)
            or address in ownership.unfinished,
        )

    def _compared(
        self,
        resource: Resource,
        binding: Binding,
        live: LiveObject,
        spec: Spec,
        unchanged: Change,
    ) -> Change:
        comparison = ResourceComparison(
            self.snapshot, resource, binding, live, spec=spec, lookup=self.lookup
        )
        try:
            change = comparison.change(unchanged)
        # A malformed answer is an error of this resource only. Treating it as drift would
        # overwrite values that the plan could not show.
        except ApiError as error:
            broken = Diagnostic(
                "An answer cannot be used",
                f"{error}\n{error.hint}",
                address=resource.address,
                location=resource.location,
            )
            self._problems.append(BlockingProblem(broken, [resource.address]))
            self._errors[resource.address] = broken
            return unchanged
        self._missing_fields.add(resource, comparison.missing_fields())
        return change


def _effective_diagnostics(snapshot: Snapshot, changes: Sequence[Change]) -> Iterable[Diagnostic]:
    """The diagnostics; an error that blocks no change becomes a warning."""
    # Compare diagnostics by identity: several addresses can share one, and equal texts can be
    # distinct problems.
    blocking = {id(diagnostic) for diagnostic in snapshot.errors.values()}
    blocked = [change.address for change in changes if change.reason is Reason.BLOCKED]
    effective = {id(snapshot.error_of(address)) for address in blocked}
    for diagnostic in snapshot.diagnostics:
        is_moot = id(diagnostic) in blocking and id(diagnostic) not in effective
        yield replace(diagnostic, severity=Severity.WARNING) if is_moot else diagnostic


def _recorded_value(reference: Reference, record: Record, kind: Kind) -> Any:
    """The value of a reference to an object that could not be read, as of the last apply."""
    if not reference.path:
        return kind.parent_and_id(record.id)[1]
    value = value_at(record.applied, reference.path)
    return Unknown(str(reference)) if value is None else value


def _create_reason(kind: Kind, binding: Binding) -> Reason:
    # The most telling reason first: an archived object has a record too.
    if binding.ended is not None:
        is_archived = kind.removal is Removal.ARCHIVE
        return Reason.ARCHIVED_OUTSIDE if is_archived else Reason.ENDED
    if binding.record is not None:
        return Reason.DELETED_OUTSIDE
    if binding.left is not None:
        return Reason.OTHER_PROJECT
    return Reason.NEW


def _output_changes(snapshot: Snapshot, lookup: Callable[[Reference], Any]) -> list[OutputChange]:
    """The outputs whose value changes; none if only targets are planned."""
    inputs = snapshot.inputs
    previous = inputs.previous_outputs
    # A destroy of everything leaves no value for an output.
    if inputs.options.destroy and not inputs.options.targets:
        return [OutputChange(name, None, before) for name, before in sorted(previous.items())]
    # Outputs can depend on resources that were not selected, so they stay as they are.
    if inputs.options.targets:
        return []
    # Outputs are resolved after all decisions, since they may refer to objects that this plan
    # creates.
    after = {name: substitute(value, lookup) for name, value in inputs.outputs.items()}
    changes = []
    for name in sorted({*after, *previous}):
        value, before = after.get(name), previous.get(name)
        if value != before:
            changes.append(OutputChange(name, value, before))
    return changes
