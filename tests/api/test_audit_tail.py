"""One reading of the audit log's tail answers the queries of all stacks as the API would."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reconciler.api.audit import PAGE_ENTRIES, read_log
from reconciler.api.audit_tail import AuditTail
from reconciler.api.transport.client import Client
from reconciler.api.transport.shared_reads import SharedReader, SharedReads
from reconciler.emulator import Emulator
from reconciler.emulator.store import ORGANIZATION
from reconciler.errors import ApiError
from reconciler.model.consistency import ServerClock
from reconciler.model.log import LogPage, LogQuery
from tests.api.conftest import World

TYPES = ("project.created", "rate_limit.updated", "service_account.created", "user.added")
PROJECTS = ("proj_a", "proj_b", None)
RESOURCES = tuple(f"object_{number}" for number in range(7))
SIZES = (0, 1, PAGE_ENTRIES - 1, PAGE_ENTRIES, PAGE_ENTRIES + 1, 2 * PAGE_ENTRIES, 330)
BEGAN = 1_700_000_000
REFUSED = 900.0


def fill(emulator: Emulator, count: int) -> None:
    """So many entries, of which three share each second."""
    for number in range(count):
        type, project = TYPES[number % len(TYPES)], PROJECTS[number % len(PROJECTS)]
        resource = RESOURCES[number % len(RESOURCES)]
        entry: dict[str, Any] = {
            "id": f"audit_log-{number:05}",
            "type": type,
            "effective_at": BEGAN + number // 3,
            "actor": {
                "type": "api_key",
                "api_key": {"id": "key_1", "user": {"email": "a@b.example"}},
            },
            type: {"id": resource},
        }
        if project is not None:
            entry["project"] = {"id": project, "name": project}
        emulator.store.add("audit_log", ORGANIZATION, entry, resource_id=resource)


@pytest.fixture
def join(world: World) -> Iterator[Callable[[], Client]]:
    """Further clients of the world's organization, which share answers."""
    shared = SharedReads(clock=world.clock, machine_clock=world.clock)
    clients: list[Client] = []

    def client() -> Client:
        clock = ServerClock(world.clock)
        url = world.emulator.base_url
        reader = SharedReader(shared, url, "", clock)
        clients.append(Client(url, clock=world.clock, sleep=world.clock.sleep, shared=reader))
        return clients[-1]

    yield client
    for made in clients:
        made.close()


@pytest.fixture
def tail(world: World) -> AuditTail:
    return AuditTail(refused_seconds=REFUSED, clock=world.clock)


def calls(emulator: Emulator) -> int:
    return len([sent for sent in emulator.requests if sent.path.endswith("/audit_logs")])


some = st.lists
QUERIES = st.builds(
    LogQuery,
    since=st.one_of(
        st.none(),
        st.floats(BEGAN - 5, BEGAN + 120, allow_nan=False),
        st.integers(BEGAN, BEGAN + 110),
    ),
    types=some(st.sampled_from((*TYPES, "group.created")), max_size=2, unique=True).map(tuple),
    project_ids=some(st.sampled_from(("proj_a", "proj_b", "proj_c")), max_size=2, unique=True).map(
        tuple
    ),
    resource_ids=some(st.sampled_from((*RESOURCES, "object_9")), max_size=3, unique=True).map(
        tuple
    ),
)


@pytest.mark.parametrize("size", SIZES)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(queries=st.lists(QUERIES, min_size=1, max_size=3))
@example(queries=[LogQuery()])
@example(queries=[LogQuery(since=float(BEGAN))])
@example(queries=[LogQuery(since=BEGAN + 33.5), LogQuery(types=TYPES[:2])])
def test_every_query_is_answered_as_the_api_answers_it(
    world: World,
    join: Callable[[], Client],
    tail: AuditTail,
    size: int,
    queries: Sequence[LogQuery],
) -> None:
    if not list(world.emulator.store.all("audit_log")):
        fill(world.emulator, size)
    for query in queries:
        from_api = list(read_log(world.client, world.keys, query))
        assert pages_of(tail.read(join(), world.keys, query)) == pages_of(iter(from_api))


def pages_of(pages: Iterator[LogPage]) -> list[tuple[list[str], bool]]:
    return [([entry.id for entry in page.entries], page.has_more) for page in pages]


def test_stacks_with_different_queries_take_the_calls_of_the_one_that_reads_furthest(
    world: World, join: Callable[[], Client], tail: AuditTail
) -> None:
    fill(world.emulator, 330)
    newest = BEGAN + 329 // 3
    for seconds in (1, 40, 60, 20):
        list(tail.read(join(), world.keys, LogQuery(since=newest - seconds)))
    assert calls(world.emulator) == 2


def test_no_more_is_read_than_is_asked_for(
    world: World, join: Callable[[], Client], tail: AuditTail
) -> None:
    fill(world.emulator, 330)
    # Whether a full page is the last one shows on the next.
    list(islice(tail.read(join(), world.keys, LogQuery()), 1))
    assert calls(world.emulator) == 2


def test_a_filter_within_the_pages_read_so_far_takes_no_call(
    world: World, join: Callable[[], Client], tail: AuditTail
) -> None:
    fill(world.emulator, 90)
    list(tail.read(join(), world.keys, LogQuery()))
    world.emulator.clear_requests()
    (page,) = tail.read(join(), world.keys, LogQuery(types=(TYPES[0],)))
    assert (len(page.entries), calls(world.emulator)) == (23, 0)


def test_a_filter_beyond_the_pages_read_so_far_goes_to_the_api(
    world: World, join: Callable[[], Client], tail: AuditTail
) -> None:
    fill(world.emulator, 330)
    newest = BEGAN + 329 // 3
    list(tail.read(join(), world.keys, LogQuery(since=newest)))
    world.emulator.clear_requests()
    next(tail.read(join(), world.keys, LogQuery(resource_ids=RESOURCES[:1])))
    (sent,) = world.emulator.requests
    assert "resource_ids" in str(sent.query)


def test_a_write_of_any_stack_makes_the_tail_read_again(
    world: World, join: Callable[[], Client], tail: AuditTail
) -> None:
    writer = join()
    list(tail.read(writer, world.keys, LogQuery()))
    writer.request("POST", "/organization/projects", key=world.admin, json={"name": "new"})
    (page,) = tail.read(join(), world.keys, LogQuery())
    assert [entry.type for entry in page.entries] == ["project.created"]


def test_a_page_has_the_time_of_its_request_by_any_stack(
    world: World, join: Callable[[], Client], tail: AuditTail
) -> None:
    asked_at = world.clock.now
    list(tail.read(join(), world.keys, LogQuery()))
    world.clock.now += 30
    (page,) = tail.read(join(), world.keys, LogQuery())
    assert (page.asked_at, calls(world.emulator)) == (asked_at, 1)


def test_a_log_that_is_refused_is_asked_once_and_again_after_a_while(
    world: World, join: Callable[[], Client], tail: AuditTail
) -> None:
    world.emulator.set_options(audit_off=True)
    for _ in range(3):
        with pytest.raises(ApiError, match="403"):
            list(tail.read(join(), world.keys, LogQuery()))
    assert calls(world.emulator) == 1
    world.emulator.set_options(audit_off=False)
    world.clock.now += REFUSED
    list(tail.read(join(), world.keys, LogQuery()))
    assert calls(world.emulator) == 2
