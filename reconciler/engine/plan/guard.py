"""Guards: they read a plan and refuse what must not happen unasked.

Each refusal names the address, the reason, and the narrowest option that permits it. No option
permits everything.
"""

from __future__ import annotations

import math
from collections import Counter
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
"""Reasons for which a replacement does not count: the old object is useless, or the user named it.
"""

_LOSSES = (
    ("deletes", "object"),
    ("replaces", "object"),
    ("revokes", "key"),
    ("removes", "member"),
    ("removes access or data in", "object"),
)
"""Verb and noun of each sort of loss, in the order of a sentence."""

_GONE = frozenset({Reason.DELETED_OUTSIDE, Reason.GONE})

FEW_RESOURCES = 5
"""With fewer managed resources than this, shares mean nothing, and only the number is limited."""


FEW_VANISHED = 3
"""The number of vanished objects from which on the share is checked: people delete one or two by
hand."""


class Limits(Struct, frozen=True):
    """How much a plan may destroy.

    Deleted and replaced objects count, and so do revoked keys, removed members, and updates that
    remove access or data.
    """

    max_delete_percent: int = 30
    """The share of managed objects, members of collections included."""
    max_deletes: int = 10
    max_vanished_percent: int = 30
    """The share of recorded objects that may be missing at the API at once."""
    few_vanished: int = FEW_VANISHED
    """The number of missing objects from which on the share is checked."""


class KeyInUse(Struct, frozen=True):
    """A key that this run uses to reach a project."""

    writer: Address
    """The resource that delivers the key."""
    field: str
    """The field of the resource that delivers it."""
    source: str
    """Where this run reads the key, for messages."""
    is_read_again: bool = True
    """Whether the key is read from a file at each use, so that a new key takes over by itself."""
    is_delivered: bool = True
    """False for a key that is still to be created."""


def refusals(
    plan: Plan,
    limits: Limits,
    *,
    allowed: Collection[Address] = (),
    keys: Mapping[str, KeyInUse] | None = None,
) -> list[str]:
    """A sentence for each part of the plan that must not happen unasked; empty if the plan is fine.

    `keys` are those in use, by project; "" is the default scope.
    """
    # By address and by the rule that matched: whoever reviewed a rule has allowed all of its
    # matches.
    doubtful = [
        change
        for change in plan.changes
        if change.address not in allowed and change.matched_by not in allowed
    ]
    # Refusals by the API's own rules come first and cannot be allowed with an option.
    sentences = [sentence for change in plan.changes for sentence in _read_only_objects(change)]
    sentences += [sentence for change in doubtful for sentence in _of_change(change)]
    sentences += _of_archived(plan, doubtful)
    sentences += _of_keys(plan, doubtful, keys or {})
    # Not part of what `--allow-delete` lifts: keys of another organization make every object look
    # deleted, and no list of addresses can tell that from intent.
    sentences += vanished(plan, limits)
    # A destroy deletes everything by intention. Protected objects are still refused one by one.
    if not plan.destroy:
        sentences += _of_number(plan, doubtful, limits)
    return sentences


def _read_only_objects(change: Change) -> Iterator[str]:
    """Refusals that no option lifts: the object is someone else's to change, or must stay."""
    # What a rollback lets go gets its former values first, so forgetting can write.
    if change.refusal and (change.action.writes or change.fields):
        verb = _verb(change) if change.action.destroys else "changed"
        yield (
            f"{change.address} would be {verb}, but {change.refusal}; remove it from the manifests "
            f"with lifecycle: {{on_remove: retain}}, or leave it unchanged"
        )


