"""Refused reads as a table: refusals in, blocked addresses and warnings out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.inputs import PlanOptions
from reconciler.engine.ownership import Ownership
from reconciler.engine.refresh.failures import with_status
from reconciler.errors import ApiError, CredentialError, RetiredError
from reconciler.model.consistency import CreationWindow
from reconciler.model.diagnostic import Severity
from reconciler.model.kind import OnRemove
from reconciler.model.resource import Resource
from tests.engine.tables import NOW, World, at, declared, recorded, shown, store

STORE, BOT, GROUP = "VectorStore/docs", "Assistant/bot", "Group/staff"
DOCS = declared(STORE, {"name": "Docs"})
ASSISTANT = declared(BOT, {"model": "gpt-4o"})
STAFF = declared(GROUP, {"name": "Staff"})
REFUSED = ApiError("no", status=403, hint="Use another key.")
RETIRED = RetiredError("gone for good", status=404)
CONTAINER_ATTEMPT = Ownership(
    "shop",
    "prod",
    create_attempts={at("Container/box"): [CreateAttempt(CreationWindow(NOW))]},
)


class Row(NamedTuple):
    """A world with refusals, the blocked addresses, the records to forget, and a part of the detail."""

    what: str
    world: World
    blocked: Sequence[str] = ()
    retired: Sequence[str] = ()
    summaries: Sequence[str] = ()
    detail: str = ""


ROWS = [
    Row("nothing is refused", World([DOCS, STAFF])),
    Row(
        "a list of declared objects",
        World([DOCS, STAFF], refuses={"VectorStore": REFUSED}),
        [STORE],
        summaries=["VectorStore objects could not be read"],
        detail="no (403)\nUse another key.\nNot planned: VectorStore/docs.",
    ),
    Row(
        "a list of recorded objects",
        World(
            [STAFF],
            [recorded(STORE, "vs_1"), recorded("VectorStore/old", "vs_2")],
            refuses={"VectorStore": REFUSED},
        ),
        [STORE, "VectorStore/old"],
        summaries=["VectorStore objects could not be read"],
    ),
    Row(
        "a list in a project names the project",
        World(
            [declared("VectorStore/search/docs", {}), STAFF],
            projects={"search": "proj_1"},
            refuses={"VectorStore": REFUSED},
        ),
        ["VectorStore/search/docs"],
        summaries=['VectorStore objects of project "search" could not be read'],
    ),
    Row(
        "a list of many objects names the first three",
        World(
            [*(declared(f"VectorStore/{name}", {}) for name in "abcde"), STAFF],
            refuses={"VectorStore": REFUSED},
        ),
        [f"VectorStore/{name}" for name in "abcde"],
        summaries=["VectorStore objects could not be read"],
        detail="Not planned: VectorStore/a, VectorStore/b, VectorStore/c and 2 more.",
    ),
    Row(
        "the users, where an invite could be unnecessary",
        World(
            [declared("Invite/fay", {"email": "fay@example.com", "role": "reader"}), STAFF],
            refuses={"User": REFUSED},
        ),
        ["Invite/fay"],
        summaries=["User objects could not be read"],
    ),
    Row(
        "a list that is only searched",
        World([STAFF], ownership=CONTAINER_ATTEMPT, refuses={"Container": REFUSED}),
        summaries=["Some kinds could not be searched for objects of this stack"],
        detail="Container: no (403)",
    ),
    Row(
        "a retired kind that is still declared",
        World([ASSISTANT, STAFF], refuses={"Assistant": RETIRED}),
        [BOT],
        summaries=["The server has no Assistant objects any more"],
        detail="declare kind Agent instead",
    ),
    Row(
        "a retired kind that only the state has",
        World([STAFF], [recorded(BOT, "asst_1")], refuses={"Assistant": RETIRED}),
        retired=[BOT],
        summaries=["The server has no Assistant objects any more"],
        detail="The state forgets 1 Assistant object (Assistant/bot for one).",
    ),
    Row(
        "a retired kind that is destroyed",
        World(
            [ASSISTANT, STAFF],
            [recorded(BOT, "asst_1")],
            options=PlanOptions(destroy=True),
            refuses={"Assistant": RETIRED},
        ),
        retired=[BOT],
        summaries=["The server has no Assistant objects any more"],
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_a_refused_list_blocks_what_needs_it(row: Row) -> None:
    snapshot = row.world.snapshot()
    assert sorted(map(str, snapshot.errors)) == list(row.blocked)
    assert sorted(map(str, snapshot.retired)) == list(row.retired)
    assert [diagnostic.summary for diagnostic in snapshot.diagnostics] == list(row.summaries)
    for diagnostic in snapshot.diagnostics:
        assert row.detail in diagnostic.detail
        is_error = diagnostic.severity is Severity.ERROR
        assert is_error is bool(row.blocked)


def test_a_record_of_a_retired_kind_is_forgotten_by_the_plan() -> None:
    world = World([STAFF], [recorded(BOT, "asst_1")], refuses={"Assistant": RETIRED})
    assert world.change(BOT).action.value == "forget"


@pytest.mark.parametrize(
    ("error", "search_failed"),
    [
        (ApiError("busy", status=503), True),
        (ApiError("no answer"), True),
        (ApiError("no", status=403), False),
        (CredentialError("no key"), False),
    ],
    ids=["the server failed", "nothing answered", "refused", "no key"],
)
def test_a_search_is_repeated_where_it_may_succeed_later(error: Any, search_failed: bool) -> None:
    world = World([STAFF], ownership=CONTAINER_ATTEMPT, refuses={"Container": error})
    assert world.snapshot().search_failed is search_failed


class ProjectRow(NamedTuple):
    """A project that no key opens, and what the plan says about it."""

    what: str
    desired: Sequence[Resource]
    prior: Sequence[Any]
    summary: str | None
    is_error: bool
    more: Mapping[str, Any] = {}
    detail: str = ""


IN_PROJECT = declared("VectorStore/search/docs", {})
WRITER = {"key_writers": {"search": at("ServiceAccount/search/ci")}}
PROJECT = shown("Project", "proj_1", {"id": "proj_1", "name": "Search", "status": "active"})

PROJECT_ROWS = [
    ProjectRow(
        "recorded objects cannot be planned",
        [IN_PROJECT],
        [recorded("VectorStore/search/docs", "vs_1")],
        'Project "search" cannot be read',
        is_error=True,
        detail="Put the key back where credentials.projects.search has it.",
    ),
    ProjectRow(
        "a delivered key can be delivered again",
        [IN_PROJECT],
        [recorded("VectorStore/search/docs", "vs_1")],
        'Project "search" cannot be read',
        is_error=True,
        more=WRITER,
        detail="`reconciler rotate --now --keep-old ServiceAccount/search/ci`",
    ),
    ProjectRow(
        "without a record, the objects are looked for before they are created",
        [IN_PROJECT],
        [],
        'Objects of project "search" cannot be read yet',
        is_error=False,
        detail="The key that opens it does not exist yet.",
    ),
    ProjectRow(
        "a project that is still to be created has no objects",
        [declared("Project/search", {"name": "Search"}), IN_PROJECT],
        [],
        None,
        is_error=False,
    ),
]


@pytest.mark.parametrize("row", PROJECT_ROWS, ids=lambda row: row.what)
def test_a_project_without_a_key_is_an_error_of_its_records_alone(row: ProjectRow) -> None:
    is_declared = any(resource.kind.defines_project for resource in row.desired)
    snapshot = World(
        row.desired,
        row.prior,
        [] if is_declared else [PROJECT],
        projects={} if is_declared else {"search": "proj_1"},
        closed=["search"],
        more=row.more,
    ).snapshot()
    assert bool(snapshot.errors) is row.is_error
    if row.summary is None:
        assert not snapshot.diagnostics
    else:
        (diagnostic,) = snapshot.diagnostics
        assert diagnostic.summary == row.summary
        assert row.detail in diagnostic.detail


def test_a_refused_overview_is_one_warning_with_every_list() -> None:
    options = PlanOptions(unmanaged=True)
    refusals = dict.fromkeys(("Group", "Role"), REFUSED)
    snapshot = World(live=[store("vs_9")], options=options, refuses=refusals).snapshot()
    warnings = [each for each in snapshot.diagnostics if "lists could not be read" in each.summary]
    assert len(warnings) == 1
    assert warnings[0].severity is Severity.WARNING
    assert "Group" in warnings[0].detail
    assert not snapshot.errors


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ApiError("no", status=403), "no (403)"),
        (ApiError("403: no", status=403), "403: no"),
        (ApiError("no answer"), "no answer"),
        (CredentialError("no key"), "no key"),
    ],
)
def test_a_message_has_the_status_once(error: ApiError | CredentialError, text: str) -> None:
    assert with_status(error) == text


def test_an_error_of_a_project_is_one_of_everything_in_it() -> None:
    world = World(
        [declared("Project/search", {"name": "Search"}), declared("ServiceAccount/search/ci", {})],
        live=[
            shown("Project", "proj_1", {"id": "proj_1", "name": "Search", "status": "active"}),
            shown("Project", "proj_2", {"id": "proj_2", "name": "Search", "status": "active"}),
        ],
    )
    snapshot = world.snapshot()
    assert snapshot.error_of(at("Project/search")) is not None
    assert snapshot.error_of(at("ServiceAccount/search/ci")) is snapshot.error_of(
        at("Project/search")
    )
    assert snapshot.error_of(at("Group/staff")) is None


@pytest.mark.parametrize(
    ("destroy", "severity"), [(False, Severity.ERROR), (True, Severity.WARNING)]
)
def test_an_object_that_does_not_exist_blocks_no_destroy(destroy: bool, severity: Severity) -> None:
    snapshot = World(
        [declared("RateLimit/search/gpt", {"model": "gpt-9"})],
        live=[shown("RateLimit", "rl-gpt", {"model": "gpt-4o"}, "search")],
        projects={"search": "proj_1"},
        options=PlanOptions(destroy=destroy),
    ).snapshot()
    (diagnostic,) = snapshot.diagnostics
    assert diagnostic.summary == "No such RateLimit"
    assert diagnostic.severity is severity
    assert bool(snapshot.errors) is not destroy


def test_a_contested_project_blocks_everything_that_is_recorded_in_it() -> None:
    snapshot = World(
        [declared("Project/find", {"name": "Search"})],
        [
            recorded("Project/search", "proj_1", {"name": "Search"}, on_remove=OnRemove.RETAIN),
            recorded("ServiceAccount/search/ci", "sa_1", project_id="proj_1"),
        ],
        [shown("Project", "proj_1", {"id": "proj_1", "name": "Search", "status": "active"})],
    ).snapshot()
    assert set(snapshot.errors) == {
        at("Project/find"),
        at("Project/search"),
        at("ServiceAccount/search/ci"),
    }
