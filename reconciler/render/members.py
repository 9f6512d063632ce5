"""Changes of file sets: counts, and the first few names."""

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
"""Pairs of sign and name, in display order."""


def is_members(field: FieldChange) -> bool:
    """Whether the values of a change look like files of a set; drift has no declaration."""
    if len(field.path) > 1 and field.path[-1] == _DIGEST:
        return True
    return any(_is_member(value) or _is_set(value) for value in (field.before, field.after))


def member_entry(fields: Sequence[FieldChange], *, happened: bool) -> tuple[str, Names]:
    """A summary such as `2 files to add`, and the names by sign; past tense if `happened`."""
    names: dict[str, list[str]] = {sign: [] for sign in _SIGNS}
    for name, sign in dict(_named(fields)).items():
        names[sign].append(name)
    words = _HAPPENED if happened else _PLANNED
    parts = [f"{count(len(names[sign]), 'file')} {words[sign]}" for sign in _SIGNS if names[sign]]
    return ", ".join(parts), [(sign, name) for sign in _SIGNS for name in names[sign]]


def member_lines(names: Names, *, full: bool = False) -> Iterator[DiffLine]:
    """The first few names of each sign, and how many more there are."""
    for sign in _SIGNS:
        yield from member_names([pair for pair in names if pair[0] == sign], full=full)


def member_names(names: Iterable[tuple[str, str]], *, full: bool = False) -> list[DiffLine]:
    """The first few names, and how many more there are; a single one more is shown, not counted."""
    lines = [DiffLine(sign, name) for sign, name in names]
    if full or len(lines) <= MOST_NAMES + 1:
        return lines
    return [*lines[:MOST_NAMES], DiffLine("…", f"and {len(lines) - MOST_NAMES:,} more")]


def _named(fields: Sequence[FieldChange]) -> Iterator[tuple[str, str]]:
    for field in fields:
        if len(field.path) > 1:
            # A longer path changes a part of the file, such as its attributes.
            whole = len(field.path) == 2
            yield str(field.path[1]), _sign(field.before, field.after) if whole else "~"
        else:
            before = _by_key(field.before)
            after = _by_key(field.after)
            for key in {**before, **after}:
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
    if isinstance(value, Member):
        return True
    return isinstance(value, Mapping) and isinstance(value.get(_DIGEST), str)


def _is_set(value: Any) -> bool:
    if isinstance(value, FileSet):
        return True
    return isinstance(value, Mapping) and bool(value) and all(map(_is_member, value.values()))
