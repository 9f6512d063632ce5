"""What `apply`, `destroy` and their saved plans share: show, guard, ask, carry out, report."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from msgspec.structs import replace

from reconciler.cli.origin import record_origin
from reconciler.cli.page_hints import keep_pages
from reconciler.cli.reporting import publish, talk
from reconciler.cli.session import SEARCHED, Session, whoami
from reconciler.engine.apply.scheduler import ApplyContext, apply_plan
from reconciler.errors import UsageError
from reconciler.kinds import ALL_KINDS
from reconciler.model.change import ApplyResult, OutcomeStatus, Plan
from reconciler.render.planfile import plan_digest
from reconciler.state import Holder


def ask_or_refuse(*, yes: bool, what: str) -> None:
    """Ask for approval on a terminal; raises Abort on anything but yes, UsageError where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"nobody is here to approve the {what}", hint="Pass --yes, as CI does, to go ahead unasked.")
    talk(f"\nDo you want to carry out this {what}? Only yes is accepted.")
    click.echo("  Enter a value: ", err=True, nl=False)
    if sys.stdin.readline().strip() != "yes":
        talk(f"The {what} was cancelled. Nothing has been changed.")
        raise click.exceptions.Exit(1)


def carry_out(session: Session, plan: Plan, *, command: str, check: bool = False) -> int:
    """Apply a plan that has been shown and approved, and run the checks of what changed if asked; the exit code."""
    if any(ALL_KINDS[change.address.kind].takes_secrets for change in plan.pending):
        plan = session.seal(keep=True).plan(plan)
    # An interrupt from here on waits for its turn, so that whatever was done is recorded and listed.
    with session.interrupts.finishing_first():
        started = time.monotonic()
        record_origin(session)
        run_id = _begin_run(session, plan, command)
        with session.progress.applying(plan):
            result = apply_plan(plan, _run(session, run_id))
        result = session.with_culprits(result)
        code = exit_code_of(result)
        _record(session, result, run_id, succeeded=code == 0)
        # The whole run: planning, carrying out, and what the audit log was asked afterwards. A saved plan was made by
        # another run, and waiting for approval takes no time of ours.
        planned = plan.seconds if session.plan_file_digest is None else 0.0
        result = replace(result, calls=session.client.calls, seconds=planned + time.monotonic() - started)
        if check and code == 0:
            result, code = _checked(session, result)
        if plan.pending or plan.blocked:
            publish(session.options, lambda to: to.result(result))
        return code


def _checked(session: Session, result: ApplyResult) -> tuple[ApplyResult, int]:
    """The result with that of the checks that what changed has a bearing on, and the exit code of both."""
    from reconciler.cli.checking import checks_after

    report = checks_after(session, result)
    if report.interrupted:
        return replace(result, checks=report), 130
    return replace(result, checks=report), 0 if report.passed else 1


def _begin_run(session: Session, plan: Plan, command: str) -> int:
    user, host, pid = whoami()
    digest = session.plan_file_digest or plan_digest(plan)
    return session.store.begin_run(command=command, user=user, host=host, pid=pid, plan_digest=digest)


def _run(session: Session, run_id: int) -> ApplyContext:
    return ApplyContext(
        provider=session.provider,
        store=session.store,
        kinds=ALL_KINDS,
        ownership=session.ownership,
        run_id=run_id,
        outputs=session.configuration.stack.outputs,
        parallelism=session.options.parallelism,
        stop=session.interrupts.stop,
        listener=session.progress,
        redact=_redactor(),
        consistency=session.consistency,
        age_seconds=session.plan_age_seconds,
    )


def _record(session: Session, result: ApplyResult, run_id: int, *, succeeded: bool) -> None:
    """Write down outputs and the end of the run."""
    store = session.store
    record_origin(session)
    # What could not be resolved this time keeps the value of the last time, as long as it is still declared.
    declared = session.configuration.stack.outputs if not result.plan.destroy else {}
    kept = {name: value for name, value in store.outputs().items() if name in declared}
    store.set_outputs({**kept, **result.outputs})
    session.planning.remember(result, store, run_id)
    keep_pages(store, session.provider.pages)
    if manifests := session.parsed.to_keep():  # a rollback reads none
        store.keep_parsed(manifests)
    if succeeded and result.plan.refresh.whole and not result.plan.unsearched:
        store.set_meta(SEARCHED, "yes")
    counts = {status.value: len(result.of(status)) for status in OutcomeStatus}
    store.end_run(run_id, status="done" if succeeded else "incomplete", counts=counts)


def exit_code_of(result: ApplyResult) -> int:
    """0 all applied; 130 interrupted; 10 something had moved; 13 applied in part; 1 nothing applied."""
    if result.interrupted:
        return 130
    if result.of(OutcomeStatus.STALE):
        return 10
    if any(outcome.refused for outcome in result.outcomes):
        return 13
    if result.of(OutcomeStatus.FAILED) or result.of(OutcomeStatus.SKIPPED):
        was_partly_done = result.of(OutcomeStatus.APPLIED) or any(outcome.was_started for outcome in result.outcomes)
        return 13 if was_partly_done else 1
    return 0


def show(session: Session, plan: Plan) -> None:
    """Print the plan before it is carried out: on standard output for people, as talk where programs read."""
    if session.options.format in (None, "text"):
        from reconciler.cli.reporting import as_printed, renderer

        printed = as_printed(session.options, plan)
        click.echo(_redactor()(renderer(session.options).plan(printed)))


@contextmanager
def locked(session: Session, command: str) -> Iterator[None]:
    """Hold the lock of the state; a dead holder's is taken over with a notice."""

    def notice(holder: Holder) -> None:
        talk(f"The lock of {holder} was left by a run that is gone; it is taken over.")

    with session.writable().lock(command=command, on_takeover=notice):
        yield


def _redactor() -> Any:
    from reconciler.cli.failures import redactor

    return redactor
