"""Claims about docs/policies.md: it names every variable, field, function and bound."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reconciler.cel import budget, lexer, parser
from reconciler.cel.functions import FUNCTIONS
from reconciler.kinds import KINDS
from reconciler.manifests import Settings, load_configuration
from reconciler.policies import evaluation, policy_of, run_tests
from reconciler.policies.subjects import CHANGE_FIELDS, RESOURCE_FIELDS
from reconciler.rules import RULE_KINDS
from reconciler.rules.policy import NOT_KNOWN, VARIABLES
from tests.policies.samples import NOW

PAGE = (Path(__file__).parent.parent.parent / "docs" / "policies.md").read_text(encoding="utf-8")
CODE = set(re.findall(r"`([^`\n]+)`", PAGE))
UNLISTED = {"dyn", "hasValue", "value", "optional.of", "optional.none", "orValue"}
"""Functions of optionals and types that the page shows in use, or that few rules need."""


@pytest.mark.parametrize("name", [*VARIABLES, *RESOURCE_FIELDS, *CHANGE_FIELDS])
def test_the_page_names_every_variable_and_field(name: str) -> None:
    assert name in CODE


def test_the_page_names_every_function() -> None:
    parts_of_time = {name for name in FUNCTIONS if name.startswith("get")}
    assert {*FUNCTIONS} - UNLISTED - parts_of_time <= CODE


@pytest.mark.parametrize(
    "number",
    [
        lexer.MAX_LENGTH,
        parser.MAX_DEPTH,
        parser.MAX_CHAIN,
        budget.MAX_TEXT,
        budget.MAX_ITEMS,
        evaluation.MAX_EVALUATION_STEPS,
        evaluation.POLICY_STEPS,
        evaluation.POLICY_STEPS_PER_RESOURCE,
        evaluation.RUN_STEPS,
        evaluation.RUN_STEPS_PER_RESOURCE,
        int(evaluation.POLICY_SECONDS),
        int(evaluation.RUN_SECONDS),
        evaluation.SOON_DAYS,
    ],
)
def test_the_page_names_every_bound(number: int) -> None:
    assert re.search(rf"(?<![\d,]){number:,}(?![\d,])", PAGE)


def test_the_page_names_the_text_of_a_value_that_is_not_known() -> None:
    assert NOT_KNOWN in CODE


def test_the_tests_of_the_example_hold(tmp_path: Path) -> None:
    block = re.search(r"```yaml manifest\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    (tmp_path / "p.yaml").write_text(block[1], encoding="utf-8")
    (rule,) = load_configuration(Settings(root=tmp_path), KINDS, RULE_KINDS).rules
    policy = policy_of(rule)
    assert len(policy.tests) == 2
    assert list(run_tests([policy], now=NOW)) == []
