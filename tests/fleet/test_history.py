"""Claims about the history of a fleet: what is recorded where, and how stacks stand by it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.fleet.history import FleetHistory, HistoryRecorder
from reconciler.manifests import Settings
from reconciler.model.fleet import StackId, StackReport, StackStatus
from reconciler.model.fleet_history import (
    KEPT_SECONDS,
    MOST_ENTRIES,
    HistoryEntry,
    entry_of,
    health_of,
    with_entry,
)
from reconciler.model.run_origin import RunOrigin
from reconciler.state.fleet_history import HistoryStorage, LocalHistory
from reconciler.state.remote.objects.history import ObjectHistory
from reconciler.state.remote.postgres.history import PostgresHistory
from tests.fleet.conftest import Fleet, group, name_of
from tests.servers.object_stores import Place
from tests.servers.postgres import Database, PgBouncer

ORIGIN = RunOrigin(user="ada", host="laptop")
DAY = 86_400.0

NewHistory = Callable[[], HistoryStorage]


@pytest.fixture(params=["file", "postgres", "pgbouncer", "s3", "azure"])
def new_history(request: pytest.FixtureRequest, tmp_path: Path) -> NewHistory:
    """Makes storages of one and the same history."""
    if request.param == "file":
        return lambda: LocalHistory(tmp_path / "state")
    if request.param in ("s3", "azure"):
        place: Place = request.getfixturevalue(f"{request.param}_place")
        return lambda: ObjectHistory(place.url, env=place.env)
    database: Database = request.getfixturevalue("database")
    port = 0
    if request.param == "pgbouncer":
        bouncer: PgBouncer = request.getfixturevalue("pgbouncer")
        port = bouncer.port
    return lambda: PostgresHistory(database.url(port=port))


@pytest.fixture
def storage(new_history: NewHistory) -> Iterator[HistoryStorage]:
    """An empty history."""
    made = new_history()
    yield made
    made.close()


def report(
    name: str = "a", status: StackStatus = StackStatus.IN_SYNC, at: float = 1.0, **fields: Any
) -> StackReport:
    return StackReport(
        StackId(f"stacks/{name}", "prod", name),
        fields.pop("command", "drift"),
        status,
        0,
        began_at=at,
        ended_at=at,
        **fields,
    )


# --- every storage


def test_an_empty_history_can_be_read(storage: HistoryStorage) -> None:
    assert list(FleetHistory(storage).read()) == []


def test_what_is_recorded_is_read_back_by_another_run(new_history: NewHistory) -> None:
    first, second = new_history(), new_history()
    FleetHistory(first).record(report("a", StackStatus.DRIFTED, drifted=2, calls=7), ORIGIN)
    FleetHistory(first).record(report("b/é\n"), ORIGIN)
    [a, b] = FleetHistory(second).read()
    assert (a.stack, a.environment, a.folder, b.stack) == ("a", "prod", "stacks/a", "b/é\n")
    [look] = a.entries
    assert (look.status, look.drifted, look.calls, look.who) == (
        StackStatus.DRIFTED,
        2,
        7,
        "ada@laptop",
    )
    first.close()
    second.close()


def test_stacks_that_are_recorded_side_by_side_lose_nothing(new_history: NewHistory) -> None:
    def record(number: int) -> None:
        storage = new_history()
        FleetHistory(storage).record(report(f"s{number}"), ORIGIN)
        storage.close()

    threads = [threading.Thread(target=record, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    storage = new_history()
    names = [history.stack for history in FleetHistory(storage).read()]
    storage.close()
    assert sorted(names) == [f"s{number}" for number in range(8)]


@pytest.mark.parametrize("new_history", ["file", "postgres"], indirect=True)
def test_two_runs_of_one_stack_at_once_are_both_recorded(new_history: NewHistory) -> None:
    def record(number: int) -> None:
        storage = new_history()
        applied = report(status=StackStatus.APPLIED, at=number, outcomes={"applied": number})
        FleetHistory(storage).record(applied, ORIGIN)
        storage.close()

    threads = [threading.Thread(target=record, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    storage = new_history()
    [history] = FleetHistory(storage).read()
    storage.close()
    assert sorted(look.outcomes["applied"] for look in history.entries) == list(range(1, 9))


def test_a_stack_whose_file_cannot_be_read_has_no_history(tmp_path: Path) -> None:
    history = FleetHistory(LocalHistory(tmp_path))
    history.record(StackReport(StackId("c", ""), "drift", StackStatus.FAILED, 1), ORIGIN)
    assert list(history.read()) == []


def test_an_unreadable_document_begins_again(tmp_path: Path) -> None:
    storage = LocalHistory(tmp_path)
    storage.update("a", "prod", lambda _: b"{nonsense")
    FleetHistory(storage).record(report("a"), ORIGIN)
    [history] = FleetHistory(storage).read()
    assert len(history.entries) == 1


def test_a_folder_whose_name_is_not_text_is_recorded(tmp_path: Path) -> None:
    history = FleetHistory(LocalHistory(tmp_path))
    strange = StackId(b"c\xff".decode("utf-8", "surrogateescape"), "prod", "c")
    history.record(StackReport(strange, "drift", StackStatus.IN_SYNC, 0), ORIGIN)
    [found] = history.read()
    assert found.folder.startswith("c")


def test_a_history_that_cannot_be_written_is_one_notice(tmp_path: Path) -> None:
    (tmp_path / ".reconciler").write_text("a file is in the way")
    notices: list[str] = []
    with HistoryRecorder(Settings(root=tmp_path), notices.append) as recorder:
        for number in range(5):
            recorder.add(report(f"s{number}"))
    [notice] = notices
    assert "history of the fleet is not written" in notice


# --- entries


def looks_of(*reports: StackReport) -> tuple[HistoryEntry, ...]:
    looks: tuple[HistoryEntry, ...] = ()
    for each in reports:
        looks = with_entry(looks, entry_of(each, ORIGIN))
    return looks


def test_runs_that_find_the_same_extend_one_entry() -> None:
    [look] = looks_of(*(report(at=at, calls=3) for at in (10.0, 20.0, 30.0)))
    assert (look.first_at, look.last_at, look.runs, look.calls) == (10.0, 30.0, 3, 9)


def test_another_number_of_drifted_objects_is_another_entry() -> None:
    drifted = StackStatus.DRIFTED
    assert len(looks_of(report(status=drifted, drifted=1), report(status=drifted, drifted=2))) == 2


def test_each_apply_is_an_entry_of_its_own() -> None:
    applied = report(status=StackStatus.APPLIED, outcomes={"applied": 1}, command="apply")
    assert len(looks_of(applied, applied)) == 2


def test_the_number_of_entries_is_bounded() -> None:
    runs = [report(status=StackStatus.DRIFTED, drifted=number, at=number) for number in range(300)]
    looks = looks_of(*runs)
    assert len(looks) == MOST_ENTRIES
    assert looks[-1].drifted == 299


def test_old_entries_are_dropped_and_the_latest_is_kept() -> None:
    old, new = report(at=DAY), report(status=StackStatus.DRIFTED, at=2 * DAY + KEPT_SECONDS)
    assert [look.status for look in looks_of(old, new)] == [StackStatus.DRIFTED]
    assert len(looks_of(old)) == 1


# --- standing


def test_a_status_lasts_since_it_was_first_found() -> None:
    drifted = StackStatus.DRIFTED
    looks = looks_of(
        report(at=1.0),
        report(status=drifted, drifted=1, at=2.0),
        report(status=drifted, drifted=2, at=3.0),
    )
    standing = health_of(looks, since=0)
    assert (standing.status_since, standing.last_look) == (2.0, 3.0)


def test_a_run_that_failed_is_no_look() -> None:
    failed = report(status=StackStatus.FAILED, at=3.0)
    assert health_of(looks_of(report(at=2.0), failed), since=0).last_look == 2.0
    assert health_of(looks_of(failed), since=0).last_look is None


def test_drift_lasts_until_a_look_finds_none() -> None:
    drifted = report(status=StackStatus.DRIFTED, drifted=1, at=2.0)
    pending = report(status=StackStatus.FAILED, at=3.0)
    assert health_of(looks_of(report(), drifted, pending), since=0).drift_since == 2.0
    assert health_of(looks_of(drifted, report(at=4.0)), since=0).drift_since is None


def test_an_apply_ends_the_drift_that_its_plan_undid() -> None:
    drifted = report(status=StackStatus.DRIFTED, drifted=1, at=2.0)
    applied = report(
        status=StackStatus.APPLIED,
        drifted=1,
        at=3.0,
        outcomes={"applied": 1},
        command="apply",
    )
    standing = health_of(looks_of(drifted, applied), since=0)
    assert (standing.drift_since, standing.last_apply, standing.last_apply_by) == (
        None,
        3.0,
        "ada@laptop",
    )


def test_failures_are_counted_within_the_period() -> None:
    failed = StackStatus.FAILED
    looks = looks_of(
        report(status=failed, at=1.0),
        report(at=5.0),
        report(status=failed, at=6.0),
        report(status=failed, at=7.0),
    )
    standing = health_of(looks, since=4.0)
    assert (standing.failures, standing.runs) == (2, 3)


# --- through the command line


def stacks(fleet: Fleet, *arguments: str) -> dict[str, dict[str, Any]]:
    return {name_of(each): each for each in fleet.report("report", *arguments)["stacks"]}


def test_drift_and_apply_are_recorded_and_reported(fleet: Fleet) -> None:
    fleet.fleet("apply", "--yes", expect=0)
    fleet.rename_group("b", "other")
    fleet.fleet("drift", expect=2)
    shown = stacks(fleet)
    assert list(shown) == ["stacks/b", "stacks/a"]
    drifted = shown["stacks/b"]
    assert (drifted["status"], drifted["drifted"]) == ("drifted", 1)
    assert drifted["standing"]["drift_since"] >= drifted["standing"]["last_apply"]
    assert shown["stacks/a"]["status"] == "in sync"


def test_a_report_makes_no_call_and_ends_with_zero(fleet: Fleet) -> None:
    fleet.fleet("apply", "--yes", expect=0)
    fleet.rename_group("b", "other")
    fleet.fleet("drift", expect=2)
    before = len(fleet.emulator.requests)
    fleet.fleet("report", expect=0)
    assert len(fleet.emulator.requests) == before


def test_a_plan_writes_nothing(fleet: Fleet) -> None:
    fleet.fleet("plan", expect=0)
    assert sorted(path.name for path in fleet.folder.rglob("*") if path.is_file()) == [
        "m.yaml",
        "m.yaml",
        "reconciler.yaml",
        "reconciler.yaml",
    ]


def test_the_runs_of_a_state_are_reported_where_nothing_was_recorded(fleet: Fleet) -> None:
    fleet.run("-C", "stacks/a", "apply", "--yes", expect=0)
    shown = stacks(fleet)
    assert shown["stacks/a"]["status"] == "applied"
    assert shown["stacks/a"]["standing"]["last_apply"] is not None
    assert shown["stacks/b"]["reason"] == "NeverRun"


def test_an_apply_of_a_single_stack_is_reported_with_states(fleet: Fleet) -> None:
    fleet.fleet("drift", expect=0)
    fleet.run("-C", "stacks/a", "apply", "--yes", expect=0)
    assert stacks(fleet)["stacks/a"]["standing"]["last_apply"] is None
    assert stacks(fleet, "--states")["stacks/a"]["standing"]["last_apply"] is not None


def test_a_stack_without_a_folder_here_is_reported_only_if_asked_for(fleet: Fleet) -> None:
    fleet.fleet("drift", expect=0)
    (fleet.folder / "stacks" / "b" / "reconciler.yaml").unlink()
    assert list(stacks(fleet)) == ["stacks/a"]
    assert sorted(stacks(fleet, "--everywhere")) == ["stacks/a", "stacks/b"]


def test_no_value_and_no_name_of_an_object_is_recorded(fleet: Fleet) -> None:
    fleet.fleet("apply", "--yes", expect=0)
    fleet.rename_group("a", "hush-hush")
    fleet.fleet("drift", expect=2)
    recorded = (fleet.folder / ".reconciler" / "fleet.db").read_bytes()
    for text in (b"hush-hush", b"Group", b"team", b"sk-"):
        assert text not in recorded


def test_the_history_is_beside_the_shared_states(fleet: Fleet, database: Database) -> None:
    fleet.variables["RECONCILER_BACKEND"] = database.url()
    fleet.fleet("apply", "--yes", expect=0)
    assert not (fleet.folder / ".reconciler").exists()
    rows = database.execute("SELECT stack FROM reconciler.fleet_history ORDER BY stack")
    assert rows == [("a",), ("b",)]
    assert stacks(fleet)["stacks/a"]["status"] == "applied"


def test_a_shared_backend_that_does_not_answer_ends_the_report(fleet: Fleet) -> None:
    fleet.variables["RECONCILER_BACKEND"] = "postgresql://127.0.0.1:9/nothing"
    done = fleet.fleet("report", expect=1)
    assert "127.0.0.1:9" in done.err
    assert done.out == ""


def test_a_damaged_local_history_is_a_notice_and_the_states_are_reported(fleet: Fleet) -> None:
    fleet.run("-C", "stacks/a", "apply", "--yes", expect=0)
    fleet.write({".reconciler/fleet.db": "nonsense" * 100})
    done = fleet.fleet("report", "--format", "json", expect=0)
    assert "cannot be read" in done.err
    assert '"status": "applied"' in done.out


def test_a_stack_that_waits_for_outputs_is_no_failure_in_the_history(fleet: Fleet) -> None:
    fleet.variables["RECONCILER_BACKEND"] = "local:.reconciler"
    fleet.add("stacks/b", spec='  outputs: {team: "${Group/team}"}\n')
    value = "b ${stack.b.team}"
    fleet.add("stacks/a", manifest=group("a").replace("name: a", f"name: '{value}'"))
    assert fleet.statuses("drift", expect=0) == {"stacks/a": "pending", "stacks/b": "pending"}
    assert stacks(fleet)["stacks/a"]["standing"]["failures"] == 0


def test_tables_without_a_history_are_a_notice_and_the_run_goes_on(
    fleet: Fleet, database: Database
) -> None:
    fleet.variables["RECONCILER_BACKEND"] = database.url()
    fleet.fleet("apply", "--yes", expect=0)
    database.execute("DROP TABLE reconciler.fleet_history")
    done = fleet.fleet("drift", expect=0)
    assert done.err.count("The history of the fleet is not written") == 1
    assert fleet.fleet("report", expect=0).out
