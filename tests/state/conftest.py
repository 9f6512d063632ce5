"""A state in a folder of its own, and a second Python that can be killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import reconciler
from reconciler.state import StateStore

REPOSITORY = Path(reconciler.__file__).parent.parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".reconciler"


@pytest.fixture
def store(folder: Path) -> Iterator[StateStore]:
    with StateStore.open(
        folder, stack="acme", environment="prod", clock=lambda: 1_700_000_000.0
    ) as store:
        yield store


@pytest.fixture
def python(folder: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts a Python that runs the code, with `folder` and the names of the state at hand, and talks over pipes."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str) -> subprocess.Popen[str]:
        prelude = f"import sys\nfrom pathlib import Path\nfrom reconciler.state import *\nfolder = Path({str(folder)!r})\n"
        process = subprocess.Popen(
            [sys.executable, "-c", prelude + code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
