"""Durations in seconds that environment variables set."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.api.transport.client import ANSWER_SECONDS
from reconciler.app.env_seconds import seconds_in_env
from reconciler.engine.consistency import ConsistencyWindow


def settle_seconds(env: Mapping[str, str]) -> float:
    """How long lists may lack a new object; RECONCILER_SETTLE_SECONDS overrides the default."""
    return seconds_in_env(env, "RECONCILER_SETTLE_SECONDS", ConsistencyWindow().seconds)


def answer_seconds(env: Mapping[str, str]) -> float:
    """How long a request may take; RECONCILER_ANSWER_SECONDS overrides the default."""
    return seconds_in_env(env, "RECONCILER_ANSWER_SECONDS", ANSWER_SECONDS)
