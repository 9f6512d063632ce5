"""Claims about examples/policies: a library to copy, in which every policy shows that it works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.kinds import ALL_KINDS, KINDS
from reconciler.manifests import Settings, load_configuration
from reconciler.model.change import Action
from reconciler.policies import Policy, field_problems, policy_of, run_tests
from reconciler.render.json import JsonRenderer
from reconciler.rules import RULE_KINDS
from tests.policies.samples import NOW, change, plan

LIBRARY = Path(__file__).parent.parent.parent / "examples" / "policies"


def library() -> Iterator[Policy]:
    for rule in load_configuration(Settings(root=LIBRARY), KINDS, RULE_KINDS).rules:
        yield policy_of(rule)


POLICIES = list(library())
each = pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)


def test_the_library_has_at_least_twenty_policies() -> None:
    assert len(POLICIES) >= 20


@each
def test_the_tests_of_a_policy_hold(policy: Policy) -> None:
    assert list(run_tests([policy], now=NOW)) == []


@each
def test_a_policy_shows_a_pass_and_a_failure(policy: Policy) -> None:
    assert {"pass", "fail"} <= {test.expect for test in policy.tests}


@each
def test_a_policy_names_only_fields_that_exist(policy: Policy) -> None:
    assert list(field_problems(policy, ALL_KINDS)) == []


@each
def test_a_policy_says_what_it_is_for(policy: Policy) -> None:
    assert policy.description.endswith(".")


def test_the_rego_example_works_on_the_json_plan() -> None:
    from regopy import Interpreter

    view = JsonRenderer().plan(
        plan(
            change("Project/search", Action.DELETE, id="proj_1", before={"name": "Search"}),
            change("Project/support", after={"name": "Support"}),
            change(
                "SpendLimit/search/a",
                Action.UPDATE,
                id="a",
                before={"threshold_amount": 100},
                after={"threshold_amount": 201},
            ),
            change(
                "SpendLimit/search/b",
                Action.UPDATE,
                id="b",
                before={"threshold_amount": 100},
                after={"threshold_amount": 200},
            ),
        )
    )
    rego = Interpreter()
    rego.add_module("plan", (LIBRARY / "plan.rego").read_text(encoding="utf-8"))
    rego.set_input(json.loads(view))
    (denied,) = json.loads(str(rego.query("data.reconciler.deny")))["expressions"]
    assert sorted(denied) == [
        "Project/search would be deleted",
        "SpendLimit/search/a would be more than doubled",
    ]
