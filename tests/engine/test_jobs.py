"""Jobs as a table: run once per input, run again on request, stop what nothing declares."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from reconciler.engine import jobs
from reconciler.kinds import KINDS
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Reason
from reconciler.model.job import INPUTS_KEY, Phase
from reconciler.model.kind import OnRemove, Removal
from reconciler.model.resource import MARK_KEY, LiveObject
from tests.engine.tables import OURS, shown, store

TUNING, BATCH = KINDS["FineTuningJob"], KINDS["Batch"]
ADDRESS = Address("FineTuningJob", "tone")
MODEL = {"fine_tuned_model": "ft:gpt-4.1-mini"}


def tuning(status: str, *, inputs: str | None = "digest", **more: Any) -> LiveObject:
    metadata = {MARK_KEY: f"{OURS}/{ADDRESS}", **({INPUTS_KEY: inputs} if inputs else {})}
    attributes = {"id": "ftjob-1", "status": status, "metadata": metadata, **more}
    return shown("FineTuningJob", "ftjob-1", attributes)


def batch(status: str) -> LiveObject:
    return shown("Batch", "batch_1", {"id": "batch_1", "status": status})


def change(action: Action = Action.NO_OP, **more: Any) -> Change:
    return Change(ADDRESS, action, Reason.IN_SYNC, **more)


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("validating_files", Phase.RUNNING),
        ("queued", Phase.RUNNING),
        ("running", Phase.RUNNING),
        ("a_status_of_the_future", Phase.RUNNING),
        ("succeeded", Phase.SUCCEEDED),
        ("failed", Phase.FAILED),
        ("cancelled", Phase.FAILED),
        (None, None),
    ],
)
def test_a_status_says_how_a_job_stands(status: str | None, phase: Phase | None) -> None:
    assert TUNING.job is not None
    assert TUNING.job.phase({"status": status}) is phase


@pytest.mark.parametrize(
    ("attributes", "progress"),
    [
        ({"status": "queued"}, "queued"),
        (
            {"status": "in_progress", "request_counts": {"total": 10, "completed": 3}},
            "in_progress, total 10, completed 3",
        ),
        ({"status": "in_progress", "request_counts": None}, "in_progress"),
        (
            {
                "status": "failed",
                "request_counts": {"total": 10},
                "errors": {"data": [{"message": "line 3 is no JSON"}]},
            },
            "failed: line 3 is no JSON",
        ),
        ({"status": "failed", "request_counts": {"total": 10}}, "failed, total 10"),
    ],
)
def test_progress_has_the_counts_or_the_reason_of_a_failure(
    attributes: dict[str, Any], progress: str
) -> None:
    assert BATCH.job is not None
    assert BATCH.job.progress_of(attributes) == progress


@pytest.mark.parametrize(
    ("status", "results"), [("running", {}), ("failed", {}), ("succeeded", MODEL)]
)
def test_results_are_final_only_after_success(status: str, results: dict[str, Any]) -> None:
    assert TUNING.job is not None
    made = TUNING.job.final_results(tuning(status, **MODEL).attributes)
    assert made == results


class Found(NamedTuple):
    """What a plan adds to the change of a job that exists."""

    what: str
    live: LiveObject
    waits: bool
    progress: str
    wait_for_job: bool
    warns: bool


FOUND = [
    Found("it runs and nobody waits", tuning("running"), False, "running", False, False),
    Found("it runs and the apply waits", tuning("running"), True, "running", True, False),
    Found("it has succeeded", tuning("succeeded"), True, "", False, False),
    Found("it has failed", tuning("failed"), True, "", False, True),
]


@pytest.mark.parametrize("row", FOUND, ids=[row.what for row in FOUND])
def test_a_job_is_planned_as_it_stands(row: Found) -> None:
    assert TUNING.job is not None
    made = jobs.as_found(change(), TUNING.job, row.live, waits=row.waits)
    assert (made.job_progress, made.wait_for_job) == (row.progress, row.wait_for_job)
    assert bool(made.warnings) is row.warns


def test_a_failed_job_names_the_option_that_runs_it_again() -> None:
    assert TUNING.job is not None
    made = jobs.as_found(change(), TUNING.job, tuning("failed"), waits=False)
    assert made.warnings[0].endswith(f"--replace {ADDRESS}")


class Removed(NamedTuple):
    """What happens to a job that nothing declares any more."""

    what: str
    live: LiveObject
    on_remove: OnRemove
    action: Action
    removal: Removal | None
    reason: Reason


REMOVED = [
    Removed(
        "it runs, and is to be deleted",
        tuning("running"),
        OnRemove.DELETE,
        Action.DELETE,
        Removal.CANCEL,
        Reason.NOT_DECLARED,
    ),
    Removed(
        "it runs, and is to be retained",
        tuning("running"),
        OnRemove.RETAIN,
        Action.DELETE,
        Removal.CANCEL,
        Reason.NOT_DECLARED,
    ),
    Removed(
        "it made a model that is to be deleted",
        tuning("succeeded", **MODEL),
        OnRemove.DELETE,
        Action.DELETE,
        Removal.DELETE,
        Reason.NOT_DECLARED,
    ),
    Removed(
        "it made a model that is to be retained",
        tuning("succeeded", **MODEL),
        OnRemove.RETAIN,
        Action.FORGET,
        None,
        Reason.RETAINED,
    ),
    Removed(
        "it failed and made nothing",
        tuning("failed"),
        OnRemove.DELETE,
        Action.FORGET,
        None,
        Reason.ENDED_JOB,
    ),
    Removed(
        "a batch has ended and cannot be deleted",
        batch("completed"),
        OnRemove.DELETE,
        Action.FORGET,
        None,
        Reason.ENDED_JOB,
    ),
]


@pytest.mark.parametrize("row", REMOVED, ids=[row.what for row in REMOVED])
def test_an_undeclared_job(row: Removed) -> None:
    made = jobs.removed(change(on_remove=row.on_remove.value), row.live, Reason.NOT_DECLARED)
    assert (made.action, made.removal, made.reason) == (row.action, row.removal, row.reason)
    assert made.is_job


def test_the_end_of_a_running_job_is_a_loss() -> None:
    made = jobs.removed(change(), tuning("running"), Reason.NOT_DECLARED)
    assert made.is_destructive
    assert made.destroys == "its work so far is lost"


def test_only_a_job_can_be_removed_as_one() -> None:
    with pytest.raises(TypeError, match="VectorStore is no job"):
        jobs.removed(change(), store("vs_1"), Reason.NOT_DECLARED)


@pytest.mark.parametrize(
    ("live", "is_history"),
    [(batch("completed"), True), (batch("in_progress"), False), (store("vs_1"), False)],
)
def test_an_ended_job_that_cannot_be_removed_is_history(live: LiveObject, is_history: bool) -> None:
    assert jobs.is_history(live) is is_history


@pytest.mark.parametrize(
    ("status", "destructive"),
    [("running", "its work so far is lost"), ("succeeded", ""), ("failed", "")],
)
def test_another_run_destroys_only_what_a_running_one_has_done(
    status: str, destructive: str
) -> None:
    made = jobs.run_again(change(), Reason.REQUESTED, tuning(status), waits=False)
    assert (made.action, made.removal) == (Action.REPLACE, Removal.CANCEL)
    assert made.destructive == destructive
    assert not made.create_before_destroy


def test_another_run_for_other_inputs_says_so() -> None:
    made = jobs.run_again(
        change(), Reason.FIELD_FORCES_REPLACEMENT, tuning("succeeded"), waits=True
    )
    assert (made.reason, made.wait_for_job) == (Reason.OTHER_INPUTS, True)


@pytest.mark.parametrize(
    ("live", "inputs", "differs"),
    [
        (tuning("running"), "other", True),
        (tuning("running"), None, False),
        (tuning("running", inputs=None), "other", False),
    ],
    ids=["another digest", "inputs that are not known yet", "a job without a digest"],
)
def test_a_digest_shows_other_inputs(live: LiveObject, inputs: str | None, differs: bool) -> None:
    changes = list(jobs.other_inputs(live, inputs))
    assert bool(changes) is differs
    assert all(made.forces_replacement for made in changes)
