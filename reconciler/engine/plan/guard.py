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
from reconciler.model.destruction import Lost
from reconciler.model.kind import OnRemove, Removal, ScopeType
from reconciler.model.values import FileSet

_NO_GREAT_LOSS = frozenset(
    {Reason.EXPIRED, Reason.KEY_LOST, Reason.HALF_REPLACED, Reason.REQUESTED}
)
"""Why a replacement does not count: the old object is of no more use, or was named on the command line."""

_GONE = frozenset({Reason.DELETED_OUTSIDE, Reason.GONE})

FEW_RESOURCES = 5
"""Below this many managed resources a share of them says nothing, and only the count guards."""


FEW_VANISHED = 3
"""Fewer recorded objects than this can be gone without a word: somebody deletes two by hand."""


class Limits(Struct, frozen=True):
    """How much a plan may destroy: a share of what is managed, members of collections included, and a number.

    Deleted and replaced objects count, and so do revoked keys, removed members, and updates that take away access or
    data. `max_vanished_percent` is the share of the recorded objects that may be gone from the API at once, where
    `few_vanished` or more are gone.
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
    doubtful = [
        change
        for change in plan.changes
        if change.address not in allowed and change.matched_by not in allowed
    ]
    sentences = [sentence for change in plan.changes for sentence in _read_only_objects(change)]
    sentences += [sentence for change in doubtful for sentence in _of_change(change)]
    sentences += _of_archived(plan, doubtful)
    sentences += _of_keys(plan, doubtful, keys or {})
    sentences += vanished(plan, limits)
    if not plan.destroy:
        sentences += _of_number(plan, doubtful, limits)
    return sentences


def _read_only_objects(change: Change) -> Iterator[str]:
    """What nothing allows: the object is somebody else's to change, or must not go at all."""
    # What a rollback lets go gets its former values first, so forgetting can write.
    if change.refusal and (change.action.writes or change.fields):
        verb = _verb(change) if change.action.destroys else "changed"
        yield (
            f"{change.address} would be {verb}, but {change.refusal}; remove it from the manifests "
            f"with lifecycle: {{on_remove: retain}}, or leave it unchanged"
        )


def _of_change(change: Change) -> Iterator[str]:
    allow = f"--allow-delete {change.address}"
    if not change.action.destroys:
        yield from _of_losses(change, allow)
        return
    if change.prevent_destroy:
        yield (
            f"{change.address} would be {_verb(change)}, but is protected by "
            f"lifecycle.prevent_destroy; set prevent_destroy: false and apply that first, "
            f"or pass {allow}"
        )
    elif change.removal is Removal.ARCHIVE and change.on_remove != OnRemove.DELETE:
        yield (
            f"{change.address} would be archived, which cannot be undone; "
            f"set lifecycle: {{on_remove: delete}}, or pass {allow}"
        )


def _of_losses(change: Change, allow: str) -> Iterator[str]:
    """What an update must not destroy unasked: the last member of a collection, and the key of a protected object."""
    for loss in change.losses:
        if loss.empties:
            yield (
                f"{change.address}: the plan {loss.sentence}, which leaves it empty; pass {allow} to allow that"
            )
        elif loss.lost is Lost.KEY and change.prevent_destroy:
            yield (
                f"{change.address} is protected by lifecycle.prevent_destroy, "
                f"but the plan {loss.sentence}; set prevent_destroy: false and apply that first, "
                f"or pass {allow}"
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
                f"{project.address} would be {_verb(project)}, and {change.address} would be lost "
                f"with it, which {reason}; pass --allow-delete {change.address} to allow that"
            )


def _of_staying(change: Change) -> str:
    """Why an object is not to go away, where its own change does not say so."""
    if change.action.destroys or change.reason is Reason.GONE:
        return ""
    if change.prevent_destroy:
        return "is protected by lifecycle.prevent_destroy"
    if change.reason is Reason.RETAINED:
        return "is to be kept (lifecycle.on_remove)"
    return "" if change.action is Action.FORGET else "a manifest still declares"


def _of_keys(plan: Plan, doubtful: list[Change], keys: Mapping[str, KeyInUse]) -> Iterator[str]:
    """The key in use goes only with all that it opens; one that we cannot read anew does not go at all."""
    opened: dict[KeyInUse, list[str]] = {}
    for project, key in keys.items():
        opened.setdefault(key, []).append(project)
    for key, projects in opened.items():
        losing = next(
            (change for change in doubtful if change.address == key.writer and _loses(change, key)),
            None,
        )
        if losing is None or not key.is_delivered:
            continue
        staying = [
            change.address
            for change in plan.changes
            if (change.address.project or "") in projects
            and change.scope == ScopeType.PROJECT_KEY
            and change.action not in (Action.DELETE, Action.FORGET)
        ]
        if staying or not key.is_read_again:
            what = f" and {staying[0]} still needs it" if staying else ""
            end = (
                "would lose its key"
                if losing.action is Action.UPDATE
                else f"would be {_verb(losing)}"
            )
            yield (
                f"{key.writer} {end}, and its key is the one in use ({key.source}){what}; "
                f"configure another key first, or pass --allow-delete {key.writer}"
            )


