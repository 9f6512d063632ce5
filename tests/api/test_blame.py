"""Only entries of the audit log that can explain a change are blamed for it."""

from __future__ import annotations

import pytest

from reconciler.api.audit import Suspicion

CHANGED = Suspicion("x_1", "proj_1", deleted=False)
DELETED = Suspicion("x_1", "proj_1", deleted=True)


@pytest.mark.parametrize(
    ("suspicion", "type", "can_be"),
    [
        (CHANGED, "service_account.updated", True),
        (CHANGED, "service_account.created", False),
        (CHANGED, "service_account.deleted", False),
        (CHANGED, "user.added", False),
        (CHANGED, "invite.sent", False),
        (DELETED, "service_account.deleted", True),
        (DELETED, "service_account.updated", False),
        (DELETED, "service_account.created", False),
        (DELETED, "external_key.removed", True),
        (DELETED, "certificates.deactivated", True),
        (DELETED, "resource.deleted", True),
    ],
)
def test_an_entry_is_blamed_for_changes_that_its_type_can_make(
    suspicion: Suspicion, type: str, can_be: bool
) -> None:
    assert suspicion.fits(type, "x_1", "proj_1") is can_be


def test_a_reset_to_the_defaults_changes_an_object_that_exists_by_itself() -> None:
    limit = Suspicion("rl-1", "proj_1", deleted=False, types=("rate_limit.",), can_be_reset=True)
    assert limit.fits("rate_limit.deleted", "rl-1", "proj_1")


def test_an_entry_of_another_family_is_not_the_cause() -> None:
    user = Suspicion("user_1", None, deleted=False, types=("user.",))
    assert user.fits("user.updated", "user_1", None)
    assert not user.fits("role.assignment.updated", "user_1", None)


def test_removing_a_member_is_an_update_of_its_group() -> None:
    member = Suspicion("group_1", None, deleted=True, types=("group.updated",))
    assert member.fits("group.updated", "group_1", None)


@pytest.mark.parametrize(("project", "fits"), [("proj_1", True), (None, True), ("proj_2", False)])
def test_an_entry_of_another_project_is_not_the_cause(project: str | None, fits: bool) -> None:
    assert DELETED.fits("user.deleted", "x_1", project) is fits


def test_an_object_of_the_organization_is_found_whatever_project_its_entry_names() -> None:
    project = Suspicion("proj_1", None, deleted=True, types=("project.",))
    assert project.fits("project.archived", "proj_1", "proj_1")


@pytest.mark.parametrize("type", ["project.archived", "project.deleted"])
def test_the_end_of_a_project_is_blamed_for_the_end_of_its_objects(type: str) -> None:
    assert DELETED.fits(type, "proj_1", "proj_1")
    assert not CHANGED.fits(type, "proj_1", "proj_1")
    assert not DELETED.fits(type, "proj_2", "proj_2")
