"""Claims about results of policies in reports: all are shown or counted, and no text of theirs acts."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from reconciler.model.address import Address
from reconciler.model.change import ApplyResult, Plan
from reconciler.model.diagnostic import SourceLocation
from reconciler.model.policy import (
    PolicyOutcome,
    PolicyReport,
    PolicyResult,
    PolicySeverity,
    PolicySummary,
)
from reconciler.render import get
from reconciler.render.escape import hides

HOSTILE = "\x1b[2J</td>]]>\x00@team #1 | <b>`x`\u202e\n& \"'"
PLACE = SourceLocation("m.yaml", 3, 1)


def result(
    outcome: PolicyOutcome,
    *,
    severity: PolicySeverity = PolicySeverity.ADVISORY,
    name: str = "search",
    **known: Any,
) -> PolicyResult:
    address = Address("Project", name)
    return PolicyResult("limits", address, outcome, severity, "because", PLACE, PLACE, **known)


def plan(*results: PolicyResult) -> Plan:
    counts: dict[PolicyOutcome, int] = {PolicyOutcome.PASS: 7}
    for each in results:
        counts[each.outcome] = counts.get(each.outcome, 0) + 1
    summary = PolicySummary("limits", PolicySeverity.ADVISORY, location=PLACE, counts=counts)
    return Plan("acme", "prod", (), policies=PolicyReport((summary,), results))


@pytest.mark.parametrize("name", ["text", "markdown"])
@pytest.mark.parametrize("outcome", [each for each in PolicyOutcome if each != "pass"])
def test_a_result_is_shown_with_its_place(name: str, outcome: PolicyOutcome) -> None:
    shown = get(name).plan(plan(result(outcome)))
    assert "Project/search" in shown
    assert "because" in shown
    assert "m.yaml:3:1" in shown


@pytest.mark.parametrize("name", ["text", "markdown"])
def test_passes_are_counted(name: str) -> None:
    assert "Policies: 1 policy, 7 passed." in get(name).plan(plan())


@pytest.mark.parametrize("name", ["text", "markdown"])
def test_a_plan_without_policies_does_not_mention_them(name: str) -> None:
    assert "olic" not in get(name).plan(Plan("acme", "prod", ()))


@pytest.mark.parametrize("name", ["text", "markdown"])
def test_many_results_of_one_policy_are_counted(name: str) -> None:
    many = [result(PolicyOutcome.FAIL, name=f"p{number:02}") for number in range(30)]
    shown = get(name).plan(plan(*many))
    assert "Project/p19" in shown
    assert "Project/p20" not in shown
    assert "and 10 more resources: limits fails (advisory)" in shown


@pytest.mark.parametrize("name", ["text", "markdown"])
def test_what_refuses_a_plan_is_left_to_its_refusals(name: str) -> None:
    refusing = result(PolicyOutcome.FAIL, severity=PolicySeverity.MANDATORY)
    renderer = get(name)
    assert "because" not in renderer.plan(plan(refusing))
    assert "because" in renderer.drift(plan(refusing), unmanaged=False)
    applied = ApplyResult(plan(), (), policies=plan(refusing).policies)
    assert "because" in renderer.result(applied)


def test_an_override_is_shown_with_its_reason() -> None:
    overridden = result(
        PolicyOutcome.FAIL, severity=PolicySeverity.OVERRIDABLE, override="agreed with finance"
    )
    for name in ("text", "markdown"):
        shown = get(name).plan(plan(overridden))
        assert "fails (overridable, overridden)" in shown
        assert "agreed with finance" in shown


def test_the_json_has_every_result_and_every_policy() -> None:
    many = [result(PolicyOutcome.FAIL, name=f"p{number:02}") for number in range(30)]
    view = json.loads(get("json").plan(plan(*many)))["reconciler"]["policies"]
    assert len(view["results"]) == 30
    assert view["counts"] == {"pass": 7, "fail": 30}
    assert view["refuses"] is False
    place = {"filename": "m.yaml", "start": {"line": 3, "column": 1}}
    assert view["results"][0]["range"] == view["results"][0]["policy_range"] == place
    assert view["policies"][0]["range"] == place


@pytest.mark.parametrize("name", ["text", "markdown"])
def test_no_text_of_a_policy_acts_where_it_is_read(name: str) -> None:
    hostile = PolicyResult(
        "limits",
        Address("ProjectKey", HOSTILE, HOSTILE),
        PolicyOutcome.FAIL,
        PolicySeverity.OVERRIDABLE,
        HOSTILE,
        SourceLocation(HOSTILE, 1, 1),
        override=HOSTILE,
    )
    shown = get(name).plan(plan(hostile))
    assert [sign for sign in shown if sign != "\n" and hides(sign)] == []
    if name == "markdown":
        # Within a code span nothing acts.
        prose = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", shown, flags=re.DOTALL)
        assert "<b>" not in prose
        assert "@team" not in prose
