"""Lines of styled text; colour is decided only when they are written out.

A line is a sequence of spans. `line` escapes every part, so renderers built on it cannot forget to.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from reconciler.render.escape import terminal

_HANGING = 2
MOST_COLUMN = 44
"""The width beyond which a text no longer widens its column, so that one long name does not widen
it for all.
"""


class StyledText(NamedTuple):
    """Text with a style; an empty style is the terminal's default."""

    text: str
    style: str = ""


Line = tuple[StyledText, ...]


def line(*parts: str | StyledText) -> Line:
    """A line of spans, escaped, without empty parts."""
    spans = []
    for part in parts:
        span = part if isinstance(part, StyledText) else StyledText(part)
        if span.text:
            spans.append(StyledText(terminal(span.text), span.style))
    return tuple(spans)


def plain(lines: Iterable[Line]) -> str:
    """The lines without colours and trailing blanks."""
    return "".join(f"{_text_of(spans).rstrip()}\n" for spans in lines)


def painted(lines: Iterable[Line], *, color: bool) -> str:
    """The lines as text, with escape sequences for styles if `color`."""
    if not color:
        return plain(lines)
    return "".join("".join(map(_sequence, spans)) + "\n" for spans in lines)


def _text_of(spans: Line) -> str:
    return "".join(span.text for span in spans)


def _sequence(span: StyledText) -> str:
    if not span.style:
        return span.text
    start, end = _codes(span.style)
    return f"{start}{span.text}{end}"


@lru_cache
def _codes(style: str) -> tuple[str, str]:
    # Imported late: rich is slow to import, and runs without colour do not need it.
    from rich.color import ColorSystem
    from rich.style import Style

    start, _, end = (
        Style.parse(style).render("\0", color_system=ColorSystem.STANDARD).partition("\0")
    )
    return start, end


def wrapped(spans: Line, width: int) -> list[Line]:
    """A line of prose as lines of at most `width` columns, the further ones indented.

    They begin below the last span, so that text in a column stays in it. Words are never cut.
    """
    whole = _text_of(spans)
    # Dim text is not part of a sentence: ids, places and durations.
    if not spans or cells(whole) <= width or spans[-1].style == "dim":
        return [spans]
    *head, last = spans
    text = last.text.lstrip(" ")
    lead = last.text[: len(last.text) - len(text)]
    before = cells(_text_of(tuple(head)) + lead)
    indent = before
    # No column to stay in, or one that leaves too little room.
    if indent > width // 2 or not whole.startswith(" "):
        indent = len(whole) - len(whole.lstrip(" ")) + _HANGING
    first, *others = _filled_lines(text, width - before, width - indent)
    lines: list[Line] = [(*head, StyledText(lead + first, last.style))]
    hanging = StyledText(" " * indent)
    return [*lines, *((hanging, StyledText(rest, last.style)) for rest in others)]


def _filled_lines(text: str, first: int, others: int) -> list[str]:
    """Words in lines: one of `first` columns, the rest of `others`."""
    lines, room = [""], first
    for word in text.split(" "):
        if not lines[-1]:
            lines[-1] = word
        elif cells(lines[-1]) + 1 + cells(word) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
            room = others
    return lines


def cells(text: str) -> int:
    """The width of `text` in terminal columns: 2 for a wide character, 0 for a combining one."""
    if text.isascii():
        return len(text)
    return sum(map(_cell, text))


def column_width(texts: Iterable[str], most: int = MOST_COLUMN) -> int:
    """The width of the widest text of at most `most` columns; wider ones stick out."""
    widest = 0
    for width in map(cells, texts):
        if width <= most:
            widest = max(widest, width)
    return widest


def padded(text: str, width: int) -> str:
    """`text` left-aligned in `width` columns, never cut."""
    return text + " " * max(0, width - cells(text))


def filled(text: str, width: int) -> str:
    """`text` right-aligned in `width` columns, never cut."""
    return " " * max(0, width - cells(text)) + text


def shortened(text: str, width: int) -> str:
    """`text` cut to `width` columns, ending in an ellipsis if anything is missing."""
    if cells(text) <= width:
        return text
    kept, used = [], 1
    for char in text:
        used += _cell(char)
        if used > width:
            break
        kept.append(char)
    return "".join(kept).rstrip() + "…"


def _cell(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    if unicodedata.east_asian_width(char) in "WF":
        return 2
    return 1
