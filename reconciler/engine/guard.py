"""Guards: plans that we refuse. They read a plan and change nothing.

Each refusal names the address, the reason, and the narrowest thing that would allow it. There is no switch that
allows everything.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct

from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Plan, Reason
from reconciler.model.kind import OnRemove, Removal, Scope

_GONE = frozenset({Reason.DELETED_OUTSIDE, Reason.GONE})

FEW_RESOURCES = 5
"""Below this many managed resources a share of them says nothing, and only the count guards."""


FEW_VANISHED = 3
"""Fewer recorded objects than this can be gone without a word: somebody deletes two by hand."""


class Limits(Struct, frozen=True):
    """How much a plan may delete: a share of what is managed, in percent, and a number of objects.

    `max_vanished_percent` is the share of the recorded objects that may be gone from the API at
    once, where `few_vanished` or more are gone.
    """

    max_delete_percent: int = 30
    max_deletes: int = 10
    max_vanished_percent: int = 30
    few_vanished: int = FEW_VANISHED


class KeyInUse(Struct, frozen=True):
    """A key that opens a project: the resource and the field that deliver it, and where we read it from.

    `is_read_again` where that is a file which is read whenever the key is needed: a new key takes over by itself.
    `is_delivered` is False for a key that is still to be made.
    """

    writer: Address
    field: str
    source: str
    is_read_again: bool = True
    is_delivered: bool = True


def refusals(
    plan: Plan,
    limits: Limits,
    *,
    allowed: Collection[Address] = (),
    keys: Mapping[str, KeyInUse] | None = None,
) -> list[str]:
    """A sentence for each thing in the plan that must not happen unasked; an empty list lets it pass.

    `keys` are those in use, by the project that they open; "" is the default scope.
    """
    doubtful = [change for change in plan.changes if change.address not in allowed and change.matched_by not in allowed]
    found = [sentence for change in plan.changes for sentence in _of_held(change)]
    found += [sentence for change in doubtful for sentence in _of_change(change)]
    found += _of_archived(plan, doubtful)
    found += _of_keys(plan, doubtful, keys or {})
    found += vanished(plan, limits)
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


def _of_archived(plan: Plan, doubtful: list[Change]) -> Iterator[str]:
    """What is in a project goes with it, whatever is planned for it: also what is protected, retained, or declared."""
    archived = {
        change.address.name: change
        for change in plan.changes
        if change.action.destroys and change.removal is Removal.ARCHIVE
    }
    for change in doubtful:
        project = archived.get(change.address.project or "")
        reason = _of_staying(change) if project else ""
        if project and reason:
            yield (
                f"{project.address} would be {_verb(project)}, and {change.address} would be lost with it, which "
                f"{reason}; pass --allow-delete {change.address} if that is meant"
            )


def _of_staying(change: Change) -> str:
    """Why an object is not to go away, where its own change does not say so."""
    if change.action.destroys or change.reason is Reason.GONE:
        return ""
    if change.prevent_destroy:
        return "is protected by lifecycle.prevent_destroy"
    if change.reason is Reason.RETAINED:
        return "is to be retained (lifecycle.on_remove)"
    return "" if change.action is Action.FORGET else "a manifest still declares"


def _of_keys(plan: Plan, doubtful: list[Change], keys: Mapping[str, KeyInUse]) -> Iterator[str]:
    """The key in use goes only with all that it opens; one that we cannot read anew does not go at all."""
    opened: dict[KeyInUse, list[str]] = {}
    for project, key in keys.items():
        opened.setdefault(key, []).append(project)
    for key, projects in opened.items():
        losing = next((change for change in doubtful if change.address == key.writer and _loses(change, key)), None)
        if losing is None or not key.is_delivered:
            continue
        staying = [
            change.address
            for change in plan.changes
            if (change.address.project or "") in projects
            and change.scope == Scope.PROJECT_KEY
            and change.action not in (Action.DELETE, Action.FORGET)
        ]
        if staying or not key.is_read_again:
            what = f", where {staying[0]} stays" if staying else ""
            end = "would lose its key" if losing.action is Action.UPDATE else f"would be {_verb(losing)}"
            yield (
                f"{key.writer} {end}, and its key is the one in use ({key.source}){what}; give the stack another key "
                f"there first, or pass --allow-delete {key.writer}"
            )


def _loses(change: Change, key: KeyInUse) -> bool:
    """Whether a key is no good any more after a change of the resource that delivered it."""
    match change.action:
        case Action.DELETE:
            # What a replacement left behind had a key before this one.
            return change.reason is not Reason.LEFT_BEHIND
        case Action.REPLACE | Action.UPDATE:
            # A key that is to be delivered elsewhere is made anew, and the old one is deleted.
            moves = any(field.name == key.field and field.before is not None for field in change.fields)
            return moves or (change.action is Action.REPLACE and not key.is_read_again)
    return False


def _verb(change: Change) -> str:
    if change.action is Action.REPLACE:
        return "replaced"
    return "archived" if change.removal is Removal.ARCHIVE else "deleted"


def _of_number(plan: Plan, deletes: list[Change], limits: Limits) -> Iterator[str]:
    # What rules match is nobody's, and no share of what is managed.
    managed = sum(1 for change in plan.changes if change.id is not None and change.matched_by is None)
    ours = [change for change in deletes if change.matched_by is None]
    percent = 100 * len(ours) / managed if managed else 0
    if len(deletes) > limits.max_deletes:
        yield (
            f"the plan deletes {len(deletes)} objects ({_few(deletes)}), over guards.max_deletes of "
            f"{limits.max_deletes}; {_allowing(deletes)}"
        )
    elif managed >= FEW_RESOURCES and percent > limits.max_delete_percent:
        yield (
            f"the plan deletes {len(ours)} of {managed} objects ({_few(ours)}), {percent:.0f} %, over "
            f"guards.max_delete_percent of {limits.max_delete_percent}; {_allowing(ours)}"
        )


def vanished(plan: Plan, limits: Limits) -> list[str]:
    """A sentence where so many recorded objects are gone that the organization is doubtful.

    An object that was archived is still shown, so it is not gone.
    """
    gone = [change for change in plan.changes if change.is_change and change.reason in _GONE]
    known = {change.address for change in plan.changes if change.id and change.matched_by is None}
    recorded = len(known | {change.address for change in gone})
    if len(gone) < limits.few_vanished:
        return []
    percent = math.ceil(100 * len(gone) / recorded)
    if percent <= limits.max_vanished_percent:
        return []
    sentence = (
        f"{len(gone)} of {recorded} recorded objects are gone at once ({_few(gone)}), {percent} %, "
        f"over guards.max_vanished_percent of {limits.max_vanished_percent}. Probably the keys or "
        "the state are of another organization. If the objects were really deleted, set guards: "
        f"{{max_vanished_percent: {percent}}} in the stack file"
    )
    return [sentence]


def _few(deletes: list[Change]) -> str:
    return ", ".join(str(change.address) for change in deletes[:3]) + (" …" if len(deletes) > 3 else "")


def _allowing(deletes: list[Change]) -> str:
    rules = sorted({str(change.matched_by) for change in deletes if change.matched_by is not None})
    by_rule = f", or --allow-delete {rules[0]} for all that it matches" if rules else ""
    return f"pass --allow-delete ADDRESS for each that is meant{by_rule}"
