"""Which scopes a plan need not read, as a table: checkpoint and audit log in, trusted scopes or a reason out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from reconciler.engine.inputs import PlanInputs, PlanOptions
from reconciler.engine.refresh.audit_attribution import Write
from reconciler.engine.refresh.audit_proof import Costs
from reconciler.engine.refresh.audit_trust import (
    FullRefreshPolicy,
    decide,
    refresh_summary,
    scopes_to_reread,
)
from reconciler.engine.refresh.audit_window import Counted
from reconciler.engine.refresh.checkpoint import (
    RefreshCheckpoint,
    ScopeKey,
    UnchangedScopes,
    VerifiedScope,
)
from reconciler.errors import ApiError
from reconciler.kinds import KINDS
from reconciler.model.change import Action, Change, OutputChange, Plan, Reason
from reconciler.model.log import AuditEntry, LogPage, LogQuery
from reconciler.model.values import Reference, Unknown
from tests.engine.tables import NOW, World, at, declared, recorded

READ = NOW - 3_600
"""When the last apply read everything."""

GROUPS: ScopeKey = ("Group", None)
PROJECTS: ScopeKey = ("Project", None)
ACCOUNTS: ScopeKey = ("ServiceAccount", "search")
LIMITS: ScopeKey = ("RateLimit", "search")
ALL = {GROUPS, PROJECTS, ACCOUNTS, LIMITS}

DESIRED = [
    declared("Group/staff", {"name": "Staff"}),
    declared("Project/search", {"name": "Search"}),
    declared("ServiceAccount/search/ci", {"name": "ci"}),
    declared("RateLimit/search/gpt", {"model": "gpt-4o"}),
]
PRIOR = [
    recorded("Group/staff", "group_1"),
    recorded("Project/search", "proj_1"),
    recorded("ServiceAccount/search/ci", "svc_1", project_id="proj_1"),
    recorded("RateLimit/search/gpt", "rl-gpt", project_id="proj_1"),
]
KNOWN = AuditEntry("known", "login.succeeded", READ)
"""The newest entry that the last apply saw."""

CHECKPOINT = RefreshCheckpoint(
    verified=[
        VerifiedScope(*scope, read_at=READ, checked_at=READ) for scope in sorted(ALL, key=str)
    ],
    newest_entries={KNOWN.id: KNOWN.at},
    serial=5,
    full_at=READ,
    runs=1,
    counted=Counted((0.0,)),
)


def entry(type: str, *, at: float = NOW - 60, **more: Any) -> AuditEntry:
    return AuditEntry(f"{type}@{at}", type, at, **more)


def wrote(address: str, id: str, *, at_time: float, removes: bool = False) -> Write:
    """A write of an earlier run of ours that took one second."""
    kind, project = KINDS[at(address).kind], at(address).project
    project_id = "proj_1" if project else None
    times = (at_time, at_time + 1)
    return Write.of(kind, project, project_id, id, times=times, removes=removes)


WORLD = World(DESIRED, PRIOR)


def inputs(world: World = WORLD, **more: Any) -> PlanInputs:
    return replace(world.inputs, state_serial=5, **more)


def log_of(*entries: AuditEntry, has_more: bool = False) -> Any:
    """A log with one page of entries, newest first."""
    newest_first = sorted(entries, key=lambda entry: -entry.at)

    def read(query: LogQuery) -> Iterator[LogPage]:
        shown = [entry for entry in newest_first if query.since is None or entry.at >= query.since]
        yield LogPage(shown, has_more=has_more)

    return read


def costs(total: int = 20, *, pending: Sequence[ScopeKey] = ()) -> Costs:
    """A refresh of so many calls, of which each trusted scope saves four."""
    return Costs(lambda trusted: total - 4 * len(trusted), lambda: pending)


def decided(
    *entries: AuditEntry, checkpoint: RefreshCheckpoint | None = CHECKPOINT
) -> UnchangedScopes:
    log = log_of(*entries)
    return decide(inputs(), checkpoint, log, policy=FullRefreshPolicy(), costs=costs())


class Row(NamedTuple):
    """New entries of the log, and the scopes that have to be read because of them."""

    what: str
    entries: Sequence[AuditEntry]
    read: set[ScopeKey]
    checkpoint: RefreshCheckpoint = CHECKPOINT


ROWS = [
    Row("nothing happened", [], set()),
    Row("somebody logged in", [entry("login.succeeded")], set()),
    Row("a group changed", [entry("group.updated", resource_id="group_1")], {GROUPS}),
    Row("an unknown group appeared", [entry("group.created", resource_id="group_9")], {GROUPS}),
    Row("a project changed", [entry("project.updated", resource_id="proj_1")], {PROJECTS}),
    Row("an account was created", [entry("service_account.created")], {ACCOUNTS}),
    Row("a role changed, which accounts have", [entry("role.updated")], {ACCOUNTS}),
    Row("users come from a directory now", [entry("scim.enabled")], {GROUPS}),
    Row(
        "two kinds changed",
        [entry("group.updated"), entry("rate_limit.updated")],
        {GROUPS, LIMITS},
    ),
    Row("settings of the organization changed", [entry("organization.updated")], ALL),
    Row("a tenant event concerns no project", [entry("tenant.group.updated")], {GROUPS, PROJECTS}),
    Row(
        "an object of ours was deleted",
        [entry("resource.deleted", resource_id="group_1")],
        {GROUPS},
    ),
    Row(
        "an object of somebody else was deleted",
        [entry("resource.deleted", resource_id="group_9")],
        set(),
    ),
    Row(
        "a change long before the reading",
        [entry("group.updated", at=READ - 3_600)],
        set(),
    ),
    Row(
        "a change right before the reading, which lists may have missed",
        [entry("group.updated", at=READ - 5)],
        {GROUPS},
    ),
    Row(
        "a change of our own",
        [entry("group.updated", at=READ + 0.5, resource_id="group_1", actor="ci")],
        set(),
        replace(CHECKPOINT, writes=[wrote("Group/staff", "group_1", at_time=READ)]),
    ),
    Row(
        "one more change than we made",
        [
            entry("group.updated", at=READ + 0.5, resource_id="group_1", actor="ci"),
            entry("group.updated", at=READ + 0.7, resource_id="group_1", actor="ci"),
        ],
        {GROUPS},
        replace(CHECKPOINT, writes=[wrote("Group/staff", "group_1", at_time=READ)]),
    ),
    Row(
        "a removal of our own",
        [entry("group.deleted", at=READ + 0.5, resource_id="group_1", actor="ci")],
        set(),
        replace(CHECKPOINT, writes=[wrote("Group/staff", "group_1", at_time=READ, removes=True)]),
    ),
    Row(
        "an account of another project, where the log has proved to name projects",
        [entry("service_account.created", project_id="proj_9")],
        set(),
        replace(CHECKPOINT, projects_reported=True),
    ),
    Row(
        "a limit of another project, where the log has proved to name projects",
        [entry("rate_limit.updated", project_id="proj_9")],
        set(),
        replace(CHECKPOINT, projects_reported=True),
    ),
    Row(
        "a limit of our project, where the log has proved to name projects",
        [entry("rate_limit.updated", project_id="proj_1")],
        {LIMITS},
        replace(CHECKPOINT, projects_reported=True),
    ),
    Row(
        "a limit of another project, where the log may name the default project",
        [entry("rate_limit.updated", project_id="proj_9")],
        {LIMITS},
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.what for row in ROWS])
def test_scopes_to_read(row: Row) -> None:
    unchanged = decided(KNOWN, *row.entries, checkpoint=row.checkpoint)
    assert unchanged.full_refresh_reason == ""
    assert set(unchanged.scopes) == ALL - row.read


def test_a_removal_of_ours_may_take_objects_of_other_kinds_with_it() -> None:
    members: ScopeKey = ("ProjectUser", "search")
    member = declared("ProjectUser/search/fay", {"user_id": "user_1"})
    record = recorded("ProjectUser/search/fay", "user_1", project_id="proj_1")
    checkpoint = replace(
        CHECKPOINT,
        verified=[*CHECKPOINT.verified, VerifiedScope(*members, read_at=READ, checked_at=READ)],
        writes=[wrote("Group/staff", "group_1", at_time=READ, removes=True)],
    )
    removal = entry("group.deleted", at=READ + 0.5, resource_id="group_1", actor="ci")
    unchanged = decide(
        inputs(World([*DESIRED, member], [*PRIOR, record])),
        checkpoint,
        log_of(KNOWN, removal),
        policy=FullRefreshPolicy(),
        costs=costs(),
    )
    assert set(unchanged.scopes) == ALL


def test_a_trusted_scope_keeps_the_time_of_its_reading() -> None:
    assert decided(KNOWN).scopes[GROUPS] == READ


def test_a_scope_that_is_read_has_the_entry_as_its_reason() -> None:
    reasons = decided(KNOWN, entry("group.updated")).reasons
    assert reasons == {GROUPS: "the audit log has group.updated"}


def test_the_newest_entries_are_remembered_for_the_next_plan() -> None:
    newest = entry("login.succeeded")
    assert decided(KNOWN, newest).newest_entries == {KNOWN.id: KNOWN.at, newest.id: newest.at}


class Refusal(NamedTuple):
    """Why nothing is trusted at all."""

    what: str
    reason: str
    checkpoint: RefreshCheckpoint | None = CHECKPOINT
    entries: Sequence[AuditEntry] = (KNOWN,)
    options: PlanOptions = PlanOptions()
    state_is_new: bool = False


REFUSALS = [
    Refusal("there is no checkpoint", "no earlier reading", None),
    Refusal("the state changed since", "state was changed", replace(CHECKPOINT, serial=4)),
    Refusal("the day is over", "every 24 hours", replace(CHECKPOINT, full_at=NOW - 90_000)),
    Refusal("the clock was set back", "every 24 hours", replace(CHECKPOINT, full_at=NOW + 90_000)),
    Refusal("enough applies relied on the log", "every 20 applies", replace(CHECKPOINT, runs=20)),
    Refusal("everything is destroyed", "all objects", options=PlanOptions(destroy=True)),
    Refusal("unmanaged objects are wanted", "all objects", options=PlanOptions(unmanaged=True)),
    Refusal("anything may be adopted", "all objects", options=PlanOptions(adopt=True)),
    Refusal("the state may be lost", "all objects", state_is_new=True),
    Refusal("the log lost an entry", "no longer shows entries", entries=[]),
    Refusal(
        "the log has an entry of an unknown type",
        'unknown type, "gadget.created"',
        entries=[KNOWN, entry("gadget.created")],
    ),
    Refusal(
        "the log has never shown anything of ours",
        "has not shown any change of ours",
        replace(CHECKPOINT, newest_entries={}, counted=None),
    ),
    Refusal(
        "our own write does not appear",
        "has not shown any change of ours",
        replace(
            CHECKPOINT,
            newest_entries={},
            counted=None,
            writes=[wrote("Group/staff", "group_1", at_time=READ)],
        ),
    ),
]


@pytest.mark.parametrize("row", REFUSALS, ids=[row.what for row in REFUSALS])
def test_everything_is_read_if(row: Refusal) -> None:
    unchanged = decide(
        inputs(options=row.options, state_is_new=row.state_is_new),
        row.checkpoint,
        log_of(*row.entries),
        policy=FullRefreshPolicy(),
        costs=costs(),
    )
    assert not unchanged.scopes
    assert row.reason in unchanged.full_refresh_reason


@pytest.mark.parametrize(
    ("error", "setback"),
    [
        (ApiError("forbidden", status=403), "the audit log answers 403"),
        (ApiError("no answer"), "the audit log cannot be used: no answer"),
    ],
)
def test_a_log_that_cannot_be_read_is_a_setback(error: ApiError, setback: str) -> None:
    def log(_: LogQuery) -> Iterator[LogPage]:
        raise error

    unchanged = decide(inputs(), CHECKPOINT, log, policy=FullRefreshPolicy(), costs=costs())
    assert (set(unchanged.scopes), unchanged.setback) == (set(), setback)


def test_a_missing_checkpoint_is_no_setback() -> None:
    assert decided(checkpoint=None).setback == ""


@pytest.mark.parametrize(
    ("desired", "prior", "reason"),
    [
        (
            [*DESIRED, declared("Group/admins", {"name": "Admins"})],
            PRIOR,
            "something new is declared there",
        ),
        (
            [*DESIRED, declared("VectorStore/docs", {})],
            [*PRIOR, recorded("VectorStore/docs", "vs_1")],
            "the audit log does not tell of every change there",
        ),
        (
            DESIRED,
            [*PRIOR, recorded("Role/auditor", "role_1")],
            "the last apply did not leave it in order",
        ),
    ],
)
def test_a_scope_is_read_without_asking_the_log_if(
    desired: list[Any], prior: list[Any], reason: str
) -> None:
    unchanged = decide(
        inputs(World(desired, prior)),
        CHECKPOINT,
        log_of(KNOWN),
        policy=FullRefreshPolicy(),
        costs=costs(),
    )
    assert list(unchanged.reasons.values()) == [reason]
    assert unchanged.scopes.keys().isdisjoint(unchanged.reasons)


def test_the_log_is_not_asked_for_a_single_scope() -> None:
    def log(_: LogQuery) -> Iterator[LogPage]:
        raise AssertionError("asked")

    world = World(DESIRED[:1], PRIOR[:1])
    unchanged = decide(inputs(world), CHECKPOINT, log, policy=FullRefreshPolicy(), costs=costs())
    assert not unchanged.scopes


def busy(number: int) -> list[AuditEntry]:
    """More new entries than a page shows."""
    return [entry("login.succeeded", at=NOW - 60 + index / 1_000) for index in range(number)]


# Filtered queries


class PagedLog:
    """A log whose unfiltered pages are full of logins; filtered queries answer with `filtered`."""

    def __init__(self, filtered: Sequence[AuditEntry], *, is_full: bool = False) -> None:
        self.queries: list[LogQuery] = []
        self._filtered = filtered
        self._is_full = is_full

    def __call__(self, query: LogQuery) -> Iterator[LogPage]:
        self.queries.append(query)
        if query.types:
            yield LogPage(self._filtered, has_more=self._is_full)
        else:
            yield LogPage(busy(100), has_more=True)


def test_a_filtered_query_settles_the_kinds_that_a_full_page_does_not_show() -> None:
    log = PagedLog([])
    unchanged = decide(inputs(), CHECKPOINT, log, policy=FullRefreshPolicy(), costs=costs(200))
    assert set(unchanged.scopes) == ALL
    assert len(log.queries) == 2


def test_the_entries_of_a_filtered_query_count() -> None:
    log = PagedLog([entry("group.updated")])
    unchanged = decide(inputs(), CHECKPOINT, log, policy=FullRefreshPolicy(), costs=costs(200))
    assert set(unchanged.scopes) == ALL - {GROUPS}


def test_a_filtered_query_that_is_too_long_as_well_gives_the_log_up() -> None:
    log = PagedLog([], is_full=True)
    unchanged = decide(inputs(), CHECKPOINT, log, policy=FullRefreshPolicy(), costs=costs(200))
    assert "more than 100 new entries" in unchanged.full_refresh_reason


def test_no_filtered_query_is_sent_if_it_saves_too_little() -> None:
    log = PagedLog([])
    changed = [scope for scope in ALL if scope != GROUPS]
    pending = Costs(lambda trusted: 9 - 1 * len(trusted), lambda: changed)
    unchanged = decide(inputs(), CHECKPOINT, log, policy=FullRefreshPolicy(), costs=pending)
    assert len(log.queries) == 1
    assert "more than 100 new entries" in unchanged.full_refresh_reason


class BusyProject(PagedLog):
    """A log whose first page is full of changes in another project; `here` are those in ours."""

    def __init__(self, here: Sequence[AuditEntry]) -> None:
        super().__init__([])
        self._here = here

    def __call__(self, query: LogQuery) -> Iterator[LogPage]:
        self.queries.append(query)
        if query.project_ids:
            yield LogPage(self._here, has_more=False)
        elif query.types:
            yield LogPage([], has_more=False)
        else:
            changes = [
                entry("rate_limit.updated", at=login.at, project_id="proj_9") for login in busy(100)
            ]
            yield LogPage(changes, has_more=True)


@pytest.mark.parametrize(
    ("here", "read"),
    [([], set()), ([entry("rate_limit.updated", project_id="proj_1")], {LIMITS})],
    ids=["nothing happened in our project", "a limit of ours changed"],
)
def test_a_query_by_project_settles_the_kinds_that_a_full_page_shows(
    here: list[AuditEntry], read: set[ScopeKey]
) -> None:
    log = BusyProject(here)
    checkpoint = replace(CHECKPOINT, projects_reported=True)
    unchanged = decide(inputs(), checkpoint, log, policy=FullRefreshPolicy(), costs=costs(200))
    assert set(unchanged.scopes) == ALL - read
    assert log.queries[-1].project_ids == ("proj_1",)


def test_no_query_by_project_is_sent_if_the_log_may_name_the_default_project() -> None:
    log = BusyProject([])
    unchanged = decide(inputs(), CHECKPOINT, log, policy=FullRefreshPolicy(), costs=costs(200))
    assert set(unchanged.scopes) == ALL - {LIMITS}
    assert not any(query.project_ids for query in log.queries)


# After the plan


def change(address: str, action: Action = Action.UPDATE, **more: Any) -> Change:
    return Change(at(address), action, Reason.CONFIG, **more)


def plan(*changes: Change, **more: Any) -> Plan:
    return Plan("shop", "prod", changes, **more)


TRUSTED = UnchangedScopes(scopes=dict.fromkeys(ALL, READ))


@pytest.mark.parametrize(
    ("changes", "outputs", "read"),
    [
        ([], [], set()),
        ([change("Group/staff", Action.NO_OP)], [], set()),
        ([change("Group/staff")], [], {GROUPS}),
        ([change("Group/staff", Action.NO_OP, blocked="it has an error")], [], {GROUPS}),
        ([change("VectorStore/docs")], [], set()),
        (
            [change("VectorStore/docs", desired={"a": Reference(at("Group/staff"), ("name",))})],
            [],
            {GROUPS},
        ),
        ([change("VectorStore/docs", desired={"a": Reference(at("Group/staff"))})], [], set()),
        ([], [OutputChange("group", Unknown("${Group/staff.name}"))], {GROUPS}),
        ([], [OutputChange("group", "known")], set()),
    ],
    ids=[
        "nothing is to be done",
        "an object stays as it is",
        "an object changes",
        "an object has an error",
        "the scope was read anyway",
        "a change needs a field of an object",
        "the id of an object is known from the state",
        "an output needs a field of an object",
        "an output is known",
    ],
)
def test_a_trusted_scope_is_read_after_all_if(
    changes: list[Change], outputs: list[OutputChange], read: set[ScopeKey]
) -> None:
    made = plan(*changes, outputs=tuple(outputs))
    assert scopes_to_reread(made, TRUSTED, KINDS) == read


def test_an_invite_needs_the_members() -> None:
    trusted = UnchangedScopes(scopes={("User", None): READ})
    made = plan(change("Invite/fay", Action.CREATE))
    assert scopes_to_reread(made, trusted, KINDS) == {("User", None)}


def test_scopes_can_be_taken_back() -> None:
    rest = TRUSTED.without([GROUPS], "something changes there")
    assert set(rest.scopes) == ALL - {GROUPS}
    assert rest.reasons == {GROUPS: "something changes there"}


def test_a_summary_counts_scopes_since_the_oldest_reading() -> None:
    scopes = {GROUPS: READ, PROJECTS: READ - 60}
    summary = refresh_summary(UnchangedScopes(scopes=scopes))
    assert (summary.unchanged_scopes, summary.since) == (2, READ - 60)


def test_a_summary_says_why_everything_was_read() -> None:
    unchanged = UnchangedScopes(full_refresh_reason="it is due", setback="that is due every day")
    summary = refresh_summary(unchanged)
    assert (summary.unchanged_scopes, summary.since) == (0, None)
    assert (summary.full_refresh_reason, summary.setback) == ("it is due", "that is due every day")


# The stored form


def test_a_checkpoint_survives_its_storage() -> None:
    stored = replace(CHECKPOINT, writes=[wrote("Group/staff", "group_1", at_time=READ)])
    loaded = RefreshCheckpoint.load(stored.dump())
    assert loaded is not None
    assert loaded.by_scope == stored.by_scope
    assert (loaded.newest_entries, loaded.serial, loaded.full_at) == (
        stored.newest_entries,
        stored.serial,
        stored.full_at,
    )
    assert [write.id for write in loaded.writes] == ["group_1"]


@pytest.mark.parametrize("text", [None, "", "null", "{", '{"seen": 1}', "[]"])
def test_a_checkpoint_that_cannot_be_used_is_none(text: str | None) -> None:
    assert RefreshCheckpoint.load(text) is None


def test_the_state_keeps_the_names_of_earlier_versions() -> None:
    text = CHECKPOINT.dump()
    assert all(f'"{name}"' in text for name in ("seen", "shown", "places_told", "serial"))
