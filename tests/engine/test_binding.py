"""Binding as a table: the evidence that binds a resource, and the errors."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.binding.bindings import BindingSource
from reconciler.engine.inputs import PlanOptions
from reconciler.engine.ownership import Ownership, parse_mark
from reconciler.model.consistency import CreationWindow
from tests.engine.tables import NOW, OTHERS, World, at, declared, recorded, shown, store

STORE = "VectorStore/docs"
DOCS = {"name": "Docs"}
DESIRED = [declared(STORE, DOCS)]
PRIOR = [recorded(STORE, "vs_1", DOCS)]


def journal(
    address: str, *, id: str | None = None, name: str = "Docs", began: float = NOW - 60
) -> Ownership:
    """A run that died over the create of an address."""
    attempt = CreateAttempt(CreationWindow(began, began + 60), id=id, identity={"name": name})
    created = {id: at(address)} if id else {}
    return Ownership(
        "shop",
        "prod",
        unfinished={at(address): began},
        create_attempts={at(address): [attempt]},
        created_ids=created,
    )


class Row(NamedTuple):
    """One resource, the object that it is bound to, and how; or a part of the error that it has."""

    what: str
    world: World
    source: BindingSource
    id: str | None = None
    error: str = ""
    address: str = STORE


ROWS = [
    Row("nothing is there", World(DESIRED), BindingSource.NOT),
    Row(
        "the recorded id",
        World(DESIRED, PRIOR, [store("vs_1", "Other")]),
        BindingSource.STATE,
        "vs_1",
    ),
    Row(
        "the recorded id counts more than a mark",
        World(DESIRED, PRIOR, [store("vs_2", mark=STORE), store("vs_1")]),
        BindingSource.STATE,
        "vs_1",
    ),
    Row(
        "the id to adopt",
        World([declared(STORE, DOCS, adopt="vs_9")], [], [store("vs_9", "Other")]),
        BindingSource.ADOPTED,
        "vs_9",
    ),
    Row(
        "the id to adopt, which is ours by its mark",
        World([declared(STORE, DOCS, adopt="vs_9")], [], [store("vs_9", mark=STORE)]),
        BindingSource.MARK,
        "vs_9",
    ),
    Row(
        "the id to adopt does not exist",
        World([declared(STORE, DOCS, adopt="vs_9")]),
        BindingSource.NOT,
        error="Nothing to adopt",
    ),
    Row(
        "the id to adopt is another address's",
        World(
            [declared(STORE, DOCS, adopt="vs_1"), declared("VectorStore/other", DOCS)],
            [recorded("VectorStore/other", "vs_1", DOCS)],
            [store("vs_1")],
        ),
        BindingSource.NOT,
        error="Already managed",
    ),
    Row(
        "the id to adopt is another stack's",
        World([declared(STORE, DOCS, adopt="vs_9")], [], [store("vs_9", mark=f"{OTHERS}/{STORE}")]),
        BindingSource.NOT,
        error="Managed by another stack",
    ),
    Row(
        "our mark, without any state",
        World(DESIRED, [], [store("vs_1", "Other", mark=STORE)]),
        BindingSource.MARK,
        "vs_1",
    ),
    Row(
        "our mark on two objects",
        World(DESIRED, [], [store("vs_1", mark=STORE), store("vs_2", mark=STORE)]),
        BindingSource.MARK,
        "vs_1",
        "More than one object could be this resource",
    ),
    Row(
        "our mark on an object that the state never held, while its own is gone",
        World(DESIRED, PRIOR, [store("vs_2", mark=STORE)]),
        BindingSource.NOT,
        error="The object of this resource is gone, and another one carries its mark",
    ),
    Row(
        "our mark on such an object, with --adopt",
        World(DESIRED, PRIOR, [store("vs_2", mark=STORE)], options=PlanOptions(adopt=True)),
        BindingSource.ADOPTED,
        "vs_2",
    ),
    Row(
        "our mark on an object that the state held before",
        World(
            DESIRED,
            PRIOR,
            [store("vs_2", mark=STORE)],
            ownership=Ownership(
                "shop", "prod", holders=lambda _, held: [at(STORE)] if held == "vs_2" else []
            ),
        ),
        BindingSource.MARK,
        "vs_2",
    ),
    Row(
        "the mark of the former address",
        World(
            [declared("VectorStore/manuals", DOCS, renamed_from=at(STORE))],
            [],
            [store("vs_1", mark=STORE)],
        ),
        BindingSource.MARK,
        "vs_1",
        address="VectorStore/manuals",
    ),
    Row(
        "an unfinished create, by its natural key and its time",
        World(DESIRED, [], [store("vs_1", created_at=NOW - 30)], ownership=journal(STORE)),
        BindingSource.JOURNAL,
        "vs_1",
    ),
    Row(
        "an unfinished create, by the id that it was answered",
        World(DESIRED, [], [store("vs_1"), store("vs_2")], ownership=journal(STORE, id="vs_2")),
        BindingSource.JOURNAL,
        "vs_2",
    ),
    Row(
        "an object that is older than the unfinished create",
        World(DESIRED, [], [store("vs_1", created_at=NOW - 9_000)], ownership=journal(STORE)),
        BindingSource.NOT,
        error="An object like this exists already",
    ),
    Row(
        "two objects that an unfinished create can have made",
        World(
            DESIRED,
            [],
            [store("vs_1", created_at=NOW - 30), store("vs_2", created_at=NOW - 20)],
            ownership=journal(STORE),
        ),
        BindingSource.JOURNAL,
        "vs_1",
        "More than one object could be this resource",
    ),
    Row(
        "an object that another address's create made",
        World(DESIRED, [], [store("vs_1")], ownership=journal("VectorStore/other", id="vs_1")),
        BindingSource.NOT,
    ),
    Row(
        "the same natural key",
        World(DESIRED, [], [store("vs_1")]),
        BindingSource.NOT,
        error="An object like this exists already",
    ),
    Row(
        "the same natural key twice",
        World([declared(STORE, DOCS, adopt=True)], [], [store("vs_1"), store("vs_2")]),
        BindingSource.NOT,
        error="More than one object could be this resource",
    ),
    Row(
        "the same natural key, in another stack",
        World(DESIRED, [], [store("vs_1", mark=f"{OTHERS}/{STORE}")]),
        BindingSource.NOT,
        error="Managed by another stack",
    ),
    Row(
        "the same natural key, and the manifest says to adopt",
        World([declared(STORE, DOCS, adopt=True)], [], [store("vs_1")]),
        BindingSource.ADOPTED,
        "vs_1",
    ),
    Row(
        "nothing is adopted to be destroyed",
        World(DESIRED, [], [store("vs_1")], options=PlanOptions(destroy=True, adopt=True)),
        BindingSource.NOT,
    ),
    Row(
        "an object that exists by itself",
        World(
            [declared("RateLimit/search/gpt", {"model": "gpt"})],
            [],
            [shown("RateLimit", "rl-1", {"id": "rl-1", "model": "gpt"}, "search")],
            projects={"search": "proj_1"},
        ),
        BindingSource.NATURAL,
        "rl-1",
        address="RateLimit/search/gpt",
    ),
    Row(
        "an object that should exist by itself, and does not",
        World(
            [declared("RateLimit/search/gpt", {"model": "gpt-5"})],
            [],
            [shown("RateLimit", "rl-1", {"id": "rl-1", "model": "gpt-4"}, "search")],
            projects={"search": "proj_1"},
        ),
        BindingSource.NOT,
        error="No such RateLimit",
        address="RateLimit/search/gpt",
    ),
    Row(
        "the only object of its key is recorded for another address that nothing declares",
        World(
            [declared("User/new", {"email": "fay@example.com"})],
            [recorded("User/old", "user_1", {"email": "fay@example.com"})],
            [
                shown(
                    "User", "user_1", {"id": "user_1", "email": "fay@example.com", "role": "reader"}
                )
            ],
        ),
        BindingSource.NOT,
        error="Bound to another address",
        address="User/new",
    ),
    Row(
        "the only object of its key is declared a second time",
        World(
            [
                declared("User/new", {"email": "fay@example.com"}),
                declared("User/old", {"email": "fay@example.com"}),
            ],
            [recorded("User/old", "user_1", {"email": "fay@example.com"})],
            [
                shown(
                    "User", "user_1", {"id": "user_1", "email": "fay@example.com", "role": "reader"}
                )
            ],
        ),
        BindingSource.NOT,
        error="Two declarations of one object",
        address="User/new",
    ),
    Row(
        "another stack has marked the recorded object since",
        World(DESIRED, PRIOR, [store("vs_1", mark=f"{OTHERS}/{STORE}")]),
        BindingSource.NOT,
        error="Managed by another stack",
    ),
    Row(
        "no answer shows the natural key",
        World(DESIRED, [], [shown("VectorStore", "vs_1", {"id": "vs_1"})]),
        BindingSource.NOT,
        error="An object like this may exist already",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.what for row in ROWS])
def test_binding(row: Row) -> None:
    snapshot = row.world.snapshot()
    binding = snapshot.bindings[at(row.address)]
    assert (binding.source, binding.live.id if binding.live else None) == (row.source, row.id)
    error = snapshot.errors.get(at(row.address))
    assert (error.summary if error else "") == row.error


def test_every_source_occurs_in_a_row() -> None:
    assert {row.source for row in ROWS} == set(BindingSource)


def test_one_object_is_bound_once() -> None:
    attempt = CreateAttempt(CreationWindow(NOW - 60, NOW), identity={"name": "Docs"})
    snapshot = World(
        [declared(STORE, DOCS), declared("VectorStore/other", DOCS)],
        live=[store("vs_1", created_at=NOW - 30)],
        ownership=Ownership(
            "shop",
            "prod",
            create_attempts={at(STORE): [attempt], at("VectorStore/other"): [attempt]},
        ),
    ).snapshot()
    bound = [binding.live.id for binding in snapshot.bindings.values() if binding.live]
    assert bound == ["vs_1"]


def test_one_object_under_two_recorded_addresses_blocks_both() -> None:
    prior = [*PRIOR, recorded("VectorStore/other", "vs_1", DOCS)]
    snapshot = World(
        [*DESIRED, declared("VectorStore/other", DOCS)], prior, [store("vs_1")]
    ).snapshot()
    assert {error.summary for error in snapshot.errors.values()} == {
        "One object under two addresses"
    }
    assert set(snapshot.errors) == {at(STORE), at("VectorStore/other")}


def test_one_project_under_two_names_is_an_error() -> None:
    snapshot = World(
        [declared("Project/search", {"name": "Search"})],
        [recorded("Project/search", "proj_1", {"name": "Search"})],
        [shown("Project", "proj_1", {"id": "proj_1", "name": "Search"})],
        projects={"find": "proj_1"},
    ).snapshot()
    assert snapshot.errors[at("Project/search")].summary == "One project under two names"


def test_a_copied_mark_is_a_warning_and_the_object_is_left_alone() -> None:
    # Without --unmanaged, only the recorded object is read.
    objects = [store("vs_1", mark=STORE), store("vs_2", mark=STORE)]
    world = World(DESIRED, PRIOR, objects, options=PlanOptions(unmanaged=True))
    snapshot = world.snapshot()
    assert [(str(address), live.id) for address, live in snapshot.leftovers.copies] == [
        (STORE, "vs_2")
    ]
    assert "vs_2" not in {change.id for change in world.plan().changes}
    assert [item.severity.value for item in snapshot.diagnostics] == ["warning"]


def test_a_project_name_that_means_another_project_blocks_what_is_recorded_in_it() -> None:
    account = recorded("ServiceAccount/a/ci", "sa_1", {"name": "ci"}, project_id="proj_old")
    snapshot = World(
        [],
        [account],
        [shown("Project", "proj_old", {"id": "proj_old", "name": "A", "status": "active"})],
        projects={"a": "proj_new"},
    ).snapshot()
    assert snapshot.errors[at("ServiceAccount/a/ci")].summary == "Project name reused"


@pytest.mark.parametrize(
    ("mark", "owner", "address"),
    [
        (f"shop/prod/{STORE}", "shop/prod", STORE),
        ("shop/prod/RateLimit/search/gpt", "shop/prod", "RateLimit/search/gpt"),
        ("shop/prod", "", None),
        ("shop//VectorStore/docs", "", None),
        ("shop/prod/not an address", "", None),
        (None, "", None),
    ],
)
def test_a_mark_names_an_owner_and_an_address(
    mark: str | None, owner: str, address: str | None
) -> None:
    assert parse_mark(mark) == (owner, at(address) if address else None)


def test_a_stack_that_the_state_was_imported_from_is_not_foreign() -> None:
    ours = Ownership("shop", "prod", former=["blog/prod"])
    assert not ours.is_foreign(f"blog/prod/{STORE}")
    assert ours.is_foreign(f"blog/test/{STORE}")
    assert not ours.is_foreign("no mark")


def test_a_mark_under_the_former_name_of_a_project_names_the_present_address() -> None:
    ours = Ownership("shop", "prod", renamed_projects={"old": "new"})
    assert ours.present_address("shop/prod/Assistant/old/bot") == at("Assistant/new/bot")
