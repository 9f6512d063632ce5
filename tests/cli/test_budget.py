"""Claims about `--budget`: what it refuses, when, and that it is never exceeded."""

from __future__ import annotations

import pytest

from tests.bench import workloads
from tests.cli.test_incremental import MANIFESTS, READ_IN_FULL
from tests.conftest import Workspace


def lose_state(workspace: Workspace) -> None:
    for path in (workspace.folder / ".reconciler").iterdir():
        path.unlink()


@pytest.fixture
def organization(workspace: Workspace) -> Workspace:
    workspace.write({"all.yaml": MANIFESTS}).apply()
    workspace.emulator.clear_requests()
    return workspace


def plan(workspace: Workspace, budget: int, *options: str, expect: int) -> tuple[str, int]:
    """What a plan says on standard error, and how many calls it made."""
    workspace.emulator.clear_requests()
    finished = workspace.run("plan", "--budget", str(budget), *options, expect=expect)
    return finished.err, len(workspace.emulator.requests)


@pytest.mark.parametrize("refresh", ["auto", "full"])
def test_a_plan_keeps_to_a_budget_of_its_exact_calls(organization: Workspace, refresh: str) -> None:
    organization.run("plan", "--refresh", refresh, expect=0)
    needed = len(organization.emulator.requests)
    assert needed == {"auto": 1, "full": READ_IN_FULL}[refresh]
    assert plan(organization, needed, "--refresh", refresh, expect=0)[1] == needed
    said, calls = plan(organization, needed - 1, "--refresh", refresh, expect=1)
    assert (
        f"needs at least {needed} call{'s' if needed > 1 else ''}, over the budget of {needed - 1}"
        in said
    )
    assert calls == 0


def test_a_plan_that_the_log_makes_cheap_enough_is_made(organization: Workspace) -> None:
    more = "kind: ServiceAccount\nmetadata: {name: cd, project: b}\nspec: {role: member}\n"
    organization.write({"more.yaml": more})
    assert plan(organization, READ_IN_FULL - 1, expect=0)[1] == 2


def test_a_log_that_saves_too_little_is_all_that_is_asked(organization: Workspace) -> None:
    organization.emulator.add_fault("on=GET:*audit_logs,do=error:403")
    said, calls = plan(organization, READ_IN_FULL, expect=1)
    assert f"needs at least {READ_IN_FULL + 1} calls" in said
    assert calls == 1


def test_lists_that_are_searched_for_a_lost_state_count(workspace: Workspace) -> None:
    workspace.write(dict(workloads.assistants(3))).apply()
    lose_state(workspace)
    searched = plan(workspace, 1000, expect=0)[1]
    assert searched > 1
    said, calls = plan(workspace, searched - 1, expect=1)
    assert f"needs at least {searched} calls" in said
    assert calls == 0


def test_objects_of_others_stop_a_plan_at_its_budget(workspace: Workspace) -> None:
    workspace.write(dict(workloads.assistants(3))).apply()
    workspace.emulator.seed(assistants=900)
    said, calls = plan(workspace, 2, expect=1)
    assert "needs more calls than the budget of 2: GET /assistants/asst_" in said
    assert calls == 2


def test_calls_that_are_sent_again_count(workspace: Workspace) -> None:
    workspace.write(dict(workloads.assistants(3))).apply()
    workspace.emulator.add_fault("on=GET:/assistants,do=error:503,times=0")
    assert plan(workspace, 1, expect=1)[1] == 1


def test_a_plan_without_refresh_needs_no_budget(workspace: Workspace) -> None:
    workspace.write(dict(workloads.assistants(3))).apply()
    assert plan(workspace, 0, "--refresh", "none", expect=0)[1] == 0


def test_the_pages_that_our_own_objects_fill_count(workspace: Workspace) -> None:
    workspace.write(dict(workloads.assistants(201))).apply()
    said, calls = plan(workspace, 2, expect=1)
    assert "needs at least 3 calls" in said
    assert calls == 0
    assert plan(workspace, 3, expect=0)[1] == 3


def test_a_budget_of_an_apply_is_for_its_reading(workspace: Workspace) -> None:
    workspace.write(dict(workloads.assistants(3))).apply()
    workspace.write(dict(workloads.assistants(5)))
    workspace.apply("--budget", "1")
