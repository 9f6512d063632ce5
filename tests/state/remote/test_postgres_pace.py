"""The pace in Postgres: who gets a token when, what refusals teach, and which rights it takes."""

from __future__ import annotations

import heapq
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from reconciler.api.transport.shared_pace import PaceScope, SharedThrottle
from reconciler.api.transport.throttle import WINDOW_SECONDS, RateLimitKey, Throttle
from reconciler.model.pace import PaceAnswer, PaceError, PaceRequest, PaceUser
from reconciler.state.remote.postgres import sql as postgres_sql
from reconciler.state.remote.postgres.pace import PostgresPace
from reconciler.state.remote.postgres.storage import PostgresStorage, print_sql
from reconciler.state.remote.storage import StoredBody, Tail
from tests.api.conftest import Clock
from tests.api.test_throttle import (
    Server,
    emptied_on_the_minute,
    looking_back_a_minute,
    refilled_steadily,
)
from tests.servers.postgres import PASSWORD, Database
from tests.state.remote.simulated_pace import SimulatedPace, advance, freeze, prepare, request

W = WINDOW_SECONDS
ADMIN = RateLimitKey(True, "GET", "/organization/projects")
Open = Callable[..., PostgresPace]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_pace(database: Database) -> Iterator[Open]:
    """Opens paces of one database, whose clock stands still, as several runs would."""
    prepare(database)
    freeze(database)
    opened: list[PostgresPace] = []

    def open_one(url: str = "") -> PostgresPace:
        opened.append(PostgresPace(url or database.url(), patience=20))
        return opened[-1]

    yield open_one
    for pace in opened:
        pace.close()


@pytest.fixture
def pace(open_pace: Open) -> PostgresPace:
    return open_pace()


def granted(pace: PostgresPace, run: str, times: int, **options: object) -> int:
    """How many of so many requests for a token got one."""
    answers = [pace.take(request(run, **options)) for _ in range(times)]  # type: ignore[arg-type]
    return sum(answer.wait_seconds == 0 for answer in answers)


def refused(pace: PostgresPace, run: str, *, wait_seconds: float | None = None) -> PaceAnswer:
    """Take a token, and report that the server refused its request."""
    asked = request(run)
    answer = pace.take(asked)
    assert answer.wait_seconds == 0
    return pace.refused(asked, taken_at=answer.now, wait_seconds=wait_seconds)


def taught(database: Database, pace: PostgresPace, limit: int) -> None:
    """Let a run learn a limit, a window after it began; the window is over then."""
    refused(pace, "first")
    advance(database, W)
    for _ in range(limit):
        assert pace.take(request("first", limit=300)).wait_seconds == 0
    asked = request("first", limit=300)
    answer = pace.take(asked)
    pace.refused(request("first"), taken_at=answer.now, wait_seconds=None)
    advance(database, W)


# --- the window ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["directly", "through PgBouncer"])
def test_runs_that_race_get_no_more_tokens_than_the_limit(
    way: str, database: Database, open_pace: Open, request: pytest.FixtureRequest
) -> None:
    port = 0 if way == "directly" else request.getfixturevalue("pgbouncer").port
    runs, start = 8, threading.Barrier(8)
    paces = [open_pace(database.url(port=port)) for _ in range(runs)]

    def race(number: int) -> int:
        start.wait()
        return granted(paces[number], f"run {number}", 5, limit=7)

    for _ in range(3):
        with ThreadPoolExecutor(runs) as pool:
            assert sum(pool.map(race, range(runs))) == 7
        advance(database, W)


def test_a_token_is_free_again_after_the_window(database: Database, pace: PostgresPace) -> None:
    assert granted(pace, "a", 2, limit=2) == 2
    advance(database, W - 5)
    assert granted(pace, "b", 1, limit=2) == 0
    advance(database, 5)
    assert granted(pace, "b", 3, limit=2) == 2


def test_the_wait_ends_when_a_token_is_free(database: Database, pace: PostgresPace) -> None:
    granted(pace, "a", 2, limit=2)
    advance(database, 20)
    assert pace.take(request("b", limit=2)).wait_seconds == pytest.approx(W - 20)


