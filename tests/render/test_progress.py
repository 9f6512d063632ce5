from __future__ import annotations

import io

from reconciler.model.change import Outcome, OutcomeStatus
from reconciler.render.progress import Progress

from . import samples
from .goldens import assert_golden


def run(*, enabled: bool, color: bool = False) -> str:
    stream = io.StringIO()
    progress = Progress(stream, enabled=enabled, color=color)
    for change in samples.FULL.pending:
        progress.started(change)
    for outcome in samples.RESULT.outcomes:
        progress.finished(outcome)
    progress.waiting("the admin endpoints answer 7 requests a minute", 8.5)
    return stream.getvalue()


def test_progress_reads_as_it_did() -> None:
    assert_golden("progress.txt", run(enabled=True))


def test_progress_is_quiet_where_nobody_watches() -> None:
    assert run(enabled=False) == ""


def test_progress_has_colours_where_asked() -> None:
    assert "\x1b[" in run(enabled=True, color=True)


def test_a_message_cannot_write_over_the_screen() -> None:
    stream = io.StringIO()
    outcome = Outcome(samples.BOT, OutcomeStatus.FAILED, message="\x1b[2J\r\nok")
    Progress(stream, enabled=True, color=False).finished(outcome)
    assert stream.getvalue() == "✗ Assistant/search/support-bot: not created: \\x1b[2J\\r\\nok\n"
