"""Makes plans with as few calls as the audit log allows, and saves the refresh checkpoint."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import cache, partial

from msgspec.structs import replace

from reconciler.api.audit import read_log
from reconciler.api.keys import KeyRing
from reconciler.api.objects.reader import HttpReader
from reconciler.api.transport.client import Client
from reconciler.engine.inputs import PlanInputs
from reconciler.engine.planning import collect_and_plan
from reconciler.engine.refresh.affected_scopes import is_reported_in_audit_log
from reconciler.engine.refresh.audit_attribution import Write
from reconciler.engine.refresh.audit_proof import Costs
from reconciler.engine.refresh.audit_trust import (
    FullRefreshPolicy,
    decide,
    refresh_summary,
    scopes_to_reread,
)
from reconciler.engine.refresh.audit_window import AuditLog, read_window
from reconciler.engine.refresh.cached import CachedReader
from reconciler.engine.refresh.checkpoint import RefreshCheckpoint, ScopeKey, UnchangedScopes
from reconciler.engine.refresh.checkpoint_update import (
    RefreshOutcome,
    checkpoint_after,
    checkpoint_after_saved_plan,
    read_at_the_end,
)
from reconciler.engine.refresh.estimate import Estimate, check_budget
from reconciler.engine.refresh.recorded import StateReader
from reconciler.engine.scope import Scope
from reconciler.errors import ReconcilerError
from reconciler.kinds import ALL_KINDS
from reconciler.model.change import ApplyResult, OutcomeStatus, Plan, RefreshSummary
from reconciler.model.log import LogPage, LogQuery
from reconciler.model.provider import CREATE
from reconciler.state import StateStore

CHECKPOINT = "reading"
"""The key in the state that holds the checkpoint."""

LOG = logging.getLogger("reconciler.engine")
_REMOVING = frozenset({"delete", "archive"})
_LOGGED = frozenset({CREATE, "update", "switch", "restore"}) | _REMOVING
"""The steps of an apply that write an object itself, which the audit log reports."""


class Planning:
    """Reads live state for the plan of one run, and afterwards saves what it verified.

    `log` reads the audit log; None to ask the API. It may return pages that were read for another
    stack, but at the end of an apply only pages requested after the last write of this stack.
    `sharers` is as in `PlanInputs`.
    """

    def __init__(
        self,
        provider: HttpReader,
        client: Client,
        keys: KeyRing,
        policy: FullRefreshPolicy,
        *,
        parallelism: int,
        log: AuditLog | None = None,
        sharers: int = 1,
    ) -> None:
        self._provider = provider
        self._client = client
        self._policy = policy
        self._parallelism = parallelism
        self._log = log or partial(read_log, client, keys)
        self._sharers = sharers
        self._unchanged: UnchangedScopes | None = None
        self._inputs: PlanInputs | None = None
        self._asked = 0.0

    def plan(self, inputs: PlanInputs, store: StateStore, *, mode: str) -> Plan:
        """Make a plan. In mode `auto`, scopes that the log shows as unchanged come from the state."""
        started = self._asked = time.monotonic()
        self._client.refuse_before(store.runs.last_effect_at())
        calls = self._provider.calls
        unchanged = UnchangedScopes(full_refresh_reason="a full refresh was requested")
        if mode == "auto":
            checkpoint = RefreshCheckpoint.load(store.remarks.get(CHECKPOINT))
            log = partial(self._log_within_budget, inputs, checkpoint)
            unchanged = decide(
                inputs, checkpoint, log, policy=self._policy, costs=self._costs(inputs)
            )
        check_budget(
            inputs,
            self._provider,
            unchanged.scopes,
            log_calls=self._provider.calls - calls,
            is_shared=self._is_shared,
        )
        provider = CachedReader(
            self._provider, StateReader(inputs.records), unchanged, inputs.pages
        )
        plan = collect_and_plan(inputs, provider, parallelism=self._parallelism)
        # Records are sufficient to detect that nothing changed, but not to write from.
        again = scopes_to_reread(plan, unchanged, inputs.kinds)
        if again:
            unchanged = unchanged.without(again, "something is to be done there")
            provider.set_unchanged(unchanged)
            plan = collect_and_plan(inputs, provider, parallelism=self._parallelism)
        # A plan with targets has not read the rest, so it proves nothing about it.
        self._unchanged = None if inputs.options.targets else unchanged
        self._inputs = inputs
        return replace(
            plan,
            calls=self._provider.calls - calls,
            seconds=time.monotonic() - started,
            refresh=replace(
                refresh_summary(unchanged),
                waited_seconds=self._client.in_flight.idle_seconds,
                whole=not inputs.options.targets,
                began_at=self._asked_at(),
                answered_by_log=bool(unchanged.scopes) and not provider.has_read,
            ),
        )

    def remember(self, result: ApplyResult, store: StateStore, run_id: int) -> None:
        """Save the checkpoint of an apply.

        It covers only what the apply wrote if its plan had targets, was interrupted, or comes from
        another run that did not read everything.
        """
        checkpoint = RefreshCheckpoint.load(store.remarks.get(CHECKPOINT))
        plan, unchanged = result.plan, self._unchanged
        if unchanged is None:
            unchanged = _read_by_saved_plan(plan.refresh)
        writes = self._writes(result, store, run_id)
        outcome = RefreshOutcome(result, writes, plan.refresh.began_at, store.serial)
        if unchanged is None or plan.destroy or result.interrupted:
            # Unread scopes keep their entries, unless another run has changed the state since.
            if checkpoint is not None and checkpoint.serial == plan.state_serial:
                updated = checkpoint_after_saved_plan(checkpoint, outcome, policy=self._policy)
                store.remarks.put(CHECKPOINT, updated.dump())
            return
        if checkpoint is None and not _is_in_audit_log(plan):
            return
        if outcome.writes and self._sharers > 1:
            # The writes of other stacks would outdate a reading before the next plan, which reads
            # the log once for all of them.
            outcome = replace(outcome, leaves_log=True)
        elif outcome.writes or not unchanged.newest_entries:
            outcome = self._with_the_end_of_the_log(unchanged, outcome, store)
        updated = checkpoint_after(
            checkpoint, unchanged, outcome, kinds=ALL_KINDS, policy=self._policy
        )
        store.remarks.put(CHECKPOINT, updated.dump())

    def _writes(self, result: ApplyResult, store: StateStore, run_id: int) -> list[Write]:
        """The writes of a run that the audit log reports."""
        outcomes = {outcome.change.address: outcome for outcome in result.outcomes}
        projects = {change.address.project: change.project_id for change in result.plan.changes}
        # The plan has no id for a project that this run has created.
        for outcome in result.of(OutcomeStatus.APPLIED):
            address = outcome.change.address
            if outcome.id and ALL_KINDS[address.kind].defines_project:
                projects[address.name] = outcome.id
        writes = []
        for step in store.runs.steps_of(run_id):
            kind, done = ALL_KINDS[step.address.kind], outcomes.get(step.address)
            # A create's step has the object's own id; the outcome has the id with its parents.
            id = done.id if done is not None and step.name == CREATE else step.id
            project = step.address.project
            if step.name in _LOGGED and kind.audit_event_types and id is not None:
                times = step.began_at, step.ended_at or step.began_at
                removes, project_id = step.name in _REMOVING, projects.get(project)
                with suppress(ValueError):
                    writes.append(
                        Write.of(kind, project, project_id, id, times=times, removes=removes),
                    )
        return writes

    def _asked_at(self) -> float:
        """When the plan began to read, by the server's clock, even if ours was set meanwhile."""
        asked = self._client.read_since(self._asked)
        return self._client.server_clock() - (time.monotonic() - asked)

    def _with_the_end_of_the_log(
        self, unchanged: UnchangedScopes, outcome: RefreshOutcome, store: StateStore
    ) -> RefreshOutcome:
        """The outcome of an apply, with the log entries since its plan."""
        window = read_at_the_end(unchanged, outcome)
        inputs = self._inputs
        try:
            reading = read_window(self._log, window, worth=lambda: window.pages + 2, is_bold=True)
        except ReconcilerError as error:
            LOG.info("The audit log cannot be read: %s", error)
            return outcome
        return replace(
            outcome,
            reading=reading,
            read_from=window.needed_from,
            # A page may have been read for another stack shortly before.
            ended_at=min(reading.asked_at, self._client.server_clock()),
            inputs=replace(inputs, records=store.records()) if inputs is not None else None,
        )

    def _log_within_budget(
        self, inputs: PlanInputs, checkpoint: RefreshCheckpoint | None, query: LogQuery
    ) -> Iterator[LogPage]:
        """Read the log, unless even the best answer would leave more to read than the budget."""
        check_budget(
            inputs,
            self._provider,
            checkpoint.by_scope if checkpoint else (),
            log_calls=1 if self._sharers == 1 else 0,  # another stack may have read the log
            is_shared=self._is_shared,
        )
        return self._log(query)

    def _is_shared(self, scope: Scope) -> bool:
        kind = ALL_KINDS[scope.kind]
        return self._provider.is_list_shared(kind, scope.project, scope.parent)

    def _costs(self, inputs: PlanInputs) -> Costs:
        def calls(unchanged: Collection[ScopeKey]) -> int:
            return Estimate(inputs, self._provider, unchanged, is_shared=self._is_shared).calls

        def pending() -> set[ScopeKey]:
            plan = collect_and_plan(
                offline(inputs), StateReader(inputs.records), parallelism=self._parallelism
            )
            return {(change.address.kind, change.address.project) for change in plan.pending}

        return Costs(calls, cache(pending), self._sharers)


