"""Plans and results as text for a terminal."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from msgspec import structs

from reconciler.model.address import Address
from reconciler.model.change import Action, Change, FieldChange, Plan, Reason
from reconciler.model.secret import Secret
from reconciler.render.text import TextRenderer

from . import samples
from .goldens import assert_golden
from .strategies import plans, results

TEXT = TextRenderer(color=False)
COLORED = TextRenderer(color=True)
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
UNLIMITED = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def plan_of(*fields: FieldChange, **more: object) -> str:
    change = Change(Address("Agent", "a"), Action.UPDATE, Reason.CONFIG, fields=fields, **more)  # type: ignore[arg-type]
    return TEXT.plan(Plan("acme", "prod", (change,)))


@pytest.mark.parametrize(
    ("name", "plan"),
    [("full", samples.FULL), ("small", samples.SMALL), ("empty", samples.EMPTY)],
    ids=["full", "small", "empty"],
)
def test_a_plan_reads_as_it_did(name: str, plan: Plan) -> None:
    assert_golden(f"plan_{name}.txt", TEXT.plan(plan))


def test_a_plan_has_its_colours() -> None:
    assert_golden("plan_full.color.txt", COLORED.plan(samples.FULL))


def test_colours_change_nothing_but_colours() -> None:
    stripped = "\n".join(
        text.rstrip() for text in ESCAPES.sub("", COLORED.plan(samples.FULL)).split("\n")
    )
    assert stripped == TEXT.plan(samples.FULL)


def test_drift_reads_as_it_did() -> None:
    assert_golden("drift.txt", TEXT.drift(samples.DRIFTED, unmanaged=True))


def test_unmanaged_objects_are_shown_only_when_asked_for() -> None:
    assert "Unmanaged" not in TEXT.drift(samples.DRIFTED, unmanaged=False)


def test_drift_says_how_many_other_changes_are_pending() -> None:
    assert "2 pending configuration changes" in TEXT.drift(samples.DRIFTED, unmanaged=False)
    assert "No pending configuration changes." in TEXT.drift(samples.EMPTY, unmanaged=False)


def test_a_result_reads_as_it_did() -> None:
    assert_golden("result.txt", TEXT.result(samples.RESULT))
    assert_golden("result_done.txt", TEXT.result(samples.DONE))


def test_an_interrupted_apply_says_so() -> None:
    assert "Apply interrupted: " in TEXT.result(structs.replace(samples.DONE, interrupted=True))


def test_diagnostics_and_outputs_read_as_they_did() -> None:
    assert_golden("diagnostics.txt", TEXT.diagnostics([samples.WARNING, samples.ERROR]))
    assert_golden("outputs.txt", TEXT.outputs(samples.DONE.outputs))


def test_no_diagnostics_are_no_text() -> None:
    assert TEXT.diagnostics([]) == ""


def test_unchanged_resources_are_counted_and_not_shown() -> None:
    text = TEXT.plan(samples.SMALL)
    assert "quiet-3" not in text
    assert "12 unchanged" in text


def test_a_warning_about_an_unchanged_resource_is_shown() -> None:
    quiet = structs.replace(samples.QUIET[0], warnings=("a.md was not indexed",))
    assert "Warning: Agent/support/quiet-0: a.md was not indexed" in TEXT.plan(
        Plan("acme", "prod", (quiet,))
    )


def test_a_last_line_counts_what_is_archived_and_restored() -> None:
    assert "3 to delete (1 to archive, 1 to restore)" in TEXT.plan(samples.FULL)


def test_a_text_that_differs_only_in_its_last_end_of_line_shows_a_difference() -> None:
    text = plan_of(FieldChange(("instructions",), "a\nb\n", "a\nb"))
    assert "+ (no newline at end)" in text


def test_blanks_at_the_end_of_a_changed_line_are_visible() -> None:
    assert "+ b··\n" in plan_of(FieldChange(("instructions",), "a\nb\n", "a\nb  \n"))


def test_a_difference_deep_in_a_very_long_line_is_shown_whole() -> None:
    before, after = "x" * 5000 + "old" + "y" * 5000, "x" * 5000 + "new" + "y" * 5000
    text = plan_of(FieldChange(("instructions",), before, after))
    assert "…" + "x" * 40 + "new" + "y" * 40 + "…" in text


def test_one_change_among_many_files_is_named() -> None:
    fields = [
        FieldChange(("files", f"{number}.md"), {"sha256": "a" * 64}, None) for number in range(40)
    ]
    text = plan_of(*fields, FieldChange(("files", "new.md"), None, {"sha256": "b" * 64}))
    assert "1 file to add, 40 files to remove" in text
    assert "+ new.md" in text
    assert "… and 35 more" in text


def test_a_secret_prints_as_dots() -> None:
    text = plan_of(
        FieldChange(
            ("key",), None, {"api_key": Secret("sk-very-secret-value-1234"), "b": "sk-" + "x" * 30}
        )
    )
    assert "secret" not in text
    assert "xxxx" not in text
    assert "•••" in text


def test_columns_are_aligned_around_wide_characters() -> None:
    text = plan_of(FieldChange(("日本",), 1, 2), FieldChange(("abcde",), 3, 4))
    assert "~ 日本:  1 → 2" in text
    assert "~ abcde: 3 → 4" in text


def _is_harmless(text: str) -> bool:
    return all(
        char == "\n" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        for char in text
    )


@UNLIMITED
@given(plans())
def test_no_live_name_or_value_reaches_the_terminal_as_a_control_character(plan: Plan) -> None:
    assert _is_harmless(TEXT.plan(plan))
    assert _is_harmless(TEXT.drift(plan, unmanaged=True))
    assert _is_harmless(TEXT.diagnostics(plan.diagnostics))
    assert _is_harmless(ESCAPES.sub("", COLORED.plan(plan)))


@UNLIMITED
@given(results())
def test_no_message_or_id_of_a_result_reaches_the_terminal_as_a_control_character(
    result: samples.ApplyResult,
) -> None:
    assert _is_harmless(TEXT.result(result))
    assert _is_harmless(TEXT.outputs(result.outputs))


def test_a_long_sentence_goes_on_below_its_beginning_on_a_terminal() -> None:
    problem = structs.replace(samples.ERROR, detail="word " * 40 + "end")
    lines = TextRenderer(color=False, width=70, wraps=True).diagnostics([problem]).splitlines()
    assert max(map(len, lines)) <= 70
    told = [line for line in lines if "word" in line]
    assert len(told) > 2
    assert all(line.startswith("  word") for line in told)
    whole = TextRenderer(color=False, width=70).diagnostics([problem])
    assert "word " * 40 + "end" in whole


@pytest.mark.parametrize("width", [60, 100])
def test_wrapping_loses_no_word(width: int) -> None:
    plain = TextRenderer(color=False, width=width).plan(samples.FULL)
    shown = TextRenderer(color=False, width=width, wraps=True).plan(samples.FULL)
    assert shown.split() == plain.split()
