"""The digest of a plan differs for whatever a reviewer sees, and for nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from reconciler.model.address import Address
from reconciler.model.change import (
    Action,
    Change,
    Drift,
    FieldChange,
    OutputChange,
    Plan,
    Reason,
    RefreshSummary,
)
from reconciler.model.destruction import Loss, Lost
from reconciler.model.diagnostic import Diagnostic, SourceLocation
from reconciler.model.keys import KeyAction, KeyStep
from reconciler.model.kind import Removal
from reconciler.model.plan_digest import plan_digest
from reconciler.model.secret import Secret
from reconciler.model.values import LocalFile, Reference, SecretValue, Unknown

CHANGE = Change(
    Address("Agent", "bot", "search"),
    Action.UPDATE,
    Reason.CONFIG,
    fields=(FieldChange(("model",), "a", "b"),),
    id="agent_1",
    desired={"model": "b", "name": "Bot"},
    before={"model": "a", "name": "Bot"},
)
QUIET = Change(Address("Agent", "quiet"), Action.NO_OP, Reason.IN_SYNC, id="agent_2")
PLAN = Plan("acme", "prod", (CHANGE, QUIET), outputs=(OutputChange("bot", "x", "y"),))


REVOKED = KeyStep("key", KeyAction.REVOKE, "will be revoked", key_id="key_1", unused_seconds=60.0)


def with_change(**changed: Any) -> Plan:
    return structs.replace(PLAN, changes=(structs.replace(CHANGE, **changed), QUIET))


@pytest.mark.parametrize(
    "other",
    [
        with_change(address=Address("Agent", "bot", "support")),
        with_change(action=Action.REPLACE),
        with_change(reason=Reason.DRIFT),
        with_change(id="agent_9"),
        with_change(project_id="proj_9"),
        with_change(fields=(FieldChange(("model",), "a", "c"),)),
        with_change(fields=(FieldChange(("model",), "z", "b"),)),
        with_change(fields=(FieldChange(("model",), "a", "b", forces_replacement=True),)),
        with_change(desired={"model": "b", "name": "Other"}),
        with_change(before={"model": "a", "name": "Renamed"}),
        with_change(restored={"temperature": 1}),
        with_change(removal=Removal.ARCHIVE),
        with_change(losses=(Loss(Lost.LIMIT, 1, "raises the limit"),)),
        with_change(create_before_destroy=True),
        with_change(prevent_destroy=True),
        with_change(on_remove="retain"),
        with_change(mark="acme/prod/Agent/bot"),
        with_change(renamed_from=Address("Agent", "old")),
        with_change(matched_by=Address("Retention", "old")),
        with_change(depends_on=(Address("Project", "search"),)),
        with_change(wait_for_job=True),
        with_change(keys=(REVOKED,)),
        structs.replace(PLAN, stack="other"),
        structs.replace(PLAN, environment="dev"),
        structs.replace(PLAN, base_url="https://api.example"),
        structs.replace(PLAN, destroy=True),
        structs.replace(PLAN, rollback_of=3),
        structs.replace(PLAN, outputs=(OutputChange("bot", "x", "z"),)),
        structs.replace(PLAN, changes=(QUIET,)),
    ],
    ids=lambda plan: None,
)
def test_a_reviewed_difference_changes_the_digest(other: Plan) -> None:
    assert plan_digest(other) != plan_digest(PLAN)


@pytest.mark.parametrize(
    "same",
    [
        with_change(location=SourceLocation("other.yaml", 9, 9)),
        with_change(warnings=("look out",), pre_image={"model": "a"}),
        structs.replace(PLAN, changes=(QUIET, CHANGE)),
        structs.replace(PLAN, changes=(CHANGE,)),
        structs.replace(PLAN, calls=7, seconds=8.0, state_serial=9, config_digest="d"),
        structs.replace(PLAN, refresh=RefreshSummary(since=3.0, waited_seconds=4.0)),
        structs.replace(PLAN, diagnostics=(Diagnostic("x"),), refusals=("no",)),
        structs.replace(PLAN, drift=(Drift(QUIET.address, "agent_2"),)),
    ],
    ids=lambda plan: None,
)
def test_details_that_no_reviewer_approves_do_not_change_the_digest(same: Plan) -> None:
    assert plan_digest(same) == plan_digest(PLAN)


def test_the_approval_to_revoke_an_unused_key_does_not_cover_a_key_in_use() -> None:
    at_once = structs.replace(REVOKED, unused_seconds=None)
    assert plan_digest(with_change(keys=(at_once,))) != plan_digest(with_change(keys=(REVOKED,)))


def test_the_age_of_a_key_is_no_difference() -> None:
    older = structs.replace(REVOKED, why="will be revoked: unused for 2 days")
    assert plan_digest(with_change(keys=(older,))) == plan_digest(with_change(keys=(REVOKED,)))


def test_values_of_other_types_that_look_alike_differ() -> None:
    alike: list[Any] = [
        "x",
        Unknown("x"),
        {"source": "x"},
        {"$reconciler": "unknown", "source": "x"},
        Reference(Address("Agent", "x")),
        LocalFile("x", "0" * 64, 1),
        SecretValue("env X"),
        1,
        1.5,
        True,
        None,
        [],
        {},
    ]
    digests = [plan_digest(with_change(desired={"model": value})) for value in alike]
    assert len(set(digests)) == len(alike)


def test_a_secret_counts_by_its_source_and_not_by_its_value() -> None:
    def plan(source: str, digest: str) -> Plan:
        return with_change(desired={"token": SecretValue(source, digest)})

    assert plan_digest(plan("env A", "1")) == plan_digest(plan("env A", "2"))
    assert plan_digest(plan("env A", "1")) != plan_digest(plan("env B", "1"))


def test_a_secret_in_the_clear_does_not_end_a_report() -> None:
    assert len(plan_digest(with_change(desired={"token": Secret("hunter2hunter2")}))) == 64
