"""The state of one stack in one environment.

The live API is the truth. This remembers only what it cannot tell: which object an address is bound
to, what we applied last, values that we overwrote, and what was under way when a run died. Losing
it loses nothing that a plan could not find again. No secret ever enters it.

Every method is a transaction of its own and may be called from any thread; all raise StateError
where the file cannot be read or written.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from msgspec.structs import replace

from reconciler.errors import StateError
from reconciler.model.address import Address
from reconciler.model.resource import Record
from reconciler.model.run_origin import RunOrigin
from reconciler.model.secret import Redactor
from reconciler.state import identity, journal, parsed, resources, runs, schema
from reconciler.state.database import Database, Transactions
from reconciler.state.file_lock import FileLock
from reconciler.state.files import open_copy, open_file
from reconciler.state.identity import Identity
from reconciler.state.journal import Journal, JournalEntry
from reconciler.state.lock import Holder, LocalLock, StateLock, present_holder
from reconciler.state.rows import DAMAGED_HINT, plain
from reconciler.state.runs import PreImage, RunRecord

_FORMER_OWNERS = "former owners"
_MOVED_TO = "moved to"


class StateStore:
    """The embedded backend: one SQLite file. Use `open` or `open_for_reading`, and `close` it (or
    use `with`).

    A long class, because it is a facade: each method is one transaction, with its SQL in the module
    of its table. What is done to a state can be reviewed here in one reading.
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
        self._database = database
        self._lock = lock
        self._clock = clock
        self._own_runs: list[int] = []
        self._read: tuple[int, Mapping[Address, Record]] | None = None
        self.stack = stack
        self.environment = environment
        self.is_read_only = False
        """Whether this is a copy that cannot be written."""

    @classmethod
    def open(
        cls, folder: Path, *, stack: str, environment: str, clock: Callable[[], float] = time.time
    ) -> StateStore:
        """Open for writing; folder and file are created where absent. `clock` gives unix seconds."""
        path = state_file(folder, stack, environment)
        with _named(path):
            store = cls._ready(open_file(path), path, stack, environment, clock)
            store._begin_lineage()
            return store

    @classmethod
    def open_for_reading(cls, folder: Path, *, stack: str, environment: str) -> StateStore:
        """A view of the state as it is now, empty where there is none; the disk is not touched,
        writes are refused.
        """
        path = state_file(folder, stack, environment)
        with _named(path):
            store = cls._ready(open_copy(path), path, stack, environment, time.time)
        with store._database.read() as connection:
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
        lock = LocalLock(database, FileLock(path.with_name(f"{path.name}.lock")))
        store = cls(database, lock, stack=stack, environment=environment, clock=clock)
        try:
            store._migrate()
            store._check_identity()
        except BaseException:
            database.close()
            raise
        return store

    def _migrate(self) -> None:
        with self._database.read() as connection:
            if schema.is_current(connection):
                return
        with self._database.write() as connection:
            schema.migrate(connection)
            schema.name(connection, self.stack, self.environment)

    def _begin_lineage(self) -> None:
        if self.identity.lineage:
            return
        with self._database.write() as connection:
            known = identity.read(connection)
            if not known.lineage:
                identity.write(connection, replace(known, lineage=identity.new_lineage()))

    def _check_identity(self) -> None:
        with self._database.read() as connection:
            found = connection.execute("SELECT stack, environment FROM identity").fetchone()
            if found is None:
                raise StateError("it does not name its stack and environment", hint=DAMAGED_HINT)
            if tuple(found) != (plain(self.stack), plain(self.environment)):
                raise StateError(
                    f"it belongs to {found[0]}/{found[1]}, not to {self.stack}/{self.environment}",
                    hint="use a separate file for each stack and environment",
                )

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._database.close()

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
        with self._database.read() as connection:
            return identity.read(connection)

    def bind(self, *, server: str, organization: str) -> None:
        """Record the server and organization that the objects live in."""
        known = self.identity
        bound = replace(known, server=server, organization=organization)
        if bound == known:
            return
        with self._database.write() as connection:
            identity.write(connection, bound)

    # Resources

    @property
    def serial(self) -> int:
        """Grows by one with every committed change of resources; 0 for a new state."""
        with self._database.read() as connection:
            return resources.serial(connection)

    def records(self) -> Mapping[Address, Record]:
        """Every record, in address order; read again only where the serial says that something
        changed.
        """
        with self._database.read() as connection:
            serial = resources.serial(connection)
            if self._read is None or self._read[0] != serial:
                self._read = serial, resources.read_all(connection)
            return self._read[1]

    def put(self, record: Record) -> None:
        """Insert or replace a record; one that is there already just so changes nothing."""
        with self._database.write() as connection:
            resources.put(connection, record)

    def put_all(self, records: Iterable[Record]) -> None:
        """Insert or replace several records in one transaction."""
        with self._database.write() as connection:
            for record in records:
                resources.put(connection, record)

    def put_unchanged(self, record: Record, run_id: int, image: PreImage | None) -> None:
        """Put a record for which nothing was called, with what the run has to undo of it, in one
        transaction.
        """
        with self._database.write() as connection:
            if image is not None:
                runs.mark_done(
                    connection, runs.keep_pre_image(connection, run_id, image), self._clock()
                )
            resources.put(connection, record)

    def remove(self, address: Address) -> None:
        """Drop a record; one that is not there is no error."""
        with self._database.write() as connection:
            resources.remove(connection, address)

    def move(self, source: Address, target: Address) -> None:
        """Give a record another address. Raises StateError where `source` is unknown or `target` is
        taken.
        """
        self.move_all({source: target})

    def move_all(self, moves: Mapping[Address, Address]) -> None:
        """Give records other addresses, all of them or none, as `move` does."""
        with self._database.write() as connection:
            for source, target in moves.items():
                resources.move(connection, source, target)

    def held_ids(self, address: Address) -> Collection[str]:
        """Every id that an address was ever bound to, whatever it is bound to now."""
        with self._database.read() as connection:
            return resources.held_ids(connection, address)

    def holders(self, kind: str, id: str) -> Collection[Address]:
        """Every address of a kind that was ever bound to an id."""
        with self._database.read() as connection:
            return resources.holders(connection, kind, id)

    def former_owners(self) -> Collection[str]:
        """The stacks, as `stack/environment`, whose exports were imported into this state."""
        return tuple(json.loads(self.meta(_FORMER_OWNERS) or "[]"))

    def outputs(self) -> Mapping[str, Any]:
        """The outputs of the last apply, in the order they were set."""
        with self._database.read() as connection:
            return resources.read_outputs(connection)

    def set_outputs(self, outputs: Mapping[str, Any]) -> None:
        """Replace all outputs. The serial does not grow: they follow from the resources."""
        with self._database.write() as connection:
            resources.put_outputs(connection, outputs)

    def meta(self, name: str) -> str | None:
        """A remark kept beside the resources, such as the digest of the configuration that was
        applied last.
        """
        with self._database.read() as connection:
            row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, name: str, value: str) -> None:
        """Keep a remark. `program` is taken: it names the version of this program that made the
        file.
        """
        with self._database.write() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, value)
            )

    def drop_meta(self, name: str) -> None:
        """Remove a remark; one that is not there is no error."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM meta WHERE name = ?", (name,))

    def parsed(self, digest: str) -> bytes | None:
        """What is kept of the manifests in a file with this digest."""
        with self._database.read() as connection:
            return parsed.find(connection, digest)

    def keep_parsed(self, files: Mapping[str, bytes]) -> None:
        """Keep what these files of manifests came to, by digest, and forget all others."""
        with self._database.read() as connection:
            if parsed.digests(connection) == files.keys():
                return
        with self._database.write() as connection:
            parsed.keep(connection, files)

    # Journal

    def journal(self, run_id: int, *, redact: Callable[[str], str] | None = None) -> Journal:
        """The journal of a run. `redact` is applied to the messages of failures before they are
        kept.
        """
        return Journal(self._database, run_id, clock=self._clock, redact=redact or Redactor())

    def unfinished(self) -> Sequence[JournalEntry]:
        """Changes of earlier runs that may have left something at the API, oldest first, with their
        steps.

        These are the changes that never ended, and those that failed after a call succeeded or
        remained unclear.
        """
        with self._database.read() as connection:
            return journal.read_unfinished(connection, except_runs=self._own_runs)

    def steps_of_run(self, run_id: int) -> Sequence[JournalEntry]:
        """The calls of a run that succeeded, oldest first; gone once the run has ended."""
        with self._database.read() as connection:
            return journal.read_run(connection, run_id)

    def settle(self, address: Address) -> None:
        """Forget what is unfinished at an address, once it is known what became of it."""
        with self._database.write() as connection:
            journal.settle(connection, address)

    # Runs

    def begin_run(
        self,
        *,
        command: str,
        user: str,
        host: str,
        pid: int,
        plan_digest: str,
        origin: RunOrigin | None = None,
    ) -> int:
        """Write that a run begins; gives its number, which grows from 1."""
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

    def end_run(self, run_id: int, *, status: str, counts: Mapping[str, int]) -> None:
        """Write that a run ended, and drop the journal entries and old pre-images that nobody needs
        any more.
        """
        with self._database.write() as connection:
            runs.end(connection, run_id, status=status, counts=counts, at=self._clock())
            journal.prune(connection)
            runs.prune_pre_images(connection)
        self._database.shrink()

    def runs(self) -> Sequence[RunRecord]:
        """All runs, oldest first."""
        with self._database.read() as connection:
            return runs.read_runs(connection)

    def pre_images(self, run_id: int) -> Sequence[PreImage]:
        """The pre-images of a run in the order they were kept; none for a run that is too long ago."""
        with self._database.read() as connection:
            return runs.read_pre_images(connection, run_id)

    def made_since(self, moment: float) -> Mapping[Address, float]:
        """The addresses whose objects were created since a moment, with the latest time at which
        each can have been.

        Times are unix seconds of the server. Runs that are no longer remembered are left out.
        """
        with self._database.read() as connection:
            return runs.made_since(connection, moment)

    def last_effect_at(self) -> float:
        """When the last write of a run can have taken effect, in unix seconds of the server.

        Minus infinity if no run has written anything.
        """
        with self._database.read() as connection:
            return runs.last_effect_at(connection)

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
        """Hold the lock for a block. Raises LockedError saying who holds it, where and since when.

        A dead holder is replaced, and handed to `on_takeover` for the notice. With `wait_seconds`, wait that
        long for a living one, and call `on_wait` once with its description. `on_lost` is called from
        another thread if this run loses the lock. `pause` waits some seconds before the next try; what
        it raises ends the wait.
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
        """Who holds the lock now."""
        return self._lock.holder()

    def unlock(self) -> Holder | None:
        """Take the lock away from whoever holds it; gives who that was. Its writes are refused from
        then on.
        """
        return self._lock.release()

    def rewrite(self) -> None:
        """Store everything again, as the present format and encryption ask for. The caller holds the lock."""
        self._database.rewrite()

    def check(self) -> None:
        """Raise StateError if the tables are damaged."""
        with self._database.read() as connection:
            result = connection.execute("PRAGMA quick_check").fetchone()[0]
        if result != "ok":
            raise StateError(f"the state is damaged: {result}", hint=DAMAGED_HINT)

    # Moving to another backend

    @property
    def moved_to(self) -> str:
        """Where this state was moved; empty where it was not."""
        return self.meta(_MOVED_TO) or ""

    def copy_from(self, source: StateStore) -> None:
        """Become a copy of another state, with its journal and history. The caller holds both locks.

        Raises StateError where there is a state here already, unless it is an equal one, or one that was moved
        away and that the other continues.
        """
        is_related = self.identity.lineage == source.identity.lineage
        # An earlier attempt can have died after the copy, which is one transaction.
        may_replace = is_related and (bool(self.moved_to) or self.serial == source.serial)
        if not may_replace and (self.records() or self.unfinished() or self.runs()):
            raise StateError(
                f"there is a state of {self.stack}/{self.environment} already",
                hint="Use another prefix or database, or remove that state first.",
            )
        from reconciler.state.changes import clear, everything, replay

        with source._database.read() as connection:
            content = everything(connection)
        with self._database.write() as connection:
            clear(connection)
            replay(connection, content)
            connection.execute("DELETE FROM meta WHERE name = ?", (_MOVED_TO,))

    def mark_moved(self, target: str) -> None:
        """Record that another backend has this state now, so that nobody goes on with this one."""
        self.set_meta(_MOVED_TO, target)

    # Export and import

    def export(self) -> dict[str, Any]:
        """Records and outputs as JSON values, with a version. Journal, runs and lock are not part
        of it.
        """
        from reconciler.state import portable

        with self._database.read() as connection:
            return portable.to_data(
                stack=self.stack,
                environment=self.environment,
                serial=resources.serial(connection),
                identity=identity.read(connection),
                records=list(resources.read_all(connection).values()),
                outputs=resources.read_outputs(connection),
                remarks=_remarks(connection),
            )

    def import_(
        self, data: Mapping[str, Any], *, from_elsewhere: bool = False, force_older: bool = False
    ) -> Sequence[Address]:
        """Replace all records and outputs by those of an export; the addresses that are forgotten.

        Raises StateError, and then nothing has changed: unless `from_elsewhere` for the export of
        another stack, environment, lineage, server or organization; unless `force_older` for one
        with a lower serial. The serial grows past both.
        """
        from reconciler.state import portable

        records, outputs = portable.from_data(data)
        stack_of_export = f"{data['stack']}/{data['environment']}"
        owners = sorted(
            {*self.former_owners(), stack_of_export} - {f"{self.stack}/{self.environment}"}
        )
        with self._database.write() as connection:
            own = portable.ExportOrigin(
                self.stack,
                self.environment,
                resources.serial(connection),
                identity.read(connection),
            )
            imported = {record.address: record.id for record in records}
            forgotten = [
                address
                for address, record in resources.read_all(connection).items()
                if imported.get(address) != record.id
            ]
            theirs = portable.origin_of(data)
            if not from_elsewhere:
                portable.check_is_ours(theirs, own)
            if not force_older:
                portable.check_is_newer(theirs, own, forgotten)
            resources.clear(connection)
            for record in records:
                resources.put(connection, record)
            resources.put_outputs(connection, outputs)
            # Exports of earlier versions do not say what their state waited for.
            remarks = data.get("remarks", _remarks(connection))
            # What was read when these were not the records says nothing about them.
            connection.execute("DELETE FROM meta WHERE name <> 'program'")
            connection.executemany(
                "INSERT INTO meta (name, value) VALUES (?, ?)", list(remarks.items())
            )
            if owners:
                connection.execute(
                    "INSERT INTO meta (name, value) VALUES (?, ?)",
                    (_FORMER_OWNERS, json.dumps(owners)),
                )
            serial = max(own.serial, theirs.serial) + 1
            connection.execute("UPDATE identity SET serial = ?", (serial,))
            identity.write(connection, portable.merged_identity(theirs, own))
        return forgotten


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say which file it is about, where a problem on opening does not say so yet."""
    try:
        yield
    except StateError as error:
        if str(path) in str(error):
            raise
        raise StateError(f"the state {path} cannot be used: {error}", hint=error.hint) from error


def state_file(folder: Path, stack: str, environment: str) -> Path:
    """Where the state of a stack and environment is kept. Different names never share a file."""
    if not stack or not environment:
        raise StateError("a state needs the names of its stack and environment")
    # Dots are escaped within a name, since one dot separates the two; slashes and the like by
    # `quote`.
    parts = (quote(plain(name), safe="").replace(".", "%2E") for name in (stack, environment))
    return folder / (".".join(parts) + ".db")


def _remarks(connection: sqlite3.Connection) -> dict[str, str]:
    """The remarks that an export carries."""
    from reconciler.state import portable

    rows = connection.execute("SELECT name, value FROM meta").fetchall()
    return {str(name): str(value) for name, value in rows if name in portable.REMARKS}
