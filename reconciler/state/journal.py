"""The journal: a write-ahead log of the changes and calls of a run.

A change begins together with its pre-image, makes its calls as steps, and finishes together with
the record it leaves, each in one transaction. So after a kill at any point an entry tells the next
run what may have happened. An entry can end in four ways:

- `done`: it succeeded;
- `failed`: it raised, so it certainly did not happen, or not as a whole;
- without an end, because the process died or the user aborted: it may or may not have happened;
- with a time only, because the answer was lost: it may or may not have happened, and the next run
  must search for its effect.

A finished change settles everything that earlier runs left open at its address.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

from reconciler.errors import AmbiguousError, UncertainDeliveryError
from reconciler.model.address import Address
from reconciler.model.provider import JournalledCall
from reconciler.model.resource import Record
from reconciler.state import resources, runs
from reconciler.state.database import Transactions
from reconciler.state.rows import from_json, plain, readable, to_json

_MESSAGE_CHARACTERS = 2000
_NO_RESULT = "it ended without a result"

# A failed change can have left something only if one of its calls succeeded, or may have.
_HAS_TRACES = "EXISTS (SELECT 1 FROM journal AS s WHERE s.change = c.seq AND s.status <> 'failed')"


class EntryStatus(StrEnum):
    """The status of an entry. One that is begun may have ended without an answer."""

    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"


class JournalEntry(Struct, frozen=True):
    """A change or a step of the journal. Times are unix seconds of the server.

    `ended_at` is None while an entry is open, and stays so where the process died. An entry that is
    open although it has ended had an ambiguous answer.

    For a change `name` is its action and `steps` are its calls in order. `id` and `result` are what
    `done` was given.
    """

    seq: int
    run_id: int
    address: Address
    name: str
    intent: Mapping[str, Any]
    status: EntryStatus
    id: str | None
    result: Mapping[str, Any]
    message: str
    began_at: float
    ended_at: float | None
    steps: tuple[JournalEntry, ...] = field(default=())

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids that the API gave to steps of this change, oldest first."""
        return tuple(step.id for step in self.steps if step.id is not None)


