"""The inverse of a run, as a table: pre-images in, resources to plan out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from reconciler.engine.plan.rollback import (
    RollbackTarget,
    RunHistory,
    as_rollback,
    impossible,
    rollback_target,
    uploads_of,
)
from reconciler.kinds import ALL_KINDS, KINDS
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Plan, Reason
from reconciler.model.kind import OnRemove, Removal
from reconciler.model.resource import Record, Resource
from reconciler.model.values import FileSet, LocalFile, Member, Reference
from reconciler.state.runs import PreImage
from tests.engine.tables import at, recorded

STORE, BOT = "VectorStore/docs", "Assistant/bot"
DOCS, WIKI = {"name": "Docs"}, {"name": "Wiki"}


def image(
    address: str,
    action: Action,
    *,
    id: str | None = "vs_1",
    before: dict[str, Any] | None = None,
    record: Record | None = None,
    reason: Reason = Reason.CONFIG,
) -> PreImage:
    return PreImage(at(address), action.value, id, before or {}, record, reason=reason.name)


def target(
    *images: PreImage,
    records: Sequence[Record] = (),
    later: Mapping[int, Sequence[PreImage]] | None = None,
    begun: Sequence[str] = (),
) -> RollbackTarget:
    return rollback_target(
        RunHistory(7, images, later or {}),
        {record.address: record for record in records},
        ALL_KINDS,
        begun=[at(address) for address in begun],
    )


def declared_by(made: RollbackTarget, address: str) -> Resource:
    [resource] = [resource for resource in made.resources if resource.address == at(address)]
    return resource


class Row(NamedTuple):
    """One change of a run, and the spec that undoes it; None where nothing is declared."""

    what: str
    image: PreImage
    now: Sequence[Record]
    spec: Mapping[str, Any] | None
    is_released: bool = False


ROWS = [
    Row(
        "a created object is declared no more",
        image(STORE, Action.CREATE, id=None),
        [recorded(STORE, "vs_1", DOCS)],
        None,
    ),
    Row(
        "an updated object has its recorded values again",
        image(STORE, Action.UPDATE, before=DOCS, record=recorded(STORE, "vs_1", DOCS)),
        [recorded(STORE, "vs_1", WIKI)],
        DOCS,
    ),
    Row(
        "a change by hand that the run wrote over comes back",
        image(
            STORE, Action.UPDATE, before={"name": "By hand"}, record=recorded(STORE, "vs_1", DOCS)
        ),
        [recorded(STORE, "vs_1", WIKI)],
        {"name": "By hand"},
    ),
    Row(
        "a deleted object is declared again",
        image(STORE, Action.DELETE, before=DOCS, record=recorded(STORE, "vs_1", DOCS)),
        [],
        DOCS,
    ),
    Row(
        "an adopted object is let go",
        image(STORE, Action.ADOPT, before=DOCS),
        [recorded(STORE, "vs_1", DOCS)],
        {},
        is_released=True,
    ),
    Row(
        "an adopted object that somebody has forgotten since needs nothing",
        image(STORE, Action.ADOPT, before=DOCS),
        [],
        None,
    ),
    Row(
        "what was gone already is no change to undo",
        image(STORE, Action.FORGET, record=recorded(STORE, "vs_1", DOCS), reason=Reason.GONE),
        [],
        None,
    ),
    Row(
        "a leftover that the run deleted stays deleted",
        image(STORE, Action.DELETE, before=DOCS, reason=Reason.LEFT_BEHIND),
        [],
        None,
    ),
    Row(
        "a match of a retention rule stays deleted",
        image("File/file-1", Action.DELETE, id="file-1", reason=Reason.RETENTION),
        [],
        None,
    ),
    Row(
        "a job that ran again does not run a third time",
        image("Batch/nightly", Action.REPLACE, id="batch_1"),
        [recorded("Batch/nightly", "batch_2")],
        None,
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.what for row in ROWS])
def test_rollback(row: Row) -> None:
    made = target(row.image, records=row.now)
    address = row.image.address
    specs = [dict(each.spec) for each in made.resources if each.address in made.changed_by_run]
    assert specs == ([] if row.spec is None else [dict(row.spec)])
    assert (address in made.to_release) is row.is_released


def test_a_replaced_object_is_what_it_was_before_the_first_step() -> None:
    first = image(STORE, Action.REPLACE, before=DOCS, record=recorded(STORE, "vs_1", DOCS))
    second = image(STORE, Action.REPLACE, id="vs_2", before=WIKI)
    made = target(first, second, records=[recorded(STORE, "vs_2", WIKI)])
    assert declared_by(made, STORE).spec == DOCS


def test_what_the_run_did_not_touch_is_declared_as_recorded() -> None:
    made = target(
        image(STORE, Action.CREATE, id=None),
        records=[recorded(STORE, "vs_1", DOCS), recorded(BOT, "asst_1", {"name": "Bot"})],
    )
    assert declared_by(made, BOT).spec == {"name": "Bot"}
    assert made.changed_by_run == {at(STORE)}


def test_a_protection_that_was_set_before_or_since_stays() -> None:
    before = recorded(STORE, "vs_1", DOCS, prevent_destroy=True, on_remove=OnRemove.RETAIN)
    made = target(
        image(STORE, Action.UPDATE, before=DOCS, record=before),
        records=[recorded(STORE, "vs_1", WIKI)],
    )
    lifecycle = declared_by(made, STORE).lifecycle
    assert (lifecycle.prevent_destroy, lifecycle.on_remove) == (True, OnRemove.RETAIN)


def test_a_renamed_resource_goes_back_to_its_address() -> None:
    made = target(
        image("VectorStore/wiki", Action.ADOPT, before=DOCS, record=recorded(STORE, "vs_1", DOCS)),
        records=[recorded("VectorStore/wiki", "vs_1", DOCS)],
    )
    assert declared_by(made, STORE).lifecycle.renamed_from == at("VectorStore/wiki")


def test_a_forgotten_object_is_adopted_by_its_id() -> None:
    made = target(
        image(
            STORE,
            Action.FORGET,
            before=DOCS,
            record=recorded(STORE, "vs_1", DOCS),
            reason=Reason.RETAINED,
        )
    )
    assert declared_by(made, STORE).lifecycle.adopt == "vs_1"


BOT_SPEC = {"name": "Bot", "tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}}}


def ids_in(resource: Resource) -> Any:
    return resource.spec["tool_resources"]["file_search"]["vector_store_ids"]


def test_an_id_of_an_object_that_comes_back_becomes_a_reference() -> None:
    made = target(
        image(STORE, Action.DELETE, before=DOCS, record=recorded(STORE, "vs_1", DOCS)),
        image(
            BOT,
            Action.DELETE,
            id="asst_1",
            before=BOT_SPEC,
            record=recorded(BOT, "asst_1", BOT_SPEC),
        ),
    )
    assert ids_in(declared_by(made, BOT)) == [Reference(at(STORE))]


def test_an_id_of_an_object_that_was_replaced_later_becomes_the_present_one() -> None:
    made = target(
        image(
            BOT,
            Action.DELETE,
            id="asst_1",
            before=BOT_SPEC,
            record=recorded(BOT, "asst_1", BOT_SPEC),
        ),
        records=[recorded(STORE, "vs_2", DOCS)],
        later={8: [image(STORE, Action.REPLACE, record=recorded(STORE, "vs_1", DOCS))]},
    )
    assert ids_in(declared_by(made, BOT)) == ["vs_2"]


def test_a_create_that_never_ended_is_an_obstacle() -> None:
    made = target(image(STORE, Action.CREATE, id=None), begun=[STORE])
    assert [obstacle.address for obstacle in made.obstacles] == [at(STORE)]


def test_a_later_change_of_the_same_object_is_a_warning() -> None:
    made = target(
        image(STORE, Action.UPDATE, before=DOCS, record=recorded(STORE, "vs_1", DOCS)),
        records=[recorded(STORE, "vs_1", WIKI)],
        later={8: [image(STORE, Action.UPDATE, record=recorded(STORE, "vs_1", WIKI))]},
    )
    assert [warning.address for warning in made.warnings] == [at(STORE)]


# The plan


def change(address: str, action: Action, **more: Any) -> Change:
    return Change(at(address), action, Reason.CONFIG, **more)


UNDONE = target(
    image(STORE, Action.UPDATE, before=DOCS, record=recorded(STORE, "vs_1", DOCS)),
    records=[recorded(STORE, "vs_1", WIKI), recorded(BOT, "asst_1", {"name": "Bot"})],
)
RECORDS = {
    at(STORE): recorded(STORE, "vs_1", WIKI),
    at(BOT): recorded(BOT, "asst_1", {"name": "Bot"}),
}


def rolled_back(*changes: Change, undone: RollbackTarget = UNDONE) -> dict[Address, Change]:
    made = as_rollback(Plan("shop", "prod", changes), undone, RECORDS, KINDS)
    return {each.address: each for each in made.changes}


def test_a_rollback_changes_only_what_the_run_changed() -> None:
    changes = rolled_back(change(STORE, Action.UPDATE), change(BOT, Action.UPDATE))
    assert (changes[at(STORE)].action, changes[at(STORE)].reason) == (
        Action.UPDATE,
        Reason.ROLLBACK,
    )
    assert (changes[at(BOT)].action, changes[at(BOT)].reason) == (Action.NO_OP, Reason.UNTOUCHED)


def test_a_released_object_is_forgotten_with_its_former_values() -> None:
    released = target(
        image(STORE, Action.ADOPT, before=DOCS), records=[recorded(STORE, "vs_1", WIKI)]
    )
    changes = rolled_back(change(STORE, Action.UPDATE, destructive="lost"), undone=released)
    made = changes[at(STORE)]
    assert (made.action, made.reason, made.destructive) == (Action.FORGET, Reason.ROLLBACK, "")


def test_a_released_object_that_is_gone_is_only_forgotten() -> None:
    released = target(
        image(STORE, Action.ADOPT, before=DOCS), records=[recorded(STORE, "vs_1", WIKI)]
    )
    made = rolled_back(change(STORE, Action.CREATE), undone=released)[at(STORE)]
    assert (made.action, made.reason, made.fields) == (Action.FORGET, Reason.GONE, ())


def test_a_plan_knows_which_run_it_undoes() -> None:
    assert as_rollback(Plan("shop", "prod", ()), UNDONE, RECORDS, KINDS).rollback_of == 7


@pytest.mark.parametrize(
    ("changes", "projects", "summaries"),
    [
        (
            [change("Project/search", Action.CREATE, removal=Removal.ARCHIVE)],
            [],
            ["Archived project cannot be restored"],
        ),
        (
            [change("ServiceAccount/search/ci", Action.CREATE)],
            [],
            ["Project no longer managed"],
        ),
        ([change("ServiceAccount/search/ci", Action.CREATE)], ["search"], []),
        ([change(STORE, Action.CREATE)], [], []),
        ([change("Project/search", Action.UPDATE, removal=Removal.ARCHIVE)], [], []),
    ],
    ids=[
        "an archived project",
        "an object of a project that is gone",
        "an object of a project that exists",
        "an object of the default project",
        "a project that stays",
    ],
)
def test_what_a_rollback_cannot_bring_back(
    changes: list[Change], projects: list[str], summaries: list[str]
) -> None:
    diagnostics = impossible(Plan("shop", "prod", tuple(changes)), UNDONE, projects)
    assert [diagnostic.summary for diagnostic in diagnostics] == summaries


# Uploads

A, B = LocalFile("a.md", "aa", 1), LocalFile("b.md", "bb", 1)


def folder(*files: LocalFile) -> FileSet:
    return FileSet(tuple(Member(file.path, file) for file in files))


@pytest.mark.parametrize(
    ("made", "uploads"),
    [
        (change("File/a", Action.CREATE, desired={"path": A}), [A]),
        (change("File/a", Action.UPDATE, desired={"path": A}), []),
        (change(STORE, Action.CREATE, desired={"files": folder(A, B)}), [A, B]),
        (
            change(
                STORE,
                Action.UPDATE,
                desired={"files": folder(A, B)},
                before={"files": folder(A)},
            ),
            [B],
        ),
        (change(STORE, Action.DELETE, before={"files": folder(A)}), []),
    ],
    ids=["a new file", "a file that stays", "a new folder", "a changed folder", "a deletion"],
)
def test_uploads(made: Change, uploads: list[LocalFile]) -> None:
    assert list(uploads_of(made, KINDS[made.address.kind])) == uploads
