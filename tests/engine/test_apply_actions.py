"""The parts of apply as functions of values: references, creates, polls, outcomes and records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.engine.apply.create import create_once
from reconciler.engine.apply.records import RecordSet, imported_record
from reconciler.engine.apply.resolve import ReferenceValues
from reconciler.engine.apply.scheduler import merge_outcomes
from reconciler.engine.apply.steps import Step, StepKind
from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.consistency import ConsistencyWindow
from reconciler.errors import AmbiguousError, ApiError, JobError
from reconciler.kinds import KINDS
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Outcome, OutcomeStatus, Plan, Reason
from reconciler.model.provider import Written
from reconciler.model.resource import LiveObject, Record
from reconciler.model.values import LocalFile, Reference, Unknown

STORE, BOT = Address("VectorStore", "store"), Address("Assistant", "bot")
BATCH = Address("Batch", "nightly")
ID, NAME = Reference(STORE), Reference(STORE, ("name",))


def change(address: Address, action: Action, **rest: Any) -> Change:
    return Change(address, action, Reason.CONFIG, **rest)


def plan(*changes: Change) -> Plan:
    return Plan("shop", "test", changes)


def live(address: Address, id: str, **attributes: Any) -> LiveObject:
    return LiveObject(KINDS[address.kind], id, attributes)


def references(*changes: Change) -> ReferenceValues:
    return ReferenceValues(plan(*changes), KINDS, {"id": ID})


# --- references ----------------------------------------------------------------------------------

NOTHING_KNOWN = change(STORE, Action.CREATE)
PLANNED = change(STORE, Action.UPDATE, id="vs_1", before={"name": "old"}, after={"name": "new"})
UNCHANGED = change(STORE, Action.NO_OP, id="vs_1", before={"name": "old"})
UNDECIDED = change(
    STORE, Action.UPDATE, id="vs_1", before={"name": "old"}, after={"name": Unknown("x")}
)
LOCAL_FILE = change(STORE, Action.CREATE, after={"name": LocalFile("a.md", "0", 4)})


@pytest.mark.parametrize(
    ("planned", "reference", "value"),
    [
        (NOTHING_KNOWN, ID, Unknown(str(ID))),
        (NOTHING_KNOWN, NAME, Unknown(str(NAME))),
        (PLANNED, ID, "vs_1"),
        (PLANNED, NAME, "new"),
        (UNCHANGED, NAME, "old"),
        (UNDECIDED, NAME, "old"),
        (LOCAL_FILE, NAME, "a.md"),
    ],
)
def test_a_reference_has_the_value_of_the_plan_before_a_write(
    planned: Change, reference: Reference, value: Any
) -> None:
    assert references(planned).lookup(reference) == value


@pytest.mark.parametrize(("reference", "value"), [(ID, "vs_2"), (NAME, "made")])
def test_a_written_object_gives_the_values_of_its_references(
    reference: Reference, value: str
) -> None:
    known = references(NOTHING_KNOWN)
    known.remember(NOTHING_KNOWN, live(STORE, "vs_2", name="made"))
    assert known.lookup(reference) == value


def test_an_object_without_references_to_it_is_not_kept() -> None:
    bot = change(BOT, Action.CREATE)
    known = references(bot)
    known.remember(bot, live(BOT, "asst_1"))
    assert known.written(BOT) is None


def test_a_left_behind_object_is_not_the_value_of_a_reference() -> None:
    old = Change(STORE, Action.DELETE, Reason.LEFT_BEHIND, id="vs_0")
    assert references(old).lookup(ID) == Unknown(str(ID))


def test_a_reference_without_a_value_fails_the_change() -> None:
    bot = change(BOT, Action.CREATE, desired={"name": ID})
    with pytest.raises(ApiError, match="never created"):
        references(NOTHING_KNOWN, bot).resolve(bot)


@pytest.mark.parametrize(
    ("progress", "message"), [("in_progress", "still runs"), ("", "has ended without")]
)
def test_a_missing_result_is_explained_by_its_job(progress: str, message: str) -> None:
    result = Reference(BATCH, ("output_file_id",))
    job = change(BATCH, Action.NO_OP, id="batch_1", job_progress=progress)
    bot = change(BOT, Action.CREATE, desired={"name": result})
    with pytest.raises(JobError, match=message):
        references(job, bot).resolve(bot)


def test_outputs_without_a_value_are_left_out() -> None:
    outputs = {"id": ID, "name": NAME, "text": "constant"}
    assert references(UNCHANGED).resolve_outputs(outputs) == {
        "id": "vs_1",
        "name": "old",
        "text": "constant",
    }
    assert references(NOTHING_KNOWN).resolve_outputs(outputs) == {"text": "constant"}


# --- creates without an answer -------------------------------------------------------------------

CREATED = Written(live(STORE, "vs_1"))


class Sender:
    """A create whose first answers are lost."""

    def __init__(self, lost: int) -> None:
        self.lost = lost
        self.sent = 0

    def __call__(self) -> Written:
        self.sent += 1
        if self.sent <= self.lost:
            raise AmbiguousError("no answer")
        return CREATED


@pytest.mark.parametrize("lost", [0, 1, 3])
def test_a_create_is_sent_again_where_nothing_was_created(lost: int) -> None:
    send, searches = Sender(lost), []

    def find(attempts: tuple[CreateAttempt, ...]) -> None:
        searches.append(len(attempts))

    assert create_once(send, find, clock=lambda: 0.0) is CREATED
    assert (send.sent, searches) == (lost + 1, list(range(1, lost + 1)))


def test_a_create_is_not_sent_again_where_its_object_is_found() -> None:
    send, found = Sender(9), Written(live(STORE, "vs_2"))
    assert create_once(send, lambda _: found, clock=lambda: 0.0) is found
    assert send.sent == 1


def test_a_create_is_given_up_after_four_lost_answers() -> None:
    send = Sender(9)
    with pytest.raises(AmbiguousError):
        create_once(send, lambda _: None, clock=lambda: 0.0)
    assert send.sent == 4


def test_an_attempt_begins_when_it_was_sent() -> None:
    times: Iterator[float] = iter([100.0, 200.0, 300.0])
    began: list[float] = []

    def find(attempts: tuple[CreateAttempt, ...]) -> None:
        began[:] = [attempt.window.began for attempt in attempts]

    create_once(Sender(2), find, clock=lambda: next(times))
    assert began == [100.0, 200.0]


# --- polls ---------------------------------------------------------------------------------------


class Timer:
    """A clock that moves with pauses, and with requests of a fixed length."""

    def __init__(self, request_seconds: float = 0.0) -> None:
        self.now = 0.0
        self.request_seconds = request_seconds

    def polled(self, seconds: float, **options: Any) -> list[float]:
        """The times of the attempts."""
        window = ConsistencyWindow(clock=lambda: self.now, pause=self._pause)
        times = []
        for _ in window.poll("waiting", seconds, **options):
            times.append(self.now)
            self.now += self.request_seconds
        return times

    def _pause(self, seconds: float, _: str) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    ("seconds", "times"),
    [
        (-1.0, [0.0]),
        (0.0, [0.0]),
        (0.3, [0.0, 0.3]),
        (12.0, [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 12.0]),
    ],
)
def test_a_poll_has_growing_pauses_and_ends_with_its_window(
    seconds: float, times: list[float]
) -> None:
    assert Timer().polled(seconds) == times


def test_requests_prolong_a_poll_unless_they_count() -> None:
    assert len(Timer(5.0).polled(11.0)) == 6
    assert Timer(5.0).polled(11.0, counts_requests=True) == [0.0, 5.5]


def test_the_longest_pause_and_the_growth_can_be_chosen() -> None:
    times = Timer().polled(6.0, longest_pause=1.0, growth=4.0)
    assert times == [0.0, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.0]


# --- outcomes ------------------------------------------------------------------------------------

WRITE, DELETE, WAIT = (Step(BATCH, kind) for kind in StepKind)
APPLIED, FAILED, SKIPPED = OutcomeStatus.APPLIED, OutcomeStatus.FAILED, OutcomeStatus.SKIPPED


@pytest.mark.parametrize(
    ("statuses", "status", "was_started"),
    [
        ({WRITE: APPLIED, WAIT: APPLIED}, APPLIED, False),
        ({WRITE: APPLIED, WAIT: FAILED}, FAILED, True),
        ({WRITE: FAILED, WAIT: SKIPPED}, FAILED, False),
        ({DELETE: APPLIED, WRITE: FAILED}, FAILED, False),
        ({DELETE: FAILED, WRITE: SKIPPED}, FAILED, False),
    ],
)
def test_a_change_has_the_worst_outcome_of_its_steps(
    statuses: dict[Step, OutcomeStatus], status: OutcomeStatus, was_started: bool
) -> None:
    batch = change(BATCH, Action.REPLACE)
    outcomes = {step: Outcome(batch, status) for step, status in statuses.items()}
    (merged,) = merge_outcomes(plan(batch), outcomes)
    assert (merged.status, merged.was_started) == (status, was_started)


@pytest.mark.parametrize(("reason", "status"), [(Reason.BLOCKED, FAILED), (Reason.WAITS, SKIPPED)])
def test_a_blocked_change_has_an_outcome(reason: Reason, status: OutcomeStatus) -> None:
    blocked = Change(BOT, Action.NO_OP, reason, blocked="an error")
    (outcome,) = merge_outcomes(plan(blocked), {})
    assert (outcome.status, outcome.message) == (status, "an error")


# --- records -------------------------------------------------------------------------------------

STORE_KIND, RECORD = KINDS["VectorStore"], Record(STORE, "vs_1", applied={"name": "old"})


def record_after(planned: Change, *records: Record, id: str = "vs_1") -> Record:
    """The record after a write that gave the store the name `new`."""
    books = RecordSet(plan(planned), {record.address: record for record in records})
    written = Written(live(STORE, id, name="new"))
    return books.after_write(planned, STORE_KIND, {"name": "new"}, written, before=None)


def test_a_write_records_what_it_applied() -> None:
    record = record_after(change(STORE, Action.UPDATE, id="vs_1"), RECORD)
    assert (record.id, record.applied) == ("vs_1", {"name": "new"})


@pytest.mark.parametrize(("create_first", "deposed"), [(True, ("vs_1",)), (False, ())])
def test_a_replacement_records_the_object_that_it_has_still_to_delete(
    create_first: bool, deposed: tuple[str, ...]
) -> None:
    planned = change(STORE, Action.REPLACE, id="vs_1", create_before_destroy=create_first)
    record = record_after(planned, RECORD, id="vs_2")
    assert (record.id, record.deposed) == ("vs_2", deposed)


def test_a_write_drops_dependencies_that_the_plan_removes() -> None:
    planned = change(BOT, Action.UPDATE, id="asst_1", depends_on=(STORE,))
    kept = RecordSet(plan(planned, UNCHANGED), {})
    dropped = RecordSet(plan(planned, change(STORE, Action.DELETE, id="vs_1")), {})
    records = [books.for_unchanged(planned, KINDS["Assistant"], {}) for books in (kept, dropped)]
    assert [record.depends_on for record in records] == [(STORE,), ()]


def test_a_renamed_record_is_found_under_both_addresses_until_it_moves() -> None:
    other = Address("VectorStore", "other")
    renamed = change(other, Action.NO_OP, id="vs_1", renamed_from=STORE)
    books = RecordSet(plan(renamed), {STORE: RECORD})
    assert books.for_change(renamed) == RECORD
    assert books.rename(STORE, other)
    assert (books.get(STORE), books.get(other)) == (
        None,
        Record(other, "vs_1", applied=RECORD.applied),
    )
    assert not books.rename(STORE, other)


def test_an_id_is_known_as_long_as_a_record_has_it() -> None:
    books = RecordSet(plan(), {STORE: RECORD})
    books.put(Record(STORE, "vs_2", deposed=("vs_1",)))
    assert [books.knows(STORE_KIND, id) for id in ("vs_1", "vs_2", "vs_3")] == [True, True, False]
    books.remove(STORE)
    assert not books.knows(STORE_KIND, "vs_1")


def test_an_import_records_the_values_of_the_object() -> None:
    planned = change(
        STORE,
        Action.ADOPT,
        id="vs_1",
        desired={"name": "new"},
        before={"name": "old"},
        after={"name": "new"},
    )
    assert imported_record(STORE_KIND, planned).applied == {"name": "old"}
