"""Plans and results as a comment on a pull request.

A comment has a largest size, so it is built of sections in order of importance, and whole sections are left out from
the end. What is left out is counted in the last line. Code blocks and folded parts are closed by construction: nothing
is ever cut inside a section.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from reconciler.model.address import Address
from reconciler.model.change import (
    Action,
    ApplyResult,
    Change,
    Drift,
    Outcome,
    OutcomeStatus,
    OutputChange,
    Plan,
    Reason,
    count_actions,
)
from reconciler.model.diagnostic import Diagnostic, Severity, SourceLocation
from reconciler.render import phrases
from reconciler.render.differences import DiffLine
from reconciler.render.escape import code, code_span, fenced, markup, prose
from reconciler.render.field_rows import FieldRow, drift_entries, moved_entries, output_entries, rows_of
from reconciler.render.lines import shortened
from reconciler.render.sections import COMMENT_LIMIT, Section, assemble
from reconciler.render.text import MARKS
from reconciler.render.values import brief, count, inline

_ICONS = {
    Action.CREATE: "🟢",
    Action.UPDATE: "🟡",
    Action.REPLACE: "🟣",
    Action.DELETE: "🔴",
    Action.ADOPT: "🔵",
    Action.FORGET: "⚪",
}
_COLUMNS = tuple(action for action in Action if action is not Action.NO_OP)
_WIDTH = 100
_MOST_LINES = 150
_MOST_CHARACTERS = 8_000
_MOST_ROWS = 25
_MOST_NAME = 40
_LEAST = 2_500


class MarkdownRenderer:
    """GitHub's dialect, also read by GitLab. No answer is longer than `limit` characters."""

    def __init__(self, limit: int = COMMENT_LIMIT) -> None:
        if limit < _LEAST:
            raise ValueError(f"a comment of fewer than {_LEAST:,} characters has no room for a plan")
        self._limit = limit

    def plan(self, plan: Plan) -> str:
        """Headline and table, then warnings, what is destroyed, other changes, outputs."""
        head = f"### {_title('plan', plan)}: {_verdict(plan)}{phrases.headline_counts(plan)}\n\n"
        changes = [
            Section(partial(_change, change), "change", change.action) for change in _by_importance(plan.pending)
        ]
        table = [Section(partial(_table, plan.pending), "summary table")] if plan.pending else []
        outputs = [Section(partial(_outputs, plan.outputs), "list of outputs")] if plan.outputs else []
        sections = [*table, *_refusals(plan), *_warnings(plan), *changes, *outputs]
        sections += _unmanaged_sections(plan)
        return assemble(head, sections, f"{phrases.plan_totals(plan)}\n", "`reconciler plan`", self._limit)

    def drift(self, plan: Plan, *, unmanaged: bool) -> str:
        """What moved live, then what nobody declares."""
        head = f"### {_title('drift', plan)}: {_drift_counts(plan)}\n\n"
        sections = [Section(partial(_problem, item), "warning") for item in plan.diagnostics]
        sections += [Section(partial(_drift, drift), "object") for drift in plan.drift]
        sections += _unmanaged_sections(plan) if unmanaged else []
        totals = phrases.drift_totals(plan, unmanaged=unmanaged)
        foot = f"{totals}\n\n{phrases.besides(plan)}\n"
        return assemble(head, sections, foot, "`reconciler drift`", self._limit)

    def result(self, result: ApplyResult) -> str:
        """What became of each change, failures first."""
        how = "complete" if phrases.is_complete(result) else "incomplete"
        head = f"### {_title('apply', result.plan)}: {how}\n\n"
        outcomes = phrases.reported(result)
        failures = [item for item in outcomes if item.status is not OutcomeStatus.APPLIED]
        applied = [item for item in outcomes if item.status is OutcomeStatus.APPLIED]
        sections = [Section(partial(_outcome, item), "outcome") for item in [*failures, *applied]]
        foot = f"\n{phrases.result_totals(result)}\n"
        if result.checks:
            from reconciler.render.checks import markdown_view

            foot += f"\n{markdown_view(result.checks, limit=self._limit // 2)}"
        return assemble(head, sections, foot, "`reconciler history`", self._limit)

    def diagnostics(self, diagnostics: Sequence[Diagnostic]) -> str:
        """Each problem as an item of a list."""
        if not diagnostics:
            return ""
        head = f"### reconciler · {phrases.diagnostic_totals(diagnostics)}\n\n"
        sections = [Section(partial(_problem, item), "problem") for item in diagnostics]
        return assemble(head, sections, "", "`reconciler validate`", self._limit)

    def failure(self, command: str, diagnostics: Sequence[Diagnostic]) -> str:
        """Each problem as an item of a list, below the name of the command that failed."""
        head = f"### reconciler {prose(command)}: failed\n\n"
        sections = [Section(partial(_problem, item), "problem") for item in diagnostics]
        return assemble(head, sections, "", f"`reconciler {command}`", self._limit)

    def outputs(self, outputs: Mapping[str, Any]) -> str:
        """A table of names and values."""
        head = "| Output | Value |\n| --- | --- |\n"
        rows = [Section(partial(_row, name, value), "output") for name, value in outputs.items()]
        return assemble(head, rows, "", "`reconciler output`", self._limit)


