"""Role assignments: which user or group has which role, in the organization or in one project.

A user inherits the roles of their groups. An inherited grant belongs to the group: it cannot be
removed from the user, and it does not satisfy a declaration for the user.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.kinds.parts import ROLE_ID
from reconciler.model.calls import Calls
from reconciler.model.kind import Field, Kind, Mutability, ScopeType, Shape
from reconciler.model.types import Text


def _is_direct(entry: Mapping[str, Any]) -> bool:
    """Whether the principal has the grant directly, not only by inheritance."""
    sources = entry.get("assignment_sources") or ()
    own = {entry.get("user_id"), entry.get("group_id")}
    return not sources or any(source.get("principal_id") in own for source in sources)


KIND = Kind(
    name="RoleAssignment",
    doc=
        "Assigns a role to a user or group, in the organization or, with metadata.project, in one "
        "project.",
    scope=ScopeType.EITHER,
    collection="/organization/users/{user_id}/roles",
    natural_key=("user_id", "role_id"),
    # Without custom roles, the list of a user shows only predefined roles, which the entry of the
    # user shows too.
    shown_with_parent={"user_id": "Role"},
    parent_sources={"user_id": ("User", "ProjectUser"), "group_id": ("Group", "ProjectGroup")},
    other_keys=(("group_id", "role_id"),),
    calls=Calls(
        also_at=(
            "/organization/groups/{group_id}/roles",
            "/projects/{project}/users/{user_id}/roles",
            "/projects/{project}/groups/{group_id}/roles",
        ),
        # An assignment has no id: the path ends with the id of the role.
        id_field="role_id",
        listed=_is_direct,
    ),
    shapes=(Shape(("user_id",)), Shape(("group_id",))),
    unique=True,
    readable_singly=False,
    page_limit=1000,
    destroys="the user or group loses the role's permissions",
    # An assignment can end with its role, user or group, under their event types.
    audit_events=("role.assignment.", "role.", "user.", "group.", "invite.accepted", "scim."),
    fields=(
        Field("user_id", Text(min_length=1), "The user to assign the role to. Set either this or `group_id`.",
              mutability=Mutability.REPLACES),
        Field("group_id", Text(min_length=1), "The group to assign the role to. Set either this or `user_id`.",
              mutability=Mutability.REPLACES),
        Field(
            "role_id",
            ROLE_ID,
            "The role: a reference to a Role, or the id of a predefined role such as "
            "`role-api-project-member`, with or without the scope suffix that the API adds.",
            required=True,
            mutability=Mutability.REPLACES,
            response_key="id",
        ),
    ),
    example="""\
kind: RoleAssignment
metadata:
  name: support-group-reader
spec:
  group_id: ${Group/support}
  role_id: ${Role/group-reader}
""",
)  # fmt: skip
