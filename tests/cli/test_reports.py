"""A report file is always about the latest run, also if that run failed."""

from __future__ import annotations

import json
import signal
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from reconciler.cli.main import cli
from reconciler.errors import ReconcilerError
from reconciler.state import StateStore
from tests.cli.test_interrupts import AGES_MS, ended, start, until
from tests.cli.test_plan_and_apply import ASSISTANT
from tests.conftest import Workspace

REPORTS = ("--report", "r.md:markdown", "--report", "r.json:json", "--report", "r.txt:text")
NAMES = ("r.md", "r.json", "r.txt")
OF_A_GOOD_RUN = "the report of a good run"
BROKEN = ASSISTANT.replace("model:", "modle:")
CHECK = """\
kind: Check
metadata: {name: answers}
spec: {request: {operation: models.list}, expect: {status: 200}}
"""


@pytest.fixture
def reporting(workspace: Workspace) -> Workspace:
    """A stack that was applied, with the reports of a good run in its folder."""
    workspace.declare(ASSISTANT).apply()
    return workspace.write(dict.fromkeys(NAMES, OF_A_GOOD_RUN))


def reports(workspace: Workspace) -> list[str]:
    return [(workspace.folder / name).read_text(encoding="utf-8") for name in NAMES]


def as_json(workspace: Workspace) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((workspace.folder / "r.json").read_text(encoding="utf-8"))
    return found


def assert_all_say(workspace: Workspace, words: str) -> None:
    for text in reports(workspace):
        assert OF_A_GOOD_RUN not in text
        assert words in text.replace("`", "").replace("\\", "")


COMMANDS = [
    ("plan",),
    ("apply", "--yes"),
    ("destroy", "--yes"),
    ("drift",),
    ("check",),
    ("rollback", "1", "--yes"),
]
OF_MANIFESTS = COMMANDS[:-1]


@pytest.mark.parametrize("command", OF_MANIFESTS, ids=" ".join)
def test_a_mistake_in_a_manifest_is_in_every_report(
    reporting: Workspace, command: tuple[str, ...]
) -> None:
    reporting.declare(BROKEN).run(*command, *REPORTS, expect=1)
    assert_all_say(reporting, "modle")
    assert as_json(reporting)["applyable"] is False
    assert as_json(reporting)["errored"] is True


@pytest.mark.parametrize("command", [*COMMANDS[:4], COMMANDS[5]], ids=" ".join)
def test_a_server_that_cannot_be_reached_is_in_every_report(
    reporting: Workspace, command: tuple[str, ...]
) -> None:
    reporting.variables = {"RECONCILER_ANSWER_SECONDS": "1"}
    reporting.emulator.add_fault("on=*:*,do=error:401,times=0")
    reporting.run(*command, *REPORTS, expect=1)
    assert_all_say(reporting, "was refused (401)")


def commands_with_reports(
    command: click.Command, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(command)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands_with_reports(below, (*words, name))
    elif any("--report" in parameter.opts for parameter in command.params):
        yield words, command


def is_read(parameter: click.Parameter, context: click.Context) -> bool:
    """Whether click accepts "soon" as the value of a parameter."""
    value: Any = "soon"
    if parameter.multiple or parameter.nargs != 1:
        value = ("soon",)
    try:
        parameter.process_value(context, value)
    except (click.ClickException, ReconcilerError):
        return False
    return True


def mistakes() -> dict[str, tuple[str, ...]]:
    """A command line for each option and argument that cannot be "soon", in one of its commands."""
    lines: dict[str, tuple[str, ...]] = {}
    for words, command in commands_with_reports(cli):
        context = click.Context(command)
        for parameter in command.params:
            takes_value = isinstance(parameter, click.Argument) or not (
                isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count)
            )
            if not takes_value or is_read(parameter, context):
                continue
            name = parameter.opts[0]
            if isinstance(parameter, click.Argument):
                lines.setdefault(f"{words} {name}", (*words, "soon"))
            else:
                lines.setdefault(name, (*words, name, "soon"))
    return lines


