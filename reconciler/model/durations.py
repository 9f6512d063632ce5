"""Durations as texts: in manifests (`90d`, `1d12h`), in options (`30s`, `1h30m`), and for people."""

from __future__ import annotations

import re

from reconciler.errors import UsageError

DAY_SECONDS = 86_400.0
LONGEST_SECONDS = DAY_SECONDS
"""The longest duration that an option or an environment variable can set."""
# The lookahead refuses an empty text. The bounds keep a duration far below what a date can hold.
PATTERN = r"^(?=[0-9])(?:[0-9]{1,6}d)?(?:[0-9]{1,6}h)?(?:[0-9]{1,6}m)?(?:[0-9]{1,9}s)?$"
"""A regular expression for JSON Schema; `seconds_of` takes the same texts."""

_DURATION = re.compile(PATTERN)
_PART = re.compile(r"([0-9]+)([dhms])")
_UNITS = {"d": DAY_SECONDS, "h": 3_600.0, "m": 60.0, "s": 1.0}
_NUMBER = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
_OPTION_NUMBER = re.compile(_NUMBER)
_OPTION = re.compile(f"(?=.)(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?")
_STEPS = ((DAY_SECONDS, "day"), (3_600.0, "hour"), (60.0, "minute"))


def seconds_of(text: object) -> float | None:
    """The seconds of a duration in a manifest; None for anything else."""
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        return None
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def seconds_of_option(text: str, option: str) -> float:
    """The seconds of a duration in an option, such as `30s`, `1h30m` or a plain number of seconds.

    Unlike in a manifest, parts may be decimal, and a day is the longest. Raises UsageError.
    """
    seconds = _option_seconds(text.strip())
    if seconds is None or seconds > LONGEST_SECONDS:
        raise UsageError(
            f'{option} "{text}" is no duration: write one such as 30s, 5m or 1h, at most 24h'
        )
    return seconds


def _option_seconds(text: str) -> float | None:
    if _OPTION_NUMBER.fullmatch(text):
        return float(text)
    parts = _OPTION.fullmatch(text)
    if parts is None:
        return None
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return hours * 3600 + minutes * 60 + seconds


def in_words(seconds: float) -> str:
    """A duration in its largest unit: `93 days`, `2 hours`, `40 seconds`."""
    for size, unit in _STEPS:
        if seconds >= size:
            number = int(seconds // size)
            return f"{number:,} {unit}" if number == 1 else f"{number:,} {unit}s"
    number = max(0, int(seconds))
    return "1 second" if number == 1 else f"{number} seconds"
