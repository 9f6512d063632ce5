"""Differences of texts, line by line: what changed, a little of what surrounds it, and how much was left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from reconciler.render.values import count, text_lines

CONTEXT = 2
_WIDE = 160
_KEPT = 40
_NO_END = "(no end of line here)"
_MANY = 2_000


class DiffLine(NamedTuple):
    """One line of a diff. `sign` is `+`, `-`, a blank for context, or `…` for what is left out."""

    sign: str
    text: str


def diff_texts(before: str, after: str) -> list[DiffLine]:
    """The difference of two texts, one that shows even where only the last end of line differs."""
    left, right = text_lines(before), text_lines(after)
    if before.endswith("\n") != after.endswith("\n") and left and right:
        (right if before.endswith("\n") else left).append(_NO_END)
    return diff_lines(left, right)


def diff_lines(before: Sequence[str], after: Sequence[str], context: int = CONTEXT) -> list[DiffLine]:
    """The difference of two lists of lines, unchanged stretches in their middle cut."""
    # Without the heuristic, popular lines (blank ones) would be matched too: better, but quadratic in large texts.
    import difflib  # only where texts differ

    matcher = difflib.SequenceMatcher(None, before, after, autojunk=len(before) + len(after) > _MANY)
    lines: list[DiffLine] = []
    position = 0
    for group in matcher.get_grouped_opcodes(context):
        lines += _gap(group[0][1] - position)
        for operation in group:
            lines += _operation(operation, before, after)
        position = group[-1][2]
    return lines + _gap(len(before) - position) if lines else []


def abridged(lines: Sequence[DiffLine], most: int) -> list[DiffLine]:
    """At most `most` lines, the end replaced by how many are missing."""
    if len(lines) <= most:
        return list(lines)
    return [*lines[: most - 1], DiffLine("…", f"{count(len(lines) - most + 1, 'more line')} of this difference")]


def _gap(size: int) -> list[DiffLine]:
    return [DiffLine("…", count(size, "unchanged line"))] if size > 0 else []


def _operation(
    operation: tuple[str, int, int, int, int], before: Sequence[str], after: Sequence[str]
) -> list[DiffLine]:
    tag, start, end, start_after, end_after = operation
    if tag == "equal":
        return [DiffLine(" ", text if len(text) <= _WIDE else text[:_WIDE] + "…") for text in before[start:end]]
    left, right = list(before[start:end]), list(after[start_after:end_after])
    if len(left) == len(right):
        pairs = [_cropped(one, other) for one, other in zip(left, right, strict=True)]
        left, right = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return [*_signed("-", left), *_signed("+", right)]


def _signed(sign: str, lines: Sequence[str]) -> Iterator[DiffLine]:
    for text in lines:
        kept = text.rstrip(" ")
        yield DiffLine(sign, kept + "·" * (len(text) - len(kept)))


def _cropped(before: str, after: str) -> tuple[str, str]:
    """Two versions of a very long line without most of the beginning and the end that they share."""
    if max(len(before), len(after)) <= _WIDE:
        return before, after
    start = max(0, _shared(before, after) - _KEPT)
    end = max(0, _shared(before[start:][::-1], after[start:][::-1]) - _KEPT)
    return _window(before, start, len(before) - end), _window(after, start, len(after) - end)


def _shared(before: str, after: str) -> int:
    """How many characters two texts have in common at their beginning."""
    pairs = enumerate(zip(before, after, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(before), len(after)))


def _window(text: str, start: int, end: int) -> str:
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")
