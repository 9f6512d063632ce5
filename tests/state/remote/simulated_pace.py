"""Paces in Postgres whose time goes as a test wants: on a frozen clock, or by moving their past."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reconciler.model.pace import PaceAnswer, PaceRequest, PaceUser, RouteUse
from reconciler.state.remote.postgres.pace import PostgresPace
from reconciler.state.remote.postgres.storage import PostgresStorage
from tests.servers.postgres import Database

_REAL_TIME = "extract(epoch FROM clock_timestamp())"
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
    """Let time pass for all paces of a database, by making their past older. The clock goes on."""
    database.execute(_MOVE.format(f"({seconds!r})"))


def freeze(database: Database) -> None:
    """Stop the clock of the paces of a database, whose tables exist, until `advance` moves it.

    The functions keep their rules, and get the time from a table: so nothing depends on how long
    calls take. What reads paces from outside, such as `PostgresPace.uses`, has the real time.
    """
    database.execute(
        "CREATE TABLE reconciler.frozen_clock (at double precision)",
        f"INSERT INTO reconciler.frozen_clock VALUES ({_REAL_TIME})",
        "CREATE FUNCTION reconciler.frozen_time() RETURNS double precision "
        "LANGUAGE sql AS 'SELECT at FROM reconciler.frozen_clock'",
        "ALTER TABLE reconciler.paces ALTER began_at SET DEFAULT reconciler.frozen_time(), "
        "ALTER used_at SET DEFAULT reconciler.frozen_time()",
    )
    functions = database.execute(
        "SELECT pg_get_functiondef(oid) FROM pg_proc "
        "WHERE pronamespace = 'reconciler'::regnamespace AND prosrc LIKE '%clock_timestamp%'"
    )
    assert functions
    for (definition,) in functions:
        frozen = definition.replace(_REAL_TIME, "reconciler.frozen_time()")
        assert "clock_timestamp" not in frozen
        database.execute(frozen)


def advance(database: Database, seconds: float) -> None:
    """Let time pass, or go back, on a clock that `freeze` stopped."""
    database.execute(f"UPDATE reconciler.frozen_clock SET at = at + ({seconds!r})")


class SimulatedPace:
    """A pace whose database has the clock of the test. Closed by the test."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        import psycopg

        freeze(database)
        self._pace = PostgresPace(database.url(), patience=20)
        self._connection = psycopg.connect(database.url(), autocommit=True)
        self._clock = clock
        self._at = clock()

    def take(self, request: PaceRequest) -> PaceAnswer:
        self._catch_up()
        return self._pace.take(request)

    def refused(
        self, request: PaceRequest, *, taken_at: float | None, wait_seconds: float | None
    ) -> PaceAnswer:
        self._catch_up()
        return self._pace.refused(request, taken_at=taken_at, wait_seconds=wait_seconds)

    def uses(self, scope: str) -> Sequence[RouteUse]:
        return self._pace.uses(scope)

    def close(self) -> None:
        self._pace.close()
        self._connection.close()

    def _catch_up(self) -> None:
        now = self._clock()
        passed, self._at = now - self._at, now
        self._connection.execute(
            "UPDATE reconciler.frozen_clock SET at = at + %s::float8", [passed]
        )


def request(
    run: str, *, limit: int | None = None, wanted: int = 1, background: bool = False
) -> PaceRequest:
    """A request for a token of one and the same route."""
    user = PaceUser(run, f"{run} (plan acme/prod)", is_background=background)
    return PaceRequest("api/org-abc", "GET /organization/projects", user, wanted, limit)
