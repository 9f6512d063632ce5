"""Metrics and notices of the operator."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from reconciler.model.fleet import StackId, StackResult, StackStatus
from reconciler.operator.reconcile import Reconciler
from reconciler.operator.sources import SourceFolder
from reconciler.telemetry.recorder import NoRecorder
from tests.operator.bed import Bed


class Notebook(NoRecorder):
    """A recorder that keeps what it hears."""

    def __init__(self) -> None:
        self.results: dict[tuple[str, str], list[StackResult]] = {}
        self.intervals: set[float | None] = set()

    def record(self, result: StackResult, *, interval_seconds: float | None = None) -> None:
        key = (result.id.folder, result.id.environment)
        self.results.setdefault(key, []).append(result)
        self.intervals.add(interval_seconds)

    def forget(self, id: StackId) -> None:
        self.results.pop((id.folder, id.environment), None)

    @property
    def heard(self) -> Mapping[tuple[str, str], list[tuple[StackStatus, str]]]:
        return {
            key: [(result.status, result.reason) for result in results]
            for key, results in self.results.items()
        }


@pytest.fixture
def notebook() -> Notebook:
    """A recorder."""
    return Notebook()


@pytest.fixture
def operator(bed: Bed, notebook: Notebook) -> Reconciler:
    """An operator that reports to the notebook."""
    return Reconciler(
        bed.registry,
        bed.kube,
        SourceFolder(bed.sources),
        bed.options,
        bed.redactor,
        clock=lambda: bed.now,
        recorder=notebook,
    )


def test_a_plan_that_waits_for_approval_says_so(
    bed: Bed, operator: Reconciler, notebook: Notebook
) -> None:
    bed.stack(mode="approve")
    bed.look(reconciler=operator)
    bed.approve()
    bed.look(reconciler=operator)
    (results,) = notebook.heard.values()
    assert results == [(StackStatus.PENDING, "AwaitingApproval"), (StackStatus.APPLIED, "")]
    assert notebook.intervals == {60.0}


def test_a_stack_without_a_source_has_failed(
    bed: Bed, operator: Reconciler, notebook: Notebook
) -> None:
    bed.stack(source={"configMap": {"name": "missing"}})
    bed.look(reconciler=operator)
    (results,) = notebook.heard.values()
    assert results == [(StackStatus.FAILED, "SourceNotFound")]


def test_a_stack_that_changes_its_environment_or_goes_leaves_nothing_behind(
    bed: Bed, operator: Reconciler, notebook: Notebook
) -> None:
    bed.stack(mode="observe")
    bed.look(reconciler=operator)
    assert list(notebook.heard) == [("team/search", "default")]
    for environment in ("dev", "prod"):
        bed.stack(environment=environment, source={"configMap": {"name": "missing"}})
        bed.look(reconciler=operator)
    assert list(notebook.heard) == [("team/search", "prod")]
    bed.stack(mode="observe")
    bed.look(reconciler=operator)
    assert list(notebook.heard) == [("team/search", "default")]
    bed.cluster.objects.clear()
    bed.look(reconciler=operator)
    assert list(notebook.heard) == []


def test_a_stack_that_was_created_again_unseen_in_another_environment_leaves_nothing_behind(
    bed: Bed, operator: Reconciler, notebook: Notebook
) -> None:
    bed.stack(environment="dev", source={"configMap": {"name": "missing"}})
    bed.look(reconciler=operator)
    assert list(notebook.heard) == [("team/search", "dev")]
    # Deleted and created again before the operator looks.
    bed.cluster.objects.pop(("stacks", "team", "search"))
    bed.stack(environment="prod", source={"configMap": {"name": "missing"}})
    bed.look(reconciler=operator)
    assert list(notebook.heard) == [("team/search", "prod")]
