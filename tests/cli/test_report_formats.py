"""Every outcome in every format: the exit code, and a report that its host can read."""

from __future__ import annotations

import json
import signal
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from typing import NamedTuple

import pytest

from reconciler.model.formats import REPORT_FORMATS
from reconciler.state import StateStore
from tests.cli.test_interrupts import AGES_MS, ended, start, until
from tests.cli.test_plan_and_apply import ASSISTANT
from tests.conftest import Finished, Workspace

BEFORE = "the report of an earlier run"
BROKEN = ASSISTANT.replace("model:", "modle:")
CHANGED = ASSISTANT.replace("gpt-4o", "gpt-4.1")
SECOND = ASSISTANT.replace("name: bot", "name: second")
PROTECTED = ASSISTANT + "lifecycle: {prevent_destroy: true}\n"
CHECK = """\
kind: Check
metadata: {name: answers}
spec: {request: {operation: models.list}, expect: {status: 204}}
"""
Prepare = Callable[[Workspace], object]


class Outcome(NamedTuple):
    """How a command ends: its words, the exit code, and what every problem format must say."""

    prepare: Prepare
    command: tuple[str, ...]
    code: int
    problem: str = ""


def rename_live(workspace: Workspace) -> None:
    store = workspace.emulator.store
    with store.lock:
        [record] = store.all("assistant")
        record.body["name"] = "Renamed"


def stale(workspace: Workspace) -> None:
    workspace.declare(CHANGED).run("plan", "--out", "p.json", expect=0)
    rename_live(workspace)


def in_part(workspace: Workspace) -> None:
    workspace.declare(CHANGED, SECOND)
    workspace.emulator.add_fault("on=POST:/assistants,do=error:400,times=0")


def protect(workspace: Workspace) -> None:
    workspace.declare(PROTECTED).apply()


OUTCOMES = {
    "nothing to do": Outcome(lambda w: None, ("plan",), 0),
    "changes": Outcome(lambda w: w.declare(CHANGED), ("plan",), 0),
    "changes, detailed": Outcome(lambda w: w.declare(CHANGED), ("plan", "--detailed-exitcode"), 2),
    "applied": Outcome(lambda w: w.declare(CHANGED), ("apply", "--yes"), 0),
    "applied in part": Outcome(in_part, ("apply", "--yes"), 13, "Assistant/second"),
    "stale plan": Outcome(stale, ("apply", "p.json"), 10, "Assistant/bot"),
    "not approved": Outcome(
        lambda w: w.declare(CHANGED), ("apply", "--approve", "0" * 64), 10, "was approved"
    ),
    "nobody to ask": Outcome(lambda w: w.declare(CHANGED), ("apply",), 1, "--yes"),
    "guard": Outcome(protect, ("destroy", "--yes"), 11, "prevent_destroy"),
    "destroyed": Outcome(lambda w: None, ("destroy", "--yes"), 0),
    "no drift": Outcome(lambda w: None, ("drift",), 0),
    "drift": Outcome(rename_live, ("drift",), 2, "Assistant/bot"),
    "rolled back": Outcome(lambda w: None, ("rollback", "1", "--yes"), 0),
    "no such run": Outcome(lambda w: None, ("rollback", "77", "--yes"), 1, "there is no run 77"),
    "bad manifest": Outcome(lambda w: w.declare(BROKEN), ("plan",), 1, "modle"),
    "invalid": Outcome(lambda w: w.declare(BROKEN), ("validate",), 1, "modle"),
    "valid": Outcome(lambda w: None, ("validate",), 0),
    "no credentials": Outcome(
        lambda w: w.variables.update(OPENAI_API_KEY=""), ("plan",), 1, "OPENAI_API_KEY"
    ),
    "refused by the server": Outcome(
        lambda w: w.emulator.add_fault("on=*:*,do=error:401,times=0"), ("drift",), 1, "(401)"
    ),
    "no server": Outcome(
        lambda w: w.variables.update(OPENAI_BASE_URL="http://127.0.0.1:9", RECONCILER_ANSWER_SECONDS="1"),
        ("plan", "--refresh", "full"), 1, "127.0.0.1",
    ),
    "failed check": Outcome(lambda w: w.declare(ASSISTANT, CHECK), ("check",), 1, "Check/answers"),
    "no such option": Outcome(lambda w: None, ("plan", "--nonsense"), 1, "--nonsense"),
}  # fmt: skip
SAMPLE = ("changes", "applied in part", "guard", "drift", "bad manifest", "failed check")
"""The outcomes that `make test` has time for; the slow test has all of them."""
PROBLEM_FORMATS = ("json", "html", "junit", "sarif", "gitlab", "github", "markdown")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def plain(name: str, text: str) -> str:
    """What a report says, read as its host reads it; fails if the host could not."""
    match name:
        case "json" | "sarif" | "gitlab" | "gitlab-terraform":
            return json.dumps(json.loads(text), ensure_ascii=False)
        case "junit":
            root = ET.fromstring(text)
            names = [
                f"{case.get('classname')}/{case.get('name')}" for case in root.iter("testcase")
            ]
            return " ".join([*root.itertext(), *names])
        case "html":
            reader = _Reader()
            reader.feed(text)
            return " ".join(reader.texts)
        case "markdown":
            return text.replace("\\", "").replace("`", "").replace("&#8203;", "")
    return text


