"""The other parts of a page: verdict, problems, counts, filters, graph, history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Drift, Outcome, Plan, count_actions
from reconciler.model.finding import CaseVerdict, Finding, Level
from reconciler.model.report import PastRun, Report
from reconciler.render import phrases
from reconciler.render.escape import markup
from reconciler.render.graph import svg
from reconciler.render.html.page import table
from reconciler.render.values import count

_MOST_ROWS = 12
_MOST_NODES = 80
_MOST_KINDS = 40
_DIGEST_SHOWN = 12
_TEXT_COLUMNS = frozenset({1, 2, 3, 4, 5, 6})

Entry = Change | Drift | Outcome


def headline(report: Report) -> tuple[str, str]:
    """What the run found or did, in one sentence, and whether that is `good`, `bad` or neither."""
    if report.failed:
        return "The run failed. Nothing in it says what the live objects are like now.", "bad"
    if report.fleet is not None:
        from reconciler.render.html.fleet import fleet_headline

        return fleet_headline(report.fleet)
    if report.result is not None:
        is_complete = phrases.is_complete(report.result)
        return phrases.result_totals(report.result), "good" if is_complete else "bad"
    if report.checks is not None:
        from reconciler.render.checks import totals

        return totals(report.checks), "good" if report.checks.passed else "bad"
    if report.plan is not None and report.is_drift:
        text = phrases.drift_totals(report.plan, unmanaged=report.unmanaged)
        return text, "bad" if report.plan.drift else "good"
    if report.plan is not None:
        refused = f"Refused by {count(len(report.refusals), 'guard')}. " if report.refusals else ""
        kind = "bad" if report.refusals or report.plan.blocked else ""
        return f"{refused}{phrases.plan_totals(report.plan)}", kind
    if report.diagnostics:
        return phrases.diagnostic_totals(report.diagnostics), "bad"
    return "The manifests are valid.", "good"


def problems(findings: Iterable[Finding]) -> str:
    """Findings as a list: message, place, what to do, id."""
    items = list(map(_problem, findings))
    return f'<ul class="problems">\n{"".join(items)}</ul>\n' if items else ""


def counts(changes: Sequence[Change]) -> str:
    """The changes by project and action."""
    actions = [action for action in Action if action in count_actions(changes)]
    rows = []
    for heading, own in phrases.by_scope(changes):
        numbers = count_actions(own)
        rows.append([heading, *(f"{numbers.get(action, 0) or ''}" for action in actions)])
    heads = ["", *map(str, actions)]
    if not rows:
        return ""
    shown = table(heads, rows, text=frozenset())
    if len(rows) <= _MOST_ROWS:
        return shown
    # The changes themselves must not begin far below.
    return f"<details><summary>By project: {len(rows):,}</summary>{shown}</details>\n"


def tools(entries: Sequence[Entry], words: Collection[str]) -> str:
    """Search and filters. The script shows them: without it they would do nothing."""
    addresses = [_address(entry) for entry in entries]
    projects = sorted({address.project or "" for address in addresses} - {""})
    kinds = sorted({address.kind for address in addresses})
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
    """What depends on what: the changed objects, or their kinds if there are too many."""
    edges = []
    for change in changes:
        edges += [(change.address, needed) for needed in change.depends_on]
    nodes = sorted({node for edge in edges for node in edge})
    note = ""
    if len(nodes) > _MOST_NODES:
        numbers = Counter(_kind_of(node) for node in nodes)
        edges = sorted({(_kind_of(start), _kind_of(end)) for start, end in edges})
        edges = [edge for edge in edges if edge[0] != edge[1]]
        note = f"<p>{count(len(nodes), 'object')}, shown by kind.</p>\n"
        nodes = sorted(numbers)[:_MOST_KINDS]
        edges = [edge for edge in edges if edge[0] in nodes and edge[1] in nodes]
    if not edges:
        return ""
    said = f"Dependencies of {count(len(nodes), 'node')}, in {count(len(edges), 'arrow')}"
    picture = svg(nodes, edges, label=said, styled=False)
    scroll = '<div class="scroll graph" tabindex="0" role="group" aria-label="Graph">'
    return f"{note}{scroll}{picture}</div>\n{_edges(edges)}"


def history(runs: Sequence[PastRun]) -> str:
    """The latest runs of the stack."""
    heads = ("Run", "When", "Who", "Command", "Plan", "Status", "Changes")
    rows = []
    for run in runs:
        changed = ", ".join(f"{number} {word}" for word, number in run.counts.items() if number)
        digest = run.digest[:_DIGEST_SHOWN]
        rows.append((str(run.number), run.when, run.who, run.command, digest, run.status, changed))
    return table(heads, rows, text=_TEXT_COLUMNS) if rows else ""


def cost(plan: Plan | None, calls: int, seconds: float) -> str:
    """The calls and the time of a run."""
    text = phrases.cost_of(calls, seconds)
    if plan is not None and calls == plan.calls:
        text = phrases.reading_cost(plan)
    return f"<p>{markup(text)}</p>\n"


def _problem(finding: Finding) -> str:
    level = "error" if finding.level is Level.ERROR else str(finding.level)
    if finding.verdict in (CaseVerdict.FAILED, CaseVerdict.ERROR):
        level = "error"
    place = phrases.where(finding.location)
    where = f' <code class="soft">{markup(place)}</code>' if place else ""
    lines = "".join(f"<br>{markup(line)}" for line in finding.detail.split("\n") if line)
    head = f"<b>{markup(finding.rule.title)}</b> {markup(finding.sentence)}"
    ident = f'<code class="soft">{markup(finding.id)}</code>'
    return f'<li class="{level}">{head}{where}{lines}<br>{ident}</li>\n'


def _choice(id: str, label: str, values: Sequence[str]) -> str:
    options = "".join(f"<option>{markup(value)}</option>" for value in values)
    every = '<option value="">all</option>'
    chosen = f'<select id="{id}">{every}{options}</select>'
    return f'<span><label for="{id}">{label}</label> {chosen}</span>\n'


def _address(entry: Entry) -> Address:
    return entry.change.address if isinstance(entry, Outcome) else entry.address


def _kind_of(address: Address) -> Address:
    return Address(address.kind, "*")


def _edges(edges: Sequence[tuple[Address, Address]]) -> str:
    """The graph as text, for those who cannot see it."""
    items = "".join(f"<li>{markup(f'{start} → {end}')}</li>" for start, end in edges)
    return f'<details><summary>As a list</summary><ul class="mono">{items}</ul></details>\n'
