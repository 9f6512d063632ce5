"""Progress bars show the phase, its counts and the time left."""

from __future__ import annotations

import io

import pytest

from reconciler.render.bars import Bar, outlook_text
from reconciler.render.progress import Outlook, Progress


@pytest.mark.parametrize(
    ("outlook", "text"),
    [
        (Outlook(0, 0, "calls"), ""),
        (Outlook(3, 1250, "calls"), "3 of 1,250 calls"),
        (Outlook(3, 10, "changes", 4.2), "3 of 10 changes, a few seconds left"),
        (Outlook(3, 10, "changes", 200.4), "3 of 10 changes, about 3 min 20 s left"),
    ],
)
def test_an_outlook_shows_the_progress_and_the_time_left(outlook: Outlook, text: str) -> None:
    assert outlook_text(outlook) == text


def test_a_bar_shows_its_phase_and_what_is_counted() -> None:
    stream = io.StringIO()
    with Bar(stream, "Reading", lambda: Outlook(4, 8, "calls"), color=False):
        pass
    assert "Reading" in stream.getvalue()
    assert "4 of 8 calls" in stream.getvalue()


def test_a_bar_leaves_the_cursor_where_it_is_visible() -> None:
    stream = io.StringIO()
    with Bar(stream, "Reading", lambda: Outlook(4, 8, "calls"), color=False):
        pass
    assert "\x1b[?25l" not in stream.getvalue()


def test_lines_go_above_the_bar_as_they_are() -> None:
    stream = io.StringIO()
    progress = Progress(stream, enabled=True, color=False, bars=True)
    with progress.phase("Reading", lambda: Outlook(4, 8, "calls")):
        progress.waiting(
            "[bold]rate limit[/bold] of GET /a", 60, until=60.0, left="; 3 calls to come"
        )
    assert (
        "… waiting 1 min 0 s, until 00:01:00 UTC: [bold]rate limit[/bold] of GET /a; 3 calls to come\n"
        in stream.getvalue()
    )


def test_there_is_no_bar_where_nobody_watches() -> None:
    stream = io.StringIO()
    with Progress(stream, enabled=True, color=False).phase(
        "Reading", lambda: Outlook(4, 8, "calls")
    ):
        pass
    assert stream.getvalue() == ""
