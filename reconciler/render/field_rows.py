"""The fields of a change as rows, which text and Markdown only lay out differently.

A create lists the new object's fields, other changes list the fields that change. A row is a pair
on one line, a single value, or a name with lines below it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.change import (
    Action,
    Change,
    Drift,
    FieldChange,
    Origin,
    Outcome,
    OutputChange,
    Reason,
)
from reconciler.model.kind import Removal
from reconciler.model.values import FileSet, LocalFile, SecretValue, Spec
from reconciler.render.differences import DiffLine, abridged, diff_lines, text_sides
from reconciler.render.members import is_members, member_entry, member_lines, member_names
from reconciler.render.phrases import field_remarks
from reconciler.render.values import (
    NOTHING,
    beginning,
    block,
    brief,
    count,
    grouped,
    inline,
    is_container,
    is_long,
)

# A new value as a whole needs less room than a difference, which is the subject of a review.
MOST_BLOCK_LINES = 16
MOST_DIFF_LINES = 200
MOST_ADOPTED_FIELDS = 4


class RowLayout(NamedTuple):
    """The space of a row: values up to `width` characters take one line.

    Longer ones are abbreviated, unless `full`.
    """

    width: int
    full: bool = False


class FieldRow(Struct, frozen=True):
    """One field. `before` and `after` make a pair; otherwise there is a `value`, a `body`, or both.

    `sign` says whether a single value is added (`+`), removed (`-`) or as it is (`=`).
    """

    name: str
    sign: str = ""
    value: str | None = None
    before: str | None = None
    after: str | None = None
    body: tuple[DiffLine, ...] = ()
    remark: str = ""

    @property
    def is_pair(self) -> bool:
        """Whether the row shows before and after on one line."""
        return self.before is not None and self.after is not None


def rows_of(change: Change, layout: RowLayout) -> list[FieldRow]:
    """The rows below the heading of a change."""
    if change.action is Action.CREATE:
        return listing(change.after or change.desired, sign="+", layout=layout)
    # A deletion has nothing to compare. Where it restores earlier values, these are the change.
    if change.action is Action.DELETE and change.removal is not Removal.RESTORE:
        return []
    if change.reason is Reason.ADOPTED:
        return _recognizable(change.before, layout)
    fields = [_with_file(field, change.after) for field in change.fields]
    return _field_entries(fields, _with_members(change), layout, happened=False)


def _recognizable(before: Spec, layout: RowLayout) -> list[FieldRow]:
    """The first short fields of an adopted object, because an id alone says too little."""
    short = {name: value for name, value in before.items() if not is_container(value)}
    rows = [row for row in listing(short, sign="=", layout=layout) if row.value is not None]
    if layout.full:
        return rows
    return rows[:MOST_ADOPTED_FIELDS]


def drift_entries(drift: Drift, layout: RowLayout) -> list[FieldRow]:
    """The fields that changed live, without the remark that each of them drifted."""
    # Rows remark on every origin but this one.
    fields = [replace(field, origin=Origin.CONFIG) for field in drift.fields]
    return _field_entries(fields, frozenset(), layout, happened=True)


def moved_entries(outcome: Outcome, layout: RowLayout) -> list[FieldRow]:
    """The fields that changed since the plan was made: from the planned value to the live one."""
    changed = outcome.changed_since_plan
    fields = [replace(field, origin=Origin.CONFIG, forces_replacement=False) for field in changed]
    return _field_entries(fields, frozenset(), layout, happened=True)


def _field_entries(
    fields: Sequence[FieldChange], members: frozenset[str], layout: RowLayout, *, happened: bool
) -> list[FieldRow]:
    """The rows of field changes. The changes below a field in `members` share one row."""
    by_name = grouped(fields, lambda field: field.name)
    shown: list[FieldRow] = []
    summed: set[str] = set()
    for field in fields:
        if field.name not in members and not is_members(field):
            shown.append(_changed_row(field, layout))
        elif field.name not in summed:
            own = by_name[field.name]
            shown.append(_members(field.name, own, layout, happened=happened))
            summed.add(field.name)
    return shown


def output_entries(outputs: Sequence[OutputChange], layout: RowLayout) -> list[FieldRow]:
    """The rows of changed outputs."""
    return [_output(output, layout) for output in outputs]


def listing(spec: Spec, *, sign: str, layout: RowLayout) -> list[FieldRow]:
    """The fields of an object that is added or removed, without empty ones."""
    rows = []
    for name, value in spec.items():
        # Empty values say nothing about a new object, and many fields default to them.
        if value is not None and value not in ([], {}):
            rows.append(_listed(name, value, sign, layout))
    return rows


def _output(output: OutputChange, layout: RowLayout) -> FieldRow:
    if output.before is None:
        return _listed(output.name, output.after, "+", layout)
    if output.after is None:
        return _listed(output.name, output.before, "-", layout)
    return _changed_row(FieldChange((output.name,), output.before, output.after), layout)


def _with_file(field: FieldChange, after: Spec) -> FieldChange:
    """Show the file itself instead of its digest, since it says more."""
    file = after.get(field.name)
    if isinstance(file, LocalFile) and len(field.path) == 1 and field.after == file.sha256:
        return replace(field, after=file)
    return field


def _with_members(change: Change) -> frozenset[str]:
    """The names of fields that hold file sets."""
    names: set[str] = set()
    for spec in (change.after, change.desired, change.before):
        names.update(name for name, value in spec.items() if isinstance(value, FileSet))
    return frozenset(names)


def _listed(name: str, value: Any, sign: str, layout: RowLayout) -> FieldRow:
    if isinstance(value, FileSet):
        keys = [member.key for member in value.members]
        names = member_names(sign, keys, full=layout.full)
        return FieldRow(name, sign, count(len(value.members), "file"), body=tuple(names))
    if layout.full and is_long(value):
        return FieldRow(name, sign, "", body=tuple(_block_lines(sign, value, layout)))
    text = brief(value, layout.width)
    if text is not None:
        return FieldRow(name, sign, text)
    return FieldRow(name, sign, _size_of(value), body=tuple(_block_lines(sign, value, layout)))


def _block_lines(sign: str, value: Any, layout: RowLayout) -> list[DiffLine]:
    return _shortened([DiffLine(sign, line) for line in block(value)], layout)


def _shortened(lines: list[DiffLine], layout: RowLayout) -> list[DiffLine]:
    if layout.full or len(lines) <= MOST_BLOCK_LINES:
        return lines
    kept = lines[: MOST_BLOCK_LINES - 1]
    return [*kept, DiffLine("…", count(len(lines) - len(kept), "more line"))]


def _size_of(value: Any) -> str:
    if isinstance(value, Mapping):
        return ""
    return count(len(value), "item")


def _members(
    name: str, fields: Sequence[FieldChange], layout: RowLayout, *, happened: bool
) -> FieldRow:
    # One remark for all changes below the field: that of the first.
    remark = field_remarks(
        fields[0].origin,
        forces_replacement=any(field.forces_replacement for field in fields),
        note=fields[0].note,
    )
    value, names = member_entry(fields, happened=happened)
    return FieldRow(
        name, "~", value, body=tuple(member_lines(names, full=layout.full)), remark=remark
    )


def _changed_row(field: FieldChange, layout: RowLayout) -> FieldRow:
    remark = field_remarks(
        field.origin,
        forces_replacement=field.forces_replacement,
        note=field.note,
    )
    before, after = field.before, field.after
    are_secrets = isinstance(before, SecretValue) and isinstance(after, SecretValue)
    # With the same source on both sides, the secret behind it changed.
    if are_secrets and before.source == after.source:
        return FieldRow(field.dotted, "~", "(secret value changed)", remark=remark)
    body = _body(field, layout)
    if body is not None:
        return FieldRow(field.dotted, "~", "", body=tuple(body), remark=remark)
    return FieldRow(
        field.dotted,
        before=_side(before, layout.width),
        after=_side(after, layout.width),
        remark=remark,
    )


def _body(field: FieldChange, layout: RowLayout) -> Iterator[DiffLine] | list[DiffLine] | None:
    """The lines of a change that does not fit on one line; None if it fits."""
    before, after = field.before, field.after
    if isinstance(before, str) and isinstance(after, str) and (is_long(before) or is_long(after)):
        return _diffed(text_sides(before, after), layout)
    if not any(_needs_lines(value, layout) for value in (before, after)):
        return None
    if is_container(before) and is_container(after):
        return _diffed((block(before), block(after)), layout)
    return [*_one_side("-", before, layout), *_one_side("+", after, layout)]


def _diffed(sides: tuple[list[str], list[str]], layout: RowLayout) -> list[DiffLine]:
    if layout.full:
        return diff_lines(*sides, context=None)
    return abridged(diff_lines(*sides), MOST_DIFF_LINES)


def _needs_lines(value: Any, layout: RowLayout) -> bool:
    if layout.full and is_long(value):
        return True
    return is_container(value) and brief(value, layout.width // 2) is None


def _one_side(sign: str, value: Any, layout: RowLayout) -> Iterator[DiffLine]:
    # A side without a value has no line.
    if value is None:
        return
    if _needs_lines(value, layout):
        yield from _block_lines(sign, value, layout)
    else:
        yield DiffLine(sign, _side(value, layout.width))


def _side(value: Any, width: int) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, LocalFile):
        return inline(value)
    if is_long(value):
        return beginning(value, width // 2)
    return inline(value)
