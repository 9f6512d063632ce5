"""The client retries or refuses failures of the network and the API, with a clear message."""

from __future__ import annotations

import gc
import io
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from reconciler.api.keys import Key
from reconciler.api.transport.circuit_breaker import CircuitBreaker
from reconciler.api.transport.client import ANSWER_SECONDS, Client, RemainingCalls
from reconciler.api.transport.connection import CONNECT_SECONDS
from reconciler.api.transport.request import Form, Request
from reconciler.api.transport.retry import RetryPolicy
from reconciler.api.transport.throttle import WINDOW_SECONDS, RateLimitKey, Throttle
from reconciler.api.transport.waits import Waits
from reconciler.emulator import Emulator
from reconciler.errors import (
    AmbiguousError,
    AnswerError,
    ApiError,
    AuthenticationError,
    Interrupted,
    NotFoundError,
    ThrottledError,
)
from reconciler.model.secret import Redactor, Secret
from tests.api.conftest import Clock, World

KEY = Key(
    Secret("sk-project-0000000000001234"), "OPENAI_API_KEY", project="search", project_id="proj_1"
)
ADMIN = Key(Secret("sk-admin-000000000000009876"), "credentials.admin", is_admin=True)
Handler = Callable[[httpx.Request], httpx.Response]


def talking_to(handler: Handler, clock: Clock, **options: Any) -> Client:
    given = {"throttle": Throttle(clock=clock), "clock": clock, "sleep": clock.sleep, **options}
    return Client("https://api.example/v1", transport=httpx.MockTransport(handler), **given)


def always(response: Any, **rest: Any) -> Handler:
    return lambda request: (
        response if isinstance(response, httpx.Response) else httpx.Response(response, **rest)
    )


# --- what is sent


def test_a_request_is_released_with_its_answer_and_not_at_the_next_garbage_collection(
    world: World,
) -> None:
    sent = io.BytesIO(b"bytes")
    kept = weakref.ref(sent)
    gc.disable()
    try:
        world.client.request(
            "POST",
            "/files",
            key=world.key,
            form=Form("file", "a.md", sent, {"purpose": "assistants"}),
        )
        del sent
        assert kept() is None
    finally:
        gc.enable()


def test_a_request_names_key_organization_project_and_beta(clock: Clock) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={})

    client = talking_to(answer, clock, organization="org-1", user_agent="reconciler/1")
    client.request("GET", "/agents", key=KEY, beta="agents=v1", query={"limit": 5})
    headers = seen[0].headers
    assert str(seen[0].url) == "https://api.example/v1/agents?limit=5"
    assert [headers[name] for name in ("authorization", "openai-organization", "openai-project", "openai-beta")] == [
        "Bearer sk-project-0000000000001234", "org-1", "proj_1", "agents=v1",
    ]  # fmt: skip


def test_a_cookie_that_a_proxy_sets_is_not_sent_back(clock: Clock) -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={}, headers={"set-cookie": "session=1"})

    client = talking_to(handler, clock)
    for _ in range(2):
        client.request("GET", "/files", key=ADMIN)
    assert ["cookie" in request.headers for request in seen] == [False, False]


def test_ids_in_a_path_are_quoted(clock: Clock) -> None:
    client = talking_to(
        lambda request: httpx.Response(200, json={"path": request.url.raw_path.decode()}), clock
    )
    answer = client.request("GET", "/files/{file}", key=KEY, ids={"file": "..a b?c"})
    assert answer["path"] == "/v1/files/..a%20b%3Fc"


@pytest.mark.parametrize("id", ["../a", "a\nb", "a\x7f", "..", ""])
def test_an_id_that_would_lead_elsewhere_is_refused_before_it_is_sent(
    clock: Clock, id: str
) -> None:
    client = talking_to(always(200, json={}), clock)
    with pytest.raises(ApiError, match="cannot be the id of a file"):
        client.request("GET", "/files/{file}", key=KEY, ids={"file": id})
    assert client.calls == 0


def test_every_attempt_is_counted(world: World) -> None:
    world.emulator.add_fault("on=GET:/files,do=error:503,times=2")
    world.client.request("GET", "/files", key=world.key)
    assert world.client.calls == 3


