"""Answers without a field, or with one of another type: they destroy and create nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.emulator.world import DEFAULT_PROJECT
from tests.cli.relay import Rewrite, relayed
from tests.conftest import Workspace

KEY = """\
kind: AdminKey
metadata: {name: nightly}
spec: {name: nightly, key: {write_to: {file: secrets/nightly.key}}}
"""
ALERT = """\
kind: SpendAlert
metadata: {name: all}
spec: {threshold_amount: 100, notification_channel: {type: email, recipients: [ada@example.com]}}
"""
BOT = """\
kind: Assistant
metadata: {name: bot}
spec: {name: Bot, model: gpt-4.1, temperature: 0.5, tools: [{type: code_interpreter}]}
"""
STACK = f"""\
kind: Stack
metadata: {{name: acme}}
spec: {{projects: {{legacy: {DEFAULT_PROJECT}}}}}
"""
ACCOUNT = """\
kind: ServiceAccount
metadata: {name: indexer, project: legacy}
spec: {name: indexer}
---
kind: ServiceAccountKey
metadata: {name: k, project: legacy}
spec: {service_account_id: "${ServiceAccount/legacy/indexer}", key: {write_to: {file: secrets/k.key}}}
"""


def without(part: str, field: str) -> Rewrite:
    """Leave a field out of every object of the paths that have a part."""

    def rewrite(path: str, item: dict[str, Any]) -> None:
        if part in path:
            item.pop(field, None)

    return rewrite


def count(workspace: Workspace, sort: str) -> int:
    return workspace.emulator.store.counts()[sort]


@pytest.fixture
def drop(workspace: Workspace) -> Iterator[dict[str, str]]:
    """A relay before the emulator that leaves fields out: each, by the part of a path, from then on."""
    fields: dict[str, str] = {}

    def rewrite(path: str, item: dict[str, Any]) -> None:
        for part, field in fields.items():
            without(part, field)(path, item)

    with relayed(workspace, rewrite):
        yield fields


def test_a_key_whose_name_is_missing_is_not_replaced_and_one_warning_says_so(
    workspace: Workspace, drop: dict[str, str]
) -> None:
    workspace.declare(KEY, KEY.replace("nightly", "weekly")).apply()
    drop["/admin_api_keys"] = "name"
    shown = workspace.plan("--refresh", "full")
    assert shown.code == 0
    assert shown.out.count('The API did not show "name" of AdminKey') == 1
    assert "AdminKey/nightly and 1 more" in shown.out


def test_a_field_that_is_missing_is_compared_with_what_was_applied_last(
    workspace: Workspace, drop: dict[str, str]
) -> None:
    workspace.declare(BOT).apply()
    drop["/assistants"] = "temperature"
    assert workspace.plan().code == 0
    workspace.declare(BOT.replace("0.5", "0.7"))
    assert "temperature: 0.5 → 0.7" in workspace.run("plan", expect=0).out
    workspace.apply()
    assert workspace.plan().code == 0


def test_a_setting_that_is_written_whole_keeps_what_an_answer_lacks(
    workspace: Workspace, drop: dict[str, str]
) -> None:
    workspace.declare(ALERT).apply()
    drop["/spend_alerts"] = "notification_channel"
    workspace.declare(ALERT.replace("100", "200")).apply()
    drop.clear()
    assert workspace.plan("--refresh", "full").code == 0


def test_a_key_that_lacks_its_owner_is_an_error_and_not_a_second_key(
    workspace: Workspace, drop: dict[str, str]
) -> None:
    workspace.write({"reconciler.yaml": STACK}).declare(ACCOUNT).apply()
    before = workspace.emulator.store.counts()
    drop["/api_keys"] = "owner"
    refused = workspace.run("apply", "--yes", "--refresh", "full", expect=1)
    assert "the answer lacks the fields that tell it from other objects of the list" in refused.err
    assert workspace.emulator.store.counts() == before


def test_nothing_is_made_beside_objects_whose_names_are_missing(
    workspace: Workspace, drop: dict[str, str]
) -> None:
    workspace.declare(KEY).apply()
    workspace.run("state", "rm", "AdminKey/nightly", expect=0)
    before = count(workspace, "admin_key")
    drop["/admin_api_keys"] = "name"
    refused = workspace.run("apply", "--yes", expect=1)
    assert "An object like this may exist already" in refused.err
    assert count(workspace, "admin_key") == before


WRONG = [
    ("model", ["gpt-4.1"], "model is a list, not text"),
    ("temperature", "0.5", "temperature is text, not a number"),
    ("tools", {"type": "code_interpreter"}, "tools is an object, not a list"),
    ("tools", ["code_interpreter"], "tools[0] is text, not an object"),
    ("name", 7, "name is a number, not text"),
]


@pytest.mark.parametrize(("field", "value", "said"), WRONG)
def test_a_value_of_the_wrong_type_is_an_error_and_no_plan(
    workspace: Workspace, field: str, value: Any, said: str
) -> None:
    broken: dict[str, Any] = {}
    with relayed(
        workspace, lambda path, item: item.update(broken if "/assistants" in path else {})
    ):
        workspace.declare(BOT).apply()
        broken[field] = value
        for command in (("plan",), ("apply", "--yes")):
            refused = workspace.run(*command, expect=1)
            assert re.search(
                rf"Assistant asst_\w+: .* of the wrong type: {re.escape(said)}", refused.err
            )


def test_drift_tells_of_no_change_where_a_value_has_the_wrong_type(workspace: Workspace) -> None:
    broken: dict[str, Any] = {}
    with relayed(workspace, lambda _, item: item.update(broken)):
        workspace.declare(BOT).apply()
        broken["temperature"] = "0.5"
        shown = workspace.run("drift", "--report", "drift.json:json")
    assert json.loads((workspace.folder / "drift.json").read_text())["resource_drift"] == []
    assert shown.code == 1
