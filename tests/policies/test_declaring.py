"""Claims about declaring policies: each problem has its location, before anything is evaluated."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import ConfigurationError
from reconciler.kinds import ALL_KINDS, KINDS
from reconciler.manifests import Settings, load_configuration
from reconciler.policies import field_problems, policy_of
from reconciler.rules import RULE_KINDS
from tests.policies.samples import policy

HEAD = "kind: Policy\nmetadata: {name: p}\nspec:\n"


def problems(folder: Path, spec: str) -> list[str]:
    """Everything that is wrong with a policy, each as `LINE:COLUMN summary: detail`."""
    (folder / "m.yaml").write_text(HEAD + spec, encoding="utf-8")
    try:
        configuration = load_configuration(Settings(root=folder), KINDS, RULE_KINDS)
    except ConfigurationError as error:
        found = list(error.diagnostics)
    else:
        (rule,) = configuration.rules
        found = list(field_problems(policy_of(rule), ALL_KINDS))
    return [
        f"{problem.location.line}:{problem.location.column} {problem.summary}: {problem.detail}"
        for problem in found
        if problem.location is not None
    ]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("  rule: 1 +\n", "4:9 Invalid rule: at 1:4 of the expression: the expression ends too"),
        ("  rule: 'true'\n  message: '\"a'\n", "5:12 Invalid message: at 1:1 of the expression"),
        ("  rule: |\n    true &&\n    foo\n", "at 2:1 of the expression: unknown variable"),
        ("  rule: true\n  severty: advisory\n", '5:3 Unknown field "severty"'),
        ("  severity: hard\n  rule: 'true'\n", "4:13"),
        ("  match: {kinds: [Projct]}\n  rule: 'true'\n", "4:19 Unknown kind: There is no kind"),
        ("  match: {kinds: [Projct]}\n  rule: 'true'\n", 'Did you mean "Project"?'),
        ("  rule: resource.nmae == 'a'\n", "4:9 Unknown field in the rule: at 1:10"),
        ("  rule: resource.nmae == 'a'\n", 'Did you mean "name"?'),
        (
            "  match: {kinds: [Project]}\n  rule: resource.spec.title == 'a'\n",
            'Project has no field "title"',
        ),
        ("  rule: resources.exists(r, r.knd == 'a')\n", 'r has no field "knd"'),
        ("  rule: change.was == null\n", 'change has no field "was"'),
        ("  rule: 'true'\n  message: resource.title\n", "5:12 Unknown field in the message"),
        (
            "  rule: 'true'\n  exceptions: [{address: Project/a, reason: r, until: 2027-01-01}]\n",
            '5:16 Missing "owner"',
        ),
        (
            "  rule: 'true'\n  exceptions: [{address: a/b, owner: ' ', reason: r, until: 2027-01-01}]\n",
            "5:38 Exception without owner",
        ),
        (
            "  rule: 'true'\n  exceptions: [{address: '*', owner: a, reason: r, until: 2027-01-01}]\n",
            "Exception matches everything",
        ),
        (
            "  rule: 'true'\n  exceptions: [{address: a/b, owner: a, reason: r, until: 2027-13-01}]\n",
            "Not a date",
        ),
        (
            "  rule: 'true'\n  exceptions: [{address: a/b, owner: a, reason: r}]\n",
            'Missing "until"',
        ),
        (
            (
                "  rule: 'true'\n"
                "  exceptions: [{address: a/b, owner: a, reason: r, until: next week}]\n"
            ),
            "a date such as 2027-03-31",
        ),
        ("  rule: 'true'\n  tests: [{given: {}, expect: maybe}]\n", "5:31"),
    ],
)
def test_a_mistake_is_named_at_its_place(spec: str, expected: str, tmp_path: Path) -> None:
    found = problems(tmp_path, spec)
    assert any(expected in problem for problem in found), found


def test_a_rule_that_depends_on_a_reference_is_refused(tmp_path: Path) -> None:
    project = "\n---\nkind: Project\nmetadata: {name: a}\nspec: {name: A}\n"
    (found,) = problems(tmp_path, "  rule: resource.id == '${Project/a}'" + project)
    assert "Reference not possible here" in found


def test_a_field_that_any_matched_kind_has_is_no_mistake() -> None:
    made = policy("resource.spec.model == 'a'", match={"kinds": ["Agent", "Project"]})
    assert list(field_problems(made, ALL_KINDS)) == []


def test_a_variable_of_the_stack_can_be_used_in_a_policy(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        HEAD.replace("name: p", 'name: "limit-${each.key}"').replace(
            "spec:", "for_each: {dev: 5, prod: 50}\nspec:"
        )
        + "  rule: resource.spec.threshold_amount <= ${each.value}\n",
        encoding="utf-8",
    )
    rules = load_configuration(Settings(root=tmp_path), KINDS, RULE_KINDS).rules
    assert [rule.spec["rule"].rsplit(" ", 1)[1] for rule in rules] == ["5", "50"]


@pytest.mark.parametrize(
    ("kind", "spec"), [("Policy", "{rule: 'true'}"), ("Check", "{operation: listModels}")]
)
def test_when_and_for_each_decide_which_rules_exist(kind: str, spec: str, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        f'kind: {kind}\nmetadata: {{name: "${{each.key}}"}}\nfor_each: {{a: true, b: false}}\n'
        f"when: ${{each.value}}\nspec: {spec}\n",
        encoding="utf-8",
    )
    rules = load_configuration(Settings(root=tmp_path), KINDS, RULE_KINDS).rules
    assert [str(rule.address) for rule in rules] == [f"{kind}/a"]