@pytest.mark.parametrize("status", [200, 201, 202])
def test_every_success_is_accepted(clock: Clock, status: int) -> None:
    assert talking_to(always(status, json={"id": "a"}), clock).request(
        "POST", "/evals", key=KEY
    ) == {"id": "a"}


# --- what is waited out


@pytest.mark.parametrize(
    "fault",
    [
        "error:500",
        "error:502",
        "error:408",
        "error:409",
        "html:503",
        "reset",
        "truncate",
        "retry-after:3",
    ],
)
def test_a_read_survives_bad_weather(world: World, fault: str) -> None:
    world.emulator.add_fault(f"on=GET:/files,do={fault},times=2")
    assert world.client.request("GET", "/files", key=world.key)["data"] == []


@pytest.mark.parametrize("style", ["bare", "retry-after", "text"])
def test_a_refusal_for_pace_is_waited_out_in_each_of_its_shapes(world: World, style: str) -> None:
    world.emulator.set_options(admin_rpm=7, throttle_style=style)
    for _ in range(20):
        world.client.request("GET", "/organization/projects", key=world.admin)
    refused = [request for request in world.emulator.requests if request.status == 429]
    assert len(refused) <= 4
    assert sum(world.clock.slept) <= 240


def test_an_answer_with_an_error_counts_towards_the_pace(
    make_world: Callable[..., World],
) -> None:
    earlier, world = make_world(), make_world()
    world.emulator.set_options(admin_rpm=7)
    for each, times in ((earlier, 3), (world, 30)):
        for _ in range(times):
            with pytest.raises(NotFoundError):
                each.client.request(
                    "GET", "/organization/projects/{project}", key=each.admin, ids={"project": "no"}
                )
    assert sum(world.clock.slept) <= 4 * WINDOW_SECONDS


def test_project_calls_go_on_while_admin_calls_wait(world: World) -> None:
    world.emulator.set_options(admin_rpm=1, throttle_style="retry-after")
    for _ in range(2):
        world.client.request("GET", "/organization/projects", key=world.admin)
    slept = sum(world.clock.slept)
    world.client.request("GET", "/files", key=world.key)
    assert sum(world.clock.slept) == slept > 0


def test_a_long_wait_is_announced_with_its_end(world: World) -> None:
    began = world.clock.now
    world.emulator.add_fault("on=GET:/files,do=retry-after:30")
    world.client.request("GET", "/files", key=world.key)
    ((why, until),) = world.waits
    assert why == "rate limit of GET /files"
    assert began + 30 <= until <= began + 31


def test_announced_calls_and_their_time_are_known_until_they_are_answered(
    make_world: Callable[..., World], clock: Clock
) -> None:
    world = make_world(throttle=Throttle(admin_requests_per_minute=3, clock=clock))
    for _ in range(4):
        world.client.in_flight.expect(RateLimitKey(True, "GET", "/organization/projects"))
    assert world.client.left() == RemainingCalls(4, pytest.approx(WINDOW_SECONDS))
    first = world.client.request("GET", "/organization/projects", key=world.admin)
    # A further page is not what was expected.
    world.client.request(
        "GET", "/organization/projects", key=world.admin, query={"after": first["last_id"]}
    )
    assert world.client.left().calls == 3


def test_a_call_that_waits_for_its_turn_is_still_to_come(clock: Clock) -> None:
    told: list[RemainingCalls] = []
    client = talking_to(
        always(200, json={}),
        clock,
        throttle=Throttle(admin_requests_per_minute=1, clock=clock),
        on_wait=lambda _, __: told.append(client.left()),
    )
    for _ in range(3):
        client.in_flight.expect(RateLimitKey(True, "GET", "/organization/projects"))
    for _ in range(3):
        client.request("GET", "/organization/projects", key=ADMIN)
    assert told == [
        RemainingCalls(2, pytest.approx(2 * WINDOW_SECONDS)),
        RemainingCalls(1, pytest.approx(WINDOW_SECONDS)),
    ]
    assert (client.in_flight.answered, client.left()) == (3, RemainingCalls(0, 0.0))


