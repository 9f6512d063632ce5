"""The planner as a table: recorded, live and declared values in, decisions out."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.inputs import PlanOptions
from reconciler.engine.ownership import Ownership
from reconciler.engine.plan.planner import make_plan
from reconciler.engine.plan.rollback import RunHistory, as_rollback, rollback_target
from reconciler.errors import RetiredError
from reconciler.kinds import KINDS
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Reason
from reconciler.model.consistency import CreationWindow
from reconciler.model.job import INPUTS_KEY
from reconciler.model.kind import OnRemove
from reconciler.model.resource import MARK_KEY, LiveObject, Resource
from reconciler.model.rule import Rule
from reconciler.model.values import Reference
from reconciler.rules.retention import KIND as RETENTION
from reconciler.state.runs import PreImage
from tests.engine.tables import DAY, NOW, OTHERS, OURS, World, at, declared, recorded, shown, store

STORE = "VectorStore/docs"
DOCS = {"name": "Docs"}
STORE_LOST = "its index is deleted and must be rebuilt"


class Row(NamedTuple):
    """One decision. `destroys` is a part of the sentence, empty where nothing is destroyed."""

    what: str
    world: World
    action: Action
    reason: Reason
    destroys: str = ""
    address: str = STORE
    id: str | None = None


def project(id: str = "proj_1", **more: Any) -> LiveObject:
    return shown("Project", id, {"id": id, "name": "Search", "status": "active", **more})


def invite(id: str = "inv_1", **more: Any) -> LiveObject:
    shown_invite = {
        "id": id,
        "email": "fay@example.com",
        "role": "reader",
        "status": "pending",
        **more,
    }
    return shown("Invite", id, shown_invite)


def limit(requests: int) -> LiveObject:
    attributes = {"id": "rl-1", "model": "gpt-4.1", "max_requests_per_1_minute": requests}
    return shown("RateLimit", "rl-1", attributes, "search")


TUNING = {"model": "gpt-4.1-mini", "training_file": "file-1"}


def job(status: str, *, inputs: str = "", **more: Any) -> LiveObject:
    """A fine-tuning job of ours; without `inputs`, it was started with those of TUNING."""
    kind = KINDS["FineTuningJob"]
    digest = inputs or kind.inputs_digest(kind.fill_defaults(TUNING))
    metadata = {MARK_KEY: f"{OURS}/FineTuningJob/tone", INPUTS_KEY: digest}
    return shown(
        "FineTuningJob",
        "ftjob-1",
        {"id": "ftjob-1", "status": status, "metadata": metadata, **TUNING, **more},
    )


def unfinished(
    address: str, identity: dict[str, Any] | None = None, id: str | None = None
) -> Ownership:
    """The journal of a run that died while it created an address."""
    attempt = CreateAttempt(CreationWindow(NOW - 60, NOW), id=id, identity=identity or {})
    return Ownership(
        "shop", "prod", unfinished={at(address): NOW - 60}, create_attempts={at(address): [attempt]}
    )


def rule(days: int = 30) -> Rule:
    return Rule(
        Address("Retention", "old"),
        RETENTION,
        {"of": "File", "match": {"older_than_days": days, "purpose": "batch_output"}},
    )


ROTATING = {"name": "ci", "key": {"write_to": {"file": "key"}, "rotate": {"every": "30d"}}}
IN_SYNC = World(
    [declared(STORE, DOCS)], [recorded(STORE, "vs_1", DOCS)], [store("vs_1", mark=STORE)]
)
DESTROY = PlanOptions(destroy=True)
PROJECT = recorded("Project/search", "proj_1", {"name": "Search"})
INVITE = declared("Invite/fay", {"email": "fay@example.com", "role": "reader"})
INVITED = recorded("Invite/fay", "inv_1", {"email": "fay@example.com", "role": "reader"})
LIMIT = declared("RateLimit/search/gpt", {"model": "gpt-4.1", "max_requests_per_1_minute": 5})
LIMITED = recorded(
    "RateLimit/search/gpt",
    "rl-1",
    {"model": "gpt-4.1", "max_requests_per_1_minute": 5},
    overwritten={"max_requests_per_1_minute": 100},
)
TUNED = recorded("FineTuningJob/tone", "ftjob-1", TUNING)
OTHER_STORE = World([declared("VectorStore/new", DOCS)], [recorded(STORE, "vs_1", DOCS)])

ROWS = [
    Row("declared, recorded and live agree", IN_SYNC, Action.NO_OP, Reason.IN_SYNC),
    Row("nothing but a declaration", World([declared(STORE, DOCS)]), Action.CREATE, Reason.NEW),
    Row(
        "the recorded object is gone",
        IN_SYNC._replace(live=[]),
        Action.CREATE,
        Reason.DELETED_OUTSIDE,
    ),
    Row(
        "the recorded project is archived",
        World(
            [declared("Project/search", {"name": "Search"})],
            [PROJECT],
            [project(status="archived")],
        ),
        Action.CREATE,
        Reason.ARCHIVED_OUTSIDE,
        address="Project/search",
    ),
    Row(
        "the recorded invite was accepted, and the member left",
        World([INVITE], [INVITED], [invite(status="accepted")]),
        Action.CREATE,
        Reason.ENDED,
        address="Invite/fay",
    ),
    Row(
        "the manifest changed",
        IN_SYNC._replace(desired=[declared(STORE, {"name": "Manuals"})]),
        Action.UPDATE,
        Reason.CONFIG,
    ),
    Row(
        "the object changed",
        IN_SYNC._replace(live=[store("vs_1", "Renamed", mark=STORE)]),
        Action.UPDATE,
        Reason.DRIFT,
    ),
    Row(
        "both changed",
        IN_SYNC._replace(
            desired=[declared(STORE, {"name": "Manuals"})],
            live=[store("vs_1", "Renamed", mark=STORE)],
        ),
        Action.UPDATE,
        Reason.CONFIG_AND_DRIFT,
    ),
    Row(
        "an object of ours without a record differs",
        World([declared(STORE, {"name": "Manuals"})], [], [store("vs_1", mark=STORE)]),
        Action.UPDATE,
        Reason.DIFFERS,
    ),
    Row(
        "an object that exists by itself is set for the first time",
        World([LIMIT], [], [limit(100)], projects={"search": "proj_1"}),
        Action.UPDATE,
        Reason.FIRST_WRITE,
        address="RateLimit/search/gpt",
    ),
    Row(
        "an object that is to be adopted",
        World([declared(STORE, DOCS, adopt=True)], [], [store("vs_1")]),
        Action.ADOPT,
        Reason.ADOPTED,
    ),
    Row(
        "an object that is to be adopted, and differs",
        World([declared(STORE, {"name": "Manuals"}, adopt="vs_1")], [], [store("vs_1")]),
        Action.UPDATE,
        Reason.ADOPTED,
    ),
    Row(
        "a field that only a new object can have",
        World(
            [declared("Invite/fay", {"email": "fay@example.com", "role": "owner"})],
            [INVITED],
            [invite()],
        ),
        Action.REPLACE,
        Reason.FIELD_FORCES_REPLACEMENT,
        "the invitation can no longer be accepted",
        address="Invite/fay",
    ),
    Row(
        "an object that has expired",
        IN_SYNC._replace(live=[store("vs_1", mark=STORE, status="expired")]),
        Action.REPLACE,
        Reason.EXPIRED,
        STORE_LOST,
    ),
    Row(
        "a key that a dead run made and delivered to nobody",
        World(
            [declared("AdminKey/ci", {"name": "ci", "key": {"write_to": {"file": "key"}}})],
            [],
            [shown("AdminKey", "key_1", {"id": "key_1", "name": "ci", "created_at": NOW - 30})],
            ownership=unfinished("AdminKey/ci", {"name": "ci"}),
        ),
        Action.REPLACE,
        Reason.KEY_LOST,
        address="AdminKey/ci",
    ),
    Row(
        "a key that is older than its interval",
        World(
            [declared("AdminKey/ci", ROTATING)],
            [recorded("AdminKey/ci", "key_1", ROTATING)],
            [
                shown(
                    "AdminKey",
                    "key_1",
                    {"id": "key_1", "name": "ci", "created_at": NOW - 31 * 86_400},
                )
            ],
        ),
        Action.UPDATE,
        Reason.ROTATION,
        address="AdminKey/ci",
    ),
    Row(
        "an invite for somebody who is a member",
        World(
            [INVITE],
            [],
            [
                shown(
                    "User", "user_1", {"id": "user_1", "email": "fay@example.com", "role": "owner"}
                )
            ],
        ),
        Action.NO_OP,
        Reason.SATISFIED,
        address="Invite/fay",
    ),
    Row(
        "a job that runs, and is to be waited for",
        World(
            [declared("FineTuningJob/tone", {**TUNING, "wait": True})], [TUNED], [job("running")]
        ),
        Action.UPDATE,
        Reason.RUNNING,
        address="FineTuningJob/tone",
    ),
    Row(
        "a job that ran with other inputs",
        World(
            [declared("FineTuningJob/tone", {**TUNING, "training_file": "file-2"})],
            [TUNED],
            [job("succeeded")],
        ),
        Action.REPLACE,
        Reason.OTHER_INPUTS,
        address="FineTuningJob/tone",
    ),
    Row(
        "a job that still runs with other inputs",
        World(
            [declared("FineTuningJob/tone", {**TUNING, "training_file": "file-2"})],
            [TUNED],
            [job("running")],
        ),
        Action.REPLACE,
        Reason.OTHER_INPUTS,
        "its work so far is lost",
        address="FineTuningJob/tone",
    ),
    Row(
        "a job that has ended, and that nothing declares",
        World([], [TUNED], [job("failed")]),
        Action.FORGET,
        Reason.ENDED_JOB,
        address="FineTuningJob/tone",
    ),
    Row(
        "a replacement on request",
        IN_SYNC._replace(options=PlanOptions(replace=(at(STORE),))),
        Action.REPLACE,
        Reason.REQUESTED,
        STORE_LOST,
    ),
    Row(
        "a replacement that a dead run began",
        IN_SYNC._replace(
            live=[store("vs_1", mark=STORE), store("vs_2", mark=STORE, created_at=NOW - 30)],
            ownership=unfinished(STORE, {"name": "Docs"}),
        ),
        Action.REPLACE,
        Reason.HALF_REPLACED,
        STORE_LOST,
        id="vs_1",
    ),
    Row(
        "recorded and live, and not declared",
        IN_SYNC._replace(desired=[]),
        Action.DELETE,
        Reason.NOT_DECLARED,
        STORE_LOST,
    ),
    Row(
        "a declaration with a new address",
        World(
            [declared("VectorStore/manuals", DOCS, renamed_from=at(STORE))],
            [recorded(STORE, "vs_1", DOCS)],
            [store("vs_1", mark=STORE)],
        ),
        Action.ADOPT,
        Reason.RENAMED,
        address="VectorStore/manuals",
    ),
    Row(
        "not declared any more, and to be retained",
        World(
            [],
            [recorded(STORE, "vs_1", DOCS, on_remove=OnRemove.RETAIN)],
            [store("vs_1", mark=STORE)],
        ),
        Action.FORGET,
        Reason.RETAINED,
    ),
    Row(
        "neither declared nor live",
        World([], [recorded(STORE, "vs_1")]),
        Action.FORGET,
        Reason.GONE,
    ),
    Row(
        "a limit in a project that is archived with this plan",
        World(
            [declared("Project/search", {"name": "Search"}, on_remove=OnRemove.DELETE), LIMIT],
            [PROJECT, LIMITED],
            [project(), limit(5)],
            options=DESTROY,
        ),
        Action.FORGET,
        Reason.WITH_PROJECT,
        address="RateLimit/search/gpt",
    ),
    Row(
        "an object that a replacement superseded and did not live to delete",
        World(
            [declared(STORE, DOCS)],
            [recorded(STORE, "vs_2", DOCS, deposed=("vs_1",))],
            [store("vs_1"), store("vs_2", mark=STORE)],
        ),
        Action.DELETE,
        Reason.LEFT_BEHIND,
        id="vs_1",
    ),
    Row(
        "everything is to be destroyed",
        IN_SYNC._replace(options=DESTROY),
        Action.DELETE,
        Reason.DESTROY,
        STORE_LOST,
    ),
    Row(
        "a project is to be destroyed",
        World(
            [declared("Project/search", {"name": "Search"}, on_remove=OnRemove.DELETE)],
            [PROJECT],
            [project()],
            options=DESTROY,
        ),
        Action.DELETE,
        Reason.DESTROY,
        "an archived project cannot be used or restored",
        address="Project/search",
    ),
    Row(
        "an old file that a retention rule matches",
        World(
            live=[
                shown(
                    "File",
                    "file-1",
                    {"id": "file-1", "purpose": "batch_output", "created_at": NOW - 31 * DAY},
                )
            ],
            rules=[rule()],
        ),
        Action.DELETE,
        Reason.RETENTION,
        "of 20",
        address="File/file-1",
    ),
    Row(
        "an object of ours that lost its mark",
        IN_SYNC._replace(live=[store("vs_1")]),
        Action.ADOPT,
        Reason.UNMARKED,
    ),
    Row(
        "another stack has marked the object since",
        IN_SYNC._replace(desired=[], live=[store("vs_1", mark=f"{OTHERS}/{STORE}")]),
        Action.FORGET,
        Reason.OTHER_OWNER,
    ),
    Row(
        "the object carries the mark of another address",
        OTHER_STORE._replace(live=[store("vs_1", mark="VectorStore/new")]),
        Action.FORGET,
        Reason.OTHER_ADDRESS,
    ),
    Row(
        "a declaration that went to another project: the new object",
        World(
            [
                declared(
                    "ServiceAccount/b/ci", {"name": "ci"}, renamed_from=at("ServiceAccount/a/ci")
                )
            ],
            [recorded("ServiceAccount/a/ci", "sa_1", {"name": "ci"}, project_id="proj_a")],
            [shown("ServiceAccount", "sa_1", {"id": "sa_1", "name": "ci", "role": "member"}, "a")],
            projects={"a": "proj_a", "b": "proj_b"},
        ),
        Action.CREATE,
        Reason.OTHER_PROJECT,
        address="ServiceAccount/b/ci",
    ),
    Row(
        "a declaration that went to another project: the old object",
        World(
            [
                declared(
                    "ServiceAccount/b/ci", {"name": "ci"}, renamed_from=at("ServiceAccount/a/ci")
                )
            ],
            [recorded("ServiceAccount/a/ci", "sa_1", {"name": "ci"}, project_id="proj_a")],
            [shown("ServiceAccount", "sa_1", {"id": "sa_1", "name": "ci", "role": "member"}, "a")],
            projects={"a": "proj_a", "b": "proj_b"},
        ),
        Action.DELETE,
        Reason.OTHER_PROJECT,
        "stop",
        address="ServiceAccount/a/ci",
    ),
    Row(
        "an object in a project that is let go with this plan",
        World(
            [],
            [PROJECT, recorded("ServiceAccount/search/ci", "sa_1", {"name": "ci"})],
            [project(), shown("ServiceAccount", "sa_1", {"id": "sa_1", "name": "ci"}, "search")],
        ),
        Action.FORGET,
        Reason.PROJECT_RETAINED,
        address="ServiceAccount/search/ci",
    ),
    Row(
        "somebody else's object has the natural key",
        World([declared(STORE, DOCS)], [], [store("vs_1")]),
        Action.NO_OP,
        Reason.BLOCKED,
    ),
    Row(
        "a resource that refers to one with an error",
        World(
            [
                declared(STORE, DOCS),
                declared(
                    "Assistant/bot",
                    {
                        "model": "m",
                        "name": Reference(at(STORE), ("name",)),
                        "description": Reference(at(STORE)),
                    },
                ),
            ],
            [],
            [store("vs_1")],
        ),
        Action.NO_OP,
        Reason.WAITS,
        address="Assistant/bot",
    ),
    Row(
        "a recorded object of a kind that the API has ended",
        World(
            [],
            [recorded("Assistant/bot", "asst_1")],
            refuses={"Assistant": RetiredError("gone", status=404)},
        ),
        Action.FORGET,
        Reason.RETIRED,
        address="Assistant/bot",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.what for row in ROWS])
def test_decision(row: Row) -> None:
    change = row.world.change(row.address, id=row.id)
    assert (change.action, change.reason) == (row.action, row.reason)
    assert row.destroys in change.destroys
    assert bool(change.destroys) is bool(row.destroys)


ROLLBACK_ONLY = {Reason.ROLLBACK, Reason.UNTOUCHED}


def test_every_reason_occurs_in_a_row() -> None:
    assert {row.reason for row in ROWS} == set(Reason) - ROLLBACK_ONLY


def rolled_back() -> dict[str, Change]:
    """The rollback of a run that renamed one store and left another alone."""
    prior = [
        recorded(STORE, "vs_1", DOCS),
        recorded("VectorStore/other", "vs_2", {"name": "Other"}),
    ]
    before = recorded(STORE, "vs_1", {"name": "Former"})
    image = PreImage(
        at(STORE), Action.UPDATE, "vs_1", {"name": "Former"}, before, Reason.CONFIG.name, done=True
    )
    records = {record.address: record for record in prior}
    target = rollback_target(RunHistory(7, [image]), records, KINDS)
    live = [store("vs_1", mark=STORE), store("vs_2", "Other", mark="VectorStore/other")]
    plan = as_rollback(World(target.resources, prior, live).plan(), target, records, KINDS)
    return {str(change.address): change for change in plan.changes}


def test_a_rollback_writes_former_values_and_leaves_the_rest_alone() -> None:
    changes = rolled_back()
    assert {address: change.reason for address, change in changes.items()} == {
        STORE: Reason.ROLLBACK,
        "VectorStore/other": Reason.UNTOUCHED,
    }
    assert [(field.before, field.after) for field in changes[STORE].fields] == [("Docs", "Former")]


def test_the_same_snapshot_gives_the_same_plan() -> None:
    snapshot = World([declared(STORE, DOCS)], [], [store("vs_1")]).snapshot()
    assert make_plan(snapshot) == make_plan(snapshot)


def test_planning_changes_nothing_of_the_snapshot() -> None:
    snapshot = IN_SYNC._replace(live=[store("vs_1", "Renamed", mark=STORE)]).snapshot()
    before = (dict(snapshot.errors), list(snapshot.diagnostics), dict(snapshot.bindings))
    make_plan(snapshot)
    assert before == (snapshot.errors, snapshot.diagnostics, snapshot.bindings)


def bot(**spec: Any) -> Resource:
    return declared("Assistant/bot", {"model": "m", **spec})


def test_a_reference_to_an_object_that_stays_is_its_value() -> None:
    world = IN_SYNC._replace(desired=[declared(STORE, DOCS), bot(name=Reference(at(STORE)))])
    assert world.change("Assistant/bot").after["name"] == "vs_1"


def test_a_reference_to_an_object_that_is_replaced_is_unknown() -> None:
    world = IN_SYNC._replace(
        desired=[declared(STORE, DOCS), bot(name=Reference(at(STORE)))],
        options=PlanOptions(replace=(at(STORE),)),
    )
    assert str(world.change("Assistant/bot").after["name"]) == "(known after apply)"