def _read_by_saved_plan(reading: RefreshSummary) -> UnchangedScopes | None:
    """The scopes of a plan that another run made: none is unchanged if that run read everything.

    None if it skipped scopes, because of its targets or of the audit log.
    """
    if reading.whole and not reading.unchanged_scopes and reading.began_at:
        return UnchangedScopes(full_refresh_reason=reading.full_refresh_reason)
    return None


def _is_in_audit_log(plan: Plan) -> bool:
    """Whether the log covers any object of the plan, so that a checkpoint can save calls."""
    names = {change.address.kind for change in plan.changes}
    return any(is_reported_in_audit_log(ALL_KINDS[name]) for name in names)


def offline(inputs: PlanInputs) -> PlanInputs:
    """The inputs of a plan for which records stand in for live objects."""
    return replace(inputs, options=replace(inputs.options, offline=True))


def plan_of_records(inputs: PlanInputs, *, parallelism: int) -> Plan:
    """Make a plan without a call: what the manifests changed since the last apply."""
    LOG.info("Planning from state only: assuming that every object is as it was applied.")
    inputs = offline(inputs)
    plan = collect_and_plan(inputs, StateReader(inputs.records), parallelism=parallelism)
    return replace(
        plan,
        refresh=RefreshSummary(full_refresh_reason="no refresh was requested", is_offline=True),
    )
