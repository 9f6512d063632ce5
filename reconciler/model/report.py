"""Reports: the result of one run, whatever its outcome, as one value for all formats."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

if TYPE_CHECKING:
    from reconciler.model.change import ApplyResult, Plan
    from reconciler.model.checking import CheckReport
    from reconciler.model.diagnostic import Diagnostic, SourceLocation
    from reconciler.model.finding import Finding
    from reconciler.model.fleet import FleetReport


class PastRun(Struct, frozen=True):
    """A line of the history of the stack. `when` is an ISO time; `counts` maps outcomes to numbers."""

    number: int
    when: str
    who: str
    command: str
    status: str
    digest: str = ""
    url: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)


class ReportContext(Struct, frozen=True):
    """The facts about a run that renderers need besides its result."""

    command: str = ""
    """The words of the command without its options."""
    full: bool = False
    """Whether nothing may be cut, whatever the size."""
    whole: tuple[str, ...] = ()
    """The names of report files that hold everything, and the page of the CI job."""
    folder: str = ""
    """The current folder as seen from the root of the repository; empty at the root."""
    stack_file: str = "reconciler.yaml"
    """Stands for the location of findings without one, because hosts require a file."""
    history: tuple[PastRun, ...] = ()
    """The latest runs, newest first."""
    findings: tuple[Finding, ...] = ()
    """Results that are not part of a plan: policies, rehearsals, diagnoses."""

    def path_of(self, location: SourceLocation | None) -> str:
        """The path of a file as seen from the root of the repository, with forward slashes."""
        # Code hosts attach a finding to a file, so one without a place goes to the stack file.
        file = location.file if location else self.stack_file
        return posixpath.normpath(posixpath.join(self.folder, file.replace("\\", "/")))


NO_CONTEXT = ReportContext()
"""For renderers of a result alone."""


class Report(Struct, frozen=True):
    """The results of a run, and the error that ended it. `title` names the run, such as `drift`."""

    title: str
    plan: Plan | None = None
    result: ApplyResult | None = None
    checks: CheckReport | None = None
    outputs: Mapping[str, Any] | None = None
    diagnostics: tuple[Diagnostic, ...] = ()
    """Those of the plan, and those of a failure."""
    refusals: tuple[str, ...] = ()
    is_drift: bool = False
    unmanaged: bool = False
    """Whether unmanaged objects were asked for."""
    fleet: FleetReport | None = None
    failed: bool = False
    """Whether the run ended before its result."""

    @property
    def stack(self) -> str:
        """`acme/prod`, or an empty text before the stack is known."""
        source = self.checks if self.plan is None else self.plan
        if source is None:
            return ""
        return "/".join(part for part in (source.stack, source.environment) if part)
