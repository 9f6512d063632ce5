"""Claims about rollbacks of every kind: afterwards the former manifest has nothing to plan."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.engine.apply.scheduler import ApplyContext, apply_plan
from reconciler.engine.ownership import Ownership
from reconciler.engine.plan.rollback import RunHistory, as_rollback, rollback_target
from reconciler.kinds import KINDS
from reconciler.model.change import OutcomeStatus
from reconciler.model.kind import Kind, OnRemove, Removal
from tests.properties.bench import Bench, Stack, pending, resource, valid_specs
from tests.properties.strategies import examples

THINGS = [kind for kind in KINDS.values() if kind.job is None]
"""Kinds of objects that are not jobs: what a job has done is done."""

each_thing = pytest.mark.parametrize("kind", THINGS, ids=attrgetter("name"))


@st.composite
def edits(draw: st.DrawFn, kind: Kind) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two specs of one object."""
    first = draw(valid_specs(kind))
    return first, draw(valid_specs(kind, like=first))


def roll_back(stack: Stack, run_id: int) -> None:
    """Undo a run as the command does, and insist that all of it went through."""
    records = stack.store.records()
    before = rollback_target(
        RunHistory(run_id, stack.store.runs.pre_images(run_id)), records, KINDS
    )
    targets = before.changed_by_run & {*records, *(item.address for item in before.resources)}
    if not targets:
        return
    plan = as_rollback(
        stack.plan(*before.resources, targets=tuple(sorted(targets))), before, records, KINDS
    )
    assert plan.diagnostics == ()
    run = stack.store.runs.begin(command="rollback", user="u", host="h", pid=1, plan_digest="d")
    ownership = Ownership("shop", "test")
    result = apply_plan(
        plan, ApplyContext(stack.provider, stack.store, KINDS, ownership, run, parallelism=1)
    )
    assert [
        (str(one), one.message)
        for one in result.outcomes
        if one.status is not OutcomeStatus.APPLIED
    ] == []


@each_thing
def test_an_edit_that_is_rolled_back_leaves_no_difference(kind: Kind, bench: Bench) -> None:
    @examples(8)
    @given(specs=edits(kind))
    def check(specs: tuple[dict[str, Any], dict[str, Any]]) -> None:
        with bench.fresh() as stack:
            first, second = (resource(kind, spec) for spec in specs)
            stack.apply(first)
            stack.apply(second)
            roll_back(stack, 2)
            assert pending(stack.plan(first)) == []

    check()


@each_thing
def test_what_a_run_declared_first_is_not_managed_after_its_rollback(
    kind: Kind, bench: Bench
) -> None:
    @examples(4)
    @given(spec=valid_specs(kind))
    def check(spec: dict[str, Any]) -> None:
        with bench.fresh() as stack:
            stack.apply()
            stack.apply(resource(kind, spec))
            roll_back(stack, 2)
            assert pending(stack.plan()) == []

    check()


@each_thing
def test_a_create_that_is_rolled_back_can_be_made_again(kind: Kind, bench: Bench) -> None:
    if kind.on_remove is OnRemove.RETAIN or kind.removal is Removal.ARCHIVE:
        pytest.skip("what it makes is retained")

    @examples(4)
    @given(spec=valid_specs(kind))
    def check(spec: dict[str, Any]) -> None:
        with bench.fresh() as stack:
            wanted = resource(kind, spec)
            stack.apply()
            stack.apply(wanted)
            roll_back(stack, 2)
            stack.apply(wanted)
            roll_back(stack, 4)
            stack.apply(wanted)
            assert pending(stack.plan(wanted)) == []

    check()


FOUND = [kind for kind in THINGS if kind.unique_key and kind.calls.listable]
"""Kinds of which an object that is there already is ours as soon as a manifest declares it."""


@pytest.mark.parametrize("kind", FOUND, ids=attrgetter("name"))
def test_what_was_there_before_a_run_is_there_after_its_rollback_and_is_nobodys(
    kind: Kind, bench: Bench
) -> None:
    @examples(6)
    @given(specs=edits(kind))
    def check(specs: tuple[dict[str, Any], dict[str, Any]]) -> None:
        with bench.fresh() as stack:
            first, second = (resource(kind, spec) for spec in specs)
            made = stack.make(first)
            stack.apply()
            stack.apply(second)
            assert stack.store.records()[second.address].id == made.id
            roll_back(stack, 2)
            assert pending(stack.plan()) == []
            assert stack.provider.get(kind, first.address.project, made.id) is not None

    check()