def test_threads_together_have_no_more_requests_in_flight_than_allowed(clock: Clock) -> None:
    lock, together, in_flight, most = threading.Lock(), threading.Barrier(3), 0, 0

    def handler(_: httpx.Request) -> httpx.Response:
        nonlocal in_flight, most
        with lock:
            in_flight += 1
            most = max(most, in_flight)
        together.wait(timeout=30)  # as many as that have to be in flight, or nothing would go on
        with lock:
            in_flight -= 1
        return httpx.Response(200, json={})

    client = talking_to(handler, clock, parallelism=3)
    with ThreadPoolExecutor(9) as pool:
        for answer in [pool.submit(client.request, "GET", "/files", key=KEY) for _ in range(9)]:
            answer.result()
    assert most == 3


def test_waiting_for_a_token_holds_no_slot(clock: Clock) -> None:
    waits, go_on = threading.Event(), threading.Event()

    def sleep(seconds: float) -> None:
        waits.set()
        go_on.wait(timeout=30)
        clock.sleep(seconds)

    throttle = Throttle(admin_requests_per_minute=1, clock=clock)
    client = talking_to(always(200, json={}), clock, throttle=throttle, sleep=sleep, parallelism=1)
    client.request("GET", "/organization/projects", key=ADMIN)
    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(client.request, "GET", "/organization/projects", key=ADMIN)
        waits.wait(timeout=30)
        assert client.request("GET", "/files", key=KEY) == {}
        assert not later.done()
        go_on.set()
        later.result()


def test_a_wait_for_an_estimated_limit_is_rechecked_twice_a_second_and_announced_once(
    clock: Clock,
) -> None:
    answers = [httpx.Response(status, json={}) for status in (200, 200, 200, 429, 200)]
    waits: list[str] = []
    client = talking_to(
        lambda _: answers.pop(0), clock, on_wait=lambda reason, _: waits.append(reason)
    )
    for _ in range(4):
        client.request("GET", "/organization/projects", key=ADMIN)
    assert sum(clock.slept) == pytest.approx(WINDOW_SECONDS)
    assert max(clock.slept) == 0.5
    assert waits == ["rate limit of GET /organization/projects"]


def test_a_short_wait_is_not_announced(world: World) -> None:
    world.emulator.add_fault("on=GET:/files,do=retry-after:1")
    world.client.request("GET", "/files", key=world.key)
    assert world.waits == []


def test_stopping_the_run_ends_a_wait(emulator: Emulator) -> None:
    stop = threading.Event()
    stop.set()
    client = Client(emulator.base_url, stop=stop)
    emulator.add_fault("on=GET:/files,do=retry-after:100")
    with pytest.raises(Interrupted):
        client.request("GET", "/files", key=Key(Secret(emulator.api_key), "test"))
    client.close()


@pytest.mark.parametrize("status", [429, 503])
def test_a_cleanup_waits_and_tries_again_after_the_run_was_stopped(
    clock: Clock, status: int
) -> None:
    stop = threading.Event()
    stop.set()
    answers = [
        httpx.Response(status, json={}, headers={"retry-after": "7"}),
        httpx.Response(200, json={"deleted": True}),
    ]
    client = talking_to(lambda _: answers.pop(0), clock, stop=stop)
    request = Request("DELETE", "/files/{id}", KEY, {"id": "file_1"}, after_stop=True)
    assert client.exchange(request).body == {"deleted": True}
    assert sum(clock.slept) >= 7


def test_a_stop_does_not_shorten_the_wait_of_a_cleanup() -> None:
    stop = threading.Event()
    stop.set()
    began_at = time.monotonic()
    Waits(clock=time.time, stop=stop).sleep(0.05, after_stop=True)
    assert time.monotonic() - began_at >= 0.05


def test_json_that_lost_its_end_is_asked_for_again(clock: Clock) -> None:
    bodies = ['{"data": [', '{"data": []}']
    client = talking_to(
        lambda _: httpx.Response(
            200, text=bodies.pop(0), headers={"content-type": "application/json"}
        ),
        clock,
    )
    assert client.request("GET", "/files", key=KEY) == {"data": []}


# --- what is given up


