"""The wait for a job ends with the outcome in the API's answers, without a real pause."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from reconciler.engine.apply.wait import wait_for_job
from reconciler.errors import JobError
from reconciler.kinds import KINDS
from reconciler.model.change import Action, Change, Plan, Reason
from reconciler.model.kind import Kind
from reconciler.model.resource import LiveObject
from reconciler.model.values import Reference
from tests.engine.memory import MemoryApi, Stack
from tests.engine.tables import NOW, at

BATCH = at("Batch/nightly")
RESULT = Reference(BATCH, ("output_file_id",))


def batch(status: str, **more: Any) -> LiveObject:
    return LiveObject(KINDS["Batch"], "batch_1", {"id": "batch_1", "status": status, **more})


class JobApi(MemoryApi):
    """Answers the reads of a job one after the other; the last answer stays. None: not found."""

    def __init__(self, *answers: LiveObject | None) -> None:
        super().__init__()
        self.answers = list(answers)
        self.events: list[list[tuple[str, str]]] = []
        """The events that each look at the job shows."""
        self.on_read: Callable[[], None] = lambda: None

    def get(
        self, kind: Kind, project: str | None, id: str, *, fresh: bool = False
    ) -> LiveObject | None:
        """The next answer."""
        self.on_read()
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def job_events(self, live: LiveObject) -> Sequence[tuple[str, str]]:
        """The events so far."""
        return self.events.pop(0) if self.events else ()


class Waiting:
    """A change that waits for a batch, and everything that it reports."""

    def __init__(self, stack: Stack, **desired: Any) -> None:
        self.change = Change(
            BATCH, Action.UPDATE, Reason.RUNNING, id="batch_1", desired=desired, wait_for_job=True
        )
        self.context = stack.context(Plan("shop", "prod", (self.change,)))
        self.told: list[str] = []

    def run(self) -> tuple[str, ...]:
        """Wait; the notes of the result."""
        return wait_for_job(self.change, self.context, self.told.append).notes


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """Makes a stack whose API answers like this."""
    made: list[Stack] = []

    def make(*answers: LiveObject | None) -> Stack:
        made.append(Stack(tmp_path, JobApi(*answers), is_moving=True))
        return made[-1]

    yield make
    for each in made:
        each.store.close()


def test_a_wait_ends_with_the_success_of_the_job(stack: Callable[..., Stack]) -> None:
    waiting = Waiting(stack(batch("in_progress"), batch("completed")))
    assert waiting.run() == ("completed",)


def test_the_results_of_a_job_have_a_value_after_the_wait(stack: Callable[..., Stack]) -> None:
    waiting = Waiting(stack(batch("completed", output_file_id="file-9")))
    waiting.run()
    assert waiting.context.references.lookup(RESULT) == "file-9"


@pytest.mark.parametrize("status", ["failed", "expired", "cancelled"])
def test_a_job_that_fails_is_an_error_that_names_its_end(
    stack: Callable[..., Stack], status: str
) -> None:
    waiting = Waiting(stack(batch("in_progress"), batch(status)))
    with pytest.raises(JobError, match=f"did not succeed: {status}") as error:
        waiting.run()
    assert "--replace" in error.value.hint


def test_a_new_job_may_be_missing_at_first(stack: Callable[..., Stack]) -> None:
    assert Waiting(stack(None, None, batch("completed"))).run() == ("completed",)


def test_a_job_that_stays_missing_is_an_error(stack: Callable[..., Stack]) -> None:
    made = stack(None)
    with pytest.raises(JobError, match="is not there any more"):
        Waiting(made).run()
    assert sum(made.pauses) <= 60


def test_a_job_beyond_its_timeout_continues_and_is_an_error(
    stack: Callable[..., Stack],
) -> None:
    made = stack(batch("in_progress"))
    waiting = Waiting(made, timeout_minutes=2)
    with pytest.raises(JobError, match="after 2 minutes, and continues"):
        waiting.run()
    assert made.api.written == []
    assert made.clock() - NOW == pytest.approx(120.0)


def test_slow_answers_do_not_extend_the_allowed_time(stack: Callable[..., Stack]) -> None:
    made = stack(batch("in_progress"))
    assert isinstance(made.api, JobApi)
    made.api.on_read = lambda: made.pauses.append(50.0)
    with pytest.raises(JobError):
        Waiting(made, timeout_minutes=2).run()
    assert made.clock() - NOW <= 120.0 + 50.0


def test_the_pauses_of_a_wait_grow_to_a_quarter_of_a_minute(stack: Callable[..., Stack]) -> None:
    made = stack(batch("in_progress"))
    with pytest.raises(JobError):
        Waiting(made, timeout_minutes=5).run()
    assert made.pauses[0] < 1.0
    assert max(made.pauses) == 15.0


def test_progress_is_reported_when_it_changes(stack: Callable[..., Stack]) -> None:
    counts = {"total": 2, "completed": 1}
    half = batch("in_progress", request_counts=counts)
    waiting = Waiting(stack(batch("in_progress"), half, half, batch("completed")))
    waiting.run()
    assert waiting.told == ["in_progress", "in_progress, total 2, completed 1", "completed"]


def test_an_event_is_reported_once_and_another_with_the_same_text_again(
    stack: Callable[..., Stack],
) -> None:
    made = stack(batch("in_progress"), batch("in_progress"), batch("completed"))
    assert isinstance(made.api, JobApi)
    step, next_step = ("ev_1", "Step done"), ("ev_2", "Step done")
    made.api.events = [[step], [step, next_step], [step, next_step]]
    waiting = Waiting(made)
    waiting.run()
    assert waiting.told == ["Step done", "in_progress", "Step done", "completed"]
