"""Markdown reports fit into a comment and show the most important parts."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from msgspec import structs

from reconciler.model.address import Address
from reconciler.model.change import Action, ApplyResult, Change, FieldChange, Plan, Reason
from reconciler.model.report import ReportContext
from reconciler.model.run_origin import RunOrigin, RunReference
from reconciler.render.markdown import MarkdownRenderer
from reconciler.render.sections import SizeLimit

from . import samples
from .goldens import assert_golden
from .strategies import plans, results

MARKDOWN = MarkdownRenderer()
READER = MarkdownIt("commonmark").enable("table")
OURS = re.compile(r"</?(details|details open|summary|code|b)>|<!---->")
UNLIMITED = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def many(number: int, **more: object) -> Plan:
    change = Change(
        Address("Agent", "a"), Action.CREATE, Reason.NEW, after={"instructions": "x" * 70}, **more
    )  # type: ignore[arg-type]
    return Plan(
        "acme",
        "prod",
        tuple(
            structs.replace(change, address=Address("Agent", f"a{index:05}", "p"))
            for index in range(number)
        ),
    )


def tokens(text: str) -> list[Token]:
    flat: list[Token] = []
    for token in READER.parse(text):
        flat += [token, *(token.children or [])]
    return flat


def assert_well_formed(text: str) -> None:
    """As a host reads it: only our own tags, all of them closed, no link or image, every fence closed."""
    parsed = tokens(text)
    tags = "".join(token.content for token in parsed if token.type in ("html_block", "html_inline"))
    assert tags.count("<details") == tags.count("</details>")
    assert tags.count("<summary>") == tags.count("</summary>")
    assert "<" not in OURS.sub("", tags)
    assert not [token for token in parsed if token.type in ("link_open", "image")]
    lines = text.split("\n")
    for token in parsed:
        if token.type == "fence" and token.map:
            assert lines[token.map[1] - 1].strip() == token.markup


@pytest.mark.parametrize(
    ("name", "plan"),
    [("full", samples.FULL), ("small", samples.SMALL), ("empty", samples.EMPTY)],
    ids=["full", "small", "empty"],
)
def test_a_plan_reads_as_it_did(name: str, plan: Plan) -> None:
    assert_golden(f"plan_{name}.md", MARKDOWN.plan(plan))


def test_other_reports_read_as_they_did() -> None:
    assert_golden("drift.md", MARKDOWN.drift(samples.DRIFTED, unmanaged=True))
    assert_golden("result.md", MARKDOWN.result(samples.RESULT))
    assert_golden("diagnostics.md", MARKDOWN.diagnostics([samples.WARNING, samples.ERROR]))
    assert_golden("outputs.md", MARKDOWN.outputs(samples.DONE.outputs))


def test_a_run_of_a_person_is_shown_without_a_ci_job() -> None:
    run = RunReference(3, RunOrigin(user="ada", host="laptop"))
    text = MARKDOWN.result(structs.replace(samples.DONE, run=run))
    assert text.endswith("\n\nRun 3, started by `ada@laptop`.\n")


def test_what_is_destroyed_comes_first_and_unfolded() -> None:
    text = MARKDOWN.plan(samples.FULL)
    assert text.index("Project/old-lab") < text.index("Project/search")
    assert text.count("<details open>") == text.count("<b>destroys</b>") == 4


def test_a_large_plan_says_exactly_what_was_cut() -> None:
    text = MARKDOWN.plan(many(2_000))
    shown = text.count("\n- 🟢 ")
    assert 60_000 < len(text) <= 65_536
    cut = 2_000 - shown
    assert text.endswith(
        f"{shown:,} of 2,000 changes ({shown:,} to create) are shown in one line each. "
        f"{cut:,} of 2,000 changes ({cut:,} to create) are not shown. "
        "Run `reconciler plan --full` to see everything.\n"
    )
    assert_well_formed(text)


def test_counts_of_the_headline_have_thousands_separators() -> None:
    created = [
        structs.replace(samples.PROJECT, address=Address("Project", f"p{number}"))
        for number in range(1234)
    ]
    broken = [
        Change(
            Address("Project", f"q{number}"),
            Action.NO_OP,
            Reason.BLOCKED,
            blocked="it has an error",
        )
        for number in range(1001)
    ]
    text = MarkdownRenderer().plan(Plan("acme", "prod", (*created, *broken)))
    assert "1,234 to create, 1,001 with errors" in text.splitlines()[0]


def test_changes_that_do_not_fit_in_full_are_listed_by_project() -> None:
    text = MARKDOWN.plan(many(600))
    in_full = text.count("will be created</summary>")
    in_one_line = text.count("\n- 🟢 ")
    assert in_full > 50
    assert in_full + in_one_line == 600
    assert f"Project <code>p</code>: {in_one_line} entries" in text


def test_what_destroys_is_shown_in_full_before_anything_else_gets_room() -> None:
    lost = structs.replace(samples.ACCOUNT, address=Address("ServiceAccount", "zz", "zz"))
    text = MARKDOWN.plan(Plan("acme", "prod", (*many(2_000).changes, lost)))
    assert "<details open><summary>🔴 <code>ServiceAccount/zz/zz</code>" in text
    assert "its keys stop working at once" in text


def test_a_report_that_was_cut_names_the_file_with_everything() -> None:
    context = ReportContext(whole=("plan.html", "https://ci.example/job/1"))
    text = MarkdownRenderer(context=context).plan(many(2_000))
    assert text.endswith("Everything is in `plan.html` and <https://ci.example/job/1>.\n")


def test_nothing_is_cut_in_full() -> None:
    context = ReportContext(full=True)
    text = MarkdownRenderer(context=context).plan(many(2_000))
    assert text.count("will be created</summary>") == 2_000
    whole = MarkdownRenderer(context=context).plan(samples.FULL)
    for rule in range(1, 61):
        assert f"+     Rule {rule}: be kind." in whole
    assert "more line" not in whole
    assert "unchanged line" not in whole


def test_a_budget_in_bytes_is_kept_for_letters_of_many_bytes() -> None:
    field = FieldChange(("instructions",), "ä\n" * 100, "€𝄞\n" * 100)
    changes = [
        Change(Address("Agent", f"a{n}"), Action.UPDATE, Reason.CONFIG, fields=(field,))
        for n in range(200)
    ]
    plan = Plan("acme", "prod", tuple(changes))
    for limit in (3_000, 20_000, 100_000):
        text = MarkdownRenderer(budget=SizeLimit.in_bytes(limit)).plan(plan)
        assert len(text.encode()) <= limit
        text = MarkdownRenderer(budget=SizeLimit.in_characters(limit)).plan(plan)
        assert len(text.encode("utf-16-le")) // 2 <= limit


def test_a_plan_that_fits_is_not_cut() -> None:
    assert "not shown" not in MARKDOWN.plan(many(200))


def test_one_enormous_change_does_not_crowd_out_the_others() -> None:
    huge = FieldChange(("instructions",), "a\n" * 90_000, "b `````\n" * 90_000)
    change = Change(Address("Agent", "z"), Action.UPDATE, Reason.CONFIG, fields=(huge,))
    text = MARKDOWN.plan(Plan("acme", "prod", (*many(20).changes, change)))
    assert text.count("<summary>") == 21


def test_a_fence_is_longer_than_any_run_of_backticks_inside() -> None:
    field = FieldChange(("instructions",), "a\n```\n", "b\n`````\n</details>\n")
    text = MARKDOWN.plan(
        Plan(
            "acme",
            "prod",
            (Change(Address("Agent", "a"), Action.UPDATE, Reason.CONFIG, fields=(field,)),),
        )
    )
    assert "\n``````diff\n" in text
    assert_well_formed(text)


def test_mentions_and_references_notify_nobody() -> None:
    change = structs.replace(
        samples.BOT, warnings=("ask @acme/owners, see #12, GH-3 and acme/x#4, https://e.vil",)
    )
    text = MARKDOWN.plan(Plan("acme", "prod", (change,)))
    assert not re.search(r"@acme|#12|GH-3|x#4|https://", text)


def test_the_lines_of_a_refusal_stay_lines() -> None:
    plan = structs.replace(samples.FULL, refusals=("policy p fails: first line\n# second line",))
    text = MARKDOWN.plan(plan)
    assert "\n  \\# second line" in text
    assert "\\n" not in text.partition("second line")[0].rpartition("refused")[2]
    assert_well_formed(text)


def test_a_limit_without_room_for_anything_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        MarkdownRenderer(limit=100)


@UNLIMITED
@given(plans(), st.sampled_from([2_500, 4_000, 65_536]))
def test_a_comment_is_never_too_long_nor_left_open(plan: Plan, limit: int) -> None:
    renderer = MarkdownRenderer(limit)
    for text in (
        renderer.plan(plan),
        renderer.drift(plan, unmanaged=True),
        renderer.diagnostics(plan.diagnostics),
    ):
        assert len(text) <= limit
        assert_well_formed(text)


@UNLIMITED
@given(results())
def test_a_result_is_never_too_long_nor_left_open(result: ApplyResult) -> None:
    for text in (
        MarkdownRenderer(2_500).result(result),
        MarkdownRenderer(2_500).outputs(result.outputs),
    ):
        assert len(text) <= 2_500
        assert_well_formed(text)
