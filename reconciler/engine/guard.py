"""Guards: plans that we refuse. They read a plan and change nothing.

Each refusal names the address, the reason, and the narrowest thing that would allow it. There is no switch that
allows everything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Plan
from reconciler.model.kind import OnRemove, Removal, Scope

FEW_RESOURCES = 5
"""Below this many managed resources a share of them says nothing, and only the count guards."""


@dataclass(frozen=True)
class Limits:
    """How much a plan may delete: a share of what is managed, in percent, and a number of objects."""

    max_delete_percent: int = 30
    max_deletes: int = 10


def refusals(
    plan: Plan,
    limits: Limits,
    *,
    allowed: Collection[Address] = (),
    key_writers: Mapping[str, Address] | None = None,
) -> list[str]:
    """A sentence for each thing in the plan that must not happen unasked; an empty list lets it pass.

    `key_writers` names, for a project, the resource that delivers the key which opens it.
    """
    doubtful = [change for change in plan.changes if change.address not in allowed]
    found = [sentence for change in plan.changes for sentence in _of_held(change)]
    found += [sentence for change in doubtful for sentence in _of_change(change)]
    found += [s for project, writer in (key_writers or {}).items() for s in _of_key(plan, doubtful, project, writer)]
    if not plan.destroy:
        found += _of_number(plan, [change for change in doubtful if change.action is Action.DELETE], limits)
    return found


def _of_held(change: Change) -> Iterator[str]:
    """What nothing allows: the object is somebody else's to change, or must not go at all."""
    # What a rollback lets go gets its former values first, so forgetting can write.
    if change.held and (change.action.writes or change.fields):
        verb = _verb(change) if change.action.destroys else "changed"
        yield (
            f"{change.address} would be {verb}, and {change.held}; take it out of the manifests with lifecycle: "
            f"{{on_remove: retain}}, or leave it as it is"
        )


def _of_change(change: Change) -> Iterator[str]:
    if not change.action.destroys:
        return
    allow = f"--allow-delete {change.address}"
    if change.prevent_destroy:
        yield (
            f"{change.address} is protected by lifecycle.prevent_destroy and would be {_verb(change)}; set "
            f"prevent_destroy: false and apply that first, or pass {allow}"
        )
    elif change.removal is Removal.ARCHIVE and change.on_remove != OnRemove.DELETE:
        yield (
            f"{change.address} would be archived, which cannot be undone; set lifecycle: {{on_remove: delete}}, or "
            f"pass {allow}"
        )


def _of_key(plan: Plan, doubtful: list[Change], project: str, writer: Address) -> Iterator[str]:
    """The key in use goes only with all that it opens."""
    is_deleted = any(change.address == writer and change.action is Action.DELETE for change in doubtful)
    staying = [
        change.address
        for change in plan.changes
        if change.address.project == project
        and change.scope == Scope.PROJECT_KEY
        and change.action not in (Action.DELETE, Action.FORGET)
    ]
    if is_deleted and staying:
        yield (
            f"{writer} would be deleted, and its key is the one in use for project {project}, where {staying[0]} "
            f"stays; give credentials.projects.{project} another key first, or pass --allow-delete {writer}"
        )


def _verb(change: Change) -> str:
    if change.action is Action.REPLACE:
        return "replaced"
    return "archived" if change.removal is Removal.ARCHIVE else "deleted"


def _of_number(plan: Plan, deletes: list[Change], limits: Limits) -> Iterator[str]:
    managed = sum(1 for change in plan.changes if change.id is not None)
    count = len(deletes)
    if not count:
        return
    percent = 100 * count / managed if managed else 0
    few = ", ".join(str(change.address) for change in deletes[:3]) + (" …" if count > 3 else "")
    allow = "pass --allow-delete ADDRESS for each that is meant"
    if count > limits.max_deletes:
        yield f"the plan deletes {count} objects ({few}), over guards.max_deletes of {limits.max_deletes}; {allow}"
    elif managed >= FEW_RESOURCES and percent > limits.max_delete_percent:
        yield (
            f"the plan deletes {count} of {managed} objects ({few}), {percent:.0f} %, over guards.max_delete_percent "
            f"of {limits.max_delete_percent}; {allow}"
        )
