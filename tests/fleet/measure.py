"""What fleets cost, measured: `python -m tests.fleet.measure --sizes 1x1 50x2 500x20`.

The real command line in a process of its own, against real emulators that allow so many requests a
minute for each admin route and organization, with the states in a real Postgres. The clock is the
machine's: a fleet of 25 stacks in an organization waits minutes, as it would at the API.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from tests.bench.stage import Usage, as_installed, measured
from tests.fleet.beds import FleetBed, StackSize
from tests.fleet.organizations import Organizations
from tests.servers.postgres import PostgresServer

SIZE = StackSize(accounts=3, limits=5)
PROGRAM = (sys.executable, "-m", "reconciler", "--format", "json", "fleet")
STACKS = ("--stacks", "stacks/*")


@dataclass(frozen=True)
class Figure:
    """What one command on a fleet cost."""

    what: str
    usage: Usage
    calls: int
    refused: int
    busiest: int
    """Answered calls of the busiest admin route of one organization."""

    def row(self) -> str:
        usage = self.usage
        return (
            f"  {self.what:44} exit {usage.code:2}  {usage.wall_seconds:7.1f} s  "
            f"CPU {usage.cpu_seconds:6.1f} s  {usage.peak_mb:5.0f} MB  {self.calls:6,} calls  "
            f"{self.refused:4} refused  busiest {self.busiest}"
        )


def measure(stacks: int, organizations: int, per_minute: int, base: Path) -> Iterator[Figure]:
    """The commands of a day on a fleet of a size."""
    with postgres() as server, Organizations(organizations) as platform:
        bed = FleetBed(base, platform, server.create_database())
        bed.write_stacks(stacks, size=SIZE)
        yield run(bed, "apply, creating everything, no rate limit", "apply", "--yes")
        yield run(bed, "drift, no rate limit", "drift")
        yield run(bed, "plan by the log, no rate limit", "plan")
        for home in platform:
            home.state.change_options({"admin_rpm": per_minute})
        yield run(bed, f"drift at {per_minute} a minute", "drift")
        change_by_hand(platform)
        yield run(bed, f"plan by the log at {per_minute} a minute", "plan")
        yield run(bed, f"drift again at {per_minute} a minute", "drift")
        yield run(bed, f"apply at {per_minute} a minute", "apply", "--yes")
        wrong = bed.wrong()
        print("\n".join(wrong) if wrong else "  everything is as declared")


def change_by_hand(platform: Organizations) -> None:
    """Somebody changes a limit in the first project of each organization, as the API would log it."""
    import httpx

    for home in platform:
        home.state.change_options({"admin_rpm": 0})
        project = home.objects("project")[-1].id
        answer = httpx.post(
            f"{platform.base_url}/organization/projects/{project}/rate_limits/rl-gpt-4.1",
            headers={"Authorization": f"Bearer {home.admin_key}"},
            json={"max_requests_per_1_minute": 77},
        )
        answer.raise_for_status()
        home.state.change_options({"admin_rpm": 7})


def run(bed: FleetBed, what: str, command: str, *arguments: str) -> Figure:
    """Run a command on the fleet, and count what the organizations saw of it."""
    bed.platform.forget_requests()
    usage = measured(
        [*PROGRAM, command, *STACKS, *arguments],
        cwd=bed.folder,
        env={**as_installed(), **bed.own_environment},
        expect=None,
    )
    if usage.code not in (0, 2):
        print(usage.err[-2000:])
    calls = sum(len(home.requests) for home in bed.platform)
    refused = sum(home.refused() for home in bed.platform)
    figure = Figure(what, usage, calls, refused, max(map(_busiest, bed.platform)))
    print(figure.row(), flush=True)
    print(f"    {_statuses(usage)}", flush=True)
    for message in _messages(usage)[:3]:
        print(f"    {message}", flush=True)
    return figure


def _busiest(home: object) -> int:
    from collections import Counter

    from tests.fleet.organizations import Organization

    assert isinstance(home, Organization)
    counts = Counter(
        f"{request.method} {request.route}"
        for request in home.requests
        if request.status != 429 and request.route.startswith("/organization")
    )
    return max(counts.values(), default=0)


def _statuses(usage: Usage) -> dict[str, int]:
    from collections import Counter

    try:
        stacks = json.loads(usage.out)["stacks"]
    except (ValueError, KeyError):
        return {}
    return dict(Counter(stack["status"] for stack in stacks))


def _messages(usage: Usage) -> list[str]:
    """What the stacks say that failed, each sentence once."""
    try:
        stacks = json.loads(usage.out)["stacks"]
    except (ValueError, KeyError):
        return []
    return list(dict.fromkeys(str(each) for each in stacks if each["status"] == "failed"))


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of its own."""
    server = PostgresServer()
    try:
        server.initialize()
        server.start()
        yield server
    finally:
        server.remove()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure fleets of some sizes."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fleet.measure", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--sizes", nargs="+", default=["1x1", "50x2", "500x20"])
    parser.add_argument("--per-minute", type=int, default=7)
    options = parser.parse_args(arguments)
    for size in options.sizes:
        stacks, organizations = (int(part) for part in size.split("x"))
        each = ceil(stacks / organizations)
        print(f"{stacks} stacks in {organizations} organizations, {each} in each", flush=True)
        with tempfile.TemporaryDirectory(prefix="fleet-", dir="/dev/shm") as folder:
            for _ in measure(stacks, organizations, options.per_minute, Path(folder)):
                pass
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
