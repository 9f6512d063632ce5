"""The runs of a state: begin and end, journal, pre-images, and unfinished changes of earlier runs.

Every method is one transaction. The SQL is in `runs` and `journal`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from reconciler.model.address import Address
from reconciler.model.run_origin import RunOrigin
from reconciler.model.secret import Redactor
from reconciler.state import journal, runs
from reconciler.state.database import Transactions
from reconciler.state.journal import Journal, JournalEntry
from reconciler.state.runs import PreImage, RunRecord


class RunStore:
    """The runs of a state. `clock` gives unix seconds. Methods raise StateError."""

    def __init__(self, database: Transactions, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._own_runs: list[int] = []

    def begin(
        self,
        *,
        command: str,
        user: str,
        host: str,
        pid: int,
        plan_digest: str,
        origin: RunOrigin | None = None,
    ) -> int:
        """Record that a run begins, and return its number. Numbers grow from 1."""
        run = RunRecord(
            id=0,
            command=command,
            user=user,
            host=host,
            pid=pid,
            plan_digest=plan_digest,
            began_at=self._clock(),
            origin=origin or RunOrigin(user=user, host=host),
        )
        with self._database.write() as connection:
            run_id = runs.begin(connection, run)
        self._own_runs.append(run_id)
        return run_id

    def end(self, run_id: int, *, status: str, counts: Mapping[str, int]) -> None:
        """Record that a run ended, and drop journal entries and pre-images that are no longer
        needed.
        """
        with self._database.write() as connection:
            runs.end(connection, run_id, status=status, counts=counts, at=self._clock())
            journal.prune(connection)
            runs.prune_pre_images(connection)
        # After the commit, because VACUUM cannot run in a transaction.
        self._database.shrink()

    def all(self) -> Sequence[RunRecord]:
        """All runs, oldest first."""
        with self._database.read() as connection:
            return runs.read_runs(connection)

    def journal(self, run_id: int, *, redact: Callable[[str], str] | None = None) -> Journal:
        """The journal of a run. `redact` is applied to messages of failures before they are kept."""
        return Journal(self._database, run_id, clock=self._clock, redact=redact or Redactor())

    def steps_of(self, run_id: int) -> Sequence[JournalEntry]:
        """The calls of a run that succeeded, oldest first; none once the run has ended."""
        with self._database.read() as connection:
            return journal.read_run(connection, run_id)

    def pre_images(self, run_id: int) -> Sequence[PreImage]:
        """The pre-images of a run in the order they were kept; none for a run too long ago."""
        with self._database.read() as connection:
            return runs.read_pre_images(connection, run_id)

    def unfinished(self) -> Sequence[JournalEntry]:
        """Changes of earlier runs that may have left an object, oldest first, with their steps.

        These are changes that never ended, and changes that failed after a call had succeeded or
        had an unclear outcome.
        """
        # Entries of this process's own runs are open because they are still at work.
        with self._database.read() as connection:
            return journal.read_unfinished(connection, except_runs=self._own_runs)

    def created_since(self, moment: float) -> Mapping[Address, float]:
        """Addresses whose objects were created since a moment, with the latest possible time.

        Times are unix seconds of the server. Runs whose pre-images were dropped are left out.
        """
        with self._database.read() as connection:
            return runs.created_since(connection, moment)

    def last_effect_at(self) -> float:
        """When the last write of a run can have taken effect, in unix seconds of the server.

        Minus infinity if no run has written anything.
        """
        with self._database.read() as connection:
            return runs.last_effect_at(connection)
