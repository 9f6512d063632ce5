"""Changes of file sets: counts, and the first few names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.model.change import FieldChange
from reconciler.model.values import FileSet, Member
from reconciler.render.differences import DiffLine
from reconciler.render.values import count

MOST_NAMES = 5
_DIGEST = "sha256"
_PLANNED = {"+": "to add", "~": "to change", "-": "to remove"}
_HAPPENED = {"+": "added", "~": "changed", "-": "removed"}

Names = Mapping[str, Sequence[str]]
"""The names of files by sign, in display order."""


def is_members(field: FieldChange) -> bool:
    """Whether the values of a change look like files of a set; drift has no declaration."""
    if len(field.path) > 1 and field.path[-1] == _DIGEST:
        return True
    return any(_is_member(value) or _is_set(value) for value in (field.before, field.after))


def member_entry(fields: Sequence[FieldChange], *, happened: bool) -> tuple[str, Names]:
    """A summary such as `2 files to add`, and the names by sign; past tense if `happened`."""
    words = _PLANNED
    if happened:
        words = _HAPPENED
    # A file can be named by several fields; the last one decides about its sign.
    signs = dict(_named(fields))
    names: dict[str, list[str]] = {sign: [] for sign in words}
    for name, sign in signs.items():
        names[sign].append(name)
    parts = [f"{count(len(own), 'file')} {words[sign]}" for sign, own in names.items() if own]
    return ", ".join(parts), names


def member_lines(names: Names, *, full: bool = False) -> Iterator[DiffLine]:
    """The first few names of each sign, and how many more there are."""
    for sign, own in names.items():
        yield from member_names(sign, own, full=full)


def member_names(sign: str, names: Sequence[str], *, full: bool = False) -> Iterator[DiffLine]:
    """The first few names, and how many more there are."""
    shown = names
    # A line that says `and 1 more` takes as much room as the name.
    if not full and len(names) > MOST_NAMES + 1:
        shown = names[:MOST_NAMES]
    for name in shown:
        yield DiffLine(sign, name)
    if len(shown) < len(names):
        yield DiffLine("…", f"and {len(names) - len(shown):,} more")


def _named(fields: Sequence[FieldChange]) -> Iterator[tuple[str, str]]:
    for field in fields:
        if len(field.path) > 1:
            sign = "~"
            # A longer path changes a part of the file, such as its attributes.
            if len(field.path) == 2:
                sign = _sign(field.before, field.after)
            yield str(field.path[1]), sign
        else:
            before = _by_key(field.before)
            after = _by_key(field.after)
            for key in {**before, **after}:
                if before.get(key) != after.get(key):
                    yield key, _sign(before.get(key), after.get(key))


def _sign(before: Any, after: Any) -> str:
    if before is None:
        return "+"
    if after is None:
        return "-"
    return "~"


def _by_key(value: Any) -> Mapping[str, Any]:
    if isinstance(value, FileSet):
        return value.by_key
    if isinstance(value, Mapping):
        return value
    return {}


def _is_member(value: Any) -> bool:
    if isinstance(value, Member):
        return True
    return isinstance(value, Mapping) and isinstance(value.get(_DIGEST), str)


def _is_set(value: Any) -> bool:
    if isinstance(value, FileSet):
        return True
    return isinstance(value, Mapping) and bool(value) and all(map(_is_member, value.values()))