def test_a_value_that_cannot_be_read_replaces_the_reports_that_are_given_after_it(
    workspace: Workspace,
) -> None:
    lines = mistakes()
    stale = []
    for words in lines.values():
        workspace.write(dict.fromkeys(NAMES, OF_A_GOOD_RUN))
        workspace.run(*words, *REPORTS, expect=1)
        if OF_A_GOOD_RUN in reports(workspace) or not as_json(workspace)["errored"]:
            stale.append(" ".join(words))
    assert stale == []
    # Each way to refuse a value: a type, a choice, and the functions of single options.
    assert {"--parallelism", "--refresh", "--lock-wait", "--approve"} <= lines.keys()
    assert ("rollback", "soon") in lines.values()


def test_a_missing_key_is_in_every_report(reporting: Workspace) -> None:
    reporting.variables = {"OPENAI_API_KEY": ""}
    reporting.run("plan", *REPORTS, expect=1)
    assert_all_say(reporting, "OPENAI_API_KEY")


@pytest.mark.parametrize(
    "command", [("apply", "--yes"), ("destroy", "--yes"), ("rollback", "1", "--yes")], ids=" ".join
)
def test_a_lock_that_is_held_is_in_every_report(
    reporting: Workspace, command: tuple[str, ...]
) -> None:
    folder = reporting.folder / ".reconciler"
    with (
        StateStore.open(folder, stack="stack", environment="default") as store,
        store.lock(command="apply", on_takeover=print),
    ):
        reporting.run(*command, *REPORTS, expect=12)
    assert_all_say(reporting, "running apply")


PROTECTED = ASSISTANT + "lifecycle: {prevent_destroy: true}\n"


@pytest.fixture
def guarded(reporting: Workspace) -> Workspace:
    """The same stack with its object protected."""
    reporting.declare(PROTECTED).apply()
    return reporting


@pytest.mark.parametrize(
    "command",
    [("plan", "--destroy"), ("plan", "--destroy", "--detailed-exitcode"), ("destroy", "--yes")],
    ids=" ".join,
)
def test_a_refusal_is_in_every_report_with_the_plan(
    guarded: Workspace, command: tuple[str, ...]
) -> None:
    guarded.run(*command, *REPORTS, expect=11)
    assert_all_say(guarded, "is protected by lifecycle.prevent_destroy")
    found = as_json(guarded)
    assert found["applyable"] is False
    assert len(found["reconciler"]["refusals"]) == 1
    assert found["resource_changes"][0]["change"]["actions"] == ["delete"]


@pytest.mark.parametrize("command", [("plan", "--destroy"), ("destroy", "--yes")], ids=" ".join)
def test_a_refusal_is_on_standard_output_for_programs(
    guarded: Workspace, command: tuple[str, ...]
) -> None:
    found = json.loads(guarded.run(*command, "--format", "json", expect=11).out)
    assert (found["applyable"], len(found["reconciler"]["refusals"])) == (False, 1)
    markdown = guarded.run(*command, "--format", "markdown", expect=11).out
    assert markdown.count("**refused**") == 1
    assert "refused, 1 to delete" in markdown.splitlines()[0]


def test_a_refusal_is_shown_once_in_text(guarded: Workspace) -> None:
    done = guarded.run("plan", "--destroy", expect=11)
    assert (done.out + done.err).count("Refused:") == 1


def test_a_stale_plan_is_in_every_report(reporting: Workspace) -> None:
    reporting.declare(ASSISTANT.replace("gpt-4o", "gpt-4.1")).run(
        "plan", "--out", "p.json", expect=0
    )
    reporting.apply()
    reporting.run("apply", "p.json", *REPORTS, expect=10)
    assert_all_say(reporting, "the state has moved on since the plan was made")
    assert as_json(reporting)["applyable"] is False


def test_objects_that_moved_are_in_every_report(reporting: Workspace) -> None:
    reporting.declare(ASSISTANT.replace("gpt-4o", "gpt-4.1")).run(
        "plan", "--out", "p.json", expect=0
    )
    store = reporting.emulator.store
    with store.lock:
        [record] = store.all("assistant")
        record.body["name"] = "Renamed"
    reporting.run("apply", "p.json", *REPORTS, expect=10)
    assert as_json(reporting)["complete"] is False
    assert_all_say(reporting, "Renamed")


def test_an_apply_that_nobody_approves_is_in_every_report(reporting: Workspace) -> None:
    reporting.declare(ASSISTANT.replace("gpt-4o", "gpt-4.1")).run("apply", *REPORTS, expect=1)
    assert_all_say(reporting, "--yes")
    assert_all_say(reporting, "gpt-4.1")


