"""Sets of files, summed up: how many come, go and change, and the first few by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from reconciler.model.change import FieldChange
from reconciler.model.values import FileSet, Member
from reconciler.render.differences import DiffLine
from reconciler.render.values import count

MOST_NAMES = 5
_DIGEST = "sha256"
_PLANNED = {"+": "to add", "~": "to change", "-": "to remove"}
_HAPPENED = {"+": "added", "~": "changed", "-": "removed"}
_SIGNS = tuple(_PLANNED)

Names = list[tuple[str, str]]
"""Signs and names, in the order in which they come."""


def is_members(field: FieldChange) -> bool:
    """Whether a field change looks like one of a set of files, for want of a declaration to ask."""
    if len(field.path) > 1 and field.path[-1] == _DIGEST:
        return True
    return any(_is_member(value) or _is_set(value) for value in (field.before, field.after))


def member_entry(fields: Sequence[FieldChange], *, happened: bool) -> tuple[str, Names]:
    """The sentence about a set of files, and the names with what happens, or `happened`, to each."""
    names = dict(_named(fields))
    words = _HAPPENED if happened else _PLANNED
    signs = list(names.values())
    parts = [f"{count(signs.count(sign), 'file')} {word}" for sign, word in words.items() if sign in signs]
    return ", ".join(parts), [(sign, name) for sign in _SIGNS for name, own in names.items() if own == sign]


def member_lines(names: Names) -> Iterator[DiffLine]:
    """The first few of each sign, and how many more there are."""
    for sign in _SIGNS:
        yield from member_names([item for item in names if item[0] == sign])


def member_names(names: Iterable[tuple[str, str]]) -> list[DiffLine]:
    """The first few names, and how many more there are; one more than a few is shown rather than counted."""
    lines = [DiffLine(sign, name) for sign, name in names]
    if len(lines) <= MOST_NAMES + 1:
        return lines
    return [*lines[:MOST_NAMES], DiffLine("…", f"and {len(lines) - MOST_NAMES:,} more")]


def _named(fields: Sequence[FieldChange]) -> Iterator[tuple[str, str]]:
    for field in fields:
        if len(field.path) > 1:
            yield str(field.path[1]), _sign(field.before, field.after) if len(field.path) == 2 else "~"
        else:
            before, after = _by_key(field.before), _by_key(field.after)
            for key in [*before, *(key for key in after if key not in before)]:
                if before.get(key) != after.get(key):
                    yield key, _sign(before.get(key), after.get(key))


def _sign(before: Any, after: Any) -> str:
    if before is None:
        return "+"
    return "-" if after is None else "~"


def _by_key(value: Any) -> Mapping[str, Any]:
    if isinstance(value, FileSet):
        return {member.key: member for member in value.members}
    return value if isinstance(value, Mapping) else {}


def _is_member(value: Any) -> bool:
    return isinstance(value, Member) or (isinstance(value, Mapping) and isinstance(value.get(_DIGEST), str))


def _is_set(value: Any) -> bool:
    if isinstance(value, FileSet):
        return True
    return isinstance(value, Mapping) and bool(value) and all(_is_member(item) for item in value.values())
