"""Renamed projects as a table: records and their dependents move to the new name."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.binding.renames import with_renamed_projects
from reconciler.engine.inputs import PlanOptions
from reconciler.engine.ownership import Ownership
from reconciler.model.consistency import CreationWindow
from tests.engine.tables import NOW, OURS, World, at, declared, recorded

OLD, NEW = "ServiceAccount/search/ci", "ServiceAccount/find/ci"
RECORD = recorded(OLD, "svc_1", project_id="proj_1")
FIND = {"name": "Find"}


class Row(NamedTuple):
    """The addresses of the records after the rename."""

    what: str
    world: World
    addresses: list[str]


ROWS = [
    Row(
        "the project has its old name",
        World([declared("Project/search", FIND)], [recorded("Project/search", "proj_1"), RECORD]),
        ["Project/search", OLD],
    ),
    Row(
        "the manifest says renamed_from",
        World(
            [declared("Project/find", FIND, renamed_from=at("Project/search"))],
            [recorded("Project/search", "proj_1"), RECORD],
        ),
        ["Project/search", NEW],
    ),
    Row(
        "the record of the project has the id of the objects in it",
        World([declared("Project/find", FIND)], [recorded("Project/find", "proj_1"), RECORD]),
        ["Project/find", NEW],
    ),
    Row(
        "the manifest adopts the project by its id",
        World([declared("Project/find", FIND, adopt="proj_1")], [RECORD]),
        [NEW],
    ),
    Row(
        "the stack names the project by its id",
        World([], [RECORD], projects={"find": "proj_1"}),
        [NEW],
    ),
    Row(
        "another project has another id",
        World([], [RECORD], projects={"find": "proj_2"}),
        [OLD],
    ),
    Row(
        "the old name is still in use for another project",
        World([], [RECORD], projects={"find": "proj_1", "search": "proj_2"}),
        [OLD],
    ),
    Row(
        "the record does not say which project it was in",
        World([], [recorded(OLD, "svc_1")], projects={"find": "proj_1"}),
        [OLD],
    ),
    Row(
        "the old project is still declared",
        World(
            [
                declared("Project/find", FIND, renamed_from=at("Project/search")),
                declared("Project/search", FIND),
            ],
            [RECORD],
        ),
        [OLD],
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.what for row in ROWS])
def test_records_follow_their_project(row: Row) -> None:
    records = with_renamed_projects(row.world.inputs).records
    assert sorted(map(str, records)) == sorted(row.addresses)
    assert all(record.address == address for address, record in records.items())


RENAMED = World([], [RECORD], projects={"find": "proj_1"})


def test_a_moved_record_knows_where_it_is_stored() -> None:
    assert with_renamed_projects(RENAMED.inputs).moved == {at(NEW): at(OLD)}


def test_a_record_under_the_new_name_is_the_newer_one() -> None:
    newer = recorded(NEW, "svc_2", project_id="proj_1")
    inputs = with_renamed_projects(RENAMED._replace(prior=[RECORD, newer]).inputs)
    assert inputs.records[at(NEW)].id == "svc_2"
    assert inputs.moved == {}


def test_dependencies_follow_too() -> None:
    key = recorded(
        "ServiceAccountKey/search/key", "key_1", project_id="proj_1", depends_on=(at(OLD),)
    )
    inputs = with_renamed_projects(RENAMED._replace(prior=[RECORD, key]).inputs)
    assert inputs.records[at("ServiceAccountKey/find/key")].depends_on == (at(NEW),)


@pytest.mark.parametrize("option", ["targets", "replace"])
def test_options_can_name_the_old_address(option: str) -> None:
    options: dict[str, Any] = {option: (at(OLD), at(NEW))}
    inputs = with_renamed_projects(RENAMED._replace(options=PlanOptions(**options)).inputs)
    assert getattr(inputs.options, option) == (at(NEW),)


def test_the_key_writer_of_a_renamed_project_opens_its_new_name() -> None:
    world = RENAMED._replace(more={"key_writers": {"search": at(OLD)}})
    assert with_renamed_projects(world.inputs).key_writers == {"find": at(NEW)}


def test_a_declared_key_writer_outranks_a_recorded_one() -> None:
    writers = {"search": at(OLD), "find": at("ServiceAccount/find/other")}
    world = RENAMED._replace(more={"key_writers": writers})
    assert with_renamed_projects(world.inputs).key_writers == {
        "find": at("ServiceAccount/find/other")
    }


def test_unfinished_work_follows_its_project() -> None:
    attempt = CreateAttempt(CreationWindow(NOW - 60, NOW))
    ownership = Ownership(
        "shop",
        "prod",
        unfinished={at(OLD): NOW},
        create_attempts={at(OLD): [attempt]},
        created_ids={"svc_1": at(OLD)},
    )
    moved = with_renamed_projects(RENAMED._replace(ownership=ownership).inputs).ownership
    assert (list(moved.unfinished), list(moved.create_attempts)) == ([at(NEW)], [at(NEW)])
    assert moved.created_ids == {"svc_1": at(NEW)}


def test_a_mark_with_the_old_name_names_the_new_address() -> None:
    ownership = with_renamed_projects(RENAMED.inputs).ownership
    assert ownership.present_address(f"{OURS}/{OLD}") == at(NEW)


def test_what_was_written_recently_follows_its_project() -> None:
    world = RENAMED._replace(more={"recently_written": lambda: {at(OLD): NOW}})
    assert with_renamed_projects(world.inputs).recently_written() == {at(NEW): NOW}


def test_inputs_without_a_rename_are_the_same_object() -> None:
    inputs = World([], [RECORD], projects={"search": "proj_1"}).inputs
    assert with_renamed_projects(inputs) is inputs