def silent(clock: Clock) -> Handler:
    """A server that accepts a request and says nothing until we hang up."""

    def handle(request: httpx.Request) -> httpx.Response:
        clock.now += ANSWER_SECONDS
        raise httpx.ReadTimeout("timed out")

    return handle


STORMS: dict[str, Callable[[Clock], Handler]] = {
    "503": lambda clock: always(503, json={}),
    "429 without a word": lambda clock: always(429, json={"error": {"message": "busy"}}),
    "429 with Retry-After": lambda clock: always(429, json={}, headers={"retry-after": "100"}),
    "429 with the wait in the text": lambda clock: always(
        429, json={"error": {"message": "Please try again after 59.937 seconds."}}
    ),
    "409": lambda clock: always(409, json={}),
    "page of a proxy": lambda clock: always(502, html="<html>"),
    "broken JSON": lambda clock: always(
        200, text="{", headers={"content-type": "application/json"}
    ),
    "silence": silent,
}


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("storm", STORMS.values(), ids=STORMS.keys())
def test_weather_that_does_not_end_ends_a_request_in_bounded_time(
    clock: Clock, storm: Callable[[Clock], Handler], method: str
) -> None:
    began = clock.now
    with pytest.raises(ApiError):
        talking_to(storm(clock), clock).request(method, "/organization/projects", key=ADMIN)
    assert clock.now - began <= RetryPolicy().bound_seconds(CONNECT_SECONDS + 2 * ANSWER_SECONDS)


