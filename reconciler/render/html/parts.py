"""The other parts of a page: verdict, problems, counts, filters, graph, history."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain, product

from reconciler.model.address import Address
from reconciler.model.change import Change, Drift, Outcome, Plan, count_actions
from reconciler.model.finding import CaseVerdict, Finding
from reconciler.model.report import PastRun, Report
from reconciler.render import phrases
from reconciler.render.escape import markup
from reconciler.render.graph import Edge, svg
from reconciler.render.html.page import table
from reconciler.render.values import count, enclosed, filled_lines, tally, unique

_MOST_ROWS = 12
# A picture with more boxes is too large for a screen. There are fewer kinds than the second.
_MOST_NODES = 80
_MOST_KINDS = 40
_DIGEST_SHOWN = 12
_TEXT_COLUMNS = frozenset({1, 2, 3, 4, 5, 6})

Entry = Change | Drift | Outcome


def headline(report: Report) -> tuple[str, str]:
    """The result of the run in one sentence, and a verdict: `good`, `bad`, or empty for neither."""
    if report.failed:
        return "The run failed. Nothing in it says what the live objects are like now.", "bad"
    if report.fleet is not None:
        from reconciler.render.html.fleet import fleet_headline

        return fleet_headline(report.fleet)
    if report.result is not None:
        return phrases.result_totals(report.result), _verdict(phrases.is_complete(report.result))
    if report.checks is not None:
        from reconciler.render.checks import totals

        return totals(report.checks), _verdict(report.checks.passed)
    if report.plan is not None and report.is_drift:
        text = phrases.drift_totals(report.plan, unmanaged=report.unmanaged)
        return text, _verdict(not report.plan.drift)
    if report.plan is not None:
        text = phrases.plan_totals(report.plan)
        if report.refusals:
            return f"Refused by {count(len(report.refusals), 'guard')}. {text}", "bad"
        # A plan with changes is neither good nor bad.
        return text, "bad" if report.plan.blocked else ""
    if report.diagnostics:
        return phrases.diagnostic_totals(report.diagnostics), "bad"
    return "The manifests are valid.", "good"


def problems(findings: Iterable[Finding]) -> str:
    """Findings as a list: message, place, remedy, id."""
    items = "".join(map(_problem, findings))
    return enclosed('<ul class="problems">\n', items, "</ul>\n")


def counts(changes: Sequence[Change]) -> str:
    """The changes by project and action."""
    if not changes:
        return ""
    actions = count_actions(changes)
    rows = []
    for heading, own in phrases.by_scope(changes):
        numbers = count_actions(own)
        rows.append([heading, *(str(numbers.get(action, "")) for action in actions)])
    shown = table(["", *actions], rows, text=frozenset())
    if len(rows) <= _MOST_ROWS:
        return shown
    # The changes themselves must not begin far down the page.
    return f"<details><summary>By project: {len(rows):,}</summary>{shown}</details>\n"


def tools(entries: Sequence[Entry], words: Collection[str]) -> str:
    """Search and filters. The script shows them, because they do nothing without it."""
    addresses = list(map(_address, entries))
    projects = sorted(unique(filter(None, (address.project for address in addresses))))
    kinds = sorted(unique(address.kind for address in addresses))
    return filters(words, ("project", "Project", projects), ("kind", "Kind", kinds))


Choice = tuple[str, str, Sequence[str]]
"""The id of a selection, its label and its values."""


def filters(words: Collection[str], first: Choice, second: Choice) -> str:
    """Search, two selections, and a box for each word."""
    boxes = "".join(
        f'<label><input type="checkbox" value="{word}" checked> {word}</label>' for word in words
    )
    return (
        '<form class="tools" id="tools" role="search" aria-label="Filter" hidden>\n'
        '<label>Search <input type="search" id="search" autocomplete="off" '
        'aria-describedby="status" title="Press / to search"></label>\n'
        f"{_choice(*first)}{_choice(*second)}"
        f"<fieldset><legend>Show</legend>{boxes}</fieldset>\n"
        '<button type="button" id="open">Unfold all</button>\n'
        '<button type="button" id="close">Fold all</button>\n'
        '<output id="status" aria-live="polite"></output>\n</form>\n'
    )


def graph(changes: Sequence[Change]) -> str:
    """The dependencies between changed objects, or between their kinds if there are too many."""
    edges: list[Edge] = []
    for change in changes:
        edges += product((change.address,), change.depends_on)
    nodes = sorted(set(chain.from_iterable(edges)))
    note = ""
    if len(nodes) > _MOST_NODES:
        note = f"<p>{count(len(nodes), 'object')}, shown by kind.</p>\n"
        nodes = sorted(set(map(_kind_of, nodes)))[:_MOST_KINDS]
        edges = _edges_of_kinds(edges, frozenset(nodes))
    if not edges:
        return ""
    label = f"Dependencies of {count(len(nodes), 'node')}, in {count(len(edges), 'arrow')}"
    picture = svg(nodes, edges, label=label, styled=False)
    scroll = '<div class="scroll graph" tabindex="0" role="group" aria-label="Graph">'
    return f"{note}{scroll}{picture}</div>\n{_edges(edges)}"


def _edges_of_kinds(edges: Iterable[Edge], kinds: frozenset[Address]) -> list[Edge]:
    """The edges between objects of two different `kinds`, one for each pair of kinds."""
    pairs = {(_kind_of(start), _kind_of(end)) for start, end in edges}
    return sorted(pair for pair in pairs if len(kinds.intersection(pair)) == 2)


def history(runs: Sequence[PastRun]) -> str:
    """The latest runs of the stack."""
    heads = ("Run", "When", "Who", "Command", "Plan", "Status", "Changes")
    rows = []
    for run in runs:
        changed = ", ".join(tally(run.counts))
        digest = run.digest[:_DIGEST_SHOWN]
        rows.append((str(run.number), run.when, run.who, run.command, digest, run.status, changed))
    if not rows:
        return ""
    return table(heads, rows, text=_TEXT_COLUMNS)


def cost(plan: Plan | None, calls: int, seconds: float) -> str:
    """The calls and the time of a run."""
    text = phrases.cost_of(calls, seconds)
    if plan is not None and calls == plan.calls:
        text = phrases.reading_cost(plan)
    return f"<p>{markup(text)}</p>\n"


def _problem(finding: Finding) -> str:
    level = str(finding.level)
    # Drift is a warning, and has failed as a test case; on a page it looks like any other failure.
    if finding.verdict in (CaseVerdict.FAILED, CaseVerdict.ERROR):
        level = "error"
    place = markup(phrases.where(finding.location))
    where = enclosed(' <code class="soft">', place, "</code>")
    lines = "".join(f"<br>{markup(line)}" for line in filled_lines(finding.detail))
    head = f"<b>{markup(finding.rule.title)}</b> {markup(finding.sentence)}"
    ident = f'<code class="soft">{markup(finding.id)}</code>'
    return f'<li class="{level}">{head}{where}{lines}<br>{ident}</li>\n'


def _choice(id: str, label: str, values: Sequence[str]) -> str:
    options = "".join(f"<option>{markup(value)}</option>" for value in values)
    every = '<option value="">all</option>'
    chosen = f'<select id="{id}">{every}{options}</select>'
    return f'<span><label for="{id}">{label}</label> {chosen}</span>\n'


def _address(entry: Entry) -> Address:
    if isinstance(entry, Outcome):
        return entry.change.address
    return entry.address


def _kind_of(address: Address) -> Address:
    return Address(address.kind, "*")


def _verdict(is_good: bool) -> str:
    if is_good:
        return "good"
    return "bad"


def _edges(edges: Sequence[Edge]) -> str:
    """The graph as text, for screen readers."""
    items = "".join(f"<li>{markup(f'{start} → {end}')}</li>" for start, end in edges)
    return f'<details><summary>As a list</summary><ul class="mono">{items}</ul></details>\n'
