"""A fleet as a page: a card for each stack that needs attention, and a list of the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from reconciler.model.fleet import FleetReport, StackReport, StackStatus
from reconciler.render.escape import markup
from reconciler.render.fleet import (
    cost,
    headline,
    is_critical,
    is_quiet,
    notes_of,
    sentence_of,
    stacks_by_status,
)
from reconciler.render.html.cards import card, mark
from reconciler.render.html.page import section
from reconciler.render.html.parts import filters
from reconciler.render.values import enclosed, redacted

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

Groups = dict[StackStatus, list[StackReport]]


def fleet_headline(report: FleetReport) -> tuple[str, str]:
    """The result of the run in one sentence, and the verdict `good` or `bad`."""
    verdict = "good"
    if any(stack.status.rank <= StackStatus.DRIFTED.rank for stack in report.stacks):
        verdict = "bad"
    return f"{headline(report)}.", verdict


def fleet_content(report: FleetReport) -> Iterator[str]:
    """The sections of the page."""
    shown: Groups = {}
    quiet: Groups = {}
    for status, stacks in stacks_by_status(report).items():
        if is_quiet(status, report.command):
            quiet[status] = stacks
        else:
            shown[status] = stacks
    if shown:
        yield section("Stacks", [_tools(shown), *_card_groups(shown)], id="stacks")
    for status, stacks in quiet.items():
        # Several statuses have the same style, and ids must be unique.
        id = f"{_STYLES[status]}{status.rank}"
        yield section(f"{_title(status)}: {len(stacks):,}", _quiet_list(stacks), id=id)
    digest = ""
    if report.digest:
        digest = f'<p class="soft digest">Fleet digest: <code>{report.digest}</code></p>\n'
    yield section("Calls and time", [f"<p>{markup(cost(report))}</p>\n", digest], id="cost")


def _title(status: StackStatus) -> str:
    return str(status).capitalize()


def _card_groups(groups: Groups) -> Iterator[str]:
    for status, stacks in groups.items():
        yield f'<div data-group="{status}">\n<h3>{_title(status)}: {len(stacks):,}</h3>\n'
        yield from map(_card, stacks)
        yield "</div>\n"


def _quiet_list(stacks: Sequence[StackReport]) -> Iterator[str]:
    yield f'<details><summary>{len(stacks):,} listed</summary><ul class="mono">\n'
    for stack in stacks:
        yield f"<li>{_quiet_line(stack)}</li>\n"
    yield "</ul></details>\n"


def _tools(groups: Groups) -> str:
    stacks = list(chain.from_iterable(groups.values()))
    environments = sorted({stack.id.environment for stack in stacks} - {""})
    organizations = sorted({stack.organization for stack in stacks} - {""})
    words = list(map(str, groups))
    # The script of the page filters by these two attributes, regardless of their labels.
    return filters(
        words,
        ("project", "Environment", environments),
        ("kind", "Organization", organizations),
    )


def _card(stack: StackReport) -> str:
    is_lost = is_critical(stack)
    attributes = {
        "action": str(stack.status),
        "project": stack.id.environment,
        "kind": stack.organization,
    }
    sentence = enclosed("", stack.reason, ": ") + redacted(sentence_of(stack))
    head = mark(_STYLES[stack.status], stack.status)
    return card(
        attributes,
        f"{head}<code>{markup(str(stack.id))}</code> {markup(sentence)}",
        "".join(_details(stack)),
        is_open=is_lost,
        is_lost=is_lost,
    )


def _details(stack: StackReport) -> Iterator[str]:
    notes = list(notes_of(stack, most=_MOST))
    if notes:
        yield '<ul class="problems">\n'
        for note in notes:
            level = "warning"
            if note.style == "red":
                level = "error"
            head = enclosed("<code>", markup(note.head), "</code> ")
            yield f'<li class="{level}">{head}{markup(redacted(note.text))}</li>\n'
        yield "</ul>\n"
    if stack.next_command:
        yield f'<p class="soft">Next: <code>{markup(stack.next_command)}</code></p>'
    about = [enclosed("Organization ", stack.organization), enclosed("Digest ", stack.digest)]
    if stack.calls:
        about.append(f"{stack.calls:,} calls")
    shown = markup(" · ".join(filter(None, about)))
    yield enclosed('<p class="soft digest">', shown, "</p>")


def _quiet_line(stack: StackReport) -> str:
    text = ""
    if stack.health is not None or stack.outcomes:
        text = f" {sentence_of(stack)}"
    return f"<code>{markup(str(stack.id))}</code>{markup(redacted(text))}"
