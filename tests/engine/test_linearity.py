"""The cost of a plan grows linearly with the number of resources."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from reconciler.model.resource import LiveObject, Record, Resource
from tests.engine.tables import OURS, World, declared, recorded, shown, store

FEW, MANY = 40, 160


def resources(count: int) -> list[Resource]:
    return [declared(f"VectorStore/s{n}", {"name": f"Store {n}"}) for n in range(count)]


def records(count: int, **more: Any) -> list[Record]:
    return [
        recorded(f"VectorStore/s{n}", f"vs_{n}", {"name": f"Store {n}"}, **more)
        for n in range(count)
    ]


def stores(count: int) -> list[LiveObject]:
    return [store(f"vs_{n}", f"Store {n}", mark=f"{OURS}/VectorStore/s{n}") for n in range(count)]


def nothing_to_do(count: int) -> World:
    return World(resources(count), records(count), stores(count))


def everything_new(count: int) -> World:
    return World(resources(count))


def everything_undeclared(count: int) -> World:
    return World(prior=records(count), live=stores(count))


def everything_replaced(count: int) -> World:
    return World(resources(count), records(count, deposed=("vs_0",)), stores(count))


def everything_ambiguous(count: int) -> World:
    projects = [
        shown("Project", f"proj_{n}", {"id": f"proj_{n}", "name": f"P{n}", "status": "active"})
        for n in range(count)
    ]
    named = [declared(f"Project/p{n}", {"name": f"P{n}"}) for n in range(count)]
    return World(named, live=[*projects, *projects])


def calls_of(run: Callable[[], object]) -> int:
    """How many functions of Python a run calls: work without a clock."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        del frame, argument
        calls += event == "call"

    sys.setprofile(count)
    try:
        run()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize(
    "world",
    [
        nothing_to_do,
        everything_new,
        everything_undeclared,
        everything_replaced,
        everything_ambiguous,
    ],
)
def test_a_plan_of_four_times_the_resources_is_four_times_the_work(
    world: Callable[[int], World],
) -> None:
    # Caches are filled by the first run, so it does not count.
    calls_of(world(FEW).plan)
    few, many = (calls_of(world(count).plan) for count in (FEW, MANY))
    assert many <= few * MANY / FEW * 1.1
