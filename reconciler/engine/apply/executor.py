"""What carrying out one change means: the calls, the looking before and after them, and the record they leave.

Every method here runs inside a journalled change. Right before an update or a delete the object is read again and
compared with what the plan saw; if it moved, the change is refused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from threading import Lock
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.engine import diff
from reconciler.engine.apply.records import RecordSet
from reconciler.engine.apply.search import ConsistencyWindow, ObjectSearch, SearchCriteria
from reconciler.engine.apply.wait import JobWait
from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.binding.matcher import Ownership
from reconciler.engine.jobs import MINUTES, USUAL_MINUTES, WAIT
from reconciler.errors import AmbiguousError, ApiError, JobError, StalePlanError
from reconciler.model.address import Address
from reconciler.model.calls import Parent
from reconciler.model.change import Action, Change, Plan, Reason
from reconciler.model.consistency import JUST_READ_SECONDS, SHARED_LIST_SECONDS, Window
from reconciler.model.job import INPUTS_KEY
from reconciler.model.kind import KEEP, OVERWRITTEN, Field, Kind, OnRemove, Removal, TerminalState
from reconciler.model.provider import ExpectedValue, Provider, Written
from reconciler.model.resource import METADATA_PAIRS, LiveObject, Record, shown_to_others
from reconciler.model.types import BundleType, FileSetType
from reconciler.model.values import (
    FileSet,
    LocalFile,
    Reference,
    Spec,
    Unknown,
    by_content,
    has_unknown,
    references_in,
    substitute,
    value_at,
)
from reconciler.state import ChangeJournal, PreImage, StateStore

_AMBIGUOUS_CREATES = 3  # and one more: each is followed by a search of seconds, so bursts of a minute are survived

_LET_GO = (Reason.RETAINED, Reason.PROJECT_RETAINED, Reason.ROLLBACK)
"""Why an object is forgotten that was ours and goes on: it loses its mark."""


class StepResult(Struct, frozen=True):
    """What a change left behind: its object's id, and remarks for the report."""

    id: str | None = None
    notes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


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
        settling: ConsistencyWindow,
        outputs: Mapping[str, Any],
        age_seconds: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`outputs` are those of the stack, as they are declared; `age_seconds` is as in `Run`."""
        self.records = RecordSet(plan, store.records())
        self._provider = provider
        self._kinds = kinds
        self._store = store
        self._ownership = ownership
        self._consistency = settling
        for id, owner in self.records.owned_ids(kinds):
            provider.reservations.reserve(id, owner)
        self._changes = {change.address: change for change in plan.changes if change.reason is not Reason.LEFT_BEHIND}
        self._search = ObjectSearch(provider, provider.reservations, ownership, settling)
        self._lock = Lock()
        self._written: dict[Address, LiveObject] = {}
        """What was written and is asked for later: most of thousands of objects are not, and each is a whole answer."""
        values = (outputs, *(change.desired for change in plan.changes))
        self._referred_to = {reference.address for reference in references_in(values)}
        self._age_seconds = age_seconds
        self._adopted = _adopted_by_scope(plan, kinds)
        self._new_projects = {
            change.address.name
            for change in plan.changes
            if change.action is Action.CREATE and kinds[change.address.kind].defines_project
        }

    # --- the actions -----------------------------------------------------------------------------------------------

    def write(self, change: Change, journal: ChangeJournal) -> StepResult:
        """Create, update, adopt or forget; the creating half of a replacement."""
        self._apply_rename(change)
        match change.action:
            case Action.CREATE | Action.REPLACE:
                return self._create(change, journal)
            case Action.UPDATE if change.is_job:
                return self._keep_running_job(change, journal)
            case Action.UPDATE:
                return self._update(change, journal)
            case Action.ADOPT:
                return self._adopt(change, journal)
            case _:
                return self._forget(change, journal)

    def delete(self, change: Change, journal: ChangeJournal) -> StepResult:
        """Delete the object that the plan saw; the deleting half of a replacement."""
        self._apply_rename(change)
        record, live = self.records.get(change.address), self._read_unmoved(change)
        if change.matched_by is not None and live is not None and live.is_marked:
            raise StalePlanError("it has been taken over since the plan was made", hint="Plan again and review.")
        if live is not None and change.removal is Removal.CANCEL:
            self._provider.cancel(live, steps=journal)
        elif live is not None:
            # The record of what follows this object is not its own: a key in there is the new one.
            own = record if record is not None and record.id == live.id else None
            self._provider.delete(live, record=own, steps=journal)
        self._finish_delete(change, record, journal)
        return StepResult(change.id)

    def wait(self, change: Change, tell: Callable[[str], None]) -> StepResult:
        """Wait for the end of a job; raises JobError where it is no good end, or comes too late."""
        kind, known = self._kind(change), self._written_or_recorded(change)
        minutes = change.desired.get(MINUTES) or USUAL_MINUTES
        waiting = JobWait(self._provider, self._consistency, tell)
        live = waiting.until_over(kind, change.address, known, minutes=minutes)
        with self._lock:
            self._written[change.address] = live
        return StepResult(live.id, (kind.job.progress_of(live.attributes),) if kind.job else ())

    def _written_or_recorded(self, change: Change) -> str:
        with self._lock:
            live = self._written.get(change.address)
        return live.id if live is not None else change.id or ""

    def settle_unchanged(self, change: Change, run_id: int) -> None:
        """Bring the record of an unchanged resource up to date, without a call.

        What a manifest says that was true anyway is undone by a rollback like anything else, so it has a pre-image.
        """
        if change.id is None or change.reason is Reason.GONE:
            return
        fresh = self.records.for_unchanged(change, self._kind(change), self.resolve(change))
        known = self.records.get(change.address)
        if fresh != known:
            self.records.put(fresh)
            is_new = known is None or known.applied != fresh.applied
            image = PreImage(
                change.address, change.action.value, change.id, change.before, known, change.reason.name, done=True
            )
            self._store.put_unchanged(fresh, run_id, image if is_new else None)

    def delete_leftovers(self, change: Change, journal: ChangeJournal) -> None:
        """Remove what earlier runs made for an unchanged resource and did not live to use."""
        kind, record = self._kind(change), self.records.get(change.address)
        live = self._search.read(change.address, kind, change.id) if change.id and kind.own_calls else None
        if live is not None:
            self._provider.delete_leftovers(live, address=change.address, record=record, steps=journal)
        journal.finish(record)

    # --- create ----------------------------------------------------------------------------------------------------

    def _create(self, change: Change, journal: ChangeJournal) -> StepResult:
        kind, desired = self._kind(change), self.resolve(change)
        if change.action is Action.REPLACE and change.create_before_destroy:
            self._read_unmoved(change)
        attempts = tuple(self._ownership.create_attempts.get(change.address, ()))
        live = self._existing(change, kind, self._criteria(change, desired, attempts))
        if live is not None and kind.is_shown_once:
            # The secret that it showed is lost, so another object takes its place.
            self._provider.delete(live, record=None, steps=journal)
            live = None
        if kind.always_exists and live is None:
            key = ", ".join(f"{name} {value!r}" for name, value in (kind.identity(desired) or {}).items())
            raise ApiError(
                f"the API lists no {kind.name} {f'with {key} ' if key else ''}here",
                hint=kind.absent or "Objects of this kind cannot be created: the organization has no access to it.",
            )
        is_new_place = change.address.project in self._new_projects
        if live is None and not is_new_place and (change.verify_before_create or self._is_old(change, desired)):
            self._refuse_duplicates(change, desired)
        written = (
            self._converge(change, desired, live, journal) if live else self._create_once(change, desired, journal)
        )
        record = self.records.after_write(change, kind, desired, written, before=live)
        return self._finish(change, record, written, journal)

    def _is_old(self, change: Change, desired: Spec) -> bool:
        """Whether others may have created by now what is to be created.

        Without a mark a second object could never be told from the first, so there the reading has to be current.
        """
        longest = JUST_READ_SECONDS if self._mark(change, desired) is None else SHARED_LIST_SECONDS
        return self._age_seconds() > longest

    def _refuse_duplicates(self, change: Change, desired: Spec) -> None:
        """Raise StalePlanError where somebody made such an object since the plan was made, or unseen by it."""
        found = self._search.lookalikes(self._criteria(change, desired), but={change.id})
        if found:
            key = ", ".join(f'{name} "{value}"' for name, value in (self._kind(change).identity(desired) or {}).items())
            raise StalePlanError(
                f"{', '.join(live.id for live in found)} has the same {key}, and the plan did not know of it",
                hint="Plan again: the next plan says how to take it over.",
            )

    def _existing(self, change: Change, kind: Kind, wanted: SearchCriteria) -> LiveObject | None:
        """What a create does not have to make: it exists by itself, or an earlier run may have made it."""
        if change.address in self._ownership.create_attempts and not kind.unique_key:
            return self._search.find_until_settled(wanted, by_earlier_run=True)
        must_look = change.verify_before_create or kind.always_exists or wanted.attempts
        return self._search.find(wanted) if must_look else None

    def _create_once(self, change: Change, desired: Spec, journal: ChangeJournal) -> Written:
        """Create the object. After an answer that leaves its outcome open, search for the object before sending again.

        What an attempt created and cannot be used, because the secret that it showed is lost, is deleted first.
        """
        if self._kind(change).job is not None and not self._consistency.is_time_known():
            self._search.learn_time(self._criteria(change, desired))
        attempts: list[CreateAttempt] = []
        discarded: set[str] = set()
        while True:
            began = self._consistency.clock()
            try:
                return self._post(change, desired, journal)
            except AmbiguousError as error:
                if len(attempts) == _AMBIGUOUS_CREATES:
                    raise
                attempts.append(CreateAttempt(Window(error.sent_at or began)))
            # Outside of the handler, so that what goes wrong from here on is not chained to the lost answer.
            wanted = self._criteria(change, desired, tuple(attempts), but=discarded)
            live = self._search.find_until_settled(wanted)
            if live is not None and not wanted.kind.is_shown_once:
                return self._converge(change, desired, live, journal)
            if live is not None:
                discarded.add(live.id)
                self._provider.delete(live, record=None, steps=journal)

    def _post(self, change: Change, desired: Spec, journal: ChangeJournal) -> Written:
        kind, inputs = self._kind(change), self._inputs_digest(change)
        wanted = {**diff.beyond_defaults(kind, change.restored), **desired}
        if inputs is not None and kind.mark is not None:
            wanted[kind.mark] = {**(wanted.get(kind.mark) or {}), INPUTS_KEY: inputs}
        return self._provider.create(
            kind,
            change.address.project,
            {name: value for name, value in wanted.items() if value is not None},
            address=change.address,
            mark=self._mark(change, desired),
            steps=journal,
        )

    def _converge(self, change: Change, desired: Spec, live: LiveObject, journal: ChangeJournal) -> Written:
        """Bring an object that exists already to what a create would have made of it."""
        kind = self._kind(change)
        if kind.job is not None:
            return Written(live)
        files = [item.name for item in kind.own_calls if isinstance(item.type, FileSetType | BundleType)]
        carried = [name for name in files if name in desired]
        full = self._provider.read_own_calls(live, carried) if carried else live
        fields = diff.diff_fields(kind, desired=desired, live=full, record=None)
        changes = {item.name: desired[item.name] for item in fields}
        return self._send(change, full, changes, desired, journal) if changes else Written(full)

    def _criteria(
        self, change: Change, desired: Spec, attempts: tuple[CreateAttempt, ...] = (), *, but: Collection[str] = ()
    ) -> SearchCriteria:
        kind = self._kind(change)
        is_marked = self._mark(change, desired) is not None
        record, ran_before = self.records.get(change.address), change.id if kind.job is not None else None
        # It was taken to be gone. If it is there after all, it is the one that we look for.
        gone = record.id if record is not None and change.action is Action.CREATE else None

        def is_known(id: str) -> bool:
            return id in but or (id != gone and (id == ran_before or self.records.knows(kind, id)))

        return SearchCriteria(change.address, kind, desired, is_marked, is_known, attempts, self._inputs_digest(change))

    def _inputs_digest(self, change: Change) -> str | None:
        """The digest of what a job is started with; None for other kinds."""
        kind = self._kind(change)
        if kind.job is None:
            return None
        needed = {reference.address for reference in references_in(change.desired)}
        contents = {address: self._changes[address].desired for address in needed & self._changes.keys()}
        return kind.inputs_digest(substitute(change.desired, by_content(contents, self.lookup)))

    def _keep_running_job(self, change: Change, journal: ChangeJournal) -> StepResult:
        """A job that is only to be waited for: it goes on as it is."""
        record = self.records.for_unchanged(change, self._kind(change), self.resolve(change))
        self.records.put(record)
        journal.finish(record)
        return StepResult(record.id)

    # --- update ----------------------------------------------------------------------------------------------------

    def _update(self, change: Change, journal: ChangeJournal) -> StepResult:
        kind, record, desired = self._kind(change), self.records.get(change.address), self.resolve(change)
        live = self._read_planned(change, becoming=desired)
        sent = {name: _value_to_send(kind.by_name[name], change, desired, record) for name in change.field_names}
        changes = {name: value for name, value in sent.items() if value is not KEEP}
        if kind.mark and kind.mark not in changes and live.mark != self._ownership.mark(change.address):
            changes[kind.mark] = dict(live.value(kind.mark) or {})
        written = self._send(change, live, changes, changes, journal)
        new = self.records.after_write(change, kind, desired, written, before=live)
        return self._finish(change, new, written, journal)

    def _send(
        self, change: Change, live: LiveObject, changes: Spec, marked_beside: Spec, journal: ChangeJournal
    ) -> Written:
        return self._provider.update(
            live,
            changes,
            address=change.address,
            mark=self._mark(change, marked_beside),
            record=self.records.get(change.address),
            steps=journal,
        )

    # --- adopt, forget, delete -------------------------------------------------------------------------------------

    def _adopt(self, change: Change, journal: ChangeJournal) -> StepResult:
        # An adoption that writes nothing needs no reading of its own: a list serves all of a scope.
        live = self._read_planned(change, is_read_only=not change.mark)
        if change.mark and live.mark != change.mark:
            # Without it nothing would find the object once the state is lost, and another stack could adopt it.
            self._write_mark(change, live, change.mark, journal)
        record = self.records.after_write(change, live.kind, self.resolve(change), Written(live), before=live)
        return self._finish(change, record, Written(live), journal)

    def _forget(self, change: Change, journal: ChangeJournal) -> StepResult:
        kind = self._kind(change)
        if change.fields:
            self._restore_overwritten(change, journal)
        elif kind.mark and kind.job is None and change.reason in _LET_GO:
            live = self._read_unmoved(change)
            if live is not None and live.mark is not None:
                # What we let go must not look like ours: a later run without state would delete it.
                self._write_mark(change, live, None, journal)
        if change.reason is Reason.GONE and change.address in self._ownership.unfinished:
            self._finish_earlier_delete(change, journal)
        self.records.remove(change.address)
        journal.finish(None, remove=True)
        return StepResult(change.id)

    def _restore_overwritten(self, change: Change, journal: ChangeJournal) -> None:
        """Write the values that an object had before we took it over, and take our mark away."""
        kind, record = self._kind(change), self.records.get(change.address)
        live = self._read_planned(change)
        sent = {name: _value_to_send(kind.by_name[name], change, {}, record) for name in change.field_names}
        changes = {name: value for name, value in sent.items() if value is not KEEP}
        if kind.mark and live.mark is not None:
            changes = {kind.mark: dict(live.value(kind.mark) or {}), **changes}
        self._provider.update(live, changes, address=change.address, mark=None, record=record, steps=journal)

    def _finish_earlier_delete(self, change: Change, journal: ChangeJournal) -> None:
        """Bring a delete that an earlier run did not live to finish to its end: what it left elsewhere goes too."""
        record = self.records.get(change.address)
        if record is not None and record.delivered and change.on_remove == OnRemove.DELETE:
            self._provider.delete(
                LiveObject(self._kind(change), record.id, {}, change.address.project), record=record, steps=journal
            )

    def _write_mark(self, change: Change, live: LiveObject, mark: str | None, journal: ChangeJournal) -> None:
        name = live.kind.mark or ""
        changes = {name: dict(live.value(name) or {})}
        self._provider.update(live, changes, address=change.address, mark=mark, record=None, steps=journal)

    def _apply_rename(self, change: Change) -> None:
        """A renamed address takes over the record of the old one, whatever else happens to its object."""
        if change.renamed_from and self.records.rename(change.renamed_from, change.address):
            self._store.move(change.renamed_from, change.address)

    def _finish_delete(self, change: Change, record: Record | None, journal: ChangeJournal) -> None:
        is_superseded = record is not None and change.id != record.id
        if record is not None and is_superseded:
            kept = replace(record, deposed=tuple(id for id in record.deposed if id != change.id))
            self.records.put(kept)
            journal.finish(kept)
            return
        self.records.remove(change.address)
        journal.finish(None, remove=True)

    # --- common parts ----------------------------------------------------------------------------------------------

    def resolve(self, change: Change) -> dict[str, Any]:
        """The desired spec with every reference replaced; raises ApiError where one still has no value."""
        resolved: dict[str, Any] = dict(substitute(change.desired, self.lookup))
        if has_unknown(resolved):
            self._explain_missing_result(change)
            raise ApiError("a value that this needs was never made", hint="Look at the failures above, and plan again.")
        return resolved

    def _explain_missing_result(self, change: Change) -> None:
        """Raise JobError where a value is missing because the job that was to give it has not, or not yet."""
        for reference in references_in(change.desired):
            job, target = self._kinds[reference.address.kind].job, self._changes.get(reference.address)
            if job is None or not isinstance(self.lookup(reference), Unknown) or not reference.path:
                continue
            live, name = self._written.get(reference.address), ".".join(reference.path)
            standing = job.progress_of(live.attributes) if live is not None else target.job_progress if target else ""
            if standing and (live is None or live.runs):
                raise JobError(
                    f"{reference.address} still runs ({standing}), so its {name} is not known yet",
                    hint=f"Say {WAIT}: true there, or apply again once it has ended.",
                )
            raise JobError(
                f"{reference.address} has ended without a {name}{f' ({standing})' if standing else ''}",
                hint="Look at how it ended: reconciler plan says what failed.",
            )

    def lookup(self, reference: Reference) -> Any:
        """What a reference is now: from what this run wrote, else from what the plan saw."""
        change, live = self._changes.get(reference.address), self._written.get(reference.address)
        if not reference.path:
            if live is not None:
                return live.own_id
            known = change.id if change is not None else None
            return (
                Unknown(str(reference))
                if known is None
                else self._kinds[reference.address.kind].parent_and_id(known)[1]
            )
        sources: list[Any] = [change.after if change else None, live.attributes if live else None]
        if live is not None:
            sources[1] = shown_to_others(live)
        elif change is not None and change.id is not None:
            sources += [change.before, change.results]
        for source in sources:
            found = value_at(source, reference.path)
            if found is not None and not isinstance(found, Unknown):
                return found.path if isinstance(found, LocalFile) else found
        return Unknown(str(reference))

    def _read_planned(self, change: Change, *, becoming: Spec | None = None, is_read_only: bool = False) -> LiveObject:
        """The object that the plan saw; raises StalePlanError where it moved or is no more.

        Where nothing is written, `is_read_only`, one list serves all objects of a scope for a minute.
        """
        live = self._read_unmoved(change, becoming=becoming, is_read_only=is_read_only)
        if live is None:
            gone = "archived" if self._kind(change).removal is Removal.ARCHIVE else "deleted"
            raise StalePlanError(f"{change.id} has been {gone} since the plan was made", hint="Plan again.")
        return live

    def _read_unmoved(
        self, change: Change, *, becoming: Spec | None = None, is_read_only: bool = False
    ) -> LiveObject | None:
        """The same, or None where it is no more.

        The fields with calls of their own are read if the plan had them, and where it is known what they are
        `becoming`, only as far as that touches them.
        """
        kind, seen, record = self._kind(change), change.pre_image, self.records.get(change.address)
        applied = record.applied if record else {}
        expected = {
            item.name: ExpectedValue(seen[item.name], (becoming or {}).get(item.name), applied.get(item.name))
            for item in kind.own_calls
            if item.name in seen
        }
        if is_read_only:
            wanted = self._adopted.get(_scope_of(kind, change), frozenset())
            live = self._search.read_together(change.address, kind, change.id or "", wanted=wanted)
            live = None if live is None else self._search.read_touched(live, expected)
        else:
            live = self._search.read(change.address, kind, change.id or "", expected=expected)
        if live is None or kind.terminal_state(live.attributes) is TerminalState.GONE:
            return None
        if kind.job is None and self._ownership.is_foreign(live.mark):
            raise StalePlanError(
                f'{live.id} carries the mark "{live.mark}" by now: another stack manages it',
                hint="Plan again and review.",
            )
        now = diff.image(kind, live)
        unread = {item.name for item in kind.own_calls} - (seen.keys() & now.keys())
        unread |= diff.unseen_fields(kind, live) - {item.name for item in kind.own_calls}
        moved = diff.moved_fields(kind, seen=seen, now=now, but=unread)
        if seen and moved:
            raise StalePlanError("it moved since the plan was made", hint="Plan again and review.", moved=moved)
        return live

    def _finish(self, change: Change, record: Record, written: Written, journal: ChangeJournal) -> StepResult:
        if self._kind(change).defines_project:
            self._provider.bind_project(change.address.name, written.live.id)
            self.records.bind_project(change.address.name, written.live.id)
        if change.wait_for_job or change.address in self._referred_to:
            with self._lock:
                self._written[change.address] = written.live
        self.records.put(record)
        journal.finish(record)
        kept = (f"{name}: the API keeps {_short(value)}, not what was asked" for name, value in record.answered.items())
        return StepResult(record.id, (*written.notes, *kept), written.refused)

    def _kind(self, change: Change) -> Kind:
        return self._kinds[change.address.kind]

    def _mark(self, change: Change, spec: Spec) -> str | None:
        """Our mark for the object, None where the kind has none or the metadata of `spec` leaves no room."""
        kind = self._kind(change)
        metadata = spec.get(kind.mark) if kind.mark else None
        is_full = isinstance(metadata, Mapping) and len(metadata) >= METADATA_PAIRS
        return None if kind.mark is None or is_full else self._ownership.mark(change.address)


def _scope_of(kind: Kind, change: Change) -> tuple[str, str | None, Parent]:
    return kind.name, change.address.project, kind.parent_and_id(change.id or "")[0]


def _adopted_by_scope(plan: Plan, kinds: Mapping[str, Kind]) -> Mapping[tuple[str, str | None, Parent], frozenset[str]]:
    """The ids of the objects that a plan adopts, by the list that has them."""
    found: dict[tuple[str, str | None, Parent], set[str]] = defaultdict(set)
    for change in plan.changes:
        if change.action is Action.ADOPT and change.id is not None:
            found[_scope_of(kinds[change.address.kind], change)].add(change.id)
    return {scope: frozenset(ids) for scope, ids in found.items()}


def _value_to_send(field: Field, change: Change, desired: Spec, record: Record | None) -> Any:
    if field.name in desired:
        return desired[field.name]
    if field.name in change.restored:
        return change.restored[field.name]
    if field.reset is OVERWRITTEN:
        return record.overwritten.get(field.name, KEEP) if record else KEEP
    return FileSet(()) if isinstance(field.type, FileSetType) and field.reset is None else field.reset


def _short(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
