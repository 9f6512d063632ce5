"""Removal as a table: the treatment of undeclared objects and leftovers."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.inputs import PlanOptions
from reconciler.engine.ownership import Ownership
from reconciler.errors import ApiError
from reconciler.model.change import Action, Reason
from reconciler.model.consistency import CreationWindow
from reconciler.model.kind import OnRemove
from reconciler.model.resource import LiveObject
from tests.engine.tables import NOW, World, at, declared, recorded, shown, store

STORE = "VectorStore/docs"
DOCS = {"name": "Docs"}
DESTROY = PlanOptions(destroy=True)


def journal(address: str, *, id: str | None = None, name: str = "Docs") -> Ownership:
    attempt = CreateAttempt(CreationWindow(NOW - 60, NOW), id=id, identity={"name": name})
    return Ownership(
        "shop", "prod", unfinished={at(address): NOW - 60}, create_attempts={at(address): [attempt]}
    )


def container(id: str = "cntr_1", name: str = "Docs", **more: object) -> LiveObject:
    return shown("Container", id, {"id": id, "name": name, "status": "running", **more})


def owners(*names: str) -> list[LiveObject]:
    return [
        shown("User", f"user_{name}", {"id": f"user_{name}", "email": name, "role": "owner"})
        for name in names
    ]


class Row(NamedTuple):
    """What is planned: for each address, the object, the action and the reason."""

    what: str
    world: World
    planned: dict[str, tuple[str | None, Action, Reason]]


ROWS = [
    Row(
        "a marked object that nothing records, beside a declared one",
        World(
            [declared("VectorStore/other", {"name": "Other"})],
            live=[store("vs_1", mark=STORE)],
            more={"state_is_new": True},
        ),
        {STORE: ("vs_1", Action.DELETE, Reason.NOT_DECLARED)},
    ),
    Row(
        "two objects with the mark of an undeclared address: either may be a copy",
        World(
            [declared("VectorStore/other", {"name": "Other"})],
            live=[store("vs_1", mark=STORE), store("vs_2", mark=STORE)],
            more={"state_is_new": True},
        ),
        {},
    ),
    Row(
        "an unmarked object that a dead run created for an undeclared address",
        World(live=[container(created_at=NOW - 30)], ownership=journal("Container/box")),
        {"Container/box": ("cntr_1", Action.DELETE, Reason.NOT_DECLARED)},
    ),
    Row(
        "such an object that does not tell its age",
        World(live=[container()], ownership=journal("Container/box")),
        {"Container/box": (None, Action.NO_OP, Reason.GONE)},
    ),
    Row(
        "an undeclared address whose create left nothing",
        World(ownership=journal("Container/box")),
        {"Container/box": (None, Action.NO_OP, Reason.GONE)},
    ),
    Row(
        "an object that a dead run created under a name that has changed since",
        World(
            [declared("Container/box", {"name": "New"})],
            live=[container(created_at=NOW - 30)],
            ownership=journal("Container/box"),
        ),
        {"Container/box": ("cntr_1", Action.DELETE, Reason.LEFT_BEHIND)},
    ),
    Row(
        "a recorded object in a scope that cannot be read is looked for by apply",
        World(
            [declared("VectorStore/a/other", {"name": "Other"})],
            [recorded("VectorStore/a/docs", "vs_1", DOCS)],
            projects={"a": "proj_a"},
            closed=["a"],
        ),
        {"VectorStore/a/docs": ("vs_1", Action.NO_OP, Reason.BLOCKED)},
    ),
    Row(
        "a recorded object whose list the API refuses",
        World(
            [],
            [recorded("Container/box", "cntr_1"), recorded("Group/g", "group_1")],
            refuses={"Container": ApiError("no", status=500)},
        ),
        {
            "Container/box": ("cntr_1", Action.NO_OP, Reason.BLOCKED),
            "Group/g": ("group_1", Action.FORGET, Reason.GONE),
        },
    ),
    Row(
        "targets leave other undeclared objects alone",
        World(
            [],
            [recorded(STORE, "vs_1", DOCS), recorded("VectorStore/other", "vs_2", DOCS)],
            [store("vs_1", mark=STORE), store("vs_2", mark="VectorStore/other")],
            options=PlanOptions(targets=(at(STORE),)),
        ),
        {STORE: ("vs_1", Action.DELETE, Reason.NOT_DECLARED)},
    ),
    Row(
        "a limit goes back to its value before",
        World(
            [],
            [
                recorded(
                    "RateLimit/a/gpt",
                    "rl-1",
                    {"model": "gpt", "max_requests_per_1_minute": 5},
                    overwritten={"max_requests_per_1_minute": 100},
                )
            ],
            [
                shown(
                    "RateLimit",
                    "rl-1",
                    {"id": "rl-1", "model": "gpt", "max_requests_per_1_minute": 5},
                    "a",
                )
            ],
            projects={"a": "proj_a"},
        ),
        {"RateLimit/a/gpt": ("rl-1", Action.DELETE, Reason.NOT_DECLARED)},
    ),
    Row(
        "what its manifest said to delete goes with a retained project",
        World(
            [],
            [
                recorded("Project/a", "proj_a", {"name": "A"}),
                recorded("ServiceAccount/a/ci", "sa_1", {"name": "ci"}, on_remove=OnRemove.DELETE),
            ],
            [
                shown("Project", "proj_a", {"id": "proj_a", "name": "A"}),
                shown("ServiceAccount", "sa_1", {"id": "sa_1", "name": "ci"}, "a"),
            ],
        ),
        {
            "Project/a": ("proj_a", Action.FORGET, Reason.RETAINED),
            "ServiceAccount/a/ci": ("sa_1", Action.DELETE, Reason.NOT_DECLARED),
        },
    ),
    Row(
        "a destroy takes what is recorded and undeclared too",
        World([], [recorded(STORE, "vs_1", DOCS)], [store("vs_1", mark=STORE)], options=DESTROY),
        {STORE: ("vs_1", Action.DELETE, Reason.DESTROY)},
    ),
    Row(
        "a destroy of targets takes what depends on them",
        World(
            [
                declared("Project/a", {"name": "A"}, on_remove=OnRemove.DELETE),
                declared("ServiceAccount/a/ci", {}),
            ],
            [recorded("Project/a", "proj_a"), recorded("ServiceAccount/a/ci", "sa_1")],
            [
                shown("Project", "proj_a", {"id": "proj_a", "name": "A"}),
                shown("ServiceAccount", "sa_1", {"id": "sa_1", "name": "ci"}, "a"),
            ],
            options=PlanOptions(destroy=True, targets=(at("Project/a"),)),
        ),
        {
            "Project/a": ("proj_a", Action.DELETE, Reason.DESTROY),
            "ServiceAccount/a/ci": ("sa_1", Action.DELETE, Reason.DESTROY),
        },
    ),
    Row(
        "a destroy of a target leaves what the target needs",
        World(
            [
                declared("Project/a", {"name": "A"}, on_remove=OnRemove.DELETE),
                declared("ServiceAccount/a/ci", {"name": "ci"}),
            ],
            [recorded("Project/a", "proj_a"), recorded("ServiceAccount/a/ci", "sa_1")],
            [
                shown("Project", "proj_a", {"id": "proj_a", "name": "A"}),
                shown("ServiceAccount", "sa_1", {"id": "sa_1", "name": "ci"}, "a"),
            ],
            options=PlanOptions(destroy=True, targets=(at("ServiceAccount/a/ci"),)),
        ),
        {"ServiceAccount/a/ci": ("sa_1", Action.DELETE, Reason.DESTROY)},
    ),
    Row(
        "a destroy forgets an object that another stack has marked since",
        World(
            [declared(STORE, DOCS)],
            [recorded(STORE, "vs_1", DOCS)],
            [store("vs_1", mark=f"blog/prod/{STORE}")],
            options=DESTROY,
        ),
        {STORE: (None, Action.FORGET, Reason.OTHER_OWNER)},
    ),
    Row(
        "a destroy of limits that were never written changes nothing",
        World(
            [declared("RateLimit/a/gpt", {"model": "gpt", "max_requests_per_1_minute": 5})],
            live=[shown("RateLimit", "rl-1", {"id": "rl-1", "model": "gpt"}, "a")],
            projects={"a": "proj_a"},
            options=DESTROY,
        ),
        {},
    ),
    Row(
        "a job that a replacement left behind and that has ended stays",
        World(
            [],
            [recorded("Batch/b", "batch_2", deposed=("batch_1",))],
            [
                shown("Batch", "batch_1", {"id": "batch_1", "status": "completed"}),
                shown("Batch", "batch_2", {"id": "batch_2", "status": "completed"}),
            ],
        ),
        {"Batch/b": ("batch_2", Action.FORGET, Reason.ENDED_JOB)},
    ),
    Row(
        "a left behind object that another stack has marked stays",
        World(
            [declared(STORE, DOCS)],
            [recorded(STORE, "vs_2", DOCS, deposed=("vs_1",))],
            [store("vs_1", mark=f"blog/prod/{STORE}"), store("vs_2", mark=STORE)],
        ),
        {},
    ),
    Row(
        "a destroy forgets what is gone already",
        World([declared(STORE, DOCS)], [recorded(STORE, "vs_1", DOCS)], options=DESTROY),
        {STORE: (None, Action.FORGET, Reason.GONE)},
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.what for row in ROWS])
def test_removal(row: Row) -> None:
    planned = {
        str(change.address): (change.id, change.action, change.reason)
        for change in row.world.plan().changes
        if change.reason not in (Reason.NEW, Reason.IN_SYNC)
    }
    assert planned == row.planned


def test_a_limit_is_restored_to_what_it_was_before_our_first_write() -> None:
    row = next(row for row in ROWS if row.what == "a limit goes back to its value before")
    (field,) = row.world.change("RateLimit/a/gpt").fields
    assert (field.before, field.after) == (5, 100)


def test_the_last_owner_is_kept() -> None:
    prior = [
        recorded(f"User/{name}", f"user_{name}", on_remove=OnRemove.DELETE) for name in ("a", "b")
    ]
    changes = World([], prior, owners("a", "b")).plan().changes
    assert [change.refusal for change in changes] == ["it would leave no User with role owner"] * 2


def test_an_owner_may_go_while_another_stays() -> None:
    prior = [recorded("User/a", "user_a", on_remove=OnRemove.DELETE)]
    assert World([], prior, owners("a", "b")).change("User/a").refusal == ""
