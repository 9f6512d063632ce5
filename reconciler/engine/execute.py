"""What carrying out one change means: the calls, the looking before and after them, and the record they leave.

Every method here runs inside a journalled change. Right before an update or a delete the object is read again and
compared with what the plan saw; if it moved, the change is refused. After a create whose outcome is unknown the object
is looked for, again and again for a settle time, before anything is sent a second time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

from reconciler.engine import diff
from reconciler.engine.match import JOURNAL_TOLERANCE_SECONDS, Ownership
from reconciler.errors import AmbiguousError, ApiError, StalePlanError
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Plan, Reason
from reconciler.model.kind import KEEP, OVERWRITTEN, Ended, Field, Kind, Mutability, OnRemove, Readable, Removal
from reconciler.model.provider import Provider, Written
from reconciler.model.resource import LiveObject, Record
from reconciler.model.types import FileSetType
from reconciler.model.values import FileSet, LocalFile, Reference, Spec, Unknown, has_unknown, substitute, value_at
from reconciler.state import ChangeJournal, StateStore

METADATA_PAIRS = 16
"""How many pairs the API allows; our mark needs one of them."""


@dataclass(frozen=True)
class Settling:
    """How long an object is looked for after a doubtful create, and with what clock. Seconds."""

    seconds: float = 12.0
    first_pause: float = 0.5
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Done:
    """What a change left behind: its object's id, and remarks for the report."""

    id: str | None = None
    notes: tuple[str, ...] = ()


class _SharedLists:
    """Lists that the changes of one apply share, for kinds whose objects cannot be read singly.

    One list serves all that is changed in a project within a minute: these objects are never made or deleted, so only
    their values can be that old, and each is looked at before its own change alone. Other kinds are listed anew.
    """

    max_age_seconds = 60.0

    def __init__(self, provider: Provider, clock: Callable[[], float]) -> None:
        self._provider = provider
        self._clock = clock
        self._guard = Lock()
        self._locks: dict[tuple[str, str | None], Lock] = {}
        self._lists: dict[tuple[str, str | None], tuple[float, Sequence[LiveObject]]] = {}

    def read(self, kind: Kind, project: str | None) -> Sequence[LiveObject]:
        """All objects of a kind in a project, as they are or were a moment ago."""
        if kind.readable_singly:
            return self._provider.list(kind, project)
        key = (kind.name, project)
        with self._guard:
            lock = self._locks.setdefault(key, Lock())
        with lock:
            read_at, objects = self._lists.get(key, (-math.inf, ()))
            if self._clock() - read_at > self.max_age_seconds:
                objects = self._provider.list(kind, project)
                self._lists[key] = (self._clock(), objects)
            return objects


