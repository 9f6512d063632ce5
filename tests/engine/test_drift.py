"""Drift as a table: changes at the API since our last write, and other parts of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from reconciler.engine.inputs import PlanOptions
from reconciler.model.change import OutputChange
from reconciler.model.values import Reference
from tests.engine.tables import OTHERS, World, at, declared, recorded, shown, store

STORE = "VectorStore/docs"
DOCS = {"name": "Docs"}
DESIRED, PRIOR = [declared(STORE, DOCS)], [recorded(STORE, "vs_1", DOCS)]


class Row(NamedTuple):
    """The drift of one address: its fields as before and after, or that the object was deleted."""

    what: str
    world: World
    fields: Mapping[str, tuple[Any, Any]] = {}
    deleted: bool = False


ROWS = [
    Row("nothing changed", World(DESIRED, PRIOR, [store("vs_1")])),
    Row(
        "a field changed", World(DESIRED, PRIOR, [store("vs_1", "New")]), {"name": ("Docs", "New")}
    ),
    Row("the object is gone", World(DESIRED, PRIOR), deleted=True),
    Row(
        "the object has expired",
        World(DESIRED, PRIOR, [store("vs_1", status="expired")]),
        deleted=True,
    ),
    Row(
        "the manifest changed alone",
        World([declared(STORE, {"name": "New"})], PRIOR, [store("vs_1")]),
    ),
    Row(
        "object and manifest changed alike",
        World([declared(STORE, {"name": "New"})], PRIOR, [store("vs_1", "New")]),
        {"name": ("Docs", "New")},
    ),
    Row(
        "an ignored field changed",
        World([declared(STORE, DOCS, ignore_changes=("name",))], PRIOR, [store("vs_1", "New")]),
    ),
    Row(
        "an undeclared object changed",
        World([], PRIOR, [store("vs_1", "New")]),
        {"name": ("Docs", "New")},
    ),
    Row(
        "another stack took the object",
        World([], PRIOR, [store("vs_1", "New", mark=f"{OTHERS}/{STORE}")]),
    ),
    Row(
        "a marked object without a record is compared with its declaration",
        World(DESIRED, [], [store("vs_1", "New", mark=STORE)]),
        {"name": ("Docs", "New")},
    ),
    Row(
        "an adopted object is no drift",
        World([declared(STORE, DOCS, adopt="vs_1")], [], [store("vs_1", "New")]),
    ),
    Row(
        "an object that is no target",
        World(
            [*DESIRED, declared("VectorStore/other", {"name": "Other"})],
            [*PRIOR, recorded("VectorStore/other", "vs_2", {"name": "Other"})],
            [store("vs_1", "New"), store("vs_2", "Other")],
            options=PlanOptions(targets=(at("VectorStore/other"),)),
        ),
    ),
    Row("an object whose list was not read", World(DESIRED, PRIOR, closed=[None])),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.what for row in ROWS])
def test_drift(row: Row) -> None:
    drifts = row.world.plan().drift
    fields = {
        change.dotted: (change.before, change.after) for drift in drifts for change in drift.fields
    }
    assert fields == row.fields
    assert any(drift.deleted for drift in drifts) is row.deleted
    assert {str(drift.address) for drift in drifts} <= {STORE}


def test_an_output_follows_what_it_refers_to() -> None:
    world = World(
        DESIRED,
        more={"outputs": {"store": Reference(at(STORE))}, "previous_outputs": {"gone": "x"}},
    )
    gone, changed = world.plan().outputs
    assert gone == OutputChange("gone", None, "x")
    assert (changed.name, str(changed.after)) == ("store", "(known after apply)")


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (PlanOptions(), ["a"]),
        (PlanOptions(targets=(at(STORE),)), []),
        (PlanOptions(destroy=True), ["b"]),
    ],
)
def test_outputs_of_targets_stay_and_those_of_a_destroy_go(
    options: PlanOptions, names: list[str]
) -> None:
    outputs = {"outputs": {"a": "1", "b": "2"}, "previous_outputs": {"b": "2"}}
    plan = World(DESIRED, PRIOR, [store("vs_1")], options=options, more=outputs).plan()
    assert [output.name for output in plan.outputs] == names


def test_unmanaged_objects_are_those_that_nothing_knows() -> None:
    world = World(
        DESIRED,
        PRIOR,
        [
            store("vs_1"),
            store("vs_2", "Loose"),
            store("vs_3", "Expired", status="expired"),
            store("vs_4", "Ours", mark="VectorStore/other"),
        ],
        options=PlanOptions(unmanaged=True),
    )
    assert [(entry.kind, entry.id, entry.label) for entry in world.plan().unmanaged] == [
        ("VectorStore", "vs_2", "Loose"),
        ("VectorStore", "vs_4", "Ours"),
    ]


def test_unmanaged_objects_are_listed_only_on_request() -> None:
    assert World(DESIRED, PRIOR, [store("vs_1"), store("vs_2", "Loose")]).plan().unmanaged == ()


def test_an_object_that_exists_by_itself_is_never_called_unmanaged() -> None:
    world = World(
        [declared("RateLimit/a/x", {"model": "x"})],
        [],
        [
            shown("RateLimit", "rl-x", {"id": "rl-x", "model": "x"}, "a"),
            shown("RateLimit", "rl-y", {"id": "rl-y", "model": "y"}, "a"),
        ],
        projects={"a": "proj_a"},
        options=PlanOptions(unmanaged=True),
    )
    assert world.plan().unmanaged == ()
