"""What updates destroy: keys, members, access, data and limits.

Kinds declare it on their fields (`model/destruction.py`). Keys and collections need no declaration:
a key that is taken away stops working, and removed members are lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from reconciler.model.change import Action, Change
from reconciler.model.comparing import canonical, same
from reconciler.model.destruction import EVERYTHING, Loss, LossRule, Lost, When
from reconciler.model.json_codec import sorted_json
from reconciler.model.kind import Field, Kind, Removal
from reconciler.model.sinks import places_of, targets_of
from reconciler.model.types import BundleType, FileSetType, KeySinkType
from reconciler.model.values import FileSet, Unknown, value_at

_LONGEST = 60
_MOST_ITEMS = 3


def with_losses(kind: Kind, change: Change) -> Change:
    """The change with what it destroys of an object that stays."""
    if not change.fields or not _writes_in_place(change):
        return change
    losses = (*change.losses, *_losses_of(kind, change))
    return replace(change, losses=losses) if losses else change


def _writes_in_place(change: Change) -> bool:
    # What cannot be deleted gets its former values back, and a rollback lets go of an object in the same way.
    restores = change.action is Action.DELETE and change.removal is Removal.RESTORE
    return restores or change.action in (Action.UPDATE, Action.FORGET)


def _losses_of(kind: Kind, change: Change) -> Iterator[Loss]:
    for name in change.field_names:
        # `diff_fields` reports the digest of a job's inputs under a name of its own.
        field = kind.by_name.get(name)
        if field is None:  # the digest of a job's inputs
            continue
        before, after = _sides(change, name)
        if isinstance(field.type, KeySinkType):
            yield from _key_loss(field.type, before, after)
        elif isinstance(field.type, FileSetType | BundleType):
            yield from _member_loss(field, before, after)
        for rule in field.losses:
            yield from _rule_loss(rule, field, before, after, change)


def _sides(change: Change, name: str) -> tuple[Any, Any]:
    """The whole value of a field before and after the change."""
    # A single change of the whole field has both sides. Changes of parts do not, so take the values
    # of the object.
    own = [field_change for field_change in change.fields if field_change.name == name]
    if len(own) == 1 and len(own[0].path) == 1 and not isinstance(change.before.get(name), FileSet):
        return own[0].before, own[0].after
    return change.before.get(name), change.after.get(name)


def _key_loss(type: KeySinkType, before: Any, after: Any) -> Iterator[Loss]:
    # The API cannot move a key. Another destination gets another key, and the old one stays valid
    # until nobody uses it. A destination that is only taken away gets none.
    if before is None or same(before, after):
        return
    if after is None or not type.rotates:
        yield Loss(
            f"revokes the key delivered to {_sink(before)}: whatever uses it stops working",
            Lost.KEY,
        )
        return
    # Compared by text, so that another order of destinations is no loss.
    old, new = (_targets(value) for value in (before, after))
    gone = [target for place, target in old.items() if place not in new]
    if gone and new.keys() <= old.keys():
        where = " and ".join(_sink({"write_to": target}) for target in gone)
        yield Loss(
            f"takes the key away from {where}: whatever reads it there stops working", Lost.KEY
        )


def _targets(value: Any) -> dict[str, Any]:
    write_to = value.get("write_to") if isinstance(value, Mapping) else None
    return {sorted_json(target).decode(): target for target in targets_of(write_to)}


def _sink(value: Any) -> str:
    targets = targets_of(value.get("write_to") if isinstance(value, Mapping) else None)
    return " and ".join(map(_shown_target, targets)) or "its former place"


def _shown_target(target: Mapping[str, Any]) -> str:
    command = target.get("command")
    if isinstance(command, list | tuple) and command:
        return f"the command {command[0]}"
    if isinstance(target.get("file"), str):
        return str(target["file"])
    return " and ".join(places_of(target)) or "its former place"


def _member_loss(field: Field, before: Any, after: Any) -> Iterator[Loss]:
    """Members that are removed. A file that stays under another name is not lost."""
    if not isinstance(before, FileSet) or not before.members:
        return
    # A renamed file has another key and the same content. It is not lost.
    # Keys identify members across runs. Ids cannot, because each upload gets a new one.
    kept = {member.key: member for member in after.members} if isinstance(after, FileSet) else {}
    held_before = {member.key for member in before.members}
    # Counted and not collected: of two equal files that go, one may come back under another name.
    arriving = Counter(
        member.content.sha256
        for member in kept.values()
        if member.content and member.key not in held_before
    )
    gone = []
    for member in before.members:
        if member.key in kept:
            continue
        digest = member.content.sha256 if member.content else ""
        if arriving[digest] > 0:
            arriving[digest] -= 1
            continue
        gone.append(member.key)
    if gone:
        total = len(before.members)
        how_many = f"all {total:,}" if len(gone) == total else f"{len(gone):,} of {total:,}"
        noun = "member" if total == 1 else "members"
        sentence = f"removes {how_many} {noun} of {field.name} ({_some(gone)})"
        yield Loss(sentence, Lost.MEMBER, count=len(gone), empties=not kept)


def _rule_loss(
    rule: LossRule, field: Field, before: Any, after: Any, change: Change
) -> Iterator[Loss]:
    # The condition must hold on both sides: a value that another mode interprets is not comparable.
    if rule.given is not None:
        path = rule.given[0].split(".")
        if any(value_at(side, path) != rule.given[1] for side in (change.before, change.after)):
            return
    # EVERYTHING stands for an unset limit, so removing a list can grant more than any list.
    old, new = _at(rule, field, before), _at(rule, field, after)
    items: list[str] = []
    if rule.when in (When.LOSES, When.GAINS):
        items = _missing(old, new) if rule.when is When.LOSES else _missing(new, old)
        applies = bool(items)
    elif old is None or same(old, new) or (rule.to is not None and not same(rule.to, new)):
        applies = False
    else:
        applies = rule.when is When.CHANGES or _moves(rule, old, new)
    if applies:
        sentence = rule.sentence.format(before=_short(old), after=_short(new), items=_some(items))
        yield Loss(sentence, rule.lost, empties=rule.empties and new in (None, [], {}))


def _at(rule: LossRule, field: Field, value: Any) -> Any:
    part = value_at(value, rule.at) if rule.at else canonical(field.type, value)
    if rule.all_items is not None and part == rule.all_items:
        return EVERYTHING
    is_unset = part is None or (rule.unset is EVERYTHING and part in ([], {}))
    # An unset limit means no limit, which compares as the largest value of all.
    return rule.unset if is_unset else part


def _moves(rule: LossRule, old: Any, new: Any) -> bool:
    """Whether a value moves in the direction of the rule. If that is unknown, it does."""
    before, after = _rank(rule, old), _rank(rule, new)
    # A value without a rank could mean anything. A needless warning is the lesser evil.
    if before is None or after is None:
        return True
    return after < before if rule.when is When.FALLS else after > before


def _rank(rule: LossRule, value: Any) -> float | None:
    if value is EVERYTHING:
        return float("inf")
    if rule.order:
        return float(rule.order.index(value)) if value in rule.order else None
    return float(value) if isinstance(value, int | float) else None


def _missing(whole: Any, part: Any) -> list[str]:
    """Items of one value that the other lacks, as text."""
    if part is EVERYTHING:
        return []
    if whole is EVERYTHING:
        return ["everything else"]
    lacking = _items(part)
    return [element for element in _items(whole) if element not in lacking]


def _items(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{key}={_short(element)}" for key, element in value.items()]
    if isinstance(value, list | tuple):
        return [_short(element) for element in value]
    return [] if value is None else [_short(value)]


def _some(names: list[str]) -> str:
    more = len(names) - _MOST_ITEMS
    return ", ".join(names[:_MOST_ITEMS]) + (f" and {more:,} more" if more > 0 else "")


def _short(value: Any) -> str:
    if value is None or value is EVERYTHING:
        return "none"
    if isinstance(value, Unknown):
        return str(value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
