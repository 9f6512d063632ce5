"""Conditions and status as values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.model.change import Action
from reconciler.model.fleet import StackResult, StackStatus
from reconciler.model.secret import Redactor, Secret
from reconciler.operator.approval import ApprovalVerdict
from reconciler.operator.conditions import REASONS, Judgement, conditions_of, judge
from reconciler.operator.crds import MAX_CHANGES
from reconciler.operator.resources import Mode
from reconciler.operator.status import (
    RunFacts,
    is_news,
    merge_patch,
    status_of,
    transitions,
)
from tests.operator.makers import a_change, a_plan, a_result, a_stack

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
IN_SYNC = Judgement("InSync")
CASES = [
    (Mode.OBSERVE, StackStatus.IN_SYNC, ApprovalVerdict.NOTHING, "InSync"),
    (Mode.OBSERVE, StackStatus.DRIFTED, ApprovalVerdict.NOT_PERMITTED, "Observed"),
    (Mode.PLAN, StackStatus.PENDING, ApprovalVerdict.NOT_PERMITTED, "Observed"),
    (Mode.APPROVE, StackStatus.PENDING, ApprovalVerdict.AWAITS, "AwaitingApproval"),
    (Mode.APPROVE, StackStatus.DRIFTED, ApprovalVerdict.OUTDATED, "ApprovalOutdated"),
    (Mode.APPLY, StackStatus.APPLIED, ApprovalVerdict.APPLY, "Applied"),
]


@pytest.mark.parametrize(("mode", "status", "verdict", "reason"), CASES)
def test_a_good_run_has_the_reason_of_its_mode(
    mode: Mode, status: StackStatus, verdict: ApprovalVerdict, reason: str
) -> None:
    assert judge(mode, a_result(status), verdict).reason == reason


@pytest.mark.parametrize("status", [StackStatus.FAILED, StackStatus.REFUSED, StackStatus.LOCKED])
def test_a_bad_run_has_the_reason_of_its_result(status: StackStatus) -> None:
    result = a_result(status, reason="KeyRefused", message="No.")
    assert judge(Mode.APPLY, result, ApprovalVerdict.NOTHING) == Judgement("KeyRefused", "No.")


def test_a_resource_with_an_error_is_not_in_sync_in_a_report_about_drift_either() -> None:
    blocked = a_change(action=Action.NO_OP, blocked="Another one has its name.")
    result = a_result(StackStatus.IN_SYNC, a_plan(blocked))
    judgement = judge(Mode.OBSERVE, result, ApprovalVerdict.NOTHING)
    assert judgement.reason == "ResourceBlocked"
    assert "Another one has its name." in judgement.message
    (synced,) = [c for c in _status(result=result)["conditions"] if c["type"] == "Synced"]
    assert synced["status"] == "False"


def test_a_run_that_could_not_tell_causes_no_event_about_drift() -> None:
    read = _status(result=a_result(StackStatus.IN_SYNC, a_plan()))
    unread = _status(Judgement("StateUnavailable", "…"), result=_failed(), before=read)
    assert [each.reason for each in transitions(read, unread)] == ["StateUnavailable"]
    assert [each.reason for each in transitions(unread, read)] == ["InSync"]


def test_an_unknown_reason_becomes_a_known_one() -> None:
    result = a_result(StackStatus.FAILED, reason="SomethingNew")
    assert judge(Mode.APPLY, result, ApprovalVerdict.NOTHING).reason == "Unexpected"


@pytest.mark.parametrize("reason", REASONS)
def test_ready_and_blocked_never_agree(reason: str) -> None:
    made = _by_type(conditions_of(Judgement(reason, "…"), drifted=0, pending=0, now=NOW))
    assert made["Ready"]["reason"] == reason
    assert "True" not in {made["Ready"]["status"]} & {made["Blocked"]["status"]}


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    first = conditions_of(Judgement("InSync"), drifted=0, pending=0, now=NOW)
    second = conditions_of(Judgement("Applied"), drifted=2, pending=0, previous=first, now=LATER)
    made = _by_type(second)
    assert made["Ready"]["lastTransitionTime"] == NOW
    assert made["Drifted"]["lastTransitionTime"] == LATER


def test_what_a_run_could_not_tell_is_unknown() -> None:
    made = _by_type(conditions_of(Judgement("ApiFailed"), drifted=None, pending=None, now=NOW))
    assert {made["Synced"]["status"], made["Drifted"]["status"]} == {"Unknown"}


def test_messages_are_redacted_escaped_and_bounded() -> None:
    redactor = Redactor([Secret("hunter2-hunter2")])
    message = "hunter2-hunter2 sk-abcdefghijklmnopqrst \x1b[31m " + "x" * 5000
    status = _status(Judgement("ApiFailed", message), clean=redactor)
    (text,) = {entry["message"] for entry in status["conditions"] if entry["type"] == "Ready"}
    assert "hunter2" not in text
    assert "sk-abcdefghijklmnopqrst" not in text
    assert "\x1b" not in text
    assert len(text) <= 1024


def test_a_long_plan_is_cut_and_what_destroys_comes_first() -> None:
    changes = [a_change(f"p{number:04}") for number in range(2000)]
    last = a_change("zz", Action.DELETE, destructive="its data")
    status = _status(result=a_result(StackStatus.PENDING, a_plan(*changes, last)))
    plan = status["plan"]
    assert plan["changes"][0]["address"] == "Project/zz"
    assert len(plan["changes"]) == MAX_CHANGES
    assert plan["omitted"] == 2001 - MAX_CHANGES
    assert plan["counts"] == {"create": 2000, "delete": 1}
    assert plan["destroys"] == 1
    assert len(json.dumps(status)) < 60_000


def test_drift_is_since_when_it_was_seen_first_and_ends_with_it() -> None:
    drifted = a_result(StackStatus.DRIFTED, a_plan(a_change(), drifted=2))
    first = _status(result=drifted, now=0)
    second = _status(result=drifted, before=first, now=1000)
    assert second["driftSince"] == first["driftSince"] == "1970-01-01T00:00:00Z"
    assert second["drifted"] == 2
    third = _status(result=a_result(StackStatus.IN_SYNC, a_plan()), before=second, now=2000)
    assert "driftSince" not in third


def test_a_run_that_failed_keeps_what_was_known_of_drift() -> None:
    drifted = a_result(StackStatus.DRIFTED, a_plan(a_change(), drifted=1))
    first = _status(result=drifted)
    second = _status(Judgement("StateUnavailable"), before=first, result=_failed())
    assert second["driftSince"] == first["driftSince"]
    assert second["plan"] == first["plan"]


def test_a_run_alone_is_no_news() -> None:
    result = a_result(StackStatus.IN_SYNC, a_plan())
    first = _status(result=result, now=0)
    second = _status(result=result, before=first, now=60)
    assert first["lastRun"] != second["lastRun"]
    assert not is_news(first, second)


def test_an_event_is_for_a_new_reason_only() -> None:
    waiting = _status(Judgement("AwaitingApproval", "…"))
    assert [each.reason for each in transitions({}, waiting)] == ["AwaitingApproval"]
    assert transitions(waiting, waiting) == []
    refused = _status(Judgement("GuardRefused", "…"), before=waiting)
    (event,) = transitions(waiting, refused)
    assert (event.reason, event.is_warning) == ("GuardRefused", True)
    good = _status(Judgement("InSync", "…"), before=refused)
    (event,) = transitions(refused, good)
    assert (event.reason, event.is_warning) == ("InSync", False)


def test_another_plan_that_waits_for_approval_is_an_event() -> None:
    first, second = (_status(Judgement("AwaitingApproval", plan)) for plan in ("first", "second"))
    (event,) = transitions(first, second)
    assert (event.reason, event.message) == ("AwaitingApproval", "second")


_JSON = st.recursive(
    st.integers() | st.text(max_size=3) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)
_OBJECTS = st.dictionaries(st.text(max_size=2), _JSON, max_size=4)


@given(_OBJECTS, _OBJECTS)
def test_a_merge_patch_turns_one_object_into_the_other(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert _merged(before, merge_patch(before, after)) == after


def test_every_reason_is_in_the_documentation_and_no_other() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operator.md").read_text(encoding="utf-8")
    table = text.partition("<!-- reasons -->")[2].partition("<!-- end of reasons -->")[0]
    documented = {line.split("`")[1]: line for line in table.splitlines() if line.startswith("| `")}
    assert documented.keys() == REASONS.keys()
    for name, reason in REASONS.items():
        assert reason.meaning in documented[name]
        assert ("| yes |" in documented[name]) == reason.is_blocked


def _failed() -> StackResult:
    return replace(a_result(StackStatus.FAILED), plan=None, digest="")


def _status(
    judgement: Judgement = IN_SYNC,
    *,
    result: StackResult | None = None,
    before: dict[str, Any] | None = None,
    clean: Any = lambda text: text,
    now: float = 0,
) -> dict[str, Any]:
    facts = RunFacts(judgement, result)
    return status_of(a_stack(mode="apply"), facts, before=before or {}, clean=clean, now=now)


def _by_type(conditions: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {condition["type"]: condition for condition in conditions}


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7386, as it is written there."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged
