"""Paths into values: keys and indexes from the top down, and their text form."""

from __future__ import annotations

import re

Trail = tuple[str | int, ...]
"""Keys and indexes from the top of a value to one of its parts."""

_WORD = re.compile(r"[\w-]+")
_STEP = re.compile(r'\.?([^.\[\]"]+)|\[(\d+)\]|\["([^"]*)"\]')


def dotted(trail: Trail) -> str:
    """A path as text: `spec.tools[1].function.name`; keys other than words are quoted."""
    text = ""
    for part in trail:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _WORD.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f'["{part}"]'
    return text


def undotted(text: str) -> Trail:
    """The inverse of `dotted`. Raises ValueError if the text is no path."""
    trail: list[str | int] = []
    at = 0
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            raise ValueError(f'"{text}" is not a path')
        word, index, quoted = step.groups()
        if index is not None:
            trail.append(int(index))
        else:
            trail.append(word if word is not None else quoted)
        at = step.end()
    return tuple(trail)
