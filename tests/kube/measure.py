"""What operators of a fleet cost, measured: `python -m tests.kube.measure 1x1 50x2 500x20`.

Processes of the operator at a real API server of Kubernetes, against real emulators that allow so
many requests a minute for each admin route and organization, with the states in a real Postgres.
With `--faults`, what a fleet has to survive strikes it afterwards.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from reconciler.emulator import EmulatorOptions
from tests.fleet.measure import postgres
from tests.fleet.organizations import Organization, Organizations
from tests.kube.operated_fleet import OperatedFleet, OperatedStack
from tests.kube.test_operator import ACCOUNT
from tests.servers.kube import Cluster, account_name, running_cluster
from tests.servers.proxy import Proxy

LIMIT, CHANGED = 500, 77
_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass
class Measurement:
    """A fleet with its operators, and what is seen of them."""

    fleet: OperatedFleet
    proxy: Proxy
    options: argparse.Namespace
    began: float = field(default_factory=time.monotonic)
    running: list[int] = field(default_factory=list)

    @property
    def cluster(self) -> Cluster:
        return self.fleet.cluster

    @property
    def interval(self) -> float:
        text = self.fleet.interval
        return float(text[:-1]) * _SECONDS[text[-1]]

    def say(self, text: str) -> None:
        """Print a line with the seconds since the beginning."""
        print(f"  {time.monotonic() - self.began:6.0f} s  {text}", flush=True)

    def run(self) -> None:
        """Measure everything that the options ask for."""
        for _ in range(self.options.operators):
            self.start()
        self.say(f"{len(self.running)} operators are ready")
        with self.cluster.audited() as audit:
            self.wait("converged for the first time", self.fleet.are_settled)
        user = account_name(self.fleet.namespace, ACCOUNT)
        requests = Counter(f"{each.verb} {each.resource}" for each in audit.of(user=user))
        self.say(f"requests at the API server until then: {dict(requests)}")
        self.show_calls()
        self.stay_quiet(user)
        self.change_by_hand()
        if self.options.faults:
            self.strike()
        self.show_memory()
        self.say(f"writes without an approval: {self.fleet.unapproved()}")

    def start(self, clock_ahead: float = 0.0) -> None:
        workers = ("--workers", str(self.options.workers)) if self.options.workers else ()
        self.running.append(self.fleet.start(*workers, clock_ahead=clock_ahead))

    def wait(self, what: str, condition: Callable[[], bool]) -> float:
        """Wait for a condition, and show how far the fleet is meanwhile."""
        began = shown = time.monotonic()
        while not condition():
            now = time.monotonic()
            if now - began > self.fleet.patience:
                reasons = dict(Counter(self.fleet.reasons().values()))
                self.say(f"NOT {what} in {now - began:.0f} s: {self.fleet.wrong()[:9]} {reasons}")
                return now - began
            if now - shown >= 60:
                shown = now
                wrong, reasons = len(self.fleet.wrong()), Counter(self.fleet.reasons().values())
                self.say(f"… {wrong} things are wrong; {dict(reasons)}; {self.memory()}")
            time.sleep(0.2 + len(self.fleet.stacks) / 250)
        took = time.monotonic() - began
        self.say(f"{what} after {took:.1f} s")
        return took

    # --- what it costs

    def memory(self) -> str:
        """The resident memory of each operator, and its highest."""
        return ", ".join(
            f"operator {number}: {_megabytes(self.fleet.operators[number].pid)}"
            for number in self.running
        )

    def show_memory(self) -> None:
        self.say(self.memory())

    def show_calls(self) -> None:
        """What the organizations saw since the last time."""
        homes = list(self.fleet.platform)
        calls = sum(len(home.requests) for home in homes)
        refused = sum(home.refused() for home in homes)
        busiest = Counter(
            f"{each.method} {each.route}" for each in homes[0].requests if each.status != 429
        )
        self.say(
            f"{calls} calls, {refused} refused; the busiest routes of one organization: "
            f"{busiest.most_common(5)}; {self.memory()}"
        )

    def stay_quiet(self, user: str) -> None:
        """Count the requests of two intervals in which nobody changes anything."""
        time.sleep(self.interval / 2)  # statuses of the convergence are still being written
        self.fleet.platform.forget_requests()
        with self.cluster.audited() as audit:
            time.sleep(2 * self.interval)
        requests = Counter(f"{each.verb} {each.resource}" for each in audit.of(user=user))
        share = sum(requests.values()) / 2 / len(self.fleet.stacks)
        self.say(
            f"two quiet intervals of {self.fleet.interval}: {dict(requests)}, which is "
            f"{share:.2f} requests a Stack and interval by all operators together"
        )
        self.show_calls()

    def change_by_hand(self) -> None:
        """Somebody changes a limit in each organization; measure until it is as declared again."""
        moments: dict[str, float] = {}
        with self.unlimited():
            for home in self.fleet.platform:
                stack = next(
                    each
                    for each in self.fleet.stacks
                    if each.organization is home and each.mode == "apply"
                )
                change_limit(self.fleet, stack)
                moments[stack.name] = time.monotonic()
        self.say(f"{len(moments)} limits are changed by hand")
        took: dict[str, float] = {}

        def are_undone() -> bool:
            wrong = " ".join(self.fleet.wrong())
            now = time.monotonic()
            for name, changed in moments.items():
                if f"{name} has" not in wrong:
                    took.setdefault(name, now - changed)
            return len(took) == len(moments)

        self.wait("undone", are_undone)
        times = sorted(took.values())
        if times:
            self.say(
                f"freshness: median {times[len(times) // 2]:.0f} s, slowest {times[-1]:.0f} s, "
                f"interval {self.fleet.interval}"
            )

    @contextmanager
    def unlimited(self) -> Iterator[None]:
        """Let a person call the API without waiting."""
        for home in self.fleet.platform:
            home.state.change_options({"admin_rpm": 0})
        yield
        for home in self.fleet.platform:
            home.state.change_options({"admin_rpm": self.options.per_minute})

    # --- faults

    def strike(self) -> None:
        """One fault after the other; the fleet has to be as declared after each."""
        for number, (name, fault) in enumerate(self.faults().items()):
            self.redeclare(LIMIT - 1 - number)
            time.sleep(1)
            fault()
            self.say(f"struck: {name}")
            self.wait(f"converged after: {name}", self.fleet.are_settled)
            self.say(f"writes without an approval: {self.fleet.unapproved()}; {self.memory()}")

    def redeclare(self, limit: int) -> None:
        """Change a limit in the manifests of some Stacks in each organization."""
        some = self.options.change_each * len(self.fleet.platform)
        chosen = self.fleet.stacks[:some]
        for stack in chosen:
            stack.limit = limit
        every = self.fleet.stacks
        self.fleet.declare(chosen)
        self.fleet.stacks = every
        self.say(f"the limits of {len(chosen)} Stacks are declared as {limit}")

    def faults(self) -> dict[str, Callable[[], None]]:
        away = self.options.away

        def restart_api_server() -> None:
            self.cluster.stop_apiserver()
            time.sleep(10)
            self.cluster.start_apiserver()

        def lose_postgres() -> None:
            self.proxy.refuse()
            time.sleep(away)
            self.proxy.restore()

        def kill() -> None:
            self.fleet.kill(self.running.pop(0))
            self.start(clock_ahead=3600.0)

        def refuse_key() -> None:
            home: Organization = self.fleet.platform[len(self.fleet.platform) - 1]
            home.revoke_admin_key()
            time.sleep(away)
            reasons = Counter(self.fleet.reasons().values())
            self.say(f"with the key refused: {dict(reasons)}")
            home.restore_admin_key()

        return {
            "SIGKILL of an operator; the next has a clock an hour ahead": kill,
            f"Postgres away for {away:.0f} s": lose_postgres,
            "API server killed, and back after 10 s": restart_api_server,
            f"key refused for {away:.0f} s": refuse_key,
        }


def change_limit(fleet: OperatedFleet, stack: OperatedStack) -> None:
    """Change a rate limit as somebody would in the dashboard; the log reports it."""
    projects = stack.organization.objects("project")
    [project] = [each.id for each in projects if each.body["name"] == stack.name]
    httpx.post(
        f"{fleet.platform.base_url}/organization/projects/{project}/rate_limits/rl-gpt-4.1",
        headers={"Authorization": f"Bearer {stack.organization.admin_key}"},
        json={"max_requests_per_1_minute": CHANGED},
    ).raise_for_status()


def _megabytes(pid: int) -> str:
    fields: dict[str, Any] = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        fields[name] = value.split()
    now, most = (int(fields[name][0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return f"{now:.0f} MB, at most {most:.0f} MB"


def measure(size: str, options: argparse.Namespace) -> None:
    """Measure the operators of a fleet of one size."""
    count, _, organizations = size.partition("x")
    cluster = running_cluster()
    with (
        postgres() as server,
        Organizations(
            int(organizations), EmulatorOptions(admin_rpm=options.per_minute)
        ) as platform,
        tempfile.TemporaryDirectory(prefix="operators-") as folder,
    ):
        database = server.create_database()
        with Proxy(("127.0.0.1", database.port)) as proxy:
            fleet = OperatedFleet(
                cluster,
                cluster.create_namespace(),
                platform,
                database.url(port=proxy.port),
                Path(folder),
                interval=options.interval,
                patience=options.patience,
                lease_seconds=str(options.lease_seconds),
            )
            fleet.prepare()
            homes = list(platform)
            fleet.declare(
                OperatedStack(
                    f"team-{number:03}",
                    homes[number % len(homes)],
                    "approve" if number // len(homes) % 4 == 3 else "apply",
                )
                for number in range(int(count))
            )
            measurement = Measurement(fleet, proxy, options)
            print(f"{size}: {vars(options)}", flush=True)
            try:
                measurement.run()
            finally:
                fleet.close()
                if options.logs:
                    for log in fleet.logs:
                        (options.logs / f"{size}-{log.name}").write_bytes(log.read_bytes())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure fleets of some sizes."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.kube.measure", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("sizes", nargs="*", default=["1x1", "50x2", "500x20"])
    parser.add_argument("--per-minute", type=int, default=7)
    parser.add_argument("--operators", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0, help="of each operator; 0: its default")
    parser.add_argument("--interval", default="2m")
    parser.add_argument("--patience", type=float, default=1800, help="seconds for each step")
    parser.add_argument("--lease-seconds", type=float, default=30)
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--away", type=float, default=60, help="seconds of an outage")
    parser.add_argument(
        "--change-each", type=int, default=2, help="Stacks to change before a fault"
    )
    parser.add_argument("--logs", type=Path, help="folder for the logs of the operators")
    options = parser.parse_args(arguments)
    for size in options.sizes:
        measure(size, options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
