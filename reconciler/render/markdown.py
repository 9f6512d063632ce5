"""Plans and results as a comment on a pull request.

Hosts limit the size of a comment, so it is built from sections in order of importance. Sections
that do not fit are left out whole, and the last line counts them; a section is never cut, so code
blocks and folded parts are always closed.
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
from reconciler.model.run_origin import RunReference
from reconciler.render import phrases
from reconciler.render.differences import DiffLine
from reconciler.render.escape import code, code_span, fenced, markup, prose, web_link
from reconciler.render.field_rows import (
    FieldRow,
    drift_entries,
    moved_entries,
    output_entries,
    rows_of,
)
from reconciler.render.lines import shortened
from reconciler.render.policies import policy_sections
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
    """GitHub-flavoured Markdown, which GitLab reads too; at most `limit` characters."""

    def __init__(self, limit: int = COMMENT_LIMIT) -> None:
        if limit < _LEAST:
            raise ValueError(f"no room for a plan in {limit:,} characters: it needs {_LEAST:,}")
        self._limit = limit

    def plan(self, plan: Plan) -> str:
        """Headline and table, then refusals, warnings, changes (destructive first), outputs."""
        head = f"### {_title('plan', plan)}: {_verdict(plan)}{phrases.headline_counts(plan)}\n\n"
        sections: list[Section] = []
        if plan.pending:
            sections.append(Section(partial(_table, plan.pending), "summary table"))
        sections += [*_refusals(plan), *policy_sections(plan.policies, refusing=False)]
        sections += _warnings(plan)
        for change in _by_importance(plan.pending):
            sections.append(Section(partial(_change, change), "change", change.action))
        if plan.outputs:
            sections.append(Section(partial(_outputs, plan.outputs), "list of outputs"))
        sections += _unmanaged_sections(plan)
        foot = f"{phrases.plan_totals(plan)}\n"
        return assemble(head, sections, foot, "`reconciler plan`", self._limit)

    def drift(self, plan: Plan, *, unmanaged: bool) -> str:
        """Live changes, then unmanaged objects if `unmanaged`."""
        head = f"### {_title('drift', plan)}: {_drift_counts(plan)}\n\n"
        sections = [Section(partial(_problem, problem), "warning") for problem in plan.diagnostics]
        sections += policy_sections(plan.policies, refusing=True)
        sections += [Section(partial(_drift, drift), "object") for drift in plan.drift]
        if unmanaged:
            sections += _unmanaged_sections(plan)
        totals = phrases.drift_totals(plan, unmanaged=unmanaged)
        foot = f"{totals}\n\n{phrases.pending_changes(plan)}\n"
        return assemble(head, sections, foot, "`reconciler drift`", self._limit)

    def result(self, result: ApplyResult) -> str:
        """How each change ended, failures first."""
        how = "complete" if phrases.is_complete(result) else "incomplete"
        head = f"### {_title('apply', result.plan)}: {how}\n\n"
        failures: list[Section] = []
        applied: list[Section] = []
        for outcome in phrases.reported(result):
            section = Section(partial(_outcome, outcome), "outcome")
            (applied if outcome.status is OutcomeStatus.APPLIED else failures).append(section)
        sections = [*failures, *policy_sections(result.policies, refusing=True), *applied]
        foot = f"\n{phrases.result_totals(result)}\n{_run(result.run)}"
        if result.checks:
            from reconciler.render.checks import markdown_view

            foot += f"\n{markdown_view(result.checks, limit=self._limit // 2)}"
        return assemble(head, sections, foot, "`reconciler history`", self._limit)

    def diagnostics(self, diagnostics: Sequence[Diagnostic]) -> str:
        """A list item per problem."""
        if not diagnostics:
            return ""
        head = f"### reconciler · {phrases.diagnostic_totals(diagnostics)}\n\n"
        sections = [Section(partial(_problem, problem), "problem") for problem in diagnostics]
        return assemble(head, sections, "", "`reconciler validate`", self._limit)

    def failure(self, command: str, diagnostics: Sequence[Diagnostic]) -> str:
        """A list item per problem, below the name of the failed command."""
        head = f"### reconciler {prose(command)}: failed\n\n"
        sections = [Section(partial(_problem, problem), "problem") for problem in diagnostics]
        return assemble(head, sections, "", f"`reconciler {command}`", self._limit)

    def outputs(self, outputs: Mapping[str, Any]) -> str:
        """A table of names and values."""
        head = "| Output | Value |\n| --- | --- |\n"
        rows = []
        for name, value in outputs.items():
            rows.append(Section(partial(_row, name, value), "output"))
        return assemble(head, rows, "", "`reconciler output`", self._limit)


def _title(command: str, plan: Plan) -> str:
    parts = filter(None, (plan.stack, plan.environment))
    names = "/".join(prose(shortened(part, _MOST_NAME)) for part in parts)
    return f"reconciler {command} · {names}" if names else f"reconciler {command}"


def _by_importance(changes: Sequence[Change]) -> list[Change]:
    """Destructive changes first; otherwise plan order."""
    return sorted(changes, key=lambda change: not phrases.loses_something(change))


def _row(name: str, value: Any) -> str:
    shown = code_span(_short(value), in_table=True)
    return f"| {code_span(name, in_table=True)} | {shown} |\n"


def _table(changes: Sequence[Change]) -> str:
    """Changes by scope and action; scopes beyond `_MOST_ROWS` share the last row."""
    scopes = phrases.by_scope(changes)
    actions = [action for action in _COLUMNS if action in count_actions(changes)]
    rows = [(_scope(name), own) for name, own in scopes[:_MOST_ROWS]]
    if len(scopes) > _MOST_ROWS:
        rest = [change for _, own in scopes[_MOST_ROWS:] for change in own]
        rows.append((f"{len(scopes) - _MOST_ROWS:,} more projects", rest))
    heads = [f"{_ICONS[action]} {action}" for action in actions]
    lines = [f"| | {' | '.join(heads)} |", "| --- |" + " ---: |" * len(actions)]
    for name, own in rows:
        counts = count_actions(own)
        numbers = [str(counts.get(action, "")) for action in actions]
        lines.append(f"| {name} | {' | '.join(numbers)} |")
    return "\n".join(lines) + "\n\n"


def _scope(heading: str) -> str:
    if heading in (phrases.ORGANIZATION, phrases.DEFAULT_PROJECT):
        return heading
    first, _, name = heading.partition(" ")
    return f"{first} {code_span(shortened(name, _MOST_NAME), in_table=True)}"


def _verdict(plan: Plan) -> str:
    """`refused, ` or `failed, ` before the counts of a plan that cannot be applied as a whole."""
    if plan.refusals:
        return "refused, "
    is_failed = any(problem.severity is Severity.ERROR for problem in plan.diagnostics)
    return "failed, " if is_failed else ""


def _refusals(plan: Plan) -> Iterator[Section]:
    for sentence in plan.refusals:
        yield Section(partial(_refusal, sentence), "refusal")


def _refusal(sentence: str) -> str:
    return f"- ⛔ **refused** {_spans(sentence)}\n"


def _warnings(plan: Plan) -> Iterator[Section]:
    for problem in plan.diagnostics:
        yield Section(partial(_problem, problem), "warning")
    for change in plan.changes:
        for warning in change.warnings:
            yield Section(partial(_warning, change, warning), "warning")
        if note := phrases.job_note(change):
            yield Section(partial(_note, change, note), "note")
        for step in change.keys if not change.is_change else ():
            yield Section(partial(_note, change, phrases.key_step(step)), "note")
        if change.reason is Reason.WAITS:
            yield Section(partial(_note, change, f"skipped: {change.blocked}"), "note")


def _warning(change: Change, warning: str) -> str:
    return f"- ⚠️ **warning** {code_span(str(change.address))}: {_spans(warning)}\n"


def _note(change: Change, text: str) -> str:
    return f"- {code_span(str(change.address))}: {_spans(text)}\n"


def _problem(diagnostic: Diagnostic) -> str:
    icon = "❌" if diagnostic.severity is Severity.ERROR else "⚠️"
    asides = [code_span(str(part)) for part in (diagnostic.location, diagnostic.address) if part]
    detail = "".join(f"  \n  {_spans(text)}" for text in diagnostic.detail.split("\n") if text)
    where = f" ({', '.join(asides)})" if asides else ""
    return f"- {icon} **{diagnostic.severity}** {_spans(diagnostic.summary)}{where}{detail}\n"


def _change(change: Change) -> str:
    lost = phrases.loses_something(change)
    flag = " ⚠️ <b>destroys</b>" if lost else ""
    head = f"{_ICONS[change.action]} {_named(change.address)} will be {phrases.done(change)}{flag}"
    about = _joined([_about(change), *_aside(change.location, change.id)])
    return _folded(head, [about, _diff_block(rows_of(change, width=_WIDTH))], is_open=lost)


def _about(change: Change) -> str:
    # Our own reasons need no escaping; the name of a rule does.
    reason = _spans(phrases.why(change)) if change.matched_by else change.reason
    parts = [f"{_capital(reason)}."]
    if lost := phrases.destruction(change):
        parts.append(f"**Destroys:** {_spans(lost)}.")
    if steps := phrases.steps(change):
        parts.append(f"{_capital(steps)}.")
    parts += [f"{_capital(_spans(phrases.key_step(step)))}." for step in change.keys]
    if change.action is Action.ADOPT and change.mark:
        parts.append(f"Writes the mark {code_span(change.mark)} to its metadata.")
    if change.renamed_from:
        parts.append(f"Renamed from {code_span(str(change.renamed_from))}.")
    return " ".join(parts)


def _drift(drift: Drift) -> str:
    icon = "🔴" if drift.deleted else "🟡"
    head = f"{icon} {_named(drift.address)} {phrases.drift_sentence(drift)}"
    about = _aside(drift.location, drift.id)
    if drift.blame:
        about.append(_spans(drift.blame))
    fields = _diff_block(drift_entries(drift, width=_WIDTH))
    return _folded(head, [_joined(about), fields], is_open=True)


def _unmanaged_sections(plan: Plan) -> list[Section]:
    if not plan.unmanaged:
        return []
    return [Section(partial(_unmanaged, plan), "list of unmanaged objects")]


def _unmanaged(plan: Plan) -> str:
    lines = []
    for unmanaged in plan.unmanaged:
        project = f"  (project {unmanaged.project})" if unmanaged.project else ""
        lines.append(f"{unmanaged.kind:16} {unmanaged.id}  {unmanaged.label}{project}")
    head = f"⚪ {count(len(plan.unmanaged), 'object')} not declared in any manifest"
    return _folded(head, [fenced(_bounded(lines))], is_open=False)


def _outputs(outputs: Sequence[OutputChange]) -> str:
    head = f"Outputs: {count(len(outputs), 'change')}"
    return _folded(head, [_diff_block(output_entries(outputs, width=_WIDTH))], is_open=False)


def _named(address: Address) -> str:
    return code(shortened(str(address), 3 * _MOST_NAME))


def _aside(location: SourceLocation | None, id: str | None) -> list[str]:
    parts = filter(None, (phrases.where(location), id))
    return [code_span(shortened(part, 2 * _WIDTH)) for part in parts]


def _joined(parts: Iterable[str]) -> str:
    return " · ".join(parts)


def _outcome(outcome: Outcome) -> str:
    mark, _ = MARKS[outcome.status]
    address = code_span(str(outcome.change.address))
    ident = f" {code_span(outcome.id)}" if outcome.id else ""
    text = f"- {mark} {address} {_spans(phrases.outcome_sentence(outcome))}{ident}\n"
    if outcome.hint:
        text += f"  - {_spans(outcome.hint)}\n"
    if outcome.request_id:
        text += f"  - request id {code_span(outcome.request_id)}\n"
    for note in filter(None, (*outcome.refused, *outcome.notes, outcome.blame)):
        text += f"  - {_spans(note)}\n"
    changed = _diff_block(moved_entries(outcome, width=_WIDTH))
    if not changed:
        return text
    block = "".join(f"  {row}\n" for row in changed.split("\n"))
    return f"{text}\n{block}\n"


def _run(run: RunReference | None) -> str:
    """A paragraph on the run in the history and who started it."""
    if run is None:
        return ""
    who = code_span(shortened(run.origin.summary, 2 * _WIDTH))
    job = f": {web_link(run.origin.url)}" if run.origin.url else "."
    return f"\nRun {run.number}, started by {who}{job}\n"


def _folded(head: str, parts: Iterable[str], *, is_open: bool) -> str:
    body = "\n\n".join(part for part in parts if part)
    attribute = " open" if is_open else ""
    return f"<details{attribute}><summary>{head}</summary>\n\n{body}\n\n</details>\n\n"


def _diff_block(entries: Sequence[FieldRow]) -> str:
    lines = [text for entry in entries for text in _diff_of(entry)]
    return fenced(_bounded(lines), "diff") if lines else ""


def _diff_of(entry: FieldRow) -> Iterator[str]:
    remark = f"  # {entry.remark}" if entry.remark else ""
    if entry.is_pair:
        yield f"- {entry.name}: {entry.before}"
        yield f"+ {entry.name}: {entry.after}{remark}"
        return
    value = f" {entry.value}" if entry.value else ""
    yield f"{_mark_of(entry.sign)} {entry.name}:{value}{remark}"
    yield from map(_body_line, entry.body)


def _mark_of(sign: str) -> str:
    """The first character of a line in a diff block; a value that stays as it is has none."""
    return sign.replace("~", "!").replace("=", " ")


def _body_line(diff_line: DiffLine) -> str:
    # Hosts colour a diff line by its first character; a hunk header marks omitted lines.
    if diff_line.sign == "…":
        return f"@@ … {diff_line.text} @@"
    return f"{diff_line.sign.replace('~', '!')}     {diff_line.text}"


def _bounded(lines: Iterable[str]) -> list[str]:
    """At most `_MOST_LINES` lines and `_MOST_CHARACTERS`, so that no section fills a comment."""
    given = list(lines)
    kept: list[str] = []
    room = _MOST_CHARACTERS
    for text in given[:_MOST_LINES]:
        shown = shortened(text, 2_000)
        # Hosts count characters after escaping, and one can become ten.
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
    if not plan.drift:
        return "none"
    changed = sum(drift.is_changed for drift in plan.drift)
    overdue = sum(bool(drift.overdue) for drift in plan.drift)
    parts = []
    if changed:
        parts.append(f"{count(changed, 'object')} changed outside reconciler")
    if overdue:
        parts.append(f"{count(overdue, 'key')} overdue")
    return ", ".join(parts)
