"""The HTML page as text: what it contains, and what it cannot contain."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from hypothesis import given, settings
from msgspec.structs import replace

from reconciler.model.address import Address
from reconciler.model.change import Action, ApplyResult, Change, FieldChange, Plan, Reason
from reconciler.model.checking import CheckOutcome, CheckReport, CheckStatus
from reconciler.model.diagnostic import Diagnostic
from reconciler.model.keys import KeyAction, KeyStep
from reconciler.model.report import PastRun, ReportContext
from reconciler.render.html import HtmlRenderer
from reconciler.render.html.cards import Cards

from . import samples
from .strategies import plans

HOSTILE = "</script></style><img src=x onerror=alert(1)>\"'`${1}<!--\u202e\x00&amp;"
TAGS = {
    "html", "head", "meta", "title", "style", "body", "a", "header", "h1", "h2", "h3", "p", "main", "section",
    "div", "table", "thead", "tbody", "tr", "th", "td", "form", "label", "input", "select", "option", "fieldset",
    "legend", "button", "output", "article", "details", "summary", "span", "code", "pre", "ul", "li", "b", "br",
    "svg", "defs", "marker", "polyline", "path", "rect", "text", "footer", "script", "line",
}  # fmt: skip


class Reader(HTMLParser):
    """Collects the tags and their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def assert_inert(text: str) -> None:
    """Only our own tags, one script, no handler, no style in an attribute, no address outside."""
    tags = Reader(text).tags
    assert {tag for tag, _ in tags} <= TAGS
    assert [tag for tag, _ in tags].count("script") == 1
    for tag, attributes in tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert attributes.get("href", "#main") == "#main"
        assert "src" not in attributes, tag


def hostile_plan() -> Plan:
    field = FieldChange((HOSTILE,), HOSTILE, HOSTILE * 20 + "\n" + HOSTILE, note=HOSTILE)
    change = Change(
        Address(HOSTILE, HOSTILE, HOSTILE), Action.UPDATE, Reason.CONFIG, fields=(field,), id=HOSTILE,
        warnings=(HOSTILE,), depends_on=(Address(HOSTILE, "b"),),
    )  # fmt: skip
    return Plan(
        HOSTILE,
        HOSTILE,
        (change,),
        diagnostics=(Diagnostic(HOSTILE, HOSTILE),),
        refusals=(HOSTILE,),
    )


def test_hostile_texts_are_texts() -> None:
    run = PastRun(1, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, {HOSTILE: 1})
    text = HtmlRenderer(ReportContext(command=HOSTILE, history=(run,))).plan(hostile_plan())
    assert_inert(text)
    assert "&lt;img src=x onerror=alert(1)&gt;" in text


@settings(max_examples=25, deadline=None)
@given(plans())
def test_whatever_a_plan_contains_the_page_is_inert(plan: Plan) -> None:
    assert_inert(HtmlRenderer().plan(plan))
    assert_inert(HtmlRenderer().drift(plan, unmanaged=True))


def test_the_policy_allows_nothing_but_the_style_and_the_script_of_the_page() -> None:
    text = HtmlRenderer().plan(samples.FULL)
    [policy] = [
        tag["content"] or ""
        for name, tag in Reader(text).tags
        if tag.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = policy.split("; ")
    assert rules[0] == "default-src 'none'"
    assert all(re.fullmatch(r"(style|script)-src 'sha256-[\w+/]+='", rule) for rule in rules[1:3])
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "").replace(
        "http-equiv", ""
    )


def test_what_destroys_comes_first_and_open() -> None:
    text = HtmlRenderer().plan(samples.FULL)
    assert text.count("<details open>") == 4 + len(samples.FULL.drift)
    assert text.index("Project/old-lab") < text.index("Project/search")


def test_a_page_that_would_be_too_large_keeps_every_change_without_its_fields() -> None:
    cards = Cards(full=False, limit=3_000)
    shown = [cards.change(samples.TRIAGE) for _ in range(5)]
    with_fields = [card for card in shown if "<table" in card]
    assert 0 < len(with_fields) < 5
    assert cards.without_fields == 5 - len(with_fields)
    assert all("Assistant/support/triage" in card for card in shown)


def test_nothing_is_cut_in_full() -> None:
    cards = Cards(full=True, limit=0)
    text = cards.change(samples.TRIAGE)
    assert all(f"Rule {number}: be kind." in text for number in range(1, 61) if number != 3)
    assert cards.without_fields == 0


def test_a_card_says_each_step_of_a_key_once() -> None:
    steps = (
        KeyStep("key", KeyAction.ROTATE, "will be rotated: 93 days old"),
        KeyStep("key", KeyAction.KEEP, "old key stays: used 2 hours ago", "key_abc"),
    )
    card = Cards(full=False, limit=10_000).change(replace(samples.ACCOUNT, keys=steps))
    assert card.count("will be rotated: 93 days old") == 1
    assert card.count("old key stays: used 2 hours ago (key_abc)") == 1


def test_an_apply_without_changes_still_shows_its_checks_and_outputs() -> None:
    check = CheckOutcome(Address("Check", "models-are-listed"), CheckStatus.PASSED)
    result = ApplyResult(
        samples.EMPTY,
        outcomes=(),
        outputs={"support_bot": "asst_1"},
        checks=CheckReport("acme", "prod", (check,)),
    )
    text = HtmlRenderer().result(result)
    assert "models-are-listed" in text
    assert "asst_1" in text
    assert 'id="outcomes"' not in text


def test_counts_of_the_history_have_thousands_separators() -> None:
    run = PastRun(1, "2026-11-30T08:15:00Z", "ann", "apply", "done", counts={"applied": 12_345})
    assert "12,345 applied" in HtmlRenderer(ReportContext(history=(run,))).plan(samples.EMPTY)