class Executor:
    """Carries out the changes of one plan, from any number of threads."""

    def __init__(
        self,
        plan: Plan,
        *,
        provider: Provider,
        kinds: Mapping[str, Kind],
        store: StateStore,
        ownership: Ownership,
        settling: Settling,
    ) -> None:
        self._provider = provider
        self._kinds = kinds
        self._store = store
        self._ownership = ownership
        self._settling = settling
        self._lock = Lock()
        self._records = dict(store.records())
        self._changes = {change.address: change for change in plan.changes if change.reason is not Reason.LEFT_BEHIND}
        self._written: dict[Address, LiveObject] = {}
        self._lists = _SharedLists(provider, settling.clock)
        self._project_ids = {
            change.address.project: change.project_id for change in plan.changes if change.project_id is not None
        }

    # --- the actions -----------------------------------------------------------------------------------------------

    def write(self, change: Change, journal: ChangeJournal) -> Done:
        """Create, update, adopt or forget; the creating half of a replacement."""
        match change.action:
            case Action.CREATE | Action.REPLACE:
                return self._create(change, journal)
            case Action.UPDATE:
                return self._update(change, journal)
            case Action.ADOPT:
                return self._adopt(change, journal)
            case _:
                return self._forget(change, journal)

    def delete(self, change: Change, journal: ChangeJournal) -> Done:
        """Delete the object that the plan saw; the deleting half of a replacement."""
        kind, record = self._kinds[change.address.kind], self._records.get(change.address)
        live = self._read(kind, change, carried=())
        if live is not None and kind.ending(live.attributes) is not Ended.GONE:
            self._refuse_if_moved(change, live)
            self._provider.delete(live, record=record, steps=journal)
        self._finish_delete(change, record, journal)
        return Done(change.id)

    def settle_unchanged(self, change: Change) -> None:
        """Bring the record of an unchanged resource up to date: a rebinding, a new lifecycle, another wording."""
        if change.id is None or change.reason is Reason.GONE:
            return
        kind, record = self._kinds[change.address.kind], self._records.get(change.address)
        desired = self.resolve(change)
        base = record or Record(address=change.address, id=change.id)
        applied = {
            name: _with_ids(value, base.applied.get(name)) if isinstance(value, FileSet) else value
            for name, value in desired.items()
            if value is not None
        }
        fixed = {item.name for item in kind.fields if item.mutability is Mutability.FIXED}
        kept = {name: value for name, value in base.applied.items() if name in fixed}
        fresh = replace(
            self._with_lifecycle(base, change), id=change.id, applied={**applied, **kept} if record else applied
        )
        if fresh != record:
            self._remember(fresh)
            self._store.put(fresh)

    # --- create ----------------------------------------------------------------------------------------------------

    def _create(self, change: Change, journal: ChangeJournal) -> Done:
        kind, desired = self._kinds[change.address.kind], self.resolve(change)
        live = self._look(change, kind, desired) if change.look_first or kind.always_exists else None
        if kind.always_exists and live is None:
            raise ApiError(
                f"the API lists no {kind.name} with {kind.natural_key[0]} {desired.get(kind.natural_key[0])!r} here",
                hint="Objects of this kind cannot be created: the organization probably has no access to it.",
            )
        written = self._converge(change, kind, desired, live, journal) if live else self._make(change, desired, journal)
        record = self._record_of(change, kind, desired, written, before=live)
        if change.action is Action.REPLACE and change.create_before_destroy and change.id:
            old = self._records.get(change.address)
            record = replace(record, deposed=(*(old.deposed if old else ()), change.id))
        return self._finish(change, record, written, journal)

    def _make(self, change: Change, desired: Spec, journal: ChangeJournal) -> Written:
        kind = self._kinds[change.address.kind]
        began = self._settling.clock()
        try:
            return self._post(change, kind, desired, journal)
        except AmbiguousError:
            live = self._look_until_settled(change, kind, desired, began)
        if live is not None:
            return self._converge(change, kind, desired, live, journal)
        return self._post(change, kind, desired, journal)

    def _post(self, change: Change, kind: Kind, desired: Spec, journal: ChangeJournal) -> Written:
        return self._provider.create(
            kind,
            change.address.project,
            {name: value for name, value in desired.items() if value is not None},
            address=change.address,
            mark=self._mark(kind, change.address, desired.get(kind.mark or "")),
            steps=journal,
        )

    def _converge(self, change: Change, kind: Kind, desired: Spec, live: LiveObject, journal: ChangeJournal) -> Written:
        """Bring an object that exists already to what a create would have made of it."""
        carried = [item.name for item in kind.carried if isinstance(item.type, FileSetType) and item.name in desired]
        full = self._provider.read_carried(live, carried) if carried else live
        fields = diff.diff_fields(kind, desired=desired, live=full, record=None)
        changes = {item.name: desired[item.name] for item in fields}
        if not changes:
            return Written(full)
        return self._provider.update(
            full,
            changes,
            address=change.address,
            mark=self._mark(kind, change.address, desired.get(kind.mark or "")),
            record=self._records.get(change.address),
            steps=journal,
        )

    def _look_until_settled(self, change: Change, kind: Kind, desired: Spec, began: float) -> LiveObject | None:
        pause, waited = self._settling.first_pause, 0.0
        while True:
            live = self._look(change, kind, desired, since=began)
            if live is not None or waited >= self._settling.seconds:
                return live
            self._settling.sleep(pause)
            waited += pause
            pause = min(pause * 2, 4.0)

    def _look(self, change: Change, kind: Kind, desired: Spec, since: float | None = None) -> LiveObject | None:
        """The object that an earlier attempt may have made: by our mark, else by natural key among unknown ones."""
        known = self._known_ids(kind)
        candidates = [
            live
            for live in self._lists.read(kind, change.address.project)
            if live.id not in known and kind.ending(live.attributes) is None
        ]
        mark = self._ownership.mark(change.address)
        marked = [live for live in candidates if live.mark == mark]
        if marked or (kind.mark and desired.get(kind.mark) is None):
            return marked[0] if marked else None
        identity = kind.identity(desired)
        alike = [live for live in candidates if identity and kind.identity(live.attributes) == identity]
        begun = self._ownership.begun.get(change.address) if since is None else since
        if not kind.always_exists:
            alike = [live for live in alike if begun is not None and _is_since(live, begun)]
        if len(alike) > 1:
            ids = ", ".join(sorted(live.id for live in alike))
            raise ApiError(f"{ids} could each be what an unfinished create made", hint="Keep one and delete the rest.")
        return alike[0] if alike else None

    # --- update ----------------------------------------------------------------------------------------------------

    def _update(self, change: Change, journal: ChangeJournal) -> Done:
        kind, record = self._kinds[change.address.kind], self._records.get(change.address)
        desired = self.resolve(change)
        names = {item.name for item in kind.carried if item.name in change.pre_image}
        live = self._read(kind, change, carried=names)
        if live is None:
            raise StalePlanError(f"{change.id} has been deleted since the plan was made", hint="Plan again.")
        self._refuse_if_moved(change, live)
        changes = {name: self._value_to_send(kind.by_name[name], desired, record) for name in change.field_names}
        metadata = kind.mark
        if metadata and metadata not in changes and live.mark is None:
            changes[metadata] = dict(live.value(metadata) or {})
        written = self._provider.update(
            live,
            {name: value for name, value in changes.items() if value is not KEEP},
            address=change.address,
            mark=self._mark(kind, change.address, changes.get(metadata or "")),
            record=record,
            steps=journal,
        )
        new = self._record_of(change, kind, desired, written, before=live)
        return self._finish(change, new, written, journal)

    def _value_to_send(self, field: Field, desired: Spec, record: Record | None) -> Any:
        if field.name in desired:
            return desired[field.name]
        if field.reset is OVERWRITTEN:
            return record.overwritten.get(field.name, KEEP) if record else KEEP
        return FileSet(()) if isinstance(field.type, FileSetType) and field.reset is None else field.reset

    # --- adopt, forget, delete -------------------------------------------------------------------------------------

    def _adopt(self, change: Change, journal: ChangeJournal) -> Done:
        kind = self._kinds[change.address.kind]
        live = self._read(kind, change, carried=())
        if live is None:
            raise StalePlanError(f"{change.id} has been deleted since the plan was made", hint="Plan again.")
        if change.renamed_from and kind.mark and live.mark is not None:
            # The mark names the old address: with the state lost, it would look like something nobody declares.
            value = dict(live.value(kind.mark) or {})
            mark = self._ownership.mark(change.address)
            self._provider.update(
                live, {kind.mark: value}, address=change.address, mark=mark, record=None, steps=journal
            )
        if change.renamed_from and change.renamed_from in self._records:
            self._store.move(change.renamed_from, change.address)
            with self._lock:
                self._records[change.address] = replace(self._records.pop(change.renamed_from), address=change.address)
        record = self._record_of(change, kind, self.resolve(change), Written(live), before=live)
        return self._finish(change, record, Written(live), journal)

    def _forget(self, change: Change, journal: ChangeJournal) -> Done:
        kind = self._kinds[change.address.kind]
        if kind.mark and change.reason is Reason.RETAINED:
            live = self._read(kind, change, carried=())
            if live is not None and live.mark is not None:
                # What we let go must not look like ours: a later run without state would delete it.
                value = dict(live.value(kind.mark) or {})
                self._provider.update(
                    live, {kind.mark: value}, address=change.address, mark=None, record=None, steps=journal
                )
        journal.finish(None, remove=True)
        return Done(change.id)

    def _finish_delete(self, change: Change, record: Record | None, journal: ChangeJournal) -> None:
        superseded = record is not None and change.id != record.id
        if record is not None and (superseded or change.reason is Reason.LEFT_BEHIND):
            kept = replace(record, deposed=tuple(id for id in record.deposed if id != change.id))
            self._remember(kept)
            journal.finish(kept)
            return
        with self._lock:
            self._records.pop(change.address, None)
        journal.finish(None, remove=True)

    def record(self, address: Address) -> Record | None:
        """What is remembered of an address now."""
        return self._records.get(address)

    # --- common parts ----------------------------------------------------------------------------------------------

    def resolve(self, change: Change) -> dict[str, Any]:
        """The desired spec with every reference replaced; raises ApiError where one still has no value."""
        resolved: dict[str, Any] = dict(substitute(change.desired, self.lookup))
        if has_unknown(resolved):
            raise ApiError("a value that this needs was never made", hint="Look at the failures above, and plan again.")
        return resolved

    def lookup(self, reference: Reference) -> Any:
        """What a reference is now: from what this run wrote, else from what the plan saw."""
        change, live = self._changes.get(reference.address), self._written.get(reference.address)
        if not reference.path:
            found: Any = live.id if live else (change.id if change else None)
            return Unknown(str(reference)) if found is None else found
        sources: list[Any] = [change.after if change else None, live.attributes if live else None]
        if live is None and change is not None and change.id is not None:
            sources.append(change.before)
        for source in sources:
            found = value_at(source, reference.path)
            if found is not None and not isinstance(found, Unknown):
                return found.path if isinstance(found, LocalFile) else found
        return Unknown(str(reference))

    def _read(self, kind: Kind, change: Change, carried: Collection[str]) -> LiveObject | None:
        if kind.readable_singly:
            live = self._provider.get(kind, change.address.project, change.id or "")
        else:
            listed = self._lists.read(kind, change.address.project)
            live = next((item for item in listed if item.id == change.id), None)
        if live is None:
            return None
        live = replace(live, project=change.address.project)
        return self._provider.read_carried(live, carried) if carried else live

    def _refuse_if_moved(self, change: Change, live: LiveObject) -> None:
        if not change.pre_image:
            return
        now = diff.image(self._kinds[change.address.kind], live)
        seen = {name: value for name, value in change.pre_image.items() if name in now or name not in live.carried}
        carried = {item.name for item in live.kind.carried}
        moved = [
            f"{name}: {_short(seen.get(name))} → {_short(now.get(name))}"
            for name in sorted({*seen, *now} - (carried - set(live.carried)))
            if seen.get(name) != now.get(name)
        ]
        if moved:
            raise StalePlanError("it moved since the plan was made: " + "; ".join(moved), hint="Plan again and review.")

    def _record_of(
        self, change: Change, kind: Kind, desired: Spec, written: Written, *, before: LiveObject | None
    ) -> Record:
        record = self._records.get(change.address) or Record(address=change.address, id=written.live.id)
        if change.action in (Action.CREATE, Action.REPLACE) and not kind.always_exists:
            record = Record(address=change.address, id=written.live.id)
        applied = {name: value for name, value in desired.items() if value is not None}
        for item in kind.fields:
            if item.mutability is Mutability.FIXED and item.name in record.applied:
                applied[item.name] = record.applied[item.name]
            if isinstance(item.type, FileSetType) and item.name in applied:
                applied[item.name] = _with_ids(applied[item.name], written.live.carried.get(item.name))
        overwritten = dict(record.overwritten)
        if kind.removal is Removal.RESTORE and before is not None:
            asked = [name for name in applied if name not in kind.natural_key]
            overwritten = {**{name: before.value(name) for name in asked}, **overwritten}
            overwritten = {name: value for name, value in overwritten.items() if name in applied and value is not None}
        delivered = {**record.delivered, **written.delivered}
        return replace(
            self._with_lifecycle(record, change),
            id=written.live.id,
            applied=applied,
            answered=diff.answered_otherwise(kind, asked=applied, live=written.live),
            overwritten=overwritten,
            delivered={name: receipt for name, receipt in delivered.items() if name in applied},
        )

    def _with_lifecycle(self, record: Record, change: Change) -> Record:
        depends_on = tuple(
            address
            for address in change.depends_on
            if (other := self._changes.get(address)) and other.action not in (Action.DELETE, Action.FORGET)
        )
        return replace(
            record,
            address=change.address,
            project_id=self._project_ids.get(change.address.project) or record.project_id,
            prevent_destroy=change.prevent_destroy,
            on_remove=OnRemove(change.on_remove) if change.on_remove else None,
            depends_on=depends_on,
        )

    def _finish(self, change: Change, record: Record, written: Written, journal: ChangeJournal) -> Done:
        if self._kinds[change.address.kind].defines_project:
            self._provider.bind_project(change.address.name, written.live.id)
            self._project_ids[change.address.name] = written.live.id
        with self._lock:
            self._written[change.address] = written.live
        self._remember(record)
        journal.finish(record)
        kept = tuple(
            f"{name}: the API keeps {_short(value)}, not what was asked" for name, value in record.answered.items()
        )
        return Done(record.id, (*written.notes, *kept))

    def _remember(self, record: Record) -> None:
        with self._lock:
            self._records[record.address] = record

    def _known_ids(self, kind: Kind) -> set[str]:
        with self._lock:
            mine = [record for address, record in self._records.items() if address.kind == kind.name]
        # The rows of these kinds are the same objects for ever, so knowing one does not rule it out.
        return set() if kind.always_exists else {id for record in mine for id in (record.id, *record.deposed)}

    def _mark(self, kind: Kind, address: Address, metadata: Any) -> str | None:
        full = isinstance(metadata, Mapping) and len(metadata) >= METADATA_PAIRS
        return None if kind.mark is None or full else self._ownership.mark(address)


