"""Clients share answers only as long as the answers are valid for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from reconciler.api.keys import Key
from reconciler.api.transport.client import Client
from reconciler.api.transport.organization import Expectation
from reconciler.api.transport.request import Request, Reuse
from reconciler.api.transport.responses import Response
from reconciler.api.transport.retry import RetryPolicy
from reconciler.api.transport.shared_reads import SharedReader, SharedReads
from reconciler.api.transport.throttle import Throttle
from reconciler.errors import (
    AmbiguousError,
    ApiError,
    AuthenticationError,
    Interrupted,
    LeaseLostError,
    OrganizationError,
    UsageError,
)
from reconciler.model.consistency import LATE_SECONDS, ServerClock
from reconciler.model.secret import Redactor, Secret
from tests.api.conftest import Clock

SERVER = "https://api.example/v1"
ADMIN = Key(Secret("sk-admin-000000000000009876"), "OPENAI_ADMIN_KEY", is_admin=True)
SETTLE = 12.0
OLDEST = 900.0
PROJECTS = "/organization/projects"
ACCOUNTS = "/organization/projects/{project}/service_accounts"
LONG = 30.0
"""Longer than any test waits."""


def project_key(project: str | None, secret: str = "sk-project-0000000000001234") -> Key:
    return Key(Secret(secret), "OPENAI_API_KEY", project="search", project_id=project)


def read(
    path: str = PROJECTS, *, key: Key = ADMIN, reuse: Reuse = Reuse.ALLOWED, **rest: Any
) -> Request:
    return Request("GET", path, key, reuse=reuse, **rest)


def write(path: str = PROJECTS, *, key: Key = ADMIN, method: str = "POST", **rest: Any) -> Request:
    return Request(method, path, key, json={}, **rest)


@dataclass
class Server:
    """Answers every request with its number, after `hold` has let it pass."""

    clock: Clock
    organization: str = "org-1"
    received: list[httpx.Request] = field(default_factory=list)
    answers: dict[str, Callable[[int], httpx.Response]] = field(default_factory=dict)
    """By method and path, in place of the usual answer."""
    _gates: dict[str, threading.Event] = field(default_factory=dict)
    _arrivals: dict[str, threading.Event] = field(default_factory=dict)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        call = f"{request.method} {request.url.path.removeprefix('/v1')}"
        self.received.append(request)
        number = len(self.received)
        gate = self._gates.pop(call, None)
        if gate is not None:
            self._arrivals[call].set()
            assert gate.wait(LONG)
        if call in self.answers:
            return self.answers[call](number)
        body = {"object": "list", "data": [{"id": f"answer_{number}"}], "has_more": False}
        return httpx.Response(200, json=body, headers={"openai-organization": self.organization})

    @contextmanager
    def hold(self, call: str) -> Iterator[threading.Event]:
        """Hold the next such call until the block ends. The event tells that it has arrived."""
        gate = self._gates[call] = threading.Event()
        arrival = self._arrivals[call] = threading.Event()
        try:
            yield arrival
        finally:
            gate.set()

    @property
    def calls(self) -> list[str]:
        return [f"{sent.method} {sent.url.path.removeprefix('/v1')}" for sent in self.received]


@dataclass
class Fleet:
    """Clients with common answers, and the server that they talk to."""

    clock: Clock
    server: Server
    shared: SharedReads

    def client(
        self,
        *,
        organization: str = "",
        base_url: str = SERVER,
        written_at: float | None = None,
        **rest: Any,
    ) -> Client:
        server_clock = ServerClock(self.clock)
        reader = SharedReader(self.shared, base_url, organization, server_clock)
        if written_at is not None:
            reader.refuse_before(written_at)
        options: dict[str, Any] = {
            "throttle": Throttle(clock=self.clock),
            "clock": self.clock,
            "sleep": self.clock.sleep,
            "server_clock": server_clock,
            "policy": RetryPolicy(),
        }
        return Client(
            base_url,
            transport=httpx.MockTransport(self.server),
            shared=reader,
            organization=organization or None,
            **{**options, **rest},
        )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fleet(clock: Clock) -> Fleet:
    shared = SharedReads(
        max_age_seconds=OLDEST, settle_seconds=SETTLE, clock=clock, machine_clock=clock
    )
    return Fleet(clock, Server(clock), shared)


@pytest.fixture
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def answer_of(client: Client, request: Request | None = None) -> str:
    """The id in the answer to a request."""
    return str(client.exchange(request or read()).body["data"][0]["id"])


@contextmanager
def read_under_way(fleet: Fleet, workers: ThreadPoolExecutor) -> Iterator[Future[str]]:
    """A read of another stack that has reached the server, and is answered after the block."""
    with fleet.server.hold(f"GET {PROJECTS}") as arrived:
        reading = workers.submit(answer_of, fleet.client())
        assert arrived.wait(LONG)
        yield reading


@contextmanager
def write_under_way(fleet: Fleet, workers: ThreadPoolExecutor) -> Iterator[Future[Response]]:
    """A write of another stack that has reached the server, and is answered after the block."""
    with fleet.server.hold(f"POST {PROJECTS}") as arrived:
        writing = workers.submit(fleet.client().exchange, write())
        assert arrived.wait(LONG)
        yield writing


# --- 1. only requests that ask for it


def test_an_equal_read_of_another_plan_is_not_sent(fleet: Fleet) -> None:
    assert answer_of(fleet.client()) == answer_of(fleet.client()) == "answer_1"


def test_a_read_without_reuse_is_always_sent(fleet: Fleet) -> None:
    answer_of(fleet.client())
    assert answer_of(fleet.client(), read(reuse=Reuse.NEVER)) == "answer_2"


def test_a_read_that_does_not_ask_for_it_answers_no_other(fleet: Fleet) -> None:
    answer_of(fleet.client(), read(reuse=Reuse.NEVER))
    assert answer_of(fleet.client()) == "answer_2"


def test_requests_do_not_ask_for_it_unless_they_say_so() -> None:
    assert Request("GET", PROJECTS, ADMIN).reuse is Reuse.NEVER


def test_a_download_is_always_sent(fleet: Fleet) -> None:
    for _ in range(2):
        fleet.client().exchange(read("/files/a/content", is_download=True))
    assert len(fleet.server.received) == 2


# --- 2. what equal means

OTHER_KEY = Key(Secret("sk-admin-000000000000005432"), "OPENAI_ADMIN_KEY", is_admin=True)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (read(), read("/organization/users")),
        (read(), read(key=OTHER_KEY)),
        (read(query={"limit": 100}), read(query={"limit": 20})),
        (read(query={"limit": 100}), read(query={"limit": 100, "after": "proj_1"})),
        (read("/assistants", beta="assistants=v2"), read("/assistants")),
        (read("/files", key=project_key("proj_1")), read("/files", key=project_key("proj_2"))),
        (
            read("/files", key=project_key("proj_1")),
            read("/files", key=project_key("proj_1", "sk-project-0000000000005678")),
        ),
        (read(ACCOUNTS, ids={"project": "proj_1"}), read(ACCOUNTS, ids={"project": "proj_2"})),
    ],
    ids=["path", "key", "limit", "page", "beta", "project header", "project key", "id in the path"],
)
def test_another_request_is_sent(fleet: Fleet, first: Request, second: Request) -> None:
    assert answer_of(fleet.client(), first) != answer_of(fleet.client(), second)


def test_another_organization_header_makes_another_request(fleet: Fleet) -> None:
    answer_of(fleet.client(organization="org-1"))
    answer_of(fleet.client())
    assert len(fleet.server.received) == 2


def test_another_server_is_asked_itself(fleet: Fleet) -> None:
    answer_of(fleet.client())
    answer_of(fleet.client(base_url="https://eu.api.example/v1"))
    assert [sent.url.host for sent in fleet.server.received] == ["api.example", "eu.api.example"]


# --- 3. fresh reads


def test_a_fresh_read_is_sent_and_its_answer_replaces_the_kept_one(fleet: Fleet) -> None:
    answer_of(fleet.client())
    assert answer_of(fleet.client(), read(reuse=Reuse.REFRESH)) == "answer_2"
    assert answer_of(fleet.client()) == "answer_2"


def test_a_fresh_read_does_not_wait_for_one_that_began_earlier(
    fleet: Fleet, workers: ThreadPoolExecutor
) -> None:
    with read_under_way(fleet, workers) as slow:
        assert answer_of(fleet.client(), read(reuse=Reuse.REFRESH)) == "answer_2"
    assert slow.result(LONG) == "answer_1"


def test_of_two_answers_the_one_that_was_requested_later_stays(
    fleet: Fleet, workers: ThreadPoolExecutor
) -> None:
    with read_under_way(fleet, workers) as slow:
        fleet.clock.now += 1
        answer_of(fleet.client(), read(reuse=Reuse.REFRESH))
    slow.result(LONG)
    assert answer_of(fleet.client()) == "answer_2"


# --- 4. writes

IN_ONE, IN_TWO = {"ids": {"project": "proj_1"}}, {"ids": {"project": "proj_2"}}
READS = {
    "projects": read(),
    "accounts of one": read(ACCOUNTS, **IN_ONE),
    "accounts of two": read(ACCOUNTS, **IN_TWO),
    "files of one": read("/files", key=project_key("proj_1")),
    "files of two": read("/files", key=project_key("proj_2")),
    "files of some project": read("/files", key=project_key(None)),
}


@pytest.mark.parametrize(
    ("request_", "left"),
    [
        (write(), set()),
        (write("/organization/projects/{id}", ids={"id": "proj_1"}), set()),
        (write("/organization/groups/{id}", ids={"id": "group_1"}, method="DELETE"), set()),
        (write(ACCOUNTS, **IN_ONE), {"accounts of two", "files of two"}),
        (
            write("/files", key=project_key("proj_1")),
            {"projects", "accounts of one", "accounts of two", "files of two"},
        ),
        (
            write("/files", key=project_key(None)),
            {"projects", "accounts of one", "accounts of two"},
        ),
    ],
    ids=["project", "archive", "group", "account", "file", "file of some project"],
)
def test_a_write_drops_answers_that_it_may_have_changed(
    fleet: Fleet, request_: Request, left: set[str]
) -> None:
    planner, writer = fleet.client(), fleet.client()
    writer.exchange(read("/organization/admin_api_keys", reuse=Reuse.NEVER))
    before = {name: answer_of(planner, request) for name, request in READS.items()}
    writer.exchange(request_)
    after = {name: answer_of(fleet.client(), request) for name, request in READS.items()}
    assert {name for name in READS if before[name] == after[name]} == left


def test_a_write_in_one_organization_leaves_the_answers_of_another(fleet: Fleet) -> None:
    first = answer_of(fleet.client())
    fleet.server.organization = "org-2"
    writer = fleet.client(organization="org-2")
    writer.exchange(read("/organization/users", key=OTHER_KEY, reuse=Reuse.NEVER))
    writer.exchange(write(key=OTHER_KEY))
    assert answer_of(fleet.client()) == first


def test_a_write_of_a_client_that_has_had_no_answer_yet_drops_everything(fleet: Fleet) -> None:
    first = answer_of(fleet.client())
    fleet.client().exchange(write())
    assert answer_of(fleet.client()) != first


@pytest.mark.parametrize("status", [400, 500])
def test_a_write_that_fails_drops_as_well(fleet: Fleet, status: int) -> None:
    first = answer_of(fleet.client())
    fleet.server.answers[f"POST {PROJECTS}"] = lambda _: httpx.Response(
        status, json={"error": {"message": "no", "type": "x"}}
    )
    with pytest.raises(ApiError):
        fleet.client().exchange(write())
    assert answer_of(fleet.client()) != first


def test_an_answer_requested_before_the_end_of_a_write_is_not_used_after_it(
    fleet: Fleet, workers: ThreadPoolExecutor
) -> None:
    with read_under_way(fleet, workers) as slow:
        fleet.client().exchange(write())
        waiting = threading.Event()
        late = workers.submit(answer_of, fleet.client(permit=waiting.set))
        assert waiting.wait(LONG)
    assert slow.result(LONG) == "answer_1"
    assert late.result(LONG) == answer_of(fleet.client()) == "answer_3"


def test_a_request_that_waited_for_its_rate_limit_during_a_write_answers_after_it(
    fleet: Fleet, workers: ThreadPoolExecutor
) -> None:
    paced = threading.Event()
    throttled = threading.Event()

    def pause(seconds: float) -> None:
        throttled.set()
        assert paced.wait(LONG)
        fleet.clock.sleep(seconds)

    throttle = Throttle(admin_requests_per_minute=1, clock=fleet.clock)
    slow = fleet.client(throttle=throttle, sleep=pause)
    slow.exchange(read(query={"limit": 1}))
    first = workers.submit(answer_of, slow)
    assert throttled.wait(LONG)
    fleet.client().exchange(write())
    fleet.clock.now += 1
    waiting = threading.Event()
    late = workers.submit(answer_of, fleet.client(permit=waiting.set))
    assert waiting.wait(LONG)
    paced.set()
    assert first.result(LONG) == late.result(LONG) == answer_of(fleet.client())
    assert fleet.server.calls.count(f"GET {PROJECTS}") == 2


def test_the_age_of_an_answer_does_not_count_its_wait_for_a_rate_limit(fleet: Fleet) -> None:
    throttle = Throttle(admin_requests_per_minute=1, clock=fleet.clock)
    slow = fleet.client(throttle=throttle)
    slow.exchange(read(query={"limit": 1}))
    began = fleet.clock()
    answer_of(slow)
    read_at = fleet.clock()
    assert read_at > began
    client = fleet.client()
    answer_of(client)
    assert client.read_since(fleet.clock() + 1) == read_at


def test_an_answer_that_came_during_a_write_is_dropped_at_its_end(
    fleet: Fleet, workers: ThreadPoolExecutor
) -> None:
    with write_under_way(fleet, workers) as writing:
        during = answer_of(fleet.client())
    writing.result(LONG)
    assert answer_of(fleet.client()) != during


# --- 5. lists lag behind writes


def test_an_answer_from_shortly_after_a_write_is_used_no_longer_than_lists_lag(
    fleet: Fleet,
) -> None:
    fleet.client().exchange(write())
    fleet.clock.now += 1
    lagging = answer_of(fleet.client())
    fleet.clock.now += SETTLE - 1.5
    assert answer_of(fleet.client()) == lagging
    fleet.clock.now += 0.5
    settled = answer_of(fleet.client())
    assert settled != lagging
    fleet.clock.now += SETTLE
    assert answer_of(fleet.client()) == settled


def test_a_write_without_an_answer_may_take_effect_later(fleet: Fleet) -> None:
    def lost(_: int) -> httpx.Response:
        raise httpx.ReadTimeout("lost")

    fleet.server.answers[f"POST {PROJECTS}"] = lost
    with pytest.raises(AmbiguousError):
        fleet.client().exchange(write())
    fleet.clock.now += SETTLE + LATE_SECONDS - 1
    early = answer_of(fleet.client())
    fleet.clock.now += 1
    assert answer_of(fleet.client()) != early


# --- 6. the stack's own writes, whoever made them


def test_an_answer_from_before_the_last_write_in_the_state_is_not_used(fleet: Fleet) -> None:
    old = answer_of(fleet.client())
    fleet.clock.now += 60
    written_at = fleet.clock() - SETTLE
    assert answer_of(fleet.client(written_at=written_at - 60)) == old
    assert answer_of(fleet.client(written_at=written_at - 59)) == "answer_2"
    assert answer_of(fleet.client()) == "answer_2"


def test_an_answer_under_way_since_before_the_last_write_in_the_state_is_not_used_either(
    fleet: Fleet, workers: ThreadPoolExecutor
) -> None:
    with read_under_way(fleet, workers) as first:
        fleet.clock.now += 60
        waiting = threading.Event()
        writer = fleet.client(written_at=fleet.clock() - 30, permit=waiting.set)
        second = workers.submit(answer_of, writer)
        assert waiting.wait(LONG)
    assert (first.result(LONG), second.result(LONG)) == ("answer_1", "answer_2")


def test_the_time_of_that_write_is_compared_by_the_clock_of_the_server(fleet: Fleet) -> None:
    hour = 3600.0
    ahead = {"date": "Fri, 15 Jan 2027 09:00:00 GMT"}  # an hour ahead of the machine
    fleet.server.answers[f"GET {PROJECTS}"] = lambda _: httpx.Response(
        200, json={"data": [{"id": "answer"}]}, headers=ahead
    )
    client = fleet.client()
    answer_of(client)
    assert client.server_clock() - fleet.clock() == pytest.approx(hour, abs=2)
    client.refuse_before(fleet.clock() + hour - 60)
    answer_of(client)
    assert len(fleet.server.received) == 1
    client.refuse_before(fleet.clock() + hour + 2 - SETTLE)
    answer_of(client)
    assert len(fleet.server.received) == 2


def test_a_stack_that_does_not_know_the_server_time_waits_for_an_answer_that_shows_it(
    fleet: Fleet, workers: ThreadPoolExecutor
) -> None:
    hour = 3600.0
    gate, arrived = threading.Event(), threading.Event()

    def ahead(number: int) -> httpx.Response:
        arrived.set()
        assert gate.wait(LONG)
        headers = {"date": "Fri, 15 Jan 2027 09:00:00 GMT"}  # an hour ahead of the machine
        return httpx.Response(200, json={"data": [{"id": f"answer_{number}"}]}, headers=headers)

    fleet.server.answers[f"GET {PROJECTS}"] = ahead
    first = workers.submit(answer_of, fleet.client())
    assert arrived.wait(LONG)
    waiting = threading.Event()
    late = fleet.client(written_at=fleet.clock() + hour - 60, permit=waiting.set)
    second = workers.submit(answer_of, late)
    assert waiting.wait(LONG)
    gate.set()
    assert (first.result(LONG), second.result(LONG)) == ("answer_1", "answer_1")


# --- 7. waiting


def reading_together(
    fleet: Fleet, workers: ThreadPoolExecutor, leader: Client, others: list[Client]
) -> tuple[Future[str], list[Future[str]], threading.Event]:
    """One client that reads, and others that wait for it."""
    gate = threading.Event()
    arrived = threading.Event()

    def hold(number: int) -> httpx.Response:
        if number == 1:
            arrived.set()
            assert gate.wait(LONG)
        body = {"object": "list", "data": [{"id": f"answer_{number}"}], "has_more": False}
        return httpx.Response(200, json=body)

    fleet.server.answers[f"GET {PROJECTS}"] = hold
    first = workers.submit(answer_of, leader)
    assert arrived.wait(LONG)
    return first, [workers.submit(answer_of, other) for other in others], gate


def test_an_equal_read_waits_for_the_one_under_way(
    fleet: Fleet, workers: ThreadPoolExecutor
) -> None:
    first, rest, gate = reading_together(
        fleet, workers, fleet.client(), [fleet.client() for _ in range(4)]
    )
    gate.set()
    assert {future.result(LONG) for future in (first, *rest)} == {"answer_1"}
    assert len(fleet.server.received) == 1


class Leader:
    """The permission of a client that reads, which ends while its first request is on the way."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.is_lost = False

    def __call__(self) -> None:
        if self.is_lost:
            raise self.error


