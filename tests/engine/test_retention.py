"""Retention rules match the right objects, and never objects that are in use."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.inputs import PlanOptions
from reconciler.engine.ownership import Ownership
from reconciler.engine.refresh.collect import collect
from reconciler.engine.retention_match import last_use, matches
from reconciler.errors import ApiError
from reconciler.model.address import Address
from reconciler.model.change import Reason
from reconciler.model.consistency import CreationWindow
from reconciler.model.resource import MARK_KEY, LiveObject
from reconciler.model.rule import Rule
from reconciler.model.values import FileSet, Member, Reference, Template, texts_in
from reconciler.rules.retention import KIND
from tests.engine.tables import DAY, NOW, OTHERS, World, at, declared, recorded, shown, store

BATCH = {"purpose": "batch_output", "older_than_days": 30}
OLD = {
    "id": "file-1",
    "purpose": "batch_output",
    "filename": "out.jsonl",
    "created_at": NOW - 40 * DAY,
}


def rule(of: str = "File", project: str | None = None, **match: Any) -> Rule:
    return Rule(Address("Retention", "old", project), KIND, {"of": of, "match": match or BATCH})


def file(**attributes: Any) -> LiveObject:
    return shown("File", "file-1", {**OLD, **attributes})


@pytest.mark.parametrize(
    ("match", "attributes", "is_match"),
    [
        (BATCH, OLD, True),
        (BATCH, {**OLD, "created_at": NOW - 30 * DAY}, True),
        (BATCH, {**OLD, "created_at": NOW - 30 * DAY + 1}, False),
        (BATCH, {**OLD, "purpose": "assistants"}, False),
        (BATCH, {**OLD, "created_at": None}, False),
        (BATCH, {**OLD, "last_active_at": NOW - DAY}, False),
        ({"older_than_days": 30}, OLD, False),
        ({"older_than_days": 30, "purpose": None}, OLD, False),
        ({"older_than_days": 30, "name": "out.*"}, OLD, True),
        ({"older_than_days": 30, "name": "OUT.*"}, OLD, False),
        ({"older_than_days": 30, "name": "*.txt"}, OLD, False),
        ({"older_than_days": 30, "name": "*"}, {"created_at": 1}, False),
        (
            {"older_than_days": 1, "metadata": {"a": "1"}},
            {"created_at": 1, "metadata": {"a": "1", "b": "2"}},
            True,
        ),
        (
            {"older_than_days": 1, "metadata": {"a": "1"}},
            {"created_at": 1, "metadata": {"a": "2"}},
            False,
        ),
        ({"older_than_days": 1, "metadata": {"a": "1"}}, {"created_at": 1}, False),
        ({"older_than_days": 1, "metadata": {}}, {"created_at": 1, "metadata": {}}, False),
    ],
)
def test_an_object_matches_that_is_all_a_rule_says(
    match: dict[str, Any], attributes: dict[str, Any], is_match: bool
) -> None:
    assert matches(match, shown("File", "file-1", attributes), NOW) is is_match


@pytest.mark.parametrize(
    ("attributes", "used"),
    [
        ({"created_at": 5.0}, ("created_at", 5.0)),
        ({"created": 5}, ("created", 5)),
        ({"last_active_at": 9, "created_at": 5}, ("last_active_at", 9)),
        ({"last_active_at": 0, "created_at": 5}, ("created_at", 5)),
        ({"created_at": "yesterday"}, None),
        ({}, None),
    ],
)
def test_the_last_use_counts_more_than_the_creation(
    attributes: dict[str, Any], used: tuple[str, float] | None
) -> None:
    assert last_use(shown("File", "file-1", attributes)) == used


class Row(NamedTuple):
    """Why an old file that a rule matches stays."""

    what: str
    world: World


HELD = FileSet((Member("file-1", None, "file-1"),))
MATCHED = World(live=[file()], rules=[rule()])

KEPT = [
    Row("it is recorded", MATCHED._replace(prior=[recorded("File/out", "file-1")])),
    Row(
        "it is named by a declared resource",
        MATCHED._replace(
            desired=[declared("Assistant/bot", {"model": "m", "description": "file-1"})]
        ),
    ),
    Row(
        "it is named by a recorded resource",
        MATCHED._replace(prior=[recorded("Assistant/bot", "asst_1", {"description": "file-1"})]),
    ),
    Row(
        "it is named by an object of ours",
        World(
            [declared("Assistant/bot", {"model": "m"})],
            [recorded("Assistant/bot", "asst_1", {"model": "m"})],
            [
                file(),
                shown(
                    "Assistant",
                    "asst_1",
                    {"id": "asst_1", "model": "m", "tool_resources": {"x": ["file-1"]}},
                ),
            ],
            rules=[rule()],
        ),
    ),
    Row("an output names it", MATCHED._replace(more={"outputs": {"file": "file-1"}})),
    Row(
        "an earlier output named it",
        MATCHED._replace(more={"previous_outputs": {"file": "file-1"}}),
    ),
    Row(
        "a stack has marked it",
        World(live=[file(metadata={MARK_KEY: f"{OTHERS}/File/x"})], rules=[rule()]),
    ),
    Row(
        "an unfinished change created it for another address",
        MATCHED._replace(
            ownership=Ownership("shop", "prod", created_ids={"file-1": at("VectorStore/docs")})
        ),
    ),
    Row(
        "an unfinished create may have made it",
        MATCHED._replace(
            ownership=Ownership(
                "shop",
                "prod",
                create_attempts={
                    at("File/out"): [
                        CreateAttempt(CreationWindow(NOW - 50 * DAY, NOW), id="file-1")
                    ]
                },
            )
        ),
    ),
    Row(
        "a marked collection holds it",
        World(
            live=[
                file(),
                LiveObject(
                    store("vs_1").kind,
                    "vs_1",
                    {"id": "vs_1", "metadata": {MARK_KEY: f"{OTHERS}/VectorStore/docs"}},
                    own_calls={"files": HELD},
                ),
            ],
            rules=[rule()],
        ),
    ),
    Row(
        "a collection list was refused",
        MATCHED._replace(refuses={"VectorStore": ApiError("no", status=500)}),
    ),
    Row(
        "only targets are planned",
        MATCHED._replace(
            prior=[recorded("Group/g", "group_1")], options=PlanOptions(targets=(at("Group/g"),))
        ),
    ),
    Row("everything is destroyed", MATCHED._replace(options=PlanOptions(destroy=True))),
    Row(
        "its id makes no address",
        World(live=[shown("File", "bad id", {**OLD, "id": "bad id"})], rules=[rule()]),
    ),
    Row(
        "it is in another project",
        MATCHED._replace(rules=[rule(project="a")], projects={"a": "proj_a"}),
    ),
]


def deletions(world: World) -> list[str | None]:
    return [change.id for change in world.plan().changes if change.reason is Reason.RETENTION]


@pytest.mark.parametrize("row", KEPT, ids=[row.what for row in KEPT])
def test_a_matched_object_stays_if(row: Row) -> None:
    assert deletions(row.world) == []


def test_an_old_object_that_nobody_needs_goes() -> None:
    assert deletions(MATCHED) == ["file-1"]


def test_a_collection_that_nobody_manages_holds_nothing() -> None:
    holder = LiveObject(
        store("vs_1").kind, "vs_1", {"id": "vs_1", "metadata": {}}, own_calls={"files": HELD}
    )
    assert deletions(World(live=[file(), holder], rules=[rule()])) == ["file-1"]


def test_collections_are_read_only_where_something_matches() -> None:
    marked = store("vs_1", mark=f"{OTHERS}/VectorStore/docs")
    for live, calls in ([marked, file(created_at=NOW)], 0), ([marked, file()], 1):
        world = World(live=live, rules=[rule()])
        reader = world.reader
        collect(world.inputs, reader, parallelism=1)
        assert sum(call.startswith("vs_1:") for call in reader.asked) == calls


def test_a_deletion_says_what_is_lost_and_which_rule_matched() -> None:
    change = MATCHED.change("File/file-1")
    assert change.matched_by == Address("Retention", "old")
    assert change.destroys.startswith("out.jsonl of 2026-")


def test_two_rules_remove_an_object_once() -> None:
    assert deletions(MATCHED._replace(rules=[rule(), rule(name="out*", older_than_days=1)])) == [
        "file-1"
    ]


def test_texts_are_found_in_every_value() -> None:
    value = {
        "a": ["x", ("y", 1)],
        "b": FileSet((Member("key", None, "file-1", attributes={"c": "z"}),)),
        "d": Template(("t", Reference(at("Group/g")))),
    }
    assert list(texts_in(value)) == ["x", "y", "file-1", "z", "t"]
