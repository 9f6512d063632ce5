"""Faults of all parts of a fleet: nothing is created twice or without approval, and all Stacks converge.

`RECONCILER_FLEET=100x10` tries 100 Stacks in 10 organizations.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.chaos import fleet_size
from tests.fleet.organizations import Organizations
from tests.kube.operated_fleet import OperatedFleet, OperatedStack
from tests.servers.kube import Cluster
from tests.servers.postgres import Database
from tests.servers.proxy import Proxy
from tests.soak import SOAK

pytestmark = pytest.mark.kube

STACKS, ORGANIZATIONS = fleet_size("8x2", soak="40x8")
STRIKES = 30 * SOAK or 5


@pytest.fixture
def proxy(database: Database) -> Iterator[Proxy]:
    """What stands between the operators and Postgres."""
    with Proxy(("127.0.0.1", database.port)) as running:
        yield running


@pytest.fixture
def fleet(
    cluster: Cluster,
    restarts: Cluster,
    namespace: str,
    database: Database,
    proxy: Proxy,
    tmp_path: Path,
) -> Iterator[OperatedFleet]:
    with Organizations(ORGANIZATIONS) as platform:
        backend = database.url(port=proxy.port)
        fleet = OperatedFleet(cluster, namespace, platform, backend, tmp_path)
        fleet.prepare()
        try:
            yield fleet
        finally:
            fleet.close()


def stacks(fleet: OperatedFleet, limit: int = 500) -> Iterator[OperatedStack]:
    """Every fourth awaits an approval that never comes."""
    for number in range(STACKS):
        home = fleet.platform[number % ORGANIZATIONS]
        mode = "approve" if number % 4 == 3 else "apply"
        yield OperatedStack(f"team-{number:03}", home, mode, limit)


def seed() -> int:
    """A new one each time, unless the environment names one; printed where a test fails."""
    chosen = int(os.environ.get("RECONCILER_SEED") or random.SystemRandom().randrange(10**6))
    print(f"RECONCILER_SEED={chosen}")
    return chosen


def test_operators_that_die_and_servers_that_vanish_leave_a_fleet_that_converges(
    fleet: OperatedFleet, restarts: Cluster, proxy: Proxy
) -> None:
    chance = random.Random(seed())
    fleet.declare(stacks(fleet))
    running = [fleet.start(), fleet.start(clock_ahead=3600.0)]

    def kill_one() -> None:
        fleet.kill(running.pop(chance.randrange(len(running))))
        running.append(fleet.start(clock_ahead=chance.choice((-3600.0, 0.0, 3600.0))))

    def lose_postgres() -> None:
        proxy.refuse()
        time.sleep(chance.uniform(1, 6))  # longer than a lease, or shorter
        proxy.restore()

    def lose_api() -> None:
        fleet.platform.stop()
        time.sleep(chance.uniform(0, 2))
        fleet.platform.start()

    def refuse_key() -> None:
        home = fleet.platform[chance.randrange(ORGANIZATIONS)]
        home.revoke_admin_key()
        time.sleep(chance.uniform(0, 2))
        home.restore_admin_key()

    events = [kill_one, lose_postgres, lose_api, refuse_key, restarts.restart]
    for strike in range(STRIKES):
        fleet.declare(stacks(fleet, limit=400 - strike))
        time.sleep(chance.uniform(0, 1.5))
        events[strike % len(events)]()
        assert fleet.unapproved() == []
    fleet.until(fleet.are_settled)
    assert fleet.unapproved() == []


def test_a_key_that_is_refused_concerns_its_organization_alone(fleet: OperatedFleet) -> None:
    refused = fleet.platform[1]
    refused.revoke_admin_key()
    fleet.declare(stacks(fleet))
    fleet.start()
    healthy = [one for one in fleet.stacks if one.organization is not refused]
    mine = {one.name for one in healthy if one.mode == "apply"}
    fleet.until(
        lambda: {n for n, why in fleet.reasons().items() if why in ("Applied", "InSync")} == mine
    )
    refused.restore_admin_key()
    fleet.until(fleet.are_settled)
