"""Spend against limits: the share, and how many calls it takes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from reconciler.app.spend import SpendReader, limits_of
from reconciler.emulator import Emulator
from reconciler.fleet.stack_run import FleetContext
from reconciler.model.address import Address
from reconciler.model.change import Action
from reconciler.model.fleet import Command, StackResult, StackStatus
from tests.telemetry.stacks import change, plan, run_on

STACK = """\
kind: Stack
metadata: {name: %s}
spec:
  manifests: [m/]
  projects: {search: %s}
"""
LIMITS = """\
kind: SpendLimit
metadata: {name: search, project: search}
spec: {threshold_amount: 1000}
---
kind: SpendLimit
metadata: {name: all}
spec: {threshold_amount: 100000}
"""
STORE = """\
kind: VectorStore
metadata: {name: handbook, project: search}
spec: {name: Handbook}
"""
COSTS = "/organization/costs"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = datetime.now(UTC).timestamp()

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def spent(emulator: Emulator) -> Emulator:
    """An organization whose default project has spent four dollars this month."""
    use_now(emulator, emulator.project_id, millions=2)
    use_now(emulator, "proj_other", millions=3)
    return emulator


def use_now(emulator: Emulator, project: str, *, millions: int) -> None:
    """So many million tokens at this moment, for two dollars each."""
    body = {
        "at": int(datetime.now(UTC).timestamp()),
        "project_id": project,
        "model": "gpt-4.1",
        "input_tokens": millions * 10**6,
        "output_tokens": 0,
        "num_model_requests": 1,
    }
    emulator.store.add("usage", "completions", body, id=f"use-{project}")


def stack(folder: Path, emulator: Emulator, manifest: str) -> Path:
    """A stack in a folder of its own."""
    (folder / "m").mkdir(parents=True)
    text = STACK % (folder.name, emulator.project_id)
    (folder / "reconciler.yaml").write_text(text, encoding="utf-8")
    (folder / "m" / "m.yaml").write_text(manifest, encoding="utf-8")
    return folder


def runs(
    emulator: Emulator, folders: list[Path], context: FleetContext, command: Command
) -> Iterator[StackResult]:
    """Run a command on stacks, one after the other."""
    for folder in folders:
        yield run_on(emulator, folder, command, context)


def calls(emulator: Emulator) -> int:
    """How often costs were read."""
    return sum(request.path.endswith(COSTS) for request in emulator.requests)


def test_the_limit_closest_to_its_end_counts(spent: Emulator, tmp_path: Path) -> None:
    folder = stack(tmp_path / "a", spent, LIMITS)
    context = FleetContext(spend=SpendReader())
    commands = (Command.PLAN, Command.APPLY, Command.DRIFT)
    results = [run_on(spent, folder, command, context) for command in commands]
    assert [result.status for result in results][1] is StackStatus.APPLIED
    # The project has spent 4 of 10 dollars, and the organization 10 of 1,000.
    assert [result.spend_share for result in results] == [0.4, 0.4, 0.4]


def test_the_limit_of_a_project_that_is_still_to_come_counts_for_nothing() -> None:
    address = Address("SpendLimit", "new", "limit")
    limit = change(
        Action.CREATE, address=address, project_id=None, desired={"threshold_amount": 1000}
    )
    assert list(limits_of(plan(limit))) == []
    assert list(limits_of(plan(replace(limit, project_id="proj_1")))) == [("proj_1", 10)]


def test_an_organization_is_asked_once_in_an_interval(spent: Emulator, tmp_path: Path) -> None:
    folders = [stack(tmp_path / name, spent, LIMITS) for name in "abc"]
    clock = Clock()
    context = FleetContext(spend=SpendReader(interval_seconds=60, clock=clock))
    list(runs(spent, folders, context, Command.PLAN))
    assert calls(spent) == 1
    clock.seconds += 59
    list(runs(spent, folders, context, Command.PLAN))
    assert calls(spent) == 1
    clock.seconds += 1
    list(runs(spent, folders, context, Command.PLAN))
    assert calls(spent) == 2


def test_a_stack_without_limits_asks_nothing(spent: Emulator, tmp_path: Path) -> None:
    context = FleetContext(spend=SpendReader())
    result = run_on(spent, stack(tmp_path / "a", spent, STORE), Command.PLAN, context)
    assert (result.spend_share, calls(spent)) == (None, 0)


def test_nothing_is_read_unless_somebody_asks(spent: Emulator, tmp_path: Path) -> None:
    result = run_on(spent, stack(tmp_path / "a", spent, LIMITS), Command.PLAN, FleetContext())
    assert (result.spend_share, calls(spent)) == (None, 0)


def test_costs_that_are_refused_fail_no_stack_and_are_not_asked_for_again(
    spent: Emulator, tmp_path: Path
) -> None:
    spent.add_fault("on=GET:/organization/costs,do=error:403,times=0")
    folders = [stack(tmp_path / name, spent, LIMITS) for name in "ab"]
    context = FleetContext(spend=SpendReader())
    results = list(runs(spent, folders, context, Command.PLAN))
    assert [result.status for result in results] == [StackStatus.PENDING, StackStatus.PENDING]
    assert [result.spend_share for result in results] == [None, None]
    assert calls(spent) == 1
