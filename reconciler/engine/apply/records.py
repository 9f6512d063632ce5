"""The records of one apply: their present state, and the record that each change leaves.

A record holds facts that the API does not show later: the object of an address, the values that we
asked for, and those that we overwrote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat
from threading import Lock
from typing import Any

from msgspec.structs import replace

from reconciler.engine import diff
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Plan, Reason
from reconciler.model.comparing import comparable
from reconciler.model.keys import PREVIOUS, earlier_keys, key_ids
from reconciler.model.kind import KEEP, Field, Kind, Mutability, OnRemove, Readable, Removal
from reconciler.model.provider import Written
from reconciler.model.resource import SEEN, LiveObject, Record, without_seen
from reconciler.model.values import FileSet, Member, Spec, has_unknown


class RecordSet:
    """Records by address. Safe to use from threads; the store has the same on disk."""

    def __init__(
        self, plan: Plan, records: Mapping[Address, Record], *, unsaved: Iterable[Address] = ()
    ) -> None:
        """`unsaved` are the addresses whose records hold facts that only the journal has so far."""
        self._lock = Lock()
        self._records = dict(records)
        self._unsaved = set(unsaved)
        self._ids: Counter[tuple[str, str]] = Counter()
        """How many records refer to an object, by its kind and id."""
        for record in self._records.values():
            self._count(record, 1)
        self._changes: dict[Address, Change] = {}
        self._left_behind: dict[str, Address] = {}
        """The objects that interrupted replacements left behind: their address, by their id."""
        self._project_ids: dict[str | None, str] = {}
        # Leftovers have no address of their own. They are deleted by id and belong to the address
        # that replaced them.
        for change in plan.changes:
            if change.reason is Reason.LEFT_BEHIND:
                self._left_behind[str(change.id)] = change.address
            else:
                self._changes[change.address] = change
            if change.project_id is not None:
                self._project_ids[change.address.project] = change.project_id

    def get(self, address: Address) -> Record | None:
        """The record of an address."""
        with self._lock:
            return self._records.get(address)

    def is_saved(self, address: Address) -> bool:
        """Whether the store has the same record of an address."""
        with self._lock:
            return address not in self._unsaved

    def for_change(self, change: Change) -> Record | None:
        """The record of a change's object, possibly under its former address."""
        with self._lock:
            # The new address first: the record moves there as soon as the rename has been applied.
            record = self._records.get(change.address)
            return record or self._records.get(change.renamed_from or change.address)

    def put(self, record: Record) -> None:
        """Add or replace a record."""
        with self._lock:
            # Before the replacement: the count belongs to the record that is replaced.
            self._count(self._records.get(record.address), -1)
            self._records[record.address] = record
            self._count(record, 1)

    def remove(self, address: Address) -> None:
        """Remove the record of an address."""
        with self._lock:
            self._count(self._records.pop(address, None), -1)

    def rename(self, source: Address, target: Address) -> bool:
        """Move a record to another address; False where there is none."""
        with self._lock:
            record = self._records.pop(source, None)
            if record is not None:
                # The ids stay the same, so their count does too.
                self._records[target] = replace(record, address=target)
            return record is not None

    def bind_project(self, name: str, id: str) -> None:
        """Set the id of a project that this apply has created."""
        with self._lock:
            self._project_ids[name] = id

    def knows(self, kind: Kind, id: str) -> bool:
        """Whether an object of a kind is bound, or left behind and not deleted yet."""
        # Objects that always exist keep their ids, so a record does not rule them out.
        if kind.unique_key:
            return False
        return self._ids[kind.name, id] > 0 or id in self._left_behind

    def _count(self, record: Record | None, by: int) -> None:
        if record is not None:
            for id in (record.id, *record.deposed):
                self._ids[record.address.kind, id] += by

    def owned_ids(self, kinds: Mapping[str, Kind]) -> Iterator[tuple[str, Address]]:
        """Every id with an owner at the start: objects first, then the files in collections.

        A renamed resource owns the ids of its former address. Ids of kinds with a unique key are
        left out, because two projects can have the same.
        """
        renamed: dict[Address, Address] = {}
        for address, change in self._changes.items():
            if change.renamed_from is not None:
                renamed[change.renamed_from] = address
        with self._lock:
            records = list(self._records.values())
        files: list[tuple[str, Address]] = []
        for record in records:
            address = renamed.get(record.address, record.address)
            if _has_own_ids(kinds, address):
                for id in (record.id, *record.deposed):
                    yield id, address
            files += zip(_file_ids(record.applied), repeat(address))
        for address, change in self._changes.items():
            if change.id is not None and _has_own_ids(kinds, address):
                yield change.id, address
            files += zip(_file_ids(change.before), repeat(address))
        # Objects come before files, because the first owner of an id keeps it.
        yield from files

    def after_write(
        self,
        change: Change,
        kind: Kind,
        desired: Spec,
        written: Written,
        *,
        before: LiveObject | None,
    ) -> Record:
        """The record of an object after a write; `before` is its former state, if any."""
        earlier = self.get(change.address)
        # Before the earlier record is dropped: the ids of old objects outlive it.
        deposed = self._deposed_after_write(change, earlier)
        # The record of an object that always exists goes on, with the values to restore.
        is_create = change.action in (Action.CREATE, Action.REPLACE) and not kind.always_exists
        if is_create:
            # The earlier record is of another object.
            earlier = None
        record = earlier or Record(address=change.address, id=written.live.id)
        applied = _applied(kind, desired, written.live.own_calls, earlier=earlier)
        # For an object that was found, nobody knows which fields its create left unset.
        if is_create and before is None:
            applied = {**_unset_fields(kind, applied), **applied}
        overwritten = dict(record.overwritten)
        if before is not None:
            values = {name: before.value(name) for name in applied}
            overwritten = _overwritten(kind, applied, record, before.id, values)
        receipts = {**record.delivered, **written.delivered}
        delivered = {
            name: receipt
            for name, receipt in receipts.items()
            if name in applied and receipt is not None
        }
        if is_create and kind.is_shown_once:
            # Earlier keys of an address outlive a replacement: they are valid until they are
            # revoked.
            former = self.get(change.address)
            if former is not None:
                delivered = _with_earlier_keys(delivered, former)
        return replace(
            self._with_lifecycle(record, change),
            id=written.live.id,
            applied=applied,
            # The next plan compares with these values, or it would plan the same update again.
            answered={
                **diff.answered_otherwise(kind, asked=applied, live=written.live),
                **_seen_after_write(change, kind, record, applied, written.live),
            },
            overwritten=overwritten,
            delivered=delivered,
            deposed=deposed,
            marked_later=False,
        )

    def after_succession(
        self, change: Change, kind: Kind, desired: Spec, written: Written
    ) -> Record:
        """The record after another object has taken the place of one that stays for a while."""
        earlier = self.get(change.address)
        # The values of a new object: nothing of the old one applies to it.
        applied = _applied(kind, desired, written.live.own_calls, earlier=None)
        record = self._with_lifecycle(earlier or Record(change.address, written.live.id), change)
        deposed = list(record.deposed)
        if earlier is not None:
            # The old object still works, and only the record remembers its id.
            deposed.append(earlier.id)
        return replace(
            record,
            id=written.live.id,
            applied={**_unset_fields(kind, applied), **applied},
            answered=diff.answered_otherwise(kind, asked=applied, live=written.live),
            delivered={**record.delivered, **written.delivered},
            deposed=tuple(dict.fromkeys(deposed)),
        )

    def for_unchanged(self, change: Change, kind: Kind, desired: Spec) -> Record:
        """The record of a resource that needs no call.

        It can still differ: by its binding, its lifecycle, or the wording of a value.
        """
        record = self.get(change.address)
        base = record or Record(address=change.address, id=change.id or "")
        # A run may have died while it changed files, so the plan's values outrank the record.
        applied = _applied(kind, desired, {**base.applied, **change.before}, earlier=record)
        return replace(
            self._with_lifecycle(base, change),
            id=change.id or base.id,
            applied=applied,
            answered={**without_seen(base.answered), **_seen_before(change, kind, base, applied)},
            # A field declared with its present value had that value before our first write too.
            overwritten=_overwritten(kind, applied, base, change.id, change.before),
        )

    def _deposed_after_write(self, change: Change, earlier: Record | None) -> tuple[str, ...]:
        """The ids to delete after a write, those that only the journal knows included."""
        ids: list[str] = []
        if earlier is not None:
            ids += self._still_deposed(earlier)
        ids += [id for id, owner in self._left_behind.items() if owner == change.address]
        deposed = tuple(dict.fromkeys(ids))
        # The old object still exists and nothing else remembers its id. It stays in the record
        # until its deletion has succeeded.
        if change.action is Action.REPLACE and change.create_before_destroy and change.id:
            return (*deposed, change.id)
        return deposed

    def _still_deposed(self, record: Record) -> tuple[str, ...]:
        """The deposed ids of a record, without objects that the plan did not find.

        Earlier keys that are still valid stay until a step of a plan revokes them.
        """
        valid_keys: set[str] = set()
        for entry in record.delivered.values():
            valid_keys.update(key_ids(entry))
        return tuple(id for id in record.deposed if id in self._left_behind or id in valid_keys)

    def _with_lifecycle(self, record: Record, change: Change) -> Record:
        """The record with the lifecycle and the dependencies of the resource."""
        # The next plan orders deletions by these dependencies, so they have to describe this
        # apply's result.
        depends_on = []
        for address in change.depends_on:
            target = self._changes.get(address)
            # A record must not depend on an address that is gone after this apply.
            if target is not None and target.action not in (Action.DELETE, Action.FORGET):
                depends_on.append(address)
        return replace(
            record,
            address=change.address,
            deposed=self._still_deposed(record),
            project_id=self._project_ids.get(change.address.project) or record.project_id,
            prevent_destroy=change.prevent_destroy,
            on_remove=_declared_on_remove(change),
            depends_on=tuple(depends_on),
        )


