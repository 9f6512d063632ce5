"""Patterns for addresses, names and ids: `*` and `?` are wildcards, also across slashes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

WILDCARDS: Mapping[str, str] = {"*": ".*", "?": "."}
"""What each wildcard stands for, as a regular expression."""


def is_wild(text: str) -> bool:
    """Whether a text has wildcards."""
    return any(character in text for character in WILDCARDS)


def compiled(patterns: Iterable[str], wildcards: Mapping[str, str] = WILDCARDS) -> re.Pattern[str]:
    """One expression whose full match is a match of any of the patterns."""
    # `.` has to match line breaks too: names from the API may contain any character.
    return re.compile("|".join(_expression(pattern, wildcards) for pattern in patterns), re.DOTALL)


def _expression(pattern: str, wildcards: Mapping[str, str]) -> str:
    return "".join(wildcards.get(character, re.escape(character)) for character in pattern)
