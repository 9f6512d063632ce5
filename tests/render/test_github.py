"""What GitHub Actions reads: annotations, the step's summary and outputs, and text without commands."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.cli.github import harmless, without_commands
from reconciler.model.address import Address
from reconciler.model.change import Plan
from reconciler.model.diagnostic import Diagnostic, SourceLocation
from reconciler.render.github import GitHubRenderer, output_file, output_values

from . import samples
from .strategies import plans

HOSTILE = "x\n::set-output name=a::b\r\n::stop-commands::t,file=/etc/passwd%0A::error::y"
COMMAND = re.compile(r"::(error|warning|notice)( [a-z]+=[^,:\n]*(,[a-z]+=[^,:\n]*)*)?::[^\n]*")


def obeyed(text: str) -> list[str]:
    """The lines that the runner takes for commands, as its parser finds them."""
    stopped = ""
    commands = []
    for line in re.split(r"\r\n|\r|\n", text):
        command = line.lstrip()
        if stopped:
            if command == f"::{stopped}::":
                stopped = ""
            continue
        if command.startswith("::stop-commands::"):
            stopped = command.removeprefix("::stop-commands::")
        elif command.startswith("::") or "##[" in line:
            commands.append(line)
    return commands


def test_an_error_is_an_annotation_at_its_line() -> None:
    text = GitHubRenderer().diagnostics([samples.ERROR])
    assert text.startswith("::error title=Error (error-")
    assert "file=manifests/team.yaml,line=14,col=12::RateLimit/serach/x: Unknown project%0A" in text


def test_hostile_texts_cannot_begin_a_command_of_their_own() -> None:
    place = SourceLocation(HOSTILE, 1, 1)
    problem = Diagnostic(HOSTILE, HOSTILE, address=Address("Agent", "a"), location=place)
    lines = GitHubRenderer().diagnostics([problem]).splitlines()
    assert len(lines) == 1
    assert COMMAND.fullmatch(lines[0])
    # The runner ends the properties at the first colons, and each of them at a comma.
    properties = lines[0].removeprefix("::error ").partition("::")[0].split(",")
    assert [part.partition("=")[0] for part in properties] == ["title", "file", "line", "col"]
    assert "%3A%3Aset-output" in properties[1]


@settings(max_examples=25, deadline=None)
@given(plans())
def test_whatever_a_plan_contains_only_annotations_come_out(plan: Plan) -> None:
    for line in GitHubRenderer().plan(plan).splitlines():
        assert COMMAND.fullmatch(line)


def test_no_more_annotations_than_github_shows_and_the_last_counts_the_rest() -> None:
    problems = [Diagnostic(f"Problem {number}") for number in range(40)]
    lines = GitHubRenderer().diagnostics(problems).splitlines()
    assert len(lines) == 10
    assert lines[-1] == "::error::31 more errors; the step summary and the report have all"


@pytest.mark.parametrize("text", [HOSTILE, "  ::add-mask::x\n", "a ##[error]b", "ok\n"])
def test_text_in_a_log_has_no_command_that_the_runner_obeys(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert obeyed(without_commands(text)) == []
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert obeyed(harmless(text, "text")) == []
    assert obeyed(harmless(text, "markdown")) == []


def test_the_token_that_ends_a_protected_text_is_never_the_same() -> None:
    assert without_commands("a").splitlines()[0] != without_commands("a").splitlines()[0]


def test_elsewhere_text_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    assert harmless(HOSTILE, "text") == HOSTILE


def test_outputs_are_the_counts_and_the_digest_of_the_plan() -> None:
    values = output_values(samples.FULL, exit_code=2, plan_path="p.json")
    assert values["changes"] == "true"
    assert values["exitcode"] == "2"
    assert values["plan-path"] == "p.json"
    assert (values["create"], values["replace"], values["destructive"]) == ("3", "2", "4")
    assert re.fullmatch("[0-9a-f]{64}", values["digest"])
    assert output_values(None, exit_code=1, plan_path="")["changes"] == "false"


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_a_value_cannot_end_early_or_begin_another(value: str) -> None:
    text = output_file({"plan-path": value, "exitcode": "0"}, "delimiter_7f3a")
    assert text.count("\ndelimiter_7f3a\n") == 2
    assert text.startswith(f"plan-path<<delimiter_7f3a\n{value}\ndelimiter_7f3a\nexitcode<<")
