"""Plans from as few calls as the audit log allows, and what an apply remembers for the next one."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import cache, partial

from msgspec.structs import replace

from reconciler.api.audit import read_log
from reconciler.api.client import Client
from reconciler.api.keys import KeyRing
from reconciler.api.provider import HttpProvider
from reconciler.engine.audit_window import read_window
from reconciler.engine.budget import Estimate, check_budget
from reconciler.engine.incremental import (
    Costs,
    Done,
    Memory,
    Seat,
    Sweeps,
    Trust,
    carried_on,
    decide,
    is_told_of,
    read_at_the_end,
    reading_of,
    remembered,
    unsettled,
)
from reconciler.engine.inputs import PlanInputs
from reconciler.engine.own_writes import Write
from reconciler.engine.plan import make_plan
from reconciler.engine.recorded import RecordedProvider
from reconciler.engine.remembering import RememberingProvider
from reconciler.errors import ReconcilerError
from reconciler.kinds import PLANNED
from reconciler.model.change import ApplyResult, OutcomeStatus, Plan, Reading
from reconciler.model.log import LogPage, LogQuery
from reconciler.model.provider import CREATE
from reconciler.state import StateStore

MEMORY = "reading"
"""The remark in the state that holds the memory."""

LOG = logging.getLogger("reconciler.engine")
_REMOVING = frozenset({"delete", "archive"})
_LOGGED = frozenset({CREATE, "update", "switch", "restore"}) | _REMOVING
"""The steps of applies that are writes of the objects themselves, for which the audit log has entries."""


class Refreshing:
    """The reading of one run."""

    def __init__(
        self,
        provider: HttpProvider,
        client: Client,
        keys: KeyRing,
        sweeps: Sweeps,
        *,
        parallelism: int,
    ) -> None:
        self._provider = provider
        self._client = client
        self._keys = keys
        self._sweeps = sweeps
        self._parallelism = parallelism
        self._trust: Trust | None = None
        self._inputs: PlanInputs | None = None
        self._asked = 0.0

    def plan(self, inputs: PlanInputs, store: StateStore, *, mode: str) -> Plan:
        """A plan; in mode `auto`, scopes that the log shows to be as they were are taken from the state, else none."""
        started = self._asked = time.monotonic()
        calls, trust = self._provider.calls, Trust(because="a full refresh was asked for")
        if mode == "auto":
            memory = Memory.load(store.meta(MEMORY))
            log = partial(self._log_within_budget, inputs, memory)
            trust = decide(inputs, memory, log, sweeps=self._sweeps, costs=self._costs(inputs))
        check_budget(inputs, self._provider, trust.seats, beside=self._provider.calls - calls)
        provider = RememberingProvider(self._provider, RecordedProvider(inputs.records), trust, inputs.pages)
        plan = make_plan(inputs, provider, parallelism=self._parallelism)
        again = unsettled(plan, trust, inputs.kinds)
        if again:
            trust = trust.without(again, "something is to be done there")
            provider.trust(trust)
            plan = make_plan(inputs, provider, parallelism=self._parallelism)
        self._trust = None if inputs.options.targets else trust
        self._inputs = inputs
        return replace(
            plan,
            calls=self._provider.calls - calls,
            seconds=time.monotonic() - started,
            reading=replace(
                reading_of(trust),
                waited_seconds=self._client.waited_seconds,
                whole=not inputs.options.targets,
                began_at=self._asked_at(),
            ),
        )

    def remember(self, result: ApplyResult, store: StateStore, run_id: int) -> None:
        """Remember what an apply left in order; no more than what it wrote where its plan was targeted or not finished,
        or was made by another run that did not read everything.
        """
        memory, trust, reading = Memory.load(store.meta(MEMORY)), self._trust, result.plan.reading
        if trust is None and reading.whole and not reading.remembered and reading.began_at:
            trust = Trust(because=reading.because)
        done = Done(result, self._writes(result, store, run_id), reading.began_at, store.serial)
        if trust is None or result.plan.destroy or result.interrupted:
            if memory is not None and memory.serial == result.plan.state_serial:
                store.set_meta(MEMORY, carried_on(memory, done, sweeps=self._sweeps).dump())
            return
        if memory is None and not any(is_told_of(PLANNED[change.address.kind]) for change in result.plan.changes):
            return
        if done.writes or not trust.shown:
            done = self._with_the_end_of_the_log(trust, done, store)
        fresh = remembered(memory, trust, done, kinds=PLANNED, sweeps=self._sweeps)
        store.set_meta(MEMORY, fresh.dump())

    def _writes(self, result: ApplyResult, store: StateStore, run_id: int) -> list[Write]:
        """What a run wrote, as far as the audit log tells of such writes."""
        outcomes = {outcome.change.address: outcome for outcome in result.outcomes}
        projects = {change.address.project: change.project_id for change in result.plan.changes}
        made = (outcome for outcome in result.of(OutcomeStatus.APPLIED) if outcome.id)
        projects |= {
            outcome.change.address.name: outcome.id
            for outcome in made
            if PLANNED[outcome.change.address.kind].defines_project
        }
        writes = []
        for step in store.steps_of_run(run_id):
            kind, outcome = PLANNED[step.address.kind], outcomes.get(step.address)
            # The step of a create knows the object's own id alone; where it is besides, the outcome says.
            id = outcome.id if outcome is not None and step.name == CREATE else step.id
            project = step.address.project
            if step.name in _LOGGED and kind.told_as and id is not None:
                times = step.began_at, step.ended_at or step.began_at
                removes, project_id = step.name in _REMOVING, projects.get(project)
                with suppress(ValueError):
                    writes.append(Write.of(kind, project, project_id, id, times=times, removes=removes))
        return writes

    def _asked_at(self) -> float:
        """When the plan began to read, by the server's clock, whatever became of ours meanwhile."""
        return self._client.server_clock() - (time.monotonic() - self._asked)

    def _with_the_end_of_the_log(self, trust: Trust, done: Done, store: StateStore) -> Done:
        """What an apply did, with what the log shows of it."""
        window = read_at_the_end(trust, done)
        inputs = self._inputs
        try:
            reading = read_window(self._log, window, worth=lambda: window.pages + 2, is_bold=True)
        except ReconcilerError as error:
            LOG.info("The audit log cannot be read: %s", error)
            return done
        return replace(
            done,
            reading=reading,
            read_from=window.needed_from,
            ended_at=self._client.server_clock(),
            inputs=replace(inputs, records=store.records()) if inputs is not None else None,
        )

    def _log_within_budget(self, inputs: PlanInputs, memory: Memory | None, query: LogQuery) -> Iterator[LogPage]:
        """The log, unless even the best that it can say would leave too much to read."""
        check_budget(inputs, self._provider, memory.seats if memory else (), beside=1)
        return self._log(query)

    def _log(self, query: LogQuery) -> Iterator[LogPage]:
        return read_log(self._client, self._keys, query)

    def _costs(self, inputs: PlanInputs) -> Costs:
        def calls(trusted: Collection[Seat]) -> int:
            return Estimate(inputs, self._provider, trusted).calls

        def pending() -> set[Seat]:
            plan = make_plan(inputs, RecordedProvider(inputs.records), parallelism=self._parallelism)
            return {(change.address.kind, change.address.project) for change in plan.pending}

        return Costs(calls, cache(pending))


def plan_of_records(inputs: PlanInputs, *, parallelism: int) -> Plan:
    """A plan without a call: what the manifests changed since the last apply."""
    LOG.info("Nothing is read: all objects are taken to be as they were applied.")
    plan = make_plan(inputs, RecordedProvider(inputs.records), parallelism=parallelism)
    return replace(plan, reading=Reading(because="no refresh was asked for", unread=True))
