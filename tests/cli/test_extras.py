"""Commands that need an optional library say how to install it."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import sys
sys.modules[{library!r}] = None
from reconciler.cli.main import run
sys.exit(run({arguments!r}))
"""


@pytest.mark.parametrize("library", ["starlette", "uvicorn"])
def test_a_command_without_its_library_names_the_extra(library: str) -> None:
    code = WITHOUT.format(library=library, arguments=["emulator", "--port", "0"])
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        f"Error: This command needs the library {library}, which is not installed.",
        "  Install reconciler with its extra `emulator`: pip install 'reconciler-iac[emulator]'",
    ]


def test_other_commands_work_without_the_emulators_libraries() -> None:
    code = WITHOUT.format(library="starlette", arguments=["explain", "Group.name"])
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
