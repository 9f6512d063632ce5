"""Claims about reports of checks: whatever an answer says, nothing of it acts on where it is read."""

from __future__ import annotations

import json
from xml.etree import ElementTree

from reconciler.model.address import Address
from reconciler.model.checking import CheckFinding, CheckOutcome, CheckReport, CheckStatus
from reconciler.model.diagnostic import SourceLocation
from reconciler.render.checks import json_view, markdown_view, text_view
from reconciler.render.escape import hides
from reconciler.render.junit import JUnitRenderer

HOSTILE = "\x1b[2J</failure>]]>\x00\ufffe@team #1 | <b>`x`\u202e\n& \"'"
REPORT = CheckReport(
    "acme",
    "dev",
    (
        CheckOutcome(
            Address("Check", "ok", "search"), CheckStatus.PASSED, "listModels", seconds=0.5
        ),
        CheckOutcome(
            Address("Check", "bad", "search"),
            CheckStatus.FAILED,
            "createResponse",
            location=SourceLocation("m.yaml", 3, 1),
            findings=(CheckFinding("status", HOSTILE), CheckFinding("tokens", "are many")),
            notes=(HOSTILE,),
        ),
        CheckOutcome(Address("Check", "none"), CheckStatus.ERROR, message=HOSTILE),
        CheckOutcome(Address("Check", "later"), CheckStatus.SKIPPED, message="it costs"),
    ),
)


def test_text_has_no_character_that_acts_on_a_terminal() -> None:
    shown = text_view(REPORT)
    assert [char for char in shown if hides(char) and char != "\n"] == []
    assert shown.endswith("4 checks: 1 passed, 1 failed, 1 error, 1 not run.\n")


def test_junit_is_xml_that_says_the_same() -> None:
    suite = ElementTree.fromstring(JUnitRenderer().checks(REPORT).encode())[0]
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert {name: [part.tag for part in case] for name, case in cases.items()} == {
        "later": ["properties", "skipped"],
        "none": ["properties", "error"],
        "ok": ["properties"],
        "bad": ["properties", "failure"],
    }
    assert cases["bad"].get("classname") == "Check.search"
    assert (cases["bad"].get("file"), cases["bad"].get("line")) == ("m.yaml", "3")
    text = cases["bad"][1].text or ""
    assert "</failure>" in text
    assert "\ntokens are many\n" in text


def test_markdown_keeps_its_rows_and_its_readers_alone() -> None:
    shown = markdown_view(REPORT)
    assert shown.count("\n|") == 6
    assert "@team" not in shown
    assert "<b>" not in shown


def test_json_has_every_outcome() -> None:
    report = json.loads(json_view(REPORT))
    assert report["summary"] == {"passed": 1, "failed": 1, "error": 1, "not_run": 1}
    assert [entry["address"] for entry in report["checks"]] == [
        "Check/later",
        "Check/none",
        "Check/search/bad",
        "Check/search/ok",
    ]
    assert report["passed"] is False