def test_an_apply_in_part_is_in_every_report(reporting: Workspace) -> None:
    second = ASSISTANT.replace("name: bot", "name: second")
    reporting.declare(ASSISTANT.replace("gpt-4o", "gpt-4.1"), second)
    reporting.emulator.add_fault("on=POST:/assistants,do=error:400,times=0")
    reporting.run("apply", "--yes", *REPORTS, expect=13)
    assert as_json(reporting)["complete"] is False
    assert_all_say(reporting, "Assistant/second")


def test_an_interrupted_plan_is_in_every_report(reporting: Workspace) -> None:
    reporting.emulator.add_fault(f"on=GET:*,do=hang:{AGES_MS},times=0")
    process = start(reporting, "plan", *REPORTS)
    until(process, lambda: reporting.emulator.requests_in_flight > 0)
    code, _, _ = ended(process, signal.SIGTERM)
    assert code == 130
    assert_all_say(reporting, "Interrupted")


@pytest.mark.parametrize("name", ["json", "markdown"])
def test_a_failure_is_on_standard_output_for_programs(reporting: Workspace, name: str) -> None:
    reporting.emulator.add_fault("on=*:*,do=error:401,times=0")
    done = reporting.run("plan", "--format", name, expect=1)
    assert "was refused (401)" in done.out
    assert "was refused (401)" in done.err


@pytest.mark.parametrize("name", ["json", "markdown"])
def test_a_mistake_in_a_manifest_is_printed_once_for_programs(
    reporting: Workspace, name: str
) -> None:
    done = reporting.declare(BROKEN).run("plan", "--format", name, expect=1)
    assert done.err == ""
    if name == "json":
        assert json.loads(done.out)["error_count"] > 0
    else:
        assert done.out.count("Did you mean") == 1


def test_a_failed_check_run_is_a_junit_file_with_an_error(reporting: Workspace) -> None:
    reporting.declare(BROKEN).run("check", "--report", "r.xml:junit", expect=1)
    [suite] = ET.parse(reporting.folder / "r.xml").getroot()
    assert int(suite.get("errors") or 0) > 0
    assert any("modle" in (error.text or "") for error in suite.iter("error"))


@pytest.mark.parametrize("command", [("costs",), ("usage",)], ids=" ".join)
def test_a_table_that_could_not_be_made_is_no_table_of_an_earlier_run(
    reporting: Workspace, command: tuple[str, ...]
) -> None:
    reporting.write({"r.csv": OF_A_GOOD_RUN})
    reporting.emulator.add_fault("on=*:*,do=error:401,times=0")
    reporting.run(*command, "--report", "r.csv:csv", expect=1)
    lines = (reporting.folder / "r.csv").read_text().splitlines()
    assert lines[0] == "error"
    assert "was refused (401)" in lines[1]


def test_outputs_that_could_not_be_read_set_no_variable(reporting: Workspace) -> None:
    reporting.write({"r.env": "BOT=asst_1\n"})
    reporting.run("output", "nothing", "--report", "r.env:env", expect=1)
    assert all(
        line.startswith("#") for line in (reporting.folder / "r.env").read_text().splitlines()
    )


def test_a_report_of_outputs_is_written(reporting: Workspace) -> None:
    reporting.run("output", *REPORTS, expect=0)
    assert OF_A_GOOD_RUN not in reports(reporting)


def test_a_report_of_a_validation_is_written(reporting: Workspace) -> None:
    reporting.run("validate", *REPORTS, expect=0)
    assert as_json(reporting)["valid"] is True
    reporting.declare(BROKEN).run("validate", *REPORTS, expect=1)
    assert as_json(reporting)["valid"] is False
    assert_all_say(reporting, "modle")


def test_a_report_that_cannot_be_written_does_not_hide_the_outcome(workspace: Workspace) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no device that is always full")
    done = workspace.declare(ASSISTANT).run("apply", "--yes", "--report", f"{full}:json", expect=1)
    assert "1 created" in done.out
    assert 'the report "/dev/full" cannot be written' in done.err


def test_keys_are_in_no_report_of_a_failure(reporting: Workspace) -> None:
    reporting.emulator.add_fault("on=*:*,do=error:401,times=0")
    reporting.run("plan", *REPORTS, expect=1)
    for text in reports(reporting):
        assert reporting.emulator.api_key not in text.split()
