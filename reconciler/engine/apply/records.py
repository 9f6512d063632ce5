"""The books of one apply: the records as they are now, and what each change leaves in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Any

from msgspec.structs import replace

from reconciler.engine import diff
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Plan, Reason
from reconciler.model.comparing import comparable
from reconciler.model.kind import KEEP, Field, Kind, Mutability, OnRemove, Readable, Removal
from reconciler.model.provider import Written
from reconciler.model.resource import LiveObject, Record
from reconciler.model.values import FileSet, Member, Spec, has_unknown


class RecordSet:
    """Records by address, for any number of threads; the store has the same on disk."""

    def __init__(self, plan: Plan, records: Mapping[Address, Record]) -> None:
        self._lock = Lock()
        self._records = dict(records)
        self._ids: Counter[tuple[str, str]] = Counter()
        """How many records know an object, by its kind and id."""
        for record in self._records.values():
            self._count(record, 1)
        self._changes = {change.address: change for change in plan.changes if change.reason is not Reason.LEFT_BEHIND}
        self._left_behind: dict[str, Address] = {
            str(change.id): change.address for change in plan.changes if change.reason is Reason.LEFT_BEHIND
        }
        self._project_ids = {
            change.address.project: change.project_id for change in plan.changes if change.project_id is not None
        }

    def get(self, address: Address) -> Record | None:
        """What is remembered of an address."""
        with self._lock:
            return self._records.get(address)

    def for_change(self, change: Change) -> Record | None:
        """What is remembered of the object of a change, be it under the address that it had before."""
        with self._lock:
            return self._records.get(change.address) or self._records.get(change.renamed_from or change.address)

    def put(self, record: Record) -> None:
        """Remember a record."""
        with self._lock:
            self._count(self._records.get(record.address), -1)
            self._records[record.address] = record
            self._count(record, 1)

    def remove(self, address: Address) -> None:
        """Forget an address."""
        with self._lock:
            self._count(self._records.pop(address, None), -1)

    def rename(self, source: Address, target: Address) -> bool:
        """Give a record another address; False where there is none."""
        with self._lock:
            record = self._records.pop(source, None)
            if record is not None:
                self._records[target] = replace(record, address=target)
            return record is not None

    def bind_project(self, name: str, id: str) -> None:
        """Remember the id of a project that was just made."""
        with self._lock:
            self._project_ids[name] = id

    def knows(self, kind: Kind, id: str) -> bool:
        """Whether an object of a kind is bound or waiting to be deleted."""
        # The rows of kinds that always exist are the same for ever, so knowing one does not rule it out.
        return not kind.unique_key and (self._ids[kind.name, id] > 0 or id in self._left_behind)

    def _count(self, record: Record | None, by: int) -> None:
        if record is not None:
            for id in (record.id, *record.deposed):
                self._ids[record.address.kind, id] += by

    def owned_ids(self, kinds: Mapping[str, Kind]) -> Iterator[tuple[str, Address]]:
        """Every id that is somebody's as the apply begins, objects before the files that they hold.

        A renamed resource owns what it had under its old address. Ids of kinds that always exist are left out: two
        projects can have the same.
        """
        renamed = {change.renamed_from: address for address, change in self._changes.items() if change.renamed_from}
        with self._lock:
            records = [(renamed.get(address, address), record) for address, record in self._records.items()]
        for address, record in records:
            yield from ((id, address) for id in (record.id, *record.deposed) if _has_own_ids(kinds, address))
        for address, change in self._changes.items():
            if change.id is not None and _has_own_ids(kinds, address):
                yield change.id, address
        for address, values in (
            *((address, record.applied) for address, record in records),
            *((address, change.before) for address, change in self._changes.items()),
        ):
            yield from ((id, address) for id in _file_ids(values))

    def after_write(
        self,
        change: Change,
        kind: Kind,
        desired: Spec,
        written: Written,
        *,
        before: LiveObject | None,
    ) -> Record:
        """The record of an object that was just written; `before` is what it was, where it existed."""
        earlier = self.get(change.address)
        deposed = self._to_be_deposed(change.address, earlier)
        if change.action in (Action.CREATE, Action.REPLACE) and not kind.always_exists:
            earlier = None
        record = earlier or Record(address=change.address, id=written.live.id)
        if change.action is Action.REPLACE and change.create_before_destroy and change.id:
            deposed = (*deposed, change.id)
        applied = _applied(kind, desired, written.live.own_calls, earlier=earlier)
        if change.action in (Action.CREATE, Action.REPLACE) and not kind.always_exists and before is None:
            applied = {**_not_set(kind, applied), **applied}
        delivered = {**record.delivered, **written.delivered}
        return replace(
            self._with_lifecycle(record, change),
            id=written.live.id,
            applied=applied,
            answered=diff.answered_otherwise(kind, asked=applied, live=written.live),
            overwritten=dict(record.overwritten)
            if before is None
            else _overwritten(kind, applied, record, before.id, {name: before.value(name) for name in applied}),
            delivered={name: item for name, item in delivered.items() if name in applied and item is not None},
            deposed=deposed,
        )

    def for_unchanged(self, change: Change, kind: Kind, desired: Spec) -> Record:
        """The record of a resource that needs no call: a rebinding, a new lifecycle, another wording."""
        record = self.get(change.address)
        base = record or Record(address=change.address, id=change.id or "")
        # What was seen says best which files an object holds: a run may have died over changing them.
        applied = _applied(kind, desired, {**base.applied, **change.before}, earlier=record)
        return replace(
            self._with_lifecycle(base, change),
            id=change.id or base.id,
            applied=applied,
            # What is declared with the value that it has anyway has that value before our first write as well.
            overwritten=_overwritten(kind, applied, base, change.id, change.before),
        )

    def _to_be_deposed(self, address: Address, earlier: Record | None) -> tuple[str, ...]:
        """What is to be deleted after the write of an address: also what is known from the journal alone."""
        known = self._still_deposed(earlier) if earlier else ()
        return tuple(dict.fromkeys([*known, *(id for id, owner in self._left_behind.items() if owner == address)]))

    def _still_deposed(self, record: Record) -> tuple[str, ...]:
        """The objects that replacements left behind, without those that the plan did not even find."""
        return tuple(id for id in record.deposed if id in self._left_behind)

    def _with_lifecycle(self, record: Record, change: Change) -> Record:
        depends_on = tuple(
            address
            for address in change.depends_on
            if (other := self._changes.get(address)) and other.action not in (Action.DELETE, Action.FORGET)
        )
        return replace(
            record,
            address=change.address,
            deposed=self._still_deposed(record),
            project_id=self._project_ids.get(change.address.project) or record.project_id,
            prevent_destroy=change.prevent_destroy,
            on_remove=OnRemove(change.on_remove) if change.on_remove and change.sets_on_remove else None,
            depends_on=depends_on,
        )


def _has_own_ids(kinds: Mapping[str, Kind], address: Address) -> bool:
    return address.kind in kinds and not kinds[address.kind].unique_key


def _file_ids(values: Spec) -> list[str]:
    members = (member for value in values.values() if isinstance(value, FileSet) for member in value.members)
    return [member.file_id for member in members if isinstance(member.file_id, str)]


def imported_record(kind: Kind, change: Change) -> Record:
    """What to remember of an object that was bound by hand: its own values, so that differences show as ours to make.

    Fields that the API does not show are taken to be as declared.
    """
    applied = {
        name: change.after.get(name)
        if kind.by_name[name].readable is Readable.NEVER
        else _imported(kind.by_name[name], change.after.get(name), change.before.get(name))
        for name in change.desired
    }
    return Record(
        address=change.address,
        id=change.id or "",
        project_id=change.project_id,
        applied={name: value for name, value in applied.items() if value is not None and not has_unknown(value)},
        prevent_destroy=change.prevent_destroy,
        on_remove=OnRemove(change.on_remove) if change.on_remove and change.sets_on_remove else None,
        depends_on=change.depends_on,
    )


def _imported(item: Field, desired: Any, live: Any) -> Any:
    """A live value without the parts that are the API's to choose: those were never ours to take back."""
    if live is None or item.has_own_calls:
        return live
    return comparable(item.type, diff.wanted(item, desired), live)[1]


