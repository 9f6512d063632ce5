"""Reports as one HTML file: no network, light and dark, for screens, phones and paper."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from reconciler import __version__
from reconciler.model.change import Change, OutcomeStatus, Plan, count_actions
from reconciler.model.finding import Finding, Level
from reconciler.model.plan_digest import plan_digest
from reconciler.model.report import Report
from reconciler.render import phrases
from reconciler.render.escape import markup
from reconciler.render.findings import (
    check_findings,
    guard_findings,
    policies_of,
    policy_findings,
    problem_findings,
)
from reconciler.render.html import parts
from reconciler.render.html.cards import Cards, drift_word
from reconciler.render.html.fleet import fleet_content
from reconciler.render.html.page import page, section, table
from reconciler.render.report_renderer import ReportRenderer
from reconciler.render.values import Entry, brief, count, enclosed, inline, unique

# The size of all fields of a page, beyond which changes are shown without theirs: a plan of ten
# thousand resources must stay a page that a browser opens.
_MOST_BYTES = 5_000_000
_POLICY = "policy"


class HtmlRenderer(ReportRenderer):
    """One page without network."""

    def report(self, report: Report) -> str:
        """The page of a report."""
        name = f"reconciler {report.title}"
        title = name + enclosed(" · ", report.stack)
        sentence, kind = parts.headline(report)
        digest = ""
        # `apply --approve` takes the digest; drift has nothing to approve.
        if not report.is_drift:
            digest = _digest(report.plan)
        body = [
            f'<header>\n<h1>{markup(title)}</h1>\n<p class="verdict {kind}">{markup(sentence)}</p>\n',
            digest,
            '</header>\n<main id="main" tabindex="-1">\n',
            *self._content(report),
            "</main>\n",
        ]
        return page(title, body, f"reconciler {__version__}")

    def _content(self, report: Report) -> Iterator[str]:
        plan = report.plan
        problems = [*problem_findings(report.diagnostics), *guard_findings(report)]
        policies = [*policy_findings(policies_of(report))]
        for finding in self.context.findings:
            if _is_policy(finding):
                policies.append(finding)
            else:
                problems.append(finding)
        problems.sort(key=lambda finding: finding.level is not Level.ERROR)
        yield section("Problems", parts.problems(problems), id="problems")
        if report.fleet is not None:
            yield from fleet_content(report.fleet)
        cards = Cards(full=self.context.full, limit=_MOST_BYTES)
        if report.checks is not None:
            yield section("Checks", parts.problems(check_findings(report.checks)), id="checks")
        if report.result is not None:
            yield from self._outcomes(report, cards)
        elif plan is not None and report.is_drift:
            yield from _drift(plan, cards, is_main=True)
        elif plan is not None:
            yield from _changes(plan, cards)
            yield from _drift(plan, cards, is_main=False)
        yield section("Policies", parts.problems(policies), id="policies")
        if plan is not None:
            yield from self._about(report, plan)
        if report.outputs is not None:
            yield section("Outputs", _outputs(report.outputs), id="outputs")

    def _outcomes(self, report: Report, cards: Cards) -> Iterator[str]:
        result = report.result
        if result is None:
            return
        outcomes = phrases.reported(result)
        ordered = sorted(outcomes, key=lambda each: each.status is OutcomeStatus.APPLIED)
        if ordered:
            words = unique(str(outcome.status) for outcome in ordered)
            tools = parts.tools(ordered, words)
            body = ['<div data-group="outcomes">', *map(cards.outcome, ordered), "</div>\n"]
            yield section("Outcomes", [tools, *_left_out(cards), *body], id="outcomes")
        if result.checks:
            yield section("Checks", parts.problems(check_findings(result.checks)), id="checks")
        if result.outputs:
            yield section("Outputs", _outputs(result.outputs), id="outputs")

    def _about(self, report: Report, plan: Plan) -> Iterator[str]:
        if report.unmanaged or plan.unmanaged:
            yield section("Unmanaged objects", _unmanaged(plan), id="unmanaged")
        if not report.is_drift:
            yield section("Dependencies", parts.graph(plan.pending), id="graph")
        calls, seconds = plan.calls, plan.seconds
        if report.result is not None:
            calls, seconds = report.result.calls, report.result.seconds
        yield section("Calls and time", parts.cost(plan, calls, seconds), id="cost")
        yield section("History", parts.history(self.context.history), id="history")


def _changes(plan: Plan, cards: Cards) -> Iterator[str]:
    yield section("Summary", parts.counts(plan.pending), id="summary")
    changes: list[Change] = [*plan.pending, *plan.blocked]
    if changes:
        # A page has one search, which finds drift too.
        words = [*map(str, count_actions(plan.pending)), *_drift_words(plan)]
        groups = phrases.by_importance(plan.pending)
        if plan.blocked:
            words.insert(0, "blocked")
            groups.insert(0, ("Not planned", list(plan.blocked)))
        body = _groups(groups, cards.change)
        tools = parts.tools([*changes, *plan.drift], words)
        yield section("Changes", [tools, *_left_out(cards), *body], id="changes")
    if plan.outputs:
        rows = ((each.name, _short(each.before), _short(each.after)) for each in plan.outputs)
        shown = table(("Output", "Before", "After"), rows, text=frozenset({1, 2}))
        yield section("Outputs", shown, id="outputs")


def _drift(plan: Plan, cards: Cards, *, is_main: bool) -> Iterator[str]:
    if not plan.drift:
        return
    groups = phrases.drift_by_scope(plan.drift)
    body = _groups(groups, cards.drift)
    filters = ""
    # The search of a plan with changes stands above them.
    if is_main or not (plan.pending or plan.blocked):
        filters = parts.tools(plan.drift, _drift_words(plan))
    yield section("Changed outside", [filters, *_left_out(cards), *body], id="drift")


def _drift_words(plan: Plan) -> list[str]:
    return unique(drift_word(drift) for drift in plan.drift)


def _groups(
    groups: Iterable[tuple[str, Iterable[Entry]]], card: Callable[[Entry], str]
) -> list[str]:
    """The cards of each group below its heading."""
    # A list, because `_left_out` has to count the fields that these cards lack.
    parts = []
    for heading, entries in groups:
        title = markup(heading)
        cards = "".join(map(card, entries))
        parts.append(f'<div data-group="{title}">\n<h3>{title}</h3>\n{cards}</div>\n')
    return parts


def _left_out(cards: Cards) -> Iterator[str]:
    """A note about cards without fields. Evaluated after the cards of its section."""
    if cards.without_fields:
        number = count(cards.without_fields, "change")
        text = (
            f"{number} at the end of this page have no fields: --full shows them, and so does JSON."
        )
        yield f'<p class="soft">{markup(text)}</p>\n'


def _digest(plan: Plan | None) -> str:
    if plan is None or plan.is_empty:
        return ""
    return f'<p class="soft digest">Plan digest: <code>{plan_digest(plan)}</code></p>\n'


def _unmanaged(plan: Plan) -> str:
    if not plan.unmanaged:
        return ""
    heads = ("Name", "Kind", "Id", "Project")
    rows = ((each.label, each.kind, each.id, each.project or "") for each in plan.unmanaged)
    return table(heads, rows, text=frozenset({1, 2, 3}))


def _outputs(outputs: Mapping[str, Any]) -> str:
    if not outputs:
        return ""
    rows = ((name, _short(value)) for name, value in outputs.items())
    return table(("Output", "Value"), rows, text=frozenset({1}))


def _short(value: Any) -> str:
    return brief(value, 200) or inline(value)


def _is_policy(finding: Finding) -> bool:
    return finding.rule.name.split("/")[0] == _POLICY
