"""Claims about reports of rehearsals, from values made by hand."""

from __future__ import annotations

import pytest

from reconciler.model.change import Plan
from reconciler.model.rehearsal import Rehearsal, RehearsalCheck, RehearsalVerdict, RouteCalls
from reconciler.render.rehearsal import FORMATS


def rehearsed(*checks: RehearsalCheck, calls: int = 1) -> Rehearsal:
    return Rehearsal(
        Plan("acme", "prod", ()),
        "https://api.openai.com",
        1_700_000_000.0,
        checks=checks,
        applying=(RouteCalls("POST", "/organization/projects", calls, refused=calls),),
    )


@pytest.mark.parametrize("verdict", RehearsalVerdict)
@pytest.mark.parametrize("format", FORMATS)
def test_every_format_shows_a_check_of_every_verdict(
    format: str, verdict: RehearsalVerdict
) -> None:
    text = FORMATS[format](rehearsed(RehearsalCheck("Second plan", verdict, "update Project/x")))
    # SARIF has results for problems only.
    is_shown = format != "sarif" or verdict is RehearsalVerdict.FAILED
    assert ("Second plan" in text) == is_shown


@pytest.mark.parametrize("format", ["text", "markdown"])
def test_calls_have_thousands_separators(format: str) -> None:
    text = FORMATS[format](rehearsed(calls=12_345))
    assert "12,345" in text
    assert "12345" not in text
