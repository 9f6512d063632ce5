"""The pace of many organizations takes no more connections to Postgres than that of one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.app.sharing import Sharing
from reconciler.fleet.stack_run import FleetContext, FleetStack, StackRequest, run_stack
from reconciler.manifests import Settings
from reconciler.model.fleet import Command, StackId, StackStatus
from reconciler.state.remote.postgres.connections import IDLE_CONNECTIONS
from tests.fleet.beds import FleetBed
from tests.fleet.organizations import Organizations
from tests.servers.postgres import Database

pytestmark = pytest.mark.slow

OPEN = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"


def open_connections(database: Database) -> int:
    """Without the one that asks."""
    [(count,)] = database.execute(OPEN)
    return int(count) - 1


@pytest.fixture
def platform() -> Iterator[Organizations]:
    with Organizations(IDLE_CONNECTIONS + 2) as running:
        yield running


def test_organizations_share_the_connections_of_their_paces(
    tmp_path: Path, platform: Organizations, database: Database
) -> None:
    bed = FleetBed(tmp_path, platform, database)
    bed.write_stacks(len(platform))
    with Sharing() as sharing:
        for stack in bed.stacks:
            settings = Settings(stack.folder, env=bed.environment)
            run = FleetStack(StackId(stack.name, "default", stack.name), stack.folder, settings)
            result = run_stack(run, StackRequest(Command.APPLY), FleetContext(sharing=sharing))
            assert result.status is StackStatus.APPLIED
        assert 1 <= open_connections(database) <= IDLE_CONNECTIONS
