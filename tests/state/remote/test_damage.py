"""A log that is damaged, cut or foreign is refused with a sentence, and never taken for an empty state."""

from __future__ import annotations

import time

import pytest

from reconciler.errors import StateError
from reconciler.model.address import Address
from reconciler.model.resource import Record
from reconciler.state import StateStore
from reconciler.state.encryption import NoEncryption
from reconciler.state.remote.opening import open_log
from reconciler.state.remote.postgres.storage import PostgresStorage
from tests.servers.postgres import Database
from tests.state.shared import begin_run

SEARCH = Address.parse("Project/search")


@pytest.fixture
def written(database: Database) -> Database:
    """A database with a state of a few segments and no snapshot."""
    with opened(database) as store, store.lock(command="apply", on_takeover=print):
        run_id = begin_run(store)
        with store.runs.journal(run_id).change(SEARCH, "create") as change:
            with change.step("create") as step:
                step.done("proj_1")
            change.finish(Record(SEARCH, "proj_1"))
    return database


def opened(database: Database) -> StateStore:
    storage = PostgresStorage(database.url(), stack="acme", environment="prod")
    return open_log(
        storage,
        NoEncryption(),
        stack="acme",
        environment="prod",
        lease_seconds=1.0,
        clock=time.time,
    )


def test_a_log_that_lost_its_end_is_not_written_to(written: Database) -> None:
    last = "SELECT max(number) FROM reconciler.segments"
    written.execute(f"DELETE FROM reconciler.segments WHERE number = ({last})")
    with opened(written) as store:
        held = store.lock(command="apply", on_takeover=print, wait_seconds=60)
        with pytest.raises(StateError, match="further segments have been written"), held:
            pass


def test_a_log_that_lost_its_end_cannot_be_unlocked(written: Database) -> None:
    last = "SELECT max(number) FROM reconciler.segments"
    written.execute(f"DELETE FROM reconciler.segments WHERE number = ({last})")
    with (
        opened(written) as store,
        pytest.raises(StateError, match="further segments have been written"),
    ):
        store.unlock()


def test_a_missing_segment_is_named(written: Database) -> None:
    written.execute("DELETE FROM reconciler.segments WHERE number = 2")
    with pytest.raises(StateError, match="segment 2 is missing"):
        opened(written)


def test_a_changed_segment_is_named(written: Database) -> None:
    written.execute("UPDATE reconciler.segments SET body = body || 'x' WHERE number = 2")
    with pytest.raises(StateError, match="segment 3 does not follow the one before it"):
        opened(written)


def test_a_segment_that_is_no_segment_is_named(written: Database) -> None:
    written.execute("UPDATE reconciler.segments SET body = 'nonsense' WHERE number = 2")
    with pytest.raises(StateError, match="segment 2 is not of this program, or is damaged"):
        opened(written)


def test_a_segment_of_another_state_is_noticed(written: Database) -> None:
    # The same number, of a state with the same history but another beginning.
    written.execute(
        "UPDATE reconciler.segments SET body = "
        "(SELECT body FROM reconciler.segments WHERE number = 3) WHERE number = 2"
    )
    with pytest.raises(StateError, match="segment 2 does not follow"):
        opened(written)


def test_a_format_of_a_later_version_is_refused(written: Database) -> None:
    written.execute("UPDATE reconciler.segments SET body = set_byte(body, 4, 9) WHERE number = 2")
    with pytest.raises(StateError, match="segment 2 has format 9"):
        opened(written)
