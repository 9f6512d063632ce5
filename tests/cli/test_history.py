"""Claims about `history`: which runs wrote, who started them, and what each of them changed."""

from __future__ import annotations

import json
import os
from hashlib import sha256

import pytest

from reconciler.state import StateStore
from tests.cli.test_plan_and_apply import ASSISTANT
from tests.conftest import Workspace


@pytest.fixture
def applied(workspace: Workspace) -> Workspace:
    """Two runs: one made an assistant, the other changed it and made a second."""
    workspace.write({"a.yaml": ASSISTANT}).apply()
    second = ASSISTANT.replace("{name: bot}", "{name: two}").replace("Bot", "Two")
    workspace.write({"a.yaml": ASSISTANT.replace("0.5", "0.7"), "b.yaml": second}).apply()
    return workspace


def state(workspace: Workspace) -> StateStore:
    return StateStore.open(workspace.folder / ".reconciler", stack="stack", environment="default")


def history(workspace: Workspace, *arguments: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        workspace.run("history", *arguments, "--format", "json", expect=0).out
    )
    return found


def test_there_is_no_history_before_the_first_run_and_no_state_is_made(
    workspace: Workspace,
) -> None:
    workspace.write({"a.yaml": ASSISTANT})
    done = workspace.run("history", expect=0)
    assert (done.out, done.err) == ("", "No runs yet.\n")
    assert not (workspace.folder / ".reconciler").exists()


def test_the_newest_run_comes_first(applied: Workspace) -> None:
    lines = applied.run("history", expect=0).out.splitlines()
    assert [line.split()[0] for line in lines] == ["Run", "2", "1"]
    assert "2 applied" in lines[1]
    assert applied.run("history", "--limit", "1", expect=0).out.splitlines()[1:] == lines[1:2]


def test_a_run_says_who_did_what_when_and_from_which_plan(applied: Workspace) -> None:
    applied.run("plan", "--out", "plan.json", "--replace", "Assistant/two", expect=0)
    applied.run("apply", "plan.json", expect=0)
    run = history(applied, "3")
    assert run["plan_digest"] == sha256((applied.folder / "plan.json").read_bytes()).hexdigest()
    assert (run["command"], run["status"], run["counts"]) == (
        "apply", "done", {"applied": 1, "failed": 0, "skipped": 0, "stale": 0}
    )  # fmt: skip
    assert run["began_at"] <= run["ended_at"]  # type: ignore[operator]
    assert run["user"]
    assert run["host"]


def test_a_run_shows_what_it_changed(applied: Workspace) -> None:
    changes = history(applied, "2")["changes"]
    assert [(item["action"], item["address"], item["outcome"]) for item in changes] == [  # type: ignore[attr-defined]
        ("update", "Assistant/bot", "done"),
        ("create", "Assistant/two", "done"),
    ]
    assert "the manifest changed" in applied.run("history", "2", expect=0).out


def test_what_did_not_go_through_is_not_shown_as_done(applied: Workspace) -> None:
    applied.emulator.add_fault("on=POST:/assistants/*,do=error:400,times=0")
    applied.write({"a.yaml": ASSISTANT.replace("0.5", "0.9")}).run("apply", "--yes", expect=1)
    run = history(applied, "3")
    assert run["status"] == "incomplete"
    assert [item["outcome"] for item in run["changes"]] == ["not done, or not known"]  # type: ignore[attr-defined]


def test_a_run_that_never_ended_was_killed_unless_it_holds_the_lock(applied: Workspace) -> None:
    with state(applied) as store:
        store.begin_run(
            command="apply", user="ada", host="laptop", pid=os.getpid(), plan_digest="d"
        )
        with store.lock(command="apply", on_takeover=print):
            assert history(applied, "3")["status"] == "running"
    assert history(applied, "3")["status"] == "killed"


def test_names_from_elsewhere_are_escaped_in_every_format(applied: Workspace) -> None:
    with state(applied) as store:
        store.begin_run(command="a|b", user="\x1b[2Jada", host="`x`", pid=7, plan_digest="d")
    assert "\\x1b[2Jada@`x`" in applied.run("history", expect=0).out
    table = applied.run("history", "--format", "markdown", "--report", "h.txt:text", expect=0).out
    assert "| `` \\x1b[2Jada@`x` `` | `a\\|b` |" in table
    assert "\\x1b[2Jada" in (applied.folder / "h.txt").read_text(encoding="utf-8")


def test_an_unknown_run_says_which_there_are(applied: Workspace) -> None:
    assert "there is no run 9: this state has 1 to 2" in applied.run("history", "9", expect=1).err
