"""A process that makes admin calls at a shared pace, or at one of its own: one JSON argument.

Time goes `speed` times as fast for the run. It prints "ready", begins at a line on standard input,
and prints the number of calls that were answered.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from reconciler.api.keys import Key
from reconciler.api.transport.client import Client
from reconciler.api.transport.shared_pace import PaceScope, SharedThrottle
from reconciler.api.transport.throttle import Throttle, TokenSource
from reconciler.model.pace import PaceAnswer, PaceRequest, PaceUser, RouteUse
from reconciler.model.secret import Secret
from reconciler.state.remote.postgres.pace import PostgresPace

LATE_SECONDS = 0.15
"""How much later than another a request may reach the server, on a busy machine."""


@dataclass
class ScaledPace:
    """A pace for a run whose time goes `speed` times as fast as that of the database."""

    pace: PostgresPace
    speed: float

    def take(self, request: PaceRequest) -> PaceAnswer:
        return self._answer(self.pace.take(self._request(request)))

    def refused(
        self, request: PaceRequest, *, taken_at: float | None, wait_seconds: float | None
    ) -> PaceAnswer:
        taken_at = None if taken_at is None else taken_at / self.speed
        wait_seconds = None if wait_seconds is None else wait_seconds / self.speed
        request = self._request(request)
        answer = self.pace.refused(request, taken_at=taken_at, wait_seconds=wait_seconds)
        return self._answer(answer)

    def uses(self, scope: str) -> Sequence[RouteUse]:
        return self.pace.uses(scope)

    def close(self) -> None:
        self.pace.close()

    def _request(self, request: PaceRequest) -> PaceRequest:
        return replace(
            request,
            window_seconds=request.window_seconds / self.speed + LATE_SECONDS,
            earlier=[moment / self.speed for moment in request.earlier],
        )

    def _answer(self, answer: PaceAnswer) -> PaceAnswer:
        return replace(
            answer,
            now=answer.now * self.speed,
            wait_seconds=answer.wait_seconds * self.speed,
            ages=[age * self.speed for age in answer.ages],
        )


def throttle_of(task: dict[str, Any]) -> TokenSource:
    """The throttle of a task: of its own, or around the pace at the address of a database."""

    def clock() -> float:
        return time.monotonic() * task["speed"] + task.get("ahead", 0.0)

    local = Throttle(admin_requests_per_minute=task.get("limit"), clock=clock)
    if not task.get("database"):
        return local
    return SharedThrottle(
        local,
        ScaledPace(PostgresPace(task["database"]), task["speed"]),
        user=PaceUser(task["name"], task["name"]),
        scope=PaceScope("api", "org"),
        notice=lambda sentence: print(f"notice {sentence}", flush=True),
        clock=clock,
    )


def main(task: dict[str, Any]) -> None:
    client = Client(
        task["base_url"],
        throttle=throttle_of(task),
        sleep=lambda seconds: time.sleep(seconds / task["speed"]),
    )
    key = Key(Secret(task["key"]), "the test", is_admin=True)
    print("ready", flush=True)
    sys.stdin.readline()

    def call() -> None:
        for _ in range(task["calls"]):
            client.request("GET", "/organization/projects", key=key)

    threads = [threading.Thread(target=call) for _ in range(task["threads"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"answered {client.in_flight.answered}", flush=True)
    client.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
