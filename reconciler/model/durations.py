"""Durations as texts, such as `90d`, `24h` and `1d12h`."""

from __future__ import annotations

import re

DAY_SECONDS = 86_400.0
# The lookahead refuses an empty text. The bounds keep a duration far below what a date can hold.
PATTERN = r"^(?=[0-9])(?:[0-9]{1,6}d)?(?:[0-9]{1,6}h)?(?:[0-9]{1,6}m)?(?:[0-9]{1,9}s)?$"
"""A regular expression for JSON Schema; `seconds_of` takes the same texts."""

_DURATION = re.compile(PATTERN)
_PART = re.compile(r"([0-9]+)([dhms])")
_UNITS = {"d": DAY_SECONDS, "h": 3_600.0, "m": 60.0, "s": 1.0}
_STEPS = ((DAY_SECONDS, "day"), (3_600.0, "hour"), (60.0, "minute"))


def seconds_of(text: object) -> float | None:
    """The seconds of a duration; None for anything else."""
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        return None
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def in_words(seconds: float) -> str:
    """A duration in its largest unit: `93 days`, `2 hours`, `40 seconds`."""
    for size, unit in _STEPS:
        if seconds >= size:
            number = int(seconds // size)
            return f"{number:,} {unit}" if number == 1 else f"{number:,} {unit}s"
    number = max(0, int(seconds))
    return "1 second" if number == 1 else f"{number} seconds"
