"""The example of a fleet converges in both environments, and goes away again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.fleet.conftest import Fleet

EXAMPLE = Path(__file__).parents[2] / "examples" / "fleet"


@pytest.fixture
def example(fleet: Fleet) -> Fleet:
    shutil.rmtree(fleet.folder / "stacks")
    shutil.copytree(EXAMPLE, fleet.folder, dirs_exist_ok=True)
    fleet.variables["RECONCILER_BACKEND"] = "local:.reconciler"
    return fleet


def test_the_example_converges_in_one_run(example: Fleet) -> None:
    assert set(example.statuses("apply", "--yes", expect=0).values()) == {"applied"}
    assert set(example.statuses("plan", expect=0).values()) == {"in sync"}
    assert set(example.statuses("drift", expect=0).values()) == {"in sync"}


def test_the_stacks_of_the_example_can_be_destroyed(example: Fleet) -> None:
    example.fleet("apply", "--yes", "-e", "dev", expect=0)
    for folder in ("stacks/search", "stacks/support", "platform"):
        example.run("-C", folder, "-e", "dev", "destroy", "--yes", expect=0)
    assert example.groups() == []