def _with_earlier_keys(delivered: Spec, former: Record) -> dict[str, Any]:
    """Deliveries of a replacement, with the earlier keys of the object that it replaced."""
    kept: dict[str, Any] = {}
    for name, entry in delivered.items():
        earlier = list(earlier_keys(former.delivered.get(name)))
        if earlier:
            entry = {PREVIOUS: earlier, **entry}
        kept[name] = entry
    return kept


def _declared_on_remove(change: Change) -> OnRemove | None:
    """The `on_remove` of the manifest; None where the kind decides."""
    if not change.on_remove or not change.sets_on_remove:
        return None
    return OnRemove(change.on_remove)


def _has_own_ids(kinds: Mapping[str, Kind], address: Address) -> bool:
    return address.kind in kinds and not kinds[address.kind].unique_key


def _file_ids(values: Spec) -> Iterator[str]:
    """The ids of the files in the file sets of a spec."""
    for value in values.values():
        if isinstance(value, FileSet):
            for member in value.members:
                if isinstance(member.file_id, str):
                    yield member.file_id


def imported_record(kind: Kind, change: Change) -> Record:
    """The record of an object that the user imported.

    It holds the object's own values, so that a plan shows each difference as a change of the
    manifest. Fields that the API does not show are taken to be as declared.
    """
    applied: dict[str, Any] = {}
    for name in change.desired:
        field, value = kind.by_name[name], change.after.get(name)
        if field.readable is not Readable.NEVER:
            value = _imported(field, value, change.before.get(name))
        # An unknown cannot be recorded, and an entry without a value would mean that our create
        # left the field unset.
        if value is not None and not has_unknown(value):
            applied[name] = value
    return Record(
        address=change.address,
        id=change.id or "",
        project_id=change.project_id,
        applied=applied,
        prevent_destroy=change.prevent_destroy,
        on_remove=_declared_on_remove(change),
        depends_on=change.depends_on,
    )


