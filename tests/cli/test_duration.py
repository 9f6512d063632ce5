"""Durations on the command line, and the option that takes one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from reconciler.errors import UsageError
from reconciler.model.durations import seconds_of_option
from tests.conftest import Workspace

LOCKING = {
    "apply": ["apply"],
    "destroy": ["destroy"],
    "rollback": ["rollback", "1"],
    "import": ["import", "Project/a", "proj_1"],
    "state rm": ["state", "rm", "Project/a"],
    "state mv": ["state", "mv", "Project/a", "Project/b"],
    "state import": ["state", "import", "state.json"],
}

ECHO = """
import click
from reconciler.cli.options import global_options, lock_option
from reconciler.cli.session import CommandSession

@click.command()
@lock_option
@global_options
def command(options):
    click.echo(CommandSession(options).lock_wait)

command()
"""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30), ("5m", 300), ("1h", 3600), ("45", 45), ("0", 0), ("0.5", 0.5), ("1.5m", 90),
        ("1h30m", 5400), ("1m5s", 65), ("24h", 86_400), (" 30s ", 30),
    ],
)  # fmt: skip
def test_a_duration_is_read_in_every_spelling(text: str, seconds: float) -> None:
    assert seconds_of_option(text, "--lock-wait") == seconds


@pytest.mark.parametrize(
    "text",
    ["", "s", "-5", "5 m", "5M", "1d", "5m1h", "1e3", "inf", "nan", "٣s", "24h1s", "9999999999"],
)
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(
        UsageError, match=r'^--lock-wait ".*" is no duration: write one such as 30s'
    ):
        seconds_of_option(text, "--lock-wait")


@pytest.mark.parametrize("words", LOCKING.values(), ids=LOCKING.keys())
def test_every_command_that_takes_the_lock_can_wait_for_it(
    workspace: Workspace, words: list[str]
) -> None:
    refused = workspace.run(*words, "--lock-wait", "soon", expect=1).err
    assert '--lock-wait "soon" is no duration' in refused


@pytest.mark.parametrize(("words", "seconds"), [([], "0.0"), (["--lock-wait", "5m"], "300.0")])
def test_the_session_knows_how_long_to_wait(words: list[str], seconds: str) -> None:
    # A process of its own, because a session of the command line installs handlers of signals.
    done = subprocess.run([sys.executable, "-c", ECHO, *words], capture_output=True, text=True)
    assert done.stdout == f"{seconds}\n"


def test_a_command_that_takes_no_lock_has_nothing_to_wait_for(workspace: Workspace) -> None:
    assert "No such option" in workspace.run("plan", "--lock-wait", "5m", expect=1).err
