"""The losses of updates: keys, members, access, data and limits.

Kinds declare losses on their fields (`model/destruction.py`). Keys and collections need no
declaration: a key that is taken away stops working, and removed members are lost.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from reconciler.model.change import Action, Change
from reconciler.model.comparing import canonical, same
from reconciler.model.destruction import EVERYTHING, Loss, LossRule, Lost, When
from reconciler.model.json_codec import sorted_json
from reconciler.model.kind import Field, Kind, Removal
from reconciler.model.sinks import places_of, targets_of, write_to_of
from reconciler.model.types import BundleType, FileSetType, KeySinkType
from reconciler.model.values import FileSet, Member, Unknown, value_at

_LONGEST_VALUE = 60
"""The most characters of a value in a sentence."""
_MOST_ITEMS = 3
"""The most items that a sentence lists."""


def with_losses(kind: Kind, change: Change) -> Change:
    """The change with its losses, if its object stays."""
    if not change.fields or not _writes_in_place(change):
        return change
    losses = (*change.losses, *_losses_of(kind, change))
    return replace(change, losses=losses) if losses else change


def _writes_in_place(change: Change) -> bool:
    # An object that cannot be deleted gets its former values back, and so does one that a rollback
    # forgets.
    restores = change.action is Action.DELETE and change.removal is Removal.RESTORE
    return restores or change.action in (Action.UPDATE, Action.FORGET)


def _losses_of(kind: Kind, change: Change) -> Iterator[Loss]:
    for name in change.field_names:
        field = kind.by_name.get(name)
        # The digest of a job's inputs is a change under a name of its own.
        if field is None:
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
    # until it is unused. The removal of a destination takes no other key.
    if before is None or same(before, after):
        return
    if after is None or not type.rotates:
        yield Loss(
            f"revokes the key delivered to {_places(targets_of(write_to_of(before)))}: "
            "whatever uses it stops working",
            Lost.KEY,
        )
        return
    # Compared by text, so that another order of destinations is no loss.
    old, new = _targets_by_text(before), _targets_by_text(after)
    gone = [target for text, target in old.items() if text not in new]
    if gone and new.keys() <= old.keys():
        yield Loss(
            f"takes the key away from {_places(gone)}: whatever reads it there stops working",
            Lost.KEY,
        )


def _targets_by_text(value: Any) -> dict[str, Any]:
    return {sorted_json(target).decode(): target for target in targets_of(write_to_of(value))}


def _places(targets: Iterable[Mapping[str, Any]]) -> str:
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
    # Keys identify members across runs. Ids cannot, because each upload gets a new one.
    kept: dict[str, Member] = {}
    if isinstance(after, FileSet):
        kept = after.by_key
    known = {member.key for member in before.members}
    # A renamed file has another key and the same content. Contents are counted: of two equal files
    # that are removed, one may return under another name.
    arriving: Counter[str] = Counter()
    for key, member in kept.items():
        if member.content and key not in known:
            arriving[member.content.sha256] += 1
    lost = []
    for member in before.members:
        if member.key in kept:
            continue
        if member.content and arriving[member.content.sha256] > 0:
            arriving[member.content.sha256] -= 1
        else:
            lost.append(member.key)
    if lost:
        total = len(before.members)
        number = f"{len(lost):,} of {total:,}"
        if len(lost) == total:
            number = f"all {total:,}"
        noun = "member" if total == 1 else "members"
        sentence = f"removes {number} {noun} of {field.name} ({_first_names(lost)})"
        # A set that is empty afterwards often means a pattern that matches nothing any more.
        yield Loss(sentence, Lost.MEMBER, count=len(lost), empties=not kept)


def _rule_loss(
    rule: LossRule, field: Field, before: Any, after: Any, change: Change
) -> Iterator[Loss]:
    # The condition must hold on both sides: values that two modes interpret are not comparable.
    if rule.given is not None:
        name, required = rule.given
        path = name.split(".")
        if value_at(change.before, path) != required or value_at(change.after, path) != required:
            return
    # EVERYTHING stands for an unset limit, so removing a list can grant more than any list.
    old, new = _at(rule, field, before), _at(rule, field, after)
    items: list[str] = []
    if rule.when is When.LOSES:
        items = _missing(old, new)
    elif rule.when is When.GAINS:
        items = _missing(new, old)
    if items or _moves(rule, old, new):
        sentence = rule.sentence.format(
            before=_short(old), after=_short(new), items=_first_names(items)
        )
        yield Loss(sentence, rule.lost, empties=rule.empties and new in (None, [], {}))


def _at(rule: LossRule, field: Field, value: Any) -> Any:
    """The part of a value that a rule compares."""
    if rule.at:
        part = value_at(value, rule.at)
    else:
        part = canonical(field.type, value)
    if rule.all_items is not None and part == rule.all_items:
        return EVERYTHING
    # An unset limit means no limit, which compares as the largest value of all.
    if part is None or (rule.unset is EVERYTHING and part in ([], {})):
        return rule.unset
    return part


def _moves(rule: LossRule, old: Any, new: Any) -> bool:
    """Whether a value changes in the direction of the rule, if the rule has one."""
    if rule.when in (When.LOSES, When.GAINS) or old is None or same(old, new):
        return False
    if rule.to is not None and not same(rule.to, new):
        return False
    if rule.when is When.CHANGES:
        return True
    before, after = _rank(rule, old), _rank(rule, new)
    # A value without a rank could mean anything. A needless warning is the lesser evil.
    if before is None or after is None:
        return True
    if rule.when is When.FALLS:
        return after < before
    return after > before


def _rank(rule: LossRule, value: Any) -> float | None:
    """The place of a value in the order of the rule; None where it has none."""
    if value is EVERYTHING:
        return math.inf
    if value in rule.order:
        return float(rule.order.index(value))
    # Without an order of its own, a rule compares numbers.
    if not rule.order and isinstance(value, int | float):
        return float(value)
    return None


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
    if value is None:
        return []
    return [_short(value)]


def _first_names(names: list[str]) -> str:
    """The first names, and how many more there are."""
    text = ", ".join(names[:_MOST_ITEMS])
    if len(names) > _MOST_ITEMS:
        text += f" and {len(names) - _MOST_ITEMS:,} more"
    return text


def _short(value: Any) -> str:
    if value is None or value is EVERYTHING:
        return "none"
    if isinstance(value, Unknown):
        return str(value)
    text = str(value)
    # As in YAML.
    if isinstance(value, bool):
        text = text.lower()
    if len(text) > _LONGEST_VALUE:
        text = f"{text[: _LONGEST_VALUE - 1]}…"
    return text