class Journal:
    """The journal of one run, shared by its workers."""

    def __init__(
        self,
        database: Transactions,
        run_id: int,
        *,
        clock: Callable[[], float],
        redact: Callable[[str], str],
    ) -> None:
        self._database = database
        self._run_id = run_id
        self._clock = clock
        self._redact = redact

    @contextmanager
    def change(
        self,
        address: Address,
        action: str,
        intent: Mapping[str, Any] | None = None,
        *,
        pre_image: runs.PreImage | None = None,
    ) -> Iterator[ChangeJournal]:
        """Begin a change, on disk before its first step begins; leaving without `finish` records a
        failure.

        `pre_image` is kept, so that the change can be undone. An abort (KeyboardInterrupt,
        SystemExit) and an AmbiguousError leave it unfinished, for the next run to look.
        """
        # In one transaction: a change without its pre-image could not be rolled back.
        row = self._row(address, str(action), intent or {}, change=None)
        with self._database.write() as connection:
            if pre_image is None:
                image = None
            else:
                image = runs.keep_pre_image(connection, self._run_id, pre_image)
            seq = _insert(connection, row)
        change = ChangeJournal(self, self._database, address, seq, self._run_id, image)
        try:
            yield change
        except Exception as error:
            # An error after `finish` belongs to the caller: the change itself went through.
            if not change.finished_whole:
                self.fail(seq, error)
            raise
        if not change.finished_whole:
            self.fail(seq, None)

    def begin(
        self, address: Address, name: str, intent: Mapping[str, Any], *, change: int | None
    ) -> int:
        """Record the intent of a call, on disk when this returns. Returns the number of the entry."""
        row = self._row(address, name, intent, change=change)
        # The only write that a run has to wait for, because a call follows. Writes become durable in
        # order, so the change that the step belongs to is durable too.
        with self._database.write(durable=True) as connection:
            return _insert(connection, row)

    def now(self) -> float:
        """The time in unix seconds of the server."""
        return self._clock()

    def _row(
        self, address: Address, name: str, intent: Mapping[str, Any], *, change: int | None
    ) -> tuple[Any, ...]:
        return (
            change,
            self._run_id,
            str(address),
            plain(name),
            to_json(intent),
            EntryStatus.BEGUN,
            self._clock(),
        )

    def done(self, seq: int, id: str | None, result: Mapping[str, Any]) -> None:
        """Record that an entry succeeded."""
        with self._database.write() as connection:
            self.mark_done(connection, seq, id, result)

    def mark_done(
        self, connection: sqlite3.Connection, seq: int, id: str | None, result: Mapping[str, Any]
    ) -> None:
        """The same, inside a transaction of the caller."""
        connection.execute(
            "UPDATE journal SET status = ?, id = ?, result = ?, ended_at = ? WHERE seq = ?",
            (
                EntryStatus.DONE,
                None if id is None else plain(id),
                to_json(result),
                self._clock(),
                seq,
            ),
        )

    def fail(self, seq: int, error: Exception | None) -> None:
        """Record that an entry failed; None if its block ended without a result."""
        # Nothing is known of the outcome, so the entry stays open. The two times bound when an
        # object can have been created: when the call was sent, and when the answer was given up.
        if isinstance(error, AmbiguousError | UncertainDeliveryError):
            with self._database.write() as connection:
                connection.execute(
                    "UPDATE journal SET began_at = coalesce(?, began_at), ended_at = ? WHERE seq = ?",
                    (error.sent_at, self._clock(), seq),
                )
            return
        # Error messages of the API can quote the request, with a secret in it.
        message = self._redact(str(error) or type(error).__name__) if error else _NO_RESULT
        with self._database.write() as connection:
            connection.execute(
                "UPDATE journal SET status = ?, message = ?, ended_at = ? WHERE seq = ?",
                (EntryStatus.FAILED, plain(message[:_MESSAGE_CHARACTERS]), self._clock(), seq),
            )


class ChangeJournal:
    """The journal of one change. Implements `Steps`, which providers use."""

    def __init__(
        self,
        journal: Journal,
        database: Transactions,
        address: Address,
        seq: int,
        run_id: int,
        pre_image: int | None,
    ) -> None:
        self._journal = journal
        self._database = database
        self._seq = seq
        self._run_id = run_id
        self._pre_image = pre_image
        self.address = address
        self.finished_whole = False

    @contextmanager
    def step(self, name: str, **intent: Any) -> Iterator[JournalledCall]:
        """Record the intent, on disk before the block starts. The block makes the call and then
        calls `done`.
        """
        seq = self._journal.begin(self.address, name, intent, change=self._seq)
        step = _OpenStep(self._journal, seq)
        try:
            yield step
        except Exception as error:
            if not step.ended:
                self._journal.fail(seq, error)
            raise
        if not step.ended:
            self._journal.fail(seq, None)

    def unfinished(self, name: str) -> Sequence[Mapping[str, Any]]:
        """Intents of earlier runs at this address under `name` that are open, oldest first, with
        their times.
        """
        rows = self._earlier_steps(name, EntryStatus.BEGUN)
        return [
            {**from_json(intent), "began_at": began_at, "ended_at": ended_at}
            for intent, began_at, ended_at, *_ in rows
        ]

    def finished(self, name: str) -> Sequence[Mapping[str, Any]]:
        """`id` and result of earlier runs' steps under `name` that ended, in changes that did not,
        oldest first.
        """
        rows = self._earlier_steps(name, EntryStatus.DONE)
        return [{"id": id, **from_json(result)} for *_, id, result in rows]

    def finish(self, record: Record | None = None, *, remove: bool = False) -> None:
        """End the change, settle what earlier runs left open, and put the record or remove it, in
        one transaction.
        """
        with self._database.write() as connection:
            self._journal.mark_done(connection, self._seq, record.id if record else None, {})
            if self._pre_image is not None:
                runs.mark_done(connection, self._pre_image, self._journal.now())
            # Not the entries of this run: the other half of a replacement can still be open.
            connection.execute(
                "DELETE FROM journal WHERE address = ? AND run < ?",
                (str(self.address), self._run_id),
            )
            if record is not None:
                resources.put(connection, record)
            elif remove:
                resources.remove(connection, self.address)
        self.finished_whole = True

    def _earlier_steps(self, name: str, status: EntryStatus) -> list[tuple[Any, ...]]:
        with self._database.read() as connection:
            return connection.execute(
                "SELECT s.intent, s.began_at, s.ended_at, s.id, s.result FROM journal AS s JOIN "
                "journal AS c ON c.seq = s.change WHERE s.address = ? AND s.name = ? AND s.status "
                "= ? AND c.status <> 'done' AND s.run < ? ORDER BY s.seq",
                (str(self.address), plain(name), status, self._run_id),
            ).fetchall()