def _imported(field: Field, desired: Any, live: Any) -> Any:
    """A live value without the parts that the API chooses, which no manifest has to reset."""
    if live is None or field.has_own_calls:
        return live
    # The comparison drops keys that the manifest does not set, and so must the record: a recorded
    # key that no manifest sets is reset by the next plan.
    return comparable(field.type, diff.wanted(field, desired), live)[1]


def _unset_fields(kind: Kind, applied: Spec) -> dict[str, None]:
    """The fields that a create left without a value, as far as only its record shows that later."""
    unset: dict[str, None] = {}
    for field in kind.fields:
        if _is_only_recorded(field) and field.name not in applied:
            unset[field.name] = None
    return unset


def _is_only_recorded(field: Field) -> bool:
    """Whether only a create can set a field, and answers may not show it."""
    return field.mutability is Mutability.REPLACES and field.readable is not Readable.ALWAYS


def _applied(
    kind: Kind, desired: Spec, own_calls: Mapping[str, Any], *, earlier: Record | None
) -> dict[str, Any]:
    """The values of the last apply: those asked for, except for fields that only a create can set.

    None says that our create left a field unset. Nothing is known of a field without an entry.
    """
    applied: dict[str, Any] = {}
    for name, value in desired.items():
        if isinstance(value, FileSet):
            applied[name] = _with_ids(value, own_calls.get(name))
        elif value is not None:
            applied[name] = value
    if earlier is not None:
        for field in kind.fields:
            _keep_earlier(field, applied, earlier.applied)
    return applied


