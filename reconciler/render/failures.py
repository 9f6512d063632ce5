"""Failed and refused runs, in every report format."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.change import Plan
from reconciler.model.diagnostic import Diagnostic
from reconciler.model.report import Report
from reconciler.render import Renderer, get
from reconciler.render.report_renderer import ReportRenderer


class RunFailure(Struct, frozen=True):
    """Why a run ended. `plan` is set if planning had finished; `refusals` come from guards."""

    command: str
    diagnostics: tuple[Diagnostic, ...]
    refusals: tuple[str, ...] = ()
    plan: Plan | None = None


def failure_report(failure: RunFailure, renderer: Renderer) -> str:
    """The failure in the format of a renderer."""
    if isinstance(renderer, ReportRenderer):
        return renderer.report(_as_report(failure))
    if failure.plan is None:
        return renderer.failure(failure.command, failure.diagnostics, failure.refusals)
    # Errors come before anything that the plan itself has to say.
    diagnostics = (*failure.diagnostics, *failure.plan.diagnostics)
    refusals = failure.refusals or failure.plan.refusals
    return renderer.plan(replace(failure.plan, diagnostics=diagnostics, refusals=refusals))


def plain_failure(failure: RunFailure, name: str) -> str:
    """The failure in a format that only some commands have."""
    if name == "csv":
        return _csv(failure)
    text = failure_report(failure, get("text"))
    if name == "env":
        return "".join(f"# {line}\n" for line in text.splitlines())
    return text


def _as_report(failure: RunFailure) -> Report:
    diagnostics, refusals = failure.diagnostics, failure.refusals
    if failure.plan is not None:
        diagnostics += failure.plan.diagnostics
        refusals = refusals or failure.plan.refusals
    return Report(
        failure.command,
        plan=failure.plan,
        diagnostics=diagnostics,
        refusals=refusals,
        failed=True,
    )


def _csv(failure: RunFailure) -> str:
    import csv
    import io

    from reconciler.render.escape import terminal

    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["error"])
    for text in (*map(str, failure.diagnostics), *failure.refusals):
        rows.writerow([terminal(text)])
    return table.getvalue()
