"""Changes, drift and outcomes as cards that unfold: a summary, remarks, and fields side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Drift, Outcome, OutcomeStatus, Reason
from reconciler.render import phrases
from reconciler.render.differences import DiffLine
from reconciler.render.escape import markup
from reconciler.render.field_rows import (
    FieldRow,
    RowLayout,
    drift_entries,
    moved_entries,
    rows_of,
)
from reconciler.render.findings import change_id, drift_id

_WIDTH = 200
_SPACE = "&#32;"


class Cards:
    """Makes cards until their size reaches `limit` bytes; later ones are without fields."""

    def __init__(self, *, full: bool, limit: int) -> None:
        self._layout = RowLayout(_WIDTH, full)
        self._room = limit
        self._full = full
        self.without_fields = 0
        """How many cards lack their fields, because the page was large enough without them."""

    def change(self, change: Change) -> str:
        """A planned change; open if something is lost."""
        lost = change.is_destructive
        word, verb = str(change.action), phrases.will_be(change)
        if change.blocked:
            word, verb = "blocked", "not planned" if change.reason is Reason.BLOCKED else "skipped"
        place = _place(phrases.where(change.location), change.id, change_id(change))
        remarks = [*_remarks(change), place]
        rows = [] if change.blocked else rows_of(change, self._layout)
        return self._card(change.address, word, verb, remarks, rows, is_open=lost, is_lost=lost)

    def drift(self, drift: Drift) -> str:
        """An object that changed live, with who changed it."""
        word = "deleted" if drift.deleted else "changed"
        blame = [f"<p>{markup(drift.blame)}</p>"] if drift.blame else []
        place = _place(phrases.where(drift.location), drift.id, drift_id(drift))
        rows = drift_entries(drift, self._layout)
        remarks = [*blame, place]
        sentence = phrases.drift_sentence(drift)
        return self._card(drift.address, word, sentence, remarks, rows, is_open=True)

    def outcome(self, outcome: Outcome) -> str:
        """How a change ended; open if it failed."""
        change = outcome.change
        is_applied = outcome.status is OutcomeStatus.APPLIED
        lines = [outcome.hint, *outcome.refused, *outcome.notes, outcome.blame]
        if outcome.request_id:
            lines.append(f"Request id: {outcome.request_id}")
        if outcome.seconds:
            lines.append(f"It took {phrases.duration(outcome.seconds)}.")
        remarks = [f"<p>{markup(line)}</p>" for line in lines if line]
        remarks.append(_place(phrases.where(change.location), outcome.id or change.id))
        rows = moved_entries(outcome, self._layout)
        if not rows and change.action is not Action.NO_OP:
            rows = rows_of(change, self._layout)
        sentence = phrases.outcome_sentence(outcome)
        is_open = not is_applied or bool(outcome.refused)
        word = str(outcome.status)
        return self._card(
            change.address, word, sentence, remarks, rows, is_open=is_open, is_lost=not is_applied
        )

    def _card(
        self,
        address: Address,
        word: str,
        sentence: str,
        remarks: Iterable[str],
        rows: Sequence[FieldRow],
        *,
        is_open: bool,
        is_lost: bool = False,
    ) -> str:
        fields = "".join(_field_rows(rows))
        if len(fields) > self._room and not self._full:
            self.without_fields += 1
            fields = ""
        self._room -= len(fields)
        table = f'<table class="fields"><tbody>{fields}</tbody></table>' if fields else ""
        marked = ' class="lost"' if is_lost else ""
        attributes = (
            f'{marked} data-action="{word}" data-kind="{markup(address.kind)}"'
            f' data-project="{markup(address.project or "")}"'
        )
        return (
            f"<article{attributes}><details{' open' if is_open else ''}><summary>"
            f'<span class="mark {word}">{word}</span>{_SPACE}<code>{markup(str(address))}</code> '
            f"{markup(sentence)}</summary>"
            f'<div class="more">{"".join(remarks)}{table}</div></details></article>\n'
        )


def _remarks(change: Change) -> Iterator[str]:
    if lost := phrases.destruction(change):
        yield f'<p class="lost-text">Destroys: {markup(lost)}.</p>'
    if steps := phrases.steps(change):
        yield f"<p>{markup(steps[:1].upper() + steps[1:])}.</p>"
    sentences = [phrases.job_note(change), phrases.marking(change), change.blocked]
    if change.renamed_from:
        sentences.append(f"renamed from {change.renamed_from}")
    sentences += map(phrases.key_step, change.keys)
    sentences += map(phrases.key_step, change.keys)
    sentences += [f"warning: {warning}" for warning in change.warnings]
    if change.depends_on:
        sentences.append(f"depends on {', '.join(map(str, change.depends_on))}")
    for sentence in filter(None, sentences):
        yield f"<p>{markup(sentence[:1].upper() + sentence[1:])}</p>"


def _place(*parts: str | None) -> str:
    shown = " · ".join(f"<code>{markup(part)}</code>" for part in parts if part)
    return f'<p class="soft">{shown}</p>' if shown else ""


def _field_rows(rows: Iterable[FieldRow]) -> Iterator[str]:
    for row in rows:
        remark = f' <span class="soft">{markup(row.remark)}</span>' if row.remark else ""
        name = f'<tr><th scope="row">{markup(row.name)}{remark}'
        if row.is_pair:
            yield f'{name}<td class="b">{markup(row.before or "")}<td class="a">{markup(row.after or "")}'
            continue
        value = markup(row.value or "")
        side = {"+": ' class="a"', "-": ' class="b"'}.get(row.sign, "")
        if not row.body:
            yield f'{name}<td colspan="2"{side}>{value}'
            continue
        shown = f"<p>{value}</p>" if value else ""
        yield f'{name}<td colspan="2">{shown}{_body(row.body)}'


def _body(lines: Sequence[DiffLine]) -> str:
    """Lines with a common sign as one text, others side by side."""
    signs = {line.sign for line in lines}
    if len(signs - {"…"}) <= 1 and signs != {"~"}:
        side = {"+": ' class="a"', "-": ' class="b"'}.get(lines[0].sign, "")
        text = "\n".join(markup(_said(line)) for line in lines)
        return f"<pre{side}>{text}</pre>"
    return f'<table class="sides"><tbody>{"".join(_sides(lines))}</tbody></table>'


def _said(line: DiffLine) -> str:
    return f"… {line.text}" if line.sign == "…" else line.text


def _sides(lines: Sequence[DiffLine]) -> Iterator[str]:
    before: list[str] = []
    after: list[str] = []
    for line in lines:
        if line.sign == "-":
            before.append(line.text)
        elif line.sign == "+":
            after.append(line.text)
        else:
            yield from _beside(before, after)
            before, after = [], []
            text = markup(_said(line))
            if line.sign == " ":
                yield f"<tr><td>{text}<td>{text}"
            else:
                yield f'<tr><td class="gap" colspan="2">{text}'
    yield from _beside(before, after)


def _beside(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    for at in range(max(len(before), len(after))):
        left = f'<td class="b">{markup(before[at])}' if at < len(before) else "<td>"
        right = f'<td class="a">{markup(after[at])}' if at < len(after) else "<td>"
        yield f"<tr>{left}{right}"
