"""Files of other versions, of other programs, and damaged ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.errors import StateError
from reconciler.model.address import Address
from reconciler.model.resource import Record
from reconciler.model.run_origin import RunOrigin
from reconciler.state import StateStore, schema
from tests.state.shared import open_reader


def open_writing(folder: Path) -> StateStore:
    return StateStore.open(folder, stack="acme", environment="prod")


either_way = pytest.mark.parametrize("opened", [open_writing, open_reader])


@pytest.fixture
def file(folder: Path) -> Path:
    folder.mkdir()
    return folder / "acme.prod.db"


@pytest.fixture
def raw(file: Path, folder: Path) -> Iterator[sqlite3.Connection]:
    """A direct connection to a state that holds one record."""
    with open_writing(folder) as store:
        store.put(Record(Address.parse("Project/search"), "proj_1"))
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        yield connection


def version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def add_colour(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE resources ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'")


def fail_halfway(connection: sqlite3.Connection) -> None:
    add_colour(connection)
    raise RuntimeError("power cut")


def test_a_migration_keeps_the_records(raw: sqlite3.Connection) -> None:
    schema.migrate(raw, migrations=[*schema.MIGRATIONS, add_colour])
    assert version(raw) == len(schema.MIGRATIONS) + 1
    assert raw.execute("SELECT address, colour FROM resources").fetchall() == [
        ("Project/search", "red")
    ]


def test_a_migration_that_fails_leaves_the_old_version_whole(
    raw: sqlite3.Connection, folder: Path
) -> None:
    raw.execute("BEGIN IMMEDIATE")
    with pytest.raises(RuntimeError):
        schema.migrate(raw, migrations=[*schema.MIGRATIONS, fail_halfway])
    raw.execute("ROLLBACK")
    assert version(raw) == len(schema.MIGRATIONS)
    with open_writing(folder) as store:
        assert len(store.records()) == 1


def test_an_older_state_has_the_same_lineage_for_every_reader(file: Path, folder: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as older:
        schema.migrate(older, migrations=schema.MIGRATIONS[:3])
        older.execute("INSERT INTO identity VALUES (1, 'acme', 'prod', 4)")
        older.execute(
            "INSERT INTO runs (command, user, host, pid, plan_digest, began_at) VALUES ('apply', 'u', 'h', 1, 'd', 2.5)"
        )
    lineages = set()
    for opened in (open_reader, open_reader, open_writing, open_reader):
        with opened(folder) as store:
            lineages.add(store.identity.lineage)
            assert store.serial == 4
    assert len(lineages - {""}) == len(lineages) == 1


def test_runs_of_an_older_state_keep_their_account_and_machine_and_have_no_ci_job(
    file: Path, folder: Path
) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as older:
        schema.migrate(older, migrations=schema.MIGRATIONS[:5])
        older.execute(
            "INSERT INTO identity (only_row, stack, environment, serial)"
            " VALUES (1, 'acme', 'prod', 4)"
        )
        older.execute(
            "INSERT INTO runs (command, user, host, pid, plan_digest, began_at)"
            " VALUES ('apply', 'ada', 'laptop', 1, 'd', 2.5)"
        )
    for opened in (open_reader, open_writing, open_reader):
        with opened(folder) as store:
            assert [run.origin for run in store.runs.all()] == [
                RunOrigin(user="ada", host="laptop")
            ]


def test_an_unreadable_origin_says_what_to_do(raw: sqlite3.Connection, folder: Path) -> None:
    raw.execute(
        "INSERT INTO runs (command, user, host, pid, plan_digest, began_at, origin)"
        """ VALUES ('apply', 'ada', 'laptop', 1, 'd', 2.5, '{"actor": 7}')"""
    )
    with open_reader(folder) as store, pytest.raises(StateError, match="unreadable") as caught:
        store.runs.all()
    assert "restore the file" in caught.value.hint


def test_two_states_of_one_name_have_different_lineages(tmp_path: Path) -> None:
    with open_writing(tmp_path / "one") as one, open_writing(tmp_path / "two") as two:
        assert one.identity.lineage != two.identity.lineage
        assert one.identity.lineage


def test_a_lineage_stays_the_same_from_run_to_run(folder: Path) -> None:
    with open_writing(folder) as store:
        first = store.identity.lineage
    with open_writing(folder) as again, open_reader(folder) as reader:
        assert (again.identity.lineage, reader.identity.lineage) == (first, first)


def test_migrations_run_once(raw: sqlite3.Connection) -> None:
    for _ in range(2):
        schema.migrate(raw, migrations=[*schema.MIGRATIONS, add_colour])
    assert version(raw) == len(schema.MIGRATIONS) + 1


@either_way
def test_an_empty_file_is_a_new_state(
    file: Path, folder: Path, opened: Callable[[Path], StateStore]
) -> None:
    file.touch()  # what a kill between creating and filling the file leaves
    with opened(folder) as store:
        assert store.serial == 0


def test_a_reader_writes_nothing_into_an_empty_file(file: Path, folder: Path) -> None:
    file.touch()
    open_reader(folder).close()
    assert file.stat().st_size == 0


@either_way
def test_a_newer_version_names_the_program_that_is_needed(
    raw: sqlite3.Connection, folder: Path, opened: Callable[[Path], StateStore]
) -> None:
    raw.execute("PRAGMA user_version = 99")
    raw.execute("UPDATE meta SET value = '7.3.0' WHERE name = 'program'")
    with pytest.raises(StateError, match="it has version 99") as caught:
        opened(folder)
    assert caught.value.hint == "use reconciler 7.3.0 or later"


@either_way
def test_the_database_of_another_program_is_refused(
    file: Path, folder: Path, opened: Callable[[Path], StateStore]
) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(StateError, match=r"acme\.prod\.db.*another program"):
        opened(folder)


@either_way
@pytest.mark.parametrize(
    "content", [b"not a database at all\n" * 100, b"SQLite format 3\x00" + b"\xff" * 4096]
)
def test_a_file_that_is_no_database_says_what_to_do(
    file: Path, folder: Path, opened: Callable[[Path], StateStore], content: bytes
) -> None:
    file.write_bytes(content)
    with pytest.raises(StateError, match=r"acme\.prod\.db") as caught:
        opened(folder).records()
    assert "plan and apply then find objects" in caught.value.hint


@either_way
def test_a_state_with_damaged_pages_says_what_to_do(
    raw: sqlite3.Connection, file: Path, folder: Path, opened: Callable[[Path], StateStore]
) -> None:
    raw.close()
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xaa" * len(content[4096:])
    file.write_bytes(content)
    with pytest.raises(StateError, match="damaged"), opened(folder) as store:
        store.records()


def test_a_folder_that_cannot_be_made_is_a_state_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot be used"):
        open_writing(tmp_path / "file" / "state")


def test_a_state_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="needs the names"):
        StateStore.open(tmp_path, stack="acme", environment="")