def test_if_the_one_who_reads_has_lost_its_lease_another_one_reads(
    fleet: Fleet, workers: ThreadPoolExecutor
) -> None:
    permit = Leader(LeaseLostError("lost"))
    gate, arrived = threading.Event(), threading.Event()

    def busy(number: int) -> httpx.Response:
        if number > 1:
            return httpx.Response(200, json={"data": [{"id": f"answer_{number}"}]})
        arrived.set()
        assert gate.wait(LONG)
        permit.is_lost = True
        return httpx.Response(503, json={"error": {"message": "busy", "type": "x"}})

    fleet.server.answers[f"GET {PROJECTS}"] = busy
    first = workers.submit(answer_of, fleet.client(permit=permit))
    assert arrived.wait(LONG)
    rest = [workers.submit(answer_of, fleet.client()) for _ in range(3)]
    gate.set()
    with pytest.raises(LeaseLostError):
        first.result(LONG)
    assert {future.result(LONG) for future in rest} == {"answer_2"}


def test_if_the_one_who_reads_is_stopped_another_one_reads(
    fleet: Fleet, workers: ThreadPoolExecutor
) -> None:
    stop = threading.Event()

    def busy(number: int) -> httpx.Response:
        if number > 1:
            return httpx.Response(200, json={"data": [{"id": f"answer_{number}"}]})
        stop.set()
        return httpx.Response(503, json={"error": {"message": "busy", "type": "x"}})

    fleet.server.answers[f"GET {PROJECTS}"] = busy
    with pytest.raises(Interrupted):
        answer_of(fleet.client(stop=stop))
    assert answer_of(fleet.client()) == "answer_2"


