"""Guards refuse dangerous plans, and name the narrowest option that permits them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from reconciler.engine.plan.guard import KeyInUse, Limits, refusals
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, FieldChange, Plan, Reason
from reconciler.model.destruction import Loss, Lost
from reconciler.model.keys import KeyAction, KeyStep
from reconciler.model.kind import OnRemove, Removal
from reconciler.model.values import FileSet, LocalFile, Member


def change(name: str, action: Action = Action.DELETE, **more: object) -> Change:
    return Change(Address("Assistant", name), action, Reason.NOT_DECLARED, id=name, **more)  # type: ignore[arg-type]


def plan(*changes: Change, destroy: bool = False) -> Plan:
    return Plan("s", "e", changes, destroy=destroy)


def unchanged(count: int) -> list[Change]:
    return [change(f"n{index}", Action.NO_OP) for index in range(count)]


def test_a_few_deletes_pass() -> None:
    assert refusals(plan(change("a"), change("b"), *unchanged(8)), Limits()) == []


def test_more_deletes_than_the_number_allows_are_refused() -> None:
    found = refusals(plan(*(change(f"d{n}") for n in range(11)), *unchanged(90)), Limits())
    assert "11 objects" in found[0]


def test_a_larger_share_than_allowed_is_refused() -> None:
    assert (
        "4 of 10"
        in refusals(plan(*(change(f"d{n}") for n in range(4)), *unchanged(6)), Limits())[0]
    )


def test_a_share_says_nothing_about_a_handful_of_resources() -> None:
    assert refusals(plan(change("a"), change("b"), *unchanged(1)), Limits()) == []


def test_an_allowed_address_does_not_count() -> None:
    changes = [change(f"d{n}") for n in range(4)]
    allowed = [item.address for item in changes[:2]]
    assert refusals(plan(*changes, *unchanged(6)), Limits(), allowed=allowed) == []


def swept(count: int) -> list[Change]:
    rule = Address("Retention", "old")
    return [change(f"s{n}", matched_by=rule) for n in range(count)]


def test_what_a_rule_matches_counts_for_the_number_and_is_no_share_of_what_is_managed() -> None:
    assert refusals(plan(*swept(9), *unchanged(9)), Limits()) == []
    [refused] = refusals(plan(*swept(9), change("a"), change("b"), *unchanged(9)), Limits())
    assert "11 objects" in refused
    [refused] = refusals(
        plan(*swept(4), *(change(f"d{n}") for n in range(4)), *unchanged(6)), Limits()
    )
    assert "deletes 4 of 10 objects (Assistant/d0" in refused


def test_a_rule_that_is_allowed_allows_all_that_it_matches_and_nothing_else() -> None:
    allowed = [Address("Retention", "old")]
    assert refusals(plan(*swept(50)), Limits(), allowed=allowed) == []
    assert refusals(plan(*swept(50), change("a")), Limits(max_deletes=0), allowed=allowed)
    assert (
        "--allow-delete Retention/old to allow all its matches"
        in refusals(plan(*swept(50)), Limits())[0]
    )


def test_destroying_everything_is_not_a_matter_of_numbers() -> None:
    assert refusals(plan(*(change(f"d{n}") for n in range(50)), destroy=True), Limits()) == []


@pytest.mark.parametrize("action", [Action.DELETE, Action.REPLACE])
def test_a_protected_object_is_refused_by_address_and_with_what_would_allow_it(
    action: Action,
) -> None:
    (sentence,) = refusals(plan(change("a", action, prevent_destroy=True)), Limits())
    assert sentence.startswith("Assistant/a ")
    assert "--allow-delete Assistant/a" in sentence


def test_a_protected_object_is_refused_even_when_everything_is_destroyed() -> None:
    assert refusals(plan(change("a", prevent_destroy=True), destroy=True), Limits())


def test_allowing_one_protected_object_allows_no_other() -> None:
    both = plan(change("a", prevent_destroy=True), change("b", prevent_destroy=True))
    (sentence,) = refusals(both, Limits(), allowed=[Address("Assistant", "a")])
    assert sentence.startswith("Assistant/b ")


def test_an_archive_needs_the_manifest_to_say_delete() -> None:
    doubtful = change("a", Action.REPLACE, removal=Removal.ARCHIVE, on_remove=OnRemove.RETAIN.value)
    assert "on_remove: delete" in refusals(plan(doubtful), Limits())[0]


def test_an_archive_that_the_manifest_wants_passes() -> None:
    wanted = change("a", removal=Removal.ARCHIVE, on_remove=OnRemove.DELETE.value)
    assert refusals(plan(wanted), Limits()) == []


def test_the_account_before_the_one_whose_key_is_in_use_may_go() -> None:
    writer = Address("ServiceAccount", "ci", "search")
    old = Change(writer, Action.DELETE, Reason.LEFT_BEHIND, id="old")
    bot = Change(
        Address("Assistant", "bot", "search"),
        Action.NO_OP,
        Reason.IN_SYNC,
        id="b",
        scope="project key",
    )
    assert (
        refusals(plan(old, bot), Limits(), keys={"search": KeyInUse(writer, "key", "file")}) == []
    )


def gone(count: int, reason: Reason = Reason.DELETED_OUTSIDE) -> list[Change]:
    return [
        Change(Address("Assistant", f"g{number}"), Action.CREATE, reason) for number in range(count)
    ]


@pytest.mark.parametrize(
    ("missing", "present", "is_refused"), [(3, 7, False), (4, 7, True), (2, 0, False), (3, 0, True)]
)
def test_a_share_of_recorded_objects_that_is_gone_at_once_is_refused(
    missing: int, present: int, is_refused: bool
) -> None:
    assert bool(refusals(plan(*gone(missing), *unchanged(present)), Limits())) is is_refused


def test_what_is_gone_counts_whether_a_manifest_declares_it_or_not() -> None:
    forgotten = [
        Change(Address("Assistant", f"f{number}"), Action.FORGET, Reason.GONE, id=f"f{number}")
        for number in range(2)
    ]
    [refused] = refusals(plan(*gone(1), *forgotten, *unchanged(1), destroy=True), Limits())
    assert refused.startswith("3 of 4 recorded objects are gone at once")


def test_an_archived_project_is_still_shown_and_so_is_not_gone() -> None:
    assert refusals(plan(*gone(5, Reason.ARCHIVED_OUTSIDE)), Limits()) == []


def test_new_objects_are_no_share_of_what_is_recorded() -> None:
    new = [
        Change(Address("Assistant", f"c{number}"), Action.CREATE, Reason.NEW)
        for number in range(50)
    ]
    assert refusals(plan(*gone(4), *unchanged(4), *new), Limits())


def test_the_percentage_that_the_refusal_names_is_enough() -> None:
    [refused] = refusals(plan(*gone(3), *unchanged(6)), Limits())
    assert "{max_vanished_percent: 34}" in refused
    assert refusals(plan(*gone(3), *unchanged(6)), Limits(max_vanished_percent=34)) == []


def updated(name: str, *losses: Loss, members: int = 0, **more: object) -> Change:
    files = FileSet(
        tuple(Member(f"{n}.md", LocalFile(f"{n}.md", str(n), 1)) for n in range(members))
    )
    before = {"files": files} if members else {}
    return change(name, Action.UPDATE, losses=losses, before=before, **more)


def removed(count: int, *, empties: bool = False) -> Loss:
    return Loss(f"removes {count} members of files", Lost.MEMBER, count, empties)


REVOKED = Loss("revokes the key delivered to a.key", Lost.KEY)


def test_replacements_count_like_deletions() -> None:
    many = [change(f"r{n}", Action.REPLACE) for n in range(11)]
    assert "replaces 11 objects" in refusals(plan(*many, *unchanged(90)), Limits())[0]
    assert "replaces 4 of 10 objects" in refusals(plan(*many[:4], *unchanged(6)), Limits())[0]


@pytest.mark.parametrize(
    "reason", [Reason.EXPIRED, Reason.REQUESTED, Reason.KEY_LOST, Reason.HALF_REPLACED]
)
def test_a_replacement_of_what_is_of_no_more_use_or_was_asked_for_does_not_count(
    reason: Reason,
) -> None:
    many = [
        Change(Address("Assistant", f"r{n}"), Action.REPLACE, reason, id="x") for n in range(11)
    ]
    assert refusals(plan(*many), Limits()) == []


def test_a_job_that_runs_again_after_its_end_does_not_count() -> None:
    many = [change(f"j{n}", Action.REPLACE, is_job=True) for n in range(11)]
    assert refusals(plan(*many), Limits()) == []


def test_revoked_keys_count_with_deletions() -> None:
    revoking = [updated(f"k{n}", REVOKED) for n in range(6)]
    deleting = [change(f"d{n}") for n in range(5)]
    *each, sentence = refusals(plan(*revoking, *deleting, *unchanged(90)), Limits())
    assert "deletes 5 objects and revokes 6 keys, 11 in all" in sentence
    assert len(each) == 6


def test_each_removed_member_counts_by_number() -> None:
    (sentence,) = refusals(plan(updated("s", removed(11), members=200), *unchanged(90)), Limits())
    assert "removes 11 members" in sentence
    assert "--allow-delete" in sentence


def test_members_are_a_share_of_all_members_and_objects() -> None:
    assert refusals(plan(updated("s", removed(3), members=10)), Limits()) == []
    (sentence,) = refusals(plan(updated("s", removed(4), members=10)), Limits())
    assert "removes 4 of 11" in sentence


def test_emptying_a_collection_is_refused_however_small_it_is() -> None:
    emptied = updated("s", removed(1, empties=True), members=1)
    (sentence,) = refusals(plan(emptied, *unchanged(90)), Limits())
    assert "--allow-delete Assistant/s" in sentence
    assert refusals(plan(emptied), Limits(), allowed=[emptied.address]) == []


def test_a_key_is_not_taken_away_unasked() -> None:
    losing = updated("a", REVOKED)
    (sentence,) = refusals(plan(losing), Limits())
    assert "pass --allow-delete ServiceAccount/a to allow that" in sentence.replace(
        str(losing.address), "ServiceAccount/a"
    )
    assert refusals(plan(losing), Limits(), allowed=[losing.address]) == []


def test_the_key_of_a_protected_object_is_not_revoked_unasked() -> None:
    protected = updated("a", REVOKED, prevent_destroy=True)
    (sentence,) = refusals(plan(protected), Limits())
    assert "protected by lifecycle.prevent_destroy" in sentence
    assert refusals(plan(protected), Limits(), allowed=[protected.address]) == []


def test_several_things_that_one_object_loses_count_once() -> None:
    access = Loss("stops calling a", Lost.ACCESS)
    assert (
        refusals(
            plan(*(updated(f"u{n}", access, access) for n in range(10)), *unchanged(90)), Limits()
        )
        == []
    )


def test_loosened_limits_do_not_count() -> None:
    raised = Loss("raises the limit", Lost.LIMIT)
    assert refusals(plan(*(updated(f"u{n}", raised) for n in range(20))), Limits()) == []


# --- refusals of the API


@pytest.mark.parametrize(
    ("action", "fields", "verb"),
    [
        (Action.UPDATE, (), "changed"),
        (Action.REPLACE, (), "replaced"),
        (Action.DELETE, (), "deleted"),
        (Action.FORGET, (FieldChange(("name",), "new", "old"),), "changed"),
    ],
)
def test_no_option_permits_a_change_that_the_api_refuses(
    action: Action, fields: tuple[FieldChange, ...], verb: str
) -> None:
    refused = change("a", action, refusal="it is the last owner", fields=fields)
    (sentence,) = refusals(plan(refused), Limits(), allowed=[refused.address])
    assert f"Assistant/a would be {verb}, but it is the last owner" in sentence


@pytest.mark.parametrize("action", [Action.NO_OP, Action.FORGET, Action.ADOPT])
def test_a_refusal_of_the_api_concerns_only_changes_that_write(action: Action) -> None:
    assert refusals(plan(change("a", action, refusal="it is the last owner")), Limits()) == []


# --- objects in an archived project

PROJECT = Address("Project", "search")


def archived(action: Action = Action.DELETE) -> Change:
    return Change(
        PROJECT,
        action,
        Reason.NOT_DECLARED,
        id="proj_1",
        removal=Removal.ARCHIVE,
        on_remove=OnRemove.DELETE.value,
    )


def inside(action: Action, reason: Reason = Reason.IN_SYNC, **more: object) -> Change:
    address = Address("Assistant", "bot", "search")
    return Change(address, action, reason, id="asst_1", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("staying", "why"),
    [
        (inside(Action.NO_OP), "which a manifest still declares"),
        (inside(Action.UPDATE), "which a manifest still declares"),
        (
            inside(Action.FORGET, Reason.WITH_PROJECT, prevent_destroy=True),
            "which is protected by lifecycle.prevent_destroy",
        ),
        (
            inside(Action.FORGET, Reason.RETAINED),
            "which is to be kept (lifecycle.on_remove)",
        ),
    ],
)
def test_an_object_that_stays_is_not_lost_with_its_project_unasked(
    staying: Change, why: str
) -> None:
    (sentence,) = refusals(plan(archived(), staying), Limits())
    assert sentence.startswith("Project/search would be archived, and Assistant/search/bot")
    assert why in sentence
    assert refusals(plan(archived(), staying), Limits(), allowed=[staying.address]) == []


@pytest.mark.parametrize(
    "leaving",
    [
        inside(Action.DELETE, Reason.NOT_DECLARED),
        inside(Action.FORGET, Reason.GONE, prevent_destroy=True),
        inside(Action.FORGET, Reason.WITH_PROJECT),
    ],
)
def test_an_object_that_leaves_with_its_project_is_no_obstacle(leaving: Change) -> None:
    assert refusals(plan(archived(), leaving), Limits()) == []


def test_an_allowed_project_still_takes_no_protected_object_with_it() -> None:
    protected = inside(Action.NO_OP, prevent_destroy=True)
    assert refusals(plan(archived(), protected), Limits(), allowed=[PROJECT])


# --- the key in use

WRITER = Address("ServiceAccount", "ci", "search")


def writer(action: Action, **more: object) -> Change:
    return Change(WRITER, action, Reason.CONFIG, id="sa_1", **more)  # type: ignore[arg-type]


def reached(name: str = "bot", action: Action = Action.NO_OP, **more: str) -> Change:
    address = Address("Assistant", name, "search")
    return Change(address, action, Reason.IN_SYNC, id=name, **{"scope": "project key", **more})  # type: ignore[arg-type]


def about_key(*changes: Change, allowed: Sequence[Address] = (), **more: bool) -> list[str]:
    key = KeyInUse(WRITER, "key", "the file a.key", **more)
    return refusals(plan(*changes), Limits(), allowed=allowed, keys={"search": key})


TAKEN_AWAY = FieldChange(("key",), {"write_to": {"file": "a.key"}}, None)
REVOKED_AT_ONCE = KeyStep("key", KeyAction.REVOKE, "old key will be revoked at once", "key_1")


@pytest.mark.parametrize(
    ("losing", "end"),
    [
        (writer(Action.DELETE), "would be deleted"),
        (writer(Action.UPDATE, fields=(TAKEN_AWAY,)), "would lose its key"),
    ],
)
def test_the_key_in_use_stays_as_long_as_an_object_needs_it(losing: Change, end: str) -> None:
    (sentence,) = about_key(losing, reached())
    assert sentence.startswith(f"ServiceAccount/search/ci {end}, and its key is the one in use")
    assert "(the file a.key) and Assistant/search/bot still needs it" in sentence
    assert about_key(losing, reached(), allowed=[WRITER]) == []


@pytest.mark.parametrize(
    "other",
    [
        reached(action=Action.DELETE),
        reached(action=Action.FORGET),
        reached(scope="organization"),
        Change(
            Address("Assistant", "x", "other"), Action.NO_OP, Reason.IN_SYNC, scope="project key"
        ),
    ],
)
def test_a_key_goes_together_with_the_last_object_that_it_opens(other: Change) -> None:
    assert about_key(writer(Action.DELETE), other) == []


@pytest.mark.parametrize(
    ("planned", "is_refused"),
    [
        (writer(Action.DELETE), True),
        (writer(Action.REPLACE), True),
        (writer(Action.UPDATE, keys=(REVOKED_AT_ONCE,)), True),
        (writer(Action.UPDATE), False),
        (writer(Action.NO_OP), False),
        (writer(Action.FORGET), False),
    ],
)
def test_a_key_that_cannot_be_read_again_must_stay_valid(planned: Change, is_refused: bool) -> None:
    assert bool(about_key(planned, is_read_again=False)) is is_refused


def test_a_key_that_is_read_again_may_be_replaced() -> None:
    assert about_key(writer(Action.REPLACE), reached()) == []


def test_a_key_that_is_still_to_be_delivered_is_not_in_use() -> None:
    assert about_key(writer(Action.DELETE), reached(), is_delivered=False) == []
