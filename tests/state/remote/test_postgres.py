"""The storage in Postgres, against a real server: directly, and through PgBouncer."""

from __future__ import annotations

import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from reconciler.errors import StateError
from reconciler.state.remote.postgres import sql as postgres_sql
from reconciler.state.remote.postgres.storage import PostgresStorage, print_sql
from reconciler.state.remote.storage import FencedError, StoredBody, Tail, UnreachableError
from tests.servers.postgres import PASSWORD, Database, PostgresServer, free_port
from tests.servers.proxy import Proxy
from tests.waiting import wait_for

RACERS = 6


@dataclass
class Opener:
    """Opens storages of one database, and closes them at the end of the test."""

    database: Database
    port: int = 0
    opened: list[PostgresStorage] = field(default_factory=list)

    def __call__(
        self, url: str = "", *, stack: str = "acme", environment: str = "test", **options: Any
    ) -> PostgresStorage:
        url = url or self.database.url(port=self.port)
        storage = PostgresStorage(url, stack=stack, environment=environment, **options)
        self.opened.append(storage)
        return storage

    def prepared(self, **options: Any) -> PostgresStorage:
        """A storage whose tables exist."""
        storage = self(**options)
        storage.prepare()
        return storage


@pytest.fixture
def direct(database: Database) -> Iterator[Opener]:
    """Storages that connect to the server itself."""
    opener = Opener(database)
    yield opener
    for storage in opener.opened:
        storage.close()


@pytest.fixture(params=["directly", "through PgBouncer"])
def routed(request: pytest.FixtureRequest, direct: Opener) -> Opener:
    """Storages that connect directly, and in another run through PgBouncer."""
    if request.param == "through PgBouncer":
        direct.port = request.getfixturevalue("pgbouncer").port
    return direct


@pytest.fixture
def proxy(database: Database) -> Iterator[Proxy]:
    """A proxy in front of the server."""
    with Proxy(("127.0.0.1", database.port)) as running:
        yield running


@pytest.fixture(params=["directly", "through PgBouncer"])
def cut(request: pytest.FixtureRequest, direct: Opener, database: Database) -> Iterator[Proxy]:
    """A proxy in front of the server or of PgBouncer; `direct` connects through it."""
    port = database.port
    if request.param == "through PgBouncer":
        port = request.getfixturevalue("pgbouncer").port
    with Proxy(("127.0.0.1", port)) as running:
        direct.port = running.port
        yield running


def claimed(storage: PostgresStorage) -> int:
    """Claim the lease as a run does; gives the epoch."""
    seen = storage.tail(0)
    number = len(seen.segments) + 1
    storage.claim(StoredBody(number, b"claim %d" % number), epoch=number, seen=seen)
    return number


def numbers(storage: PostgresStorage) -> list[int]:
    return [segment.number for segment in storage.tail(0).segments]


def bodies(storage: PostgresStorage) -> list[bytes]:
    return [segment.body for segment in storage.tail(0).segments]