def test_scopes_and_routes_have_windows_of_their_own(pace: PostgresPace) -> None:
    first = request("a", limit=1)
    others = [
        PaceRequest("api/org-other", first.route, first.user, limit=1),
        PaceRequest(first.scope, "POST /organization/projects", first.user, limit=1),
    ]
    assert [pace.take(asked).wait_seconds for asked in (first, *others)] == [0, 0, 0]


def test_requests_that_were_sent_without_a_token_count(pace: PostgresPace) -> None:
    now = pace.take(request("a", limit=3)).now
    asked = request("a", limit=3)
    sent = PaceRequest(asked.scope, asked.route, asked.user, limit=3, earlier=[now - 50, now - 10])
    assert pace.take(sent).wait_seconds == pytest.approx(11)


def test_a_route_remembers_a_bounded_number_of_requests(
    database: Database, pace: PostgresPace
) -> None:
    now = pace.take(request("a")).now
    asked = request("a")
    sent = [now - 10 - number / 1000 for number in range(1000)]
    pace.take(PaceRequest(asked.scope, asked.route, asked.user, earlier=sent))
    [(length,)] = database.execute("SELECT cardinality(taken_at) FROM reconciler.paces")
    assert length <= 301


def test_routes_that_nobody_used_for_a_month_are_forgotten(
    database: Database, pace: PostgresPace
) -> None:
    pace.take(request("a"))
    advance(database, 31 * 86_400)
    pace.take(PaceRequest("api/org-other", "GET /x", PaceUser("b")))
    assert database.execute("SELECT route FROM reconciler.paces") == [("GET /x",)]


# --- what refusals teach ---------------------------------------------------------------------------


def test_nothing_is_limited_before_the_first_refusal(pace: PostgresPace) -> None:
    assert granted(pace, "a", 50) == 50


def test_what_one_run_learns_limits_all(database: Database, pace: PostgresPace) -> None:
    taught(database, pace, 7)
    assert granted(pace, "a", 5) + granted(pace, "b", 5) == 7


def test_refusals_of_several_runs_show_the_limit_together(
    database: Database, pace: PostgresPace
) -> None:
    pace.take(request("a"))
    advance(database, W)
    tokens = [(run, pace.take(request(run)).now) for run in ("a", "b") for _ in range(6)]
    for run, taken_at in tokens[:5]:
        answer = pace.refused(request(run), taken_at=taken_at, wait_seconds=None)
    assert answer.limit == 7


@pytest.mark.parametrize("wait", [30.0, 90.0])
def test_a_wait_that_the_server_asks_of_one_run_holds_for_all(
    database: Database, pace: PostgresPace, wait: float
) -> None:
    refused(pace, "a", wait_seconds=wait)
    assert pace.take(request("b")).wait_seconds == pytest.approx(wait)
    advance(database, wait)
    assert pace.take(request("b")).wait_seconds == 0


def test_a_wait_is_bounded_whatever_a_run_reports(pace: PostgresPace) -> None:
    refused(pace, "a", wait_seconds=1e9)
    assert pace.take(request("b")).wait_seconds <= 120


def test_a_lone_refusal_with_a_short_wait_teaches_nothing(
    database: Database, pace: PostgresPace
) -> None:
    taught(database, pace, 7)
    advance(database, W)
    refused(pace, "a", wait_seconds=1)
    assert pace.take(request("a")).limit == 7


def test_a_learned_limit_is_probed_once_in_quiet_minutes_for_all_runs(
    database: Database, pace: PostgresPace
) -> None:
    taught(database, pace, 4)
    counts = [4]
    for _ in range(4):
        counts.append(sum(granted(pace, run, 4) for run in "abc"))
        advance(database, W)
    assert {later - earlier for earlier, later in pairwise(counts)} == {0, 1}


@pytest.mark.slow
def test_a_probe_that_is_refused_is_repeated_later_each_time(
    database: Database, pace: PostgresPace
) -> None:
    taught(database, pace, 4)
    windows_with_a_probe = []
    for window in range(40):
        tokens = []
        while (answer := pace.take(request("a"))).wait_seconds == 0:
            tokens.append(answer.now)
        if len(tokens) > 4:
            windows_with_a_probe.append(window)
            pace.refused(request("a"), taken_at=tokens[-1], wait_seconds=None)
        advance(database, W)
    gaps = [later - earlier for earlier, later in pairwise(windows_with_a_probe)]
    assert gaps == sorted(gaps)
    assert len(windows_with_a_probe) <= 5


