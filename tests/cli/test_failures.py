"""Failures on standard error and in reports."""

from __future__ import annotations

import pytest

from reconciler.cli.failures import diagnostics_of, report
from reconciler.cli.options import GlobalOptions
from reconciler.errors import ApiError, CredentialError, ReconcilerError
from reconciler.model.address import Address
from reconciler.model.change import (
    Action,
    ApplyResult,
    Change,
    Outcome,
    OutcomeStatus,
    Plan,
    Reason,
)
from reconciler.render.text import TextRenderer

TWO_LINES = CredentialError(
    "the key of a is lost\nthe key of b is lost", hint="make new ones\nor restore them"
)


def test_a_message_of_several_lines_keeps_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(TWO_LINES, GlobalOptions()) == 1
    assert capsys.readouterr().err.splitlines() == [
        "Error: the key of a is lost",
        "  the key of b is lost",
        "  make new ones",
        "  or restore them",
    ]


def test_control_characters_are_spelled_out_within_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report(ReconcilerError("one\x1b[2J\ntwo\r"), GlobalOptions())
    assert capsys.readouterr().err.splitlines() == ["Error: one\\x1b[2J", "  two\\r"]


def test_a_report_has_the_first_line_as_headline_and_the_rest_below() -> None:
    [diagnostic] = diagnostics_of(TWO_LINES)
    assert diagnostic.summary == "the key of a is lost"
    assert diagnostic.detail == "the key of b is lost\nmake new ones\nor restore them"


def test_a_report_has_the_request_id_that_support_asks_for() -> None:
    [diagnostic] = diagnostics_of(ApiError("refused", hint="look", request_id="req_1"))
    assert diagnostic.detail == "look\nRequest id: req_1"


def test_the_outcome_of_a_change_keeps_the_lines_of_its_message() -> None:
    change = Change(Address("Assistant", "bot"), Action.CREATE, Reason.NEW)
    outcome = Outcome(change, OutcomeStatus.FAILED, message="one\ntwo")
    text = TextRenderer(color=False).result(ApplyResult(Plan("s", "e", (change,)), (outcome,)))
    assert "      one\n      two\n" in text
