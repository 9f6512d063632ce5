"""The emulator serves every call in the table of operations, with its required header."""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import attrgetter

import pytest

from reconciler.emulator.routes import ROUTES
from reconciler.emulator.routing import Access
from reconciler.rules.operations import OPERATIONS, Operation

SERVED = {(route.method, re.sub(r"\{\w+\}", "{}", route.path)): route for route in ROUTES}


def area(path: str) -> str:
    """The beginning of a path, up to the first hole and two words long at most."""
    return "/".join(path.partition("{")[0].strip("/").split("/")[:2])


def calls(operation: Operation) -> Iterator[str]:
    yield operation.call
    yield from (f"GET {path}" for path in operation.shows.values())
    if operation.leaves:
        yield operation.leaves.call
    if operation.adds_to:
        yield from (f"GET {operation.adds_to}", f"DELETE {operation.adds_to}/{{id}}")
    if waiting := operation.waiting:
        yield from filter(None, (waiting.read, waiting.cancel, waiting.answer, waiting.marked))


# What other servers have and this one has not: a test of it would be one of the table's spelling alone.
AREAS = {area(route.path) for route in ROUTES}
EVERY = [operation for operation in OPERATIONS.values() if area(operation.path) in AREAS]


@pytest.mark.parametrize("operation", EVERY, ids=attrgetter("name"))
def test_every_call_of_an_operation_is_served(operation: Operation) -> None:
    for call in calls(operation):
        method, _, path = call.partition(" ")
        route = SERVED[method, re.sub(r"\{\w+\}", "{}", path)]
        assert (route.access is Access.ADMIN, route.beta) == (operation.admin, operation.beta)


def test_nearly_every_operation_is_served() -> None:
    assert len(EVERY) >= 30


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=attrgetter("name"))
def test_follow_up_calls_need_only_the_answer(operation: Operation) -> None:
    follow_ups = set(calls(operation)) - {operation.call}
    assert {hole for call in follow_ups for hole in re.findall(r"\{(\w+)\}", call)} <= {
        "id",
        "thread_id",
    }
