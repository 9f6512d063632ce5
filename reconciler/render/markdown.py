"""Plans and results as a comment on a pull request.

Hosts limit the size of a comment, so it is built from sections that `sections` fits into the limit:
in full, by project with one line each, or only counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from reconciler.model.change import ApplyResult, Change, OutcomeStatus, Plan, Reason
from reconciler.model.checking import CheckReport
from reconciler.model.diagnostic import Diagnostic, Severity
from reconciler.model.fleet import FleetReport
from reconciler.model.plan_digest import plan_digest
from reconciler.model.report import NO_CONTEXT, ReportContext
from reconciler.render import phrases
from reconciler.render.escape import code_span, prose, web_link
from reconciler.render.findings import has_errors, refusal_findings
from reconciler.render.lines import shortened
from reconciler.render.markdown_parts import MOST_NAME, Parts, group_of, run_line, table
from reconciler.render.policies import policy_sections
from reconciler.render.sections import COMMENT_LIMIT, Frame, Section, SizeLimit, fitted
from reconciler.render.values import count, enclosed

_LEAST = 2_500
# A command can have hundreds of targets; its head must leave room for the problems.
_MOST_COMMAND = 60
_MOST_WHOLE = 300


class MarkdownRenderer:
    """GitHub-flavoured Markdown, which GitLab reads too; no longer than `budget` allows."""

    def __init__(
        self,
        limit: int = COMMENT_LIMIT,
        context: ReportContext = NO_CONTEXT,
        budget: SizeLimit | None = None,
    ) -> None:
        # Less would cut the note that says what is left out.
        if limit < _LEAST:
            raise ValueError(f"no room for a plan in {limit:,} characters: it needs {_LEAST:,}")
        self._budget = budget or SizeLimit.in_characters(limit)
        if context.full and budget is None:
            self._budget = SizeLimit.unlimited()
        self._context = context
        self._parts = Parts(full=context.full)

    def plan(self, plan: Plan) -> str:
        """Headline and table, then refusals, warnings, changes (destructive first), outputs."""
        head = f"### {_title('plan', plan)}: {_verdict(plan)}{phrases.headline_counts(plan)}\n\n"
        sections: list[Section] = []
        if plan.pending:
            pending = partial(table, plan.pending)
            sections.append(Section(pending, "summary table", is_critical=True))
        sections += [*self._refusals(plan.refusals, plan), *self._findings(), *self._warnings(plan)]
        sections += policy_sections(plan.policies, refusing=False)
        sections += self._changes(plan.pending)
        if plan.outputs:
            outputs = partial(self._parts.outputs, plan.outputs)
            sections.append(Section(outputs, "list of outputs"))
        sections += self._unmanaged(plan)
        foot = f"{phrases.plan_totals(plan)}\n{_digest(plan)}"
        return self._fitted(head, sections, foot, "reconciler plan --full")

    def drift(self, plan: Plan, *, unmanaged: bool) -> str:
        """Live changes, then unmanaged objects if `unmanaged`."""
        head = f"### {_title('drift', plan)}: {_drift_counts(plan)}\n\n"
        sections = [*self._findings(), *self._problems(plan.diagnostics)]
        sections += policy_sections(plan.policies, refusing=True)
        for drift in plan.drift:
            render = partial(self._parts.drift, drift)
            line = partial(self._parts.drift_line, drift)
            sections.append(Section(render, "object", line=line, group=group_of(drift)))
        if unmanaged:
            sections += self._unmanaged(plan)
        totals = phrases.drift_totals(plan, unmanaged=unmanaged)
        foot = f"{totals}\n\n{phrases.pending_changes(plan)}\n"
        return self._fitted(head, sections, foot, "reconciler drift --full")

    def result(self, result: ApplyResult) -> str:
        """The outcome of each change, failures first."""
        how = "incomplete"
        if phrases.is_complete(result):
            how = "complete"
        head = f"### {_title('apply', result.plan)}: {how}\n\n"
        failures: list[Section] = []
        applied: list[Section] = []
        for outcome in phrases.reported(result):
            is_applied = outcome.status is OutcomeStatus.APPLIED and not outcome.refused
            section = Section(
                partial(self._parts.outcome, outcome),
                "outcome",
                line=partial(self._parts.outcome_line, outcome),
                group=group_of(outcome.change),
                is_critical=not is_applied,
            )
            if is_applied:
                applied.append(section)
            else:
                failures.append(section)
        policies = policy_sections(result.policies, refusing=True)
        sections = [*self._findings(), *failures, *policies, *applied]
        digest = _digest(result.plan)
        foot = f"\n{phrases.result_totals(result)}\n{digest}{run_line(result.run)}"
        if result.checks:
            from reconciler.render.checks import markdown_view

            # Checks follow the outcomes, which need most of the comment.
            room = (self._budget.limit or COMMENT_LIMIT) // 8
            foot += f"\n{markdown_view(result.checks, limit=room)}"
        return self._fitted(head, sections, foot, "reconciler history")

    def checks(self, report: CheckReport) -> str:
        """A table of checks, failures first."""
        from reconciler.render.checks import markdown_view

        return markdown_view(report, limit=(self._budget.limit or COMMENT_LIMIT) // 4)

    def fleet(self, report: FleetReport) -> str:
        """Headline, then a section for each stack that is not in sync, worst first."""
        from reconciler.render.fleet import cost, headline, markdown_sections

        head = f"### reconciler fleet {report.command} · {prose(headline(report))}\n\n"
        sections = [*self._findings(), *markdown_sections(report, full=self._context.full)]
        foot = f"\n{prose(cost(report))}.\n"
        if report.digest:
            foot += f"\nFleet digest: {code_span(report.digest)}\n"
        return self._fitted(head, sections, foot, f"reconciler fleet {report.command} --full")

    def diagnostics(self, diagnostics: Sequence[Diagnostic]) -> str:
        """A list item per problem."""
        sections = [*self._findings(), *self._problems(diagnostics)]
        if not sections:
            return ""
        head = f"### reconciler · {phrases.diagnostic_totals(diagnostics)}\n\n"
        return self._fitted(head, sections, "", "reconciler validate --full")

    def failure(
        self, command: str, diagnostics: Sequence[Diagnostic], refusals: Sequence[str] = ()
    ) -> str:
        """A list item per problem, below the name of the failed command."""
        name = shortened(command, _MOST_COMMAND)
        head = f"### reconciler {prose(name)}: failed\n\n"
        refused = self._refusals(refusals, None)
        sections = [*refused, *self._findings(), *self._problems(diagnostics)]
        return self._fitted(head, sections, "", f"reconciler {name}")

    def outputs(self, outputs: Mapping[str, Any]) -> str:
        """A table of names and values."""
        head = "| Output | Value |\n| --- | --- |\n"
        rows = []
        for name, value in outputs.items():
            rows.append(Section(partial(self._parts.row, name, value), "output"))
        return self._fitted(head, rows, "", "reconciler output")

    def _fitted(self, head: str, sections: Sequence[Section], foot: str, command: str) -> str:
        frame = Frame(head, foot, code_span(command), tuple(map(_place, self._context.whole)))
        return fitted(frame, sections, self._budget)

    def _changes(self, changes: Sequence[Change]) -> Iterator[Section]:
        # Destructive changes first, otherwise in plan order.
        for change in sorted(changes, key=lambda change: not change.is_destructive):
            yield Section(
                partial(self._parts.change, change),
                "change",
                change.action,
                line=partial(self._parts.change_line, change),
                group=group_of(change),
                is_critical=change.is_destructive,
            )

    def _refusals(self, refusals: Sequence[str], plan: Plan | None) -> Iterator[Section]:
        for finding in refusal_findings(refusals, plan):
            yield Section(partial(self._parts.refusal, finding), "refusal", is_critical=True)

    def _findings(self) -> Iterator[Section]:
        for finding in self._context.findings:
            yield Section(partial(self._parts.finding, finding), "finding", is_critical=True)

    def _problems(self, diagnostics: Iterable[Diagnostic]) -> Iterator[Section]:
        for problem in diagnostics:
            is_error = problem.severity is Severity.ERROR
            noun = str(problem.severity)
            yield Section(partial(self._parts.problem, problem), noun, is_critical=is_error)

    def _warnings(self, plan: Plan) -> Iterator[Section]:
        yield from self._problems(plan.diagnostics)
        for change in plan.changes:
            for warning in change.warnings:
                yield Section(partial(self._parts.warning, change, warning), "warning")
            if note := phrases.job_note(change):
                yield Section(partial(self._parts.note, change, note), "note")
            # The section of a change has its keys.
            keys = () if change.is_change else change.keys
            for text in map(phrases.key_step, keys):
                yield Section(partial(self._parts.note, change, text), "note")
            if change.reason is Reason.WAITS:
                text = f"skipped: {change.blocked}"
                yield Section(partial(self._parts.note, change, text), "note")

    def _unmanaged(self, plan: Plan) -> list[Section]:
        if not plan.unmanaged:
            return []
        return [Section(partial(self._parts.unmanaged, plan), "list of unmanaged objects")]


def _title(command: str, plan: Plan) -> str:
    parts = filter(None, (plan.stack, plan.environment))
    names = "/".join(prose(shortened(part, MOST_NAME)) for part in parts)
    return f"reconciler {command}{enclosed(' · ', names)}"


def _verdict(plan: Plan) -> str:
    """`refused, ` or `failed, ` before the counts of a plan that cannot be applied as a whole."""
    if plan.refusals:
        return "refused, "
    if has_errors(plan.diagnostics):
        return "failed, "
    return ""


def _digest(plan: Plan) -> str:
    if not plan.pending:
        return ""
    return f"\nPlan digest: {code_span(plan_digest(plan))}\n"


def _place(name: str) -> str:
    """A file or an address as a link."""
    if name.startswith(("https://", "http://")):
        return web_link(name)
    return code_span(shortened(name, _MOST_WHOLE))


def _drift_counts(plan: Plan) -> str:
    if not plan.drift:
        return "none"
    changed, overdue = phrases.drift_numbers(plan)
    parts = []
    if changed:
        parts.append(f"{count(changed, 'object')} changed outside reconciler")
    if overdue:
        parts.append(f"{count(overdue, 'key')} overdue")
    return ", ".join(parts)
