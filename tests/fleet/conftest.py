"""Fixtures of fleets: two organizations, stacks in them, and a database for their states."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.beds import FleetBed
from tests.fleet.organizations import Organizations
from tests.servers.postgres import Database


@pytest.fixture
def platform() -> Iterator[Organizations]:
    """Two organizations without rate limits."""
    with Organizations(2) as running:
        yield running


@pytest.fixture
def bed(tmp_path: Path, platform: Organizations) -> FleetBed:
    """An empty folder for stacks whose states are local."""
    return FleetBed(tmp_path, platform)


@pytest.fixture
def shared_bed(tmp_path: Path, platform: Organizations, database: Database) -> FleetBed:
    """An empty folder for stacks whose states are in Postgres."""
    return FleetBed(tmp_path, platform, database)