def test_a_server_that_accepts_and_never_answers_is_given_up(clock: Clock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as half_open:
        url = f"http://127.0.0.1:{half_open.getsockname()[1]}/v1"
        client = Client(url, clock=clock, sleep=clock.sleep, answer_seconds=0.02)
        with pytest.raises(ApiError, match="did not answer in time"):
            client.request("GET", "/files", key=KEY)
        client.close()
    assert client.calls == RetryPolicy().attempts


def test_an_answer_that_drips_is_given_up(clock: Clock) -> None:
    def drops() -> Iterator[bytes]:
        for _ in range(10_000):
            clock.now += 60
            yield b" "

    client = talking_to(lambda _: httpx.Response(200, content=drops()), clock)
    began = clock.now
    with pytest.raises(AmbiguousError, match="cut short"):
        client.request("POST", "/files", key=KEY)
    assert clock.now - began <= 2 * ANSWER_SECONDS


def test_a_request_to_a_route_with_three_exhausted_requests_is_not_tried(clock: Clock) -> None:
    client = talking_to(always(503, json={}), clock)
    for _ in range(3):
        with pytest.raises(ApiError):
            client.request("GET", "/files/{file}", key=KEY, ids={"file": "a"})
    calls = client.calls
    with pytest.raises(
        ApiError, match="GET /files/b was not tried, as 3 calls like it had no answer"
    ):
        client.request("GET", "/files/{file}", key=KEY, ids={"file": "b"})
    assert client.calls == calls


def test_creates_on_a_route_that_loses_every_answer_end_soon(clock: Clock) -> None:
    client = talking_to(always(503, json={}), clock)
    for _ in range(100):
        with pytest.raises(ApiError):
            client.request("POST", "/files", key=KEY)
    assert client.calls == 40


def test_one_request_a_minute_sees_whether_a_route_is_back(clock: Clock) -> None:
    outages = CircuitBreaker(clock=clock)
    lane = RateLimitKey(False, "GET", "/files")
    for _ in range(3):
        outages.record_exhausted(lane, ApiError("no answer"))
    clock.now += 61
    outages.check(lane, "GET /files")
    with pytest.raises(ApiError, match="not tried"):
        outages.check(lane, "GET /files")
    outages.record_answer(lane)
    outages.check(lane, "GET /files")


def test_a_refusal_shows_that_the_server_is_there(clock: Clock) -> None:
    statuses = [503] * 10 + [404] + [503] * 20
    client = talking_to(
        lambda _: httpx.Response(statuses.pop(0), json={"error": {"message": "m"}}), clock
    )
    for _ in range(4):
        with pytest.raises(ApiError) as caught:
            client.request("GET", "/files", key=KEY)
    assert ("not tried" in str(caught.value), statuses) == (False, [])


def test_an_exhausted_quota_is_not_waited_for(world: World) -> None:
    world.emulator.add_fault("on=GET:/files,do=quota,times=0")
    with pytest.raises(ThrottledError) as caught:
        world.client.request("GET", "/files", key=world.key)
    assert (world.client.calls, world.clock.slept) == (1, [])
    assert "quota" in caught.value.hint


def test_a_wait_of_minutes_is_not_waited_for(world: World) -> None:
    world.emulator.add_fault("on=GET:/files,do=retry-after:600,times=0")
    with pytest.raises(ThrottledError, match="600 seconds"):
        world.client.request("GET", "/files", key=world.key)
    assert world.clock.slept == []


@pytest.mark.parametrize(
    "fault", ["error:500", "error:408", "error:409", "html:502", "reset", "truncate", "not-json"]
)
def test_a_create_of_unknown_outcome_is_sent_once(world: World, fault: str) -> None:
    world.emulator.add_fault(f"on=POST:/vector_stores,do={fault},when=after,times=0")
    with pytest.raises(AmbiguousError):
        world.client.request("POST", "/vector_stores", key=world.key, json={"name": "a"})
    assert len(world.objects("vector_store")) == 1


def test_a_create_that_timed_out_is_ambiguous(clock: Clock) -> None:
    def late(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("timed out")

    with pytest.raises(AmbiguousError, match="did not answer in time"):
        talking_to(late, clock).request("POST", "/vector_stores", key=KEY, json={})


def test_a_create_that_was_refused_for_now_is_sent_again(world: World) -> None:
    world.emulator.add_fault("on=POST:/vector_stores,do=retry-after:1")
    world.client.request("POST", "/vector_stores", key=world.key, json={"name": "a"})
    assert len(world.objects("vector_store")) == 1


def test_a_write_that_says_the_same_twice_is_sent_again_after_a_conflict(world: World) -> None:
    made = world.client.request("POST", "/vector_stores", key=world.key, json={"name": "a"})
    world.emulator.add_fault("on=POST:/vector_stores/*,do=error:409")
    path, ids = "/vector_stores/{id}", {"id": made["id"]}
    changed = world.client.request(
        "POST", path, key=world.key, ids=ids, json={"name": "b"}, repeatable=True
    )
    assert changed["name"] == "b"


def test_a_create_that_never_left_is_sent_again(clock: Clock) -> None:
    attempts: list[str] = []

    def connect(request: httpx.Request) -> httpx.Response:
        attempts.append(request.method)
        if len(attempts) < 3:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json={"id": "vs_1"})

    assert talking_to(connect, clock).request("POST", "/vector_stores", key=KEY, json={}) == {
        "id": "vs_1"
    }


@pytest.mark.parametrize("fault", ["error:500", "reset", "truncate"])
def test_a_delete_is_sent_again_after_an_unclear_answer(world: World, fault: str) -> None:
    world.emulator.add_fault(f"on=DELETE:/vector_stores/*,do={fault},when=after")
    made = world.client.request("POST", "/vector_stores", key=world.key, json={"name": "a"})
    with pytest.raises(NotFoundError):
        world.client.request("DELETE", "/vector_stores/{id}", key=world.key, ids={"id": made["id"]})
    assert len(world.sent("DELETE")) == 2


def test_a_server_that_says_not_to_retry_is_obeyed(clock: Clock) -> None:
    client = talking_to(
        always(429, json={"error": {"message": "no"}}, headers={"x-should-retry": "false"}), clock
    )
    with pytest.raises(ThrottledError):
        client.request("GET", "/files", key=KEY)
    assert client.calls == 1


# --- in which words


def test_a_redirect_is_refused_and_not_followed(clock: Clock) -> None:
    hosts: list[str] = []

    def redirect(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        return httpx.Response(307, headers={"location": "https://evil.example/v1/files"})

    with pytest.raises(AnswerError, match="redirect"):
        talking_to(redirect, clock).request("GET", "/files", key=KEY)
    assert hosts == ["api.example"]


def test_a_redirected_create_is_no_ambiguity(clock: Clock) -> None:
    client = talking_to(always(301, headers={"location": "https://www.api.example/"}), clock)
    with pytest.raises(AnswerError):
        client.request("POST", "/files", key=KEY)


@pytest.mark.parametrize("status", [200, 403, 404])
def test_a_page_of_a_proxy_is_named_as_such(clock: Clock, status: int) -> None:
    page = "<html>\n<h1>\x1b[31mSign in</h1>" + "x" * 500
    client = talking_to(always(status, html=page), clock)
    with pytest.raises(AnswerError) as caught:
        client.request("GET", "/files", key=KEY)
    message = str(caught.value)
    assert f"https://api.example answered {status} with text/html" in message
    assert "looks like a proxy" in message
    assert "\x1b" not in message
    assert len(message) < 300


def test_a_body_that_ends_early_is_named_as_such(world: World) -> None:
    world.emulator.add_fault("on=GET:/files,do=truncate,times=0")
    with pytest.raises(AnswerError, match="cut short"):
        world.client.request("GET", "/files", key=world.key)


def test_an_answer_that_is_always_cut_short_is_given_up_within_half_a_minute(world: World) -> None:
    world.emulator.add_fault("on=GET:/files,do=truncate,times=0")
    with pytest.raises(AnswerError):
        world.client.request("GET", "/files", key=world.key)
    assert sum(world.clock.slept) <= 30


def test_short_waits_are_announced_once_they_are_long_together(clock: Clock) -> None:
    waits: list[str] = []
    client = talking_to(
        always(503, json={}),
        clock,
        on_wait=lambda reason, until: waits.append(reason),
        policy=RetryPolicy(random=lambda: 0),
    )
    with pytest.raises(ApiError):
        client.request("GET", "/files", key=KEY)
    assert clock.slept == [0.5] * 9
    assert len(waits) == 5


def test_a_request_that_cannot_be_put_on_the_wire_fails_at_once(clock: Clock) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.LocalProtocolError("Illegal header value b'a\\nb'")

    client = talking_to(refuse, clock)
    with pytest.raises(ApiError, match="cannot be sent: Illegal header value") as caught:
        client.request("POST", "/files", key=KEY)
    assert (client.calls, type(caught.value)) == (1, ApiError)


@pytest.mark.parametrize("body", ['{"a": ', "[]", '"text"', "", "[" * 100_000])
def test_json_that_is_no_object_is_an_error(clock: Clock, body: str) -> None:
    client = talking_to(always(200, text=body, headers={"content-type": "application/json"}), clock)
    with pytest.raises(AnswerError, match="broken or cut short"):
        client.request("GET", "/files", key=KEY)


def test_a_project_key_on_an_admin_route_says_which_key_is_needed(world: World) -> None:
    wrong = Key(Secret(world.emulator.api_key), "OPENAI_ADMIN", is_admin=True)
    with pytest.raises(AuthenticationError) as caught:
        world.client.request("GET", "/organization/projects", key=wrong)
    assert "OPENAI_ADMIN" in str(caught.value)
    assert "needs an admin key" in caught.value.hint


def test_a_key_that_is_none_says_where_to_look(world: World) -> None:
    wrong = Key(Secret("sk-wrong-0123456789abcdef"), "OPENAI_API_KEY")
    with pytest.raises(AuthenticationError) as caught:
        world.client.request("GET", "/files", key=wrong)
    assert "wrong, incomplete or revoked: check what is in OPENAI_API_KEY" in caught.value.hint


def test_a_key_of_another_project_is_refused_with_a_hint(clock: Clock) -> None:
    error = {"error": {"message": "mismatch", "code": "mismatched_project"}}
    with pytest.raises(AuthenticationError) as caught:
        talking_to(always(401, json=error), clock).request("GET", "/files", key=KEY)
    assert "•••1234" in str(caught.value)
    assert "credentials.projects.search" in caught.value.hint


def test_a_refusal_keeps_the_message_of_the_api(clock: Clock) -> None:
    error = {"error": {"message": "Invalid 'name'.", "param": "name", "code": "invalid_value"}}
    client = talking_to(always(400, json=error, headers={"x-request-id": "req_7"}), clock)
    with pytest.raises(ApiError) as caught:
        client.request("POST", "/files", key=KEY)
    found = caught.value
    assert (found.status, found.param, found.code, found.request_id) == (
        400,
        "name",
        "invalid_value",
        "req_7",
    )
    assert (
        str(found)
        == "POST /files answered 400, param name, code invalid_value: Invalid 'name'. [request req_7]"
    )


@pytest.mark.parametrize(
    "body", [{"message": "gone", "type": "x", "param": None, "code": None}, {"error": "gone"}]
)
def test_an_error_without_its_envelope_is_understood(clock: Clock, body: Any) -> None:
    with pytest.raises(NotFoundError, match="gone"):
        talking_to(always(404, json=body), clock).request("GET", "/evals/x", key=KEY)


@pytest.mark.parametrize(
    ("error", "excerpt"),
    [
        ("no upstream", '("no upstream")'),
        ({"message": "no upstream", "code": 7}, '("no upstream")'),
        ({"message": None, "code": 7}, '("{"message": null, "code": 7}")'),
        ({"code": 7}, '("{"code": 7}")'),
    ],
    ids=str,
)
def test_an_error_in_place_of_a_result_is_shown(clock: Clock, error: Any, excerpt: str) -> None:
    with pytest.raises(AnswerError) as caught:
        talking_to(always(200, json={"error": error}), clock).request("GET", "/files", key=KEY)
    assert excerpt in str(caught.value)


def test_no_secret_of_an_answer_reaches_a_message(clock: Clock) -> None:
    redactor = Redactor([Secret("hunter2secret")])
    text = (
        "key sk-project-0000000000001234, password hunter2secret, other sk-abcdefghijklmnopqrstuv"
    )
    client = talking_to(always(400, json={"error": {"message": text}}), clock, redactor=redactor)
    with pytest.raises(ApiError) as caught:
        client.request("GET", "/files", key=KEY)
    assert str(caught.value).count("•••") == 3


def test_an_unreachable_host_is_named_with_a_hint(clock: Clock) -> None:
    client = Client("http://127.0.0.1:1/v1", sleep=clock.sleep, clock=clock)
    with pytest.raises(ApiError, match=r"http://127\.0\.0\.1:1 cannot be reached") as caught:
        client.request("POST", "/files", key=KEY)
    client.close()
    assert "OPENAI_BASE_URL" in caught.value.hint
    assert not isinstance(caught.value, AmbiguousError)
    assert client.calls == 4


def test_a_certificate_that_is_not_trusted_is_not_tried_again(clock: Clock) -> None:
    import ssl

    def connect(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("failed") from ssl.SSLCertVerificationError(
            "self-signed certificate"
        )

    client = talking_to(connect, clock)
    with pytest.raises(ApiError, match="is not trusted"):
        client.request("GET", "/files", key=ADMIN)
    assert client.calls == 1


class Refused(Exception):
    """What `permit` raises in these tests."""


def permitting(times: int) -> Callable[[], None]:
    """Permits that often, and refuses from then on."""
    calls = iter([True] * times)

    def permit() -> None:
        if not next(calls, False):
            raise Refused

    return permit


@pytest.mark.parametrize("times", range(3))
def test_a_write_whose_permission_ends_while_it_is_sent_does_not_happen(times: int) -> None:
    """Before the request is prepared, before its headers are written, and before its body is."""
    with Emulator() as emulator:
        admin = Key(Secret(emulator.admin_key), "OPENAI_ADMIN_KEY", is_admin=True)
        client = Client(emulator.base_url, permit=permitting(times))
        with pytest.raises(Refused):
            client.request("POST", "/organization/groups", key=admin, json={"name": "Late"})
        client.close()
        with emulator.store.lock:
            assert list(emulator.store.all("group")) == []


def test_an_upload_whose_permission_ends_between_two_parts_does_not_happen() -> None:
    with Emulator() as emulator:
        key = Key(Secret(emulator.api_key), "OPENAI_API_KEY")
        client = Client(emulator.base_url, permit=permitting(6))
        form = Form("file", "a.md", io.BytesIO(b"x" * 1_000_000), {"purpose": "assistants"})
        with pytest.raises(Refused):
            client.request("POST", "/files", key=key, form=form)
        client.close()
        with emulator.store.lock:
            assert list(emulator.store.all("file")) == []
