"""A fleet as a page: a card for each stack that needs a look, and a list of the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.model.fleet import FleetReport, StackReport, StackStatus
from reconciler.render.escape import markup
from reconciler.render.fleet import (
    cost,
    headline,
    is_quiet,
    notes_of,
    sentence_of,
    stacks_by_status,
)
from reconciler.render.html.page import section
from reconciler.render.html.parts import filters
from reconciler.render.values import redacted

_STYLES = {
    StackStatus.FAILED: "failed",
    StackStatus.REFUSED: "failed",
    StackStatus.LOCKED: "skipped",
    StackStatus.DRIFTED: "changed",
    StackStatus.PENDING: "update",
    StackStatus.INTERRUPTED: "skipped",
    StackStatus.APPLIED: "applied",
    StackStatus.IN_SYNC: "applied",
}
"""The classes of marks, by which the style sheet colours them."""
_MOST = 50
_SPACE = "&#32;"


def fleet_headline(report: FleetReport) -> tuple[str, str]:
    """What the run found, in one sentence, and whether that is `good` or `bad`."""
    is_bad = any(stack.status.rank <= StackStatus.DRIFTED.rank for stack in report.stacks)
    return f"{headline(report)}.", "bad" if is_bad else "good"


def fleet_content(report: FleetReport) -> Iterator[str]:
    """The sections of the page."""
    groups = stacks_by_status(report)
    shown = {status: own for status, own in groups.items() if not is_quiet(status, report.command)}
    cards = [
        f'<div data-group="{status}">\n<h3>{markup(str(status).capitalize())}: {len(own):,}</h3>\n'
        f"{''.join(map(_card, own))}</div>\n"
        for status, own in shown.items()
    ]
    if cards:
        yield section("Stacks", [_tools(shown), *cards], id="stacks")
    for status, own in groups.items():
        if status not in shown:
            title = str(status).capitalize()
            names = "".join(f"<li>{_quiet_line(stack)}</li>\n" for stack in own)
            body = [
                f"<details><summary>{len(own):,} listed</summary>",
                f'<ul class="mono">\n{names}</ul></details>\n',
            ]
            yield section(f"{title}: {len(own):,}", body, id=_STYLES[status] + str(status.rank))
    digest = ""
    if report.digest:
        digest = f'<p class="soft digest">Fleet digest: <code>{report.digest}</code></p>\n'
    yield section("Calls and time", [f"<p>{markup(cost(report))}</p>\n", digest], id="cost")


def _tools(groups: dict[StackStatus, list[StackReport]]) -> str:
    stacks = [stack for own in groups.values() for stack in own]
    environments = sorted({stack.id.environment for stack in stacks} - {""})
    organizations = sorted({stack.organization for stack in stacks} - {""})
    words = [str(status) for status in groups]
    # The script of the page filters by these two attributes, whatever they are labelled.
    return filters(
        words,
        ("project", "Environment", environments),
        ("kind", "Organization", organizations),
    )


def _card(stack: StackReport) -> str:
    is_lost = stack.status.rank <= StackStatus.REFUSED.rank or stack.destructive > 0
    marked = ' class="lost"' if is_lost else ""
    attributes = (
        f'{marked} data-action="{stack.status}"'
        f' data-project="{markup(stack.id.environment)}" data-kind="{markup(stack.organization)}"'
    )
    reason = f"{stack.reason}: " if stack.reason else ""
    return (
        f"<article{attributes}><details{' open' if is_lost else ''}><summary>"
        f'<span class="mark {_STYLES[stack.status]}">{stack.status}</span>{_SPACE}'
        f"<code>{markup(str(stack.id))}</code> {markup(reason + redacted(sentence_of(stack)))}"
        f'</summary><div class="more">{"".join(_details(stack))}</div></details></article>\n'
    )


def _details(stack: StackReport) -> Iterator[str]:
    notes = list(notes_of(stack, most=_MOST))
    if notes:
        yield '<ul class="problems">\n'
        for note in notes:
            level = "error" if note.style == "red" else "warning"
            head = f"<code>{markup(note.head)}</code> " if note.head else ""
            yield f'<li class="{level}">{head}{markup(redacted(note.text))}</li>\n'
        yield "</ul>\n"
    if stack.next_command:
        yield f'<p class="soft">Next: <code>{markup(stack.next_command)}</code></p>'
    about: Sequence[str] = [
        text
        for text in (
            f"Organization {stack.organization}" if stack.organization else "",
            f"Digest {stack.digest}" if stack.digest else "",
            f"{stack.calls:,} calls" if stack.calls else "",
        )
        if text
    ]
    if about:
        yield f'<p class="soft digest">{markup(" · ".join(about))}</p>'


def _quiet_line(stack: StackReport) -> str:
    text = f" {sentence_of(stack)}" if stack.standing is not None or stack.outcomes else ""
    return f"<code>{markup(str(stack.id))}</code>{markup(redacted(text))}"
