"""A run takes tokens from the shared pace, and continues alone during an outage of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from reconciler.api.transport.shared_pace import PaceScope, SharedThrottle, named
from reconciler.api.transport.throttle import WINDOW_SECONDS, RateLimitKey, Throttle
from reconciler.model.pace import PaceAnswer, PaceError, PaceRequest, PaceUser, RouteUse
from tests.api.conftest import Clock, World

ADMIN = RateLimitKey(True, "GET", "/organization/projects")
PROJECT = RateLimitKey(False, "GET", "/files")
W = WINDOW_SECONDS
AHEAD = 3600.0
"""How far the clock of the pace is ahead of the run's."""


@dataclass
class PaceOfTests:
    """A sliding window of `limit` requests, in memory. Fails while `error` is set."""

    clock: Clock
    limit: int | None = None
    others: Sequence[str] = ()
    error: PaceError | None = None
    held_until: float = 0.0
    requests: list[PaceRequest] = field(default_factory=list)
    refusals: list[tuple[PaceRequest, float | None]] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)
    asked: int = 0

    @property
    def now(self) -> float:
        return self.clock.now + AHEAD

    def take(self, request: PaceRequest) -> PaceAnswer:
        self._answer()
        self.requests.append(request)
        self.taken += request.earlier
        self.taken = sorted(moment for moment in self.taken if moment > self.now - W)
        limit = request.limit or self.limit
        wait = max(0.0, self.held_until - self.now)
        if limit is not None and len(self.taken) >= limit:
            wait = max(wait, self.taken[-limit] + W - self.now)
        if not wait:
            self.taken.append(self.now)
        ages = [self.now - moment for moment in self.taken]
        return PaceAnswer(self.now, wait, limit, ages, self.others)

    def refused(
        self, request: PaceRequest, *, taken_at: float | None, wait_seconds: float | None
    ) -> PaceAnswer:
        self._answer()
        self.refusals.append((request, wait_seconds))
        if taken_at is not None:
            self.taken.remove(taken_at)
        self.held_until = self.now + (wait_seconds or 1.0)
        return PaceAnswer(self.now, wait_seconds or 1.0, self.limit)

    def uses(self, scope: str) -> Sequence[RouteUse]:
        return ()

    def close(self) -> None:
        pass

    def _answer(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error


@dataclass
class Run:
    """A run with a shared throttle, and what it told."""

    clock: Clock
    pace: PaceOfTests
    configured: float | None = None
    scope: PaceScope = field(default_factory=lambda: PaceScope("api.example.com:443", "key 1a2b3c"))
    notices: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.throttle = SharedThrottle(
            Throttle(admin_requests_per_minute=self.configured, clock=self.clock),
            self.pace,
            user=PaceUser("1", "ada@laptop (plan acme/prod)"),
            scope=self.scope,
            notice=self.notices.append,
            note=self.notes.append,
            clock=self.clock,
        )

    def send(self, times: int, route: RateLimitKey = ADMIN) -> list[float]:
        """When each of so many requests goes, in seconds from now; all are accepted."""
        began, moments = self.clock.now, []
        for _ in range(times):
            while (wait := self.throttle.take(route)) > 0:
                self.clock.sleep(wait)
            moments.append(self.clock.now - began)
            self.throttle.accepted(route)
        return moments


@pytest.fixture
def pace(clock: Clock) -> PaceOfTests:
    return PaceOfTests(clock)


@pytest.fixture
def run(clock: Clock, pace: PaceOfTests) -> Run:
    return Run(clock, pace)


def test_runs_share_one_window(clock: Clock, pace: PaceOfTests) -> None:
    pace.limit = 4
    one, two = Run(clock, pace), Run(clock, pace)
    assert one.send(3) == [0, 0, 0]
    assert two.send(2) == [0, W]


def test_a_request_of_an_admin_route_asks_the_pace_once(run: Run) -> None:
    run.send(5)
    assert run.pace.asked == 5


def test_requests_of_projects_do_not_ask_the_pace(run: Run) -> None:
    run.send(5, PROJECT)
    assert run.pace.asked == 0


def test_many_waiting_calls_request_one_token(run: Run) -> None:
    run.pace.limit = 1
    run.send(1)
    waits = [run.throttle.take(ADMIN) for _ in range(10)]
    assert waits == [W] * 10
    assert run.pace.asked == 2


def test_a_configured_limit_is_sent_along_and_holds(clock: Clock, pace: PaceOfTests) -> None:
    assert Run(clock, pace, configured=2).send(3) == [0, 0, W]
    assert pace.requests[0].limit == 2


def test_a_configured_limit_below_one_keeps_requests_apart(clock: Clock, pace: PaceOfTests) -> None:
    assert Run(clock, pace, configured=0.5).send(3) == [0, 120, 240]


def test_a_limit_that_is_never_reached_is_not_shared(clock: Clock, pace: PaceOfTests) -> None:
    Run(clock, pace, configured=1000).send(3)
    assert pace.asked == 0


@pytest.mark.parametrize(("is_server_wait", "reported"), [(True, 30), (False, None)])
def test_a_refusal_is_reported_with_the_wait_of_the_server(
    run: Run, is_server_wait: bool, reported: float | None
) -> None:
    run.throttle.take(ADMIN)
    run.throttle.refused(ADMIN, wait_seconds=30, is_server_wait=is_server_wait)
    assert [wait for _, wait in run.pace.refusals] == [reported]
    assert run.pace.taken == []


def test_a_refusal_of_another_run_holds_this_one_back(clock: Clock, pace: PaceOfTests) -> None:
    one, two = Run(clock, pace), Run(clock, pace)
    one.throttle.take(ADMIN)
    one.throttle.refused(ADMIN, wait_seconds=30, is_server_wait=True)
    assert two.send(1) == [30]


def test_a_limit_learned_by_other_runs_is_known(run: Run) -> None:
    run.pace.limit = 7
    run.send(1)
    assert run.throttle.learned() == {ADMIN: 7}


def test_the_pace_is_described_with_its_limit_and_its_users(run: Run) -> None:
    run.pace.limit, run.pace.others = 7, ["octocat (ci, apply payments/production)"]
    run.send(1)
    assert run.throttle.describe(ADMIN) == (
        "7 requests a minute, shared with octocat (ci, apply payments/production)"
    )


def test_labels_of_other_runs_are_escaped_and_counted() -> None:
    assert named(["a\x1b[31m\u202e", "b", "b", "c", "d", "e"]) == "a�[31m�, b, c and 2 others"
    assert len(named(["x" * 1000])) < 130


def test_the_wait_of_a_client_says_who_uses_the_pace(world: World, run: Run) -> None:
    run.pace.limit, run.pace.others = 1, ["octocat (ci, apply payments/production)"]
    client = world.client.__class__(
        world.emulator.base_url,
        throttle=run.throttle,
        clock=run.clock,
        sleep=run.clock.sleep,
        on_wait=lambda reason, until: world.waits.append((reason, until)),
    )
    for _ in range(2):
        client.request("GET", "/organization/projects", key=world.admin)
    client.close()
    (reason, _) = world.waits[0]
    assert reason == (
        "rate limit of GET /organization/projects: 1 request a minute, "
        "shared with octocat (ci, apply payments/production)"
    )


# --- the organization becomes known -----------------------------------------------------------------


def test_requests_so_far_are_reported_when_the_organization_becomes_known(run: Run) -> None:
    run.send(3)
    run.scope.see("org-abc")
    run.send(2)
    before, *after = run.pace.requests[2:]
    assert before.scope == "api.example.com:443/key 1a2b3c"
    assert [request.scope for request in after] == ["api.example.com:443/org-abc"] * 2
    assert [len(request.earlier) for request in (before, *after)] == [0, 3, 0]


def test_the_organization_in_answers_outranks_that_of_the_state() -> None:
    scope = PaceScope("host", "key 1a2b3c")
    scope.suggest("org-recorded")
    assert str(scope) == "host/org-recorded"
    scope.see("org-seen")
    scope.suggest("org-recorded")
    assert str(scope) == "host/org-seen"


def test_the_organization_in_an_answer_names_the_scope(world: World, run: Run) -> None:
    world.client.organization.follow(run.scope.see)
    world.client.request("GET", "/organization/projects", key=world.admin)
    assert str(run.scope) == f"api.example.com:443/{world.client.organization.seen}"


# --- the pace is out of reach -----------------------------------------------------------------------


def lost(run: Run, *, is_lasting: bool = False) -> None:
    run.pace.error = PaceError("the database is away", is_lasting=is_lasting)


def test_a_run_continues_with_half_of_the_known_limit(run: Run) -> None:
    run.pace.limit = 6
    run.send(1)
    lost(run)
    run.clock.sleep(W)
    assert run.send(4) == [0, 0, 0, W]


def test_with_many_other_runs_the_part_is_smaller(run: Run) -> None:
    run.pace.limit, run.pace.others = 8, ["a", "b", "c"]
    run.send(1)
    lost(run)
    run.clock.sleep(W)
    assert run.send(3) == [0, 0, W]


def test_requests_before_the_loss_count_for_the_part(run: Run) -> None:
    run.pace.limit = 6
    run.send(2)
    lost(run)
    assert run.send(2) == [0, W]


def test_a_configured_limit_is_halved_too(clock: Clock, pace: PaceOfTests) -> None:
    run = Run(clock, pace, configured=6)
    run.send(1)
    lost(run)
    clock.sleep(W)
    assert run.send(4) == [0, 0, 0, W]


def test_without_a_known_limit_nothing_is_limited_before_a_refusal(run: Run) -> None:
    lost(run)
    assert run.send(20) == [0] * 20


def test_a_lost_pace_is_asked_rarely(run: Run) -> None:
    lost(run)
    for _ in range(600):
        run.throttle.take(ADMIN)
        run.throttle.accepted(ADMIN)
        run.clock.sleep(0.1)
    assert run.pace.asked <= 4


def test_a_lost_pace_is_noticed_once_and_its_return_is_logged(run: Run) -> None:
    for _ in range(3):
        lost(run)
        run.send(1)
        run.pace.error = None
        run.clock.sleep(W)
        run.send(1)
    assert len(run.notices) == 1
    assert "the database is away" in run.notices[0]
    assert run.notes.count("The pace that runs share is in use again.") == 3
    assert run.throttle.problem == ""


def test_a_pace_that_was_never_set_up_is_logged_and_not_noticed(run: Run) -> None:
    lost(run, is_lasting=True)
    run.send(1)
    run.clock.sleep(W)
    run.send(1)
    assert run.notices == []
    assert run.notes == ["This run has a pace of its own: the database is away."]
    assert run.throttle.problem == "the database is away"


def test_requests_sent_without_the_pace_count_when_it_is_back(run: Run) -> None:
    run.pace.limit = 6
    run.send(1)
    lost(run)
    run.clock.sleep(50)
    run.send(2)
    run.pace.error = None
    run.clock.sleep(W - 50)
    run.send(1)
    assert len(run.pace.requests[-1].earlier) == 2
    assert run.pace.requests[-1].earlier[0] == pytest.approx(run.pace.now - (W - 50))


def test_a_refusal_that_cannot_be_reported_holds_this_run_back(run: Run) -> None:
    run.throttle.take(ADMIN)
    lost(run)
    run.throttle.refused(ADMIN, wait_seconds=30, is_server_wait=True)
    assert run.throttle.take(ADMIN) == 30


def test_the_time_left_counts_the_shares_of_other_runs(run: Run) -> None:
    run.pace.limit, run.pace.others = 6, ["a", "b"]
    run.send(6)
    assert run.throttle.seconds_for(ADMIN, 2) == W
    assert run.throttle.seconds_for(ADMIN, 5) == 3 * W