def _with_ids(asked: FileSet, live: Any) -> FileSet:
    """The members that were asked for, each with the id of its object, so that we know them as ours later."""
    ids = {member.key: member.file_id for member in live.members} if isinstance(live, FileSet) else {}
    return FileSet(
        tuple(
            replace(member, file_id=ids.get(member.key)) if member.content is not None else member
            for member in asked.members
        )
    )


def _is_since(live: LiveObject, began: float) -> bool:
    created = live.attributes.get("created_at")
    return isinstance(created, int | float) and created >= began - JOURNAL_TOLERANCE_SECONDS


def _short(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def imported_record(kind: Kind, change: Change) -> Record:
    """What to remember of an object that was bound by hand: its own values, so that differences show as ours to make.

    Fields that the API does not show are taken to be as declared.
    """
    applied = {
        name: change.after.get(name) if kind.by_name[name].readable is Readable.NEVER else change.before.get(name)
        for name in change.desired
    }
    return Record(
        address=change.address,
        id=change.id or "",
        project_id=change.project_id,
        applied={name: value for name, value in applied.items() if value is not None and not has_unknown(value)},
        prevent_destroy=change.prevent_destroy,
        on_remove=OnRemove(change.on_remove) if change.on_remove else None,
        depends_on=change.depends_on,
    )
