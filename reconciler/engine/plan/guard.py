"""Guards: they read a plan and refuse changes that need explicit permission.

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
"""Verb and noun of each kind of loss, in the order of a sentence."""

_MOST_ADDRESSES = 3
"""The most addresses that a sentence lists."""

_GONE = frozenset({Reason.DELETED_OUTSIDE, Reason.GONE})

FEW_RESOURCES = 5
"""With fewer managed resources than this, shares mean nothing, and only the number is limited."""

FEW_VANISHED = 3
"""The fewest vanished objects for which the share is checked. People delete one or two by hand."""


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
    """The fewest missing objects for which the share is checked."""


class KeyInUse(Struct, frozen=True):
    """A key that this run uses to reach a project."""

    writer: Address
    """The resource that delivers the key."""
    field: str
    """The field of the resource that delivers it."""
    source: str
    """Where this run reads the key, for messages."""
    is_read_again: bool = True
    """Whether the key is read from a file at each use, so that a new key takes effect during the run."""
    is_delivered: bool = True
    """False for a key that is still to be created."""


def refusals(
    plan: Plan,
    limits: Limits,
    *,
    allowed: Collection[Address] = (),
    keys: Mapping[str, KeyInUse] | None = None,
) -> list[str]:
    """A sentence for each part of the plan that needs permission; empty if no guard refuses it.

    `keys` are those in use, by project; "" is the default scope.
    """
    sentences: list[str] = []
    # Refusals by the API's own rules come first and cannot be allowed with an option.
    for change in plan.changes:
        sentences += _read_only_objects(change)
    doubtful = []
    for change in plan.changes:
        # By address and by the rule that matched: a user who allows a rule has reviewed all of its
        # matches.
        if change.address not in allowed and change.matched_by not in allowed:
            doubtful.append(change)
            sentences += _refusals_of(change)
    sentences += _refused_archives(plan, doubtful)
    sentences += _refused_key_deletions(plan, doubtful, keys or {})
    # `--allow-delete` does not lift this: keys of another organization make every object look
    # deleted, and no list of addresses can tell that from intent.
    sentences += vanished(plan, limits)
    # A destroy deletes everything by intention. Protected objects are still refused one by one.
    if not plan.destroy:
        sentences += _refused_number(plan, doubtful, limits)
    return sentences


def _read_only_objects(change: Change) -> Iterator[str]:
    """Refusals that no option lifts: the object belongs to somebody else, or must stay."""
    # A rollback restores the values of an object before it forgets it, so forgetting can write.
    if change.refusal and (change.action.writes or change.fields):
        verb = _verb(change) if change.action.destroys else "changed"
        yield (
            f"{change.address} would be {verb}, but {change.refusal}; remove it from the manifests "
            f"with lifecycle: {{on_remove: retain}}, or leave it unchanged"
        )


def _refusals_of(change: Change) -> Iterator[str]:
    allow = f"--allow-delete {change.address}"
    # Updates can destroy too: revoke a key, empty a collection.
    if not change.action.destroys:
        yield from _refused_losses(change, allow)
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


def _refused_losses(change: Change, allow: str) -> Iterator[str]:
    """Updates that need permission for their losses: the last member of a collection, a key."""
    for loss in change.losses:
        if loss.empties:
            yield (
                f"{change.address}: the plan {loss.sentence}, which leaves it empty; "
                f"pass {allow} to allow that"
            )
        elif loss.lost is Lost.KEY and not change.prevent_destroy:
            yield f"{change.address}: the plan {loss.sentence}; pass {allow} to allow that"
        elif loss.lost is Lost.KEY:
            yield (
                f"{change.address} is protected by lifecycle.prevent_destroy, "
                f"but the plan {loss.sentence}; set prevent_destroy: false and apply that first, "
                f"or pass {allow}"
            )


def _refused_archives(plan: Plan, doubtful: list[Change]) -> Iterator[str]:
    """Objects that are lost with their project, although they are protected, retained or declared."""
    # Archiving a project takes everything in it, whatever the plan says about the single objects.
    # Of the whole plan and not only of `doubtful`: a project that may be archived still takes
    # protected objects with it.
    archived = {}
    for change in plan.changes:
        if change.action.destroys and change.removal is Removal.ARCHIVE:
            archived[change.address.name] = change
    for change in doubtful:
        project = archived.get(change.address.project or "")
        if project is None:
            continue
        reason = _reason_to_stay(change)
        if reason:
            yield (
                f"{project.address} would be {_verb(project)}, and {change.address} would be lost "
                f"with it, which {reason}; pass --allow-delete {change.address} to allow that"
            )


def _reason_to_stay(change: Change) -> str:
    """Why an object should stay, if its own change does not delete it."""
    # An object that its own change removes, or that is gone already, is not lost with the project.
    if change.action.destroys or change.reason is Reason.GONE:
        return ""
    if change.prevent_destroy:
        return "is protected by lifecycle.prevent_destroy"
    if change.reason is Reason.RETAINED:
        return "is to be kept (lifecycle.on_remove)"
    if change.action is Action.FORGET:
        return ""
    return "a manifest still declares"


def _refused_key_deletions(
    plan: Plan, doubtful: list[Change], keys: Mapping[str, KeyInUse]
) -> Iterator[str]:
    """A key in use is only deleted together with everything that it opens, and only if it can be
    read again."""
    # One key can open several projects, and must be kept as long as one of them needs it.
    opened: dict[KeyInUse, list[str]] = {}
    for project, key in keys.items():
        # By key, because the deletion of one account can close several projects.
        opened.setdefault(key, []).append(project)
    for key, projects in opened.items():
        losing = _losing_change(doubtful, key)
        # A key that is still to be created cannot be in use.
        if losing is None or not key.is_delivered:
            continue
        dependent = _needing_key(plan, projects)
        # A key in an environment variable cannot be replaced during the run, so the rest of the
        # apply would fail.
        if dependent is None and key.is_read_again:
            continue
        end = "would lose its key"
        if losing.action is not Action.UPDATE:
            end = f"would be {_verb(losing)}"
        use = ""
        if dependent is not None:
            use = f" and {dependent} still needs it"
        yield (
            f"{key.writer} {end}, and its key is the one in use ({key.source}){use}; "
            f"configure another key first, or pass --allow-delete {key.writer}"
        )


def _losing_change(doubtful: list[Change], key: KeyInUse) -> Change | None:
    """The change that invalidates a key, if there is one."""
    for change in doubtful:
        if change.address == key.writer and _loses(change, key):
            return change
    return None


def _needing_key(plan: Plan, projects: Collection[str]) -> Address | None:
    """The first object that stays and that only a key of its project reaches.

    One example is enough for a message: the remedy is the same for all.
    """
    for change in plan.changes:
        # Admin routes need no key of the project.
        if change.scope != ScopeType.PROJECT_KEY:
            continue
        stays = change.action not in (Action.DELETE, Action.FORGET)
        if stays and (change.address.project or "") in projects:
            return change.address
    return None


def _loses(change: Change, key: KeyInUse) -> bool:
    """Whether a change invalidates a key."""
    match change.action:
        case Action.DELETE:
            # An object that a replacement left behind has an earlier key than the one in use.
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


def _refused_number(plan: Plan, doubtful: list[Change], limits: Limits) -> Iterator[str]:
    """Too many losses at once, by number or by share."""
    # Changes that the user allowed by address do not count towards the limits.
    losing = [change for change in doubtful if _lost(change)]
    # The number includes matches of rules, as a rule that matches too much is the accident to stop.
    lost = sum(map(_lost, losing))
    if lost > limits.max_deletes:
        yield (
            f"the plan {_summary(losing)} ({_first_addresses(losing)}), more than guards.max_deletes allows "
            f"({limits.max_deletes}); {_allowing(losing)}"
        )
        # One limit is enough: the remedy is the same for both.
        return
    # Matches of rules belong to no resource, so they are no share of the managed objects.
    ours = [change for change in losing if change.matched_by is None]
    whole = _managed_before(plan)
    if whole < FEW_RESOURCES:
        return
    percent = 100 * sum(map(_lost, ours)) / whole
    if percent > limits.max_delete_percent:
        yield (
            f"the plan {_summary(ours, of=whole)} ({_first_addresses(ours)}), {percent:.0f} %, more than "
            f"guards.max_delete_percent allows ({limits.max_delete_percent} %); {_allowing(ours)}"
        )


def _managed_before(plan: Plan) -> int:
    """The number of managed objects before the plan, members of collections included."""
    number = 0
    for change in plan.changes:
        if change.id is not None and change.matched_by is None:
            number += 1
        # Without the members, emptying one large collection would pass as one change.
        for value in change.before.values():
            if isinstance(value, FileSet):
                number += len(value.members)
    return number


def vanished(plan: Plan, limits: Limits) -> list[str]:
    """A sentence if so many recorded objects are missing that the organization is doubtful.

    Archived objects are still listed and do not count as missing.
    """
    gone: list[Change] = []
    # The share is of recorded objects. Newly declared resources must not dilute it.
    recorded: set[Address] = set()
    for change in plan.changes:
        if change.is_change and change.reason in _GONE:
            gone.append(change)
            recorded.add(change.address)
        # Addresses with an id exist or existed. A new resource has none.
        elif change.id and change.matched_by is None:
            recorded.add(change.address)
    # A handful of manual deletions is normal. Many at once usually mean that the keys belong to
    # another organization.
    if len(gone) < limits.few_vanished:
        return []
    # Rounded up, so that the percentage in the message, copied into the stack file, permits this
    # plan.
    percent = math.ceil(100 * len(gone) / len(recorded))
    if percent <= limits.max_vanished_percent:
        return []
    sentence = (
        f"{len(gone):,} of {len(recorded):,} recorded objects are gone at once "
        f"({_first_addresses(gone)}), {percent} %, "
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
        return int(change.is_destructive and change.reason not in _NO_GREAT_LOSS)
    number, takes_away = 0, False
    for loss in change.losses:
        if loss.lost in (Lost.KEY, Lost.MEMBER):
            number += loss.count
        elif loss.lost.counts:
            takes_away = True
    # Keys and members can be counted. Access and data cannot, so all of it counts as one.
    return number + takes_away


def _summary(losing: list[Change], *, of: int | None = None) -> str:
    """`deletes 4 objects`, `replaces 2 objects and removes 12 members, 14 in all`."""
    numbers: Counter[tuple[str, str]] = Counter()
    for change in losing:
        if change.action is Action.DELETE:
            numbers["deletes", "object"] += 1
        elif change.action is Action.REPLACE:
            numbers["replaces", "object"] += 1
        else:
            _count_losses(change, numbers)
    parts, total = [], numbers.total()
    for verb, noun in _LOSSES:
        number = numbers[verb, noun]
        # With one kind of loss the total is its number, and saying it twice reads like two numbers.
        if number and number == total:
            if of is None:
                return f"{verb} {_counted(number, noun)}"
            return f"{verb} {number} of {_counted(of, noun)}"
        if number:
            parts.append(f"{verb} {_counted(number, noun)}")
    whole = str(total)
    if of is not None:
        whole = f"{total} of {of}"
    return f"{', '.join(parts[:-1])} and {parts[-1]}, {whole} in all"


def _count_losses(change: Change, numbers: Counter[tuple[str, str]]) -> None:
    """Count what an update takes away from an object that stays."""
    takes_away = False
    for loss in change.losses:
        match loss.lost:
            case Lost.KEY:
                numbers["revokes", "key"] += loss.count
            case Lost.MEMBER:
                numbers["removes", "member"] += loss.count
            case Lost.ACCESS | Lost.DATA:
                takes_away = True
    # Access and data cannot be counted, so the object counts once.
    if takes_away:
        numbers["removes access or data in", "object"] += 1


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _first_addresses(changes: list[Change]) -> str:
    """The first addresses, and a sign where there are more."""
    addresses = [str(change.address) for change in changes[:_MOST_ADDRESSES]]
    if len(changes) > _MOST_ADDRESSES:
        addresses[-1] += " …"
    return ", ".join(addresses)


def _allowing(changes: list[Change]) -> str:
    rules = {str(change.matched_by) for change in changes if change.matched_by is not None}
    remedy = "pass --allow-delete ADDRESS for each deletion to allow"
    if rules:
        remedy += f", or --allow-delete {min(rules)} to allow all its matches"
    return remedy