def race(attempts: Sequence[Callable[[], object]]) -> list[BaseException | None]:
    """Make all attempts at once; gives what each raised."""
    start = threading.Barrier(len(attempts))
    outcomes: list[BaseException | None] = [None] * len(attempts)

    def run(index: int) -> None:
        start.wait()
        try:
            attempts[index]()
        except BaseException as error:  # noqa: BLE001 — returned to the test
            outcomes[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(attempts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def winners(outcomes: Sequence[BaseException | None]) -> int:
    """How many succeeded; all others must have been fenced."""
    losers = [outcome for outcome in outcomes if outcome is not None]
    assert [type(loser) for loser in losers] == [FencedError] * len(losers), losers
    return outcomes.count(None)


@contextmanager
def while_waiting(
    database: Database, attempt: Callable[[], object]
) -> Iterator[psycopg.Connection[Any]]:
    """The block runs while `attempt` waits for rows of states, in the transaction that has them."""
    waiting = (
        "SELECT 1 FROM pg_stat_activity "
        f"WHERE datname = '{database.name}' AND wait_event_type = 'Lock'"
    )
    with psycopg.connect(database.url()) as other:
        other.execute("SELECT 1 FROM reconciler.states FOR UPDATE")
        with ThreadPoolExecutor(1) as pool:
            outcome = pool.submit(attempt)
            wait_for(lambda: database.execute(waiting), seconds=30)
            yield other
            other.commit()
            outcome.result()


def error_of(attempt: Callable[[], object]) -> StateError:
    """The error of an attempt. It shows the password nowhere, not even in its traceback."""
    with pytest.raises(StateError) as caught:
        attempt()
    shown = "".join(traceback.format_exception(caught.value)) + caught.value.hint
    assert PASSWORD not in shown
    assert "s3cret" not in shown
    return caught.value


# What is stored


def test_segments_come_back_as_written_in_order(routed: Opener) -> None:
    storage = routed.prepared()
    epoch = claimed(storage)
    every_byte = bytes(range(256))
    storage.append(StoredBody(2, every_byte), epoch=epoch)
    storage.append(StoredBody(3, b""), epoch=epoch)
    assert bodies(routed()) == [b"claim 1", every_byte, b""]


def test_a_tail_has_only_what_follows_its_number(routed: Opener) -> None:
    storage = routed.prepared()
    epoch = claimed(storage)
    storage.append(StoredBody(2, b"second"), epoch=epoch)
    assert storage.tail(1).segments == (StoredBody(2, b"second"),)
    assert storage.tail(2).segments == ()


def test_a_tail_after_the_last_segment_still_tells_the_sign_of_life(routed: Opener) -> None:
    storage = routed.prepared()
    claimed(storage)
    assert storage.tail(1).signed_at == storage.tail(0).signed_at
    assert storage.tail(1).signed_at is not None


def test_an_empty_log_has_neither_segments_nor_a_sign_of_life(routed: Opener) -> None:
    storage = routed.prepared()
    assert storage.tail(0) == Tail()
    assert storage.snapshot() is None


def test_the_newest_snapshot_is_read(routed: Opener) -> None:
    storage = routed.prepared()
    epoch = claimed(storage)
    storage.append(StoredBody(2, b"second"), epoch=epoch)
    storage.put_snapshot(StoredBody(2, b"newer"))
    storage.put_snapshot(StoredBody(1, b"older"))
    assert storage.snapshot() == StoredBody(2, b"newer")


def test_a_snapshot_of_the_same_number_is_replaced(routed: Opener) -> None:
    storage = routed.prepared()
    claimed(storage)
    storage.put_snapshot(StoredBody(1, b"first attempt"))
    storage.put_snapshot(StoredBody(1, b"second attempt"))
    assert storage.snapshot() == StoredBody(1, b"second attempt")


def test_trimming_keeps_newer_segments_and_those_to_keep(routed: Opener) -> None:
    storage = routed.prepared()
    epoch = claimed(storage)
    for number in range(2, 7):
        storage.append(StoredBody(number, b"body"), epoch=epoch)
    storage.put_snapshot(StoredBody(3, b"older"))
    storage.put_snapshot(StoredBody(5, b"newer"))
    storage.trim(5, keep={1, 4})
    assert numbers(storage) == [1, 4, 6]
    assert routed.database.execute("SELECT number FROM reconciler.snapshots") == [(5,)]


def test_trimming_removes_nothing_that_no_snapshot_covers(routed: Opener) -> None:
    storage = routed.prepared()
    epoch = claimed(storage)
    storage.append(StoredBody(2, b"second"), epoch=epoch)
    storage.put_snapshot(StoredBody(1, b"older"))
    storage.trim(2, keep=())
    assert numbers(storage) == [1, 2]


@pytest.mark.parametrize("other", [{"stack": "other"}, {"environment": "other"}])
def test_states_of_one_schema_do_not_mix(direct: Opener, other: dict[str, str]) -> None:
    storage, second = direct.prepared(), direct(**other)
    claimed(storage)
    storage.put_snapshot(StoredBody(1, b"ours"))
    claimed(second)
    second.append(StoredBody(2, b"theirs"), epoch=1)
    second.put_snapshot(StoredBody(2, b"theirs"))
    second.trim(2, keep=())
    assert (bodies(storage), storage.snapshot()) == ([b"claim 1"], StoredBody(1, b"ours"))


def test_each_schema_has_states_of_its_own(direct: Opener) -> None:
    storage = direct.prepared()
    second = direct.prepared(url=direct.database.url(schema="second"))
    claimed(storage)
    assert second.tail(0) == Tail()


# Fencing


def test_a_number_can_be_taken_only_once(routed: Opener) -> None:
    storages = [routed.prepared() for _ in range(RACERS)]
    epoch = claimed(storages[0])

    def appends(number: int) -> list[Callable[[], object]]:
        attempts: list[Callable[[], object]] = []
        for index, storage in enumerate(storages):
            segment = StoredBody(number, b"racer %d" % index)
            attempts.append(lambda s=storage, b=segment: s.append(b, epoch=epoch))
        return attempts

    assert [winners(race(appends(number))) for number in (2, 3, 4)] == [1, 1, 1]
    assert numbers(storages[0]) == [1, 2, 3, 4]


def test_of_several_claims_at_once_exactly_one_wins(routed: Opener) -> None:
    storages = [routed.prepared() for _ in range(RACERS)]
    attempts: list[Callable[[], object]] = []
    for index, storage in enumerate(storages):
        segment = StoredBody(1, b"racer %d" % index)
        attempts.append(lambda s=storage, b=segment: s.claim(b, epoch=1, seen=Tail()))
    assert winners(race(attempts)) == 1
    assert numbers(storages[0]) == [1]


@pytest.mark.parametrize("level", ["serializable", "repeatable read"])
def test_a_serialization_failure_is_tried_again(direct: Opener, level: str) -> None:
    name = direct.database.name
    direct.database.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'")
    storage = direct.prepared()
    epoch = claimed(storage)
    with while_waiting(
        direct.database, lambda: storage.append(StoredBody(2, b"second"), epoch=epoch)
    ) as other:
        other.execute("UPDATE reconciler.states SET created_at = created_at")
    assert bodies(storage) == [b"claim 1", b"second"]


def test_a_gap_is_refused(direct: Opener) -> None:
    storage = direct.prepared()
    epoch = claimed(storage)
    error_of(lambda: storage.append(StoredBody(3, b"third"), epoch=epoch))
    assert numbers(storage) == [1]


WRITES: dict[str, Callable[[PostgresStorage], object]] = {
    "append": lambda storage: storage.append(StoredBody(3, b"late"), epoch=1),
    "renew": lambda storage: storage.renew(epoch=1),
    "put_snapshot": lambda storage: storage.put_snapshot(StoredBody(2, b"late")),
    "trim": lambda storage: storage.trim(1, keep=()),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_replaced_run_changes_nothing(routed: Opener, write: str) -> None:
    replaced, successor = routed.prepared(), routed()
    claimed(replaced)
    replaced.put_snapshot(StoredBody(1, b"good"))
    claimed(successor)
    before = (successor.tail(0), successor.snapshot())
    with pytest.raises(FencedError):
        WRITES[write](replaced)
    assert (successor.tail(0), successor.snapshot()) == before


@pytest.mark.parametrize("write", ["put_snapshot", "trim"])
def test_a_storage_without_a_lease_changes_nothing(direct: Opener, write: str) -> None:
    holder, stranger = direct.prepared(), direct()
    claimed(holder)
    holder.put_snapshot(StoredBody(1, b"good"))
    with pytest.raises(FencedError):
        WRITES[write](stranger)
    assert (numbers(holder), holder.snapshot()) == ([1], StoredBody(1, b"good"))


def test_a_fenced_run_learns_which_state_was_taken_over(direct: Opener) -> None:
    replaced, successor = direct.prepared(), direct()
    claimed(replaced)
    claimed(successor)
    error = error_of(lambda: replaced.append(StoredBody(3, b"late"), epoch=1))
    assert str(error) == (
        f"cannot write to the state: another run has taken over {replaced.address} "
        "(it is at segment 2, claimed 2 times)"
    )


def test_a_claim_that_missed_a_renewal_is_refused(routed: Opener) -> None:
    holder, claimant = routed.prepared(), routed()
    epoch = claimed(holder)
    seen = claimant.tail(0)
    holder.renew(epoch=epoch)
    with pytest.raises(FencedError):
        claimant.claim(StoredBody(2, b"claim 2"), epoch=2, seen=seen)
    claimant.claim(StoredBody(2, b"claim 2"), epoch=2, seen=claimant.tail(0))
    assert bodies(holder) == [b"claim 1", b"claim 2"]


def test_a_claim_that_missed_a_segment_is_refused_even_once_it_was_trimmed(
    routed: Opener,
) -> None:
    holder, claimant = routed.prepared(), routed()
    epoch = claimed(holder)
    seen = claimant.tail(0)
    holder.append(StoredBody(2, b"second"), epoch=epoch)
    holder.put_snapshot(StoredBody(2, b"snapshot"))
    holder.trim(2, keep=())
    with pytest.raises(FencedError):
        claimant.claim(StoredBody(2, b"claim 2"), epoch=2, seen=seen)
    holder.append(StoredBody(3, b"third"), epoch=epoch)
    assert bodies(holder) == [b"third"]


def test_a_segment_above_the_recorded_head_is_not_overwritten(direct: Opener) -> None:
    storage = direct.prepared()
    epoch = claimed(storage)
    storage.append(StoredBody(2, b"second"), epoch=epoch)
    direct.database.execute("UPDATE reconciler.states SET head = 1")
    with pytest.raises(FencedError):
        storage.append(StoredBody(2, b"other"), epoch=epoch)
    assert bodies(storage) == [b"claim 1", b"second"]


def test_a_claim_skips_no_epoch(direct: Opener) -> None:
    storage = direct.prepared()
    claimed(storage)
    with pytest.raises(FencedError):
        storage.claim(StoredBody(2, b"claim"), epoch=3, seen=storage.tail(0))


def test_repeating_an_append_succeeds_and_adds_nothing(routed: Opener) -> None:
    storage = routed.prepared()
    epoch = claimed(storage)
    for _ in range(2):
        storage.append(StoredBody(2, b"same"), epoch=epoch)
    assert bodies(storage) == [b"claim 1", b"same"]


def test_a_renewal_is_a_sign_of_life_by_the_databases_clock(routed: Opener) -> None:
    storage = routed.prepared()
    epoch = claimed(storage)
    before = storage.now()
    assert storage.renew(epoch=epoch)
    signed_at = storage.tail(0).signed_at
    assert signed_at is not None
    assert before < signed_at < storage.now()


def test_an_append_is_a_sign_of_life(direct: Opener) -> None:
    storage = direct.prepared()
    epoch = claimed(storage)
    before = storage.now()
    storage.append(StoredBody(2, b"second"), epoch=epoch)
    signed_at = storage.tail(0).signed_at
    assert signed_at is not None
    assert before < signed_at < storage.now()


def test_an_accepted_segment_is_durable_whatever_the_database_defaults_to(direct: Opener) -> None:
    database = direct.database
    database.execute(f"ALTER DATABASE {database.name} SET synchronous_commit = off")
    storage = direct.prepared()
    database.execute(
        "CREATE TABLE observed (setting text)",
        "CREATE FUNCTION observe() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN INSERT INTO observed VALUES (current_setting('synchronous_commit')); "
        "RETURN NEW; END$$",
        "CREATE TRIGGER observe AFTER INSERT ON reconciler.segments "
        "FOR EACH ROW EXECUTE FUNCTION observe()",
    )
    epoch = claimed(storage)
    storage.append(StoredBody(2, b"second"), epoch=epoch)
    assert database.execute("SELECT setting FROM observed") == [("on",), ("on",)]


def test_the_probe_confirms_each_claim_and_cleans_up(routed: Opener) -> None:
    storage = routed.prepared()
    findings = list(storage.probe())
    assert [finding for finding in findings if not finding.holds] == []
    assert len(findings) == 5
    for table in ("states", "segments", "snapshots"):
        assert routed.database.execute(f"SELECT count(*) FROM reconciler.{table}") == [(0,)]


def test_a_probe_that_is_given_up_cleans_up(direct: Opener) -> None:
    storage = direct.prepared()
    findings = storage.probe()
    next(findings)
    findings.close()
    assert direct.database.execute("SELECT count(*) FROM reconciler.states") == [(0,)]


# Broken connections


def test_an_append_whose_answer_was_lost_succeeds_once(direct: Opener, cut: Proxy) -> None:
    storage = direct.prepared()
    epoch = claimed(storage)
    lost = cut.lose_answer(b"INSERT INTO reconciler.segments")
    storage.append(StoredBody(2, b"second"), epoch=epoch)
    assert lost.is_set()
    assert bodies(storage) == [b"claim 1", b"second"]


def test_a_claim_whose_answer_was_lost_succeeds_once(direct: Opener, cut: Proxy) -> None:
    storage = direct.prepared()
    lost = cut.lose_answer(b"INSERT INTO reconciler.segments")
    epoch = claimed(storage)
    assert lost.is_set()
    storage.append(StoredBody(2, b"second"), epoch=epoch)
    assert bodies(storage) == [b"claim 1", b"second"]


def test_an_append_that_never_arrived_is_sent_again(direct: Opener, cut: Proxy) -> None:
    storage = direct.prepared()
    epoch = claimed(storage)
    lost = cut.lose_request(b"INSERT INTO reconciler.segments")
    storage.append(StoredBody(2, b"second"), epoch=epoch)
    assert lost.is_set()
    assert bodies(storage) == [b"claim 1", b"second"]


def test_a_replaced_run_is_fenced_even_if_an_answer_is_lost(direct: Opener, cut: Proxy) -> None:
    replaced, successor = direct.prepared(), direct()
    claimed(replaced)
    claimed(successor)
    lost = cut.lose_answer(b"INSERT INTO reconciler.segments")
    with pytest.raises(FencedError):
        replaced.append(StoredBody(3, b"late"), epoch=1)
    assert lost.is_set()
    assert bodies(successor) == [b"claim 1", b"claim 2"]


def test_a_cut_idle_connection_is_replaced_without_a_word(direct: Opener, cut: Proxy) -> None:
    storage = direct.prepared()
    epoch = claimed(storage)
    cut.cut()
    storage.append(StoredBody(2, b"second"), epoch=epoch)
    assert bodies(storage) == [b"claim 1", b"second"]


def test_a_server_that_restarted_meanwhile_is_used_again(
    routed: Opener, postgres_server: PostgresServer
) -> None:
    storage = routed.prepared()
    epoch = claimed(storage)
    postgres_server.restart()
    storage.append(StoredBody(2, b"second"), epoch=epoch)
    assert bodies(storage) == [b"claim 1", b"second"]


def test_answers_lost_again_and_again_are_an_unreachable_storage(
    direct: Opener, cut: Proxy
) -> None:
    storage = direct.prepared()
    for _ in range(10):
        cut.lose_answer(b"clock_timestamp")
    error = error_of(storage.now)
    assert isinstance(error, UnreachableError)
    assert str(error).startswith(f"cannot read the clock: postgresql://127.0.0.1:{cut.port}/")


def test_a_silent_server_is_unreachable_and_an_append_can_then_be_repeated(
    direct: Opener, cut: Proxy
) -> None:
    storage = direct.prepared(patience=0.5)
    epoch = claimed(storage)
    for number in (2, 3):
        cut.silence()
        segment = StoredBody(number, b"body")
        error = error_of(lambda segment=segment: storage.append(segment, epoch=epoch))
        assert isinstance(error, UnreachableError)
        assert "did not answer within 0.5 seconds" in str(error)
        cut.restore()
        storage.append(segment, epoch=epoch)
    assert numbers(storage) == [1, 2, 3]


def test_a_server_that_is_silent_from_the_start_is_unreachable(direct: Opener, cut: Proxy) -> None:
    cut.silence()
    error = error_of(direct(patience=0.5).prepare)
    assert isinstance(error, UnreachableError)
    assert "did not answer within 0.5 seconds" in str(error)


def test_a_name_server_that_never_answers_is_unreachable(
    direct: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait() and [])
    url = direct.database.url().replace("127.0.0.1", "db.example.com")
    error = error_of(direct(url, patience=0.2).prepare)
    over.set()
    assert isinstance(error, UnreachableError)
    assert "did not answer" in str(error)


def test_a_row_that_somebody_else_locks_is_not_waited_for_without_end(direct: Opener) -> None:
    storage = direct.prepared(patience=1)
    epoch = claimed(storage)
    with psycopg.connect(direct.database.url()) as other:
        other.execute("SELECT 1 FROM reconciler.states FOR UPDATE")
        error = error_of(lambda: storage.append(StoredBody(2, b"second"), epoch=epoch))
        other.rollback()
    assert isinstance(error, UnreachableError)
    assert "lock timeout" in str(error)
    assert numbers(storage) == [1]


# Tables and permissions


def test_several_starters_prepare_one_empty_database(routed: Opener) -> None:
    storages = [routed() for _ in range(RACERS)]
    assert race([storage.prepare for storage in storages]) == [None] * RACERS
    rows = routed.database.execute("SELECT version FROM reconciler.schema_version")
    assert rows == [(len(postgres_sql.MIGRATIONS),)]


def test_several_starters_migrate_older_tables_once(
    direct: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    storages = [direct.prepared() for _ in range(RACERS)]
    claimed(storages[0])
    next_version = "ALTER TABLE SCHEMA.states ADD COLUMN note text NOT NULL DEFAULT 'migrated'"
    monkeypatch.setattr(postgres_sql, "MIGRATIONS", (*postgres_sql.MIGRATIONS, next_version))
    assert race([storage.prepare for storage in storages]) == [None] * RACERS
    assert direct.database.execute(
        "SELECT note, version FROM reconciler.states, reconciler.schema_version"
    ) == [("migrated", len(postgres_sql.MIGRATIONS))]


def test_tables_of_a_later_version_are_refused(direct: Opener) -> None:
    storage = direct.prepared()
    direct.database.execute("UPDATE reconciler.schema_version SET version = 99")
    error = error_of(storage.prepare)
    assert "have version 99" in str(error)
    assert "newer version" in error.hint


def test_tables_that_do_not_exist_are_named(direct: Opener) -> None:
    error = error_of(lambda: direct().tail(0))
    assert "cannot read the log: the schema 'reconciler'" in str(error)
    assert "--print-sql" in error.hint


def role(database: Database, name: str, *statements: str) -> str:
    """Create a role of this test; gives its address. `ROLE` in statements is its name."""
    full_name = f"{database.name}_{name}"
    database.execute(
        f"CREATE ROLE {full_name} LOGIN PASSWORD '{PASSWORD}'",
        *(statement.replace("ROLE", full_name) for statement in statements),
    )
    return database.url(user=full_name)


def test_the_printed_sql_is_all_that_a_role_without_rights_needs(direct: Opener) -> None:
    url = role(direct.database, "app")
    direct.database.execute(print_sql(role=f"{direct.database.name}_app"))
    storage = direct.prepared(url=url)
    epoch = claimed(storage)
    storage.append(StoredBody(2, b"second"), epoch=epoch)
    storage.renew(epoch=epoch)
    for _ in range(2):
        storage.put_snapshot(StoredBody(2, b"snapshot"))
    storage.trim(2, keep=())
    assert (storage.tail(0).segments, storage.snapshot()) == ((), StoredBody(2, b"snapshot"))
    assert all(finding.holds for finding in storage.probe())


def test_the_printed_sql_makes_the_tables_that_prepare_makes(direct: Opener) -> None:
    columns = (
        "SELECT table_name, column_name, data_type, is_nullable, column_default "
        "FROM information_schema.columns WHERE table_schema = '{}' ORDER BY 1, 2"
    )
    direct.prepared()
    direct.database.execute(print_sql("printed"))
    made = direct.database.execute(columns.format("reconciler"))
    assert direct.database.execute(columns.format("printed")) == made
    direct.prepared(url=direct.database.url(schema="printed"))


def test_the_grants_for_readers_are_enough_to_read_and_not_to_write(direct: Opener) -> None:
    claimed(direct.prepared())
    url = role(
        direct.database,
        "reader",
        postgres_sql.in_schema(postgres_sql.READ_GRANTS, "reconciler").decode(),
    )
    reader = direct.prepared(url=url)
    assert bodies(reader) == [b"claim 1"]
    assert reader.snapshot() is None
    error_of(lambda: reader.append(StoredBody(2, b"second"), epoch=1))
    assert bodies(reader) == [b"claim 1"]


@pytest.mark.parametrize(
    ("revoked", "attempt", "operation"),
    [
        ("INSERT ON reconciler.states", claimed, "claim the state"),
        (
            "UPDATE ON reconciler.states",
            lambda storage: storage.append(StoredBody(2, b"second"), epoch=1),
            "write to the state",
        ),
        (
            "INSERT ON reconciler.segments",
            lambda storage: storage.append(StoredBody(2, b"second"), epoch=1),
            "write to the state",
        ),
        ("UPDATE ON reconciler.states", lambda storage: storage.renew(epoch=1), "renew the lease"),
        (
            "INSERT ON reconciler.snapshots",
            lambda storage: storage.put_snapshot(StoredBody(1, b"snapshot")),
            "write a snapshot",
        ),
        (
            "DELETE ON reconciler.segments",
            lambda storage: storage.trim(1, keep=()),
            "remove old segments",
        ),
        ("SELECT ON reconciler.snapshots", PostgresStorage.snapshot, "read the snapshot"),
        ("SELECT ON reconciler.segments", lambda storage: storage.tail(0), "read the log"),
        (
            "SELECT ON reconciler.schema_version",
            PostgresStorage.prepare,
            "read the version of the tables",
        ),
        ("USAGE ON SCHEMA reconciler", lambda storage: storage.tail(0), "read the log"),
    ],
)
def test_a_missing_permission_is_named_with_the_grant_that_cures_it(
    direct: Opener, revoked: str, attempt: Callable[[PostgresStorage], object], operation: str
) -> None:
    database = direct.database
    url = role(database, "app")
    name = f"{database.name}_app"
    database.execute(print_sql(role=name))
    storage = direct(url)
    if operation != "claim the state":
        claimed(storage)
    database.execute(f"REVOKE {revoked} FROM {name}")
    error = error_of(lambda: attempt(storage))
    assert str(error).startswith(f"cannot {operation} in postgresql://")
    assert error.hint == f'GRANT {revoked} TO "{name}";'
    database.execute(error.hint)
    attempt(storage)


def test_a_role_that_may_not_create_schemas_learns_the_grant(direct: Opener) -> None:
    url = role(direct.database, "app")
    error = error_of(direct(url).prepare)
    assert str(error).startswith("cannot create the tables of states in postgresql://")
    grant = f'GRANT CREATE ON DATABASE {direct.database.name} TO "{direct.database.name}_app";'
    assert error.hint.startswith(grant)
    assert "state migrate --print-sql" in error.hint
    direct.database.execute(grant)
    direct(url).prepare()


def test_the_printed_sql_is_refused_for_a_schema_that_is_no_plain_name() -> None:
    assert "is not a plain name" in str(error_of(lambda: print_sql("x; DROP TABLE y")))


# Addresses and refusals


def test_an_address_in_messages_has_no_credentials(direct: Opener) -> None:
    storage = direct(direct.database.url(sslmode="prefer"), stack="acme", environment="prod")
    database = direct.database
    assert storage.address == f"postgresql://127.0.0.1:{database.port}/{database.name} (acme/prod)"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:s3cret@ss@host/db",
        "postgresql://user:s3cret/ss@host/db",
        "postgresql://user:1/s3cret@host/db",
        "postgresql://user:1?s3cret@host/db",
        "postgresql://user:s3cret@host:port/db",
        "postgresql://user:s3cret@host:99999999/db",
        "postgresql://user:s3cret@ho st/db",
        "mysql://user:s3cret@host/db",
        "postgresql:user:s3cret@host/db",
        "postgresql://user:s3cret@127.0.0.1/db?unknown=s3cret",
        "postgresql://user:s3cret%00@127.0.0.1/db",
        "postgresql://user:s3cret%zz@127.0.0.1/db",
        "postgresql://user:s3cret@a..b/db",
    ],
)
def test_an_address_that_cannot_be_understood_is_refused_and_not_quoted(
    direct: Opener, url: str
) -> None:
    error = error_of(lambda: direct(url).prepare())
    assert "the address of the Postgres state is not valid" in str(error)


def test_a_schema_that_is_no_plain_name_is_refused(direct: Opener) -> None:
    error = error_of(lambda: direct(direct.database.url(schema='x"; DROP TABLE y')))
    assert "is not a plain name" in str(error)


def test_a_wrong_password_is_named(routed: Opener) -> None:
    url = routed.database.url(port=routed.port, password="s3cret-and-wrong")
    error = error_of(routed(url).prepare)
    assert "does not accept the user name or the password" in str(error)
    assert not isinstance(error, UnreachableError)


def test_an_unknown_user_is_named(routed: Opener) -> None:
    url = routed.database.url(port=routed.port, user="nobody")
    error = error_of(routed(url).prepare)
    assert "does not accept the user name or the password" in str(error)


def test_a_missing_database_is_named(routed: Opener) -> None:
    missing = Database(routed.database.port, "missing")
    error = error_of(routed(missing.url(port=routed.port)).prepare)
    assert "there is no database 'missing'" in str(error)
    assert "CREATE DATABASE" in error.hint
    assert not isinstance(error, UnreachableError)


def test_of_several_hosts_the_one_that_answers_is_used(direct: Opener) -> None:
    url = direct.database.url().replace("127.0.0.1", f"127.0.0.1:{free_port()},127.0.0.1")
    storage = direct.prepared(url=url)
    claimed(storage)
    assert numbers(direct()) == [1]


def test_a_refused_connection_is_named(direct: Opener) -> None:
    port = free_port()
    error = error_of(direct(direct.database.url(port=port)).prepare)
    assert f"nothing answers at postgresql://127.0.0.1:{port}/" in str(error)
    assert isinstance(error, UnreachableError)


def test_an_unknown_host_is_named(direct: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    url = direct.database.url().replace("127.0.0.1", "db.example.com")
    error = error_of(direct(url).prepare)
    assert str(error).startswith("the host name in postgresql://db.example.com:")
    assert "DNS" in error.hint


def test_a_role_that_may_not_connect_learns_the_grant(direct: Opener) -> None:
    direct.database.execute(f"REVOKE CONNECT ON DATABASE {direct.database.name} FROM PUBLIC")
    error = error_of(direct(role(direct.database, "app")).prepare)
    assert "GRANT CONNECT ON DATABASE" in error.hint


def test_a_server_without_free_connections_is_unreachable(direct: Opener) -> None:
    url = role(direct.database, "app", "ALTER USER ROLE CONNECTION LIMIT 0")
    error = error_of(direct(url).prepare)
    assert "has no connection left" in str(error)
    assert isinstance(error, UnreachableError)


def read_only(database: Database) -> None:
    database.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")


@pytest.mark.parametrize("attempt", [PostgresStorage.prepare, claimed])
def test_a_run_that_starts_on_a_read_only_server_is_refused_for_good(
    direct: Opener, attempt: Callable[[PostgresStorage], object]
) -> None:
    if attempt is claimed:
        direct.prepared()
    read_only(direct.database)
    error = error_of(lambda: attempt(direct()))
    assert "is read-only" in str(error)
    assert "primary" in error.hint
    assert not isinstance(error, UnreachableError)


def test_a_run_in_flight_may_wait_for_a_read_only_server(direct: Opener) -> None:
    epoch = claimed(direct.prepared())
    read_only(direct.database)
    error = error_of(lambda: direct().append(StoredBody(2, b"second"), epoch=epoch))
    assert isinstance(error, UnreachableError)


def test_a_missing_extra_is_named(direct: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    error = error_of(direct)
    assert error.hint == "Install reconciler with its extra `postgres`."


def has_connections(database: Database) -> bool:
    """Whether storages are connected to a database."""
    rows = database.execute(
        "SELECT 1 FROM pg_stat_activity "
        f"WHERE application_name = 'reconciler' AND datname = '{database.name}'"
    )
    return bool(rows)


def test_closing_ends_the_connections_and_may_be_repeated(direct: Opener) -> None:
    storage = direct.prepared()
    storage.close()
    storage.close()
    wait_for(lambda: not has_connections(direct.database), seconds=30)


def test_closing_ends_a_connection_in_use_once_its_operation_ends(direct: Opener) -> None:
    storage = direct.prepared()
    epoch = claimed(storage)
    with while_waiting(direct.database, lambda: storage.renew(epoch=epoch)):
        storage.close()
        assert has_connections(direct.database)
    wait_for(lambda: not has_connections(direct.database), seconds=30)
