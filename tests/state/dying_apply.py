"""The program that `test_kills` runs: an apply of one object, killed before each call it makes."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from reconciler.model.address import Address
from reconciler.model.resource import Record
from reconciler.state import StateStore
from tests.state.killing import kill_at_every_call

ADDRESS = Address.parse("Project/search")
base = Path(sys.argv[1])


def opened(number: int) -> StateStore:
    return StateStore.open(base / str(number), stack="acme", environment="prod")


def apply(number: int) -> None:
    """Create one object; a file stands for the object at the API."""
    with opened(number) as store, store.lock(command="apply", on_takeover=lambda _: None):
        run_id = store.runs.begin(
            command="apply", user="ada", host="laptop", pid=1, plan_digest="d"
        )
        with store.runs.journal(run_id).change(ADDRESS, "create") as change:
            with change.step("create") as step:
                os.mkdir(base / f"object-{number}")  # noqa: PTH102 - one call, so one place to die
                step.done("proj_1")
            change.finish(Record(ADDRESS, "proj_1"))
        store.runs.end(run_id, status="applied", counts={"create": 1})


def check(number: int) -> None:
    """After any death: an object at the API is known, the lock is free to take, and nobody else can read anything."""
    for path in (base / str(number)).glob("*.db*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, (
            f"death {number}: {path} is readable to others"
        )
    with StateStore.open_for_reading(
        base / str(number), stack="acme", environment="prod"
    ) as reader:
        known = (dict(reader.records()), [entry.address for entry in reader.runs.unfinished()])
    with opened(number) as store, store.lock(command="apply", on_takeover=lambda _: None):
        assert (
            dict(store.records()),
            [entry.address for entry in store.runs.unfinished()],
        ) == known
    exists = (base / f"object-{number}").exists()
    recorded, unfinished = bool(known[0]), bool(known[1])
    assert recorded + unfinished <= 1, f"death {number}: recorded and unfinished"
    assert not exists or recorded or unfinished, f"death {number}: the object is forgotten"
    assert exists or not recorded, f"death {number}: recorded without an object"


if __name__ == "__main__":
    os.umask(0)
    print(kill_at_every_call(apply, check))
