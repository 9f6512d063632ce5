"""Role assignments: which user or group has which role, in the organization or in one project.

A user also has the roles of the groups that they are in. Such a grant is the group's: it is neither ours to remove from
the user nor enough to satisfy a declaration for the user alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.kinds.parts import ROLE_ID
from reconciler.model.calls import Calls
from reconciler.model.kind import Field, Kind, Mutability, ScopeType, Shape
from reconciler.model.types import Text


def _is_direct(item: Mapping[str, Any]) -> bool:
    """Whether a grant is (also) the principal's own, and not only inherited."""
    sources = item.get("assignment_sources") or ()
    own = {item.get("user_id"), item.get("group_id")}
    return not sources or any(source.get("principal_id") in own for source in sources)


KIND = Kind(
    name="RoleAssignment",
    doc="A role of a user or of a group, in the organization or, with metadata.project, in one project.",
    scope=ScopeType.EITHER,
    collection="/organization/users/{user_id}/roles",
    natural_key=("user_id", "role_id"),
    other_keys=(("group_id", "role_id"),),
    calls=Calls(
        also_at=(
            "/organization/groups/{group_id}/roles",
            "/projects/{project}/users/{user_id}/roles",
            "/projects/{project}/groups/{group_id}/roles",
        ),
        id_field="role_id",
        listed=_is_direct,
    ),
    shapes=(Shape(("user_id",)), Shape(("group_id",))),
    unique=True,
    readable_singly=False,
    page_limit=1000,
    destroys="the user or group loses what the role allows",
    audit_events=("role.assignment.", "role.", "user.", "group.", "invite.accepted", "scim."),
    fields=(
        Field("user_id", Text(min_length=1), "The user who has the role; either this or group_id.",
              mutability=Mutability.REPLACES),
        Field("group_id", Text(min_length=1), "The group whose members have the role; either this or user_id.",
              mutability=Mutability.REPLACES),
        Field(
            "role_id",
            ROLE_ID,
            "The role: a reference to a Role, or the id of a predefined one such as `role-api-project-member`, with or "
            "without the scope that the API lists behind it.",
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
