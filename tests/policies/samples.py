"""Policies and plans to evaluate, without a file or a call."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from reconciler.kinds import KINDS
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Plan, Reason
from reconciler.model.diagnostic import SourceLocation
from reconciler.model.policy import PolicyResult
from reconciler.model.rule import Rule
from reconciler.policies import Judged, Policy, Surroundings, judge, planned_subjects, policy_of
from reconciler.rules import POLICY

NOW = datetime(2027, 1, 15, 12, tzinfo=UTC)
PLACE = SourceLocation("policies.yaml", 3, 1)


def policy(rule: str, *, name: str = "p", trusted: bool = False, **spec: Any) -> Policy:
    declared = Rule(Address("Policy", name), POLICY, {"rule": rule, **spec}, PLACE)
    return policy_of(declared, is_trusted=trusted)


def change(address: str, action: Action = Action.CREATE, **known: Any) -> Change:
    reason = Reason.NEW if action is Action.CREATE else Reason.CONFIG
    return Change(Address.parse(address), action, reason, **known)


def plan(*changes: Change) -> Plan:
    return Plan(stack="acme", environment="prod", changes=changes)


def judged(made: Policy, *changes: Change, **options: Any) -> Judged:
    around = Surroundings(NOW, "acme", "prod", KINDS)
    (only,) = judge([made], planned_subjects(plan(*changes), around), **options)
    return only


def result(made: Policy, *changes: Change, **options: Any) -> PolicyResult:
    """The only result other than a pass."""
    (only,) = judged(made, *changes, **options).results
    return only
