"""Claims about stacks that read outputs of others: order, failures and cycles."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet.conftest import Fleet, group


def reader(name: str, *needed: str) -> str:
    """A group whose name contains outputs of other stacks."""
    values = " ".join(f"${{stack.{other}.team}}" for other in needed)
    return f"kind: Group\nmetadata: {{name: team}}\nspec: {{name: '{name} {values}'}}\n"


OUTPUT = '  outputs: {team: "${Group/team}"}\n'


@pytest.fixture
def chain(fleet: Fleet, tmp_path: Path) -> Fleet:
    """`stacks/a` reads an output of `stacks/b`, which reads one of `stacks/c`."""
    fleet.variables["RECONCILER_BACKEND"] = f"local:{tmp_path / 'states'}"
    fleet.add("stacks/a", spec=OUTPUT, manifest=reader("a", "b"))
    fleet.add("stacks/b", spec=OUTPUT, manifest=reader("b", "c"))
    return fleet.add("stacks/c", spec=OUTPUT)


def test_a_stack_is_applied_after_those_whose_outputs_it_reads(chain: Fleet) -> None:
    assert set(chain.statuses("apply", "--yes", expect=0).values()) == {"applied"}
    ids = {record.body["name"]: record.id for record in chain.emulator.store.all("group")}
    last = f"b {ids['c']}"
    assert set(ids) == {"c", last, f"a {ids[last]}"}


def test_a_stack_is_not_applied_if_one_that_it_reads_failed(chain: Fleet) -> None:
    chain.add("stacks/c", spec=OUTPUT, manifest="kind: Nonsense\n").add("stacks/d")
    report = chain.report("apply", "--yes", expect=13)
    stacks = {each["folder"]: each for each in report["stacks"]}
    assert chain.groups() == ["d"]
    assert stacks["stacks/b"]["reason"] == "DependencyNotApplied"
    assert (
        "outputs of stacks/c@default, which was not applied: failed"
        in (stacks["stacks/b"]["message"])
    )
    assert stacks["stacks/a"]["reason"] == "DependencyNotApplied"


def test_a_stack_waits_for_one_that_is_in_sync_already(chain: Fleet) -> None:
    chain.fleet("apply", "--yes", expect=0)
    chain.add("stacks/a", spec=OUTPUT, manifest=reader("new", "b"))
    assert chain.statuses("apply", "--yes", expect=0) == {
        "stacks/a": "applied",
        "stacks/b": "in sync",
        "stacks/c": "in sync",
    }


def test_a_stack_outside_of_the_fleet_is_not_waited_for(chain: Fleet) -> None:
    chain.fleet("apply", "--yes", expect=0)
    assert chain.statuses("apply", "--yes", "--stacks", "stacks/a", expect=0) == {
        "stacks/a": "in sync"
    }


def test_stacks_that_wait_for_each_other_are_errors_and_the_others_go_on(chain: Fleet) -> None:
    chain.add("stacks/c", spec=OUTPUT, manifest=reader("c", "b")).add("stacks/d")
    report = chain.report("apply", "--yes", expect=13)
    stacks = {each["folder"]: each for each in report["stacks"]}
    for name in ("stacks/b", "stacks/c"):
        assert "Cycle of stacks" in stacks[name]["message"]
    assert stacks["stacks/a"]["reason"] == "DependencyNotApplied"
    assert chain.groups() == ["d"]


def test_an_expression_in_the_stack_file_makes_an_order_too(chain: Fleet) -> None:
    chain.add("stacks/a", spec='  outputs: {all: "${stack.b.team}"}\n')
    chain.fleet("apply", "--yes", "--at-once", "1", expect=0)
    assert chain.run("-C", "stacks/a", "output", "all", expect=0).out.startswith("group")


def test_a_plan_needs_no_order(chain: Fleet) -> None:
    chain.add("stacks/c", spec=OUTPUT, manifest=group("c"))
    chain.fleet("apply", "--yes", expect=0)
    chain.add("stacks/c", spec=OUTPUT, manifest="kind: Nonsense\n")
    assert chain.statuses("plan", expect=1) == {
        "stacks/c": "failed",
        "stacks/a": "in sync",
        "stacks/b": "in sync",
    }


def test_a_stack_that_waits_for_outputs_of_a_pending_one_is_pending(chain: Fleet) -> None:
    report = chain.report("plan", expect=0)
    stacks = {each["folder"]: each for each in report["stacks"]}
    assert {each["status"] for each in report["stacks"]} == {"pending"}
    assert stacks["stacks/a"]["reason"] == "WaitsForOutputs"
    assert "outputs of stacks/b@default" in stacks["stacks/a"]["message"]
    assert stacks["stacks/a"]["digest"] is None


def test_an_approved_apply_goes_on_with_those_that_waited_once_they_are_approved(
    chain: Fleet,
) -> None:
    for code in (10, 10, 0):
        chain.fleet("apply", "--approve", chain.report("plan")["digest"], expect=code)
    assert len(chain.groups()) == 3


def test_outputs_that_no_stack_of_the_fleet_will_have_are_an_error(chain: Fleet) -> None:
    assert chain.statuses("plan", "--stacks", "stacks/a", expect=1) == {"stacks/a": "failed"}
    chain.add("stacks/b").fleet("apply", "--yes", "--stacks", "stacks/b", expect=0)
    assert chain.statuses("plan", "--stacks", "stacks/[ab]", expect=1)["stacks/a"] == "failed"