@pytest.mark.slow
def test_a_limit_that_rose_is_followed_within_some_minutes(
    database: Database, pace: PostgresPace
) -> None:
    taught(database, pace, 4)
    thirds = 0
    while granted(pace, "a", 40) < 20:
        advance(database, 20)
        thirds += 1
    assert thirds <= 36


# --- several runs ----------------------------------------------------------------------------------


SHARED_WINDOWS = 10


def shares(
    database: Database, pace: PostgresPace, wants: Sequence[tuple[str, bool]], *, limit: int
) -> Counter[str]:
    """How many tokens each run got in ten windows; all want more all the time."""
    taken: Counter[str] = Counter()
    clock, due = 0.0, [(0.0, index, run) for index, (run, _) in enumerate(wants)]
    backgrounds = dict(wants)
    while clock < SHARED_WINDOWS * W:
        moment, index, run = heapq.heappop(due)
        if moment > clock:
            advance(database, moment - clock)
            clock = moment
        answer = pace.take(request(run, limit=limit, wanted=5, background=backgrounds[run]))
        taken[run] += answer.wait_seconds == 0
        heapq.heappush(due, (clock + (answer.wait_seconds or 0.001), index, run))
    return taken


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "most_apart"), [(6, 1), (7, SHARED_WINDOWS), (8, 1)])
def test_runs_get_equal_shares_although_one_came_first(
    database: Database, pace: PostgresPace, limit: int, most_apart: int
) -> None:
    """The odd token of a window may go to the same run each time."""
    granted(pace, "operator", limit, limit=limit)
    taken = shares(database, pace, [("operator", False), ("laptop", False)], limit=limit)
    assert abs(taken["operator"] - taken["laptop"]) <= most_apart
    assert sum(taken.values()) >= limit * (SHARED_WINDOWS - 1)


def test_a_run_that_asks_for_one_token_gets_the_next_that_is_free(
    database: Database, pace: PostgresPace
) -> None:
    for _ in range(7):
        granted(pace, "operator", 1, limit=7)
        advance(database, 5)
    wait = pace.take(request("operator", limit=7, wanted=10)).wait_seconds
    assert pace.take(request("laptop", limit=7)).wait_seconds == pytest.approx(wait)
    advance(database, wait + 0.05)
    assert pace.take(request("operator", limit=7, wanted=10)).wait_seconds > 0
    assert pace.take(request("laptop", limit=7)).wait_seconds == 0


@pytest.mark.slow
def test_a_background_run_gets_half_as_much_as_others(
    database: Database, pace: PostgresPace
) -> None:
    taken = shares(database, pace, [("operator", True), ("laptop", False)], limit=6)
    assert taken["laptop"] == pytest.approx(2 * taken["operator"], abs=2)


def test_a_run_that_died_while_it_waited_holds_nobody_back_for_long(
    database: Database, pace: PostgresPace
) -> None:
    granted(pace, "operator", 1, limit=1)
    wait = pace.take(request("dead", limit=1)).wait_seconds
    advance(database, wait)
    again = pace.take(request("operator", limit=1)).wait_seconds
    assert 0 < again <= 2.1
    advance(database, again)
    assert pace.take(request("operator", limit=1)).wait_seconds == 0


def test_a_run_that_died_with_tokens_frees_them_after_the_window(
    database: Database, pace: PostgresPace
) -> None:
    granted(pace, "dead", 7, limit=7)
    advance(database, W)
    assert granted(pace, "operator", 7, limit=7) == 7


def test_an_answer_names_the_other_runs_of_the_last_minute(
    database: Database, pace: PostgresPace
) -> None:
    pace.take(request("b"))
    assert pace.take(request("a")).others == ("b (plan acme/prod)",)
    advance(database, W)
    assert pace.take(request("a")).others == ()


def test_the_uses_of_a_pace_count_the_requests_of_each_run(pace: PostgresPace) -> None:
    granted(pace, "a", 2)
    granted(pace, "b", 1)
    [route] = pace.uses("api/org-abc")
    assert [(use.run, use.requests) for use in route.used_by] == [
        ("a (plan acme/prod)", 2),
        ("b (plan acme/prod)", 1),
    ]
    assert pace.uses("api/org-other") == []


