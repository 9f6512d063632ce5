"""The runs, and the pre-images of the objects that each run changed."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping
from math import ceil

from msgspec import Struct, convert, field, to_builtins
from msgspec.structs import replace

from reconciler.model.address import Address
from reconciler.model.consistency import ATTEMPT_SECONDS, LATE_SECONDS
from reconciler.model.resource import Record
from reconciler.model.run_origin import RunOrigin
from reconciler.model.values import Spec
from reconciler.state.rows import (
    from_json,
    plain,
    readable,
    record_from_dict,
    record_to_dict,
    to_json,
)

RUNS_WITH_PRE_IMAGES = 50
"""How many runs can be rolled back. Pre-images are most of the file, and old ones match no live object."""


class RunRecord(Struct, frozen=True):
    """The record of one command that could write.

    Times are unix seconds; a run that was killed has no end and no status. `origin` repeats `user`
    and `host`, and adds the CI job.
    """

    id: int
    command: str
    user: str
    host: str
    pid: int
    plan_digest: str
    began_at: float
    ended_at: float | None = None
    status: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    origin: RunOrigin = RunOrigin()


class PreImage(Struct, frozen=True):
    """One object before a change: its values, and its record. `id` is None before a create.

    `record` has another address where the change renamed the resource. `reason` is the name of the change's `Reason`;
    `done` says that the change went through as a whole.
    """

    address: Address
    action: str
    id: str | None
    before: Spec
    record: Record | None
    reason: str = ""
    done: bool = False


def begin(connection: sqlite3.Connection, run: RunRecord) -> int:
    """Record that a run begins, and return its number. The number in `run` is ignored."""
    cursor = connection.execute(
        "INSERT INTO runs (command, user, host, pid, plan_digest, began_at, origin)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            plain(run.command),
            plain(run.user),
            plain(run.host),
            run.pid,
            run.plan_digest,
            run.began_at,
            _origin_to_json(run.origin),
        ),
    )
    return int(cursor.lastrowid or 0)


def end(
    connection: sqlite3.Connection,
    run_id: int,
    *,
    status: str,
    counts: Mapping[str, int],
    at: float,
) -> None:
    """Record that a run ended."""
    text = json.dumps({str(name): count for name, count in counts.items()})
    connection.execute(
        "UPDATE runs SET status = ?, counts = ?, ended_at = ? WHERE id = ?",
        (str(status), text, at, run_id),
    )


def read_runs(connection: sqlite3.Connection) -> list[RunRecord]:
    """All runs, oldest first."""
    rows = connection.execute(
        "SELECT id, command, user, host, pid, plan_digest, began_at, ended_at, status,"
        " counts, origin FROM runs ORDER BY id"
    )
    runs = []
    for *values, counts, origin in rows:
        run = RunRecord(*values)
        origin = _origin_from_json(origin, user=run.user, host=run.host)
        runs.append(replace(run, counts=from_json(counts), origin=origin))
    return runs


def keep_pre_image(connection: sqlite3.Connection, run_id: int, image: PreImage) -> int:
    """Store a pre-image of a run, so that the change can be undone, and return its number."""
    record = None if image.record is None else json.dumps(record_to_dict(image.record))
    cursor = connection.execute(
        "INSERT INTO pre_images (run, address, action, id, before, record, reason) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            run_id,
            str(image.address),
            str(image.action),
            image.id,
            to_json(image.before),
            record,
            image.reason,
        ),
    )
    return int(cursor.lastrowid or 0)


def mark_done(connection: sqlite3.Connection, number: int, at: float) -> None:
    """Record that the change of a pre-image went through, and when, in unix seconds."""
    # 0 in this column means no, and 1 means yes without a time: earlier versions wrote it. Rounded
    # up: a time too late only waits longer, one too early would take a new object for gone.
    connection.execute("UPDATE pre_images SET done = ? WHERE seq = ?", (max(2, ceil(at)), number))


def created_since(connection: sqlite3.Connection, moment: float) -> dict[Address, float]:
    """The addresses whose objects were created since a moment, each with the latest possible time."""
    # Earlier versions did not record when a change went through. It was before the run ended.
    makes = "('create', 'replace')"
    rows = connection.execute(
        "SELECT address, at FROM (SELECT p.address, CASE WHEN p.done > 1 THEN p.done ELSE r.ended_at END AS at"  # noqa: S608
        f" FROM pre_images AS p JOIN runs AS r ON r.id = p.run WHERE p.action IN {makes}) WHERE at >= ?1"
        # The journal too: a run that died has no end that could stand for the time of its changes.
        f" UNION SELECT address, ended_at FROM journal"
        f" WHERE change IS NULL AND name IN {makes} AND status = 'done' AND ended_at >= ?1",
        (moment,),
    )
    made: dict[Address, float] = {}
    with readable():
        for text, ended_at in rows:
            address = Address.parse(text)
            made[address] = max(ended_at, made.get(address, ended_at))
    return made


def last_effect_at(connection: sqlite3.Connection) -> float:
    """When the last write can have taken effect; minus infinity if nothing was ever written."""
    # The end of a call that was in flight when its process died is unknown. A call without an
    # answer may be executed later than it was given up.
    (latest,) = connection.execute(
        "SELECT max(at) FROM ("
        "SELECT max(coalesce(ended_at, began_at)) AS at FROM runs"
        " UNION ALL SELECT max(ended_at) FROM journal"
        " UNION ALL SELECT max(coalesce(ended_at, began_at + ?)) + ? FROM journal"
        " WHERE status = 'begun')",
        (ATTEMPT_SECONDS, LATE_SECONDS),
    ).fetchone()
    return -math.inf if latest is None else float(latest)


def read_pre_images(connection: sqlite3.Connection, run_id: int) -> list[PreImage]:
    """The pre-images of a run, in the order they were kept."""
    rows = connection.execute(
        "SELECT address, action, id, before, record, reason, done FROM pre_images WHERE run = ? ORDER BY seq",
        (run_id,),
    )
    images = []
    with readable():
        for address, action, id, before, record, reason, done in rows:
            image = PreImage(
                Address.parse(address),
                action,
                id,
                from_json(before),
                _record(record),
                reason,
                bool(done),
            )
            images.append(image)
    return images


def prune_pre_images(connection: sqlite3.Connection) -> None:
    """Drop the pre-images of all but the last runs that have any."""
    connection.execute(
        "DELETE FROM pre_images WHERE run NOT IN (SELECT DISTINCT run FROM pre_images ORDER BY run DESC LIMIT ?)",
        (RUNS_WITH_PRE_IMAGES,),
    )


def _origin_to_json(origin: RunOrigin) -> str:
    # The account and the machine have columns of their own.
    return to_json(to_builtins(replace(origin, user="", host="")))


def _origin_from_json(text: str, *, user: str, host: str) -> RunOrigin:
    with readable():
        return replace(convert(from_json(text), RunOrigin), user=user, host=host)


def _record(text: str | None) -> Record | None:
    return None if text is None else record_from_dict(json.loads(text))
