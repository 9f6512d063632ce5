"""The state of one stack in one environment.

The live API is the source of truth. The state keeps only what the API cannot tell: which object an
address is bound to, the values applied last, the values they overwrote, and the changes that were
in progress when a run died. If the state is lost, a plan can find the objects again. The state
never contains a secret.

Every method is one transaction and may be called from any thread. All raise StateError if the
state cannot be read or written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from msgspec.structs import replace

from reconciler.errors import StateError
from reconciler.model.address import Address
from reconciler.model.resource import Record
from reconciler.state import identity, resources, runs, schema
from reconciler.state.database import Database, Transactions
from reconciler.state.file_lock import FileLock
from reconciler.state.files import open_copy, open_file
from reconciler.state.identity import Identity
from reconciler.state.lock import Holder, LocalLock, StateLock, present_holder
from reconciler.state.parse_cache import ParseCache
from reconciler.state.remarks import Remarks
from reconciler.state.rows import DAMAGED_HINT, plain
from reconciler.state.run_store import RunStore
from reconciler.state.runs import PreImage


class StateStore:
    """The records of a state, its outputs and its lock; `runs`, `remarks` and `parse_cache` are
    parts that share its database.

    `open` and `open_for_reading` open a local SQLite file; `close` it, or use `with`. The class has
    more than 20 methods because each is one transaction on the records, with its SQL in `resources`.
    """

    def __init__(
        self,
        database: Transactions,
        lock: StateLock,
        *,
        stack: str,
        environment: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.database = database
        """The tables, for the other modules of this package."""
        self.runs = RunStore(database, clock)
        self.remarks = Remarks(database)
        self.parse_cache = ParseCache(database)
        self._lock = lock
        self._clock = clock
        self._read: tuple[int, Mapping[Address, Record]] | None = None
        self.stack = stack
        self.environment = environment
        self.is_read_only = False
        """Whether this is a copy that cannot be written."""

    @classmethod
    def open(
        cls, folder: Path, *, stack: str, environment: str, clock: Callable[[], float] = time.time
    ) -> StateStore:
        """Open for writing; creates the folder and the file. `clock` gives unix seconds."""
        path = state_file(folder, stack, environment)
        with _named(path):
            store = cls._ready(open_file(path), path, stack, environment, clock)
            try:
                store._begin_lineage()
            except BaseException:
                store.close()
                raise
            return store

    @classmethod
    def open_for_reading(cls, folder: Path, *, stack: str, environment: str) -> StateStore:
        """A read-only copy of the state as it is now; empty if there is no file. Writes nothing."""
        path = state_file(folder, stack, environment)
        with _named(path):
            store = cls._ready(open_copy(path), path, stack, environment, time.time)
        # After the migration, which changes the copy.
        with store.database.read() as connection:
            connection.execute("PRAGMA query_only = ON")
        store.is_read_only = True
        return store

    @classmethod
    def _ready(
        cls,
        database: Database,
        path: Path,
        stack: str,
        environment: str,
        clock: Callable[[], float],
    ) -> StateStore:
        try:
            _migrate(database, stack, environment)
            _check_names(database, stack, environment)
        except BaseException:
            database.close()
            raise
        lock = LocalLock(database, FileLock(path.with_name(f"{path.name}.lock")))
        return cls(database, lock, stack=stack, environment=environment, clock=clock)

    def _begin_lineage(self) -> None:
        if self.identity.lineage:
            return
        with self.database.write() as connection:
            known = identity.read(connection)
            if not known.lineage:
                identity.write(connection, replace(known, lineage=identity.new_lineage()))

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    # Identity

    @property
    def identity(self) -> Identity:
        """The lineage, and the server and organization that the objects live in."""
        with self.database.read() as connection:
            return identity.read(connection)

    def bind(self, *, server: str, organization: str) -> None:
        """Record the server and organization that the objects live in."""
        # Every run calls this, and a write costs a sync of the disk.
        known = self.identity
        bound = replace(known, server=server, organization=organization)
        if bound == known:
            return
        with self.database.write() as connection:
            identity.write(connection, bound)

    # Resources

    @property
    def serial(self) -> int:
        """Grows by one with every committed change of resources; 0 for a new state."""
        with self.database.read() as connection:
            return resources.serial(connection)

    def records(self) -> Mapping[Address, Record]:
        """Every record, in address order. Cached until the serial changes."""
        with self.database.read() as connection:
            serial = resources.serial(connection)
            # Every change of records grows the serial, also that of another process.
            if self._read is None or self._read[0] != serial:
                self._read = serial, resources.read_all(connection)
            return self._read[1]

    def put(self, record: Record) -> None:
        """Insert or replace a record; an equal record changes nothing."""
        with self.database.write() as connection:
            resources.put(connection, record)

    def put_all(self, records: Iterable[Record]) -> None:
        """Insert or replace several records in one transaction."""
        with self.database.write() as connection:
            for record in records:
                resources.put(connection, record)

    def put_unchanged(self, record: Record, run_id: int, image: PreImage | None) -> None:
        """Put a record of a change that made no call, and the pre-image that a rollback needs."""
        with self.database.write() as connection:
            # In one transaction: a record without its pre-image could not be rolled back.
            if image is not None:
                runs.mark_done(
                    connection, runs.keep_pre_image(connection, run_id, image), self._clock()
                )
            resources.put(connection, record)

    def remove(self, address: Address) -> None:
        """Drop a record; an unknown address is no error."""
        with self.database.write() as connection:
            resources.remove(connection, address)

    def move(self, source: Address, target: Address) -> None:
        """Give a record another address. Raises StateError if `source` is unknown or `target` is
        taken.
        """
        self.move_all({source: target})

    def move_all(self, moves: Mapping[Address, Address]) -> None:
        """Give records other addresses, all of them or none, as `move` does."""
        with self.database.write() as connection:
            for source, target in moves.items():
                resources.move(connection, source, target)

    def held_ids(self, address: Address) -> Collection[str]:
        """Every id that an address was ever bound to."""
        with self.database.read() as connection:
            return resources.held_ids(connection, address)

    def holders(self, kind: str, id: str) -> Collection[Address]:
        """Every address of a kind that was ever bound to an id."""
        with self.database.read() as connection:
            return resources.holders(connection, kind, id)

    def outputs(self) -> Mapping[str, Any]:
        """The outputs of the last apply, in the order they were set."""
        with self.database.read() as connection:
            return resources.read_outputs(connection)

    def set_outputs(self, outputs: Mapping[str, Any]) -> None:
        """Replace all outputs."""
        # The serial does not grow, because outputs follow from the resources.
        with self.database.write() as connection:
            resources.put_outputs(connection, outputs)

    # Lock

    @contextmanager
    def lock(
        self,
        *,
        command: str,
        on_takeover: Callable[[Holder], None],
        wait_seconds: float = 0.0,
        on_wait: Callable[[str], None] = lambda _: None,
        on_lost: Callable[[], None] = lambda: None,
        pause: Callable[[float], None] = time.sleep,
    ) -> Iterator[Holder]:
        """Hold the lock for a block. Raises LockedError, which names the holder, its host and the time.

        A dead holder is replaced, and passed to `on_takeover` for the notice. For a living holder, wait up to
        `wait_seconds`, and call `on_wait` once with its description. `on_lost` is called from another
        thread if this run loses the lock. `pause` waits some seconds before the next try; an exception
        from it ends the wait.
        """
        holder = present_holder(command, self._clock())
        held = self._lock.hold(
            holder,
            wait_seconds=wait_seconds,
            on_wait=on_wait,
            on_takeover=on_takeover,
            on_lost=on_lost,
            pause=pause,
        )
        with held:
            # A shared state may have come back with the same serial and other records.
            self._read = None
            self._begin_lineage()
            yield holder

    def permit(self) -> None:
        """Return if this run may call the API: it holds the lock, or needs none. Raises LeaseLostError."""
        self._lock.permit()

    def holder(self) -> Holder | None:
        """The present holder of the lock, dead or alive."""
        return self._lock.holder()

    def unlock(self) -> Holder | None:
        """Release the lock of any holder, and return that holder. Its next write is refused."""
        return self._lock.release()

    def rewrite(self) -> None:
        """Store everything again in the current format and encryption. The caller holds the lock."""
        self.database.rewrite()

    def check(self) -> None:
        """Raise StateError if the tables are damaged."""
        with self.database.read() as connection:
            result = connection.execute("PRAGMA quick_check").fetchone()[0]
        if result != "ok":
            raise StateError(f"the state is damaged: {result}", hint=DAMAGED_HINT)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Add the path of the file to errors that do not contain it."""
    try:
        yield
    except StateError as error:
        if str(path) in str(error):
            raise
        raise StateError(f"the state {path} cannot be used: {error}", hint=error.hint) from error


def _migrate(database: Database, stack: str, environment: str) -> None:
    # Without the write lock first, so that opening a current state waits for no other run.
    with database.read() as connection:
        if schema.is_current(connection):
            return
    with database.write() as connection:
        schema.migrate(connection)
        schema.name(connection, stack, environment)


def _check_names(database: Database, stack: str, environment: str) -> None:
    with database.read() as connection:
        names = connection.execute("SELECT stack, environment FROM identity").fetchone()
    if names is None:
        raise StateError("it does not name its stack and environment", hint=DAMAGED_HINT)
    if tuple(names) != (plain(stack), plain(environment)):
        raise StateError(
            f"it belongs to {names[0]}/{names[1]}, not to {stack}/{environment}",
            hint="use a separate file for each stack and environment",
        )


def state_file(folder: Path, stack: str, environment: str) -> Path:
    """Where the state of a stack and environment is kept. Different names never share a file."""
    if not stack or not environment:
        raise StateError("a state needs the names of its stack and environment")
    # Dots are escaped within a name, since one dot separates the two; slashes and the like by
    # `quote`.
    parts = (quote(plain(name), safe="").replace(".", "%2E") for name in (stack, environment))
    return folder / (".".join(parts) + ".db")