def test_if_the_one_who_reads_is_out_of_budget_another_one_reads(fleet: Fleet) -> None:
    poor = fleet.client()
    with pytest.raises(UsageError), poor.at_most(0):
        answer_of(poor)
    assert answer_of(fleet.client()) == "answer_1"


def test_who_waits_ends_when_its_own_run_is_stopped(
    fleet: Fleet, workers: ThreadPoolExecutor
) -> None:
    stop = threading.Event()
    first, (waiting,), gate = reading_together(
        fleet, workers, fleet.client(), [fleet.client(stop=stop)]
    )
    stop.set()
    with pytest.raises(Interrupted):
        waiting.result(LONG)
    gate.set()
    assert first.result(LONG) == "answer_1"


def refused_together(
    fleet: Fleet, workers: ThreadPoolExecutor, requests: list[Request], *, status: int
) -> list[Future[str]]:
    """The first request is refused while the others wait for it. Later ones are answered."""
    gate, arrived = threading.Event(), threading.Event()

    def refuse(number: int) -> httpx.Response:
        if arrived.is_set():
            return httpx.Response(200, json={"data": [{"id": "answer"}]})
        arrived.set()
        assert gate.wait(LONG)
        return httpx.Response(status, json={"error": {"message": "no", "type": "x"}})

    fleet.server.answers[f"GET {PROJECTS}"] = refuse
    waiting = threading.Semaphore(0)
    clients = [fleet.client(permit=waiting.release) for _ in requests]
    futures = [workers.submit(answer_of, clients[0], requests[0])]
    assert arrived.wait(LONG)
    for client, request in zip(clients[1:], requests[1:], strict=True):
        futures.append(workers.submit(answer_of, client, request))
    # Each of them asks for its permission while it waits.
    for _ in requests:
        assert waiting.acquire(timeout=LONG)
    gate.set()
    return futures