def _insert(connection: sqlite3.Connection, row: tuple[Any, ...]) -> int:
    cursor = connection.execute(
        "INSERT INTO journal (change, run, address, name, intent, status, began_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        row,
    )
    return int(cursor.lastrowid or 0)


class _OpenStep:
    def __init__(self, journal: Journal, seq: int) -> None:
        self._journal = journal
        self._seq = seq
        self.ended = False

    def done(self, id: str | None = None, **result: Any) -> None:
        self._journal.done(self._seq, id, result)
        self.ended = True


def read_unfinished(
    connection: sqlite3.Connection, *, except_runs: Sequence[int]
) -> list[JournalEntry]:
    """Changes that may have left an object, oldest first: never ended, or failed after a call."""
    step_rows = connection.execute(
        f"SELECT {_COLUMNS} FROM journal WHERE change IS NOT NULL ORDER BY seq"  # noqa: S608
    )
    changes = connection.execute(
        f"SELECT {_COLUMNS} FROM journal AS c"  # noqa: S608 - constant columns and condition
        f" WHERE change IS NULL AND (status = 'begun' OR status = 'failed' AND {_HAS_TRACES}) "
        "ORDER BY seq"
    )
    steps: dict[int, list[JournalEntry]] = {}
    with readable():
        for row in step_rows:
            steps.setdefault(row[-1], []).append(_entry(row, ()))
        # Entries of a run of this process are open because it is still at work.
        return [_entry(row, steps.get(row[0], ())) for row in changes if row[1] not in except_runs]


def read_run(connection: sqlite3.Connection, run_id: int) -> list[JournalEntry]:
    """The steps of a run that succeeded, oldest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM journal WHERE run = ? AND change IS NOT NULL AND status = 'done' ORDER BY seq",  # noqa: S608
        (run_id,),
    )
    with readable():
        return [_entry(row, ()) for row in rows]


def prune(connection: sqlite3.Connection) -> None:
    """Delete the changes that leave nothing to search for: done, or failed before any call
    succeeded.
    """
    moot = (
        "SELECT seq FROM journal AS c WHERE change IS NULL"  # noqa: S608 - constant condition
        f" AND (status = 'done' OR status = 'failed' AND NOT {_HAS_TRACES})"
    )
    connection.execute(f"DELETE FROM journal WHERE change IN ({moot})")  # noqa: S608 - constant condition
    # The condition looks at the steps, which are deleted by now. It still holds for the same
    # changes: done ones stay done, and failed ones had no step that counts.
    connection.execute(f"DELETE FROM journal WHERE seq IN ({moot})")  # noqa: S608 - constant condition


_COLUMNS = (
    "seq, run, address, name, intent, status, id, result, message, began_at, ended_at, change"
)


def _entry(row: tuple[Any, ...], steps: Sequence[JournalEntry]) -> JournalEntry:
    return JournalEntry(
        seq=row[0],
        run_id=row[1],
        address=Address.parse(row[2]),
        name=row[3],
        intent=from_json(row[4]),
        status=EntryStatus(row[5]),
        id=row[6],
        result=from_json(row[7]),
        message=row[8],
        began_at=row[9],
        ended_at=row[10],
        steps=tuple(steps),
    )
