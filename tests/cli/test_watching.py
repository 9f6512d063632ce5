"""The progress of a run is shown. Only the transport and the clock are fake."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import httpx
import pytest

from reconciler.api.keys import Key
from reconciler.api.transport.client import Client
from reconciler.api.transport.throttle import WINDOW_SECONDS, RateLimitKey, Throttle
from reconciler.cli.progress import Pending
from reconciler.model.secret import Secret
from reconciler.render.progress import Outlook
from tests.api.conftest import Clock

LISTS = RateLimitKey(True, "GET", "/organization/users")
KEY = Key(Secret("sk-admin-000000000000009876"), "OPENAI_ADMIN_KEY", is_admin=True)
W = WINDOW_SECONDS


def outlooks(calls: int, changes: Callable[[], tuple[int, int]] | None = None) -> list[Outlook]:
    """What is said at the beginning and the middle of each wait, and at the end, where seven go in a minute."""
    clock, seen = Clock(), list[Outlook]()

    def sleep(seconds: float) -> None:
        for _ in range(2):
            seen.append(pending.outlook())
            clock.now += seconds / 2

    def wire(_: httpx.Request) -> httpx.Response:
        clock.now += 0.1
        return httpx.Response(200, json={})

    throttle = Throttle(admin_requests_per_minute=7, clock=clock)
    client = Client(
        "https://api.example/v1",
        transport=httpx.MockTransport(wire),
        throttle=throttle,
        clock=clock,
        sleep=sleep,
    )
    with closing(client):
        pending = Pending(client, changes, clock=clock)
        for _ in range(calls):
            client.in_flight.expect(LISTS)
        for _ in range(calls):
            client.request("GET", LISTS.route, key=KEY)
        seen.append(pending.outlook())
    return seen


def test_a_call_that_waits_is_counted_as_one_to_come() -> None:
    assert [(now.done, now.total) for now in outlooks(16)] == [(7, 16)] * 2 + [(14, 16)] * 2 + [
        (16, 16)
    ]


@pytest.mark.parametrize("changes", [None, lambda: (7, 26)], ids=["reading", "applying"])
def test_what_is_left_to_wait_is_known_from_the_first_wait_on_and_counts_down(
    changes: Callable[[], tuple[int, int]] | None,
) -> None:
    left = [now.seconds_left for now in outlooks(16, changes)[:4]]
    assert left == pytest.approx([2 * W, 1.5 * W, W, W / 2], abs=2)


def test_a_call_that_was_refused_is_one_call() -> None:
    clock = Clock()
    answers = [
        httpx.Response(429, json={"error": {"message": "later"}}),
        httpx.Response(200, json={}),
    ]
    client = Client(
        "https://api.example/v1",
        transport=httpx.MockTransport(lambda _: answers.pop(0)),
        throttle=Throttle(clock=clock),
        clock=clock,
        sleep=clock.sleep,
    )
    with closing(client):
        pending = Pending(client, clock=clock)
        client.request("GET", LISTS.route, key=KEY)
        assert (pending.outlook().done, pending.outlook().total) == (1, 1)
