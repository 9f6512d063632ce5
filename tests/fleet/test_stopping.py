"""Claims about the end of a fleet's run: signals, time limits, too many failures, unexpected errors."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from reconciler.app.applying import locked
from reconciler.app.session import Session
from reconciler.emulator import Emulator
from reconciler.fleet import stack_run
from reconciler.fleet.runner import FleetJob, FleetOptions, run_fleet
from reconciler.fleet.stack_run import FleetContext, StackRequest
from reconciler.fleet.stacks import FoundStack, StackChoice, find_stacks, runnable
from reconciler.manifests import Settings
from reconciler.model.fleet import Command, StackStatus
from tests.cli.test_interrupts import ended, start, until
from tests.fleet.conftest import Fleet

AGES_MS = 100_000
SLOW_LIST = f"on=GET:/organization/groups*,do=hang:{AGES_MS},times=1"
SLOW_CREATE = "on=POST:/organization/groups,do=hang:1500,when=after,times=1"


@pytest.mark.slow
def test_ctrl_c_finishes_the_calls_in_flight_and_reports_what_was_done(fleet: Fleet) -> None:
    fleet.emulator.add_fault(SLOW_CREATE)
    process = start(fleet, "fleet", "apply", "--yes", "--at-once", "1", "--format", "json")
    until(process, lambda: "a" in fleet.groups())
    code, out, err = ended(process, signal.SIGINT)
    report = json.loads(out)
    stacks = {each["folder"]: each for each in report["stacks"]}
    assert (code, report["interrupted"]) == (130, True)
    assert "finishing the calls in flight" in err
    assert stacks["stacks/a"]["outcomes"] == {"applied": 1}
    assert (stacks["stacks/b"]["status"], stacks["stacks/b"]["calls"]) == ("interrupted", 0)
    assert fleet.groups() == ["a"]


@pytest.mark.slow
def test_the_next_run_after_an_interrupt_goes_on(fleet: Fleet) -> None:
    fleet.emulator.add_fault(SLOW_CREATE)
    process = start(fleet, "fleet", "apply", "--yes", "--at-once", "1")
    until(process, lambda: "a" in fleet.groups())
    ended(process, signal.SIGTERM)
    assert fleet.statuses("apply", "--yes", expect=0) == {
        "stacks/b": "applied",
        "stacks/a": "in sync",
    }
    assert fleet.groups() == ["a", "b"]


@pytest.mark.slow
def test_a_second_signal_ends_a_run_that_hangs(fleet: Fleet) -> None:
    fleet.emulator.add_fault(SLOW_LIST)
    process = start(fleet, "fleet", "plan")
    until(process, lambda: fleet.emulator.requests_in_flight > 0)
    code, _, err = ended(process, signal.SIGINT, signal.SIGINT)
    assert code == 130
    assert "Aborted" in err


def test_no_further_stack_is_started_after_too_many_failures(fleet: Fleet) -> None:
    fleet.add("stacks/a", manifest="kind: Nonsense\n").add("stacks/c")
    report = fleet.report("apply", "--yes", "--at-once", "1", "--max-failures", "1", expect=1)
    stacks = {each["folder"]: each["reason"] for each in report["stacks"]}
    assert stacks == {
        "stacks/a": "ConfigurationInvalid",
        "stacks/b": "TooManyFailures",
        "stacks/c": "TooManyFailures",
    }
    assert fleet.groups() == []


@pytest.fixture
def found(fleet: Fleet) -> tuple[list[FoundStack], Settings]:
    """The stacks of the fleet, and the settings that they share."""
    settings = Settings(root=fleet.folder, env=fleet.environment)
    return find_stacks(settings, StackChoice()), settings


def jobs_of(stacks: list[FoundStack], command: Command = Command.PLAN) -> list[FleetJob]:
    return [FleetJob(stack, StackRequest(command)) for stack in stacks]


def test_a_stack_that_takes_too_long_is_stopped_and_the_others_go_on(
    fleet: Fleet, found: tuple[list[FoundStack], Settings]
) -> None:
    stacks, settings = found
    # The key is throttled for longer than the test may take, so its plan waits for its turn.
    fleet.emulator.add_fault("on=GET:/organization/groups*,do=retry-after:50,times=1")
    results = run_fleet(
        jobs_of(stacks), settings, FleetContext(), FleetOptions(at_once=1, timeout=1.0)
    )
    by_folder = {result.id.folder: result for result in results}
    late = by_folder["stacks/a"]
    assert (late.status, late.reason, late.exit_code) == (StackStatus.FAILED, "TimedOut", 1)
    assert by_folder["stacks/b"].status is StackStatus.PENDING


def test_a_mistake_of_this_program_in_one_stack_is_the_result_of_that_stack(
    found: tuple[list[FoundStack], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks, settings = found
    plan = stack_run.plan_stack

    def plan_or_fail(session: object, *arguments: object, **options: object) -> object:
        if "stacks/a" in str(getattr(session, "settings", "")):
            raise ZeroDivisionError("sk-admin-emulator")
        return plan(session, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(stack_run, "plan_stack", plan_or_fail)
    results = run_fleet(jobs_of(stacks), settings, FleetContext(), FleetOptions())
    by_folder = {result.id.folder: result for result in results}
    broken = by_folder["stacks/a"]
    assert (broken.status, broken.reason) == (StackStatus.FAILED, "Unexpected")
    assert "mistake in reconciler" in broken.message
    assert by_folder["stacks/b"].status is StackStatus.PENDING


def test_a_signal_of_one_stack_does_not_stop_the_others(
    found: tuple[list[FoundStack], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that loses its lock sets its own signal."""
    stacks, settings = found
    seen = []
    apply = stack_run.apply_checked_plan

    def apply_and_stop(session: object, *arguments: object, **options: object) -> object:
        stop = session.stop  # type: ignore[attr-defined]
        seen.append(stop.is_set())
        stop.set()
        return apply(session, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(stack_run, "apply_checked_plan", apply_and_stop)
    context = FleetContext()
    jobs = jobs_of(stacks, Command.APPLY)
    list(run_fleet(jobs, settings, context, FleetOptions(at_once=1)))
    assert seen == [False, False]
    assert not context.stop.is_set()


def test_a_stack_that_waits_for_a_lock_is_stopped_at_once(
    found: tuple[list[FoundStack], Settings],
) -> None:
    stacks, settings = found
    context = FleetContext(notice=lambda _: context.stop.set())
    request = StackRequest(Command.APPLY, lock_wait=30.0)
    with (
        Session(runnable(stacks[0], settings).settings) as holder,
        locked(holder, "apply"),
    ):
        [result] = run_fleet([FleetJob(stacks[0], request)], settings, context, FleetOptions())
    assert (result.status, result.reason) == (StackStatus.INTERRUPTED, "Interrupted")
    assert "waited for the lock" in result.message


def test_organizations_take_turns_in_starting(tmp_path: Path, emulator: Emulator) -> None:
    fleet = Fleet(tmp_path, emulator)
    for name in ("a1", "a2", "a3"):
        fleet.add(f"a/{name}", spec="  organization: org-a\n", manifest="kind: Nonsense\n")
    fleet.add("b/b1", spec="  organization: org-b\n", manifest="kind: Nonsense\n")
    settings = Settings(root=tmp_path, env=fleet.environment)
    jobs = jobs_of(find_stacks(settings, StackChoice()))
    order = run_fleet(jobs, settings, FleetContext(), FleetOptions(at_once=1))
    assert [result.id.folder for result in order] == ["a/a1", "b/b1", "a/a2", "a/a3"]


def test_a_run_that_nobody_reads_to_its_end_stops(
    found: tuple[list[FoundStack], Settings],
) -> None:
    stacks, settings = found
    results = run_fleet(jobs_of(stacks), settings, FleetContext(), FleetOptions(at_once=1))
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert list(results) == []
