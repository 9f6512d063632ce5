"""Every format has the same methods and properties."""

from __future__ import annotations

import subprocess
import sys

import pytest

from reconciler import render
from reconciler.errors import UsageError
from reconciler.model.finding import Finding, FindingRule, Level
from reconciler.model.formats import REPORT_FORMATS
from reconciler.model.report import ReportContext
from reconciler.render.phrases import duration
from reconciler.render.values import file_size, inline

from . import samples


@pytest.mark.parametrize("name", REPORT_FORMATS)
def test_every_format_has_the_methods_of_the_protocol(name: str) -> None:
    assert isinstance(render.get(name), render.Renderer)


@pytest.mark.parametrize("name", REPORT_FORMATS)
def test_every_format_knows_the_context_of_the_run(name: str) -> None:
    finding = Finding(FindingRule("rehearsal", "Rehearsal"), "a finding of this run", Level.ERROR)
    context = ReportContext(findings=(finding,))
    # The counts that GitLab reads have no place for findings.
    if name != "gitlab-terraform":
        assert finding.message in render.get(name, context).plan(samples.EMPTY)


SILENT_WITHOUT_PROBLEMS = {"github"}
"""Formats that show problems only. A new format of this sort is added here."""


@pytest.mark.parametrize("name", REPORT_FORMATS)
def test_every_format_reports_every_result(name: str) -> None:
    renderer = render.get(name)
    for text in (
        renderer.plan(samples.FULL),
        renderer.plan(samples.EMPTY),
        renderer.drift(samples.DRIFTED, unmanaged=True),
        renderer.drift(samples.EMPTY, unmanaged=False),
        renderer.result(samples.RESULT),
        renderer.diagnostics([samples.WARNING]),
        renderer.outputs({"a": "b"}),
    ):
        is_silent = not text and name in SILENT_WITHOUT_PROBLEMS
        assert is_silent or text.endswith("\n"), (
            "a report ends in a newline, and says that there is nothing to report, unless its format "
            "is in SILENT_WITHOUT_PROBLEMS"
        )


def test_an_unknown_format_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match='Did you mean "markdown"'):
        render.get("markdwon")


def test_without_colours_nothing_heavy_is_imported() -> None:
    code = "import sys, reconciler.render; print([name for name in ('rich', 'yaml', 'httpx') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1234, "1.2 kB"), (24_310, "24 kB"), (999_700, "1.0 MB"),
     (8_000_000_000, "8.0 GB"), (10**16, "10000 TB")],
)  # fmt: skip
def test_sizes_are_said_as_people_say_them(size: int, text: str) -> None:
    assert file_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (83, "1 min 23 s"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "(not set)"),
        (True, "true"),
        (1.0, "1.0"),
        ("yes", '"yes"'),
        (["yes", "word", "two words", None], '["yes", word, "two words", null]'),
        ({"a b": 1}, '{"a b": 1}'),
        ({}, "{}"),
        ("a" * 64, "sha256 aaaaaaaaaaaa"),
    ],
)
def test_values_on_one_line(value: object, text: str) -> None:
    assert inline(value) == text
