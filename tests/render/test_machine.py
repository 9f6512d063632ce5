"""JSON plans follow Terraform's format."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from msgspec.structs import replace

from reconciler.model.address import Address
from reconciler.model.change import Action, Change, FieldChange, Plan, Reason
from reconciler.model.values import FileSet, LocalFile, Member, Unknown
from reconciler.render.json import JsonRenderer

from . import samples
from .goldens import assert_golden
from .strategies import plans

JSON = JsonRenderer()
UNLIMITED = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def view(*changes: Change) -> list[dict[str, Any]]:
    views: list[dict[str, Any]] = json.loads(JSON.plan(Plan("acme", "prod", changes)))[
        "resource_changes"
    ]
    return views


def test_documents_read_as_they_did() -> None:
    assert_golden("plan_full.json", JSON.plan(samples.FULL))
    assert_golden("drift.json", JSON.drift(samples.DRIFTED, unmanaged=True))
    assert_golden("result.json", JSON.result(samples.RESULT))
    assert_golden("diagnostics.json", JSON.diagnostics([samples.WARNING, samples.ERROR]))
    assert_golden("outputs.json", JSON.outputs(samples.DONE.outputs))


@pytest.mark.parametrize(
    ("change", "actions"),
    [
        (samples.QUIET[0], ["no-op"]),
        (samples.STORE, ["create"]),
        (samples.LIMIT, ["update"]),
        (samples.ACCOUNT, ["delete"]),
        (samples.FAQ, ["delete", "create"]),
        (samples.PRICES, ["create", "delete"]),
        (samples.TAKEN, ["no-op"]),
        (samples.FORGOTTEN, ["forget"]),
    ],
    ids=lambda value: str(value.action) if isinstance(value, Change) else "",
)
def test_actions_are_those_that_terraform_writes(change: Change, actions: list[str]) -> None:
    assert view(change)[0]["change"]["actions"] == actions


def test_a_create_has_nothing_before_and_an_id_that_is_not_known_yet() -> None:
    change = view(samples.PROJECT)[0]["change"]
    assert change["before"] is None
    assert change["after"] == {"name": "Search", "residency": "EU_STORAGE_PROCESSING"}
    assert change["after_unknown"] == {"id": True}
    assert change["before_sensitive"] is False


def test_a_delete_has_nothing_after() -> None:
    change = view(samples.ARCHIVED)[0]
    assert change["change"]["after"] is None
    assert change["change"]["before"] == {"id": "proj_0l4", "name": "Old lab"}
    assert change["action_reason"] == "delete_because_no_resource_config"
    assert change["reconciler"]["removal"] == "archive"


def test_an_unknown_is_left_out_and_marked_where_it_stands() -> None:
    after = {"a": Unknown(), "b": [1, Unknown()], "c": {"d": Unknown(), "e": 1}, "f": 2}
    change = view(
        Change(Address("Agent", "a"), Action.UPDATE, Reason.CONFIG, id="agent_1", after=after)
    )[0]["change"]
    assert change["after"] == {"id": "agent_1", "b": [1, None], "c": {"e": 1}, "f": 2}
    assert change["after_unknown"] == {"a": True, "b": [False, True], "c": {"d": True}}


def test_an_unknown_inside_a_set_of_files_is_marked() -> None:
    files = FileSet(
        (Member("a", LocalFile("a", "0" * 64, 3)), Member("b", None, file_id=Unknown("${File/b}")))
    )
    change = view(
        Change(Address("VectorStore", "a"), Action.CREATE, Reason.NEW, after={"files": files})
    )[0]["change"]
    assert change["after_unknown"]["files"] == [{}, {"file_id": True}]


def test_an_adoption_says_what_it_imports() -> None:
    change = view(samples.TAKEN)[0]
    assert change["change"]["importing"] == {"id": "vs_legacy"}
    assert change["reconciler"]["action"] == "adopt"
    assert change["previous_address"] == "VectorStore/support/old-legacy"


def test_a_replacement_says_which_fields_force_it() -> None:
    change = view(samples.PRICES)[0]
    assert change["change"]["replace_paths"] == [["path"], ["filename"]]
    assert change["action_reason"] == "replace_because_cannot_update"


def test_a_key_is_replaced_and_marked() -> None:
    key = "sk-" + "a" * 30
    change = Change(
        Address("Agent", "a"),
        Action.UPDATE,
        Reason.CONFIG,
        fields=(FieldChange(("x",), key, None),),
        before={"x": [key]},
    )
    text = JSON.plan(Plan("acme", "prod", (change,)))
    assert key not in text
    assert json.loads(text)["resource_changes"][0]["change"]["before_sensitive"] == {"x": [True]}


def test_a_plan_with_errors_cannot_be_applied() -> None:
    view = json.loads(
        JSON.plan(Plan("acme", "prod", (samples.STORE,), diagnostics=(samples.ERROR,)))
    )
    assert view["errored"] is True
    assert view["applyable"] is False


def test_an_empty_plan_has_nothing_to_apply() -> None:
    assert json.loads(JSON.plan(samples.EMPTY))["applyable"] is False


def test_a_timestamp_is_written_only_where_it_is_given() -> None:
    assert "timestamp" not in json.loads(JSON.plan(samples.SMALL))
    stamped = JsonRenderer(timestamp="2026-01-02T03:04:05Z").plan(samples.SMALL)
    assert json.loads(stamped)["timestamp"] == "2026-01-02T03:04:05Z"


def test_sources_are_file_and_line() -> None:
    assert view(samples.STORE)[0]["reconciler"]["source"] == "manifests/search.yaml:12"


@UNLIMITED
@given(plans())
def test_documents_are_json_for_any_content_and_act_on_no_terminal(plan: Plan) -> None:
    for text in (
        JSON.plan(plan),
        JSON.drift(plan, unmanaged=True),
        JSON.diagnostics(plan.diagnostics),
    ):
        json.loads(text)
        assert text.endswith("}\n")
        assert not [
            char
            for char in text
            if char != "\n" and unicodedata.category(char) in {"Cc", "Cf", "Cs"}
        ]
        text.encode()


@UNLIMITED
@given(plans())
def test_the_same_plan_gives_the_same_bytes(plan: Plan) -> None:
    again = replace(plan, changes=tuple(reversed(plan.changes)))
    if len({change.address for change in plan.changes}) == len(plan.changes):
        assert JSON.plan(plan) == JSON.plan(again)
