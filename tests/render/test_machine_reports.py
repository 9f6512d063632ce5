"""SARIF, JUnit and GitLab: what their hosts rely on."""

from __future__ import annotations

import json
import os
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from msgspec import structs

from reconciler import render
from reconciler.model.change import Plan
from reconciler.model.diagnostic import Diagnostic, SourceLocation
from reconciler.model.finding import CaseVerdict, Finding, FindingRule, Level
from reconciler.model.keys import KeyAction, KeyStep
from reconciler.model.policy import (
    PolicyOutcome,
    PolicyReport,
    PolicyResult,
    PolicySeverity,
    PolicySummary,
)
from reconciler.model.report import NO_CONTEXT, ReportContext
from reconciler.render.gitlab import GitLabTerraformRenderer
from reconciler.render.sarif import SarifRenderer

from . import samples
from .strategies import plans

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "reconciler-tests"
REFUSED = structs.replace(
    samples.FULL,
    diagnostics=(samples.WARNING, samples.ERROR),
    refusals=("ServiceAccount/support/indexer would be deleted; allow it with --allow-delete",),
)
POLICY = Finding(
    FindingRule("policy/budget", "Projects have a budget"),
    "Project search has no SpendLimit",
    Level.ERROR,
    CaseVerdict.FAILED,
    address=samples.PROJECT.address,
    location=samples.PROJECT.location,
)


def sarif(plan: Plan, context: ReportContext = NO_CONTEXT) -> dict[str, Any]:
    [run] = json.loads(SarifRenderer(context).plan(plan))["runs"]
    return dict(run)


def test_errors_come_before_warnings_and_ordinary_changes_are_no_results() -> None:
    results = sarif(REFUSED)["results"]
    assert [result["level"] for result in results] == ["error"] * 2 + ["warning"] * 6
    assert {result["ruleId"] for result in results} == {
        "error",
        "refused",
        "warning",
        "destructive",
    }


def test_a_fingerprint_outlives_a_document_that_moves_in_its_file() -> None:
    moved = structs.replace(samples.WARNING, location=SourceLocation("other.yaml", 99, 1))
    prints = [
        sarif(structs.replace(samples.EMPTY, diagnostics=(problem,)))["results"][0][
            "partialFingerprints"
        ]
        for problem in (samples.WARNING, moved)
    ]
    assert prints[0] == prints[1]


def test_two_problems_of_one_resource_have_two_fingerprints() -> None:
    other = structs.replace(samples.WARNING, detail="Another one.")
    results = sarif(structs.replace(samples.EMPTY, diagnostics=(samples.WARNING, other, other)))
    assert len({str(result["partialFingerprints"]) for result in results["results"]}) == 3


def test_rules_with_one_name_are_listed_once_in_the_same_order_in_every_run() -> None:
    titles = [f"Projects have a budget {number}" for number in range(20)]
    findings = [
        structs.replace(POLICY, rule=FindingRule(POLICY.rule.name, title), key=title)
        for title in titles
    ]
    runs = [
        sarif(samples.EMPTY, ReportContext(findings=tuple(order)))
        for order in (findings, findings[::-1])
    ]
    rules = [run["tool"]["driver"]["rules"] for run in runs]
    assert rules[0] == rules[1]
    assert [rule["id"] for rule in rules[0]] == ["policy/budget"]
    assert {result["ruleIndex"] for run in runs for result in run["results"]} == {0}


def test_a_path_is_a_uri_as_seen_from_the_root_of_the_repository() -> None:
    problem = Diagnostic("x", location=SourceLocation("a b/ü#?.yaml", 2, 3))
    run = sarif(
        structs.replace(samples.EMPTY, diagnostics=(problem,)), ReportContext(folder="infra/prod")
    )
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "infra/prod/a%20b/%C3%BC%23%3F.yaml"
    assert place["region"] == {"startLine": 2, "startColumn": 3}


def test_no_more_results_than_github_accepts() -> None:
    problems = tuple(Diagnostic(f"Problem {number}") for number in range(25_001))
    run = sarif(structs.replace(samples.EMPTY, diagnostics=problems))
    assert len(run["results"]) == 25_000
    [notice] = run["invocations"][0]["toolExecutionNotifications"]
    assert notice["message"]["text"].startswith("1 further result")


@pytest.mark.parametrize(
    "name", ["text", "json", "markdown", "html", "junit", "sarif", "gitlab", "github"]
)
def test_results_of_others_are_in_every_format(name: str) -> None:
    context = ReportContext(findings=(POLICY,))
    for text in (
        render.get(name, context).plan(samples.FULL),
        render.get(name, context).drift(samples.EMPTY, unmanaged=False),
        render.get(name, context).diagnostics([]),
    ):
        assert "Project search has no SpendLimit" in text


def test_junit_has_a_case_for_each_resource() -> None:
    [suite] = ET.fromstring(render.get("junit").plan(REFUSED))
    assert suite.get("tests") == str(len(REFUSED.changes) + 2)
    assert (suite.get("failures"), suite.get("errors")) == ("1", "1")


