"""Claims about evaluating policies: the values they see, the resources they match, and that they fail closed."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.model.address import Address
from reconciler.model.change import Action, Reason, Unmanaged
from reconciler.model.diagnostic import SourceLocation
from reconciler.model.policy import PolicyOutcome
from reconciler.model.values import Reference, SecretValue, Template, Unknown
from reconciler.policies import Surroundings, judge, live_subjects, planned_subjects
from tests.policies.samples import NOW, PLACE, change, judged, plan, policy, result

PROJECT = change("Project/search", after={"name": "Search"})
LIMIT = change("SpendLimit/search/limit", after={"threshold_amount": 500})
STORE = change("VectorStore/search/docs", after={"name": "Docs", "metadata": {"team": "cx"}})


# --- what a rule sees


@pytest.mark.parametrize(
    "rule",
    [
        'resource.kind == "VectorStore"',
        'resource.name == "docs"',
        'resource.project == "search"',
        'resource.address == "VectorStore/search/docs"',
        "resource.managed",
        'resource.spec.name == "Docs"',
        'resource.labels == {"team": "cx"}',
        "!resource.lifecycle.prevent_destroy",
        'change.action == "create"',
        "change.before == null",
        'change.after.name == "Docs"',
        "!change.destroys",
        "live == null",
        'stack == "acme"',
        'environment == "prod"',
        'now == timestamp("2027-01-15T12:00:00Z")',
        "resources.size() == 2",
        'resources.exists(r, r.kind == "Project" && r.name == resource.project)',
    ],
)
def test_a_rule_sees_the_planned_resource(rule: str) -> None:
    made = policy(rule, match={"kinds": ["VectorStore"]})
    assert judged(made, STORE, PROJECT).summary.counts == {PolicyOutcome.PASS: 1}


def test_a_rule_sees_what_an_update_changes() -> None:
    updated = change(
        "VectorStore/search/docs",
        Action.UPDATE,
        id="vs_1",
        before={"name": "Old"},
        after={"name": "New"},
        facts={"created_at": 1},
    )
    rule = (
        'change.before.name == "Old" && change.after.name == "New" && live.name == "Old"'
        ' && live.created_at == 1 && resource.id == "vs_1" && resource.spec.name == "New"'
    )
    assert judged(policy(rule), updated).results == ()


def test_the_id_of_a_new_object_is_not_known() -> None:
    assert result(policy('resource.id == "x"'), STORE).outcome is PolicyOutcome.UNDECIDED


@pytest.mark.parametrize(
    "value",
    [
        Unknown("${File/a}"),
        Reference(Address.parse("File/a")),
        Template(("a-", Reference(Address.parse("File/a")))),
    ],
)
def test_a_value_of_another_object_is_undecided(value: object) -> None:
    store = change("VectorStore/docs", after={"name": value})
    found = result(policy('resource.spec.name == "x"'), store)
    assert found.outcome is PolicyOutcome.UNDECIDED
    assert "${File/a}" in found.message


def test_a_rule_sees_the_source_of_a_secret_and_nothing_of_its_value() -> None:
    secret = change("Webhook/w", after={"url": SecretValue("env TOKEN", "digest")})
    assert judged(policy('resource.spec.url == {"source": "env TOKEN"}'), secret).results == ()


def test_resources_to_be_removed_are_not_among_the_resources() -> None:
    gone = change("SpendLimit/search/limit", Action.DELETE, id="x", before={"threshold_amount": 5})
    made = policy('resources.exists(r, r.kind == "SpendLimit")', match={"kinds": ["Project"]})
    assert result(made, PROJECT, gone).outcome is PolicyOutcome.FAIL


def test_what_an_interrupted_replacement_left_behind_is_not_judged() -> None:
    left = change("VectorStore/docs", Action.DELETE, id="vs_0")
    left = type(left)(left.address, left.action, Reason.LEFT_BEHIND, id="vs_0")
    made = policy("false", match={"actions": ["delete"]})
    assert judged(made, left).summary.counts == {}


# --- what is matched


@pytest.mark.parametrize(
    ("match", "count"),
    [
        ({}, 3),
        ({"kinds": ["Project"]}, 1),
        ({"kinds": ["Project", "SpendLimit"]}, 2),
        ({"projects": ["search"]}, 2),
        ({"projects": ["sea*"]}, 2),
        ({"projects": ["support"]}, 0),
        ({"actions": ["create"]}, 3),
        ({"actions": ["update"]}, 0),
        ({"environments": ["prod*"]}, 3),
        ({"environments": ["dev"]}, 0),
    ],
)
def test_a_policy_is_about_what_it_matches(match: dict[str, list[str]], count: int) -> None:
    counts = judged(policy("false", match=match), PROJECT, LIMIT, STORE).summary.counts
    assert counts.get(PolicyOutcome.FAIL, 0) == count


@pytest.mark.parametrize("action", [Action.DELETE, Action.FORGET])
def test_removals_are_judged_only_where_a_policy_asks_for_them(action: Action) -> None:
    gone = change("VectorStore/docs", action, id="vs_1", before={"name": "Docs"})
    rule = 'resource.spec.name != "Docs"'
    assert judged(policy(rule), gone).summary.counts == {}
    asking = policy(rule, match={"actions": [action.value]})
    assert result(asking, gone).outcome is PolicyOutcome.FAIL


# --- failing closed


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("resource.spec.nothing == 1", "the rule cannot be evaluated: there is no"),
        ("resource.name", "the rule must be true or false, and it is a value of type string"),
        ("resource.spec", "it is a value of type map"),
        ("1 / 0 == 1", "division by zero"),
        (
            "resources.all(a, resources.all(b, resources.all(c, resources.all(d, true))))",
            "the rule was stopped",
        ),
    ],
)
def test_a_rule_without_a_result_is_an_error_and_refuses(rule: str, message: str) -> None:
    many = [change(f"File/f{number}") for number in range(30)]
    found = judged(policy(rule), PROJECT, *many).results[0]
    assert found.outcome is PolicyOutcome.ERROR
    assert message in found.message
    assert found.refuses


@pytest.fixture
def small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget that a few hostile policies use up within a moment."""
    for name in ("POLICY_STEPS", "RUN_STEPS"):
        monkeypatch.setattr(f"reconciler.policies.evaluation.{name}", 10_000)
    for name in ("POLICY_STEPS_PER_RESOURCE", "RUN_STEPS_PER_RESOURCE"):
        monkeypatch.setattr(f"reconciler.policies.evaluation.{name}", 10)