def _of_change(change: Change) -> Iterator[str]:
    allow = f"--allow-delete {change.address}"
    # Updates can destroy too: revoke a key, empty a collection.
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
    """Updates that must not destroy unasked: the last member of a collection, a key."""
    for loss in change.losses:
        if loss.empties:
            yield (
                f"{change.address}: the plan {loss.sentence}, which leaves it empty; pass {allow} to allow that"
            )
        elif loss.lost is Lost.KEY and not change.prevent_destroy:
            yield f"{change.address}: the plan {loss.sentence}; pass {allow} to allow that"
        elif loss.lost is Lost.KEY:
            yield (
                f"{change.address} is protected by lifecycle.prevent_destroy, "
                f"but the plan {loss.sentence}; set prevent_destroy: false and apply that first, "
                f"or pass {allow}"
            )


def _of_archived(plan: Plan, doubtful: list[Change]) -> Iterator[str]:
    """Objects that are lost with their project, although they are protected, retained or declared."""
    # Archiving a project takes everything in it, whatever the plan says about the single objects.
    # Of the whole plan and not only of `doubtful`: a project that may be archived still takes
    # protected objects with it.
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
    """Why an object should stay, if its own change does not delete it."""
    # What its own change removes, and what is gone already, is not lost with the project.
    if change.action.destroys or change.reason is Reason.GONE:
        return ""
    if change.prevent_destroy:
        return "is protected by lifecycle.prevent_destroy"
    if change.reason is Reason.RETAINED:
        return "is to be kept (lifecycle.on_remove)"
    return "" if change.action is Action.FORGET else "a manifest still declares"


def _of_keys(plan: Plan, doubtful: list[Change], keys: Mapping[str, KeyInUse]) -> Iterator[str]:
    """A key in use is only deleted together with everything that it opens, and only if it can be
    read again."""
    # One key can open several projects, and must be kept as long as one of them needs it.
    opened: dict[KeyInUse, list[str]] = {}
    for project, key in keys.items():
        # By key, because the deletion of one account can close several projects.
        opened.setdefault(key, []).append(project)
    for key, projects in opened.items():
        losing = next(
            (change for change in doubtful if change.address == key.writer and _loses(change, key)),
            None,
        )
        # A key that is still to be created cannot be in use.
        if losing is None or not key.is_delivered:
            continue
        staying = []
        for change in plan.changes:
            # Admin routes need no key of the project.
            is_opened = change.scope == ScopeType.PROJECT_KEY
            stays = change.action not in (Action.DELETE, Action.FORGET)
            if is_opened and stays and (change.address.project or "") in projects:
                staying.append(change.address)
        # A key in an environment variable cannot be replaced during the run, so the rest of the
        # apply would fail.
        if staying or not key.is_read_again:
            # One example is enough, since the remedy is the same for all.
            what = f" and {staying[0]} still needs it" if staying else ""
            if losing.action is Action.UPDATE:
                end = "would lose its key"
            else:
                end = f"would be {_verb(losing)}"
            yield (
                f"{key.writer} {end}, and its key is the one in use ({key.source}){what}; "
                f"configure another key first, or pass --allow-delete {key.writer}"
            )


def _loses(change: Change, key: KeyInUse) -> bool:
    """Whether a change invalidates a key."""
    match change.action:
        case Action.DELETE:
            # What a replacement left behind had a key before this one.
            return change.reason is not Reason.LEFT_BEHIND
        case Action.REPLACE | Action.UPDATE:
            # Another destination gets another key, beside the one in use.
            is_removed = any(
                field.path == (key.field,) and field.before is not None and field.after is None
                for field in change.fields
            )
            is_revoked = any(step.field == key.field and step.at_once for step in change.keys)
            replaces_it = change.action is Action.REPLACE or is_revoked
            return is_removed or (replaces_it and not key.is_read_again)
    return False


def _verb(change: Change) -> str:
    if change.action is Action.REPLACE:
        return "replaced"
    return "archived" if change.removal is Removal.ARCHIVE else "deleted"


