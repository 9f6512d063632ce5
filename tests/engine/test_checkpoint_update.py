"""An apply saves the right checkpoint: plan and outcomes in, checkpoint out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.engine.refresh.audit_attribution import Write
from reconciler.engine.refresh.audit_trust import FullRefreshPolicy
from reconciler.engine.refresh.audit_window import Counted, WindowReading
from reconciler.engine.refresh.checkpoint import (
    RefreshCheckpoint,
    ScopeKey,
    UnchangedScopes,
    VerifiedScope,
)
from reconciler.engine.refresh.checkpoint_update import (
    RefreshOutcome,
    checkpoint_after,
    checkpoint_after_saved_plan,
    read_at_the_end,
)
from reconciler.kinds import KINDS
from reconciler.model.change import (
    Action,
    ApplyResult,
    Change,
    Outcome,
    OutcomeStatus,
    Plan,
    Reason,
)
from reconciler.model.log import AuditEntry
from tests.engine.tables import NOW, World, at, declared, recorded

GROUPS: ScopeKey = ("Group", None)
ROLES: ScopeKey = ("Role", None)
STORES: ScopeKey = ("VectorStore", None)
POLICY = FullRefreshPolicy()
NOTHING_TRUSTED = UnchangedScopes(full_refresh_reason="it is due")

WORLD = World(
    [
        declared("Group/staff", {"name": "Staff"}),
        declared("Role/auditor", {"role_name": "auditor"}),
    ],
    [recorded("Group/staff", "group_1"), recorded("Role/auditor", "role_1")],
)


def change(address: str, action: Action = Action.NO_OP, **more: Any) -> Change:
    return Change(at(address), action, Reason.CONFIG, **more)


def write(at_time: float, *, id: str = "group_1") -> Write:
    return Write.of(KINDS["Group"], None, None, id, times=(at_time, at_time + 1), removes=False)


def result(*changes: Change, applied: Sequence[str] = ()) -> ApplyResult:
    """The result of an apply in which all changes but some failed."""
    outcomes = []
    for made in changes:
        if made.is_change:
            is_applied = str(made.address) in applied
            status = OutcomeStatus.APPLIED if is_applied else OutcomeStatus.FAILED
            outcomes.append(Outcome(made, status))
    return ApplyResult(Plan("shop", "prod", changes), tuple(outcomes))


def outcome(made: ApplyResult, *writes: Write, **more: Any) -> RefreshOutcome:
    return RefreshOutcome(made, writes, asked_at=NOW, serial=7, **more)


def reading(*entries: AuditEntry, is_complete: bool = True) -> WindowReading:
    return WindowReading(entries, 1, is_complete, NOW - 60)


def entry(type: str, at_time: float, **more: Any) -> AuditEntry:
    return AuditEntry(f"{type}@{at_time}", type, at_time, **more)


def after(
    made: RefreshOutcome,
    unchanged: UnchangedScopes = NOTHING_TRUSTED,
    checkpoint: RefreshCheckpoint | None = None,
) -> RefreshCheckpoint:
    return checkpoint_after(checkpoint, unchanged, made, kinds=KINDS, policy=POLICY)


@pytest.mark.parametrize(
    ("changes", "applied", "verified"),
    [
        ([change("Group/staff")], [], {GROUPS}),
        ([change("Group/staff", Action.UPDATE)], ["Group/staff"], {GROUPS}),
        ([change("Group/staff", Action.UPDATE)], [], set()),
        ([change("Group/staff", Action.DELETE)], ["Group/staff"], {GROUPS}),
        ([change("Group/staff", blocked="it has an error")], [], set()),
        ([change("VectorStore/docs")], [], set()),
        (
            [change("Group/staff", Action.UPDATE), change("Role/auditor")],
            [],
            {ROLES},
        ),
        (
            [change("Group/staff"), change("Group/admins", Action.CREATE)],
            [],
            set(),
        ),
    ],
    ids=[
        "nothing was to be done",
        "the change was applied",
        "the change failed",
        "the object was deleted",
        "the address has an error",
        "the log does not report the kind",
        "another scope failed",
        "another object of the scope failed",
    ],
)
def test_a_scope_is_verified_by_an_apply(
    changes: list[Change], applied: list[str], verified: set[ScopeKey]
) -> None:
    assert set(after(outcome(result(*changes, applied=applied))).by_scope) == verified


def test_a_scope_that_was_read_was_read_when_the_plan_began() -> None:
    scope = after(outcome(result(change("Group/staff")))).by_scope[GROUPS]
    assert (scope.read_at, scope.checked_at) == (NOW, NOW)


def test_a_trusted_scope_was_read_when_it_was_read_last() -> None:
    unchanged = UnchangedScopes(scopes={GROUPS: NOW - 3_600})
    scope = after(outcome(result(change("Group/staff"))), unchanged).by_scope[GROUPS]
    assert (scope.read_at, scope.checked_at) == (NOW - 3_600, NOW)


@pytest.mark.parametrize(
    ("scopes", "full_at", "runs"), [({}, NOW, 0), ({GROUPS: NOW - 60}, NOW - 3_600, 4)]
)
def test_only_a_full_refresh_begins_a_new_period(
    scopes: dict[ScopeKey, float], full_at: float, runs: int
) -> None:
    earlier = RefreshCheckpoint(full_at=NOW - 3_600, runs=3)
    made = after(outcome(result()), UnchangedScopes(scopes=scopes), earlier)
    assert (made.full_at, made.runs) == (full_at, runs)


def test_a_checkpoint_belongs_to_the_state_that_the_apply_left() -> None:
    assert after(outcome(result())).serial == 7


@pytest.mark.parametrize(
    ("ended", "is_kept"), [(NOW - 1, True), (NOW - 800, True), (NOW - 3_600, False)]
)
def test_a_write_is_kept_as_long_as_its_entry_can_be_late(ended: float, is_kept: bool) -> None:
    earlier = RefreshCheckpoint(writes=[write(ended - 1)])
    assert bool(after(outcome(result()), checkpoint=earlier).writes) is is_kept


def test_the_writes_of_the_apply_are_added() -> None:
    earlier = RefreshCheckpoint(writes=[write(NOW - 60, id="group_0")])
    made = after(outcome(result(), write(NOW)), checkpoint=earlier)
    assert [known.id for known in made.writes] == ["group_0", "group_1"]


def test_the_newest_entries_come_from_the_last_reading_that_had_any() -> None:
    earlier = RefreshCheckpoint(newest_entries={"old": NOW - 3_600})
    by_plan = UnchangedScopes(newest_entries={"plan": NOW - 60})
    at_end = outcome(result(), reading=reading(entry("login.succeeded", NOW + 5)))
    assert set(after(outcome(result()), checkpoint=earlier).newest_entries) == {"old"}
    assert set(after(outcome(result()), by_plan, earlier).newest_entries) == {"plan"}
    assert set(after(at_end, by_plan, earlier).newest_entries) == {f"login.succeeded@{NOW + 5}"}


@pytest.mark.parametrize(
    ("unchanged", "expected"),
    [
        (UnchangedScopes(), True),
        (UnchangedScopes(newest_entries={"plan": NOW}), False),
        (UnchangedScopes(newest_entries={"plan": NOW}, projects_reported=True), True),
    ],
    ids=["the log was not read", "the log was read", "the log was read and proved it"],
)
def test_a_proof_about_projects_stays_until_the_log_is_read(
    unchanged: UnchangedScopes, expected: bool
) -> None:
    earlier = RefreshCheckpoint(projects_reported=True)
    assert after(outcome(result()), unchanged, earlier).projects_reported is expected


# The end of the log


def at_the_end(*entries: AuditEntry, writes: Sequence[Write] = (), **more: Any) -> RefreshOutcome:
    options = {"read_from": NOW - 60, "ended_at": NOW + 10, "inputs": WORLD.inputs, **more}
    made = result(change("Group/staff"), change("Role/auditor"))
    return outcome(made, *writes, reading=reading(*entries), **options)


def test_a_quiet_log_verifies_scopes_until_the_end_of_the_apply() -> None:
    made = after(at_the_end(entry("login.succeeded", NOW + 1)))
    assert {scope.checked_at for scope in made.verified} == {NOW + 10}


def test_a_change_during_the_apply_takes_its_scope_out() -> None:
    made = after(at_the_end(entry("role.updated", NOW + 1, resource_id="role_1")))
    assert set(made.by_scope) == {GROUPS}


def test_a_write_of_the_apply_takes_no_scope_out() -> None:
    own = entry("group.updated", NOW + 1.5, resource_id="group_1", actor="ci")
    made = after(at_the_end(own, writes=[write(NOW + 1)]))
    assert set(made.by_scope) == {GROUPS, ROLES}
    assert [known.noted_after for known in made.writes] == [0.5]


@pytest.mark.parametrize(
    "made",
    [
        at_the_end(entry("gadget.created", NOW + 1)),
        at_the_end(entry("role.updated", NOW + 1), inputs=None),
        outcome(
            result(change("Group/staff"), change("Role/auditor")),
            reading=reading(entry("role.updated", NOW + 1), is_complete=False),
            inputs=WORLD.inputs,
        ),
    ],
    ids=["an unknown type", "no inputs", "an incomplete reading"],
)
def test_a_log_that_cannot_be_judged_is_left_to_the_next_plan(made: RefreshOutcome) -> None:
    checkpoint = after(made)
    assert set(checkpoint.by_scope) == {GROUPS, ROLES}
    assert {scope.checked_at for scope in checkpoint.verified} == {NOW}
    assert checkpoint.counted is None


def test_the_entries_that_were_judged_are_counted_by_age() -> None:
    made = after(at_the_end(entry("login.succeeded", NOW), entry("login.failed", NOW + 5)))
    assert made.counted == Counted([0.0, 5.0], None)


def test_entries_that_the_plan_judged_are_counted_too() -> None:
    unchanged = UnchangedScopes(
        scopes={GROUPS: NOW - 3_600},
        newest_entries={"plan": NOW - 100},
        counted=Counted([0.0, 50.0], 200.0),
    )
    made = after(at_the_end(entry("login.succeeded", NOW), read_from=NOW - 60), unchanged)
    assert made.counted == Counted([0.0, 100.0, 150.0], 300.0)


def test_entries_that_are_too_old_to_be_late_are_not_counted() -> None:
    unchanged = UnchangedScopes(
        scopes={GROUPS: NOW - 3_600},
        newest_entries={"plan": NOW - 100},
        counted=Counted([0.0, 5_000.0]),
    )
    made = after(at_the_end(entry("login.succeeded", NOW), read_from=NOW - 60), unchanged)
    assert made.counted == Counted([0.0, 100.0], None)


@pytest.mark.parametrize(
    ("back_to", "verified"), [(None, {GROUPS, ROLES}), (20.0, {ROLES}), (100.0, {GROUPS, ROLES})]
)
def test_a_scope_read_because_the_log_was_too_long_may_lag_behind_it(
    back_to: float | None, verified: set[ScopeKey]
) -> None:
    unchanged = UnchangedScopes(
        scopes={ROLES: NOW - 3_600},
        newest_entries={"plan": NOW},
        counted=Counted([0.0], back_to),
    )
    made = outcome(result(change("Group/staff"), change("Role/auditor")))
    assert set(after(made, unchanged).by_scope) == verified


# The window at the end


def test_the_end_of_the_log_begins_where_the_plan_stopped() -> None:
    unchanged = UnchangedScopes(newest_entries={"plan": NOW - 100}, counted=Counted([0.0]))
    window = read_at_the_end(unchanged, outcome(result(), write(NOW)))
    assert (window.start, window.needed_from) == (NOW - 100, NOW - 100)


def test_an_object_made_with_a_key_has_two_entries() -> None:
    unchanged = UnchangedScopes(newest_entries={"plan": NOW - 100}, counted=Counted([0.0]))
    window = read_at_the_end(unchanged, outcome(result(), write(NOW), write(NOW)))
    assert window.expected == 2 * 2 + 1 + 1


def test_without_a_reading_by_the_plan_the_newest_entries_are_read() -> None:
    window = read_at_the_end(NOTHING_TRUSTED, outcome(result()))
    assert (window.start, window.needed_from) == (None, NOW - 60)


# Saved plans

EARLIER = RefreshCheckpoint(
    verified=[
        VerifiedScope(*GROUPS, read_at=NOW - 600, checked_at=NOW - 300),
        VerifiedScope(*ROLES, read_at=NOW - 600, checked_at=NOW - 300),
    ],
    newest_entries={"known": NOW - 300},
    serial=6,
    runs=3,
    full_at=NOW - 3_600,
)


def test_a_saved_plan_verifies_nothing_new() -> None:
    earlier = replace(EARLIER, verified=EARLIER.verified[:1])
    made = outcome(result(change("Role/auditor", Action.UPDATE), applied=["Role/auditor"]))
    assert set(checkpoint_after_saved_plan(earlier, made, policy=POLICY).by_scope) == {GROUPS}


def test_a_failed_change_of_a_saved_plan_takes_its_scope_out() -> None:
    made = outcome(result(change("Role/auditor", Action.UPDATE)))
    assert set(checkpoint_after_saved_plan(EARLIER, made, policy=POLICY).by_scope) == {GROUPS}


def test_a_saved_plan_counts_as_a_run_of_the_period() -> None:
    made = checkpoint_after_saved_plan(EARLIER, outcome(result()), policy=POLICY)
    assert (made.runs, made.full_at, made.serial) == (4, NOW - 3_600, 7)


def test_the_writes_of_a_saved_plan_are_kept_until_the_scopes_were_checked() -> None:
    made = outcome(result(), write(NOW))
    earlier = replace(EARLIER, writes=[write(NOW - 1_100), write(NOW - 9_000)])
    kept = checkpoint_after_saved_plan(earlier, made, policy=POLICY).writes
    assert [known.began_at for known in kept] == [NOW - 1_100, NOW]


@pytest.mark.parametrize(("leaves_log", "kept"), [(True, {}), (False, {"old": NOW - 86_400})])
def test_a_plan_need_not_read_back_to_what_the_log_showed_before_everything_was_read(
    leaves_log: bool, kept: dict[str, float]
) -> None:
    earlier = RefreshCheckpoint(newest_entries={"old": NOW - 86_400})
    made = after(outcome(result(), write(NOW), leaves_log=leaves_log), checkpoint=earlier)
    assert made.newest_entries == kept