def _title(command: str, plan: Plan) -> str:
    names = "/".join(prose(shortened(part, _MOST_NAME)) for part in (plan.stack, plan.environment) if part)
    return f"reconciler {command} · {names}" if names else f"reconciler {command}"


def _by_importance(changes: Sequence[Change]) -> list[Change]:
    """What loses something first; apart from that the order of the plan."""
    return sorted(changes, key=lambda change: not phrases.loses_something(change))


def _row(name: str, value: Any) -> str:
    return f"| {code_span(name, in_table=True)} | {code_span(_short(value), in_table=True)} |\n"


def _table(changes: Sequence[Change]) -> str:
    """How many changes of each action in each scope; a last row for the scopes beyond a couple of dozen."""
    scopes = phrases.by_scope(changes)
    shown = [action for action in _COLUMNS if action in count_actions(changes)]
    rows = [(_scope(name), own) for name, own in scopes[:_MOST_ROWS]]
    if len(scopes) > _MOST_ROWS:
        rest = [change for _, own in scopes[_MOST_ROWS:] for change in own]
        rows.append((f"{len(scopes) - _MOST_ROWS:,} more projects", rest))
    lines = [
        f"| | {' | '.join(f'{_ICONS[action]} {action}' for action in shown)} |",
        "| --- |" + " ---: |" * len(shown),
    ]
    for name, own in rows:
        counts = count_actions(own)
        lines.append(f"| {name} | {' | '.join(str(counts.get(action, '')) for action in shown)} |")
    return "\n".join(lines) + "\n\n"


def _scope(heading: str) -> str:
    if heading in (phrases.ORGANIZATION, phrases.DEFAULT_PROJECT):
        return heading
    first, _, name = heading.partition(" ")
    return f"{first} {code_span(shortened(name, _MOST_NAME), in_table=True)}"


def _verdict(plan: Plan) -> str:
    """What a headline says before it counts, where the plan cannot be carried out."""
    if plan.refusals:
        return "refused, "
    is_failed = any(item.severity is Severity.ERROR for item in plan.diagnostics)
    return "failed, " if is_failed else ""


def _refusals(plan: Plan) -> Iterator[Section]:
    for sentence in plan.refusals:
        yield Section(partial(_refusal, sentence), "refusal")


def _refusal(sentence: str) -> str:
    return f"- ⛔ **refused** {_spans(sentence)}\n"


def _warnings(plan: Plan) -> Iterator[Section]:
    for item in plan.diagnostics:
        yield Section(partial(_problem, item), "warning")
    for change in plan.changes:
        yield from (Section(partial(_warning, change, warning), "warning") for warning in change.warnings)
        if standing := phrases.standing(change):
            yield Section(partial(_note, change, standing), "note")
        if change.reason is Reason.WAITS:
            yield Section(partial(_note, change, f"skipped: {change.blocked}"), "note")


def _warning(change: Change, warning: str) -> str:
    return f"- ⚠️ **warning** {code_span(str(change.address))}: {_spans(warning)}\n"


def _note(change: Change, text: str) -> str:
    return f"- {code_span(str(change.address))}: {_spans(text)}\n"


def _problem(item: Diagnostic) -> str:
    icon = "❌" if item.severity is Severity.ERROR else "⚠️"
    asides = [code_span(str(part)) for part in (item.location, item.address) if part]
    detail = "".join(f"  \n  {_spans(text)}" for text in item.detail.split("\n") if text)
    where = f" ({', '.join(asides)})" if asides else ""
    return f"- {icon} **{item.severity}** {_spans(item.summary)}{where}{detail}\n"


def _change(change: Change) -> str:
    lost = phrases.loses_something(change)
    flag = " ⚠️ <b>destroys</b>" if lost else ""
    head = f"{_ICONS[change.action]} {_named(change.address)} will be {phrases.done(change)}{flag}"
    about = _joined([_about(change), *_aside(change.location, change.id)])
    return _folded(head, [about, _diff_block(rows_of(change, width=_WIDTH))], is_open=lost)


def _about(change: Change) -> str:
    parts = [f"{_spans(_capital(phrases.why(change)))}." if change.matched_by else f"{_capital(change.reason)}."]
    if lost := phrases.destruction(change):
        parts.append(f"**Destroys:** {_spans(lost)}.")
    if steps := phrases.steps(change):
        parts.append(f"{_capital(steps)}.")
    if change.action is Action.ADOPT and change.mark:
        parts.append(f"Writes the mark {code_span(change.mark)} to its metadata.")
    if change.renamed_from:
        parts.append(f"Renamed from {code_span(str(change.renamed_from))}.")
    return " ".join(parts)


