"""Reads seconds from environment variables, for modules that need no client."""

from __future__ import annotations

import math
from collections.abc import Mapping

from reconciler.errors import UsageError
from reconciler.model.durations import LONGEST_SECONDS


def seconds_in_env(
    env: Mapping[str, str],
    variable: str,
    default: float,
    *,
    shortest: float | None = None,
    longest: float = LONGEST_SECONDS,
) -> float:
    """The seconds in a variable, or the default if it is empty. Raises UsageError naming it.

    Without `shortest`, negative numbers are zero.
    """
    text = env.get(variable) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    least, bounds = -math.inf, f"at most {longest:.0f}"
    if shortest is not None:
        least, bounds = shortest, f"from {shortest:.0f} to {longest:.0f}"
    # Also false for NaN, which no comparison accepts.
    if not least <= seconds <= longest:
        raise UsageError(f'{variable} is "{text}": write a number of seconds, {bounds}')
    return max(0.0, seconds)
