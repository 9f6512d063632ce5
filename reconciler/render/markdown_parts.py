"""The parts of a comment: a change, a drifted object, an outcome, a problem, a table of counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from reconciler.model.address import Address
from reconciler.model.change import (
    Action,
    Change,
    Drift,
    Outcome,
    OutputChange,
    Plan,
    count_actions,
)
from reconciler.model.diagnostic import Diagnostic, Severity, SourceLocation
from reconciler.model.finding import Finding, Level
from reconciler.model.run_origin import RunReference
from reconciler.render import phrases
from reconciler.render.differences import DiffLine
from reconciler.render.escape import code, code_span, fenced, markup, prose, web_link
from reconciler.render.field_rows import (
    FieldRow,
    RowLayout,
    drift_entries,
    moved_entries,
    output_entries,
    rows_of,
)
from reconciler.render.findings import change_id, drift_id, problem_id
from reconciler.render.lines import shortened
from reconciler.render.text import MARKS
from reconciler.render.values import brief, count, enclosed, filled_lines, inline

ICONS = {
    Action.CREATE: "🟢",
    Action.UPDATE: "🟡",
    Action.REPLACE: "🟣",
    Action.DELETE: "🔴",
    Action.ADOPT: "🔵",
    Action.FORGET: "⚪",
}
_SEVERITY_ICONS = {Severity.ERROR: "❌", Severity.WARNING: "⚠️"}
_LEVEL_ICONS = {Level.ERROR: "❌", Level.WARNING: "⚠️", Level.NOTE: "ℹ️"}
_WIDTH = 100
# One section may take about an eighth of a comment, so that a single long value hides no others.
_MOST_LINES = 150
_MOST_CHARACTERS = 8_000
_MOST_ROWS = 25
_MOST_FIELDS = 6
# Answers of the API are quoted in sentences, and can be whole pages of HTML.
_MOST_SENTENCE = 2_000
_MOST_VALUE = 500
_ADDRESS_WIDTH = 120
MOST_NAME = 40
"""The width at which names of projects, stacks and fields are cut."""


class Parts:
    """Makes the parts of a comment as Markdown. Values and sentences are cut, unless `full`.

    Public methods whose names end in `_line` make the short form of a part.
    """

    def __init__(self, *, full: bool) -> None:
        self._full = full
        self._layout = RowLayout(_WIDTH, full)

    # --- plans ------------------------------------------------------------------------------------

    def change(self, change: Change) -> str:
        """A folded part with the fields of a change; open if something is lost."""
        lost = change.is_destructive
        named = self._named(change.address)
        head = f"{ICONS[change.action]} {named} will be {phrases.done(change)}"
        remarks = [self._about(change), *self._aside(change.location, change.id)]
        if lost:
            head += " ⚠️ <b>destroys</b>"
            # Nobody looks up ordinary changes as findings.
            remarks.append(code_span(change_id(change)))
        about = " · ".join(remarks)
        return _folded(head, [about, self._diff(rows_of(change, self._layout))], is_open=lost)

    def change_line(self, change: Change) -> str:
        """A change as a list item, without its fields."""
        lost = change.destroys
        destroys = enclosed(" ⚠️ **destroys**: ", self.spans(lost))
        named = self._address(change.address)
        icon = ICONS[change.action]
        return f"- {icon} {named} will be {phrases.done(change)}{destroys}\n"

    def outputs(self, outputs: Sequence[OutputChange]) -> str:
        """The changed outputs, folded."""
        head = f"Outputs: {count(len(outputs), 'change')}"
        return _folded(head, [self._diff(output_entries(outputs, self._layout))], is_open=False)

    def unmanaged(self, plan: Plan) -> str:
        """The unmanaged objects, folded."""
        lines = []
        for unmanaged in plan.unmanaged:
            project = enclosed("  (project ", unmanaged.project, ")")
            lines.append(f"{unmanaged.kind:16} {unmanaged.id}  {unmanaged.label}{project}")
        head = f"⚪ {count(len(plan.unmanaged), 'object')} not declared in any manifest"
        return _folded(head, [fenced(self._bounded(lines))], is_open=False)

    def _about(self, change: Change) -> str:
        reason: str = change.reason
        # Our own reasons need no escaping; the name of a rule does.
        if change.matched_by:
            reason = self.spans(phrases.why(change))
        parts = [f"{phrases.capitalized(reason)}."]
        if lost := change.destroys:
            parts.append(f"**Destroys:** {self.spans(lost)}.")
        if steps := phrases.steps(change):
            parts.append(f"{phrases.capitalized(steps)}.")
        for sentence in map(phrases.key_step, change.keys):
            escaped = self.spans(sentence)
            parts.append(f"{phrases.capitalized(escaped)}.")
        if change.action is Action.ADOPT and change.mark:
            parts.append(f"Writes the mark {code_span(change.mark)} to its metadata.")
        if change.renamed_from:
            parts.append(f"Renamed from {code_span(str(change.renamed_from))}.")
        return " ".join(parts)

    # --- drift and outcomes -----------------------------------------------------------------------

    def drift(self, drift: Drift) -> str:
        """A drifted object, with its fields."""
        sentence = markup(phrases.drift_sentence(drift))
        head = f"{_drift_icon(drift)} {self._named(drift.address)} {sentence}"
        about = self._aside(drift.location, drift.id)
        if drift.blame:
            about.append(self.spans(drift.blame))
        about.append(code_span(drift_id(drift)))
        fields = self._diff(drift_entries(drift, self._layout))
        return _folded(head, [" · ".join(about), fields], is_open=True)

    def drift_line(self, drift: Drift) -> str:
        """A drifted object as a list item, with the names of its fields."""
        names = [field.dotted for field in drift.fields[:_MOST_FIELDS]]
        fields = ", ".join(code_span(shortened(name, MOST_NAME)) for name in names)
        sentence = self.spans(phrases.drift_sentence(drift)) + enclosed(": ", fields)
        return f"- {_drift_icon(drift)} {self._address(drift.address)} {sentence}\n"

    def outcome(self, outcome: Outcome) -> str:
        """An outcome as a list item, with its hint, notes and changed fields."""
        text = self._outcome_head(outcome)
        if outcome.hint:
            text += f"  - {self.spans(outcome.hint)}\n"
        if outcome.request_id:
            text += f"  - request id {code_span(outcome.request_id)}\n"
        for note in filter(None, (*outcome.refused, *outcome.notes, outcome.blame)):
            text += f"  - {self.spans(note)}\n"
        changed = self._diff(moved_entries(outcome, self._layout))
        if not changed:
            return text
        # Indented, so that the block belongs to the list item.
        block = changed.replace("\n", "\n  ")
        return f"{text}\n  {block}\n\n"

    def outcome_line(self, outcome: Outcome) -> str:
        """An outcome in one line."""
        mark, _ = MARKS[outcome.status]
        address = self._address(outcome.change.address)
        return f"- {mark} {address} {prose(phrases.outcome_verb(outcome))}\n"

    def _outcome_head(self, outcome: Outcome) -> str:
        mark, _ = MARKS[outcome.status]
        address = code_span(self._cut(str(outcome.change.address), 2 * _MOST_SENTENCE))
        head = f"- {mark} {address} {self.spans(phrases.outcome_sentence(outcome))}"
        if outcome.id:
            head += f" {code_span(outcome.id)}"
        return f"{head}\n"

    # --- sentences --------------------------------------------------------------------------------

    def refusal(self, finding: Finding) -> str:
        """A refusal of a guard or a policy, as a list item."""
        sentence, _, more = finding.message.partition("\n")
        ident = code_span(finding.id)
        return f"- ⛔ **refused** {self.spans(sentence)} · {ident}{self._detail(more)}\n"

    def finding(self, finding: Finding) -> str:
        """A finding that is not part of the plan, as a list item."""
        icon = _LEVEL_ICONS.get(finding.level, "✅")
        title = prose(shortened(finding.rule.title, _ADDRESS_WIDTH))
        about = filter(None, (finding.about, phrases.where(finding.location)))
        where = enclosed(" (", ", ".join(map(code_span, about)), ")")
        detail = self._detail(finding.detail)
        message = self.spans(finding.message)
        return f"- {icon} **{title}** {message}{where} · {code_span(finding.id)}{detail}\n"

    def warning(self, change: Change, warning: str) -> str:
        """A warning about a change, as a list item."""
        return f"- ⚠️ **warning** {code_span(str(change.address))}: {self.spans(warning)}\n"

    def note(self, change: Change, text: str) -> str:
        """A remark about a resource, as a list item."""
        return f"- {code_span(str(change.address))}: {self.spans(text)}\n"

    def problem(self, diagnostic: Diagnostic) -> str:
        """A diagnostic, as a list item."""
        icon = _SEVERITY_ICONS[diagnostic.severity]
        about = filter(None, (diagnostic.location, diagnostic.address, problem_id(diagnostic)))
        aside = ", ".join(code_span(str(part)) for part in about)
        head = f"- {icon} **{diagnostic.severity}** {self.spans(diagnostic.summary)}"
        return f"{head} ({aside}){self._detail(diagnostic.detail)}\n"

    def row(self, name: str, value: Any) -> str:
        """The row of an output."""
        shown = inline(value)
        if not self._full:
            shown = shortened(brief(value, _WIDTH) or shown, _MOST_VALUE)
        return f"| {code_span(name, in_table=True)} | {code_span(shown, in_table=True)} |\n"

    def spans(self, text: str) -> str:
        """A sentence, without markup of its own."""
        return prose(self._cut(text, _MOST_SENTENCE))

    def _detail(self, text: str) -> str:
        # Two blanks at the end of a line break it without ending the list item.
        return "".join(f"  \n  {self.spans(line)}" for line in filled_lines(text))

    # --- pieces -----------------------------------------------------------------------------------

    def _address(self, address: Address) -> str:
        return code_span(self._cut(str(address), _ADDRESS_WIDTH))

    def _named(self, address: Address) -> str:
        """An address for the summary of a folded part, which is HTML."""
        return code(self._cut(str(address), _ADDRESS_WIDTH))

    def _aside(self, location: SourceLocation | None, id: str | None) -> list[str]:
        parts = filter(None, (phrases.where(location), id))
        return [code_span(self._cut(part, 2 * _WIDTH)) for part in parts]

    def _diff(self, entries: Sequence[FieldRow]) -> str:
        lines: list[str] = []
        for entry in entries:
            lines += _diff_of(entry)
        if not lines:
            return ""
        return fenced(self._bounded(lines), "diff")

    def _cut(self, text: str, width: int) -> str:
        if self._full:
            return text
        return shortened(text, width)

    def _bounded(self, lines: Iterable[str]) -> list[str]:
        """At most `_MOST_LINES` lines and `_MOST_CHARACTERS`, so that no section fills a comment."""
        given = list(lines)
        if self._full:
            return given
        kept: list[str] = []
        room = _MOST_CHARACTERS
        for text in given[:_MOST_LINES]:
            shown = shortened(text, _MOST_SENTENCE)
            # Hosts count characters after escaping, and one can become ten.
            room -= len(markup(shown)) + 1
            if room < 0:
                break
            kept.append(shown)
        left_out = len(given) - len(kept)
        if left_out:
            kept.append(f"@@ … {count(left_out, 'more line')} @@")
        return kept


def table(changes: Sequence[Change]) -> str:
    """Changes by scope and action; scopes beyond `_MOST_ROWS` share the last row."""
    scopes = phrases.by_scope(changes)
    actions = [action for action in count_actions(changes) if action is not Action.NO_OP]
    rows = [(_scope(name), own) for name, own in scopes[:_MOST_ROWS]]
    rest: list[Change] = []
    for _, own in scopes[_MOST_ROWS:]:
        rest += own
    if rest:
        rows.append((f"{len(scopes) - _MOST_ROWS:,} more projects", rest))
    heads = [f"{ICONS[action]} {action}" for action in actions]
    lines = [f"| | {' | '.join(heads)} |", "| --- |" + " ---: |" * len(actions)]
    for name, own in rows:
        counts = count_actions(own)
        numbers = [str(counts.get(action, "")) for action in actions]
        lines.append(f"| {name} | {' | '.join(numbers)} |")
    return "\n".join(lines) + "\n\n"


def group_of(entry: Change | Drift) -> str:
    """The heading of the short forms of a project, as HTML."""
    heading = phrases.heading_of(entry)
    if heading in (phrases.ORGANIZATION, phrases.DEFAULT_PROJECT):
        return heading
    first, _, name = heading.partition(" ")
    return f"{first} {code(shortened(name, MOST_NAME))}"


def run_line(run: RunReference | None) -> str:
    """A paragraph on the run in the history and who started it."""
    if run is None:
        return ""
    who = code_span(shortened(run.origin.summary, 2 * _WIDTH))
    started = f"\nRun {run.number}, started by {who}"
    if not run.origin.url:
        return f"{started}.\n"
    return f"{started}: {web_link(run.origin.url)}\n"


def _scope(heading: str) -> str:
    if heading in (phrases.ORGANIZATION, phrases.DEFAULT_PROJECT):
        return heading
    first, _, name = heading.partition(" ")
    return f"{first} {code_span(shortened(name, MOST_NAME), in_table=True)}"


def _folded(head: str, parts: Iterable[str], *, is_open: bool) -> str:
    body = "\n\n".join(filter(None, parts))
    opening = "<details>"
    if is_open:
        opening = "<details open>"
    return f"{opening}<summary>{head}</summary>\n\n{body}\n\n</details>\n\n"


def _diff_of(entry: FieldRow) -> Iterator[str]:
    remark = enclosed("  # ", entry.remark)
    if entry.is_pair:
        yield f"- {entry.name}: {entry.before}"
        yield f"+ {entry.name}: {entry.after}{remark}"
        return
    value = enclosed(" ", entry.value)
    yield f"{_mark_of(entry.sign)} {entry.name}:{value}{remark}"
    yield from map(_body_line, entry.body)


def _mark_of(sign: str) -> str:
    """The first character of a line in a diff block; an unchanged value has none."""
    # Highlighters know `!` as the sign of a changed line, and not `~`.
    return sign.replace("~", "!").replace("=", " ")


def _body_line(diff_line: DiffLine) -> str:
    # Hosts colour a diff line by its first character; a hunk header marks omitted lines.
    if diff_line.sign == "…":
        return f"@@ … {diff_line.text} @@"
    return f"{diff_line.sign.replace('~', '!')}     {diff_line.text}"


def _drift_icon(drift: Drift) -> str:
    if drift.deleted:
        return "🔴"
    return "🟡"
