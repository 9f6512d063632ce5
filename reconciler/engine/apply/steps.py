"""The steps of a plan and their order.

A change is one step. A replacement is two, and the wait for a job is one more. Only this module
decides the order of steps; the scheduler follows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

from msgspec import Struct

from reconciler.engine.graph import closure
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Plan, Reason
from reconciler.model.sinks import places_of, write_to_of
from reconciler.model.values import Spec


class StepKind(StrEnum):
    """The part of a change that a step carries out."""

    WRITE = "write"
    DELETE = "delete"
    WAIT = "wait"


class Step(Struct, frozen=True):
    """One unit of work.

    `id` tells the objects that replacements left behind apart; it is None for all other steps.
    """

    address: Address
    kind: StepKind
    id: str | None = None


def steps_of(plan: Plan) -> dict[Step, Change]:
    """The steps of a plan, in plan order, each with its change."""
    steps: dict[Step, Change] = {}
    for change in plan.pending:
        # Without the id, two objects that one address left behind would be the same step.
        id = change.id if change.reason is Reason.LEFT_BEHIND else None
        # Adopting and forgetting are writes too, at least of the record.
        if change.action is not Action.DELETE:
            steps[Step(change.address, StepKind.WRITE, id)] = change
        if change.action.destroys:
            steps[Step(change.address, StepKind.DELETE, id)] = change
        if change.wait_for_job:
            steps[Step(change.address, StepKind.WAIT, id)] = change
    return steps


def dependencies_of(steps: Mapping[Step, Change]) -> dict[Step, set[Step]]:
    """The steps that each step waits for.

    Writes wait for the writes of their references. An object is deleted once everything that
    referred to it has been deleted or rewritten. A replacement deletes first, unless its change has
    `create_before_destroy`.
    """
    # Only steps of this plan are nodes: an address without a change delays nothing.
    needs: dict[Step, set[Step]] = {step: set() for step in steps}
    for step, change in steps.items():
        # The dependencies of a leftover are those of its replacement, which have an order already.
        if change.reason is Reason.LEFT_BEHIND:
            _order_left_behind(needs, steps, step)
            continue
        write, delete = Step(step.address, StepKind.WRITE), Step(step.address, StepKind.DELETE)
        if change.action is Action.REPLACE and change.create_before_destroy:
            needs[delete].add(write)
        elif change.action is Action.REPLACE:
            needs[write].add(delete)
        if change.wait_for_job:
            needs[Step(step.address, StepKind.WAIT)].add(write)
        for address in change.depends_on:
            _order_reference(needs, steps, step.address, address)
    # Last, because it may only add an order that the references above have not excluded.
    _free_sinks_first(needs, steps)
    return needs


def _order_left_behind(
    needs: dict[Step, set[Step]], steps: Mapping[Step, Change], step: Step
) -> None:
    """Place the delete of an object that an interrupted replacement left behind."""
    # Objects that referred to it in its lifetime may do so until they are rewritten.
    for other, change in steps.items():
        if other.id is None and step.address in change.depends_on:
            needs[step].add(other)
    # The record of its replacement lists it before the delete, so a crash in between is harmless.
    replacement = Step(step.address, StepKind.WRITE)
    if replacement in steps:
        needs[step].add(replacement)
    # The record goes with the last object of its address, and must list all others until then.
    last = Step(step.address, StepKind.DELETE)
    if last in steps and steps[last].action is Action.DELETE:
        needs[last].add(step)
    # Its parent, and the key that reaches it, must outlive it.
    for address in steps[step].depends_on:
        target = Step(address, StepKind.DELETE)
        if target in steps and steps[target].action is Action.DELETE:
            needs[target].add(step)


def _order_reference(
    needs: dict[Step, set[Step]], steps: Mapping[Step, Change], source: Address, target: Address
) -> None:
    """Order the steps of an address and of one that it refers to."""
    write, delete = Step(source, StepKind.WRITE), Step(source, StepKind.DELETE)
    target_write, target_delete = Step(target, StepKind.WRITE), Step(target, StepKind.DELETE)
    if write in steps and target_write in steps:
        if steps[write].action is steps[target_write].action is Action.FORGET:
            # A retained project must stay recorded as long as any object in it is recorded:
            # otherwise a later run would delete the project instead of forgetting it.
            needs[target_write].add(write)
        else:
            # References to a job may be to its results, so they wait for its end if anything does.
            target_wait = Step(target, StepKind.WAIT)
            needs[write].add(target_wait if target_wait in steps else target_write)
    # Deletes go in the opposite order: dependents first, then their targets.
    if target_delete not in steps:
        return
    # A target that is deleted before its replacement exists cannot wait for its users: their
    # rewrite waits for the replacement.
    target_change = steps[target_delete]
    if delete in steps:
        needs[target_delete].add(delete)
    is_deleted_last = target_change.action is Action.DELETE or target_change.create_before_destroy
    if write in steps and is_deleted_last:
        needs[target_delete].add(write)


def _free_sinks_first(needs: dict[Step, set[Step]], steps: Mapping[Step, Change]) -> None:
    """Delete a key before another one goes to its sink: a sink never overwrites a foreign key."""
    deletes: dict[str, Step] = {}
    for step, change in steps.items():
        if step.kind is StepKind.DELETE and change.action is Action.DELETE:
            deletes |= dict.fromkeys(_sinks(change.before), step)
    for step, change in steps.items():
        is_delivery = change.action is Action.CREATE or change.key_work
        if step.kind is not StepKind.WRITE or not is_delivery:
            continue
        for sink in _sinks(change.desired):
            delete = deletes.get(sink)
            # Where the delete waits for this write already, the opposite order would be a cycle.
            if delete is not None and step not in closure(needs, [delete]):
                needs[step].add(delete)


def _sinks(spec: Spec) -> Iterator[str]:
    """The targets that the keys of a spec are delivered to, each as a text to compare."""
    for value in spec.values():
        yield from places_of(write_to_of(value))
