"""Compares a declared resource with its live object, and chooses an action for the differences.

Everything here concerns one resource. `planner.py` compares the resources one after the other, and
decides how an error of one resource affects the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from reconciler.engine import diff, jobs
from reconciler.engine.binding.bindings import Binding, BindingSource
from reconciler.engine.jobs import WAIT
from reconciler.engine.plan.refused_files import refusal_warnings, with_refusals
from reconciler.engine.plan.rotation import with_key_steps
from reconciler.engine.snapshot import Snapshot
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, FieldChange, Origin, Reason
from reconciler.model.diagnostic import Diagnostic, Severity
from reconciler.model.kind import KEEP, Field, Kind, Mutability, Readable, TerminalState
from reconciler.model.resource import METADATA_PAIRS, LiveObject, Resource, shown_spec
from reconciler.model.types import KeySinkType
from reconciler.model.values import Reference, Spec, secrets_in


class ResourceComparison:
    """A declared resource beside the object that it is bound to."""

    def __init__(
        self,
        snapshot: Snapshot,
        resource: Resource,
        binding: Binding,
        live: LiveObject,
        *,
        spec: Spec,
        lookup: Callable[[Reference], Any],
    ) -> None:
        """`spec` is the completed spec, with its references resolved as far as `lookup` can."""
        self._snapshot = snapshot
        self._resource = resource
        self._kind = resource.kind
        self._binding = binding
        self._record = binding.record
        self._live = live
        self._ignore = resource.lifecycle.ignore_changes
        self._waits = bool(spec.get(WAIT))
        self._lookup = lookup
        self._desired = self._comparable(spec)

    def change(self, base: Change) -> Change:
        """The change of the resource; `base` is its no-op change.

        Raises ApiError for an answer of the API that cannot be compared.
        """
        kind, live = self._kind, self._live
        fields = self._fields()
        before = shown_spec(live, self._record)
        restored = {**base.restored, **_strict_values(fields, self._desired)}
        change = replace(
            base,
            fields=fields,
            restored=restored,
            desired=self._comparable(base.desired),
            after={**before, **_restored_values(restored, fields), **self._desired},
            before=before,
            facts=self._facts(),
            refusal=kind.read_only_reason(live.attributes) or "",
            warnings=(*self._warnings(), *refusal_warnings(kind, self._desired, live)),
        )
        if kind.job is not None:
            change = jobs.as_found(change, kind.job, live, waits=self._waits)
        # Keys depend on the action: an object that is created or deleted takes its keys with it.
        chosen = self._chosen(change)
        chosen = with_key_steps(self._snapshot, chosen, self._record, live, self._desired)
        # Some objects may be changed but not removed, so the refusal depends on the chosen action.
        if _is_harmless(kind, chosen):
            chosen = replace(chosen, refusal="")
        # Apply compares the object with the pre-image before it writes. A no-op writes nothing.
        if not chosen.is_change or self._snapshot.inputs.options.is_preview:
            return chosen
        return replace(chosen, pre_image=diff.image(kind, live))

    def missing_fields(self) -> Iterator[Field]:
        """The fields that the answer lacks although the API always shows them."""
        for field in self._kind.always_shown:
            if self._live.shows(field.name):
                continue
            value = self._desired.get(field.name)
            # A server may omit a field at its default, and a field that was never set.
            if value is None or value == field.default:
                continue
            if self._record is None or self._record.applied.get(field.name) is not None:
                yield field

    def _comparable(self, spec: Spec) -> Spec:
        """A spec without ignored values, and with the refusals of its files."""
        spec = with_refusals(self._kind, spec, self._record)
        return diff.without_ignored(spec, live=self._live, ignore=self._ignore)

    def _facts(self) -> Spec:
        """The part of the answer beyond the fields of the kind, if policies ask for it."""
        if not self._snapshot.inputs.options.facts:
            return {}
        # The fields of the kind are in `after` and `before` already.
        facts = dict(self._live.attributes)
        for field in self._kind.fields:
            facts.pop(field.name, None)
        return facts

    # --- the differences

    def _fields(self) -> tuple[FieldChange, ...]:
        # For jobs the digest decides, since the API need not show all of their inputs.
        inputs = self._snapshot.inputs_digest(self._resource, self._lookup)
        if inputs is not None and self._live.inputs == inputs:
            return ()
        record = self._record
        # Ignored fields leave both sides, or they would be reset as no longer set.
        prior = record
        if record is not None and self._ignore:
            applied = diff.without_ignored(record.applied, live=self._live, ignore=self._ignore)
            prior = replace(record, applied=applied)
        changes = diff.diff_fields(
            self._kind,
            desired=self._desired,
            live=self._live,
            record=prior,
            restored=self._resource.restored,
        )
        if self._resource.lifecycle.strict:
            changes += self._strict_changes(changes)
        # A record knows each field. The digest only knows whether any input differs.
        if changes or record is not None or self._ignore:
            return tuple(changes)
        return tuple(jobs.other_inputs(self._live, inputs))

    def _strict_changes(self, changes: Sequence[FieldChange]) -> list[FieldChange]:
        return diff.strict_changes(
            self._kind,
            # Ignored fields are declared too, though they are no part of the desired values.
            declared={*self._desired, *self._resource.spec},
            changed={change.name for change in changes},
            live=self._live,
            ignore=self._ignore,
            seen=self._record.seen if self._record else {},
        )

    # --- the action

    def _chosen(self, change: Change) -> Change:
        """The change with its action and reason."""
        reason = self._replacement_reason(change)
        if reason is not None:
            if self._kind.job is not None:
                waits = bool(change.desired.get(WAIT))
                return jobs.run_again(change, reason, self._live, waits=waits)
            return replace(
                change, action=Action.REPLACE, reason=reason, destructive=self._kind.destroys
            )
        # The API returns a key once. If the run died before delivery, only a new key helps.
        if self._lacks_its_key():
            return replace(change, action=Action.REPLACE, reason=Reason.KEY_LOST)
        # An update writes the mark as well, so differences come before the ownership.
        if change.fields:
            reason = _update_reason(change.fields, self._binding)
            return replace(change, action=Action.UPDATE, reason=reason)
        # Nothing to write, but apply has to wait for the job: an update without fields does that.
        if change.wait_for_job:
            return replace(change, action=Action.UPDATE, reason=Reason.RUNNING)
        return self._adopted(change)

    def _replacement_reason(self, change: Change) -> Reason | None:
        """Why the object has to be replaced; None where it can stay."""
        # Several can apply at once. The reason that the user can influence comes first.
        if any(field_change.forces_replacement for field_change in change.fields):
            return Reason.FIELD_FORCES_REPLACEMENT
        # Lists still contain an expired object, which the API does not revive.
        if self._kind.terminal_state(self._live.attributes) is TerminalState.REPLACE:
            return Reason.EXPIRED
        if change.address in self._snapshot.inputs.options.replace:
            return Reason.REQUESTED
        if self._binding.replacement is not None:
            return Reason.HALF_REPLACED
        return None

    def _lacks_its_key(self) -> bool:
        """Whether the object is a key from an unfinished run, whose secret is lost."""
        is_unfinished = self._binding.source is BindingSource.JOURNAL
        return is_unfinished and self._record is None and self._kind.is_shown_once

    def _adopted(self, change: Change) -> Change:
        """The change of an object without differences, which the state or a mark may still lack."""
        mark = self._mark_to_write(change.desired)
        if mark:
            change = replace(change, mark=mark)
        if change.renamed_from is not None or self._has_mark_of_other_address():
            return replace(change, action=Action.ADOPT, reason=Reason.RENAMED)
        if _is_newly_adopted(self._binding):
            return replace(change, action=Action.ADOPT, reason=Reason.ADOPTED)
        # An import of many objects leaves their marks to the first write of each.
        may_mark_later = self._record is not None and self._record.marked_later
        if change.mark and not may_mark_later:
            return replace(change, action=Action.ADOPT, reason=Reason.UNMARKED)
        return change

    def _has_mark_of_other_address(self) -> bool:
        """Whether the object carries our mark for another address."""
        # The mark of a job records who started it and cannot be changed.
        if self._kind.job is not None:
            return False
        ownership, mark = self._snapshot.inputs.ownership, self._live.mark
        # Nearly every object carries the mark of its own address, which needs no parsing.
        if mark == ownership.mark(self._resource.address):
            return False
        return ownership.address(mark) not in (None, self._resource.address)

    def _mark_to_write(self, desired: Spec) -> str:
        """The mark that the object should carry and lacks; empty if it has it or cannot have it."""
        kind, live = self._kind, self._live
        # The metadata of jobs cannot be changed. An answer without the field says nothing about
        # the mark.
        if kind.mark is None or kind.job is not None or kind.mark not in live.attributes:
            return ""
        if not kind.by_name[kind.mark].on_update:
            return ""
        mark = self._snapshot.inputs.ownership.mark(self._resource.address)
        if live.mark == mark:
            return ""
        # Metadata has a fixed number of pairs. Without room for the mark, the object stays
        # unmarked; the record still binds it.
        pairs = desired.get(kind.mark) or live.value(kind.mark) or {}
        if live.is_marked or len(pairs) < METADATA_PAIRS:
            return mark
        return ""

    # --- the warnings

    def _warnings(self) -> Iterator[str]:
        # A job is compared by the digest of its inputs, which covers fields that are not shown.
        if self._kind.job is None:
            yield from self._incomparable_fields()
        record, desired = self._record, self._desired
        for field in diff.fixed_fields(self._kind, desired=desired, record=record):
            yield f"{field.name} can only be set at creation: the API keeps the earlier value"
        if record is None:
            return
        # Sending the value once more would get the same answer, so it is no difference.
        for name in record.answered:
            if name in desired:
                yield f"{name}: the API answered another value than asked, and keeps it"
        for name, applied in record.applied.items():
            if applied is not None and name not in desired and _is_kept(self._kind, name):
                yield f"{name} is no longer set, and the API cannot clear it: it keeps its value"

    def _incomparable_fields(self) -> Iterator[str]:
        """A sentence for each field that cannot be compared and that only a new object can change."""
        for field in self._kind.fields_by_mutability.get(Mutability.REPLACES, ()):
            value = self._desired.get(field.name)
            if value is None or not diff.is_unknown(field, self._record):
                continue
            is_shown = (
                field.required
                or field.readable is Readable.ALWAYS
                or self._live.value(field.name) is not None
            )
            # No answer contains a secret, so only a new object is certain to have it.
            if not is_shown or any(secrets_in(value)):
                yield (
                    f"{field.name}: the API does not show it and no record has it, so it is "
                    "assumed to be as declared; to be sure, pass --replace "
                    f"{self._resource.address}"
                )


class MissingFields:
    """The fields that answers lack although the API always shows them, over all resources.

    A field that a server never shows is one warning, not one for each of thousands of resources.
    """

    def __init__(self) -> None:
        self._addresses: dict[tuple[str, str], list[Address]] = {}

    def add(self, resource: Resource, fields: Iterable[Field]) -> None:
        """Add the missing fields of a resource."""
        for field in fields:
            key = (resource.kind.name, field.name)
            self._addresses.setdefault(key, []).append(resource.address)

    def warnings(self) -> Iterator[Diagnostic]:
        """A warning for each field of a kind."""
        for (kind, name), addresses in self._addresses.items():
            others = ""
            if len(addresses) > 1:
                others = f" and {len(addresses) - 1:,} more"
            yield Diagnostic(
                f'The API did not show "{name}" of {kind}',
                f"Answers for {addresses[0]}{others} lack it. It is assumed to have the value "
                "applied last, so a change by somebody else would go unnoticed.",
                severity=Severity.WARNING,
            )


def _is_harmless(kind: Kind, change: Change) -> bool:
    """Whether a change does nothing that a refusal of the API protects from.

    Another key beside the one in use does no harm, and neither does a new setting of its rotation.
    """
    if change.action.destroys:
        return False
    if change.makes_object or kind.held_for_removal:
        return True
    keys = {field.name for field in kind.own_calls if isinstance(field.type, KeySinkType)}
    return bool(keys) and keys.issuperset(change.field_names)


def _restored_values(restored: Spec, fields: Sequence[FieldChange]) -> Spec:
    """The former values of the fields that change."""
    values = {}
    for change in fields:
        if change.name in restored:
            values[change.name] = restored[change.name]
    return values


def _strict_values(fields: Sequence[FieldChange], desired: Spec) -> Spec:
    """The values that strict mode writes back to undeclared fields without a known default."""
    values = {}
    for change in fields:
        if change.note == diff.MOVED_NOTE and change.name not in desired:
            values[change.name] = change.after
    return values


def _is_kept(kind: Kind, name: str) -> bool:
    """Whether the API offers no way to clear a field."""
    field = kind.by_name.get(name)
    return field is not None and field.reset is KEEP


def _is_newly_adopted(binding: Binding) -> bool:
    return binding.source is BindingSource.ADOPTED and binding.record is None


def _update_reason(fields: Sequence[FieldChange], binding: Binding) -> Reason:
    if _is_newly_adopted(binding):
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