def ready(workspace: Workspace, outcome: Outcome) -> None:
    workspace.declare(ASSISTANT).apply()
    outcome.prepare(workspace)
    workspace.write({f"r.{name}": BEFORE for name in REPORT_FORMATS})


def run(workspace: Workspace, outcome: Outcome, *more: str) -> Finished:
    reports = [part for name in REPORT_FORMATS for part in ("--report", f"r.{name}:{name}")]
    return workspace.run(*outcome.command, *reports, *more, expect=outcome.code)


def assert_reports(workspace: Workspace, outcome: Outcome) -> None:
    for name in REPORT_FORMATS:
        text = (workspace.folder / f"r.{name}").read_text(encoding="utf-8")
        assert BEFORE not in text, name
        shown = plain(name, text).replace("`", "")
        if outcome.problem and name in PROBLEM_FORMATS:
            assert outcome.problem in shown, name
    if outcome.code not in (0, 2):
        view = json.loads((workspace.folder / "r.json").read_text(encoding="utf-8"))
        assert view.get("applyable", False) is False


@pytest.mark.parametrize("name", SAMPLE)
def test_every_report_says_how_a_run_ended(workspace: Workspace, name: str) -> None:
    ready(workspace, OUTCOMES[name])
    run(workspace, OUTCOMES[name])
    assert_reports(workspace, OUTCOMES[name])


@pytest.mark.slow
@pytest.mark.parametrize("format", REPORT_FORMATS)
@pytest.mark.parametrize("name", OUTCOMES)
def test_the_exit_code_is_the_same_whatever_is_printed(
    workspace: Workspace, name: str, format: str
) -> None:
    ready(workspace, OUTCOMES[name])
    printed = run(workspace, OUTCOMES[name], "--format", format).out
    assert_reports(workspace, OUTCOMES[name])
    if printed and format not in ("github", "text"):
        plain(format, printed)


def test_findings_have_the_same_id_in_every_format(workspace: Workspace) -> None:
    ready(workspace, OUTCOMES["drift"])
    run(workspace, OUTCOMES["drift"])
    [drift] = json.loads((workspace.folder / "r.json").read_text())["resource_drift"]
    finding = drift["reconciler"]["finding"]
    for name in ("markdown", "html", "junit", "sarif", "github"):
        assert finding in (workspace.folder / f"r.{name}").read_text(encoding="utf-8"), name


def test_a_run_that_is_killed_leaves_no_report_of_an_earlier_one(workspace: Workspace) -> None:
    ready(workspace, OUTCOMES["changes"])
    workspace.emulator.add_fault("on=GET:*,do=hang:60000,times=0")
    process = start(workspace, "plan", "--report", "r.json:json")
    until(process, lambda: workspace.emulator.requests_in_flight > 0)
    process.kill()
    process.communicate()
    assert (workspace.folder / "r.json").read_text() == ""


@pytest.mark.slow
# A write in flight is waited for, so it must have an end.
@pytest.mark.parametrize(("during", "hang_ms"), [("GET:*", AGES_MS), ("POST:/assistants", 1_500)])
def test_an_interrupt_is_in_every_report(workspace: Workspace, during: str, hang_ms: int) -> None:
    outcome = Outcome(lambda w: w.declare(CHANGED, SECOND), ("apply", "--yes"), 130)
    ready(workspace, outcome)
    workspace.emulator.add_fault(f"on={during},do=hang:{hang_ms},times=0")
    reports = [part for name in REPORT_FORMATS for part in ("--report", f"r.{name}:{name}")]
    process = start(workspace, *outcome.command, "--parallelism", "1", *reports)
    until(process, lambda: workspace.emulator.requests_in_flight > 0)
    code, _, _ = ended(process, signal.SIGINT)
    assert code == 130
    assert_reports(workspace, outcome)


def test_a_held_lock_is_in_every_report(workspace: Workspace) -> None:
    outcome = Outcome(lambda w: w.declare(CHANGED), ("apply", "--yes"), 12, "running apply")
    ready(workspace, outcome)
    folder = workspace.folder / ".reconciler"
    with (
        StateStore.open(folder, stack="stack", environment="default") as store,
        store.lock(command="apply", on_takeover=print),
    ):
        run(workspace, outcome)
    assert_reports(workspace, outcome)


def test_a_format_that_a_command_does_not_have_is_refused(workspace: Workspace) -> None:
    done = workspace.run("--format", "sarif", "history", expect=1)
    assert "history has no format sarif" in done.err


def test_the_history_of_the_stack_is_on_its_page(workspace: Workspace) -> None:
    ready(workspace, OUTCOMES["drift"])
    run(workspace, OUTCOMES["drift"])
    assert "History" in plain("html", (workspace.folder / "r.html").read_text())