def _not_set(kind: Kind, applied: Spec) -> dict[str, None]:
    """The fields that a new object was made without, of those that answers do not show and only a create can set."""
    return {item.name: None for item in kind.fields if _is_only_remembered(item) and item.name not in applied}


def _is_only_remembered(item: Field) -> bool:
    return item.mutability is Mutability.REPLACES and item.readable is not Readable.ALWAYS


def _applied(kind: Kind, desired: Spec, carried: Mapping[str, Any], *, earlier: Record | None) -> dict[str, Any]:
    """What is applied now: what was asked for; of what only a create can set, what it did set, if that was ours.

    A null says that a field was not set when we made the object. One that is not told either way stays so.
    """
    applied = {
        name: _with_ids(value, carried.get(name)) if isinstance(value, FileSet) else value
        for name, value in desired.items()
        if value is not None
    }
    for item in kind.fields:
        if earlier is None:
            continue
        if item.mutability is Mutability.FIXED:
            applied.pop(item.name, None)
            if item.name in earlier.applied:
                applied[item.name] = earlier.applied[item.name]
        elif item.reset is KEEP and item.readable is Readable.NEVER and not item.has_own_calls:
            # Nothing was sent, and nothing can be read: what was applied is still what there is.
            if item.name not in applied and item.name in earlier.applied:
                applied[item.name] = earlier.applied[item.name]
        elif _is_only_remembered(item):
            was_told = item.name in earlier.applied
            if was_told and item.name not in applied and earlier.applied[item.name] is None:
                applied[item.name] = None
            if not was_told and not item.required:
                applied.pop(item.name, None)
    return applied


def _overwritten(kind: Kind, applied: Spec, record: Record, id: str | None, before: Spec) -> dict[str, Any]:
    """The values that removing the declaration writes back: of each field, the one before our first write.

    `before` are the values of the object with an `id` until now.
    """
    if kind.removal is not Removal.RESTORE:
        return dict(record.overwritten)
    asked = {name: before.get(name) for name in applied if name not in kind.natural_key}
    earlier = record.overwritten if record.id == id else {}
    found = {**asked, **earlier}
    return {name: value for name, value in found.items() if name in applied and value is not None}


def _with_ids(asked: FileSet, live: Any) -> FileSet:
    """The members that were asked for, each with the id of its object, so that we know them as ours later."""
    found = {member.key: member for member in live.members} if isinstance(live, FileSet) else {}
    return FileSet(tuple(_as_found(member, found.get(member.key)) for member in asked.members))


def _as_found(asked: Member, found: Member | None) -> Member:
    if asked.content is None:
        return asked
    if found is None:
        return replace(asked, file_id=None)
    return replace(asked, file_id=found.file_id, refused=found.refused)
