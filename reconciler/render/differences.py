"""Line diffs of texts, with a little context and counts of omitted lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from reconciler.render.values import count, text_lines

CONTEXT = 2
# Longer lines are cut to their differences, with so many characters on either side.
_WIDE = 160
_KEPT = 40
_NO_END = "(no newline at end)"
_MANY = 2_000


class DiffLine(NamedTuple):
    """One line of a diff. `sign` is `+`, `-`, a blank for context, or `…` for omitted lines."""

    sign: str
    text: str


def text_sides(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines of two texts for a diff, which shows a newline added or removed at the end."""
    left, right = text_lines(before), text_lines(after)
    ends_before, ends_after = before.endswith("\n"), after.endswith("\n")
    # `text_lines` drops the newline at the end, so a change of it alone would show no difference.
    if left and right and ends_before and not ends_after:
        right.append(_NO_END)
    if left and right and ends_after and not ends_before:
        left.append(_NO_END)
    return left, right


def diff_lines(
    before: Sequence[str], after: Sequence[str], context: int | None = CONTEXT
) -> list[DiffLine]:
    """The diff of two lists of lines, with `context` unchanged lines around each change.

    Without a context, nothing is left out and no line is cut.
    """
    import difflib  # imported late: few runs show a diff

    # Without `autojunk`, diffs are better but take quadratic time, so large texts keep it.
    matcher = difflib.SequenceMatcher(
        None, before, after, autojunk=len(before) + len(after) > _MANY
    )
    lines: list[DiffLine] = []
    position = 0
    if context is None:
        for whole in matcher.get_opcodes():
            lines += _operation(whole, before, after, is_whole=True)
        return lines
    for group in matcher.get_grouped_opcodes(context):
        lines += _gap(group[0][1] - position)
        for operation in group:
            lines += _operation(operation, before, after)
        position = group[-1][2]
    # Equal texts have no group, and no gap either.
    if not lines:
        return []
    return lines + _gap(len(before) - position)


def abridged(lines: Sequence[DiffLine], most: int) -> list[DiffLine]:
    """At most `most` lines; the last one counts those left out."""
    if len(lines) <= most:
        return list(lines)
    missing = count(len(lines) - most + 1, "more line")
    return [*lines[: most - 1], DiffLine("…", f"{missing} of this diff")]


def _gap(size: int) -> list[DiffLine]:
    if size <= 0:
        return []
    return [DiffLine("…", count(size, "unchanged line"))]


def _operation(
    operation: tuple[str, int, int, int, int],
    before: Sequence[str],
    after: Sequence[str],
    *,
    is_whole: bool = False,
) -> list[DiffLine]:
    tag, start, end, start_after, end_after = operation
    if tag == "equal":
        context = before[start:end]
        if not is_whole:
            context = list(map(_start, context))
        return [DiffLine(" ", text) for text in context]
    left, right = list(before[start:end]), list(after[start_after:end_after])
    # As many lines as before are most likely versions of them, one by one.
    if len(left) == len(right) and not is_whole:
        for at, (old, new) in enumerate(zip(left, right, strict=True)):
            left[at], right[at] = _cropped(old, new)
    return [*_signed("-", left), *_signed("+", right)]


def _start(text: str) -> str:
    if len(text) <= _WIDE:
        return text
    return text[:_WIDE] + "…"


def _signed(sign: str, lines: Sequence[str]) -> Iterator[DiffLine]:
    for text in lines:
        # Blanks at the end of a line can be the whole difference, and are invisible.
        kept = text.rstrip(" ")
        yield DiffLine(sign, kept + "·" * (len(text) - len(kept)))


def _cropped(before: str, after: str) -> tuple[str, str]:
    """Two versions of a very long line, without most of their common start and end."""
    if max(len(before), len(after)) <= _WIDE:
        return before, after
    start = max(0, _shared(before, after) - _KEPT)
    end = max(0, _shared(before[start:][::-1], after[start:][::-1]) - _KEPT)
    return _window(before, start, len(before) - end), _window(after, start, len(after) - end)


def _shared(before: str, after: str) -> int:
    """The length of the common prefix of two texts."""
    length = min(len(before), len(after))
    return next((at for at in range(length) if before[at] != after[at]), length)


def _window(text: str, start: int, end: int) -> str:
    shown = text[start:end]
    if start:
        shown = f"…{shown}"
    if end < len(text):
        shown = f"{shown}…"
    return shown
