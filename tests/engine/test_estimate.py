"""The calls of a refresh are estimated without making one, as a table."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from reconciler.engine.inputs import PlanOptions
from reconciler.engine.refresh.checkpoint import ScopeKey
from reconciler.engine.refresh.estimate import Estimate, check_budget
from reconciler.engine.scope import Scope
from reconciler.errors import UsageError
from reconciler.kinds import KINDS
from reconciler.model.values import FileSet, LocalFile, Member
from tests.engine.tables import World, declared, recorded

PAGE = KINDS["Group"].page_limit
DEFAULT_KEY = {"keyed_projects": [""]}
GROUP = declared("Group/staff", {"name": "Staff"})
STORE = declared("VectorStore/docs", {"name": "Docs"})


def files(count: int) -> FileSet:
    members = [
        Member(f"{n:04}.md", LocalFile(f"{n:04}.md", "0", 1), f"file-{n}") for n in range(count)
    ]
    return FileSet(tuple(members))


def groups(count: int) -> World:
    """So many groups, all of them recorded."""
    names = [f"Group/g{number:04}" for number in range(count)]
    return World(
        [declared(name, {"name": name}) for name in names],
        [recorded(name, f"group_{name}") for name in names],
    )


def folder(count: int) -> World:
    """A recorded vector store with so many files."""
    spec = {"name": "Docs", "files": files(count)}
    resource = declared("VectorStore/docs", spec)
    return World([resource], [recorded("VectorStore/docs", "vs_1", spec)], more=DEFAULT_KEY)


class Row(NamedTuple):
    """The calls of a full refresh, or of one without some unchanged scopes."""

    what: str
    world: World
    calls: int
    unchanged: frozenset[ScopeKey] = frozenset()


LONG_LIST = {**DEFAULT_KEY, "pages": {Scope("VectorStore", None): 7}}

ROWS = [
    Row("nothing is declared", World(), 0),
    Row("an object to find", World([GROUP]), 1),
    Row("two objects of one list", World([GROUP, declared("Group/b", {"name": "b"})]), 1),
    Row("two lists", World([GROUP, declared("Role/a", {"role_name": "a"})]), 2),
    Row("one recorded object is read by its id", groups(1), 1),
    Row("recorded objects beyond a page", groups(2 * PAGE + 1), 3),
    Row("a unchanged scope", groups(2 * PAGE + 1), 0, frozenset({("Group", None)})),
    Row("another unchanged scope", groups(1), 1, frozenset({("Role", None)})),
    Row("the default project has a key", World([STORE], more=DEFAULT_KEY), 1),
    Row("the default project has no key", World([STORE]), 0),
    Row("a list that was long last time", World([STORE], more=LONG_LIST), 7),
    Row("an empty folder", folder(0), 2),
    Row("a folder with a page of files", folder(100), 2),
    Row("a folder with a little more", folder(101), 3),
    Row(
        "limits of a project that is still to be created",
        World([declared("RateLimit/search/gpt", {"model": "gpt-4o"})]),
        1,
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.what for row in ROWS])
def test_estimate(row: Row) -> None:
    assert Estimate(row.world.inputs, row.world.reader, row.unchanged).calls == row.calls


@pytest.mark.parametrize(
    ("budget", "log_calls", "is_refused"),
    [(None, 0, False), (3, 0, False), (2, 0, True), (3, 1, True), (4, 1, False)],
)
def test_a_budget_is_a_limit_for_all_calls(
    budget: int | None, log_calls: int, is_refused: bool
) -> None:
    world = groups(2 * PAGE + 1)._replace(options=PlanOptions(budget_calls=budget))
    if is_refused:
        with pytest.raises(UsageError, match=f"at least {3 + log_calls} calls, over the budget"):
            check_budget(world.inputs, world.reader, log_calls=log_calls)
    else:
        check_budget(world.inputs, world.reader, log_calls=log_calls)


def test_a_list_that_another_stack_has_read_takes_no_call() -> None:
    world = groups(2 * PAGE + 1)._replace(options=PlanOptions(budget_calls=0))
    shared = Scope("Group", None)
    assert Estimate(world.inputs, world.reader, (), is_shared=lambda at: at == shared).calls == 0
    check_budget(world.inputs, world.reader, is_shared=lambda at: at == shared)


def test_an_estimate_makes_no_call() -> None:
    world = groups(3)
    reader = world.reader
    assert Estimate(world.inputs, reader, ()).calls == 1
    assert reader.asked == []
