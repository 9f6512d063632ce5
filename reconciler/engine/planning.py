"""Plans from live state: everything is read before anything is decided."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec.structs import replace

from reconciler.engine.inputs import PlanInputs
from reconciler.engine.plan.planner import make_plan
from reconciler.engine.refresh.collect import collect
from reconciler.model.change import Plan
from reconciler.model.provider import LiveReader
from reconciler.model.tracing import span


def collect_and_plan(
    inputs: PlanInputs,
    provider: LiveReader,
    *,
    parallelism: int = 10,
    clock: Callable[[], float] = time.monotonic,
) -> Plan:
    """The plan for the current live state, with the calls and seconds that it took. Changes
    nothing."""
    # Differences, because a provider can have served an earlier plan of the same run.
    started, calls = clock(), provider.calls
    with span("collect"):
        snapshot = collect(inputs, provider, parallelism=parallelism)
    with span("plan"):
        plan = make_plan(snapshot)
    return replace(plan, calls=provider.calls - calls, seconds=clock() - started)
