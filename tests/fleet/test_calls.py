"""The API calls that a fleet makes are bounded."""

from __future__ import annotations

import pytest

from tests.fleet.beds import FleetBed

pytestmark = pytest.mark.slow

STACKS = 3
APPLY = ("fleet", "apply", "--yes")


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
    assert quiet["GET /organization/projects/{project_id}/service_accounts"] == 0
    # Two lists for all stacks. A stack that was late for the first list asks once more, which depends
    # on the machine; without the log, each of the six stacks would read two lists of its own.
    assert sum(quiet.values()) <= 2 + STACKS
    bed.change_a_limit(0)
    bed.platform.forget_requests()
    assert "drifted" in bed.run("fleet", "plan", expect=0).out
    changed = bed.platform[0].calls()
    assert changed["GET /organization/projects/{project_id}/rate_limits"] == 1
