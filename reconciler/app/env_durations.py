"""Durations in seconds that environment variables set."""

from __future__ import annotations

import math
from collections.abc import Mapping

from reconciler.api.transport.client import ANSWER_SECONDS
from reconciler.engine.consistency import ConsistencyWindow
from reconciler.errors import UsageError
from reconciler.model.durations import LONGEST_SECONDS


def settle_seconds(env: Mapping[str, str]) -> float:
    """How long lists may lack a new object; RECONCILER_SETTLE_SECONDS overrides the default."""
    return seconds_of(env, "RECONCILER_SETTLE_SECONDS", ConsistencyWindow().seconds)


def answer_seconds(env: Mapping[str, str]) -> float:
    """How long a request may take; RECONCILER_ANSWER_SECONDS overrides the default."""
    return seconds_of(env, "RECONCILER_ANSWER_SECONDS", ANSWER_SECONDS)


def seconds_of(env: Mapping[str, str], variable: str, default: float) -> float:
    """The number of seconds in an environment variable; raises UsageError naming the variable."""
    text = env.get(variable) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    # Also false for NaN, which no comparison accepts. Clocks cannot add much longer waits.
    if not seconds <= LONGEST_SECONDS:
        raise UsageError(
            f'{variable} is "{text}": write a number of seconds, at most {LONGEST_SECONDS:.0f}',
        )
    return max(0.0, seconds)
