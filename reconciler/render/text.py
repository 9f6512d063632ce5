"""Plans and results for a person at a terminal.

Builds lines of styled spans from the sentences in `phrases` and the rows in `field_rows`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from reconciler.model.change import (
    Action,
    ApplyResult,
    Change,
    Drift,
    Outcome,
    OutcomeStatus,
    Plan,
    Reason,
)
from reconciler.model.diagnostic import Diagnostic, Severity
from reconciler.model.keys import KeyAction
from reconciler.model.report import NO_CONTEXT, ReportContext
from reconciler.render import phrases
from reconciler.render.lines import (
    Line,
    StyledText,
    cells,
    column_width,
    line,
    padded,
    painted,
    wrapped,
)
from reconciler.render.values import block, brief, count, enclosed, filled_lines, more

if TYPE_CHECKING:
    from reconciler.model.checking import CheckReport
    from reconciler.model.finding import Finding
    from reconciler.model.fleet import FleetReport
    from reconciler.model.policy import PolicyReport
    from reconciler.render.differences import DiffLine
    from reconciler.render.field_rows import FieldRow, RowLayout

ACTION_STYLES = {
    Action.NO_OP: "",
    Action.CREATE: "green",
    Action.UPDATE: "yellow",
    Action.REPLACE: "magenta",
    Action.DELETE: "red",
    Action.ADOPT: "cyan",
    Action.FORGET: "cyan",
}
MARKS = {
    OutcomeStatus.APPLIED: ("✓", "green"),
    OutcomeStatus.FAILED: ("✗", "red"),
    OutcomeStatus.SKIPPED: ("↷", "yellow"),
    OutcomeStatus.STALE: ("≠", "red"),
}
_VERDICT_MARKS = {
    "passed": ("✓", "green"),
    "failed": ("✗", "red"),
    "error": ("✗", "red"),
    "skipped": ("↷", "yellow"),
}
_KEY_STYLES = {KeyAction.ROTATE: "yellow", KeyAction.REVOKE: "red", KeyAction.KEEP: "dim"}
_SIGN_STYLES = {"+": "green", "-": "red", "~": "yellow", "=": "dim", "…": "dim"}
_SEVERITY_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow"}
_BLANK: Line = ()
_MOST_NAME = 32
_FIELD_INDENT = "      "
_MOST_DRIFTED_NAMES = 3


class TextRenderer:
    """Text in aligned columns of about `width` characters; values are never cut to fit.

    With `wraps`, long sentences go on below their first word instead of at the edge of a terminal.
    """

    def __init__(
        self,
        color: bool = False,
        width: int = 100,
        context: ReportContext = NO_CONTEXT,
        *,
        wraps: bool = False,
    ) -> None:
        self._color = color
        self._wraps = wraps
        self._context = context
        self._width = max(60, width)

    @cached_property
    def _layout(self) -> RowLayout:
        # The module for rows of fields is imported by the methods that need it: most plans have no
        # change.
        from reconciler.render.field_rows import RowLayout

        return RowLayout(self._width - 30, self._context.full)

    def plan(self, plan: Plan) -> str:
        """Problems, changes by scope, changed outputs, totals, refusals."""
        lines = [
            *self._diagnostics(plan.diagnostics),
            *_finding_lines(self._context.findings),
            *_blocked_lines(plan),
            *_quiet_notes(plan),
        ]
        for heading, changes in phrases.by_importance(plan.pending):
            style = "bold red" if heading == phrases.DESTRUCTIVE else "bold"
            lines.append(line(StyledText(heading, style)))
            lines += self._changes(changes)
        if plan.outputs:
            from reconciler.render.field_rows import output_entries

            entries = output_entries(plan.outputs, self._layout)
            lines += [line(StyledText("Outputs", "bold")), *self._entries(entries), _BLANK]
        lines += _unmanaged_section(plan)
        lines += _drift_hint(plan)
        lines += _policy_lines(plan.policies, refusing=False)
        lines += [_emphasized(phrases.plan_totals(plan)), *_digest(plan)]
        return self._painted([*lines, *_refusals(plan.refusals)])

    def drift(self, plan: Plan, *, unmanaged: bool) -> str:
        """Live changes since the last apply, and the number of pending configuration changes."""
        lines: list[Line] = list(self._diagnostics(plan.diagnostics))
        lines += _finding_lines(self._context.findings)
        width = _address_width(plan.drift)
        for heading, drifts in phrases.drift_by_scope(plan.drift):
            lines.append(line(StyledText(heading, "bold")))
            for drift in drifts:
                lines += [*self._drifted(drift, width), _BLANK]
        if unmanaged:
            lines += _unmanaged_section(plan)
        lines += _policy_lines(plan.policies, refusing=True)
        lines.append(_emphasized(phrases.drift_totals(plan, unmanaged=unmanaged)))
        return self._painted([*lines, line(phrases.pending_changes(plan))])

    def result(self, result: ApplyResult) -> str:
        """The outcome of each change, the outputs, totals, and checks if any were run."""
        outcomes = phrases.reported(result)
        width = column_width(str(outcome.change.address) for outcome in outcomes)
        lines: list[Line] = []
        for outcome in outcomes:
            lines += self._outcome(outcome, width)
        if lines:
            lines.append(_BLANK)
        if result.outputs:
            lines += [
                line(StyledText("Outputs", "bold")),
                *_output_lines(result.outputs, "  "),
                _BLANK,
            ]
        lines += _policy_lines(result.policies, refusing=True)
        lines += [_emphasized(phrases.result_totals(result)), *_digest(result.plan)]
        if result.checks:
            from reconciler.render.checks import check_lines

            lines += [_BLANK, line(StyledText("Checks", "bold")), *check_lines(result.checks)]
        return self._painted(lines)

    def checks(self, report: CheckReport) -> str:
        """A line for each check with its findings, and totals."""
        from reconciler.render.checks import check_lines

        return self._painted(check_lines(report))

    def fleet(self, report: FleetReport) -> str:
        """Stacks by status, worst first, and totals."""
        from reconciler.render.fleet import text_lines

        return self._painted(text_lines(report, full=self._context.full))

    def diagnostics(self, diagnostics: Sequence[Diagnostic]) -> str:
        """Each problem with its location and remedy, and how many there are."""
        lines = [*self._diagnostics(diagnostics), *_finding_lines(self._context.findings)]
        if diagnostics:
            lines.append(line(phrases.diagnostic_totals(diagnostics)))
        return self._painted(lines)

    def failure(
        self,
        command: str,  # noqa: ARG002
        diagnostics: Sequence[Diagnostic],
        refusals: Sequence[str] = (),
    ) -> str:
        """The problems that ended a run; on a terminal the command is in view."""
        return self.diagnostics(diagnostics) + self._painted(_refusals(refusals))

    def outputs(self, outputs: Mapping[str, Any]) -> str:
        """The outputs of the stack, one per line."""
        return self._painted(_output_lines(outputs, ""))

    def _painted(self, lines: Iterable[Line]) -> str:
        if not self._wraps:
            return painted(lines, color=self._color)
        shown: list[Line] = []
        for whole in lines:
            shown += wrapped(whole, self._width)
        return painted(shown, color=self._color)

    def _changes(self, changes: Sequence[Change]) -> Iterator[Line]:
        from reconciler.render.field_rows import rows_of

        width = _address_width(changes)
        for change in changes:
            yield _heading(change, width)
            yield from _remarks(change)
            yield from self._entries(rows_of(change, self._layout))
            yield _BLANK

    @staticmethod
    def _entries(entries: Sequence[FieldRow]) -> Iterator[Line]:
        # Names of fields get less room than addresses, since values stand beside them.
        width = column_width((entry.name for entry in entries), most=_MOST_NAME)
        for entry in entries:
            yield _entry_line(entry, width)
            for diff_line in entry.body:
                yield _body_line(diff_line, entry.sign)

    def _drifted(self, drift: Drift, width: int) -> Iterator[Line]:
        from reconciler.render.field_rows import drift_entries

        symbol, style = "~", "yellow"
        if drift.deleted:
            symbol, style = "-", "red"
        aside = " · ".join(filter(None, (phrases.where(drift.location), drift.id, drift.blame)))
        address = StyledText(padded(str(drift.address), width), "bold")
        sentence = StyledText(f"   {phrases.drift_sentence(drift)}", style)
        yield line(StyledText(f"  {symbol} ", style), address, sentence)
        yield line(_FIELD_INDENT, StyledText(aside, "dim"))
        yield from self._entries(drift_entries(drift, self._layout))

    def _outcome(self, outcome: Outcome, width: int) -> Iterator[Line]:
        from reconciler.render.field_rows import moved_entries

        yield from _outcome_lines(outcome, width, self._width, is_terminal=self._wraps)
        if outcome.blame:
            yield line(_FIELD_INDENT, StyledText(outcome.blame, "dim"))
        yield from self._entries(moved_entries(outcome, self._layout))

    def _diagnostics(self, diagnostics: Sequence[Diagnostic]) -> Iterator[Line]:
        for problem in diagnostics:
            severity = StyledText(
                f"{problem.severity.capitalize()}: ", _SEVERITY_STYLES[problem.severity]
            )
            yield line(severity, StyledText(problem.summary, "bold"))
            if aside := "  ".join(map(str, filter(None, (problem.location, problem.address)))):
                yield line("  ", StyledText(aside, "dim"))
            for text in filled_lines(problem.detail):
                yield line("  ", text)
            yield _BLANK


def _finding_lines(findings: Sequence[Finding]) -> Iterator[Line]:
    """Findings that are not part of the plan, each with its location and detail."""
    for finding in findings:
        mark, style = _VERDICT_MARKS[finding.verdict]
        if finding.verdict == "passed" and finding.level == "warning":
            style = "yellow"
        head = StyledText(f"  {mark} ", style)
        yield line(head, StyledText(f"{finding.rule.title}: ", "bold"), finding.sentence)
        if place := phrases.where(finding.location):
            yield line(_FIELD_INDENT, StyledText(place, "dim"))
        for text in filled_lines(finding.detail):
            yield line(_FIELD_INDENT, text)
    if findings:
        yield _BLANK


def _digest(plan: Plan) -> list[Line]:
    if plan.is_empty:
        return []
    from reconciler.model.plan_digest import plan_digest

    return [line(StyledText(f"Plan digest: {plan_digest(plan)}", "dim"))]


def _refusals(refusals: Iterable[str]) -> Iterator[Line]:
    for sentence in refusals:
        yield line(StyledText("Refused: ", "bold red"), sentence)


def _address_width(entries: Iterable[Change | Drift]) -> int:
    return column_width(str(entry.address) for entry in entries)


def _emphasized(text: str) -> Line:
    """A totals line with its start in bold: up to the colon, or else the first full stop."""
    separator = "."
    if ": " in text.partition(".")[0]:
        separator = ":"
    head, separator, rest = text.partition(separator)
    return line(StyledText(head + separator, "bold"), rest)


def _heading(change: Change, width: int) -> Line:
    style = ACTION_STYLES[change.action]
    address = StyledText(padded(str(change.address), width), "bold")
    sentence = StyledText(f"   {phrases.will_be(change)}", style)
    return line(StyledText(f"  {change.action.symbol} ", style), address, sentence)


def _remarks(change: Change) -> Iterator[Line]:
    if aside := " · ".join(filter(None, (phrases.where(change.location), change.id))):
        yield line(_FIELD_INDENT, StyledText(aside, "dim"))
    if steps := phrases.steps(change):
        yield line(_FIELD_INDENT, StyledText(steps, "magenta"))
    if lost := change.destroys:
        yield line(_FIELD_INDENT, StyledText(f"destroys: {lost}", "red"))
    for step in change.keys:
        yield line(_FIELD_INDENT, StyledText(phrases.key_step(step), _KEY_STYLES[step.action]))
    if note := phrases.job_note(change):
        yield line(_FIELD_INDENT, StyledText(note, "dim"))
    if marking := phrases.marking(change):
        yield line(_FIELD_INDENT, StyledText(marking, "cyan"))
    if change.renamed_from:
        yield line(_FIELD_INDENT, StyledText(f"renamed from {change.renamed_from}", "cyan"))
    for warning in change.warnings:
        yield line(_FIELD_INDENT, StyledText("Warning: ", "yellow"), warning)


def _entry_line(entry: FieldRow, width: int) -> Line:
    symbol = entry.sign or "~"
    sign = StyledText(f"    {symbol} ", _SIGN_STYLES[symbol])
    name = f"{entry.name}:"
    # Nothing to align without a value beside the name: the lines of the value are below it.
    if entry.is_pair or entry.value:
        name = f"{padded(name, width + 1)} "
    remark = StyledText(enclosed("  # ", entry.remark), "dim")
    if entry.is_pair:
        before = StyledText(entry.before or "", "red")
        after = StyledText(entry.after or "", "green")
        return line(sign, name, before, StyledText(" → ", "dim"), after, remark)
    return line(sign, name, entry.value or "", remark)


def _body_line(diff_line: DiffLine, sign: str) -> Line:
    mark = f"{diff_line.sign} "
    # A value that is added or removed as a whole has its sign beside its name, not on each line.
    if diff_line.sign == sign != "~":
        mark = ""
    return line(
        f"{_FIELD_INDENT}    ",
        StyledText(f"{mark}{diff_line.text}", _SIGN_STYLES.get(diff_line.sign, "")),
    )


def _blocked_lines(plan: Plan) -> list[Line]:
    """Resources that have an error, and those skipped because of it."""
    width = _address_width(plan.blocked)
    lines = []
    for change in plan.blocked:
        status, verb = OutcomeStatus.FAILED, "not planned"
        if change.reason is Reason.WAITS:
            status, verb = OutcomeStatus.SKIPPED, "skipped"
        mark, style = MARKS[status]
        address = StyledText(padded(str(change.address), width), "bold")
        # The rest is in the diagnostic of the resource.
        summary = change.blocked.partition(": ")[0]
        lines.append(line(StyledText(f"  {mark} ", style), address, f"   {verb}: {summary}"))
    return _section(lines)


def _section(lines: list[Line]) -> list[Line]:
    """Lines with a blank line after them; nothing if there are none."""
    if not lines:
        return []
    return [*lines, _BLANK]


def _quiet_notes(plan: Plan) -> list[Line]:
    """Warnings and notes about resources without a change, which no section below shows."""
    warnings: list[Line] = []
    notes: list[Line] = []
    for change in plan.changes:
        if change.is_change:
            continue
        address = StyledText(f"{change.address}: ", "bold")
        for text in change.warnings:
            label = StyledText("Warning: ", _SEVERITY_STYLES[Severity.WARNING])
            warnings.append(line(label, address, text))
        if note := phrases.job_note(change):
            notes.append(line(StyledText("note: ", "yellow"), address, note))
        for text in map(phrases.key_step, change.keys):
            label = StyledText("note: ", "yellow")
            notes.append(line(label, address, text))
    return _section([*warnings, *notes])


def _drift_hint(plan: Plan) -> list[Line]:
    """One line about drift that the plan does not act on."""
    planned = {change.address for change in plan.pending}
    # Drift without a change is an overdue key, which needs action.
    changed = (drift.address for drift in plan.drift if drift.is_changed)
    others = [str(address) for address in changed if address not in planned]
    if not others:
        return []
    names = ", ".join(others[:_MOST_DRIFTED_NAMES]) + more(len(others), _MOST_DRIFTED_NAMES)
    return [line(StyledText(f"Changed outside, no action needed: {names}.", "dim"))]


def _output_lines(outputs: Mapping[str, Any], indent: str) -> list[Line]:
    width = column_width(outputs)
    lines: list[Line] = []
    for name, value in outputs.items():
        text = brief(value, 100)
        lines.append(line(f"{indent}{padded(name, width)} = ", text or ""))
        if text is None:
            lines += (line(f"{indent}    {row}") for row in block(value))
    return lines


def _outcome_lines(outcome: Outcome, width: int, room: int, *, is_terminal: bool) -> Iterator[Line]:
    mark, style = MARKS[outcome.status]
    ident = enclosed(" (", outcome.id, ")")
    took = ""
    if outcome.seconds:
        took = f"  {phrases.duration(outcome.seconds)}"
    verb = phrases.outcome_verb(outcome)
    message = phrases.outcome_message(outcome)
    head = (
        StyledText(f"  {mark} ", style),
        StyledText(padded(str(outcome.change.address), width), "bold"),
    )
    # A message that does not fit beside the address goes below it, as do messages of several lines.
    beside = f"   {verb}{enclosed(': ', message)}"
    used = max(width, cells(str(outcome.change.address))) + cells(f"{beside}{ident}{took}")
    if used + 4 > room or "\n" in message:
        beside = f"   {verb}"
    else:
        message = ""
    if used + 4 > room and is_terminal:
        ident = ""  # `state list` has the ids, and an object has one line
    yield line(*head, StyledText(beside, style), StyledText(f"{ident}{took}", "dim"))
    for text in filter(None, (message, outcome.hint)):
        for part in text.split("\n"):
            yield line(_FIELD_INDENT, part)
    if outcome.request_id:
        yield line(_FIELD_INDENT, StyledText("request id: ", "dim"), outcome.request_id)
    for sentence in outcome.refused:
        yield line(_FIELD_INDENT, StyledText("✗ ", "red"), sentence)
    for note in outcome.notes:
        yield line(_FIELD_INDENT, StyledText("note: ", "yellow"), note)


def _policy_lines(report: PolicyReport, *, refusing: bool) -> list[Line]:
    if not report.policies:
        return []
    from reconciler.render.policies import policy_lines  # imported late: most stacks have none

    return policy_lines(report, refusing=refusing)


def _unmanaged_section(plan: Plan) -> list[Line]:
    if not plan.unmanaged:
        return []
    number = count(len(plan.unmanaged), "object")
    lines = [line(StyledText(f"Unmanaged: {number} not declared in any manifest", "bold"))]
    owners = [unmanaged.kind + enclosed(" in ", unmanaged.project) for unmanaged in plan.unmanaged]
    owner_width = column_width(owners)
    id_width = column_width(unmanaged.id for unmanaged in plan.unmanaged)
    for owner, unmanaged in zip(owners, plan.unmanaged, strict=True):
        ident = StyledText(padded(unmanaged.id, id_width), "dim")
        lines.append(line(f"  ? {padded(owner, owner_width)}  ", ident, f"  {unmanaged.label}"))
    return [*lines, _BLANK]