def test_drift_fails_the_case_of_its_resource() -> None:
    [suite] = ET.fromstring(render.get("junit").drift(samples.DRIFTED, unmanaged=False))
    failed = [
        case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None
    ]
    assert sorted(map(str, failed)) == ["guides", "old", "triage"]


@settings(max_examples=25, deadline=None)
@given(plans())
def test_junit_is_xml_whatever_a_plan_contains(plan: Plan) -> None:
    ET.fromstring(render.get("junit").plan(plan))


def test_code_quality_issues_have_what_gitlab_asks_for() -> None:
    issues = json.loads(render.get("gitlab").plan(REFUSED))
    assert len({issue["fingerprint"] for issue in issues}) == len(issues)
    for issue in issues:
        assert issue["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert issue["location"]["lines"]["begin"] >= 1
        assert not issue["location"]["path"].startswith(("/", "./"))
    assert json.loads(render.get("gitlab").plan(samples.EMPTY)) == []


def test_the_widget_of_plans_gets_three_counts() -> None:
    counts = json.loads(GitLabTerraformRenderer().plan(samples.FULL))
    assert counts == {"create": 5, "update": 3, "delete": 5}


@pytest.mark.slow
def test_sarif_passes_the_validator_of_its_authors(tmp_path: Path) -> None:
    validators = sorted(CACHE.glob("sarif-multitool/*/node_modules/**/Sarif.Multitool"))
    if not validators:
        pytest.skip("the SARIF validator is not installed: run `make servers`")
    reports = {
        "plan": SarifRenderer(ReportContext(findings=(POLICY,))).plan(REFUSED),
        "drift": SarifRenderer().drift(samples.DRIFTED, unmanaged=True),
        "result": SarifRenderer().result(samples.RESULT),
        "empty": SarifRenderer().plan(samples.EMPTY),
        "failure": SarifRenderer().failure(
            "plan", [samples.ERROR, Diagnostic("\x1b\u202e<b>\ud800")]
        ),
    }
    for name, text in reports.items():
        (tmp_path / f"{name}.sarif").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [validators[-1], "validate", *(f"{name}.sarif" for name in reports), "--rule-kind", "Sarif;Ghas"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"},
        check=False,
    )  # fmt: skip
    problems = [line for line in done.stdout.splitlines() if re_problem(line)]
    assert problems == []
    assert f"{len(reports)} files scanned" in done.stdout


def re_problem(line: str) -> bool:
    """Whether a line of the validator is a finding other than advice about a project page."""
    return (": error " in line or ": warning " in line) and "informationUri" not in line


def judged() -> Plan:
    """A plan that one policy refuses, and that another one passes."""
    result = PolicyResult(
        policy="budget",
        address=samples.PROJECT.address,
        outcome=PolicyOutcome.FAIL,
        severity=PolicySeverity.MANDATORY,
        message="Project search has no SpendLimit",
        location=samples.PROJECT.location,
    )
    report = PolicyReport(
        policies=(
            PolicySummary("budget", PolicySeverity.MANDATORY, counts={PolicyOutcome.FAIL: 1}),
            PolicySummary("naming", PolicySeverity.ADVISORY, counts={PolicyOutcome.PASS: 34}),
        ),
        results=(result,),
    )
    sentence = (
        'mandatory policy "budget" fails for Project/search: Project search has no SpendLimit.'
    )
    return structs.replace(samples.FULL, policies=report, refusals=(sentence,))


@pytest.mark.parametrize("name", ["html", "junit", "sarif", "gitlab", "github"])
def test_the_result_of_a_policy_is_in_every_format_once(name: str) -> None:
    text = render.get(name).plan(judged())
    assert text.count("Project search has no SpendLimit") == 1


def test_the_result_of_a_policy_is_an_error_at_its_resource() -> None:
    [result] = [each for each in sarif(judged())["results"] if each["level"] == "error"]
    assert result["ruleId"] == "policy/budget"
    assert result["partialFingerprints"]["reconciler/v1"] == "policy/budget/Project/search"
    assert (
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        == "manifests/projects.yaml"
    )


@pytest.mark.parametrize("name", ["html", "junit", "text", "markdown", "json"])
def test_the_rotation_of_a_key_is_in_every_format(name: str) -> None:
    step = KeyStep("key", KeyAction.ROTATE, "will be rotated: 93 days old", key_id="key_1")
    change = structs.replace(samples.LIMIT, keys=(step,))
    text = render.get(name).plan(Plan("acme", "prod", (change,)))
    assert "will be rotated: 93 days old" in text


@pytest.mark.parametrize("name", ["junit", "sarif", "gitlab", "github"])
def test_a_plan_reports_the_unmanaged_objects_that_it_was_asked_for(name: str) -> None:
    listed = samples.DRIFTED.unmanaged[0]
    plan = structs.replace(samples.EMPTY, unmanaged=(listed,))
    assert listed.id in render.get(name).plan(plan)
    assert listed.id not in render.get(name).plan(samples.EMPTY)
