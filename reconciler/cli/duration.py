"""Parses durations of the command line, such as `30s`, `5m` and `1h30m`."""

from __future__ import annotations

import re

from reconciler.errors import UsageError

LONGEST_SECONDS = 86_400
_NUMBER = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
_PLAIN = re.compile(_NUMBER)
_UNITS = re.compile(f"(?=.)(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?")


def seconds_in(text: str, option: str) -> float:
    """The number of seconds, which a plain number counts too; raises UsageError."""
    seconds = _seconds(text.strip())
    if seconds is None or seconds > LONGEST_SECONDS:
        raise UsageError(
            f'{option} "{text}" is no duration: write one such as 30s, 5m or 1h, at most 24h'
        )
    return seconds


def _seconds(text: str) -> float | None:
    if _PLAIN.fullmatch(text):
        return float(text)
    parts = _UNITS.fullmatch(text)
    if parts is None:
        return None
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return hours * 3600 + minutes * 60 + seconds
