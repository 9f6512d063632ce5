"""Progress is written as lines, and waits are repeated rarely."""

from __future__ import annotations

import io

from msgspec import structs

from reconciler.model.address import Address
from reconciler.model.change import Outcome, OutcomeStatus
from reconciler.render.progress import Outlook, Progress

from . import samples
from .goldens import assert_golden


def run(*, enabled: bool, color: bool = False) -> str:
    stream = io.StringIO()
    progress = Progress(stream, enabled=enabled, color=color)
    for change in samples.FULL.pending:
        progress.started(change)
    for outcome in samples.RESULT.outcomes:
        progress.finished(outcome)
    progress.waiting("the admin endpoints answer 7 requests a minute", 8.5, until=1_800_000_008.5)
    return stream.getvalue()


def test_progress_reads_as_it_did() -> None:
    assert_golden("progress.txt", run(enabled=True))


def test_without_a_terminal_only_waits_are_reported() -> None:
    (line,) = run(enabled=False).splitlines()
    assert "waiting 8.5 s, until 08:00:08 UTC" in line


def test_a_wait_of_many_threads_is_repeated_after_half_a_minute() -> None:
    stream = io.StringIO()
    progress = Progress(stream, enabled=False, color=False)
    for until in (10.0, 10.0, 39.0, 41.0):
        progress.waiting("rate limit of GET /a", 9, until=until)
    assert stream.getvalue().count("\n") == 2


def test_progress_has_colours_where_asked() -> None:
    assert "\x1b[" in run(enabled=True, color=True)


def test_a_message_cannot_write_over_the_screen() -> None:
    stream = io.StringIO()
    outcome = Outcome(samples.BOT, OutcomeStatus.FAILED, message="\x1b[2J\r\nok")
    Progress(stream, enabled=True, color=False).finished(outcome)
    assert stream.getvalue() == "✗ Assistant/search/support-bot: not created: \\x1b[2J\\r\\nok\n"


def test_what_runs_is_listed_below_the_bar_until_it_ends() -> None:
    stream = io.StringIO()
    progress = Progress(stream, enabled=True, color=False, bars=True)
    changes = [
        structs.replace(samples.LIMIT, address=Address("RateLimit", f"gpt-{number}", "support"))
        for number in range(10)
    ]
    # A bar draws itself for the last time when its phase ends.
    with progress.phase("Applying", lambda: Outlook(1, 12, "changes")):
        for change in changes:
            progress.started(change)
        progress.finished(Outcome(changes[0], OutcomeStatus.APPLIED))
    shown = stream.getvalue()
    assert "~ RateLimit/support/gpt-1  updating" in shown
    assert "and 1 more" in shown
    assert "gpt-0" not in shown
