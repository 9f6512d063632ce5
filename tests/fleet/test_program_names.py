"""Claims about the program that other runs and the history see behind a run of a stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.app.session import Session
from reconciler.emulator import Emulator
from reconciler.fleet.stack_run import FleetContext, FleetStack, StackRequest, run_stack
from reconciler.manifests import Settings
from reconciler.model.fleet import Command, StackId, StackResult, StackStatus
from reconciler.state.lock import Holder
from tests.fleet.conftest import group, stack


@pytest.mark.parametrize("program", ["fleet", "operator"])
def test_the_lock_and_the_history_name_the_program_that_runs_the_stack(
    program: str, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "reconciler.yaml").write_text(stack("search"), encoding="utf-8")
    (tmp_path / "m.yaml").write_text(group("search"), encoding="utf-8")
    environ = {"OPENAI_BASE_URL": emulator.base_url, "OPENAI_ADMIN_KEY": emulator.admin_key}
    settings = Settings(root=tmp_path, env=environ)
    holders: list[Holder | None] = []

    def look_at_the_lock(_: StackResult) -> None:
        with Session(settings) as other:
            holders.append(other.store.holder())

    result = run_stack(
        FleetStack(StackId("search", "default", "search"), tmp_path, settings),
        StackRequest(Command.APPLY, confirm=look_at_the_lock),
        FleetContext(program=program),
    )
    assert result.status is StackStatus.APPLIED, result.message
    assert [holder and holder.command for holder in holders] == [f"{program} apply"]
    with Session(settings) as later:
        assert [run.command for run in later.store.runs.all()] == [f"{program} apply"]