def test_a_hostile_policy_takes_nothing_from_a_trusted_one(small_budget: None) -> None:
    around = Surroundings(NOW, "acme", "prod")
    changes = [change(f"File/f{number}") for number in range(100)]
    bomb = "resources.all(a, resources.all(b, resources.all(c, true)))"
    hostile = [policy(bomb, name=f"a{number}") for number in range(30)]
    trusted = policy("resource.kind == 'File'", name="z", trusted=True)
    results = judge([*hostile, trusted], planned_subjects(plan(*changes), around))
    by_name = {one.summary.name: one.summary.counts for one in results}
    assert by_name.pop("z") == {PolicyOutcome.PASS: 100}
    assert all(PolicyOutcome.ERROR in counts for counts in by_name.values())


def test_the_policies_of_a_run_share_a_budget(small_budget: None) -> None:
    around = Surroundings(NOW, "acme", "prod")
    changes = [change(f"File/f{number}") for number in range(100)]
    bomb = "resources.all(a, resources.all(b, resources.all(c, true)))"
    policies = [policy(bomb, name=f"p{number:02}") for number in range(30)]
    policies.append(policy("true", name="z"))
    last = judge(policies, planned_subjects(plan(*changes), around))[-1]
    assert last.summary.counts == {PolicyOutcome.ERROR: 1}
    assert "step budget" in last.results[0].message


def test_the_patterns_of_all_policies_share_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.policies.evaluation.RUN_SECONDS", 0.2)
    around = Surroundings(NOW, "acme", "prod")
    slow = policy(f'"{"a" * 200}b".matches("^(a|a|aa)+$")', name="a")
    quick = policy('resource.name.matches("search")', name="b")
    last = judge([slow, quick], planned_subjects(plan(PROJECT), around))[-1]
    assert "regular expressions took too much time" in last.results[0].message


# --- messages, severities, exceptions


def test_a_message_is_evaluated_for_the_resource() -> None:
    made = policy("false", message='"Project " + resource.name + " is bad"')
    assert result(made, PROJECT).message == "Project search is bad"


@pytest.mark.parametrize("message", ["resource.spec.nothing", "1", "resource.id", '"a" + 1'])
def test_a_message_that_cannot_be_evaluated_hides_no_failure(message: str) -> None:
    found = result(policy("false", message=message), PROJECT)
    assert found.outcome is PolicyOutcome.FAIL
    assert found.message.startswith("the rule is false")


