"""Imports of the command line at start-up, nine tenths of the time of a small plan."""

import subprocess
import sys

import pytest

IMPORT = "import sys, reconciler.__main__, reconciler.cli.plan; print(*sys.modules)"


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """The modules of a process that is about to plan."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "csv",
        "deepdiff",
        "importlib.metadata",
        "jmespath",
        "jsonschema",
        "rich",
        "zipfile",
        "reconciler.api.objects.file_set",
        "reconciler.app.applying",
        "reconciler.cel",
        "reconciler.emulator",
        "reconciler.engine.apply.scheduler",
        "reconciler.policies",
        "reconciler.rules.answer_schema",
        "reconciler.secrets.drivers",
        "reconciler.state.remote",
    ],
)
def test_a_plan_imports_nothing_that_few_plans_need(imported: set[str], module: str) -> None:
    assert module not in imported


def test_a_plan_imports_what_every_plan_needs(imported: set[str]) -> None:
    assert {"httpx", "reconciler.engine.plan.planner", "reconciler.app.plans"} <= imported
