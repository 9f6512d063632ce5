"""Kills an apply to the copy in the middle, and resumes it.

The apply runs in a process of its own. That process gets SIGKILL after the emulator has stored a
certain write, and before the emulator answers. The object then exists, and no process has received
its id.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from reconciler.app.applying import apply_checked_plan, locked
from reconciler.app.exit_codes import is_complete
from reconciler.app.plans import PlanRequest, with_refusals
from reconciler.app.saved_plans import bind_projects_of
from reconciler.app.session import Session
from reconciler.emulator.recorder import RequestRecord
from reconciler.errors import ReconcilerError
from reconciler.manifests import Settings
from reconciler.model.change import OutcomeStatus, Plan
from reconciler.model.rehearsal import RehearsalCheck, RehearsalVerdict
from reconciler.rehearsal.copies import CopyKeys, CopyPlace, CopySession
from reconciler.rehearsal.planning import plan_in_copy
from reconciler.rehearsal.stage import Stage

Census = Counter[tuple[str, str]]

CHILD_SECONDS = 600.0
"""The most seconds for an apply in a process of its own."""
_SHOWN = 5


class ChildTask(Struct, frozen=True):
    """The inputs of the process that is killed. They go through a pipe, and into no file."""

    folder: str
    base_url: str
    organization: str
    admin: str
    default: str
    projects: dict[str, str]
    homes: dict[str, str]
    settle_seconds: float
    is_recorded: bool
    parallelism: int
    root: str
    environment: str | None
    variables: dict[str, str]
    variable_files: list[str]
    allow_env: list[str]
    allow_sinks: list[str]
    allow_sources: list[str]
    saved_variables: dict[str, Any]
    plan: str
    """The file of the plan."""


def kill_and_resume(
    stage: Stage,
    plan: Plan,
    request: PlanRequest,
    *,
    at: int,
    expected: Census,
    settings: Settings,
    dump: Callable[[Plan], str],
) -> RehearsalCheck:
    """Kill an apply of the plan at its `at`-th write, resume, and compare with `expected`."""
    name = f"An apply that is killed at write {at} resumes"
    place = stage.reset()
    plan_file = place.folder / "plan.json"
    plan_file.write_text(dump(plan), encoding="utf-8")
    task = _task(stage, place, settings, plan_file)
    killed = _run_and_kill(stage, task, at)
    if killed is not None:
        return RehearsalCheck(name, RehearsalVerdict.FAILED, killed)
    problems = list(_resume(stage, place, request))
    problems += _differences(expected, stage.census())
    if problems:
        return RehearsalCheck(name, RehearsalVerdict.FAILED, "\n".join(problems))
    return RehearsalCheck(name, RehearsalVerdict.PASSED)


def _task(stage: Stage, place: CopyPlace, settings: Settings, plan_file: Path) -> ChildTask:
    keys = place.keys
    return ChildTask(
        folder=str(place.folder),
        base_url=place.base_url,
        organization=place.organization,
        admin=keys.admin,
        default=keys.default,
        projects=keys.projects,
        homes=keys.homes,
        settle_seconds=place.settle_seconds,
        is_recorded=stage.is_recorded,
        parallelism=stage.parallelism,
        root=str(settings.root.resolve()),
        environment=settings.environment,
        variables=dict(settings.variables),
        variable_files=[str(path.resolve()) for path in settings.variable_files],
        allow_env=list(settings.allow_env),
        allow_sinks=list(settings.allow_sinks),
        allow_sources=list(settings.allow_sources),
        saved_variables=dict(settings.saved_variables),
        plan=str(plan_file),
    )


def _run_and_kill(stage: Stage, task: ChildTask, at: int) -> str | None:
    """Run the apply and kill it at a write; a sentence if it ended otherwise."""
    # The task goes through a pipe, because it has keys: arguments are visible to other users.
    child = subprocess.Popen(
        [sys.executable, "-m", "reconciler.cli.rehearsed_apply"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    writes = 0

    def kill_at(_: RequestRecord) -> None:
        nonlocal writes
        writes += 1
        if writes == at:
            os.kill(child.pid, signal.SIGKILL)
            # The emulator answers after this, and the process must be gone by then.
            child.wait()

    stage.emulator.after_write(kill_at)
    try:
        _, stderr_output = child.communicate(msgspec.json.encode(task), timeout=CHILD_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return f"the apply did not end within {CHILD_SECONDS:.0f} seconds"
    finally:
        stage.emulator.after_write(None)
    if child.returncode == -signal.SIGKILL:
        return None
    if writes < at:
        # The last line of standard error says why a process ended.
        last = stderr_output.decode(errors="replace").strip().split("\n")[-1]
        reason = f": {last}" if child.returncode and last else ""
        return f"the apply ended after {writes} writes{reason}"
    return f"the apply ended with exit code {child.returncode}"


def _resume(stage: Stage, place: CopyPlace, request: PlanRequest) -> Iterator[str]:
    """Apply once more, and plan; a sentence for each problem."""
    try:
        with stage.session(place) as copy, locked(copy, "apply"):
            plan = with_refusals(copy, plan_in_copy(copy, request), request)
            yield from plan.refusals
            if plan.refusals:
                return
            copy.use_placeholders()
            result = apply_checked_plan(copy, plan, command="apply")
        if not is_complete(result):
            for outcome in result.outcomes:
                if outcome.status is not OutcomeStatus.APPLIED:
                    yield f"{outcome.change.address} {outcome.status}: {outcome.message}"
        with stage.session(place) as copy:
            left = plan_in_copy(copy, request).pending
            for change in left[:_SHOWN]:
                yield f"the plan after it still wants to {change.action} {change.address}"
    except ReconcilerError as error:
        yield str(error)


def _differences(expected: Census, present: Census) -> Iterator[str]:
    """The objects that exist too often or too rarely after the resumed apply."""
    # The difference of two counters keeps positive counts only.
    for (kind, label), surplus in sorted((present - expected).items()):
        yield f"{surplus} more {kind} {label!r} than after an apply that is not killed"
    for (kind, label), missing in sorted((expected - present).items()):
        yield f"{missing} fewer {kind} {label!r} than after an apply that is not killed"


def apply_in_child(task: ChildTask, original: Session, plan: Plan) -> bool:
    """Apply the plan in this process; whether everything was applied.

    `original` is a session of the original, from which manifests and secrets come.
    """
    with (
        CopySession(
            place_of(task),
            original.settings,
            original.configuration,
            parallelism=task.parallelism,
            redactor=original.redactor,
            sources=None if task.is_recorded else original.sources,
        ) as copy,
        locked(copy, "apply"),
    ):
        copy.use_placeholders()
        bind_projects_of(copy, plan)
        return is_complete(apply_checked_plan(copy, plan, command="apply"))


def place_of(task: ChildTask) -> CopyPlace:
    """The copy that a task names."""
    return CopyPlace(
        Path(task.folder),
        task.base_url,
        task.organization,
        CopyKeys(task.admin, task.default, task.projects, task.homes),
        task.settle_seconds,
    )


def settings_of(task: ChildTask) -> Settings:
    """The settings of the original, for the environment of this process."""
    return Settings(
        root=Path(task.root),
        environment=task.environment,
        variables=task.variables,
        variable_files=[Path(path) for path in task.variable_files],
        allow_env=task.allow_env,
        allow_sinks=task.allow_sinks,
        allow_sources=task.allow_sources,
        saved_variables=task.saved_variables,
        env=dict(os.environ),
    )


def parse_task(text: bytes) -> ChildTask:
    """The task that a process reads from its standard input."""
    return msgspec.convert(json.loads(text), ChildTask)