def test_a_refusal_is_the_answer_of_all_that_wait_and_of_no_later_read(
    fleet: Fleet, workers: ThreadPoolExecutor
) -> None:
    futures = refused_together(fleet, workers, [read(), read()], status=404)
    for future in futures:
        with pytest.raises(ApiError, match="answered 404"):
            future.result(LONG)
    assert answer_of(fleet.client()) == "answer"
    assert len(fleet.server.received) == 2


def test_a_refused_key_is_named_as_each_stack_knows_it(
    fleet: Fleet, workers: ThreadPoolExecutor
) -> None:
    same_key = Key(ADMIN.secret, "credentials.admin", is_admin=True)
    first, second = refused_together(fleet, workers, [read(), read(key=same_key)], status=401)
    with pytest.raises(AuthenticationError, match="OPENAI_ADMIN_KEY"):
        first.result(LONG)
    assert second.result(LONG) == "answer"


# --- 8. one stack's answer is not another's


def test_a_stack_that_changes_its_answer_changes_no_other(fleet: Fleet) -> None:
    for client in (fleet.client(), fleet.client()):
        body = client.exchange(read()).body
        body["data"][0]["id"] = "changed"
        body["data"].append({})
    assert fleet.client().exchange(read()).body["data"] == [{"id": "answer_1"}]


