"""Lines of styled text, before anyone knows whether there will be colours.

A line is a sequence of spans. Control characters end here: `plain` and `cells` see escaped text only, so no part of a
renderer has to remember to escape.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from reconciler.render.escape import terminal


class Span(NamedTuple):
    """Text with a style; the empty style is the terminal's own."""

    text: str
    style: str = ""


Line = tuple[Span, ...]


def line(*parts: str | Span) -> Line:
    """A line of spans, every part escaped, empty parts left out."""
    spans = (part if isinstance(part, Span) else Span(part) for part in parts)
    return tuple(Span(terminal(span.text), span.style) for span in spans if span.text)


def plain(lines: Iterable[Line]) -> str:
    """The lines without colours, none with blanks at its end."""
    return "".join("".join(span.text for span in item).rstrip() + "\n" for item in lines)


def painted(lines: Iterable[Line], *, color: bool) -> str:
    """The lines as text, with the escape sequences of their styles where `color`."""
    if not color:
        return plain(lines)
    return "".join("".join(_sequence(span) for span in item) + "\n" for item in lines)


def _sequence(span: Span) -> str:
    if not span.style:
        return span.text
    start, end = _codes(span.style)
    return f"{start}{span.text}{end}"


@lru_cache
def _codes(style: str) -> tuple[str, str]:
    # Imported here: a run without colours should not wait for it.
    from rich.color import ColorSystem
    from rich.style import Style

    start, _, end = Style.parse(style).render("\0", color_system=ColorSystem.STANDARD).partition("\0")
    return start, end


def cells(text: str) -> int:
    """How many columns of a terminal `text` takes: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_cell(char) for char in text)


def padded(text: str, width: int) -> str:
    """`text` filled with blanks up to `width` columns, never cut."""
    return text + " " * max(0, width - cells(text))


def filled(text: str, width: int) -> str:
    """`text` with blanks before it up to `width` columns, never cut."""
    return " " * max(0, width - cells(text)) + text


def shortened(text: str, width: int) -> str:
    """`text` in at most `width` columns, with an ellipsis where something is missing."""
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
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
