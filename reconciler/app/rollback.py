"""Plans that undo one run, from the state alone, so that a rollback works with broken manifests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from reconciler.api.objects.uploads import Uploader
from reconciler.app.addresses import select_addresses
from reconciler.app.plans import PlanRequest, unchecked_plan
from reconciler.app.session import Session
from reconciler.engine.plan.rollback import (
    RollbackTarget,
    RunHistory,
    as_rollback,
    impossible,
    rollback_target,
    uploads_of,
)
from reconciler.errors import ConfigurationError, StalePlanError, UsageError
from reconciler.kinds import KINDS
from reconciler.manifests import Configuration, Stack, check_credentials
from reconciler.model.address import Address
from reconciler.model.change import Action, Plan
from reconciler.model.diagnostic import Diagnostic, Severity, nearest
from reconciler.model.resource import Resource
from reconciler.model.values import references_in
from reconciler.state import StateStore
from reconciler.state.runs import RUNS_WITH_PRE_IMAGES, RunRecord

_LETS_GO = (Action.DELETE, Action.FORGET)


def find_run(store: StateStore, number: int) -> RunRecord:
    """A run by its number; raises UsageError."""
    runs = {run.id: run for run in store.runs.all()}
    if number not in runs:
        known = f"{min(runs)} to {max(runs)}" if runs else "none yet"
        raise UsageError(
            f"there is no run {number}: this state has {known}",
            hint="See `reconciler history`.",
        )
    return runs[number]


def rollback_plan(session: Session, run: int, request: PlanRequest) -> Plan:
    """The plan that undoes a run; raises ConfigurationError with every reason that prevents it."""
    records = session.store.records()
    history = _history(session.store, run)
    before = rollback_target(history, records, KINDS, begun=session.ownership.unfinished)
    targets = _targets(
        before, run, select_addresses(request.target, "--target", before.changed_by_run)
    )
    stack = session.stack
    use_recorded_resources(session, before, digest=f"rollback of run {run}")
    planned = _planned(session, before, targets, request)
    plan = as_rollback(planned, before, records, KINDS)
    obstacles: Sequence[Diagnostic] = before.obstacles
    if targets:
        obstacles = [obstacle for obstacle in obstacles if obstacle.address in targets]
    problems = [
        *plan.diagnostics,
        *obstacles,
        *impossible(plan, before, stack.projects),
        *_changed_files(plan, stack),
    ]
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if errors:
        raise ConfigurationError(errors)
    return plan


def use_recorded_resources(
    session: Session, before: RollbackTarget | None = None, *, digest: str
) -> None:
    """Use the resources as they were before the run, in place of the manifests."""
    stack = session.stack
    resources: tuple[Resource, ...] = ()
    changed: tuple[Resource, ...] = ()
    if before is not None:
        resources = tuple(before.resources)
        changed = tuple(each for each in resources if each.address in before.changed_by_run)
    # The keys of the other resources are not needed: the plan leaves them alone.
    missing = check_credentials(Configuration(stack, changed, digest))
    if missing:
        raise ConfigurationError(missing)
    session.use_configuration(Configuration(stack, resources, digest))


def drop_lost_outputs(session: Session, plan: Plan) -> None:
    """Remove the outputs that refer to a resource which the plan deletes or forgets."""
    gone = {change.address for change in plan.changes if change.action in _LETS_GO}
    configuration = session.configuration
    stack = configuration.stack

    def is_left(value: Any) -> bool:
        return not any(reference.address in gone for reference in references_in(value))

    left = {name: value for name, value in stack.outputs.items() if is_left(value)}
    session.use_configuration(replace(configuration, stack=replace(stack, outputs=left)))


def _planned(
    session: Session,
    before: RollbackTarget,
    targets: tuple[Address, ...],
    request: PlanRequest,
) -> Plan:
    known = {*session.store.records(), *(resource.address for resource in before.resources)}
    meant = before.changed_by_run & known & set(targets or before.changed_by_run)
    if meant:
        target = tuple(map(str, sorted(meant)))
        return unchecked_plan(session, replace(request, target=target))
    stack = session.stack
    return Plan(
        stack.name,
        stack.environment,
        (),
        state_serial=session.store.serial,
        state_lineage=session.store.identity.lineage,
    )


def _history(store: StateStore, number: int) -> RunHistory:
    run = find_run(store, number)
    images = store.runs.pre_images(number)
    later = {}
    for other in store.runs.all():
        kept = store.runs.pre_images(other.id) if other.id > number else ()
        if kept:
            later[other.id] = kept
    # Without images, a run either changed nothing or lost them to later runs.
    changed = run.counts.get("applied", 0) or len(later) >= RUNS_WITH_PRE_IMAGES
    if not images and changed:
        raise UsageError(
            f"run {number} is too long ago: what it changed is kept for the last {RUNS_WITH_PRE_IMAGES} runs only",
            hint="Revert the manifests in git, and apply.",
        )
    return RunHistory(number, images, later)


def _targets(before: RollbackTarget, run: int, targets: tuple[Address, ...]) -> tuple[Address, ...]:
    for address in targets:
        if address not in before.changed_by_run:
            hint = nearest(str(address), map(str, before.changed_by_run))
            raise UsageError(f'--target: run {run} did not touch "{address}".{hint}')
    return targets


def _changed_files(plan: Plan, stack: Stack) -> Iterator[Diagnostic]:
    """A problem for each file that the rollback would upload and whose content has changed."""
    uploader = Uploader(stack.root)
    for change in plan.pending:
        for local in uploads_of(change, KINDS[change.address.kind]):
            try:
                uploader.check(local)
            except StalePlanError:
                yield Diagnostic(
                    "File changed since the run",
                    f'"{local.path}" had the SHA-256 {local.sha256} before the run and has another '
                    "one now. The state keeps only the digest: restore the file, or exclude this "
                    "address by naming the others with --target.",
                    address=change.address,
                )
