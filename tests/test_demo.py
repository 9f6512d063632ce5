"""Each chapter of the demo runs alone, and the demo lists its chapters first."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
DEMO = Path(__file__).parents[1] / "examples/demo.py"
NAMES = re.findall(r'^    Chapter\("(\w+)"', DEMO.read_text(encoding="utf-8"), re.MULTILINE)


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DEMO), *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_chapter_runs_alone(name: str) -> None:
    done = demo(name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The end" in done.stdout


def test_the_chapters_are_listed_first() -> None:
    lines = demo("plan").stdout.splitlines()
    assert [line[3:].split()[0] for line in lines[: len(NAMES)]] == NAMES


def test_an_unknown_chapter_is_refused_with_the_names_of_all() -> None:
    done = demo("nonsense")
    assert done.returncode == 1
    assert all(name in done.stderr for name in NAMES)
