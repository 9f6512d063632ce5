"""Which Stacks a change in the cluster makes due."""

from __future__ import annotations

from typing import Any

from reconciler.operator.registry import KnownKeys, Registry, StateClaim
from reconciler.operator.resources import ObjectKey
from tests.operator.makers import DIGEST, stack_body

KEY = ObjectKey("team", "search")


def _body(version: int = 1, generation: int = 1, **more: Any) -> dict[str, Any]:
    body = stack_body(source={"configMap": {"name": "files"}})
    body["metadata"] |= {"resourceVersion": str(version), "generation": generation, **more}
    return body


def test_a_new_stack_and_a_new_spec_ask_for_a_run() -> None:
    registry = Registry()
    assert registry.put_stack(_body()) == {KEY}
    assert registry.put_stack(_body(2, generation=2)) == {KEY}


def test_a_status_of_our_own_asks_for_nothing() -> None:
    registry = Registry()
    registry.put_stack(_body())
    assert registry.put_stack({**_body(2), "status": {"drifted": 1}}) == set()
    stack = registry.stack(KEY)
    assert stack is not None
    assert stack.status == {"drifted": 1}


def test_an_approval_asks_for_a_run_and_its_end_does_not() -> None:
    registry = Registry()
    registry.put_stack(_body())
    approved = _body(2, annotations={"reconciler.dev/approve": DIGEST})
    assert registry.put_stack(approved) == {KEY}
    assert registry.put_stack(_body(3)) == set()


def test_the_annotation_reconcile_asks_for_a_run() -> None:
    registry = Registry()
    registry.put_stack(_body())
    assert registry.put_stack(_body(2, annotations={"reconciler.dev/reconcile": "now"})) == {KEY}


def test_an_event_that_comes_late_changes_nothing() -> None:
    registry = Registry()
    registry.put_stack({**_body(5, generation=2), "status": {"drifted": 1}})
    assert registry.put_stack(_body(4)) == set()
    stack = registry.stack(KEY)
    assert stack is not None
    assert stack.generation == 2


def test_a_stack_that_was_created_again_replaces_the_old_one() -> None:
    registry = Registry()
    registry.put_stack(_body(5))
    assert registry.put_stack(_body(4, uid="uid-2")) == {KEY}


def test_a_config_map_wakes_its_readers_only_if_its_data_changed() -> None:
    registry = Registry()
    registry.put_stack(_body())
    files = {"metadata": {"namespace": "team", "name": "files"}, "data": {"a": "1"}}
    other = {"metadata": {"namespace": "other", "name": "files"}, "data": {"a": "1"}}
    assert registry.put_config_map(files) == {KEY}
    assert registry.put_config_map({**files, "status": 1}) == set()
    assert registry.put_config_map({**files, "data": {"a": "2"}}) == {KEY}
    assert registry.put_config_map(other) == set()
    assert registry.drop_config_map(ObjectKey("team", "files")) == {KEY}


def test_policies_of_the_organization_wake_its_stacks() -> None:
    registry = Registry()
    registry.put_stack(_body())
    secret = {"secretRef": {"name": "keys", "key": "admin"}}
    organization = {
        "metadata": {"namespace": "team", "name": "acme", "uid": "o", "generation": 1},
        "spec": {"adminKey": secret, "policies": [{"configMap": {"name": "rules"}}]},
    }
    assert registry.put_organization(organization) == {KEY}
    assert registry.put_organization(organization) == set()
    rules = {"metadata": {"namespace": "team", "name": "rules"}, "data": {}}
    assert registry.put_config_map(rules) == {KEY}
    assert registry.drop_organization(ObjectKey("team", "acme")) == {KEY}


YOUNG, CLAIM = ObjectKey("team", "young"), StateClaim("search", "prod")


def _aged(day: int, name: str = "search", *, manages: StateClaim | None = None) -> dict[str, Any]:
    """A Stack that was created on a day, and what its status says that it manages."""
    body = _body(creationTimestamp=f"2026-01-0{day}T00:00:00Z", uid=f"uid-{name}", name=name)
    if manages is not None:
        body["status"] = {"stack": manages.stack, "environment": manages.environment}
    return body


def test_the_first_stack_keeps_its_claim_until_it_is_gone() -> None:
    registry = Registry()
    registry.put_stack(_aged(1))
    registry.put_stack(_aged(2, "young"))
    assert registry.claim(KEY, CLAIM) is None
    assert registry.claim(YOUNG, CLAIM) == KEY
    assert registry.claim(YOUNG, StateClaim("search", "test")) is None
    assert registry.claim(YOUNG, CLAIM) == KEY
    assert registry.drop_stack(KEY) == {YOUNG}
    assert registry.claim(YOUNG, CLAIM) is None


def test_a_stack_that_was_created_again_unseen_lets_others_have_its_claim() -> None:
    registry = Registry()
    registry.put_stack(_aged(1))
    registry.put_stack(_aged(2, "young"))
    assert registry.claim(KEY, CLAIM) is None
    assert registry.claim(YOUNG, CLAIM) == KEY
    again = _aged(3)
    again["metadata"]["uid"] = "uid-again"
    assert registry.put_stack(again) == {KEY, YOUNG}
    assert registry.claim(YOUNG, CLAIM) is None


def test_an_older_stack_cannot_take_over_what_a_younger_one_manages() -> None:
    registry = Registry()
    registry.put_stack(_aged(2, "young"))
    registry.put_stack(_aged(1, manages=StateClaim("other", "prod")))
    assert registry.claim(YOUNG, CLAIM) is None
    assert registry.claim(KEY, CLAIM) == YOUNG
    assert registry.claim(YOUNG, CLAIM) is None


def test_after_a_restart_the_status_says_who_was_first() -> None:
    registry = Registry()
    registry.put_stack(_aged(1, manages=StateClaim("other", "prod")))
    registry.put_stack(_aged(2, "young", manages=CLAIM))
    assert registry.claim(KEY, CLAIM) == YOUNG
    assert registry.drop_stack(YOUNG) == {KEY}
    assert registry.claim(KEY, CLAIM) is None


def test_of_two_statuses_that_name_one_state_that_of_the_older_stack_counts() -> None:
    registry = Registry()
    registry.put_stack(_aged(1, manages=CLAIM))
    registry.put_stack(_aged(2, "young", manages=CLAIM))
    assert registry.claim(YOUNG, CLAIM) == KEY
    assert registry.claim(KEY, CLAIM) is None


def test_a_list_drops_what_it_lacks_and_not_what_came_meanwhile() -> None:
    registry = Registry()
    registry.put_stack(_body())
    before = registry.known()
    registry.put_stack(_body(name="new", uid="uid-2"))
    registry.drop_missing(before, KnownKeys())
    assert [str(stack.key) for stack in registry.stacks()] == ["team/new"]
