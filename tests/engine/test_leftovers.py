"""Leftovers as a table: abandoned, copied, superseded or undeclared objects."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.inputs import PlanOptions
from reconciler.engine.ownership import Ownership
from reconciler.kinds import KINDS
from reconciler.model.consistency import CreationWindow
from reconciler.model.job import INPUTS_KEY
from reconciler.model.resource import MARK_KEY, LiveObject
from tests.engine.tables import DAY, NOW, OTHERS, OURS, World, at, declared, recorded, shown, store

STORE = "VectorStore/docs"
DOCS = {"name": "Docs"}
FILE = {"filename": "a.txt", "purpose": "user_data", "bytes": 4}
IDENTITY = KINDS["File"].identity(FILE)


def dead_run(
    address: str,
    *,
    id: str | None = None,
    identity: dict[str, Any] | None = None,
    began: float = NOW - 60,
) -> Ownership:
    """A run that died over the create of an address; with `id`, after its answer."""
    attempt = CreateAttempt(CreationWindow(began, began + 60), id=id, identity=identity or {})
    return Ownership(
        "shop",
        "prod",
        unfinished={at(address): began},
        create_attempts={at(address): [attempt]},
        created_ids={id: at(address)} if id else {},
    )


def held(address: str, id: str) -> Ownership:
    """A state that knew this id of the address once."""
    return Ownership(
        "shop",
        "prod",
        held_ids=lambda asked: [id] if asked == at(address) else [],
        holders=lambda _, asked: [at(address)] if asked == id else [],
    )


def upload(id: str, *, name: str = "a.txt", created_at: float = NOW - 30) -> LiveObject:
    """A file, which carries no mark."""
    return shown("File", id, {"id": id, "created_at": created_at, **FILE, "filename": name})


def group(id: str, name: str) -> LiveObject:
    return shown("Group", id, {"id": id, "name": name, "created_at": NOW - 30})


def job(status: str) -> LiveObject:
    metadata = {MARK_KEY: f"{OURS}/Batch/nightly", INPUTS_KEY: "digest"}
    return shown("Batch", "batch_1", {"id": "batch_1", "status": status, "metadata": metadata})


class Row(NamedTuple):
    """The leftovers of one world, by sort; an id of "" is an address without an object."""

    what: str
    world: World
    abandoned: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    undeclared: tuple[str, ...] = ()
    superseded: tuple[str, ...] = ()


LOST = {"state_is_new": True}
OTHER_ADDRESS = "VectorStore/old"
USED = [declared("VectorStore/other", {"name": "Other"})]
"""Marked objects are searched only where a stack manages something."""

ROWS = [
    Row(
        "a bound object is no leftover",
        World([declared(STORE, DOCS)], [recorded(STORE, "vs_1")], [store("vs_1", mark=STORE)]),
    ),
    Row(
        "the state is lost, and one object has the mark of an undeclared address",
        World(USED, [], [store("vs_1", mark=STORE)], more=LOST),
        abandoned=("vs_1",),
    ),
    Row(
        "the state is lost, and two objects have the same mark",
        World(USED, [], [store("vs_1", mark=STORE), store("vs_2", mark=STORE)], more=LOST),
        copies=(
            "vs_1",
            "vs_2",
        ),
    ),
    Row(
        "the state is there and never knew the object",
        World([declared(OTHER_ADDRESS, DOCS)], [], [store("vs_1", "X", mark=STORE)]),
        copies=("vs_1",),
    ),
    Row(
        "the state knew the object once",
        World(
            [declared(OTHER_ADDRESS, DOCS)],
            [],
            [store("vs_1", "X", mark=STORE)],
            ownership=held(STORE, "vs_1"),
        ),
        abandoned=("vs_1",),
    ),
    Row(
        "a second object with the mark of a declared address",
        World(
            [declared(STORE, DOCS)],
            [recorded(STORE, "vs_1")],
            [store("vs_1", mark=STORE), store("vs_2", mark=STORE)],
            options=PlanOptions(unmanaged=True),
        ),
        copies=("vs_2",),
    ),
    Row(
        "the mark of another stack is not ours to judge",
        World(USED, [], [store("vs_1", mark=f"{OTHERS}/{STORE}")], more=LOST),
    ),
    Row(
        "a job that still runs",
        World(USED, [], [job("in_progress")], more=LOST),
        abandoned=("batch_1",),
    ),
    Row("a job that has ended is history", World(USED, [], [job("completed")], more=LOST)),
    Row(
        "a create for nothing, which was answered",
        World([], [], [upload("file-1")], ownership=dead_run("File/a", id="file-1")),
        undeclared=("file-1",),
    ),
    Row(
        "a create for nothing, which left one such object",
        World([], [], [upload("file-1")], ownership=dead_run("File/a", identity=IDENTITY)),
        undeclared=("file-1",),
    ),
    Row(
        "a create for nothing, and two such objects",
        World(
            [],
            [],
            [upload("file-1"), upload("file-2")],
            ownership=dead_run("File/a", identity=IDENTITY),
        ),
        undeclared=("",),
    ),
    Row(
        "a create for nothing, and an object with another name",
        World(
            [],
            [],
            [upload("file-1", name="b.txt")],
            ownership=dead_run("File/a", identity=IDENTITY),
        ),
        undeclared=("",),
    ),
    Row(
        "a create for nothing that created nothing",
        World([], [], [], ownership=dead_run("File/a", id="file-1")),
        undeclared=("",),
    ),
    Row(
        "an object from before the attempt is somebody else's",
        World(
            [],
            [],
            [upload("file-1", created_at=NOW - DAY)],
            ownership=dead_run("File/a", identity=IDENTITY),
        ),
        undeclared=("",),
    ),
    Row(
        "an object whose age nobody knows is left alone",
        World(
            [],
            [],
            [shown("Role", "role_1", {"id": "role_1", "role_name": "auditor"})],
            ownership=dead_run("Role/auditor", identity={"role_name": "auditor"}),
        ),
        undeclared=("",),
    ),
    Row(
        "the manifest was edited after the run died",
        World(
            [declared("Group/staff", {"name": "New"})],
            [],
            [group("group_1", "Old")],
            ownership=dead_run("Group/staff", identity={"name": "Old"}),
        ),
        superseded=("group_1",),
    ),
    Row(
        "the object that the run created is still wanted",
        World(
            [declared("Group/staff", {"name": "Old"})],
            [],
            [group("group_1", "Old")],
            ownership=dead_run("Group/staff", identity={"name": "Old"}),
        ),
    ),
]


def ids(pairs: Any) -> tuple[str, ...]:
    return tuple(sorted(live.id if live is not None else "" for _, live in pairs))


@pytest.mark.parametrize("row", ROWS, ids=[row.what for row in ROWS])
def test_leftovers(row: Row) -> None:
    leftovers = row.world.snapshot().leftovers
    assert ids(leftovers.abandoned) == row.abandoned
    assert ids(leftovers.copies) == row.copies
    assert ids(leftovers.undeclared) == row.undeclared
    assert ids(leftovers.superseded) == row.superseded


def test_only_abandoned_objects_are_deleted() -> None:
    world = World(
        [declared(OTHER_ADDRESS, DOCS)],
        [],
        [store("vs_1", "X", mark=STORE), store("vs_2", "Y", mark="VectorStore/older")],
        ownership=held(STORE, "vs_1"),
    )
    deleted = [change.id for change in world.plan().changes if change.action.destroys]
    assert deleted == ["vs_1"]
