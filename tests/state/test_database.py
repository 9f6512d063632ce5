"""Writers that come together share one commit, and each still stands or falls alone."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.errors import StateError
from reconciler.state.database import Database


@pytest.fixture
def connection(tmp_path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        tmp_path / "a.db", isolation_level=None, check_same_thread=False, timeout=0
    )
    connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY)")
    return connection


@pytest.fixture
def database(connection: sqlite3.Connection) -> Iterator[Database]:
    database = Database(connection, "a.db")
    yield database
    database.close()


def insert(database: Database, number: int) -> None:
    with database.write() as connection:
        connection.execute("INSERT INTO t VALUES (?)", (number,))


def numbers(database: Database) -> list[int]:
    with database.read() as connection:
        return [row[0] for row in connection.execute("SELECT a FROM t ORDER BY a")]


def queue_up(database: Database, writers: list[threading.Thread]) -> None:
    for writer in writers:
        writer.start()
    while database._queued < len(writers):
        time.sleep(0.001)


def test_writers_that_queue_behind_another_share_its_commit(
    database: Database, connection: sqlite3.Connection
) -> None:
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    writers = [threading.Thread(target=insert, args=(database, number)) for number in range(10)]
    with database.write():
        queue_up(database, writers)
    for writer in writers:
        writer.join()
    # The first one waits a moment for the others, so on a busy machine there can be more than one commit.
    assert statements.count("COMMIT") < len(writers)
    assert numbers(database) == list(range(10))


def test_a_failed_write_does_not_undo_others(database: Database) -> None:
    insert(database, 3)
    errors: list[StateError] = []

    def clash() -> None:
        try:
            insert(database, 3)
        except StateError as error:
            errors.append(error)

    writers = [threading.Thread(target=insert, args=(database, 4)), threading.Thread(target=clash)]
    with database.write() as connection:
        connection.execute("INSERT INTO t VALUES (5)")
        queue_up(database, writers)
    for writer in writers:
        writer.join()
    assert (numbers(database), len(errors)) == ([3, 4, 5], 1)


def test_a_write_that_raises_is_undone_completely(database: Database) -> None:
    def half() -> None:
        with database.write() as connection:
            connection.execute("INSERT INTO t VALUES (1)")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert numbers(database) == []


def test_every_writer_of_a_batch_gets_the_error_of_its_commit(
    database: Database, tmp_path: Path
) -> None:
    told: list[str] = []

    def write() -> None:
        try:
            insert(database, 1)
        except StateError as error:
            told.append(str(error))

    reader = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM t").fetchall()  # a reader that does not end keeps the commit out
    writer = threading.Thread(target=write)
    with pytest.raises(StateError, match="locked by another program"), database.write():
        queue_up(database, [writer])
    writer.join()
    reader.close()
    assert (numbers(database), len(told)) == ([], 1)


def test_after_a_failed_commit_the_next_write_works(database: Database, tmp_path: Path) -> None:
    reader = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM t").fetchall()
    with pytest.raises(StateError):
        insert(database, 1)
    reader.close()
    insert(database, 2)
    assert numbers(database) == [2]


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "COMMIT"])
def test_an_interrupt_between_statements_does_not_block_the_next_write(
    database: Database, connection: sqlite3.Connection, statement: str
) -> None:
    # Ctrl-C right after the statement, before a line of ours could run: as if it had been executed behind our back.
    database._batch = None if statement == "BEGIN IMMEDIATE" else database._join()
    connection.execute(statement)
    insert(database, 1)
    assert numbers(database) == [1]


def fill_and_empty(database: Database, rows: int) -> None:
    with database.write() as connection:
        connection.execute("CREATE TABLE large (text TEXT)")
        connection.executemany("INSERT INTO large VALUES (?)", [("x" * 4000,)] * rows)
    with database.write() as connection:
        connection.execute("DELETE FROM large")


def test_the_space_of_deleted_rows_is_freed(database: Database, tmp_path: Path) -> None:
    insert(database, 1)
    fill_and_empty(database, 1000)
    before = (tmp_path / "a.db").stat().st_size
    database.shrink()
    assert (tmp_path / "a.db").stat().st_size < before / 10
    assert numbers(database) == [1]


def test_a_little_free_space_stays_in_the_file(database: Database, tmp_path: Path) -> None:
    fill_and_empty(database, 100)
    before = (tmp_path / "a.db").stat().st_size
    database.shrink()
    assert (tmp_path / "a.db").stat().st_size == before


def test_free_space_stays_while_others_read_the_file(database: Database, tmp_path: Path) -> None:
    fill_and_empty(database, 1000)
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM t").fetchone()
        before = (tmp_path / "a.db").stat().st_size
        database.shrink()
        assert (tmp_path / "a.db").stat().st_size == before
