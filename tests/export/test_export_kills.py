"""An export that is killed leaves nothing, or something from which a second export gives the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Workspace
from tests.export.test_export import changes_nothing, texts

pytestmark = pytest.mark.slow
DYING = Path(__file__).with_name("dying_export.py")
KILLED = -9


def die_at(folder: Workspace, number: int, *options: str) -> int:
    done = subprocess.run(
        [sys.executable, str(DYING), str(folder.folder), str(number), *options],
        env={**folder.environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        check=False,
    )
    return done.returncode


def clear(folder: Workspace) -> None:
    for path in folder.folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def test_a_killed_export_can_be_run_again_with_the_same_result(folder: Workspace) -> None:
    folder.run("export", expect=0)
    whole = texts(folder)
    clear(folder)
    number, deaths = 0, 0
    while die_at(folder, number) == KILLED:
        deaths += 1
        written = folder.folder / "manifests"
        if written.exists():
            assert texts(folder) == whole, f"call {number}: a part of the files"
        folder.run("export", "--force", expect=0)
        assert texts(folder) == whole, f"call {number}: other bytes"
        assert changes_nothing(folder.plan()), f"call {number}: the plan is not empty"
        clear(folder)
        number += 1 + number // 4  # closer at the beginning, where locks and files are made
    assert deaths > 10


def test_an_export_over_files_that_is_killed_loses_none(folder: Workspace) -> None:
    folder.run("export", expect=0)
    whole = texts(folder)
    first = next(path for path in sorted((folder.folder / "manifests").rglob("*.yaml")))
    for number in (0, 5, 20, 60):
        first.write_text("# edited\n" + first.read_text())
        die_at(folder, number, "--force")
        assert texts(folder).keys() == whole.keys()
        folder.run("export", "--force", expect=0)
        assert texts(folder) == whole
