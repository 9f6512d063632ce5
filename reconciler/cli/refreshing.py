"""Plans from as few calls as the audit log allows, and what an apply remembers for the next one."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from reconciler.api.audit import entries_since
from reconciler.api.client import Client
from reconciler.api.keys import KeyRing
from reconciler.api.provider import HttpProvider
from reconciler.engine.budget import check_budget
from reconciler.engine.incremental import (
    Memory,
    Sweeps,
    Trust,
    Writes,
    decide,
    is_told_of,
    reading_of,
    remembered,
    unsettled,
)
from reconciler.engine.inputs import PlanInputs
from reconciler.engine.plan import make_plan
from reconciler.engine.recorded import RecordedProvider
from reconciler.engine.remembering import RememberingProvider
from reconciler.errors import ReconcilerError
from reconciler.kinds import PLANNED
from reconciler.model.change import ApplyResult, Plan
from reconciler.model.log import Entry
from reconciler.state import StateStore

MEMORY = "reading"
"""The remark in the state that holds the memory."""

LOG = logging.getLogger("reconciler.engine")


class Refreshing:
    """The reading of one run. `clock` gives unix seconds."""

    def __init__(
        self,
        provider: HttpProvider,
        client: Client,
        keys: KeyRing,
        sweeps: Sweeps,
        *,
        parallelism: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._provider = provider
        self._client = client
        self._keys = keys
        self._sweeps = sweeps
        self._parallelism = parallelism
        self._clock = clock
        self._trust: Trust | None = None

    def plan(self, inputs: PlanInputs, store: StateStore, *, mode: str) -> Plan:
        """A plan; in mode `auto`, scopes that the log shows to be as they were are taken from the state, else none."""
        started, calls, now = time.monotonic(), self._provider.calls, self._clock()
        trust = Trust(because="a full refresh was asked for", asked_at=now)
        if mode == "auto":
            memory = Memory.load(store.meta(MEMORY))
            log = partial(self._entries_within_budget, inputs, memory)
            trust = decide(inputs, memory, log, now=now, sweeps=self._sweeps)
        check_budget(inputs, self._provider, trust.seats, beside=self._provider.calls - calls)
        provider = RememberingProvider(self._provider, RecordedProvider(inputs.records), trust.seats)
        plan = make_plan(inputs, provider, parallelism=self._parallelism)
        again = unsettled(plan, trust)
        if again:
            provider.distrust(again)
            trust = replace(trust, seats=trust.seats - again)
            plan = make_plan(inputs, provider, parallelism=self._parallelism)
        self._trust = None if inputs.options.targets else trust
        return replace(
            plan,
            calls=self._provider.calls - calls,
            seconds=time.monotonic() - started,
            reading=replace(
                reading_of(trust), waited_seconds=self._client.waited_seconds, whole=not inputs.options.targets
            ),
        )

    def remember(self, result: ApplyResult, store: StateStore, run_id: int) -> None:
        """Remember what an apply left in order; nothing where its plan was saved, targeted, or not finished."""
        trust = self._trust
        if trust is None or result.plan.destroy or result.interrupted:
            return
        memory = Memory.load(store.meta(MEMORY))
        told = {change.address for change in result.plan.changes if is_told_of(PLANNED[change.address.kind])}
        wrote = any(outcome.change.address in told for outcome in result.outcomes)
        if not told or (memory is not None and not wrote and trust.seats == set(memory.seats)):
            return
        trust = replace(trust, asked_at=trust.asked_at + self._client.skew_seconds)
        try:
            entries = self._entries(trust.asked_at - self._sweeps.overlap_seconds)
        except ReconcilerError as error:
            LOG.info("The audit log cannot be read, so the next plan reads everything: %s", error)
            return
        steps = store.steps_of_run(run_id)
        keys = {str(step.result["key_id"]) for step in steps if "key_id" in step.result}
        writes = Writes(Counter(step.id for step in steps if step.id is not None), keys)
        fresh = remembered(memory, trust, result, writes, entries, kinds=PLANNED, sweeps=self._sweeps)
        store.set_meta(MEMORY, fresh.dump())

    def _entries_within_budget(self, inputs: PlanInputs, memory: Memory | None, since: float) -> list[Entry]:
        """The same, unless even the best that the log can say would leave too much to read."""
        check_budget(inputs, self._provider, memory.seats if memory else (), beside=1)
        return self._entries(since)

    def _entries(self, since: float) -> list[Entry]:
        return entries_since(self._client, self._keys, since)


def plan_of_records(inputs: PlanInputs, *, parallelism: int) -> Plan:
    """A plan without a call: what the manifests changed since the last apply."""
    return make_plan(inputs, RecordedProvider(inputs.records), parallelism=parallelism)