def _of_number(plan: Plan, doubtful: list[Change], limits: Limits) -> Iterator[str]:
    """Too many losses at once, by number or by share."""
    # Changes that the user allowed by address do not count towards the limits.
    losing = [change for change in doubtful if _lost(change)]
    # The number includes matches of rules, as a rule that matches too much is the accident to stop.
    lost = sum(map(_lost, losing))
    # What rules match is nobody's, and no share of what is managed.
    ours = [change for change in losing if change.matched_by is None]
    lost_of_ours = sum(map(_lost, ours))
    # Members of collections count as well. Otherwise emptying one large collection would pass as
    # one change.
    managed = sum(
        1 for change in plan.changes if change.id is not None and change.matched_by is None
    )
    whole = managed + sum(_members_before(change) for change in plan.changes)
    percent = 100 * lost_of_ours / whole if whole else 0
    # Report one limit only: the remedy is the same for both.
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
    """A sentence if so many recorded objects are missing that the organization is doubtful.

    Archived objects are still listed and do not count as missing.
    """
    gone = [change for change in plan.changes if change.is_change and change.reason in _GONE]
    # The share is of recorded objects. Newly declared resources must not dilute it.
    # Addresses with an id exist or existed; what is new has none.
    known = {change.address for change in plan.changes if change.id and change.matched_by is None}
    recorded = len(known | {change.address for change in gone})
    # A handful of manual deletions is normal. Many at once usually mean that the keys belong to
    # another organization.
    if len(gone) < limits.few_vanished:
        return []
    # Rounded up, so that the percentage in the message, copied into the stack file, permits this
    # plan.
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
    """The losses of a change that count: one per object, else its keys, members and access."""
    if change.action is Action.DELETE:
        return 1
    if change.action is Action.REPLACE:
        # Where the old object is useless, or the user has named it, a replacement loses nothing
        # that a limit should count.
        return 1 if change.is_destructive and change.reason not in _NO_GREAT_LOSS else 0
    counted = [loss for loss in change.losses if loss.lost.counts]
    # Keys and members can be counted. Access and data cannot, so all of it counts as one.
    one_by_one = sum(loss.count for loss in counted if loss.lost in (Lost.KEY, Lost.MEMBER))
    return one_by_one + any(loss.lost not in (Lost.KEY, Lost.MEMBER) for loss in counted)


def _members_before(change: Change) -> int:
    return sum(len(value.members) for value in change.before.values() if isinstance(value, FileSet))


def _what(losing: list[Change], *, of: int | None = None) -> str:
    """`deletes 4 objects`, `replaces 2 objects and removes 12 members, 14 in all`."""
    numbers: Counter[tuple[str, str]] = Counter()
    for change in losing:
        if change.action is Action.DELETE:
            numbers["deletes", "object"] += 1
        elif change.action is Action.REPLACE:
            numbers["replaces", "object"] += 1
        else:
            _count_losses(change, numbers)
    parts = [(key, numbers[key]) for key in _LOSSES if numbers[key]]
    texts = [f"{verb} {_counted(number, noun)}" for (verb, noun), number in parts]
    # With one sort of loss the total is the number itself, and saying it twice reads like two
    # numbers.
    if len(parts) == 1:
        [((verb, noun), number)] = parts
        return texts[0] if of is None else f"{verb} {number} of {_counted(of, noun)}"
    total = sum(number for _, number in parts)
    whole = f"{total} of {of}" if of is not None else str(total)
    return f"{', '.join(texts[:-1])} and {texts[-1]}, {whole} in all"


def _count_losses(change: Change, numbers: Counter[tuple[str, str]]) -> None:
    """Count what an update takes away from an object that stays."""
    for loss in change.losses:
        if loss.lost is Lost.KEY:
            numbers["revokes", "key"] += loss.count
        elif loss.lost is Lost.MEMBER:
            numbers["removes", "member"] += loss.count
    # Access and data cannot be counted, so the object counts once.
    if _takes_away(change):
        numbers["removes access or data in", "object"] += 1


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


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
