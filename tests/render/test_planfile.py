"""Saved plans survive a round trip, and damaged ones are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from reconciler.errors import StalePlanError, UsageError
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Plan, Reason
from reconciler.model.secret import Secret
from reconciler.render.planfile import PLAN_FORMAT, dump_plan, load_plan

from . import samples
from .strategies import plans

UNLIMITED = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def edited(**changes: Any) -> str:
    view = json.loads(dump_plan(samples.SMALL))
    view["reconciler"].update(changes)
    return json.dumps(view)


@pytest.mark.parametrize(
    "plan", [samples.FULL, samples.DRIFTED, samples.EMPTY], ids=["full", "drifted", "empty"]
)
def test_a_saved_plan_comes_back_as_it_was(plan: Plan) -> None:
    assert load_plan(dump_plan(plan)) == plan


@UNLIMITED
@given(plans())
def test_any_plan_comes_back_as_it_was(plan: Plan) -> None:
    text = dump_plan(plan)
    assert load_plan(text) == plan
    assert dump_plan(load_plan(text)) == text


def test_a_saved_plan_is_a_json_plan_for_other_tools() -> None:
    view = json.loads(dump_plan(samples.FULL, timestamp="2026-01-02T03:04:05Z"))
    assert view["format_version"] == "1.2"
    assert len(view["resource_changes"]) == len(samples.FULL.changes)
    assert view["timestamp"] == "2026-01-02T03:04:05Z"


def test_reasons_and_actions_come_back_as_members_of_their_sets() -> None:
    change = load_plan(dump_plan(samples.FULL)).changes[0]
    assert isinstance(change.action, Action)
    assert isinstance(change.reason, Reason)


def test_a_plan_of_a_newer_version_is_refused_as_stale() -> None:
    with pytest.raises(StalePlanError, match="newer version"):
        load_plan(edited(plan_format=PLAN_FORMAT + 1, plan={"whatever": 1}))


def test_a_plan_that_was_edited_is_refused() -> None:
    view = json.loads(dump_plan(samples.SMALL))
    view["reconciler"]["plan"]["changes"][0]["action"] = "delete"
    with pytest.raises(UsageError, match="changed after it was saved"):
        load_plan(json.dumps(view))


@pytest.mark.parametrize("part", ["resource_changes", "resource_drift", "output_changes"])
def test_a_plan_whose_part_for_readers_was_edited_is_refused(part: str) -> None:
    view = json.loads(dump_plan(samples.FULL))
    view[part] = []
    with pytest.raises(UsageError, match="changed after it was saved"):
        load_plan(json.dumps(view))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"reconciler": []}',
        '{"reconciler": {"plan": {}}}',
        "kind: Project",
        "[" * 100_000,
    ],
    ids=["nothing", "cut", "list", "null", "empty", "wrong", "half", "yaml", "deep"],
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a saved plan"):
        load_plan(text)


@pytest.mark.parametrize("packed", [[], {}, {"changes": 3}, {"changes": [{"address": "x"}]}])
def test_a_plan_that_makes_no_sense_is_refused(packed: Any) -> None:
    from reconciler.render.planfile import _checksum

    with pytest.raises(UsageError, match="damaged"):
        load_plan(edited(plan=packed, plan_sha256=_checksum(json.loads(edited(plan=packed)))))


def test_a_plan_that_holds_a_secret_is_not_saved() -> None:
    change = Change(
        Address("Agent", "a"), Action.CREATE, Reason.NEW, after={"key": Secret("sk-very-secret")}
    )
    with pytest.raises(TypeError):
        dump_plan(Plan("acme", "prod", (change,)))
