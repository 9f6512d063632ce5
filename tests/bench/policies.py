"""Measures policies: compiling them, preparing a plan for rules, and evaluating them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from reconciler.kinds import KINDS
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Plan, Reason
from reconciler.model.rule import Rule
from reconciler.policies import Surroundings, judge, planned_subjects, policy_of
from reconciler.rules import POLICY
from tests.bench.results import Figure, Results

PROJECTS = 500
_OF_PROJECTS = {
    "SpendLimit": {"threshold_amount": 5000},
    "SpendAlert": {"threshold_amount": 4000},
    "RateLimit": {"model": "gpt-5.1", "max_requests_per_1_minute": 500},
    "ServiceAccount": {"name": "indexer", "role": "member"},
    "ProjectUser": {"email": "ada@example.com", "role": "owner"},
    "VectorStore": {"name": "Docs", "expires_after": {"anchor": "last_active_at", "days": 30}},
    "Agent": {"model": "gpt-5.1", "metadata": {"owner": "cx", "cost_centre": "4711"}},
    "Webhook": {"url": "https://hooks.example.com/openai", "event_types": ["batch.failed"]},
    "DataRetention": {"retention_type": "zero_data_retention"},
}
_RULES = (
    ("Project", 'resources.exists(r, r.kind == "SpendLimit" && r.project == resource.name)'),
    ("SpendLimit", "resource.spec.threshold_amount <= 1000000"),
    ("SpendAlert", """resources.exists(r, r.kind == "SpendLimit" &&
        r.project == resource.project &&
        r.spec.threshold_amount > resource.spec.threshold_amount)"""),
    ("RateLimit", "resource.spec.?max_requests_per_1_minute.orValue(0) <= 5000"),
    ("ServiceAccount", 'resource.spec.?role.orValue("member") == "member"'),
    ("Project", """resources.filter(r, r.kind == "ProjectUser" && r.project == resource.name &&
        r.spec.role == "owner").size() <= 5"""),
    ("VectorStore", "resource.spec.?expires_after.?days.orValue(9999) <= 30"),
    ("Agent", 'resource.spec.model in ["gpt-5.1", "gpt-5.4"]'),
    ("Webhook", 'resource.spec.url.startsWith("https://hooks.example.com/")'),
    ("Agent", 'resource.spec.metadata.cost_centre.matches("^[0-9]{4}$")'),
)  # fmt: skip
_FOR_ALL = (
    "resource.name.size() <= 64",
    'resource.kind != "Agent" || resource.spec.model in ["gpt-5.1", "gpt-5.4"]',
    'resource.project != "legacy" || change.action == "no-op"',
    'resource.kind != "RateLimit" || resource.spec.max_requests_per_1_minute <= 5000',
)


def policies(folder: Path, results: Results, *, count: int = 200, resources: int = 10_000) -> None:
    """So many policies over so many resources, in process; every rule passes, as in most plans."""
    plan = _plan(resources)
    by_kind = [_rule(number, *_RULES[number % len(_RULES)]) for number in range(count)]
    for_all = [_rule(number, "", _FOR_ALL[number % len(_FOR_ALL)]) for number in range(count)]
    about = f"{count} policies, {resources:,} resources"
    for what, rules in (("each for its kind", by_kind), ("each for all", for_all)):
        seconds, evaluated = min(_evaluate(plan, rules) for _ in range(3))
        note = f"{evaluated:,} evaluations"
        results.add(Figure(f"{about}, {what}: CPU", seconds, "s", 3.0, note))


def _evaluate(plan: Plan, rules: Sequence[Rule]) -> tuple[float, int]:
    """The seconds of CPU, and how many evaluations there were."""
    began = time.process_time()
    around = Surroundings(datetime.now(UTC), "acme", "prod", KINDS)
    judged = judge([policy_of(rule) for rule in rules], planned_subjects(plan, around))
    seconds = time.process_time() - began
    assert not any(one.results for one in judged)
    return seconds, sum(sum(one.summary.counts.values()) for one in judged)


def _rule(number: int, kind: str, rule: str) -> Rule:
    match = {"match": {"kinds": [kind]}} if kind else {}
    return Rule(Address("Policy", f"policy-{number:03}"), POLICY, {"rule": rule, **match})


def _plan(resources: int) -> Plan:
    names = [f"team-{number:03}" for number in range(PROJECTS)]
    changes = [_change("Project", name, None, {"name": name}) for name in names]
    for number in range(resources - PROJECTS):
        kind, spec = list(_OF_PROJECTS.items())[number % len(_OF_PROJECTS)]
        project = names[number // len(_OF_PROJECTS) % PROJECTS]
        changes.append(_change(kind, f"n{number}", project, spec))
    return Plan(stack="acme", environment="prod", changes=tuple(changes))


def _change(kind: str, name: str, project: str | None, spec: dict[str, object]) -> Change:
    return Change(
        Address(kind, name, project),
        Action.NO_OP,
        Reason.IN_SYNC,
        id=f"id_{name}",
        before=spec,
        after=spec,
    )
