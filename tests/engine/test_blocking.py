"""Errors after planning, as a table: which changes they block, and which go on."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from reconciler.engine.plan.blocking import with_blocked
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, FieldChange, Plan, Reason
from reconciler.model.diagnostic import Diagnostic

BROKEN = Diagnostic("No such place", "vault\n  is not reachable")


def bot(name: str) -> Address:
    return Address("Assistant", name)


def change(name: str, *needs: str, action: Action = Action.UPDATE, **more: Any) -> Change:
    depends_on = tuple(map(bot, needs))
    return Change(bot(name), action, Reason.CONFIG, id=name, depends_on=depends_on, **more)


def blocked(*changes: Change, error_of: str = "a") -> dict[str, Change]:
    result = with_blocked(changes, {bot(error_of): BROKEN})
    return {change.address.name: change for change in result}


class Row(NamedTuple):
    """Changes of which `a` has an error, and the reasons that they have then."""

    what: str
    changes: tuple[Change, ...]
    reasons: dict[str, Reason]


ROWS = [
    Row("the change itself", (change("a"),), {"a": Reason.BLOCKED}),
    Row(
        "a change that needs it",
        (change("a"), change("b", "a")),
        {"a": Reason.BLOCKED, "b": Reason.WAITS},
    ),
    Row(
        "a change that needs one that needs it",
        (change("c", "b"), change("b", "a"), change("a")),
        {"c": Reason.WAITS, "b": Reason.WAITS, "a": Reason.BLOCKED},
    ),
    Row(
        "an independent change",
        (change("a"), change("b", "c"), change("c")),
        {"a": Reason.BLOCKED, "b": Reason.CONFIG, "c": Reason.CONFIG},
    ),
    Row(
        "a change that it needs itself",
        (change("a", "b"), change("b")),
        {"a": Reason.BLOCKED, "b": Reason.CONFIG},
    ),
    *(
        Row(
            f"a dependent that would {action.value}",
            (change("a"), change("b", "a", action=action), change("c", "b")),
            {"a": Reason.BLOCKED, "b": Reason.WAITS, "c": Reason.WAITS},
        )
        for action in (Action.CREATE, Action.UPDATE, Action.REPLACE, Action.ADOPT)
    ),
    *(
        Row(
            f"a dependent that would {action.value}",
            (change("a"), change("b", "a", action=action), change("c", "b")),
            {"a": Reason.BLOCKED, "b": Reason.CONFIG, "c": Reason.CONFIG},
        )
        for action in (Action.DELETE, Action.FORGET, Action.NO_OP)
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.what for row in ROWS])
def test_an_error_blocks(row: Row) -> None:
    result = blocked(*row.changes)
    assert {name: change.reason for name, change in result.items()} == row.reasons


def test_changes_without_errors_stay_as_they_are() -> None:
    changes = (change("a"), change("b", "a"))
    assert with_blocked(changes, {}) == changes


def test_an_error_of_an_address_without_a_change_blocks_nothing() -> None:
    assert blocked(change("b"), error_of="a") == {"b": change("b")}


def test_the_error_is_one_sentence_and_a_dependent_names_the_address_that_it_needs() -> None:
    result = blocked(change("a"), change("b", "a"), change("c", "b"))
    assert [result[name].blocked for name in "abc"] == [
        "No such place: vault is not reachable",
        "Assistant/a has an error",
        "Assistant/b has an error",
    ]


def test_nothing_is_left_to_apply_of_a_blocked_change() -> None:
    full = change(
        "a",
        action=Action.REPLACE,
        fields=(FieldChange(("name",), "old", "new"),),
        before={"name": "old"},
        after={"name": "new"},
        pre_image={"name": "old"},
        destructive="it is lost",
        wait_for_job=True,
        verify_before_create=True,
        warnings=("careful",),
        renamed_from=bot("z"),
    )
    left = blocked(full)["a"]
    assert (left.action, left.fields, left.after) == (Action.NO_OP, (), {"name": "old"})
    assert (left.pre_image, left.destroys, left.warnings) == ({}, "", ())
    assert not left.wait_for_job
    assert not left.verify_before_create
    assert left.renamed_from is None
    assert Plan("s", "e", (left,)).pending == ()


def test_a_blocked_change_keeps_its_object_and_its_dependencies() -> None:
    left = blocked(change("a", "b"), change("b"))["a"]
    assert (left.id, left.depends_on) == ("a", (bot("b"),))
