"""Claims about the streams of output, and its look on a terminal."""

from __future__ import annotations

import os
import stat
import subprocess

import pytest

from tests.cli.test_plan_and_apply import ASSISTANT, writes
from tests.conftest import Workspace


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_called(
    workspace: Workspace,
) -> None:
    workspace.write({"a.yaml": ASSISTANT})
    workspace.run("apply", "--yes", "--report", "nowhere/r.json:json", expect=1)
    assert workspace.emulator.requests == []


def test_a_plan_file_that_cannot_be_written_is_refused_before_anything_is_called(
    workspace: Workspace,
) -> None:
    workspace.write({"a.yaml": ASSISTANT})
    workspace.run("plan", "--out", "nowhere/p.json", expect=1)
    assert workspace.emulator.requests == []


def test_an_older_report_loses_the_rights_of_others(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT, "r.json": ""})
    (workspace.folder / "r.json").chmod(0o644)
    workspace.run("plan", "--report", "r.json:json", expect=0)
    assert stat.S_IMODE((workspace.folder / "r.json").stat().st_mode) == 0o600


def test_an_unknown_format_of_a_report_is_refused(workspace: Workspace) -> None:
    assert (
        "FILE:FORMAT"
        in workspace.write({"a.yaml": ASSISTANT}).run("plan", "--report", "r.pdf", expect=1).err
    )


def test_a_closed_standard_output_is_no_mistake(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT})
    shell = "exec " + " ".join(workspace.command("plan")) + " >&-"
    done = subprocess.run(
        ["sh", "-c", shell],
        cwd=workspace.folder,
        env=workspace.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_question_is_asked_on_a_line_of_its_own(workspace: Workspace) -> None:
    import pty

    workspace.write({"a.yaml": ASSISTANT})
    keyboard, terminal = pty.openpty()
    os.write(keyboard, b"no\n")
    done = subprocess.run(
        workspace.command("apply"),
        cwd=workspace.folder,
        env=workspace.environment,
        stdin=terminal,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "\nDo you want to carry out this plan? Only yes is accepted.\n" in done.stderr
    assert done.returncode == 1
    assert writes(workspace) == []


@pytest.mark.parametrize("level", ["text", "json"])
def test_two_v_show_every_call_on_standard_error(workspace: Workspace, level: str) -> None:
    done = workspace.write({"a.yaml": ASSISTANT}).run(
        "plan", "-vv", "--log-format", level, expect=0
    )
    assert "GET /assistants" in done.err
    assert "GET /assistants" not in done.out


def test_allowing_the_deletion_of_nothing_known_is_an_error(workspace: Workspace) -> None:
    done = workspace.write({"a.yaml": ASSISTANT}).run(
        "plan", "--allow-delete", "Assistant/bit", expect=1
    )
    assert "Assistant/bot" in done.err
    # Objects are found by their marks too, so it takes a look to know.
    assert {item.method for item in workspace.emulator.requests} == {"GET"}


def test_a_terminal_shows_how_far_reading_is_and_standard_output_does_not(
    workspace: Workspace,
) -> None:
    import pty

    workspace.write({"a.yaml": ASSISTANT})
    screen, terminal = pty.openpty()
    done = subprocess.run(
        workspace.command("plan"),
        cwd=workspace.folder,
        env={**workspace.environment, "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
        check=True,
    )
    os.close(terminal)
    assert "Reading live state" in os.read(screen, 65536).decode()
    assert "Reading live state" not in done.stdout
    os.close(screen)


@pytest.mark.parametrize("width", [60, 80, 110])
def test_a_long_error_is_wrapped_at_the_width_of_the_terminal(
    workspace: Workspace, width: int
) -> None:
    import fcntl
    import pty
    import struct
    import termios

    workspace.write({"a.yaml": "kind: Check\nmetadata: {name: c}\nspec: {unknown: 1}\n"})
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {**workspace.environment, "TERM": "xterm", "NO_COLOR": "1"}
    environment.pop("COLUMNS", None)  # which would win, and which runners of tests set
    subprocess.run(
        workspace.command("validate"),
        cwd=workspace.folder,
        env=environment,
        stdout=terminal,
        stderr=terminal,
        check=False,
    )
    os.close(terminal)
    shown = os.read(screen, 65536).decode()
    os.close(screen)
    longest = max(map(len, shown.splitlines()))
    assert width - 15 < longest <= width
