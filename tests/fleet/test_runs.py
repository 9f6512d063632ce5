"""Claims about plan, apply and drift of many stacks."""

from __future__ import annotations

from tests.fleet.conftest import Fleet, group


def test_a_plan_changes_nothing_and_lists_what_is_pending(fleet: Fleet) -> None:
    assert fleet.statuses("plan", expect=0) == {"stacks/a": "pending", "stacks/b": "pending"}
    assert fleet.groups() == []


def test_apply_applies_every_stack(fleet: Fleet) -> None:
    assert fleet.statuses("apply", "--yes", expect=0) == {
        "stacks/a": "applied",
        "stacks/b": "applied",
    }
    assert fleet.groups() == ["a", "b"]
    assert fleet.statuses("plan", expect=0) == {"stacks/a": "in sync", "stacks/b": "in sync"}


def test_drift_of_one_stack_ends_with_two_and_comes_first(fleet: Fleet) -> None:
    fleet.fleet("apply", "--yes", expect=0)
    fleet.rename_group("b", "other")
    report = fleet.report("drift", expect=2)
    assert [stack["folder"] for stack in report["stacks"]] == ["stacks/b", "stacks/a"]
    [drift] = report["stacks"][0]["drift"]
    assert (drift["address"], drift["fields"]) == ("Group/team", ["name"])


def test_a_broken_stack_does_not_stop_the_others(fleet: Fleet) -> None:
    fleet.add("stacks/a", manifest="kind: Nonsense\n").add("stacks/c", spec="  nonsense: 1\n")
    statuses = fleet.statuses("apply", "--yes", expect=13)
    assert statuses == {"stacks/a": "failed", "stacks/c": "failed", "stacks/b": "applied"}
    assert fleet.groups() == ["b"]


def test_failures_alone_end_with_one(fleet: Fleet) -> None:
    fleet.add("stacks/a", manifest="kind: Nonsense\n")
    fleet.statuses("plan", expect=1)


def test_apply_without_approval_is_refused_before_any_call(fleet: Fleet) -> None:
    done = fleet.fleet("apply", expect=1)
    assert "Cannot ask for approval" in done.err
    assert fleet.emulator.requests == []


def test_a_guard_refuses_one_stack_and_ends_with_eleven(fleet: Fleet) -> None:
    many = "---\n".join(group(f"a{number}", f"g{number}") for number in range(12))
    fleet.add("stacks/a", manifest=many).fleet("apply", "--yes", expect=0)
    fleet.add("stacks/a", manifest=group("a0", "g0")).add("stacks/b", manifest=group("new"))
    assert fleet.statuses("apply", "--yes", expect=11) == {
        "stacks/a": "refused",
        "stacks/b": "applied",
    }
    assert "a11" in fleet.groups()


def test_an_address_of_the_state_that_no_stack_can_use_is_one_error(fleet: Fleet) -> None:
    fleet.variables["RECONCILER_BACKEND"] = "nonsense"
    done = fleet.fleet("plan", expect=1)
    assert done.err.count("has no scheme") == 1
    assert done.out == ""