def _drift(drift: Drift) -> str:
    head = f"{'🔴' if drift.deleted else '🟡'} {_named(drift.address)} {phrases.drift_sentence(drift)}"
    about = _joined([*_aside(drift.location, drift.id), *([_spans(drift.blame)] if drift.blame else [])])
    return _folded(head, [about, _diff_block(drift_entries(drift, width=_WIDTH))], is_open=True)


def _unmanaged_sections(plan: Plan) -> list[Section]:
    if not plan.unmanaged:
        return []
    return [Section(partial(_unmanaged, plan), "list of unmanaged objects")]


def _unmanaged(plan: Plan) -> str:
    lines = [
        f"{item.kind:16} {item.id}  {item.label}" + (f"  (project {item.project})" if item.project else "")
        for item in plan.unmanaged
    ]
    head = f"⚪ {count(len(plan.unmanaged), 'object')} that no manifest declares"
    return _folded(head, [fenced(_bounded(lines))], is_open=False)


def _outputs(outputs: Sequence[OutputChange]) -> str:
    head = f"Outputs: {count(len(outputs), 'change')}"
    return _folded(head, [_diff_block(output_entries(outputs, width=_WIDTH))], is_open=False)


def _named(address: Address) -> str:
    return code(shortened(str(address), 3 * _MOST_NAME))


def _aside(place: SourceLocation | None, id: str | None) -> list[str]:
    return [code_span(shortened(part, 2 * _WIDTH)) for part in (phrases.where(place), id) if part]


def _joined(parts: Iterable[str]) -> str:
    return " · ".join(parts)


def _outcome(outcome: Outcome) -> str:
    mark, _ = MARKS[outcome.status]
    ident = f" {code_span(outcome.id)}" if outcome.id else ""
    text = f"- {mark} {code_span(str(outcome.change.address))} {_spans(phrases.outcome_sentence(outcome))}{ident}\n"
    remarks = [_spans(outcome.hint)] if outcome.hint else []
    remarks += [f"request id {code_span(outcome.request_id)}"] if outcome.request_id else []
    remarks += [_spans(note) for note in (*outcome.refused, *outcome.notes, outcome.blame) if note]
    moved = _diff_block(moved_entries(outcome, width=_WIDTH))
    block = "".join(f"  {part}\n" for part in moved.split("\n")) if moved else ""
    return text + "".join(f"  - {remark}\n" for remark in remarks) + (f"\n{block}\n" if block else "")


def _folded(head: str, parts: Iterable[str], *, is_open: bool) -> str:
    body = "\n\n".join(part for part in parts if part)
    return f"<details{' open' if is_open else ''}><summary>{head}</summary>\n\n{body}\n\n</details>\n\n"


def _diff_block(entries: Sequence[FieldRow]) -> str:
    lines = [text for entry in entries for text in _diff_of(entry)]
    return fenced(_bounded(lines), "diff") if lines else ""


def _diff_of(entry: FieldRow) -> Iterator[str]:
    remark = f"  # {entry.remark}" if entry.remark else ""
    if entry.is_pair:
        yield f"- {entry.name}: {entry.before}"
        yield f"+ {entry.name}: {entry.after}{remark}"
        return
    yield f"{entry.sign.replace('~', '!')} {entry.name}:{f' {entry.value}' if entry.value else ''}{remark}"
    yield from (_body_line(item) for item in entry.body)


def _body_line(item: DiffLine) -> str:
    # Hosts colour a line of a diff by its first character; a hunk header stands for what was left out.
    if item.sign == "…":
        return f"@@ … {item.text} @@"
    return f"{item.sign.replace('~', '!')}     {item.text}"


def _bounded(lines: Iterable[str]) -> list[str]:
    """The lines up to a bound, so that no single section can fill a comment."""
    given = list(lines)
    kept: list[str] = []
    room = _MOST_CHARACTERS
    for text in given[:_MOST_LINES]:
        shown = shortened(text, 2_000)
        # An escaped character takes up to ten.
        room -= len(markup(shown)) + 1
        if room < 0:
            break
        kept.append(shown)
    left_out = len(given) - len(kept)
    return [*kept, f"@@ … {count(left_out, 'more line')} @@"] if left_out else kept


def _short(value: Any) -> str:
    return shortened(brief(value, _WIDTH) or inline(value), 500)


def _spans(text: str) -> str:
    return prose(shortened(text, 2_000))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _drift_counts(plan: Plan) -> str:
    return f"{count(len(plan.drift), 'object')} moved outside" if plan.drift else "none"
