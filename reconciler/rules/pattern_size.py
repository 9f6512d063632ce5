"""Estimates how large a regular expression becomes when its counted repeats are expanded.

The regex package expands them when it compiles a pattern, where no time limit holds: a million parts
take seconds and gigabytes. An estimate may be too large, and is never too small.
"""

from __future__ import annotations

import math
import re
from heapq import nlargest
from itertools import chain

_REPEAT = re.compile(r"\{(\d*),?(\d*)\}")
# An escape, a character class, the start of a group, a counted repeat, or any other character.
_TOKEN = re.compile(
    r"""(?xs)
    \\. | \[ \^? \]? (?: \\. | [^\]\\] )* \]
    | \( (?: \? (?: P?<\w+> | P[=>] | <?[=!] | [:>] )? )?
    | \{\d*,?\d*\} | .
    """
)
_VERBOSE = re.compile(r"\(\?[a-zA-Z]*x")
# The regex package skips white space and comments inside the braces too, and `re` does not.
_ESCAPE_OR_SPACED_REPEAT = re.compile(r"(?s)\\.|\{(?!\d*,?\d*\})[\s\d,#]")
# Classes that the two packages end at different characters.
_POSIX_CLASS = "[:"


def expanded_size(pattern: str) -> float:
    """At most how many parts a pattern has; infinite if that cannot be told.

    A part is a character, a class's character, an escape or a group. Repeats of repeats multiply,
    and repeats side by side add up.
    """
    if _VERBOSE.search(pattern):
        if any(token.startswith("{") for token in _ESCAPE_OR_SPACED_REPEAT.findall(pattern)):
            return math.inf
        return _rough_size(pattern)
    if "(?#" in pattern or _POSIX_CLASS in pattern:
        return _rough_size(pattern)
    # The sizes of the parts of each open group; the first is the whole pattern.
    groups: list[list[int]] = [[0]]
    for part in _TOKEN.findall(pattern):
        repeat = _REPEAT.fullmatch(part)
        if repeat is not None:
            groups[-1][-1] *= _count(*repeat.groups())
        elif part == "{":
            # For the regex package, it may begin an approximate match such as `{e<=1}`.
            return _rough_size(pattern)
        elif part.startswith("("):
            groups.append([1])
        elif part == ")" and len(groups) > 1:
            size = sum(groups.pop())
            groups[-1].append(size)
        else:
            groups[-1].append(len(part))
    # A group that is not closed is an error, which the compiler reports.
    return sum(chain.from_iterable(groups))


def _rough_size(pattern: str) -> float:
    """An estimate for a pattern whose structure is not certain."""
    counts = [_count(*found) for found in _REPEAT.findall(pattern)]
    # Repeats of repeats need a group each. In the worst case, the largest ones are nested.
    return len(pattern) * math.prod(nlargest(pattern.count("(") + 1, counts))


def _count(least: str, most: str) -> int:
    return max(int(least or 1), int(most or 1), 1)