def _loses(change: Change, key: KeyInUse) -> bool:
    """Whether a key is no good any more after a change of the resource that delivered it."""
    match change.action:
        case Action.DELETE:
            # What a replacement left behind had a key before this one.
            return change.reason is not Reason.LEFT_BEHIND
        case Action.REPLACE | Action.UPDATE:
            # A key that is to be delivered elsewhere is made anew, and the old one is deleted.
            moves = any(
                field.name == key.field and field.before is not None for field in change.fields
            )
            return moves or (change.action is Action.REPLACE and not key.is_read_again)
    return False


def _verb(change: Change) -> str:
    if change.action is Action.REPLACE:
        return "replaced"
    return "archived" if change.removal is Removal.ARCHIVE else "deleted"


def _of_number(plan: Plan, doubtful: list[Change], limits: Limits) -> Iterator[str]:
    """Too much that is lost at once, by number or by share."""
    losing = [change for change in doubtful if _lost(change)]
    lost = sum(map(_lost, losing))
    # What rules match is nobody's, and no share of what is managed.
    ours = [change for change in losing if change.matched_by is None]
    lost_of_ours = sum(map(_lost, ours))
    managed = sum(
        1 for change in plan.changes if change.id is not None and change.matched_by is None
    )
    whole = managed + sum(_members_before(change) for change in plan.changes)
    percent = 100 * lost_of_ours / whole if whole else 0
    if lost > limits.max_deletes:
        yield (
            f"the plan {_what(losing)} ({_few(losing)}), more than guards.max_deletes allows "
            f"({limits.max_deletes}); {_allowing(losing)}"
        )
    elif whole >= FEW_RESOURCES and percent > limits.max_delete_percent:
        yield (
            f"the plan {_what(ours, of=whole)} ({_few(ours)}), {percent:.0f} %, more than "
            f"guards.max_delete_percent allows ({limits.max_delete_percent} %); {_allowing(ours)}"
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
        f"more than guards.max_vanished_percent allows ({limits.max_vanished_percent} %). The keys "
        "or the state probably belong to another organization. If the objects were really "
        f"deleted, set guards: {{max_vanished_percent: {percent}}} in the stack file"
    )
    return [sentence]


def _lost(change: Change) -> int:
    """How much of a change counts: an object once, however much goes with it; else its keys, members and access."""
    if change.action is Action.DELETE:
        return 1
    if change.action is Action.REPLACE:
        return 1 if change.is_destructive and change.reason not in _NO_GREAT_LOSS else 0
    counted = [loss for loss in change.losses if loss.lost.counts]
    one_by_one = sum(loss.count for loss in counted if loss.lost in (Lost.KEY, Lost.MEMBER))
    return one_by_one + any(loss.lost not in (Lost.KEY, Lost.MEMBER) for loss in counted)


def _members_before(change: Change) -> int:
    return sum(len(value.members) for value in change.before.values() if isinstance(value, FileSet))


def _what(losing: list[Change], *, of: int | None = None) -> str:
    """`deletes 4 objects`, `replaces 2 objects and removes 12 members, 14 in all`."""
    staying = [change for change in losing if not change.action.destroys]
    losses = [loss for change in staying for loss in change.losses]
    numbers = [
        ("deletes", sum(change.action is Action.DELETE for change in losing), "object"),
        ("replaces", sum(change.action is Action.REPLACE for change in losing), "object"),
        ("revokes", sum(loss.count for loss in losses if loss.lost is Lost.KEY), "key"),
        ("removes", sum(loss.count for loss in losses if loss.lost is Lost.MEMBER), "member"),
        ("removes access or data in", sum(_takes_away(change) for change in staying), "object"),
    ]
    parts = [(verb, number, noun) for verb, number, noun in numbers if number]
    if len(parts) == 1:
        [(verb, number, noun)] = parts
        share = f"{number} of {of}" if of is not None else str(number)
        return f"{verb} {share} {noun}{'' if (of or number) == 1 else 's'}"
    texts = [f"{verb} {number} {noun}{'' if number == 1 else 's'}" for verb, number, noun in parts]
    total = sum(number for _, number, _ in parts)
    whole = f"{total} of {of}" if of is not None else str(total)
    return f"{', '.join(texts[:-1])} and {texts[-1]}, {whole} in all"


def _takes_away(change: Change) -> bool:
    return any(loss.lost in (Lost.ACCESS, Lost.DATA) for loss in change.losses)


def _few(deletes: list[Change]) -> str:
    return ", ".join(str(change.address) for change in deletes[:3]) + (
        " …" if len(deletes) > 3 else ""
    )


def _allowing(deletes: list[Change]) -> str:
    rules = sorted({str(change.matched_by) for change in deletes if change.matched_by is not None})
    by_rule = f", or --allow-delete {rules[0]} to allow all its matches" if rules else ""
    return f"pass --allow-delete ADDRESS for each deletion to allow{by_rule}"
