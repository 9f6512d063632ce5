"""Changes, drift and outcomes as cards that unfold: a summary, remarks, and fields side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest

from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Drift, Outcome, OutcomeStatus, Reason
from reconciler.render import phrases
from reconciler.render.differences import DiffLine
from reconciler.render.escape import code, markup
from reconciler.render.field_rows import (
    FieldRow,
    RowLayout,
    drift_entries,
    moved_entries,
    rows_of,
)
from reconciler.render.findings import change_id, drift_id
from reconciler.render.values import enclosed

_WIDTH = 200
# The style sheet calls the two sides of a comparison `b` (before) and `a` (after).
_SIDES = {"-": ' class="b"', "+": ' class="a"'}


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
        place = _place(phrases.where(change.location), change.id, change_id(change))
        remarks = [*_remarks(change), place]
        if change.blocked:
            word, verb, rows = "blocked", "skipped", []
            if change.reason is Reason.BLOCKED:
                verb = "not planned"
        else:
            word, verb = str(change.action), phrases.will_be(change)
            rows = rows_of(change, self._layout)
        return self._card(change.address, word, verb, remarks, rows, is_open=lost, is_lost=lost)

    def drift(self, drift: Drift) -> str:
        """An object that changed live, with who changed it."""
        place = _place(phrases.where(drift.location), drift.id, drift_id(drift))
        remarks = [enclosed("<p>", markup(drift.blame), "</p>"), place]
        rows = drift_entries(drift, self._layout)
        sentence = phrases.drift_sentence(drift)
        return self._card(drift.address, drift_word(drift), sentence, remarks, rows, is_open=True)

    def outcome(self, outcome: Outcome) -> str:
        """The outcome of a change; open if it failed."""
        change = outcome.change
        is_applied = outcome.status is OutcomeStatus.APPLIED
        lines = [outcome.hint, *outcome.refused, *outcome.notes, outcome.blame]
        if outcome.request_id:
            lines.append(f"Request id: {outcome.request_id}")
        if outcome.seconds:
            lines.append(f"It took {phrases.duration(outcome.seconds)}.")
        remarks = [enclosed("<p>", markup(line), "</p>") for line in lines]
        remarks.append(_place(phrases.where(change.location), outcome.id or change.id))
        # Changes by somebody else since the plan say more than the planned change.
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
        table = enclosed('<table class="fields"><tbody>', fields, "</tbody></table>")
        # The script of the page filters cards by these attributes.
        attributes = {"action": word, "kind": address.kind, "project": address.project or ""}
        return card(
            attributes,
            f"{mark(word, word)}<code>{markup(str(address))}</code> {markup(sentence)}",
            f"{''.join(remarks)}{table}",
            is_open=is_open,
            is_lost=is_lost,
        )


def card(
    attributes: Mapping[str, str], summary: str, content: str, *, is_open: bool, is_lost: bool
) -> str:
    """The markup of a card: a summary, and the content that it unfolds."""
    opening = "<article"
    if is_lost:
        opening += ' class="lost"'
    for name, value in attributes.items():
        opening += f' data-{name}="{markup(value)}"'
    details = "<details>"
    if is_open:
        details = "<details open>"
    return (
        f"{opening}>{details}<summary>{summary}</summary>"
        f'<div class="more">{content}</div></details></article>\n'
    )


def mark(style: str, word: str) -> str:
    """The coloured word at the beginning of a card."""
    return f'<span class="mark {style}">{word}</span>&#32;'


def drift_word(drift: Drift) -> str:
    """The word on the card of a drifted object, by which the page filters."""
    if drift.deleted:
        return "deleted"
    return "changed"


def _remarks(change: Change) -> Iterator[str]:
    if lost := change.destroys:
        yield f'<p class="lost-text">Destroys: {markup(lost)}.</p>'
    if steps := phrases.steps(change):
        yield f"<p>{markup(phrases.capitalized(steps))}.</p>"
    sentences = [phrases.job_note(change), phrases.marking(change), change.blocked]
    if change.renamed_from:
        sentences.append(f"renamed from {change.renamed_from}")
    sentences += map(phrases.key_step, change.keys)
    sentences += [f"warning: {warning}" for warning in change.warnings]
    if change.depends_on:
        sentences.append(f"depends on {', '.join(map(str, change.depends_on))}")
    for sentence in filter(None, sentences):
        yield f"<p>{markup(phrases.capitalized(sentence))}</p>"


def _place(*parts: str | None) -> str:
    shown = " · ".join(map(code, filter(None, parts)))
    return enclosed('<p class="soft">', shown, "</p>")


def _field_rows(rows: Iterable[FieldRow]) -> Iterator[str]:
    for row in rows:
        remark = enclosed(' <span class="soft">', markup(row.remark), "</span>")
        # HTML closes cells and rows by itself, and a page can have many thousands of them.
        name = f'<tr><th scope="row">{markup(row.name)}{remark}'
        if row.is_pair:
            yield f'{name}<td class="b">{markup(row.before or "")}<td class="a">{markup(row.after or "")}'
            continue
        value = markup(row.value or "")
        if not row.body:
            yield f'{name}<td colspan="2"{_SIDES.get(row.sign, "")}>{value}'
            continue
        shown = enclosed("<p>", value, "</p>")
        yield f'{name}<td colspan="2">{shown}{_body(row.body)}'


def _body(lines: Sequence[DiffLine]) -> str:
    """Lines with a common sign as one text, others side by side."""
    signs = {line.sign for line in lines}
    if len(signs - {"…"}) <= 1 and signs != {"~"}:
        text = "\n".join(markup(_text_of(line)) for line in lines)
        return f"<pre{_SIDES.get(lines[0].sign, '')}>{text}</pre>"
    return f'<table class="sides"><tbody>{"".join(_sides(lines))}</tbody></table>'


def _text_of(line: DiffLine) -> str:
    if line.sign == "…":
        return f"… {line.text}"
    return line.text


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
            text = markup(_text_of(line))
            if line.sign == " ":
                yield f"<tr><td>{text}<td>{text}"
            else:
                yield f'<tr><td class="gap" colspan="2">{text}'
    yield from _beside(before, after)


def _beside(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    for left, right in zip_longest(before, after):
        yield f"<tr>{_side('-', left)}{_side('+', right)}"


def _side(sign: str, text: str | None) -> str:
    if text is None:
        return "<td>"
    return f"<td{_SIDES[sign]}>{markup(text)}"