@pytest.mark.parametrize(
    "label", ["it's; DROP TABLE x", '"}{', "\\u0000", "%s %(run)s", "\U0001f916" * 300]
)
def test_labels_may_contain_anything(pace: PostgresPace, label: str) -> None:
    asked = PaceRequest("s", "r", PaceUser("x", label))
    pace.take(asked)
    assert pace.take(PaceRequest("s", "r", PaceUser("y"))).others == (label[:200],)


# --- clocks ----------------------------------------------------------------------------------------


def test_runs_share_a_window_although_their_clocks_differ_by_an_hour(
    database: Database, pace: PostgresPace, clock: Clock
) -> None:
    def run(ahead: float) -> SharedThrottle:
        return SharedThrottle(
            Throttle(admin_requests_per_minute=4, clock=lambda: clock() + ahead),
            pace,
            user=PaceUser(str(ahead)),
            scope=PaceScope("api", "org"),
            clock=lambda: clock() + ahead,
        )

    early, late = run(-3600), run(3600)
    assert [early.take(ADMIN), late.take(ADMIN), early.take(ADMIN), late.take(ADMIN)] == [0] * 4
    assert early.take(ADMIN) == pytest.approx(W)
    assert late.take(ADMIN) == pytest.approx(W)


def test_a_clock_of_the_database_that_is_set_back_stops_nobody(
    database: Database, pace: PostgresPace
) -> None:
    taught(database, pace, 4)
    granted(pace, "a", 4)
    advance(database, -3600)
    assert granted(pace, "b", 4) == 4


def test_a_wait_of_the_server_ends_if_the_clock_of_the_database_is_set_back(
    database: Database, pace: PostgresPace
) -> None:
    refused(pace, "a", wait_seconds=100)
    advance(database, -3600)
    assert granted(pace, "b", 1) == 1


# --- rights and versions ---------------------------------------------------------------------------


def role(database: Database, name: str, grants: str) -> str:
    """The address of a role with some grants."""
    full_name = f"{database.name}_{name}"
    statements = postgres_sql.in_schema(grants, "reconciler").decode().replace("ROLE", full_name)
    database.execute(f"CREATE ROLE {full_name} LOGIN PASSWORD '{PASSWORD}'", statements)
    return database.url(user=full_name)


@pytest.mark.parametrize("grants", [postgres_sql.READ_GRANTS, postgres_sql.GRANTS])
def test_the_grants_are_enough_to_share_the_pace(
    database: Database, open_pace: Open, grants: str
) -> None:
    pace = open_pace(role(database, "app", grants))
    refused(pace, "a")
    assert pace.uses("api/org-abc")[0].limit is not None


@pytest.mark.parametrize(
    "attempt",
    [
        "UPDATE reconciler.paces SET per_window = 1",
        "DELETE FROM reconciler.paces",
        "INSERT INTO reconciler.paces (scope, route) VALUES ('a', 'b')",
        "SELECT reconciler.lock_pace('a', 'b', 'c', 'd', 1, 61, '{}')",
        "SELECT reconciler.save_pace(paces) FROM reconciler.paces",
    ],
)
def test_a_role_that_only_plans_cannot_change_the_pace_otherwise(
    database: Database, open_pace: Open, attempt: str
) -> None:
    import psycopg

    url = role(database, "reader", postgres_sql.READ_GRANTS)
    open_pace(url).take(request("a"))
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(attempt.encode())


def test_without_the_grant_the_pace_says_that_it_takes_a_person(
    database: Database, open_pace: Open
) -> None:
    pace = open_pace(role(database, "app", "GRANT USAGE ON SCHEMA SCHEMA TO ROLE;"))
    with pytest.raises(PaceError) as caught:
        pace.take(request("a"))
    assert caught.value.is_lasting
    assert "permission denied" in str(caught.value)


def older_tables(database: Database, version: int) -> None:
    """Make the tables of a version."""
    for migration in postgres_sql.MIGRATIONS[:version]:
        database.execute(
            "CREATE SCHEMA IF NOT EXISTS reconciler",
            postgres_sql.in_schema(migration, "reconciler").decode(),
        )
    database.execute(f"INSERT INTO reconciler.schema_version (version) VALUES ({version})")


