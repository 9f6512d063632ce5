"""A pace in Postgres whose clock goes as a test wants: the past of its rows is moved instead."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from reconciler.model.pace import PaceAnswer, PaceRequest, PaceUser, RouteUse
from reconciler.state.remote.postgres.pace import PostgresPace
from reconciler.state.remote.postgres.storage import PostgresStorage
from tests.servers.postgres import Database

_MOVE = """
UPDATE reconciler.paces SET
    taken_at = coalesce((SELECT array_agg(at - {0} ORDER BY at) FROM unnest(taken_at) AS at), '{{}}'),
    runs = coalesce((
        SELECT jsonb_object_agg(id, (
            SELECT jsonb_object_agg(key, CASE
                WHEN key IN ('seen', 'since', 'due') THEN to_jsonb(value::float8 - {0})
                ELSE value END)
            FROM jsonb_each(entry)
        )) FROM jsonb_each(runs) AS runs (id, entry)
    ), '{{}}'),
    began_at = began_at - {0}, used_at = used_at - {0}, changed_at = changed_at - {0},
    refused_at = refused_at - {0}, resume_at = resume_at - {0}
"""


def prepare(database: Database) -> None:
    """Create the tables."""
    storage = PostgresStorage(database.url(), stack="acme", environment="test")
    storage.prepare()
    storage.close()


def pass_time(database: Database, seconds: float) -> None:
    """Let time pass for all paces of a database."""
    database.execute(_MOVE.format(f"({seconds!r})"))


@dataclass
class SimulatedPace:
    """A pace of a database, as runs with the clock of the test see it. Closed by the test."""

    database: Database
    clock: object
    pace: PostgresPace = field(init=False)

    def __post_init__(self) -> None:
        import psycopg

        self.pace = PostgresPace(self.database.url(), patience=20)
        self._connection = psycopg.connect(self.database.url(), autocommit=True)
        self._then = (self._now, time.monotonic())
        self._moved = 0.0

    @property
    def _now(self) -> float:
        now: float = self.clock()  # type: ignore[operator]
        return now

    def take(self, request: PaceRequest) -> PaceAnswer:
        self._catch_up()
        earlier = [moment - self._moved for moment in request.earlier]
        return self._later(self.pace.take(replace(request, earlier=earlier)))

    def refused(
        self, request: PaceRequest, *, taken_at: float | None, wait_seconds: float | None
    ) -> PaceAnswer:
        self._catch_up()
        earlier = [moment - self._moved for moment in request.earlier]
        taken_at = None if taken_at is None else taken_at - self._moved
        asked = replace(request, earlier=earlier)
        return self._later(self.pace.refused(asked, taken_at=taken_at, wait_seconds=wait_seconds))

    def uses(self, scope: str) -> Sequence[RouteUse]:
        return self.pace.uses(scope)

    def close(self) -> None:
        self.pace.close()
        self._connection.close()

    def _later(self, answer: PaceAnswer) -> PaceAnswer:
        return replace(answer, now=answer.now + self._moved)

    def _catch_up(self) -> None:
        now, real = self._now, time.monotonic()
        passed = (now - self._then[0]) - (real - self._then[1])
        self._then = (now, real)
        self._moved += passed
        self._connection.execute(_MOVE.format(f"({passed!r})").encode())


def request(
    run: str, *, limit: int | None = None, wanted: int = 1, background: bool = False
) -> PaceRequest:
    """A request for a token of one and the same route."""
    user = PaceUser(run, f"{run} (plan acme/prod)", is_background=background)
    return PaceRequest("api/org-abc", "GET /organization/projects", user, wanted, limit)
