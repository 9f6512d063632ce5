"""What a fleet costs the organizations, in calls."""

from __future__ import annotations

import httpx

from tests.fleet.beds import FleetBed

STACKS = 3
APPLY = ("fleet", "apply", "--yes")


def change_a_limit(bed: FleetBed, number: int) -> None:
    """Somebody changes a limit of a stack by hand, as the log reports."""
    stack = bed.stacks[number]
    [project] = [
        item.id
        for item in stack.organization.objects("project")
        if item.body["name"] == stack.project
    ]
    answer = httpx.post(
        f"{bed.platform.base_url}/organization/projects/{project}/rate_limits/rl-gpt-4.1",
        headers={"Authorization": f"Bearer {stack.organization.admin_key}"},
        json={"max_requests_per_1_minute": 77},
    )
    answer.raise_for_status()


def test_after_an_apply_the_log_says_which_of_many_stacks_with_a_project_each_to_read(
    bed: FleetBed,
) -> None:
    bed.write_stacks(2 * STACKS)
    bed.run(*APPLY, expect=0)
    bed.run(*APPLY, expect=0)
    bed.platform.forget_requests()
    bed.run("fleet", "plan", expect=0)
    quiet = bed.platform[0].calls()
    assert quiet["GET /organization/projects/{project_id}/rate_limits"] == 0
    assert sum(quiet.values()) <= 2
    change_a_limit(bed, 0)
    bed.platform.forget_requests()
    assert "drifted" in bed.run("fleet", "plan", expect=0).out
    changed = bed.platform[0].calls()
    assert changed["GET /organization/projects/{project_id}/rate_limits"] == 1
