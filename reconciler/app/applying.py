"""Applies a plan: records the run, writes to the API, and saves what the next run needs."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from msgspec.structs import replace

from reconciler.app.blame import with_culprits
from reconciler.app.exit_codes import is_complete
from reconciler.app.handover import refuse_while_waiting
from reconciler.app.page_hints import keep_pages
from reconciler.app.plans import SEARCHED
from reconciler.app.policies import decided
from reconciler.app.secret_digests import digests_of
from reconciler.app.session import Session
from reconciler.app.state_origin import record_origin
from reconciler.engine.apply.scheduler import ApplyContext, apply_plan
from reconciler.errors import Interrupted, LeaseLostError
from reconciler.kinds import ALL_KINDS
from reconciler.model.change import ApplyResult, OutcomeStatus, Plan
from reconciler.model.plan_digest import plan_digest
from reconciler.model.run_origin import RunOrigin, RunReference
from reconciler.model.tracing import span
from reconciler.state import Holder, StateStore, current_origin

LOG = logging.getLogger("reconciler.app")


@contextmanager
def locked(session: Session, command: str) -> Iterator[None]:
    """Hold the lock of the session's state; see `holding`."""
    with holding(session, session.writable(), command):
        yield


def holding(session: Session, store: StateStore, command: str) -> AbstractContextManager[Holder]:
    """Hold the lock of a state. Replaces a dead holder, with a notice.

    Waits for a living one as long as `session.lock_wait` says, or until the run is stopped. If the
    lock is lost, the run stops.
    """

    def notice(holder: Holder) -> None:
        session.notice(
            f"Taking over the lock of {holder}: that run has ended without releasing it."
        )

    def pause(seconds: float) -> None:
        # Nothing is in flight yet, so there is nothing to finish.
        if session.stop.wait(seconds):
            raise Interrupted("The run was stopped while it waited for the lock.")

    return store.lock(
        command=command,
        on_takeover=notice,
        wait_seconds=session.lock_wait,
        on_wait=lambda holder: session.notice(f"Waiting for the lock: {holder}"),
        on_lost=session.stop.set,
        pause=pause,
    )


def apply_checked_plan(
    session: Session, plan: Plan, *, command: str, check: bool = False
) -> ApplyResult:
    """Apply a plan that the guards passed, while holding the lock.

    `command` goes into the history. With `check`, a complete apply also runs the checks that refer
    to what it changed. Failures are outcomes of the result.
    """
    refuse_while_waiting(session.store)
    # Not earlier: a plan that is never applied must not leave a key of digests in the state.
    if any(ALL_KINDS[change.address.kind].takes_secrets for change in plan.pending):
        plan = digests_of(session, keep=True).plan(plan)
    started = time.monotonic()
    # Before the first write, so that no later run takes the objects for those of another server.
    record_origin(session)
    origin = current_origin()
    run_id = _begin_run(session, plan, command, origin)
    with session.progress.applying(plan), span("apply"):
        result = apply_plan(plan, _context(session, run_id))
    try:
        result = with_culprits(session, result)
        _record(session, result, run_id)
    except LeaseLostError:
        # The caller reports the results; leaving `locked` raises the error again.
        LOG.info("the lock was lost, so the end of run %d is not recorded", run_id)
    # A saved plan was made by another run, and waiting for approval does not count.
    planned = 0.0 if session.applies_saved_plan else plan.seconds
    seconds = planned + time.monotonic() - started
    run = RunReference(run_id, origin)
    result = replace(result, calls=session.client.calls, seconds=seconds, run=run)
    result = replace(result, policies=decided(session, result))
    if check and is_complete(result):
        # Importing the checks takes longer than a small apply.
        from reconciler.app.checks import checks_after

        result = replace(result, checks=checks_after(session, result))
    return result


def _begin_run(session: Session, plan: Plan, command: str, origin: RunOrigin) -> int:
    return session.store.runs.begin(
        command=command,
        user=origin.user,
        host=origin.host,
        pid=os.getpid(),
        plan_digest=plan_digest(plan),
        origin=origin,
    )


def _context(session: Session, run_id: int) -> ApplyContext:
    return ApplyContext(
        provider=session.provider,
        store=session.store,
        kinds=ALL_KINDS,
        ownership=session.ownership,
        run_id=run_id,
        outputs=session.configuration.stack.outputs,
        parallelism=session.parallelism,
        stop=session.stop,
        listener=session.progress,
        redact=session.redactor,
        consistency=session.consistency,
        age_seconds=lambda: session.client.reading_age(session.read_at),
    )


def _record(session: Session, result: ApplyResult, run_id: int) -> None:
    """Save the outputs, the refresh checkpoint, the caches and the end of the run."""
    store, succeeded = session.store, is_complete(result)
    # Once more: an answer may have named the organization since.
    record_origin(session)
    # An output that could not be resolved keeps its last value while it is still declared.
    declared = {} if result.plan.destroy else session.configuration.stack.outputs
    kept = {name: value for name, value in store.outputs().items() if name in declared}
    store.set_outputs({**kept, **result.outputs})
    session.planning.remember(result, store, run_id)
    keep_pages(store, session.provider.pages)
    parsed = session.manifests.parsed.to_keep()
    if parsed:  # a rollback reads no manifest, and must not empty the cache
        store.parse_cache.keep(parsed)
    if succeeded and result.plan.refresh.whole and not result.plan.unsearched:
        store.remarks.put(SEARCHED, "yes")
    counts = {status.value: len(result.of(status)) for status in OutcomeStatus}
    store.runs.end(run_id, status="done" if succeeded else "incomplete", counts=counts)
