"""Claims about `history`: which runs wrote, who started them, and the changes of each."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing

import pytest
from msgspec import to_builtins

from reconciler.model.run_origin import RunOrigin
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


def raw(workspace: Workspace) -> sqlite3.Connection:
    """A direct connection to the state."""
    file = workspace.folder / ".reconciler" / "stack.default.db"
    return sqlite3.connect(file, isolation_level=None)


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


def test_a_run_shows_its_user_command_time_and_plan(applied: Workspace) -> None:
    applied.run("plan", "--out", "plan.json", "--replace", "Assistant/two", expect=0)
    saved = json.loads((applied.folder / "plan.json").read_text(encoding="utf-8"))
    applied.run("apply", "plan.json", expect=0)
    run = history(applied, "3")
    assert run["plan_digest"] == saved["reconciler"]["plan_digest"]
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


def test_failed_changes_are_not_shown_as_done(applied: Workspace) -> None:
    applied.emulator.add_fault("on=POST:/assistants/*,do=error:400,times=0")
    applied.write({"a.yaml": ASSISTANT.replace("0.5", "0.9")}).run("apply", "--yes", expect=1)
    run = history(applied, "3")
    assert run["status"] == "incomplete"
    assert [item["outcome"] for item in run["changes"]] == ["not done, or not known"]  # type: ignore[attr-defined]


def test_a_run_that_never_ended_was_killed_unless_it_holds_the_lock(applied: Workspace) -> None:
    with state(applied) as store:
        store.runs.begin(
            command="apply", user="ada", host="laptop", pid=os.getpid(), plan_digest="d"
        )
        with store.lock(command="apply", on_takeover=print):
            assert history(applied, "3")["status"] == "running"
    assert history(applied, "3")["status"] == "killed"


def test_names_from_elsewhere_are_escaped_in_every_format(applied: Workspace) -> None:
    with state(applied) as store:
        store.runs.begin(command="a|b", user="\x1b[2Jada", host="`x`", pid=7, plan_digest="d")
    assert "\\x1b[2Jada@`x`" in applied.run("history", expect=0).out
    table = applied.run("history", "--format", "markdown", "--report", "h.txt:text", expect=0).out
    assert "| `` \\x1b[2Jada@`x` `` | `a\\|b` |" in table
    assert "\\x1b[2Jada" in (applied.folder / "h.txt").read_text(encoding="utf-8")


CI_JOB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_ACTOR": "octocat",
    "GITHUB_REPOSITORY": "acme/infra",
    "GITHUB_SHA": "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_RUN_ID": "1658821493",
}
CI_JOB_URL = "https://github.com/acme/infra/actions/runs/1658821493"


@pytest.fixture
def in_ci(workspace: Workspace) -> Workspace:
    """A stack whose first run was a CI job's."""
    workspace.variables.update(CI_JOB)
    workspace.write({"a.yaml": ASSISTANT}).apply(
        "--report", "r.json:json", "--report", "r.md:markdown"
    )
    return workspace


def test_a_run_says_from_which_ci_job_it_was_started(in_ci: Workspace) -> None:
    origin = history(in_ci, "1")["origin"]
    assert origin == {
        "user": history(in_ci, "1")["user"],
        "host": history(in_ci, "1")["host"],
        "ci": "GitHub Actions",
        "actor": "octocat",
        "repository": "acme/infra",
        "commit": CI_JOB["GITHUB_SHA"],
        "url": CI_JOB_URL,
    }


@pytest.mark.parametrize("arguments", [(), ("1",)], ids=["all", "one"])
@pytest.mark.parametrize("format", ["text", "markdown"])
def test_the_table_of_runs_names_the_actor_and_the_page_of_the_job(
    in_ci: Workspace, arguments: tuple[str, ...], format: str
) -> None:
    table = in_ci.run("history", *arguments, "--format", format, expect=0).out
    assert "octocat in acme/infra@1a2b3c4" in table
    assert CI_JOB_URL in table
    assert "CI job" in table.splitlines()[0]


def test_runs_of_people_have_no_column_for_ci_jobs(applied: Workspace) -> None:
    assert "CI job" not in applied.run("history", expect=0).out


def test_the_reports_of_an_apply_say_who_ran_it(in_ci: Workspace) -> None:
    report = json.loads((in_ci.folder / "r.json").read_text(encoding="utf-8"))
    assert report["reconciler"]["run"] == {"number": 1, "origin": history(in_ci, "1")["origin"]}
    comment = (in_ci.folder / "r.md").read_text(encoding="utf-8")
    assert f"Run 1, started by `octocat in acme/infra@1a2b3c4`: <{CI_JOB_URL}>" in comment


def test_a_held_lock_names_the_ci_job_that_holds_it(
    in_ci: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CI_JOB.items():
        monkeypatch.setenv(name, value)
    with state(in_ci) as store, store.lock(command="apply", on_takeover=print):
        refused = in_ci.run("apply", "--yes", "--report", "r.json:json", expect=12)
    words = f"another run holds the lock: octocat in acme/infra@1a2b3c4 ({CI_JOB_URL})"
    assert words in refused.err
    assert words in (in_ci.folder / "r.json").read_text(encoding="utf-8")


def test_an_origin_that_somebody_else_wrote_is_escaped(applied: Workspace) -> None:
    hostile = "\x1b[2J`x` | <b>"
    origin = RunOrigin(ci="Jenkins", actor=hostile, repository=hostile, commit="c", url=hostile)
    with state(applied) as store:
        store.runs.begin(command="apply", user="u", host="h", pid=7, plan_digest="d", origin=origin)
        holder = {
            "user": "u",
            "command": "apply",
            "since": 0.0,
            "process": {"host": "elsewhere", "pid": 7},
            "origin": to_builtins(origin),
        }
    with closing(raw(applied)) as connection:
        connection.execute("INSERT INTO lock VALUES (1, 'token', ?)", (json.dumps(holder),))
    assert "\\x1b[2J`x` | <b>" in applied.run("history", expect=0).out
    table = applied.run("history", "--format", "markdown", expect=0).out
    assert table.splitlines()[2].endswith("| ``\\x1b[2J`x` \\| <b>`` |")
    assert "\\x1b[2J`x` | <b> in" in applied.run("apply", "--yes", expect=12).err


@pytest.mark.parametrize("format", ["text", "markdown", "json"])
def test_hostile_variables_of_a_ci_job_do_nothing(workspace: Workspace, format: str) -> None:
    workspace.variables.update(
        CI_JOB,
        GITHUB_ACTOR="\x1b[2J\n# octo`cat` | <img src=x> @team",
        GITHUB_REPOSITORY="https://x-access-token:hunter2secret@github.com/acme/infra.git",
        GITHUB_SERVER_URL="https://user:hunter2secret@ci.acme.example",
    )
    report = f"r.{format}:{format}"
    workspace.write({"a.yaml": ASSISTANT}).apply("--report", report)
    shown = workspace.run("history", "--format", format, expect=0).out
    shown += (workspace.folder / f"r.{format}").read_text(encoding="utf-8")
    assert "hunter2secret" not in shown
    assert "\x1b" not in shown
    assert "\n# octo" not in shown
    with closing(raw(workspace)) as connection:
        assert "hunter2secret" not in "\n".join(connection.iterdump())


def test_an_unknown_run_says_which_there_are(applied: Workspace) -> None:
    assert "there is no run 9: this state has 1 to 2" in applied.run("history", "9", expect=1).err