def test_each_stack_masks_the_secrets_that_it_knows(fleet: Fleet) -> None:
    shown = {"data": [{"id": "proj_1", "name": "the-password-of-two"}]}
    fleet.server.answers[f"GET {PROJECTS}"] = lambda _: httpx.Response(200, json=shown)
    one, two = Redactor(), Redactor([Secret("the-password-of-two")])
    names = [
        fleet.client(redactor=redactor).exchange(read()).body["data"][0]["name"]
        for redactor in (one, two, one)
    ]
    assert names == ["the-password-of-two", "•••", "the-password-of-two"]


# --- 9. age


def test_no_answer_is_used_longer_than_the_greatest_age(fleet: Fleet) -> None:
    answer_of(fleet.client())
    fleet.clock.now += OLDEST - 1
    assert answer_of(fleet.client()) == "answer_1"
    fleet.clock.now += 1
    assert answer_of(fleet.client()) == "answer_2"


def test_the_age_of_an_answer_counts_from_its_request_and_not_from_when_it_is_handed_out(
    fleet: Fleet,
) -> None:
    read_at = fleet.clock()
    answer_of(fleet.client())
    fleet.clock.now += 60
    client = fleet.client()
    answer_of(client)
    assert client.read_since(fleet.clock()) == read_at


def test_a_clock_that_is_set_during_a_request_makes_its_answer_no_younger(fleet: Fleet) -> None:
    ahead = 0.0
    fleet.shared.machine_clock = lambda: fleet.clock() + ahead
    began = fleet.clock()

    def slow(number: int) -> httpx.Response:
        nonlocal ahead
        fleet.clock.now += 60
        ahead = -50.0
        return httpx.Response(200, json={"data": [{"id": f"answer_{number}"}]})

    fleet.server.answers[f"GET {PROJECTS}"] = slow
    answer_of(fleet.client())
    client = fleet.client()
    answer_of(client)
    assert client.read_since(fleet.clock()) == began


