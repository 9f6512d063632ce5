"""`reconciler rollback`: undo what one run changed, as an ordinary plan under the ordinary guards.

The plan is made from the state alone: manifests are not read, so that a rollback works while they are broken.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.options import GlobalOptions, PlanningOptions, global_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.cli.session import Session
    from reconciler.engine.plan.rollback import RollbackTarget, RunHistory
    from reconciler.manifests import Stack
    from reconciler.model.address import Address
    from reconciler.model.change import Plan
    from reconciler.model.diagnostic import Diagnostic


@click.command("rollback")
@click.argument("run", type=int)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Save the plan instead, for `apply FILE`.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask. For CI.")
@click.option(
    "--target", multiple=True, metavar="ADDRESS", help="Roll back this and what it needs, nothing else; repeatable."
)
@click.option(
    "--allow-delete", multiple=True, metavar="ADDRESS", help="Let the guards pass the deletion of this; repeatable."
)
@global_options
def command(
    options: GlobalOptions,
    run: int,
    out: Path | None,
    yes: bool,
    target: tuple[str, ...],
    allow_delete: tuple[str, ...],
) -> int:
    """Take what RUN changed back to what it was before.

    RUN is a number that `history` shows. Addresses that it did not touch are left alone.
    """
    from reconciler.cli.reporting import writable
    from reconciler.cli.session import Session

    planning = PlanningOptions(target=target, allow_delete=allow_delete)
    session = Session(options)
    if out is not None:
        writable(out, "--out")
    try:
        if out is not None:
            return _save(session, run, planning, out)
        return _carry_out(session, run, planning, yes=yes)
    finally:
        session.close()


def apply_saved(session: Session, plan: Plan, planning: PlanningOptions) -> int:
    """Carry out a saved rollback. It is checked against the state that it was made from, and against no manifest."""
    from reconciler.cli.applying import locked, show
    from reconciler.cli.origin import prove_organization

    _stand_on(session, session.stack, digest=plan.config_digest)
    with locked(session, f"rollback {plan.rollback_of}"):
        session.check_still_valid(plan)
        if plan.is_empty:
            return _settle(session, plan)
        session.bind_projects_of(plan)
        show(session, plan)
        session.check_guards(plan, planning)
        prove_organization(session, plan)
        return _undo(session, plan)


def _save(session: Session, run: int, planning: PlanningOptions, out: Path) -> int:
    from reconciler.cli.reporting import publish_plan, write_private
    from reconciler.errors import GuardError
    from reconciler.render.planfile import dump_plan

    plan = _plan(session, run, planning)
    plan = session.with_refusals(plan, planning)
    publish_plan(session.options, plan)
    if plan.refusals:
        raise GuardError(plan.refusals)
    write_private(out, dump_plan(plan))
    return 0


def _carry_out(session: Session, run: int, planning: PlanningOptions, *, yes: bool) -> int:
    from reconciler.cli.applying import ask_or_refuse, locked, show
    from reconciler.cli.history import find_run

    find_run(session.store, run)  # before the lock, which would make a state where there is none
    with locked(session, f"rollback {run}"):
        plan = _plan(session, run, planning)
        if plan.is_empty:
            return _settle(session, plan)
        show(session, plan)
        session.check_guards(plan, planning)
        ask_or_refuse(yes=yes, what="rollback")
        return _undo(session, plan)


def _plan(session: Session, run: int, planning: PlanningOptions) -> Plan:
    """The rollback as a plan; raises ConfigurationError with everything that stands in its way."""
    from reconciler.cli.session import parse_addresses
    from reconciler.engine.plan.rollback import as_rollback, impossible, rollback_target
    from reconciler.errors import ConfigurationError
    from reconciler.kinds import KINDS
    from reconciler.model.diagnostic import Severity

    records = session.store.records()
    before = rollback_target(_history(session, run), records, KINDS, begun=session.ownership.unfinished)
    targets = _targets(before, run, parse_addresses(planning.target, "--target"))
    stack = session.stack
    _stand_on(session, stack, before, digest=f"rollback of run {run}")
    plan = as_rollback(_planned(session, before, targets, planning), before, records, KINDS)
    obstacles = [item for item in before.obstacles if not targets or item.address in targets]
    problems = [*plan.diagnostics, *obstacles, *impossible(plan, before, stack.projects), *_changed_files(plan, stack)]
    errors = [item for item in problems if item.severity is Severity.ERROR]
    if errors:
        raise ConfigurationError(errors)
    return plan


def _planned(session: Session, before: RollbackTarget, targets: tuple[Address, ...], planning: PlanningOptions) -> Plan:
    from dataclasses import replace

    from reconciler.model.change import Plan

    known = {*session.store.records(), *(item.address for item in before.resources)}
    meant = before.changed_by_run & known & set(targets or before.changed_by_run)
    if meant:
        return session.unchecked_plan(replace(planning, target=tuple(map(str, sorted(meant)))))
    stack = session.stack
    return Plan(
        stack.name,
        stack.environment,
        (),
        state_serial=session.store.serial,
        state_lineage=session.store.identity.lineage,
    )


def _settle(session: Session, plan: Plan) -> int:
    """Take back what the run only recorded. Nothing is called for that."""
    from reconciler.cli.applying import carry_out
    from reconciler.cli.reporting import publish_plan

    code = carry_out(session, plan, command=f"rollback {plan.rollback_of}") if plan.changes else 0
    publish_plan(session.options, plan)
    return code


def _undo(session: Session, plan: Plan) -> int:
    from msgspec.structs import replace

    from reconciler.cli.applying import carry_out
    from reconciler.cli.reporting import talk

    stack = session.configuration.stack
    session.configuration = replace(
        session.configuration, stack=replace(stack, outputs=dict(_outputs_left(plan, stack)))
    )
    code = carry_out(session, plan, command=f"rollback {plan.rollback_of}")
    if code in (0, 13):
        talk(f"Revert the manifests too, or the next apply brings back what run {plan.rollback_of} did.")
    return code


def _stand_on(session: Session, stack: Stack, before: RollbackTarget | None = None, *, digest: str) -> None:
    """Put what was before the run in the place of the manifests."""
    from reconciler.errors import ConfigurationError
    from reconciler.manifests import Configuration, check_credentials

    resources = before.resources if before else ()
    touched = tuple(item for item in resources if before and item.address in before.changed_by_run)
    missing = check_credentials(Configuration(stack, touched, digest))
    if missing:
        raise ConfigurationError(missing)
    session.configuration = Configuration(stack, tuple(resources), digest)


def _history(session: Session, run: int) -> RunHistory:
    from reconciler.cli.history import find_run
    from reconciler.engine.plan.rollback import RunHistory
    from reconciler.errors import UsageError
    from reconciler.state.runs import RUNS_WITH_PRE_IMAGES

    store = session.store
    found, images = find_run(store, run), store.pre_images(run)
    later = {item.id: store.pre_images(item.id) for item in store.runs() if item.id > run}
    later = {number: kept for number, kept in later.items() if kept}
    changed = found.counts.get("applied", 0) or len(later) >= RUNS_WITH_PRE_IMAGES
    if not images and changed:
        raise UsageError(
            f"run {run} is too long ago: what it changed is kept for the last {RUNS_WITH_PRE_IMAGES} runs only",
            hint="Revert the manifests in git, and apply.",
        )
    return RunHistory(run, images, later)


def _targets(before: RollbackTarget, run: int, targets: tuple[Address, ...]) -> tuple[Address, ...]:
    from reconciler.errors import UsageError
    from reconciler.model.diagnostic import nearest

    for address in targets:
        if address not in before.changed_by_run:
            hint = nearest(str(address), map(str, before.changed_by_run))
            raise UsageError(f'--target: run {run} did not touch "{address}".{hint}')
    return targets


def _outputs_left(plan: Plan, stack: Stack) -> Iterator[tuple[str, object]]:
    """The outputs of the stack but for those of what the rollback deletes or lets go."""
    from reconciler.model.change import Action
    from reconciler.model.values import references_in

    gone = {change.address for change in plan.changes if change.action in (Action.DELETE, Action.FORGET)}
    for name, value in stack.outputs.items():
        if not any(reference.address in gone for reference in references_in(value)):
            yield name, value


def _changed_files(plan: Plan, stack: Stack) -> Iterator[Diagnostic]:
    """One problem for each file that would have to be uploaded and has other content now."""
    from reconciler.api.objects.uploads import Uploader
    from reconciler.engine.plan.rollback import uploads_of
    from reconciler.errors import StalePlanError
    from reconciler.kinds import KINDS
    from reconciler.model.diagnostic import Diagnostic

    uploader = Uploader(stack.root)
    for change in plan.pending:
        for local in uploads_of(change, KINDS[change.address.kind]):
            try:
                uploader.check(local)
            except StalePlanError:
                yield Diagnostic(
                    "A file is not what it was",
                    f'"{local.path}" had the SHA-256 {local.sha256} before the run, and does not have it now. Only its '
                    "digest is kept: put the file back as it was, or leave this address out by naming others with "
                    "--target.",
                    address=change.address,
                )
