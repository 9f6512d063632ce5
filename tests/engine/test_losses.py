"""The losses of updates, kind by kind."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.engine.diff import diff_fields
from reconciler.engine.plan.losses import with_losses
from reconciler.kinds import KINDS
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, FieldChange, Reason
from reconciler.model.destruction import Loss, Lost
from reconciler.model.kind import Removal
from reconciler.model.resource import LiveObject, Record
from reconciler.model.types import KeySinkType
from reconciler.model.values import FileSet, LocalFile, Member


def losses(kind: str, before: dict[str, Any], after: dict[str, Any]) -> tuple[Loss, ...]:
    """What an update from one spec to another destroys; both were applied by us."""
    carried = {name: value for name, value in before.items() if isinstance(value, FileSet)}
    live = LiveObject(KINDS[kind], "id", before, own_calls=carried)
    address = Address(kind, "x")
    fields = diff_fields(
        KINDS[kind], desired=after, live=live, record=Record(address, "id", applied=before)
    )
    change = Change(
        address,
        Action.UPDATE,
        Reason.CONFIG,
        fields=tuple(fields),
        before=before,
        after={**before, **after},
    )
    return with_losses(KINDS[kind], change).losses


def key(file: str) -> dict[str, Any]:
    return {"write_to": {"file": file}}


def files(*names: str, content: str = "") -> FileSet:
    return FileSet(
        tuple(Member(name, LocalFile(name, content or name, 1), f"file-{name}") for name in names)
    )


TAKES_AWAY: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("ServiceAccount", {"key": {"write_to": [{"file": "a"}, {"file": "b"}]}}, {"key": key("a")}),
    ("AdminKey", {"key": {"write_to": [{"file": "a"}, {"file": "b"}]}}, {"key": key("a")}),
    ("ServiceAccount", {"name": "x", "key": key("a")}, {"name": "x"}),
    ("ServiceAccount", {"role": "owner"}, {"role": "member"}),
    ("ServiceAccountKey", {"scopes": ["a", "b"]}, {"scopes": ["a"]}),
    ("ServiceAccountKey", {"scopes": []}, {"scopes": ["a"]}),
    ("ServiceAccountKey", {"expires_in_seconds": 900}, {"expires_in_seconds": 60}),
    ("ProjectKey", {"scopes": ["a", "b"]}, {"scopes": ["b"]}),
    ("User", {"role": "owner"}, {"role": "reader"}),
    ("ProjectUser", {"role": "owner"}, {"role": "member"}),
    ("Role", {"permissions": ["a", "b"]}, {"permissions": ["b", "c"]}),
    ("RateLimit", {"max_requests_per_1_minute": 5}, {"max_requests_per_1_minute": 0}),
    ("HostedTools", {"mcp": {"enabled": True}}, {"mcp": {"enabled": False}}),
    (
        "ModelPermissions",
        {"mode": "allow_list", "model_ids": ["a", "b"]},
        {"mode": "allow_list", "model_ids": ["a"]},
    ),
    (
        "ModelPermissions",
        {"mode": "deny_list", "model_ids": ["a"]},
        {"mode": "deny_list", "model_ids": ["a", "b"]},
    ),
    (
        "ModelPermissions",
        {"mode": "deny_list", "model_ids": ["a"]},
        {"mode": "allow_list", "model_ids": ["a"]},
    ),
    ("ServiceTier", {"enabled_tiers": "all"}, {"enabled_tiers": ["flex"]}),
    ("ServiceTier", {"enabled_tiers": ["flex", "fast"]}, {"enabled_tiers": ["flex"]}),
    ("DataRetention", {"retention_type": "none"}, {"retention_type": "zero_data_retention"}),
    ("DataRetention", {"retention_type": "organization_default"}, {"retention_type": "none"}),
    (
        "VectorStore",
        {"expires_after": None},
        {"expires_after": {"anchor": "last_active_at", "days": 3}},
    ),
    (
        "VectorStore",
        {"expires_after": {"anchor": "last_active_at", "days": 30}},
        {"expires_after": {"anchor": "last_active_at", "days": 3}},
    ),
    ("VectorStore", {"files": files("a", "b")}, {"files": files("a")}),
    ("Skill", {"files": files("a", "b")}, {"files": files("a")}),
    (
        "Webhook",
        {"url": "https://a", "event_types": ["a", "b"]},
        {"url": "https://a", "event_types": ["a"]},
    ),
    ("Webhook", {"url": "https://a"}, {"url": "https://b"}),
    ("Automation", {"status": "active"}, {"status": "paused"}),
    ("FederationRule", {"enabled": True}, {"enabled": False}),
    (
        "FederationRule",
        {"attribute_matchers": {"a": "1"}},
        {"attribute_matchers": {"a": "1", "b": "2"}},
    ),
    ("FederationRule", {"attribute_matchers": {"a": "1"}}, {"attribute_matchers": {"a": "2"}}),
    (
        "FederationRule",
        {"permissions": {"type": "service_account_default"}},
        {"permissions": {"type": "restricted", "scopes": ["a"]}},
    ),
    ("WorkloadIdentityProvider", {"enabled": True}, {"enabled": False}),
    ("WorkloadIdentityProvider", {"audience": "a"}, {"audience": "b"}),
    ("WorkloadIdentityProvider", {"issuer": "a"}, {"issuer": "b"}),
    (
        "EnvironmentTemplate",
        {"network": {"access": "enabled"}},
        {"network": {"access": "disabled"}},
    ),
]
LOOSENS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("SpendLimit", {"threshold_amount": 5}, {"threshold_amount": 50}),
    ("SpendAlert", {"threshold_amount": 5}, {"threshold_amount": 50}),
    ("RateLimit", {"max_requests_per_1_minute": 5}, {"max_requests_per_1_minute": 50}),
    ("ServiceAccountKey", {"scopes": ["a"]}, {"scopes": ["a", "b"]}),
    ("ServiceAccountKey", {"scopes": ["a"]}, {"scopes": []}),
    ("ServiceAccountKey", {"expires_in_seconds": 60}, {"expires_in_seconds": 900}),
    ("HostedTools", {"mcp": {"enabled": False}}, {"mcp": {"enabled": True}}),
    (
        "ModelPermissions",
        {"mode": "allow_list", "model_ids": ["a"]},
        {"mode": "allow_list", "model_ids": ["a", "b"]},
    ),
    (
        "ModelPermissions",
        {"mode": "deny_list", "model_ids": ["a", "b"]},
        {"mode": "deny_list", "model_ids": ["a"]},
    ),
    ("ServiceTier", {"enabled_tiers": ["flex"]}, {"enabled_tiers": "all"}),
    (
        "DataRetention",
        {"retention_type": "zero_data_retention"},
        {"retention_type": "modified_abuse_monitoring"},
    ),
    ("Project", {"external_key_id": "a"}, {"external_key_id": None}),
    (
        "FederationRule",
        {"attribute_matchers": {"a": "1", "b": "2"}},
        {"attribute_matchers": {"a": "1"}},
    ),
    (
        "EnvironmentTemplate",
        {"network": {"access": "disabled"}},
        {"network": {"access": "enabled"}},
    ),
    (
        "EnvironmentTemplate",
        {"network": {"access": "restricted", "allowed_domains": ["a.com"]}},
        {"network": {"access": "restricted", "allowed_domains": ["a.com", "b.com"]}},
    ),
]
HARMLESS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("ServiceAccount", {"key": key("a")}, {"key": key("a")}),
    ("ServiceAccount", {"key": key("a")}, {"key": key("b")}),
    ("ServiceAccount", {"key": key("a")}, {"key": {"write_to": {"command": ["b"]}}}),
    ("ServiceAccount", {"key": key("a")}, {"key": {**key("a"), "rotate": {"every": "90d"}}}),
    ("AdminKey", {"key": key("a")}, {"key": key("b")}),
    ("ServiceAccount", {"role": "member"}, {"role": "owner"}),
    ("SpendLimit", {"threshold_amount": 50}, {"threshold_amount": 5}),
    ("RateLimit", {"max_requests_per_1_minute": 50}, {"max_requests_per_1_minute": 5}),
    ("Role", {"permissions": ["a"]}, {"permissions": ["a", "b"]}),
    ("VectorStore", {"files": files("a")}, {"files": files("a", "b")}),
    ("VectorStore", {"files": files("a", content="1")}, {"files": files("a", content="2")}),
    ("VectorStore", {"files": files("a", content="1")}, {"files": files("b", content="1")}),
    (
        "VectorStore",
        {"expires_after": {"anchor": "last_active_at", "days": 3}},
        {"expires_after": None},
    ),
    ("Automation", {"status": "paused"}, {"status": "active"}),
    ("Assistant", {"model": "a"}, {"model": "b"}),
]


@pytest.mark.parametrize(("kind", "before", "after"), TAKES_AWAY)
def test_what_stops_working_or_loses_data_counts(
    kind: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert any(loss.lost.counts for loss in losses(kind, before, after))


@pytest.mark.parametrize(("kind", "before", "after"), LOOSENS)
def test_a_loosened_limit_is_said_and_does_not_count(
    kind: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert [loss.lost for loss in losses(kind, before, after)] == [Lost.LIMIT]


@pytest.mark.parametrize(("kind", "before", "after"), HARMLESS)
def test_an_update_that_takes_nothing_away_is_not_destructive(
    kind: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert losses(kind, before, after) == ()


def test_a_revoked_key_is_named_by_where_it_was_delivered() -> None:
    (loss,) = losses("ServiceAccount", {"key": key("secrets/a.key")}, {})
    assert loss == Loss(
        "revokes the key delivered to secrets/a.key: whatever uses it stops working", Lost.KEY
    )


def test_each_member_that_goes_counts_and_the_last_one_empties_the_collection() -> None:
    some = losses("VectorStore", {"files": files("a", "b", "c")}, {"files": files("c")})
    every = losses("VectorStore", {"files": files("a", "b", "c")}, {"files": FileSet(())})
    assert [(loss.count, loss.empties) for loss in (*some, *every)] == [(2, False), (3, True)]


def test_a_limit_that_goes_back_up_with_its_declaration_is_said() -> None:
    fields = (FieldChange(("max_requests_per_1_minute",), 50, 10_000),)
    address = Address("RateLimit", "x", "p")
    restored = Change(
        address, Action.DELETE, Reason.NOT_DECLARED, fields=fields, removal=Removal.RESTORE
    )
    change = with_losses(KINDS["RateLimit"], restored)
    assert change.is_destructive
    assert change.destroys == "raises max_requests_per_1_minute from 50 to 10000"


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_that_cannot_be_rotated_goes_with_its_object(kind: str) -> None:
    for field in KINDS[kind].fields:
        if isinstance(field.type, KeySinkType) and not field.type.rotates:
            assert not field.on_update
            assert KINDS[kind].destroys
