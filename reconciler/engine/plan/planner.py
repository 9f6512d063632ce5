"""Decides an action and a reason for each address, from desired, live and prior state.

Resources are processed in dependency order. So when a reference is evaluated, it is known whether
its target stays, and has a value, or will be created, and is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from reconciler.engine import diff, jobs
from reconciler.engine.binding.bindings import Binding, BindingSource
from reconciler.engine.jobs import WAIT
from reconciler.engine.plan.blocking import blocked_by, waiting_for
from reconciler.engine.plan.drift import drift_of, output_changes, shown_spec, unmanaged_objects
from reconciler.engine.plan.losses import with_losses
from reconciler.engine.plan.refused_files import refusals_told, with_refusals
from reconciler.engine.plan.removal import (
    destroyed,
    undeclared,
    with_archived_projects,
    with_last_ones,
)
from reconciler.engine.plan.retention import with_retention
from reconciler.engine.plan.rotation import with_key_steps
from reconciler.engine.snapshot import BlockingProblem, Snapshot
from reconciler.errors import ApiError
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, FieldChange, Origin, Plan, Reason
from reconciler.model.diagnostic import Diagnostic, Severity
from reconciler.model.kind import KEEP, Kind, Mutability, Readable, Removal, TerminalState
from reconciler.model.resource import METADATA_PAIRS, LiveObject, Record, Resource, shown_to_others
from reconciler.model.types import KeySinkType
from reconciler.model.values import LocalFile, Reference, Spec, Unknown, secrets_in, value_at


def make_plan(snapshot: Snapshot) -> Plan:
    """Make a plan. Problems of single addresses become diagnostics and block only these addresses."""
    planner = _Planner(snapshot)
    changes = planner.decide()
    # With the problems that were found while deciding.
    snapshot = planner.snapshot
    inputs = snapshot.inputs
    return Plan(
        stack=inputs.ownership.stack,
        environment=inputs.ownership.environment,
        changes=tuple(changes),
        drift=tuple(drift_of(snapshot, planner.declared, planner.specs)),
        outputs=tuple(output_changes(snapshot, planner.lookup)),
        unmanaged=tuple(unmanaged_objects(snapshot)),
        diagnostics=tuple(_effective_diagnostics(snapshot, changes)),
        unsearched=snapshot.search_failed,
        state_serial=inputs.state_serial,
        destroy=inputs.options.destroy,
    )


class _Planner:
    """Decides about one resource after the other.

    A long class, because each decision reads those about its dependencies. Everything that needs only a single change
    is a function of another module.
    """

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
        self._missing: dict[tuple[str, str], list[Address]] = {}

    def decide(self) -> list[Change]:
        # In dependency order: deciding about a resource evaluates its references, which depend on
        # the decisions about their targets.
        for address in self.snapshot.selection.order:
            resource = self.snapshot.resources[address]
            self.declared[address] = self._or_blocked(resource, self._decide(resource))
        # Collected over all resources: a field that a server never shows is one warning, not
        # thousands.
        missing = [BlockingProblem(diagnostic) for diagnostic in self._missing_fields()]
        snapshot = self.snapshot = self.snapshot.with_problems([*self._problems, *missing])
        # What is to be destroyed and does not exist is no change; its record is.
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
        change = self.declared.get(reference.address)
        binding = self.snapshot.bindings.get(reference.address, Binding())
        live = binding.live
        if live is None and binding.record is not None and reference.address in self._errors:
            # It could not be read. Taken as recorded, what refers to it shows no difference of its own.
            return _as_recorded(reference, binding.record, self.snapshot.kind(reference.address))
        stays = live is not None and (change is None or not change.makes_object)
        if not reference.path:
            return live.own_id if stays and live is not None else Unknown(str(reference))
        value = value_at(self.specs.get(reference.address, {}), reference.path)
        if value is None and stays and live is not None:
            value = value_at(shown_to_others(live), reference.path)
        # A reference to the field of a file means its path; bytes are no value of a field.
        if isinstance(value, LocalFile):
            return value.path
        return Unknown(str(reference)) if value is None else value

    def _or_blocked(self, resource: Resource, change: Change) -> Change:
        """The change, unless the resource has an error or is to be written after one that has.

        Deletions wait for nothing: an error never keeps what nobody wants.
        """
        if error := self._errors.get(resource.address):
            return blocked_by(change, error)
        waits = change.action not in (Action.NO_OP, Action.DELETE, Action.FORGET)
        needs = sorted(self.snapshot.selection.needs[resource.address]) if waits else ()
        origin = next(
            (need for need in needs if need in self.declared and self.declared[need].blocked), None
        )
        return change if origin is None else waiting_for(change, origin)

    def _decide(self, resource: Resource) -> Change:
        binding = self.snapshot.bindings[resource.address]
        # References first, because a default can depend on the value of another field.
        spec = resource.kind.fill_defaults(resource.resolved(self.lookup))
        self.specs[resource.address] = spec
        # Do not compare a resource with an error: its spec or its live object is incomplete.
        if resource.address in self._errors:
            return self._base(resource, binding)
        if self.snapshot.inputs.options.destroy:
            return destroyed(self.snapshot, resource, binding, self._base(resource, binding))
        # An invite is no longer needed once its address belongs to a member.
        if binding.live is None and self.snapshot.satisfied_by_object(resource) is not None:
            return replace(self._base(resource, binding), reason=Reason.SATISFIED)
        if binding.live is None:
            return self._create(resource, binding, spec)
        return self._compare(resource, binding, binding.live, spec)

    def _base(self, resource: Resource, binding: Binding, **known: Any) -> Change:
        record, lifecycle = binding.record, resource.lifecycle
        recorded = record.prevent_destroy if record else False
        protected = lifecycle.prevent_destroy
        before_destroy = lifecycle.create_before_destroy
        if before_destroy is None or resource.kind.unique_key:
            # An object that cannot be deleted gets its former values back, which has to happen
            # before the next one is written. With a unique key, the old object has to go before the
            # API accepts a new one. A key that opens a project has to work until the next one is
            # delivered.
            opens = resource.address in self.snapshot.key_writers
            before_destroy = resource.kind.create_before_destroy or opens
        depends_on = self.snapshot.selection.needs[resource.address] | set(
            record.depends_on if record else ()
        )
        return Change(
            address=resource.address,
            action=Action.NO_OP,
            reason=Reason.IN_SYNC,
            id=binding.live.id if binding.live else self._id_of_unread(resource, binding),
            project_id=self.snapshot.project_id(resource.address.project),
            scope=resource.kind.scope.value,
            depends_on=tuple(sorted(depends_on)),
            location=resource.location,
            removal=resource.kind.removal,
            create_before_destroy=before_destroy,
            prevent_destroy=recorded if protected is None else protected,
            on_remove=resource.on_remove.value,
            sets_on_remove=lifecycle.on_remove is not None,
            renamed_from=binding.renamed_from,
            strict=lifecycle.strict,
            is_job=resource.kind.job is not None,
            **{
                "desired": resource.kind.fill_defaults(resource.spec),
                "restored": resource.restored,
                **known,
            },
        )

    def _id_of_unread(self, resource: Resource, binding: Binding) -> str | None:
        # An unreadable object keeps its recorded id, so that its dependents and its record stay
        # intact.
        is_unread = binding.record is not None and resource.address in self._errors
        return binding.record.id if is_unread and binding.record is not None else None

    def _create(self, resource: Resource, binding: Binding, spec: Spec) -> Change:
        reason, spec = (
            Reason.NEW,
            {**diff.beyond_defaults(resource.kind, resource.restored), **spec},
        )
        # The most telling reason first: an archived object has a record too.
        if binding.ended is not None:
            if resource.kind.removal is Removal.ARCHIVE:
                reason = Reason.ARCHIVED_OUTSIDE
            else:
                reason = Reason.ENDED
        elif binding.record is not None:
            reason = Reason.DELETED_OUTSIDE
        elif binding.left is not None:
            reason = Reason.OTHER_PROJECT
        fields = [
            FieldChange((name,), None, value) for name, value in spec.items() if value is not None
        ]
        return replace(
            self._base(resource, binding),
            action=Action.CREATE,
            reason=reason,
            fields=tuple(fields),
            after=spec,
            wait_for_job=bool(spec.get(WAIT)),
            # The plan could not look, or a run died while creating: apply searches before it
            # creates.
            verify_before_create=self.snapshot.is_unreadable(resource.address)
            or resource.address in self.snapshot.inputs.ownership.unfinished,
        )

    def _compare(
        self, resource: Resource, binding: Binding, live: LiveObject, spec: Spec
    ) -> Change:
        kind, record, ignore = resource.kind, binding.record, resource.lifecycle.ignore_changes
        spec = with_refusals(kind, spec, record)
        desired = diff.without_ignored(spec, live=live, ignore=ignore)
        # Ignored fields leave both sides, or they would be reset as no longer set.
        prior = record
        if record is not None and ignore:
            prior = replace(
                record, applied=diff.without_ignored(record.applied, live=live, ignore=ignore)
            )
        try:
            # A malformed answer is an error of this resource only. Treating it as drift would
            # overwrite values that nobody has seen.
            fields = self._fields(resource, desired, live, prior)
        except ApiError as error:
            detail = f"{error}\n{error.hint}"
            broken = Diagnostic(
                "An answer cannot be used",
                detail,
                address=resource.address,
                location=resource.location,
            )
            self._problems.append(BlockingProblem(broken, [resource.address]))
            self._errors.setdefault(resource.address, broken)
            return self._base(resource, binding)
        self._note_missing(resource, desired, live, record)
        before = shown_spec(live, record)
        restored = {**resource.restored, **_seen_values(fields, desired)}
        change = self._base(
            resource,
            binding,
            fields=fields,
            restored=restored,
            desired=diff.without_ignored(
                with_refusals(kind, kind.fill_defaults(resource.spec), record),
                live=live,
                ignore=ignore,
            ),
            after={**before, **_restored_values(restored, fields), **desired},
            before=before,
            facts=self._facts(live),
            refusal=kind.read_only_reason(live.attributes) or "",
            warnings=(
                *_warnings(resource, desired, live, record),
                *refusals_told(kind, desired, live),
            ),
        )
        if kind.job is not None:
            change = jobs.as_found(change, kind.job, live, waits=bool(spec.get(WAIT)))
        # Some objects may be changed but not removed, so the refusal depends on the chosen action.
        chosen = self._chosen(resource, binding, live, change)
        chosen = with_key_steps(self.snapshot, chosen, record, live, desired)
        if _is_held_lightly(kind, chosen):
            chosen = replace(chosen, refusal="")
        # Apply looks at the object again before it changes it; what stays as it is is not looked at.
        if not chosen.is_change or self.snapshot.inputs.options.is_preview:
            return chosen
        return replace(chosen, pre_image=diff.image(kind, live))

    def _facts(self, live: LiveObject) -> Spec:
        """What the API answers beyond the fields of the kind, if policies ask for it."""
        if not self.snapshot.inputs.options.facts:
            return {}
        names = {field.name for field in live.kind.fields}
        return {name: value for name, value in live.attributes.items() if name not in names}

    def _note_missing(
        self, resource: Resource, desired: Spec, live: LiveObject, record: Record | None
    ) -> None:
        """Collect fields that an answer lacks although answers always contain them."""
        for field in resource.kind.always_shown:
            if live.shows(field.name):
                continue
            value = desired.get(field.name)
            if value is None:
                continue
            was_applied = record is None or record.applied.get(field.name) is not None
            if was_applied and value != field.default:
                self._missing.setdefault((resource.kind.name, field.name), []).append(
                    resource.address
                )

    def _missing_fields(self) -> Iterable[Diagnostic]:
        for (kind, name), addresses in self._missing.items():
            others = f" and {len(addresses) - 1:,} more" if len(addresses) > 1 else ""
            yield Diagnostic(
                f'The API did not show "{name}" of {kind}',
                f"Answers for {addresses[0]}{others} lack it. It is taken to be as it was applied last, so a change "
                "by somebody else would not be noticed.",
                severity=Severity.WARNING,
            )

    def _fields(
        self, resource: Resource, desired: Spec, live: LiveObject, record: Record | None
    ) -> tuple[FieldChange, ...]:
        # For jobs the digest decides, since the API need not show everything that they ran with.
        inputs = self.snapshot.inputs_digest(resource, self.lookup)
        if inputs is not None and live.inputs == inputs:
            return ()  # whatever the API shows of it, these are the inputs that it was started with
        changes = diff.diff_fields(
            resource.kind, desired=desired, live=live, record=record, restored=resource.restored
        )
        changes += self._strict_changes(resource, desired, live, record, changes)
        if changes or record is not None or resource.lifecycle.ignore_changes:
            return tuple(changes)  # what we remember tells more than a digest does
        return tuple(jobs.other_inputs(live, inputs))

    @staticmethod
    def _strict_changes(
        resource: Resource,
        desired: Spec,
        live: LiveObject,
        record: Record | None,
        changes: Sequence[FieldChange],
    ) -> list[FieldChange]:
        if not resource.lifecycle.strict:
            return []
        return diff.strict_changes(
            resource.kind,
            declared={*desired, *resource.spec},
            changed={change.name for change in changes},
            live=live,
            ignore=resource.lifecycle.ignore_changes,
            seen=record.seen if record else {},
        )

    def _chosen(
        self, resource: Resource, binding: Binding, live: LiveObject, change: Change
    ) -> Change:
        forced = any(field_change.forces_replacement for field_change in change.fields)
        expired = resource.kind.terminal_state(live.attributes) is TerminalState.REPLACE
        requested = resource.address in self.snapshot.inputs.options.replace
        if forced or expired or requested or binding.replacement is not None:
            # Several can apply at once. The reason that the user can influence comes first.
            if forced:
                reason = Reason.FIELD_FORCES_REPLACEMENT
            elif expired:
                reason = Reason.EXPIRED
            elif requested:
                reason = Reason.REQUESTED
            else:
                reason = Reason.HALF_REPLACED
            if resource.kind.job is not None:
                return jobs.run_again(change, reason, live, waits=bool(change.desired.get(WAIT)))
            return replace(
                change, action=Action.REPLACE, reason=reason, destructive=resource.kind.destroys
            )
        # The API returns a key once. If the run died before delivery, only a new key helps.
        if _lacks_its_key(resource, binding):
            return replace(change, action=Action.REPLACE, reason=Reason.KEY_LOST)
        if change.fields:
            return replace(
                change, action=Action.UPDATE, reason=_update_reason(change.fields, binding)
            )
        # Nothing to write, but apply has to wait for the job: an update without fields does that.
        if change.wait_for_job:
            return replace(change, action=Action.UPDATE, reason=Reason.RUNNING)
        marked = self._other_address(resource, live)
        mark = self._mark_to_write(resource, live, change.desired)
        if mark:
            change = replace(change, mark=mark)
        if binding.renamed_from is not None or marked is not None:
            return replace(change, action=Action.ADOPT, reason=Reason.RENAMED)
        if binding.source is BindingSource.ADOPTED and binding.record is None:
            return replace(change, action=Action.ADOPT, reason=Reason.ADOPTED)
        if change.mark and not (binding.record and binding.record.marked_later):
            return replace(change, action=Action.ADOPT, reason=Reason.UNMARKED)
        return change

    def _other_address(self, resource: Resource, live: LiveObject) -> Address | None:
        """The address in our mark of an object, if it is not that of the resource."""
        # The mark of a job records who started it and cannot be changed.
        if resource.kind.job is not None:
            return None
        ownership = self.snapshot.inputs.ownership
        # Nearly every object carries the mark of its own address, which needs no parsing.
        if live.mark == ownership.mark(resource.address):
            return None
        marked = ownership.address(live.mark)
        return None if marked == resource.address else marked

    def _mark_to_write(self, resource: Resource, live: LiveObject, desired: Spec) -> str:
        """The mark that the object should carry and does not; empty if it has it or cannot have it."""
        kind = resource.kind
        # An answer without the field says nothing about the mark, and the metadata of jobs cannot be changed.
        if kind.mark is None or kind.job is not None or kind.mark not in live.attributes:
            return ""
        if not kind.by_name[kind.mark].on_update:
            return ""
        mark = self.snapshot.inputs.ownership.mark(resource.address)
        if live.mark == mark:
            return ""
        # Metadata has a fixed number of pairs. Without room for the mark, the object stays
        # unmarked; the record still binds it.
        pairs = desired.get(kind.mark) or live.value(kind.mark) or {}
        has_room = live.is_marked or len(pairs) < METADATA_PAIRS
        return mark if has_room else ""


def _is_held_lightly(kind: Kind, change: Change) -> bool:
    """Whether a change leaves alone what its refusal is about.

    Another key beside the one in use does no harm, and neither does a new setting of its rotation.
    """
    if change.action.destroys:
        return False
    own = {field.name for field in kind.own_calls if isinstance(field.type, KeySinkType)}
    if change.makes_object:
        return True
    return kind.held_for_removal or (bool(own) and set(change.field_names) <= own)


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


def _as_recorded(reference: Reference, record: Record, kind: Kind) -> Any:
    if not reference.path:
        return kind.parent_and_id(record.id)[1]
    value = value_at(record.applied, reference.path)
    return Unknown(str(reference)) if value is None else value


def _lacks_its_key(resource: Resource, binding: Binding) -> bool:
    """Whether the object is a key from an unfinished run, whose secret is lost."""
    return (
        binding.source is BindingSource.JOURNAL
        and binding.record is None
        and resource.kind.is_shown_once
    )


def _restored_values(restored: Spec, fields: Sequence[FieldChange]) -> Spec:
    changed = {change.name for change in fields}
    return {name: value for name, value in restored.items() if name in changed}


def _seen_values(fields: Sequence[FieldChange], desired: Spec) -> Spec:
    """The values that strict mode writes back to undeclared fields without a known default."""
    return {
        change.name: change.after
        for change in fields
        if change.note == diff.MOVED_NOTE and change.name not in desired
    }


def _warnings(
    resource: Resource, desired: Spec, live: LiveObject, record: Record | None
) -> Iterable[str]:
    # A job is compared by the digest of its inputs, which also tells of fields that are not shown.
    replacing = resource.kind.fields_by_mutability.get(Mutability.REPLACES, ())
    for field in replacing if resource.kind.job is None else ():
        value = desired.get(field.name)
        if value is None or not diff.is_unknown(field, record):
            continue
        is_shown = (
            field.required
            or field.readable is Readable.ALWAYS
            or live.value(field.name) is not None
        )
        # Of a field that the API does not show and that we did not set, only a new object can be sure.
        if not is_shown or any(secrets_in(value)):
            yield (
                f"{field.name}: the API does not show it, and no record says what it is, so it is taken to be as "
                f"declared; to be sure, pass --replace {resource.address}"
            )
    for field in diff.fixed_fields(resource.kind, desired=desired, record=record):
        yield f"{field.name} can only be set at creation: the API keeps the earlier value"
    if record is None:
        return
    for name in record.answered:
        if name in desired:
            yield f"{name}: the API answered another value than asked, and keeps it"
    for name, applied in record.applied.items():
        if applied is not None and name not in desired and _is_kept(resource.kind, name):
            yield f"{name} is not set any more, and nothing can clear it: it stays as it is"


def _is_kept(kind: Kind, name: str) -> bool:
    field = kind.by_name.get(name)
    return field is not None and field.reset is KEEP


def _update_reason(fields: Sequence[FieldChange], binding: Binding) -> Reason:
    if binding.source is BindingSource.ADOPTED and binding.record is None:
        return Reason.ADOPTED
    if binding.source is BindingSource.NATURAL and binding.record is None:
        return Reason.FIRST_WRITE
    # With several changed fields, the reason names both sides if both changed something.
    origins = {change.origin for change in fields}
    if origins == {Origin.DRIFT}:
        return Reason.DRIFT
    if origins == {Origin.CONFIG}:
        return Reason.CONFIG
    return Reason.DIFFERS if Origin.UNKNOWN in origins else Reason.CONFIG_AND_DRIFT
