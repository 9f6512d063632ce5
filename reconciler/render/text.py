"""Plans and results for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from reconciler.model.change import Action, ApplyResult, Change, Drift, Outcome, OutcomeStatus, Plan, Reason
from reconciler.model.diagnostic import Diagnostic, Severity
from reconciler.render import phrases
from reconciler.render.differences import DiffLine
from reconciler.render.field_rows import FieldRow, drift_entries, moved_entries, output_entries, rows_of
from reconciler.render.lines import Line, Span, cells, line, padded, painted
from reconciler.render.values import block, brief, count

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
_SIGN_STYLES = {"+": "green", "-": "red", "~": "yellow", "…": "dim"}
_SEVERITY_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow"}
_BLANK: Line = ()
_MOST_COLUMN = 44
_MOST_NAME = 32
_FIELD_INDENT = "      "


class TextRenderer:
    """Text in aligned columns of about `width`, with colours where `color`; values are never cut to fit."""

    def __init__(self, color: bool, width: int = 100) -> None:
        self._color = color
        self._width = max(60, width)

    def plan(self, plan: Plan) -> str:
        """The changes by scope, the outputs that change, and a line that counts."""
        lines = [*self._diagnostics(plan.diagnostics), *_blocked_lines(plan), *_quiet_warnings(plan)]
        for heading, changes in phrases.by_importance(plan.pending):
            lines += [line(Span(heading, "bold red" if heading == phrases.DESTRUCTIVE else "bold"))]
            lines += self._changes(changes)
        if plan.outputs:
            entries = output_entries(plan.outputs, width=self._width - 30)
            lines += [line(Span("Outputs", "bold")), *self._entries(entries), _BLANK]
        lines += _unmanaged_section(plan)
        lines += _drift_hint(plan)
        return self._painted([*lines, _emphasized(phrases.plan_totals(plan)), *_refusals(plan)])

    def drift(self, plan: Plan, *, unmanaged: bool) -> str:
        """What moved live since the last apply, and how much else is pending."""
        lines: list[Line] = list(self._diagnostics(plan.diagnostics))
        width = _column(str(drift.address) for drift in plan.drift)
        for heading, drifts in _drift_by_scope(plan.drift):
            lines.append(line(Span(heading, "bold")))
            for drift in drifts:
                lines += [*self._drifted(drift, width), _BLANK]
        lines += _unmanaged_section(plan) if unmanaged else []
        lines.append(_emphasized(phrases.drift_totals(plan, unmanaged=unmanaged)))
        return self._painted([*lines, line(phrases.besides(plan))])

    def result(self, result: ApplyResult) -> str:
        """What became of each change, the outputs, and a line that counts."""
        outcomes = phrases.reported(result)
        width = _column(str(outcome.change.address) for outcome in outcomes)
        lines = [part for outcome in outcomes for part in self._outcome(outcome, width)]
        lines += [_BLANK] if lines else []
        if result.outputs:
            lines += [line(Span("Outputs", "bold")), *_output_lines(result.outputs, "  "), _BLANK]
        lines.append(_emphasized(phrases.result_totals(result)))
        if result.checks:
            from reconciler.render.checks import check_lines

            lines += [_BLANK, line(Span("Checks", "bold")), *check_lines(result.checks)]
        return self._painted(lines)

    def diagnostics(self, diagnostics: Sequence[Diagnostic]) -> str:
        """Each problem with its place and its way out, and how many there are."""
        if not diagnostics:
            return ""
        return self._painted([*self._diagnostics(diagnostics), line(phrases.diagnostic_totals(diagnostics))])

    def failure(self, command: str, diagnostics: Sequence[Diagnostic]) -> str:  # noqa: ARG002
        """The problems that ended a run; who reads it knows the command."""
        return self.diagnostics(diagnostics)

    def outputs(self, outputs: Mapping[str, Any]) -> str:
        """The outputs of the stack, one a line."""
        return self._painted(_output_lines(outputs, ""))

    def _painted(self, lines: Iterable[Line]) -> str:
        return painted(lines, color=self._color)

    def _changes(self, changes: Sequence[Change]) -> Iterator[Line]:
        width = _column(str(change.address) for change in changes)
        for change in changes:
            yield _heading(change, width)
            yield from _remarks(change)
            yield from self._entries(rows_of(change, width=self._width - 30))
            yield _BLANK

    @staticmethod
    def _entries(entries: Sequence[FieldRow]) -> Iterator[Line]:
        width = _column((entry.name for entry in entries), most=_MOST_NAME)
        for entry in entries:
            yield _entry_line(entry, width)
            yield from (_body_line(item, entry.sign) for item in entry.body)

    def _drifted(self, drift: Drift, width: int) -> Iterator[Line]:
        style, symbol = ("red", "-") if drift.deleted else ("yellow", "~")
        aside = " · ".join(part for part in (phrases.where(drift.location), drift.id, drift.blame) if part)
        address = Span(padded(str(drift.address), width), "bold")
        yield line(Span(f"  {symbol} ", style), address, Span(f"   {phrases.drift_sentence(drift)}", style))
        yield line(_FIELD_INDENT, Span(aside, "dim"))
        yield from self._entries(drift_entries(drift, width=self._width - 30))

    def _outcome(self, outcome: Outcome, width: int) -> Iterator[Line]:
        yield from _outcome_lines(outcome, width, self._width)
        yield from [line(_FIELD_INDENT, Span(outcome.blame, "dim"))] if outcome.blame else []
        yield from self._entries(moved_entries(outcome, width=self._width - 30))

    def _diagnostics(self, diagnostics: Sequence[Diagnostic]) -> Iterator[Line]:
        for item in diagnostics:
            yield line(Span(f"{item.severity}: ", _SEVERITY_STYLES[item.severity]), Span(item.summary, "bold"))
            aside = "  ".join(str(part) for part in (item.location, item.address) if part)
            yield from [line("  ", Span(aside, "dim"))] if aside else []
            yield from (line("  ", text) for text in item.detail.split("\n") if text)
            yield _BLANK


def _refusals(plan: Plan) -> Iterator[Line]:
    for sentence in plan.refusals:
        yield line(Span("Refused: ", "bold red"), sentence)


def _column(texts: Iterable[str], most: int = _MOST_COLUMN) -> int:
    """The width of a column: that of its longest text, a few very long ones left to stick out."""
    return max((width for text in texts if (width := cells(text)) <= most), default=0)


def _emphasized(text: str) -> Line:
    head, colon, rest = text.partition(":" if ": " in text.partition(".")[0] else ".")
    return line(Span(head + colon, "bold"), rest)


def _heading(change: Change, width: int) -> Line:
    style = ACTION_STYLES[change.action]
    address = Span(padded(str(change.address), width), "bold")
    return line(Span(f"  {change.action.symbol} ", style), address, Span(f"   {phrases.will_be(change)}", style))


def _remarks(change: Change) -> Iterator[Line]:
    if aside := " · ".join(part for part in (phrases.where(change.location), change.id) if part):
        yield line(_FIELD_INDENT, Span(aside, "dim"))
    if steps := phrases.steps(change):
        yield line(_FIELD_INDENT, Span(steps, "magenta"))
    if lost := phrases.destruction(change):
        yield line(_FIELD_INDENT, Span(f"destroys: {lost}", "red"))
    if standing := phrases.standing(change):
        yield line(_FIELD_INDENT, Span(standing, "dim"))
    if marking := phrases.marking(change):
        yield line(_FIELD_INDENT, Span(marking, "cyan"))
    if change.renamed_from:
        yield line(_FIELD_INDENT, Span(f"renamed from {change.renamed_from}", "cyan"))
    for warning in change.warnings:
        yield line(_FIELD_INDENT, Span("warning: ", "yellow"), warning)


def _entry_line(entry: FieldRow, width: int) -> Line:
    sign = Span(f"    {entry.sign or '~'} ", _SIGN_STYLES[entry.sign or "~"])
    has_value = entry.is_pair or bool(entry.value)
    name = f"{padded(f'{entry.name}:', width + 1)} " if has_value else f"{entry.name}:"
    remark = Span(f"  # {entry.remark}" if entry.remark else "", "dim")
    if entry.is_pair:
        return line(
            sign, name, Span(entry.before or "", "red"), Span(" → ", "dim"), Span(entry.after or "", "green"), remark
        )
    return line(sign, name, entry.value or "", remark)


def _body_line(item: DiffLine, sign: str) -> Line:
    # Below a value that comes or goes as a whole, every line does: the sign stands before its name.
    mark = "" if item.sign == sign != "~" else f"{item.sign} "
    return line(f"{_FIELD_INDENT}    ", Span(f"{mark}{item.text}", _SIGN_STYLES.get(item.sign, "")))


def _drift_by_scope(drifts: Sequence[Drift]) -> list[tuple[str, list[Drift]]]:
    groups: dict[str, list[Drift]] = {}
    for drift in drifts:
        groups.setdefault(phrases.heading_of(drift), []).append(drift)
    return list(groups.items())


def _blocked_lines(plan: Plan) -> list[Line]:
    """What cannot be planned, and what is skipped because of it."""
    width = _column(str(change.address) for change in plan.blocked)
    lines = []
    for change in plan.blocked:
        waits = change.reason is Reason.WAITS
        mark, style = MARKS[OutcomeStatus.SKIPPED if waits else OutcomeStatus.FAILED]
        verb = "skipped" if waits else "not planned"
        address = Span(padded(str(change.address), width), "bold")
        lines.append(line(Span(f"  {mark} ", style), address, f"   {verb}: {change.blocked.partition(': ')[0]}"))
    return [*lines, _BLANK] if lines else []


def _quiet_warnings(plan: Plan) -> list[Line]:
    """What is to be said about resources that do not change, which are not shown otherwise."""
    quiet = [change for change in plan.changes if not change.is_change]
    lines = [
        line(Span("warning: ", _SEVERITY_STYLES[Severity.WARNING]), Span(f"{change.address}: ", "bold"), warning)
        for change in quiet
        for warning in change.warnings
    ]
    lines += [
        line(Span("note: ", "yellow"), Span(f"{change.address}: ", "bold"), standing)
        for change in quiet
        if (standing := phrases.standing(change))
    ]
    return [*lines, _BLANK] if lines else []


def _drift_hint(plan: Plan) -> list[Line]:
    planned = {change.address for change in plan.pending}
    others = [drift for drift in plan.drift if drift.address not in planned]
    if not others:
        return []
    names = ", ".join(str(drift.address) for drift in others[:3])
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return [line(Span(f"Moved outside, with nothing to do here: {names}{more}.", "dim"))]


def _output_lines(outputs: Mapping[str, Any], indent: str) -> list[Line]:
    width = _column(outputs)
    lines: list[Line] = []
    for name, value in outputs.items():
        text = brief(value, 100)
        lines.append(line(f"{indent}{padded(name, width)} = ", text or ""))
        lines += [line(f"{indent}    {item}") for item in block(value)] if text is None else []
    return lines


def _outcome_lines(outcome: Outcome, width: int, room: int) -> Iterator[Line]:
    mark, style = MARKS[outcome.status]
    ident = f" ({outcome.id})" if outcome.id else ""
    took = f"  {phrases.duration(outcome.seconds)}" if outcome.seconds else ""
    verb, message = phrases.outcome_verb(outcome), phrases.outcome_message(outcome)
    fits = max(width, cells(str(outcome.change.address))) + cells(f"{verb}{message}{ident}{took}") + 9 <= room
    fits = fits and "\n" not in message
    inside, below = (f": {message}" if message and fits else "", "" if fits else message)
    head = (Span(f"  {mark} ", style), Span(padded(str(outcome.change.address), width), "bold"))
    yield line(*head, Span(f"   {verb}{inside}", style), Span(f"{ident}{took}", "dim"))
    for label, text in (("", below), ("", outcome.hint), ("request id: ", outcome.request_id or "")):
        for part in text.split("\n") if text else ():
            yield line(_FIELD_INDENT, Span(label, "dim"), part)
    yield from (line(_FIELD_INDENT, Span("✗ ", "red"), sentence) for sentence in outcome.refused)
    yield from (line(_FIELD_INDENT, Span("note: ", "yellow"), note) for note in outcome.notes)


def _unmanaged_section(plan: Plan) -> list[Line]:
    if not plan.unmanaged:
        return []
    lines = [line(Span(f"Unmanaged: {count(len(plan.unmanaged), 'object')} that no manifest declares", "bold"))]
    width = _column(_whose(item.kind, item.project) for item in plan.unmanaged)
    ids = _column(item.id for item in plan.unmanaged)
    for item in plan.unmanaged:
        whose = padded(_whose(item.kind, item.project), width)
        lines.append(line(f"  ? {whose}  ", Span(padded(item.id, ids), "dim"), f"  {item.label}"))
    return [*lines, _BLANK]


def _whose(kind: str, project: str | None) -> str:
    return f"{kind} in {project}" if project else kind
