"""Claims about reports of fleets: one page, worst first, in every format, without secrets."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from reconciler.fleet.summary import exit_code_of_fleet, fleet_report
from reconciler.model.diagnostic import Diagnostic, Severity, SourceLocation
from reconciler.model.fleet import (
    DriftNote,
    FailureNote,
    FleetReport,
    LossNote,
    StackId,
    StackReport,
    StackStatus,
)
from reconciler.model.formats import REPORT_FORMATS
from reconciler.render import get
from reconciler.render.markdown import MarkdownRenderer
from reconciler.render.sections import COMMENT_LIMIT
from tests.fleet.conftest import Fleet, stack

STATUSES = [*StackStatus]


def entry(name: str, status: StackStatus, **fields: Any) -> StackReport:
    code = {StackStatus.FAILED: 1, StackStatus.REFUSED: 11, StackStatus.DRIFTED: 2}.get(status, 0)
    return StackReport(StackId(name, "prod", name), "drift", status, code, **fields)


def report_of(*stacks: StackReport) -> FleetReport:
    return fleet_report("drift", stacks, seconds=1.5)


def large() -> FleetReport:
    """500 stacks: 470 in sync, 20 drifted, 6 that would destroy something, 4 failed."""
    stacks = [entry(f"team-{number:03}", StackStatus.IN_SYNC) for number in range(470)]
    notes = tuple(DriftNote(f"Group/g{number}", ("name",)) for number in range(20))
    loss = LossNote("VectorStore/a", "delete", "its 12 files")
    drifted = {"drifted": 40, "drift": notes}
    lossy = {"destructive": 1, "losses": (loss,)}
    failed = {"message": "The key was refused."}
    stacks += [entry(f"drifted-{n:02}", StackStatus.DRIFTED, **drifted) for n in range(20)]
    stacks += [entry(f"lossy-{n}", StackStatus.PENDING, **lossy) for n in range(6)]
    stacks += [entry(f"failed-{n}", StackStatus.FAILED, **failed) for n in range(4)]
    return report_of(*stacks)


@pytest.mark.parametrize("format", ["text", "markdown"])
def test_stacks_in_sync_are_a_count(format: str) -> None:
    text = get(format).fleet(large())
    assert "team-" not in text
    assert "470 in sync" in text


def test_the_worst_come_first() -> None:
    shuffled = [entry(f"s{number}", status) for number, status in enumerate(reversed(STATUSES))]
    assert [each.status for each in report_of(*shuffled).stacks] == STATUSES


def test_of_two_alike_what_destroys_more_comes_first() -> None:
    mild = entry("a", StackStatus.PENDING, destructive=1)
    grave = entry("b", StackStatus.PENDING, destructive=2)
    assert report_of(mild, grave).stacks == (grave, mild)


def test_text_of_500_stacks_fits_a_few_screens() -> None:
    assert get("text").fleet(large()).count("\n") < 250


def test_a_comment_about_5000_failed_stacks_fits_and_says_what_is_missing() -> None:
    stacks = [entry(f"s{n}", StackStatus.FAILED, message="x" * 200) for n in range(5000)]
    text = get("markdown").fleet(report_of(*stacks))
    assert len(text) <= COMMENT_LIMIT
    assert "reconciler fleet drift --full" in text


def test_markdown_shows_failures_in_full_before_anything_is_cut() -> None:
    text = MarkdownRenderer(limit=6_000).fleet(large())
    for number in range(4):
        assert f"failed-{number}@prod" in text


def test_what_a_plan_destroys_is_said_in_every_format_for_people() -> None:
    for format in ("text", "markdown", "html"):
        assert "delete destroys: its 12 files" in get(format).fleet(large())


def test_numbers_count_what_the_lists_leave_out() -> None:
    text = get("text").fleet(large())
    assert "40 objects changed outside" in text
    assert "… and 35 more drifted objects" in text


def test_json_has_every_stack_and_its_shape_is_the_documented_one() -> None:
    report = json.loads(get("json").fleet(large()))
    assert report["format_version"] == "1.0"
    assert len(report["stacks"]) == 500
    page = Path(__file__).parents[2] / "docs" / "fleets.md"
    documented = set(re.findall(r"`(\w+)`", page.read_text(encoding="utf-8")))
    keys = {*report, *report["stacks"][0]} - {"findings", "command", "unmanaged"}
    assert keys <= documented


def test_junit_has_a_test_case_for_each_stack() -> None:
    suites = ElementTree.fromstring(get("junit").fleet(large()))
    assert (suites.get("tests"), suites.get("errors"), suites.get("failures")) == ("500", "4", "20")


def test_sarif_places_a_stack_at_its_file() -> None:
    report = report_of(entry("a", StackStatus.FAILED, file="stacks/a/reconciler.yaml"))
    [result] = json.loads(get("sarif").fleet(report))["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert (result["ruleId"], place) == ("stack-failed", "stacks/a/reconciler.yaml")


def test_the_page_finds_stacks_by_environment_and_organization() -> None:
    stacks = [
        entry("a", StackStatus.FAILED, organization="org-a"),
        entry("b", StackStatus.DRIFTED, organization="org-b"),
    ]
    page = get("html").fleet(report_of(*stacks))
    assert page.count("<article") == 2
    assert "<option>org-a</option><option>org-b</option>" in page
    assert 'data-project="prod" data-kind="org-b"' in page


HOSTILE = "x\x1b[31m<b>|`@everyone\u202e\n::error::y"


@pytest.mark.parametrize("format", REPORT_FORMATS)
def test_text_from_outside_acts_in_no_format(format: str) -> None:
    report = report_of(
        entry(
            HOSTILE,
            StackStatus.FAILED,
            message=HOSTILE,
            failed=1,
            failures=(FailureNote(HOSTILE, HOSTILE),),
            drifted=1,
            drift=(DriftNote(HOSTILE, (HOSTILE,), blame=HOSTILE),),
            next_command=HOSTILE,
        )
    )
    text = get(format).fleet(report)
    for sign in ("\x1b", "\u202e"):
        assert sign not in text
    if format in ("html", "markdown", "junit"):
        assert "<b>" not in text.replace("`", "") or format == "markdown"
    assert not any(line.startswith("::error::y") for line in text.splitlines())


@pytest.mark.parametrize(
    ("codes", "applied", "code"),
    [
        ([], 0, 0),
        ([0, 2], 0, 2),
        ([2, 11], 0, 11),
        ([11, 12, 2], 0, 11),
        ([12, 2], 0, 12),
        ([10, 11], 0, 10),
        ([11, 1], 0, 1),
        ([1, 0], 1, 13),
        ([13, 1], 0, 13),
        ([11, 0], 1, 11),
        ([130, 1, 13], 1, 130),
    ],
)
def test_the_exit_code_is_that_of_the_worst_stack(
    codes: list[int], applied: int, code: int
) -> None:
    stacks = [
        StackReport(
            StackId(str(at), "prod"),
            "apply",
            StackStatus.APPLIED,
            each,
            outcomes={"applied": applied} if each == 0 else {},
        )
        for at, each in enumerate(codes)
    ]
    assert exit_code_of_fleet(stacks) == code


# --- through the command line


def test_a_run_that_fails_replaces_the_report_of_the_last_one(fleet: Fleet) -> None:
    fleet.fleet("plan", "--report", "r.md:markdown", expect=0)
    fleet.fleet("plan", "--stacks", "nothing", "--report", "r.md:markdown", expect=1)
    text = (fleet.folder / "r.md").read_text()
    assert "failed" in text
    assert "stacks/a" not in text


def test_a_report_is_written_in_every_format_whatever_the_outcome(fleet: Fleet) -> None:
    fleet.add("stacks/a", manifest="kind: Nonsense\n")
    words = [word for name in REPORT_FORMATS for word in ("--report", f"r.{name}:{name}")]
    fleet.fleet("apply", "--yes", *words, expect=13)
    for name in REPORT_FORMATS:
        text = (fleet.folder / f"r.{name}").read_text()
        assert "stacks/a" in text or name == "gitlab-terraform"


def test_an_error_names_its_file_as_seen_from_the_folder_of_the_run(fleet: Fleet) -> None:
    fleet.add("stacks/a", manifest="kind: Nonsense\n")
    report = fleet.report("plan", expect=1)
    assert report["stacks"][0]["diagnostics"][0]["file"] == "stacks/a/m.yaml"


def test_the_next_command_works_from_the_folder_of_the_run(fleet: Fleet) -> None:
    fleet.add("c", spec="  environments: {prod: {}}\n")
    report = fleet.report("plan", "-C", ".", "--stacks", "c", expect=0)
    words = report["stacks"][0]["next"].split()
    assert words == ["reconciler", "-C", "c", "-e", "prod", "plan"]
    fleet.run(*words[1:], expect=0)


def test_a_secret_of_one_stack_is_in_no_report_of_another(fleet: Fleet) -> None:
    secret = "hush-hush-very-hidden"
    fleet.variables |= {"FIRST": secret, "RECONCILER_ALLOW_ENV": "FIRST"}
    fleet.add("stacks/a", spec="  credentials: {admin: '${env.FIRST}'}\n")
    # The second stack does not know that this is a key.
    fleet.add("stacks/b", manifest=f"kind: {secret}\nmetadata: {{name: x}}\nspec: {{}}\n")
    done = fleet.fleet("plan", "--format", "json", "--report", "r.html:html", "-v", expect=1)
    assert "There is no kind" in done.out
    for text in (done.out, done.err, (fleet.folder / "r.html").read_text()):
        assert secret not in text


def test_a_step_of_github_reads_the_sums_of_all_stacks(fleet: Fleet, tmp_path: Path) -> None:
    outputs, summary = tmp_path / "outputs", tmp_path / "summary"
    fleet.variables |= {
        "GITHUB_ACTIONS": "true",
        "GITHUB_OUTPUT": str(outputs),
        "GITHUB_STEP_SUMMARY": str(summary),
    }
    fleet.fleet("plan", "--format", "github", expect=0)
    values = dict(re.findall(r"^([\w-]+)<<\S+\n(.*)\n", outputs.read_text(), re.MULTILINE))
    assert (values["create"], values["changes"]) == ("2", "true")
    assert len(values["digest"]) == 64
    assert "2 pending" in summary.read_text()


def test_who_changed_an_object_is_named_with_blame(fleet: Fleet) -> None:
    fleet.fleet("apply", "--yes", expect=0)
    fleet.rename_group("a", "other")
    report = fleet.report("drift", "--blame", expect=2)
    assert report["stacks"][0]["drift"][0]["blame"]


def test_a_fleet_of_no_stacks_in_a_shard_is_a_report(fleet: Fleet) -> None:
    assert fleet.fleet("plan", "--shard", "3/3", expect=0).out.startswith("0 stacks.")


def test_a_stack_with_its_file_in_another_spelling_is_placed_there(fleet: Fleet) -> None:
    fleet.write({"c/reconciler.yml": stack("c"), "c/m.yaml": "kind: Nonsense\n"})
    done = fleet.fleet("plan", "--stacks", "c", "--format", "sarif", expect=1)
    assert '"uri": "c/reconciler.yml"' in done.out


def test_a_problem_has_the_same_rule_in_a_report_of_a_fleet_as_in_one_of_a_stack() -> None:
    place = SourceLocation("team/m.yaml", 3, 1)
    problems = (
        Diagnostic("No kind has this name", location=place),
        Diagnostic("The field is deprecated", severity=Severity.WARNING, location=place),
    )
    broken = entry("team", StackStatus.FAILED, diagnostics=problems)
    rules = [
        {rule["id"]: rule for rule in json.loads(text)["runs"][0]["tool"]["driver"]["rules"]}
        for text in (get("sarif").fleet(report_of(broken)), get("sarif").diagnostics(problems))
    ]
    assert rules[0].pop("stack-failed")
    assert rules[0] == rules[1]


def test_a_warning_about_a_stack_is_no_test_case() -> None:
    warning = Diagnostic(
        "The field is deprecated",
        severity=Severity.WARNING,
        location=SourceLocation("team/m.yaml", 3, 1),
    )
    text = get("junit").fleet(report_of(entry("team", StackStatus.IN_SYNC, diagnostics=(warning,))))
    [suite] = ElementTree.fromstring(text)
    assert [case.get("name") for case in suite.iter("testcase")] == ["team@prod"]
    assert "The field is deprecated" in "".join(suite.itertext())