@pytest.mark.parametrize("version", [0, 1, 2])
def test_older_tables_have_no_pace_until_they_are_migrated(
    database: Database, version: int
) -> None:
    if version:
        older_tables(database, version)
    pace = PostgresPace(database.url(), patience=20)
    with pytest.raises(PaceError, match="has no table of paces") as caught:
        pace.take(request("a"))
    assert caught.value.is_lasting
    prepare(database)
    assert pace.take(request("a")).wait_seconds == 0
    pace.close()


@pytest.mark.parametrize("version", [1, 2])
def test_the_part_of_the_printed_sql_for_older_tables_upgrades_them(
    database: Database, version: int
) -> None:
    older_tables(database, version)
    _, _, part = print_sql().partition(f"-- Version {version + 1}, from here on")
    database.execute(f"BEGIN; -- {part}")
    rows = database.execute("SELECT version FROM reconciler.schema_version")
    assert rows == [(len(postgres_sql.MIGRATIONS),)]
    pace = PostgresPace(database.url(), patience=20)
    assert pace.take(request("a")).wait_seconds == 0
    pace.close()


def test_a_role_that_may_not_migrate_goes_on_with_older_tables(database: Database) -> None:
    older_tables(database, 1)
    url = role(
        database,
        "app",
        "GRANT USAGE ON SCHEMA SCHEMA TO ROLE; GRANT SELECT ON SCHEMA.schema_version TO ROLE; "
        "GRANT SELECT, INSERT, UPDATE, DELETE ON SCHEMA.states, SCHEMA.segments TO ROLE;",
    )
    storage = PostgresStorage(url, stack="acme", environment="test")
    storage.prepare()
    storage.claim(StoredBody(1, b"claim"), epoch=1, seen=Tail())
    assert [segment.body for segment in storage.tail(0).segments] == [b"claim"]
    storage.close()


# --- long runs against servers that count in their own ways ----------------------------------------

ANSWER_SECONDS = 0.1
CALL_SECONDS = (0.001, 0.02)
"""The shortest and the longest time of a call of the database."""
MINUTES = 15


def long_run(
    server: Server, clock: Clock, paces: Sequence[SharedThrottle], *, tells: bool, workers: int
) -> tuple[Counter[int], int]:
    """How many requests of each run got through, and how many of all were refused.

    Each run has so many workers, which do as the client does. Calls take different times, as no two
    processes ask at the same moment: the same ones in each trial.
    """
    chance = random.Random(1)
    began = clock.now
    due: list[tuple[float, int, float | None]] = [
        (clock.now + number / 1000, number, None) for number in range(workers * len(paces))
    ]
    passed, refusals = Counter[int](), 0
    while due[0][0] < began + 60 * MINUTES:
        clock.now, worker, answer = max(clock.now, due[0][0]), *due[0][1:]
        run, after = worker % len(paces), 0.0
        if answer is None:
            after = paces[run].take(ADMIN)
            answer = None if after else server(clock.now)
            after = after or ANSWER_SECONDS
        elif answer:
            wait = answer if tells else 1.0
            paces[run].refused(ADMIN, wait_seconds=wait, is_server_wait=tells)
            refusals, answer = refusals + 1, None
        else:
            paces[run].accepted(ADMIN)
            passed[run], answer = passed[run] + 1, None
        after += chance.uniform(*CALL_SECONDS)
        heapq.heapreplace(due, (clock.now + after, worker, answer))
    return passed, refusals


@pytest.mark.slow
@pytest.mark.parametrize("tells", [True, False], ids=["told how long to wait", "told nothing"])
@pytest.mark.parametrize("make", [emptied_on_the_minute, looking_back_a_minute, refilled_steadily])
def test_two_runs_use_what_the_server_allows_in_equal_parts_and_are_hardly_ever_refused(
    database: Database, clock: Clock, make: Callable[[int], Server], tells: bool
) -> None:
    prepare(database)
    pace = SimulatedPace(database, clock)
    runs = [
        SharedThrottle(
            Throttle(clock=clock),
            pace,
            user=PaceUser(str(number)),
            scope=PaceScope("api", "org"),
            clock=clock,
        )
        for number in range(2)
    ]
    passed, refusals = long_run(make(7), clock, runs, tells=tells, workers=4)
    pace.close()
    assert sum(passed.values()) > 0.95 * 7 * MINUTES
    assert abs(passed[0] - passed[1]) <= 0.1 * sum(passed.values())
    # Nothing is known at first, so all that are sent at the same time may be refused.
    assert refusals < 8 + MINUTES
