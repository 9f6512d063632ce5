"""Failed and refused runs, in every report format."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.change import Plan
from reconciler.model.diagnostic import Diagnostic
from reconciler.render import get


class Failure(Struct, frozen=True):
    """Why a run ended. `plan` is set if planning had finished; `refusals` come from guards."""

    command: str
    diagnostics: tuple[Diagnostic, ...]
    refusals: tuple[str, ...] = ()
    plan: Plan | None = None


def render_failure(failure: Failure, name: str) -> str:
    """The failure in the report format `name`; unknown formats get text."""
    match name:
        case "json" | "markdown":
            return _rendered(failure, name)
        case "junit":
            return _junit(failure)
        case "csv":
            return _csv(failure)
        case "html":
            from reconciler.render.escape import markup

            lines = _rendered(failure, "text").splitlines()
            return f"<!doctype html>\n<pre>{'<br>'.join(map(markup, lines))}</pre>\n"
        case "env":
            return "".join(f"# {line}\n" for line in _rendered(failure, "text").splitlines())
    return _rendered(failure, "text")


def _rendered(failure: Failure, name: str) -> str:
    renderer = get(name)
    if failure.plan is None:
        refused = (Diagnostic("Refused", detail=sentence) for sentence in failure.refusals)
        return renderer.failure(failure.command, (*failure.diagnostics, *refused))
    # Errors come before anything that the plan itself has to say.
    diagnostics = (*failure.diagnostics, *failure.plan.diagnostics)
    refusals = failure.refusals or failure.plan.refusals
    return renderer.plan(replace(failure.plan, diagnostics=diagnostics, refusals=refusals))


def _junit(failure: Failure) -> str:
    from reconciler.render.checks import junit_error

    return junit_error(failure.command, [*map(str, failure.diagnostics), *failure.refusals])


def _csv(failure: Failure) -> str:
    import csv
    import io

    from reconciler.render.escape import terminal

    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["error"])
    rows.writerows([terminal(text)] for text in [*map(str, failure.diagnostics), *failure.refusals])
    return table.getvalue()
