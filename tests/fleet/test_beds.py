"""The test beds of fleets hold their promises."""

from __future__ import annotations

from pathlib import Path

import httpx

from reconciler.emulator import EmulatorOptions
from reconciler.fleet.stack_run import FleetContext, FleetStack, StackRequest, run_stack
from reconciler.manifests import Settings
from reconciler.model.fleet import Command, StackId, StackResult, StackStatus
from tests.fleet.beds import BedStack, FleetBed, StackSize
from tests.fleet.clock import JumpingClock
from tests.fleet.organizations import Organizations


def run(bed: FleetBed, stack: BedStack, command: Command) -> StackResult:
    environment = None if stack.environment == "default" else stack.environment
    settings = Settings(stack.folder, environment=environment, env=bed.environment)
    id = StackId(stack.folder.name, stack.environment, stack.name)
    return run_stack(FleetStack(id, stack.folder, settings), StackRequest(command), FleetContext())


def projects(platform: Organizations, key: str) -> tuple[int, list[str]]:
    headers = {"Authorization": f"Bearer {key}"}
    url = f"{platform.base_url}/organization/projects"
    answer = httpx.get(url, headers=headers, verify=False)
    return answer.status_code, [item["name"] for item in answer.json().get("data", ())]


def test_a_key_opens_its_own_organization_alone(bed: FleetBed) -> None:
    first, second = bed.write_stacks(2)
    assert run(bed, first, Command.APPLY).status is StackStatus.APPLIED
    assert run(bed, second, Command.APPLY).status is StackStatus.APPLIED
    assert "team-0001" not in projects(bed.platform, bed.platform[0].admin_key)[1]
    assert "team-0001" in projects(bed.platform, bed.platform[1].admin_key)[1]


def test_the_environments_of_a_folder_are_stacks_in_different_organizations(bed: FleetBed) -> None:
    for stack in bed.write_stacks(1, environments=("staging", "prod")):
        assert run(bed, stack, Command.APPLY).status is StackStatus.APPLIED
    assert [one.id for one in bed.platform if one.objects("service_account")] == [
        "org-fleet00",
        "org-fleet01",
    ]
    assert bed.wrong() == []


def test_a_revoked_key_is_refused_until_it_is_restored(platform: Organizations) -> None:
    platform[1].revoke_admin_key()
    assert projects(platform, platform[1].admin_key)[0] == 401
    assert projects(platform, platform[0].admin_key)[0] == 200
    platform[1].restore_admin_key()
    assert projects(platform, platform[1].admin_key)[0] == 200


def test_organizations_that_stop_come_back_at_their_address_with_their_objects(
    bed: FleetBed,
) -> None:
    (stack,) = bed.write_stacks(1, size=StackSize(assistants=1))
    run(bed, stack, Command.APPLY)
    bed.platform.stop()
    bed.platform.start()
    assert run(bed, stack, Command.PLAN).status is StackStatus.IN_SYNC


def test_what_is_missing_and_what_is_too_much_is_named(bed: FleetBed) -> None:
    first = bed.write_stacks(2)[0]
    run(bed, first, Command.APPLY)
    account = bed.platform[0].objects("service_account")[0]
    account.body["name"] = "stranger"
    assert bed.wrong() == [
        "org-fleet00: missing: service_account team-0000-0 × 1",
        "org-fleet00: too much: service_account stranger × 1",
        "org-fleet01: missing: project team-0001 × 1",
        "org-fleet01: missing: service_account team-0001-0 × 1",
        "team-0000-0.key holds no key that works",
        "team-0001-0.key holds no key that works",
    ]


def test_each_organization_has_a_limit_of_its_own() -> None:
    with Organizations(2, EmulatorOptions(admin_rpm=7)) as platform:
        codes = [projects(platform, platform[0].admin_key)[0] for _ in range(8)]
        assert codes == [200] * 7 + [429]
        assert projects(platform, platform[1].admin_key)[0] == 200


def test_the_clock_jumps_over_the_minutes_in_which_everybody_waits() -> None:
    with (
        JumpingClock() as clock,
        Organizations(1, EmulatorOptions(admin_rpm=7), clock=clock) as platform,
    ):
        started, sent = clock(), 0
        while clock() < started + 300:
            if projects(platform, platform[0].admin_key)[0] == 429:
                clock.sleep(10)
            else:
                sent += 1
        assert 35 <= sent <= 42


def test_a_state_is_in_the_database_that_the_fleet_shares(
    shared_bed: FleetBed, tmp_path: Path
) -> None:
    (stack,) = shared_bed.write_stacks(1)
    assert run(shared_bed, stack, Command.APPLY).status is StackStatus.APPLIED
    assert not list(tmp_path.rglob("*.db"))
    assert shared_bed.database is not None
    rows = shared_bed.database.execute("SELECT stack FROM reconciler.states")
    assert [row[0] for row in rows] == ["team-0000"]