def test_the_age_of_an_own_reading_counts_from_its_request(fleet: Fleet) -> None:
    answer_of(fleet.client(), read("/organization/users"))
    fleet.clock.now += 60
    client = fleet.client()
    began = fleet.clock()
    answer_of(client)
    assert client.read_since(began) == began


def test_a_reading_is_outdated_once_another_stack_has_written(fleet: Fleet) -> None:
    client, other = fleet.client(), fleet.client()
    answer_of(client)
    began = fleet.clock()
    client.exchange(write())
    assert client.reading_age(began) < float("inf")
    fleet.clock.now += 1
    other.exchange(write())
    assert client.reading_age(began) == float("inf")
    assert client.reading_age(fleet.clock() + 1) < float("inf")


def test_a_reading_is_outdated_while_another_stack_writes(
    fleet: Fleet, workers: ThreadPoolExecutor
) -> None:
    client = fleet.client()
    answer_of(client)
    with write_under_way(fleet, workers) as writing:
        assert client.reading_age(fleet.clock() + 1) == float("inf")
    writing.result(LONG)


# --- 10. checks


def test_a_stack_that_expects_another_organization_refuses_the_answer(fleet: Fleet) -> None:
    answer_of(fleet.client())
    client = fleet.client()
    client.organization.expect(Expectation("org-2", "the stack file names org-2"))
    with pytest.raises(OrganizationError, match="org-1"):
        answer_of(client)
    assert len(fleet.server.received) == 1