def _keep_earlier(field: Field, applied: dict[str, Any], earlier: Spec) -> None:
    """Restore the earlier entry of a field that the write could not change."""
    name, was_recorded = field.name, field.name in earlier
    if field.mutability is Mutability.FIXED:
        # The manifest may have moved on, but the object has not.
        applied.pop(name, None)
        if was_recorded:
            applied[name] = earlier[name]
    elif field.reset is KEEP and field.readable is Readable.NEVER and not field.has_own_calls:
        # Nothing was sent and nothing can be read, so the object still has the earlier value.
        if was_recorded:
            applied.setdefault(name, earlier[name])
    elif _is_only_recorded(field):
        if was_recorded and earlier[name] is None:
            applied.setdefault(name, None)
        elif not was_recorded and not field.required:
            applied.pop(name, None)


def _seen_after_write(
    change: Change, kind: Kind, record: Record, applied: Spec, live: LiveObject
) -> dict[str, Any]:
    """The entry of strict mode: the values that the API chose, as its answer shows them."""
    if not change.strict:
        return {}
    values = {field.name: live.value(field.name) for field in kind.fields}
    # Answers may lack some of the values, so earlier ones stay.
    seen = {**record.seen, **diff.seen_values(kind, values=values, declared=applied)}
    return {SEEN: seen} if seen else {}


def _seen_before(change: Change, kind: Kind, record: Record, applied: Spec) -> dict[str, Any]:
    """The entry of strict mode for an object that needs no call."""
    if not change.strict:
        return {}
    # The plan's values only fill gaps: a value that moved since the last apply is drift.
    seen = {**diff.seen_values(kind, values=change.before, declared=applied), **record.seen}
    return {SEEN: seen} if seen else {}


def _overwritten(
    kind: Kind, applied: Spec, record: Record, id: str | None, before: Spec
) -> dict[str, Any]:
    """The values to restore when the declaration is removed: those before our first write.

    `before` are the values until now of the object with an `id`.
    """
    if kind.removal is not Removal.RESTORE:
        return dict(record.overwritten)
    # Values from before our first write outrank those from before this one.
    first = record.overwritten if record.id == id else {}
    overwritten = {}
    for name in applied:
        value = first.get(name)
        # The natural key identifies the object and never changes, so there is nothing to restore.
        if name not in first and name not in kind.natural_key:
            value = before.get(name)
        if value is not None:
            overwritten[name] = value
    return overwritten


def _with_ids(asked: FileSet, live: Any) -> FileSet:
    """The members asked for, each with the id of its file, which shows later that it is ours."""
    by_key: dict[str, Member] = {}
    if isinstance(live, FileSet):
        # By key and not by id: an upload of this apply has an id that the manifest cannot name.
        by_key = live.by_key
    return FileSet(tuple(_with_id(member, by_key.get(member.key)) for member in asked.members))


def _with_id(asked: Member, live: Member | None) -> Member:
    # A member that the manifest names by id is not our upload.
    if asked.content is None:
        return asked
    if live is None:
        return replace(asked, file_id=None)
    return replace(asked, file_id=live.file_id, refused=live.refused)