def test_without_a_message_the_description_or_the_rule_is_shown() -> None:
    assert "false: 1 == 2" in result(policy("1 ==  2"), PROJECT).message
    assert result(policy("false", description="Why."), PROJECT).message == "Why."


@pytest.mark.parametrize(
    ("severity", "refuses"), [("advisory", False), ("overridable", True), ("mandatory", True)]
)
def test_a_failure_refuses_unless_it_is_advisory(severity: str, refuses: bool) -> None:
    assert result(policy("false", severity=severity), PROJECT).refuses is refuses


def test_a_policy_is_mandatory_by_default() -> None:
    assert result(policy("false"), PROJECT).refuses


def test_an_override_permits_a_failure_and_keeps_it_visible() -> None:
    made = policy("false", severity="overridable")
    found = result(made, PROJECT, overrides={"p": "agreed"})
    assert (found.outcome, found.refuses, found.override) == (PolicyOutcome.FAIL, False, "agreed")


def exception(until: str, address: str = "Project/search") -> list[dict[str, str]]:
    return [{"address": address, "reason": "legacy", "owner": "cx", "until": until}]


@pytest.mark.parametrize("address", ["Project/search", "Project/*", "Project/sea*"])
def test_an_exception_covers_its_resource_until_the_end_of_its_last_day(address: str) -> None:
    found = result(policy("false", exceptions=exception("2027-01-15", address)), PROJECT)
    assert found.outcome is PolicyOutcome.EXCEPTED
    assert "legacy (exception until 2027-01-15, owner: cx)" in found.message
    assert not found.refuses


def test_an_exception_covers_a_rule_that_cannot_be_evaluated() -> None:
    made = policy("resource.spec.nothing == 1", exceptions=exception("2027-06-01"))
    assert result(made, PROJECT).outcome is PolicyOutcome.EXCEPTED


def test_an_expired_exception_has_no_effect_and_is_named() -> None:
    judgement = judged(policy("false", exceptions=exception("2027-01-14")), PROJECT)
    assert judgement.results[0].refuses
    assert "expired on 2027-01-14" in judgement.results[0].message
    assert [warning.summary for warning in judgement.warnings] == ["An exception has expired"]


def test_an_exception_of_another_resource_has_no_effect() -> None:
    made = policy("false", exceptions=exception("2027-06-01", "Project/support"))
    assert result(made, PROJECT).refuses


@pytest.mark.parametrize(("until", "warned"), [("2027-01-29", True), ("2027-01-30", False)])
def test_an_exception_is_announced_two_weeks_before_it_expires(until: str, warned: bool) -> None:
    warnings = judged(policy("false", exceptions=exception(until)), PROJECT).warnings
    assert [warning.summary for warning in warnings] == ["An exception expires soon"] * warned


def test_an_error_names_the_place_of_the_rule() -> None:
    rule = SourceLocation("policies.yaml", 6, 9)
    broken = replace(policy("1 / 0 == 1"), locations={"rule": rule})
    assert result(broken, change("Project/search", location=PLACE)).location == rule


def test_a_result_names_the_places_of_resource_and_policy() -> None:
    found = result(policy("false"), change("Project/search", location=PLACE))
    assert (found.location, found.policy_location) == (PLACE, PLACE)
    assert found.id == "policy/p/Project/search"


def test_results_beyond_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.policies.evaluation.MAX_RESULTS", 2)
    judgement = judged(policy("false"), PROJECT, LIMIT, STORE)
    assert len(judgement.results) == 2
    assert judgement.summary.counts == {PolicyOutcome.FAIL: 3}


# --- live objects


def test_live_policies_judge_what_exists_managed_or_not() -> None:
    managed = change(
        "VectorStore/search/docs", Action.UPDATE, id="vs_1", before={"name": "Old"}, after={}
    )
    found = type(plan())(
        "acme",
        "prod",
        (managed, PROJECT),
        unmanaged=(Unmanaged("ProjectKey", "key_1", "Laptop of Ada", "search"),),
    )
    subjects = live_subjects(found, Surroundings(NOW, "acme", "prod"))
    rule = 'resource.managed && live.name == "Old" && resource.spec.name == "Old"'
    (judgement,) = judge([policy(rule, on="live")], subjects)
    assert judgement.summary.counts == {PolicyOutcome.PASS: 1, PolicyOutcome.FAIL: 1}
    assert judgement.results[0].address == Address("ProjectKey", "Laptop of Ada", "search")
