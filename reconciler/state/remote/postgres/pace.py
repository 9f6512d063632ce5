"""The pace of all runs that keep their states in one schema of a Postgres database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reconciler.errors import StateError
from reconciler.model.pace import PaceAnswer, PaceError, PaceRequest, RouteUse, RunUse, plain_label
from reconciler.state.remote.postgres import address as postgres_address
from reconciler.state.remote.postgres import pace_sql
from reconciler.state.remote.postgres.connections import Connections
from reconciler.state.remote.postgres.sql import in_schema
from reconciler.state.remote.storage import UnreachableError

if TYPE_CHECKING:
    from reconciler.state.remote.postgres.connections import Connection

PATIENCE = 2.0
"""In seconds. A shared pace only saves some refusals, so a run does not wait longer for it."""
_NO_PACE = ("42883", "42P01", "3F000")
"""SQLSTATEs of a missing function, table or schema."""
_BACKGROUND_WEIGHT = 2


class PostgresPace:
    """Implements `SharedPace` with the functions of `pace_sql`. Connects at its first use.

    Repeating a call whose answer was lost wastes one token, and does no other harm.
    """

    def __init__(self, url: str, *, patience: float = PATIENCE) -> None:
        """Raises StateError for an address that cannot be understood, and without psycopg."""
        self._target = postgres_address.parse(url)
        self._connections = Connections(self._target, patience)

    def take(self, request: PaceRequest) -> PaceAnswer:
        """Take a token, or learn when to ask next."""
        parameters = {**_parameters(request), "wanted": request.wanted}
        return _answer(self._run("take a token", pace_sql.TAKE, parameters)[0])

    def refused(
        self, request: PaceRequest, *, taken_at: float | None, wait_seconds: float | None
    ) -> PaceAnswer:
        """Report a request that the server refused."""
        parameters = {**_parameters(request), "taken": taken_at, "wait": wait_seconds}
        return _answer(self._run("report a refusal", pace_sql.REFUSE, parameters)[0])

    def uses(self, scope: str) -> Sequence[RouteUse]:
        """The routes of a scope, with who used them in the last minute."""
        rows = self._run("read the pace", pace_sql.USES, {"scope": scope, "window": 60.0})
        limits: dict[str, int | None] = {}
        runs: dict[str, list[RunUse]] = {}
        for route, limit, label, count in rows:
            limits[route] = limit
            runs.setdefault(route, [])
            if label is not None:
                runs[route].append(RunUse(plain_label(label), count))
        return [RouteUse(route, limit, tuple(runs[route])) for route, limit in limits.items()]

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def _run(
        self, operation: str, statement: str, parameters: dict[str, object]
    ) -> list[tuple[Any, ...]]:
        import psycopg

        query = in_schema(statement, self._target.schema)

        def work(connection: Connection) -> list[tuple[Any, ...]]:
            return connection.execute(query, parameters).fetchall()

        deadline = self._connections.deadline()
        try:
            return self._connections.run(operation, work, deadline=deadline)
        except UnreachableError as error:
            raise PaceError(str(error)) from error
        except StateError as error:
            cause = error.__cause__
            problem = str(error)
            # Tables of an older version, which an administrator may have to migrate.
            if isinstance(cause, psycopg.Error) and cause.sqlstate in _NO_PACE:
                problem = f"{self._target.shown} has no table of paces"
            raise PaceError(problem, is_lasting=True) from error


def _parameters(request: PaceRequest) -> dict[str, object]:
    return {
        "scope": request.scope,
        "route": request.route,
        "run": request.user.id,
        "label": request.user.label,
        "weight": _BACKGROUND_WEIGHT if request.user.is_background else 1,
        "limit": request.limit,
        "window": request.window_seconds,
        "earlier": list(request.earlier),
    }


def _answer(row: tuple[Any, ...]) -> PaceAnswer:
    now, wait_seconds, limit, ages, others = row
    return PaceAnswer(now, wait_seconds, limit, tuple(ages or ()), tuple(others or ()))