def test_a_stack_learns_its_organization_from_a_shared_answer(fleet: Fleet) -> None:
    answer_of(fleet.client())
    client = fleet.client()
    answer_of(client)
    assert client.organization.seen == "org-1"


@pytest.mark.parametrize("error", [LeaseLostError("lost"), Interrupted("stopped")])
def test_a_stack_that_may_not_send_gets_no_answer(fleet: Fleet, error: Exception) -> None:
    answer_of(fleet.client())
    permit = Leader(error)
    permit.is_lost = True
    with pytest.raises(type(error)):
        answer_of(fleet.client(permit=permit))


# --- counts


def test_a_shared_answer_is_no_call_and_ends_an_announced_one(fleet: Fleet) -> None:
    answer_of(fleet.client())
    client = fleet.client()
    client.in_flight.expect(read().route)
    answer_of(client)
    assert (
        client.calls,
        client.shared_answers,
        client.in_flight.answered,
        client.left().calls,
    ) == (
        0,
        1,
        1,
        0,
    )


def test_waiting_for_another_stack_counts_as_waiting(
    fleet: Fleet, workers: ThreadPoolExecutor
) -> None:
    waiting = threading.Event()
    client = fleet.client(permit=waiting.set)
    with read_under_way(fleet, workers) as first:
        second = workers.submit(answer_of, client)
        assert waiting.wait(LONG)
        fleet.clock.now += 30
    assert first.result(LONG) == second.result(LONG)
    assert client.in_flight.idle_seconds == 30


def test_a_shared_answer_takes_nothing_from_the_budget(fleet: Fleet) -> None:
    answer_of(fleet.client())
    client = fleet.client()
    with client.at_most(0):
        assert answer_of(client) == "answer_1"


def test_answers_beyond_the_memory_for_them_are_forgotten_the_least_used_first(
    clock: Clock,
) -> None:
    shared = SharedReads(kept_bytes=150, clock=clock, machine_clock=clock)
    fleet = Fleet(clock, Server(clock), shared)
    paths = [f"/organization/list_{number}" for number in range(3)]
    client = fleet.client()
    answer_of(client, read(paths[0]))
    answer_of(client, read(paths[1]))
    answer_of(client, read(paths[0]))
    answer_of(client, read(paths[2]))
    fleet.server.received.clear()
    for path in (paths[0], paths[2], paths[1]):
        answer_of(client, read(path))
    assert fleet.server.calls == [f"GET {paths[1]}"]
