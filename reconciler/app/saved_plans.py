"""Checks that a saved plan still fits the stack, the manifests, the state and the API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from reconciler.api.keys import Key
from reconciler.app.session import Session
from reconciler.errors import ApiError, CredentialError, StalePlanError
from reconciler.kinds import ALL_KINDS
from reconciler.manifests import GivenInputs
from reconciler.model.change import Action, Plan
from reconciler.model.comparing import differing


def check_still_valid(session: Session, plan: Plan) -> None:
    """Raise StalePlanError unless the plan was made from these manifests and this state."""
    stack = session.configuration.stack
    if (plan.stack, plan.environment) != (stack.name, stack.environment):
        raise StalePlanError(
            f"the plan is of {plan.stack}/{plan.environment}, and this is {stack.name}/{stack.environment}",
            hint="Choose the environment with -e, or make a new plan.",
        )
    if plan.base_url != session.base_url:
        raise StalePlanError(
            f"the plan was made against {plan.base_url}, and this is {session.base_url}",
            hint="Set OPENAI_BASE_URL or --base-url to that address, or make a new plan.",
        )
    if plan.config_digest != session.configuration.digest:
        raise changed_inputs(plan, session.configuration.given)
    lineage = session.store.identity.lineage
    if plan.state_lineage not in ("", lineage):
        raise StalePlanError(
            f"the plan was made from another state of {plan.stack}/{plan.environment} (lineage "
            f"{plan.state_lineage}, here {lineage})",
            hint="The state was lost or replaced since. Plan again.",
        )
    serial = session.store.serial
    if plan.state_serial != serial:
        raise StalePlanError(
            f"the state has moved on since the plan was made (serial {plan.state_serial}, now {serial})",
            hint="Another apply has run. Plan again.",
        )


def bind_projects_of(session: Session, plan: Plan) -> None:
    """Give the provider the project ids of a saved plan."""
    for change in plan.changes:
        if change.address.project and change.project_id:
            session.provider.bind_project(change.address.project, change.project_id)
        defines_project = ALL_KINDS[change.address.kind].defines_project
        if defines_project and change.id and change.action is not Action.CREATE:
            session.provider.bind_project(change.address.name, change.id)


def prove_organization(session: Session, plan: Plan) -> None:
    """Make a read with each key that a saved plan writes with, unless an answer came already.

    A saved plan can begin with a create, whose answer would reveal keys of another organization
    too late.
    """
    if not session.store.identity.organization or session.client.organization.seen:
        return
    # Each key: with several, only one may be of another organization.
    for key in set(_keys_of(session, plan)):
        path, query = "/models", {}
        if key.is_admin:
            path, query = "/organization/projects", {"limit": 1}
        # The call that needs the key reports every other problem.
        with suppress(ApiError):
            session.client.request("GET", path, key=key, query=query)


def _keys_of(session: Session, plan: Plan) -> Iterator[Key]:
    for change in plan.pending:
        if not change.action.writes:
            continue
        scope, project = ALL_KINDS[change.address.kind].scope, change.address.project
        with suppress(CredentialError):
            if scope.needs_admin_key:
                yield session.keys.admin()
            elif session.keys.has_project(project):
                yield session.keys.for_project(project)


def changed_inputs(plan: Plan, given: GivenInputs) -> StalePlanError:
    """The error for a plan whose configuration changed since, with the cause where it is known."""
    variables = differing(plan.variables, given.variables)
    secret = _changed(plan, given, "var.")
    environment = _changed(plan, given, "env.")
    parts = []
    if variables:
        parts.append(f"other values of {_listed(variables)} (--var or --var-file)")
    if secret:
        parts.append(
            f"other values of {_listed(secret)}, which are not saved because they look like secrets"
        )
    if environment:
        parts.append(f"other values of the environment variables {_listed(environment)}")
    if not parts:
        return StalePlanError("the manifests changed since the plan was made", hint="Plan again.")
    hints = []
    if variables:
        hints.append("Leave --var and --var-file out, since the plan has its variables in it")
    if secret:
        hints.append(f"Give --var {secret[0]}=VALUE as it was given to `plan`")
    if environment:
        hints.append(f"Set {environment[0]} to what it was when the plan was made")
    return StalePlanError(
        f"the plan was made with {'; '.join(parts)}",
        hint=f"{'. '.join(hints)}, or plan again.",
    )


def _changed(plan: Plan, given: GivenInputs, prefix: str) -> list[str]:
    changed = differing(plan.input_digests, given.digests)
    return sorted(name.removeprefix(prefix) for name in changed if name.startswith(prefix))


def _listed(names: list[str]) -> str:
    return ", ".join(sorted(names))
