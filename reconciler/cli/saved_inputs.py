"""Why a saved plan no longer fits its manifests: variables that are missing or different."""

from __future__ import annotations

from reconciler.errors import StalePlanError
from reconciler.manifests import GivenInputs
from reconciler.model.change import Plan


def changed_inputs(plan: Plan, given: GivenInputs) -> StalePlanError:
    """The error for a plan whose configuration has another digest now, with the cause as far as it is known."""
    variables = [name for name, value in plan.variables.items() if given.variables.get(name) != value]
    variables += [name for name in given.variables if name not in plan.variables]
    secret = _changed(plan, given, "var.")
    environment = _changed(plan, given, "env.")
    parts = []
    if variables:
        parts.append(f"other values of {_listed(variables)} (--var or --var-file)")
    if secret:
        parts.append(f"other values of {_listed(secret)}, which are not saved because they look like secrets")
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
    return StalePlanError(f"the plan was made with {'; '.join(parts)}", hint=f"{'. '.join(hints)}, or plan again.")


def _changed(plan: Plan, given: GivenInputs, prefix: str) -> list[str]:
    before, now = plan.input_digests, given.digests
    names = sorted({*before, *now})
    return [
        name.removeprefix(prefix) for name in names if name.startswith(prefix) and before.get(name) != now.get(name)
    ]


def _listed(names: list[str]) -> str:
    return ", ".join(sorted(names))
