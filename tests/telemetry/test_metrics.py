"""Prometheus metrics have the right values after each run."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from reconciler.emulator import Emulator
from reconciler.fleet.stack_run import FleetContext
from reconciler.model.change import Action, OutcomeStatus
from reconciler.model.fleet import Command, StackId, StackStatus
from reconciler.model.keys import KeyAction
from reconciler.model.traffic import SentRequest
from reconciler.telemetry import catalog
from reconciler.telemetry.catalog import MetricType
from reconciler.telemetry.metrics import PrometheusRecorder
from tests.telemetry.stacks import (
    NOW,
    applied,
    change,
    drift,
    plan,
    result,
    rotation,
    run_on,
    stack_id,
)

KEY = "sk-admin-" + "a1b2c3d4" * 4

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(recorder: PrometheusRecorder) -> Samples:
    """Every sample of a scrape, by its name and labels; no sample is there twice."""
    parsed: Samples = {}
    text = generate_latest(recorder.registry).decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in parsed
            parsed[key] = sample.value
    return parsed


def value(recorder: PrometheusRecorder, name: str, **labels: str) -> float | None:
    """The value of the only series with these labels; None without one."""
    wanted = set(labels.items())
    values = [
        number
        for (found, given), number in samples(recorder).items()
        if found == name and wanted <= set(given)
    ]
    assert len(values) <= 1
    return values[0] if values else None


def request(**fields: object) -> SentRequest:
    """A request that was answered at once."""
    base = SentRequest("org-acme", "GET", "/organization/projects", 200, 1, 0.0, NOW, 0.25)
    return replace(base, **fields)


def test_a_stack_has_one_status() -> None:
    recorder = PrometheusRecorder()
    recorder.record(result(StackStatus.IN_SYNC))
    recorder.record(result(StackStatus.DRIFTED))
    statuses = {
        dict(labels)["status"]: number
        for (name, labels), number in samples(recorder).items()
        if name == "reconciler_stack_status"
    }
    assert statuses == {
        status.name.lower(): float(status is StackStatus.DRIFTED) for status in StackStatus
    }
    assert value(recorder, "reconciler_stacks", status="drifted") == 1
    assert value(recorder, "reconciler_stacks", status="in_sync") == 0


def test_a_look_counts_drift_changes_refusals_and_keys() -> None:
    recorder = PrometheusRecorder()
    looked = plan(
        change(Action.CREATE, "new", id=None),
        change(Action.UPDATE, "bot", keys=(rotation(is_due=True),)),
        change(Action.NO_OP, "late", keys=(rotation(is_due=True, action=KeyAction.KEEP),)),
        drifts=(drift("bot"), drift("late", fields=(), overdue="its key is old")),
        refusals=("one", "two"),
    )
    recorder.record(result(StackStatus.REFUSED, plan=looked))
    assert value(recorder, "reconciler_drifted_objects") == 1
    assert value(recorder, "reconciler_pending_changes", action="create") == 1
    assert value(recorder, "reconciler_pending_changes", action="delete") == 0
    assert value(recorder, "reconciler_refusals") == 2
    assert value(recorder, "reconciler_keys_due") == 1
    assert value(recorder, "reconciler_keys_overdue") == 2
    assert value(recorder, "reconciler_last_look_timestamp_seconds") == NOW


def test_a_failed_run_keeps_the_last_look() -> None:
    recorder = PrometheusRecorder()
    recorder.record(result(StackStatus.DRIFTED, plan=plan(drifts=(drift(),))))
    recorder.record(result(StackStatus.FAILED, ended_at=NOW + 3600, organization=""))
    assert value(recorder, "reconciler_drifted_objects") == 1
    assert value(recorder, "reconciler_last_look_timestamp_seconds") == NOW
    assert value(recorder, "reconciler_last_run_timestamp_seconds") == NOW + 3600
    assert value(recorder, "reconciler_stack_status", status="failed") == 1


def test_a_plan_that_could_not_read_an_object_is_no_look() -> None:
    recorder = PrometheusRecorder()
    unread = plan(change(Action.NO_OP, blocked="the answer is no JSON"))
    recorder.record(result(StackStatus.FAILED, plan=unread))
    assert value(recorder, "reconciler_last_look_timestamp_seconds") is None


def test_an_apply_leaves_the_figures_of_unapplied_changes() -> None:
    recorder = PrometheusRecorder()
    planned = plan(
        change(Action.UPDATE, "done", keys=(rotation(is_due=True),)),
        change(Action.UPDATE, "stuck", keys=(rotation(is_due=True),)),
        drifts=(drift("done"), drift("stuck")),
    )
    outcomes = applied(planned, OutcomeStatus.APPLIED, OutcomeStatus.FAILED)
    ended = result(StackStatus.FAILED, plan=planned, result=outcomes, command=Command.APPLY)
    recorder.record(ended)
    recorder.record(ended)
    assert value(recorder, "reconciler_pending_changes", action="update") == 1
    assert value(recorder, "reconciler_drifted_objects") == 1
    assert value(recorder, "reconciler_keys_overdue") == 1
    assert value(recorder, "reconciler_last_apply_changes", status="applied") == 1
    assert value(recorder, "reconciler_apply_changes_total", status="applied") == 2
    assert value(recorder, "reconciler_apply_changes_total", status="failed") == 2
    assert value(recorder, "reconciler_runs_total", command="apply", status="failed") == 2


def test_a_locked_stack_counts_as_a_conflict() -> None:
    recorder = PrometheusRecorder()
    recorder.record(result(StackStatus.LOCKED))
    recorder.record(result(StackStatus.LOCKED))
    recorder.record(result(StackStatus.IN_SYNC))
    assert value(recorder, "reconciler_lock_conflicts_total") == 2


def test_durations_fall_into_cumulative_buckets() -> None:
    recorder = PrometheusRecorder()
    for seconds in (0.5, 60.0, 100_000.0):
        recorder.record(result(began_at=NOW - seconds))
    buckets = "reconciler_run_duration_seconds_bucket"
    assert value(recorder, buckets, le="1.0") == 1
    assert value(recorder, buckets, le="60.0") == 2
    assert value(recorder, buckets, le="3600.0") == 2
    assert value(recorder, buckets, le="+Inf") == 3
    assert value(recorder, "reconciler_run_duration_seconds_count") == 3
    assert value(recorder, "reconciler_run_duration_seconds_sum") == 100_060.5


def test_requests_count_by_route_and_status() -> None:
    recorder = PrometheusRecorder()
    for status in (200, 200, 429, 520, 0):
        recorder.sent(request(status=status, waited_seconds=1.5))
    counted = {
        status: value(recorder, "reconciler_api_requests_total", status=status)
        for status in ("200", "429", "5xx", "none")
    }
    assert counted == {"200": 2, "429": 1, "5xx": 1, "none": 1}
    assert value(recorder, "reconciler_api_wait_seconds_total") == 7.5
    assert value(recorder, "reconciler_api_request_seconds_total") == 1.25


def test_limits_are_those_of_their_route() -> None:
    recorder = PrometheusRecorder()
    recorder.limits("org-acme", {"GET /organization/projects": 7})
    assert (
        value(
            recorder,
            "reconciler_api_limit_requests_per_minute",
            organization="org-acme",
            method="GET",
            route="/organization/projects",
        )
        == 7
    )


def test_a_stack_that_left_has_no_series() -> None:
    recorder = PrometheusRecorder()
    recorder.record(result())
    recorder.forget(stack_id())
    assert value(recorder, "reconciler_last_run_timestamp_seconds") is None
    assert value(recorder, "reconciler_stacks", status="in_sync") == 0


def test_stacks_beyond_the_limit_are_only_counted() -> None:
    recorder = PrometheusRecorder(max_stacks=2)
    for number in range(5):
        recorder.record(result(id=stack_id(f"stack-{number}")))
    assert value(recorder, "reconciler_stacks", status="in_sync") == 5
    assert value(recorder, "reconciler_stacks_without_series") == 3
    shown = [
        dict(labels)["stack"]
        for name, labels in samples(recorder)
        if name == "reconciler_last_run_timestamp_seconds"
    ]
    assert shown == ["stack-0", "stack-1"]


def test_two_stacks_of_one_name_have_series_of_their_own() -> None:
    recorder = PrometheusRecorder()
    recorder.record(result(id=StackId("a", "prod", "search")))
    recorder.record(result(id=StackId("b", "prod", "search")))
    shown = {
        dict(labels)["stack"]
        for name, labels in samples(recorder)
        if name == "reconciler_last_run_timestamp_seconds"
    }
    assert shown == {"search", "b"}


def test_a_stack_whose_file_broke_keeps_its_name() -> None:
    recorder = PrometheusRecorder()
    recorder.record(result())
    recorder.record(result(StackStatus.FAILED, id=StackId("stacks/search", "prod")))
    assert value(recorder, "reconciler_stack_status", stack="search", status="failed") == 1


@pytest.mark.parametrize(
    "name", ['a"} 1\nreconciler_drifted_objects 5', "a\\", "\ud800", "\x1b[2J", "x" * 10_000, KEY]
)
def test_no_name_breaks_the_page_or_leaks_a_key(name: str) -> None:
    recorder = PrometheusRecorder()
    hostile = StackId(name, name, name)
    recorder.record(result(id=hostile, organization=name, message=KEY))
    recorder.sent(request(organization=name))
    text = generate_latest(recorder.registry).decode()
    assert KEY not in text
    assert "\x1b" not in text
    assert value(recorder, "reconciler_drifted_objects") is None
    assert max(map(len, text.splitlines())) < 1_000


def test_every_series_is_in_the_catalog_with_its_labels() -> None:
    recorder = PrometheusRecorder()
    planned = plan(change())
    outcomes = applied(planned, OutcomeStatus.APPLIED)
    recorder.record(result(plan=planned, result=outcomes, spend_share=0.5), interval_seconds=300)
    recorder.sent(request())
    recorder.limits("org-acme", {"GET /organization/projects": 7})
    recorder.notified(delivered=True)
    shown: dict[str, set[str]] = {}
    for name, labels in samples(recorder):
        for suffix in ("_bucket", "_sum", "_count"):
            name = name.removesuffix(suffix)
        shown.setdefault(name, set()).update(dict(labels).keys() - {"le"})
    assert shown == {metric.name: set(metric.labels) for metric in catalog.METRICS}


def test_names_follow_the_conventions_of_prometheus() -> None:
    for metric in catalog.METRICS:
        assert metric.name.startswith("reconciler_")
        assert metric.name.endswith("_total") == (metric.type is MetricType.COUNTER)
        assert metric.help.endswith(".")


def test_a_run_on_the_emulator_counts_its_requests(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "store.yaml").write_text(
        "kind: VectorStore\nmetadata: {name: handbook}\nspec: {name: Handbook}\n"
    )
    recorder = PrometheusRecorder()
    context = FleetContext(recorder=recorder)
    for command in (Command.APPLY, Command.DRIFT):
        recorder.record(run_on(emulator, tmp_path, command, context))
    sent = {
        (dict(labels)["method"], dict(labels)["route"])
        for name, labels in samples(recorder)
        if name == "reconciler_api_requests_total"
    }
    assert ("POST", "/vector_stores") in sent
    assert ("GET", "/vector_stores") in sent
    assert value(recorder, "reconciler_apply_changes_total", status="applied") == 1
    assert value(recorder, "reconciler_pending_changes", action="create") == 0
    assert value(recorder, "reconciler_stack_status", status="in_sync") == 1
