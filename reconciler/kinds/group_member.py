"""Group members: one resource for each pair of group and user."""

from __future__ import annotations

from reconciler.model.calls import Calls
from reconciler.model.kind import Field, Kind, Mutability, ScopeType
from reconciler.model.types import Text

KIND = Kind(
    name="GroupMember",
    doc="A user's membership in a group.",
    scope=ScopeType.ORGANIZATION,
    collection="/organization/groups/{group_id}/users",
    natural_key=("group_id", "user_id"),
    parent_sources={"group_id": ("Group",)},
    # A membership has no id: the path ends with the id of the user.
    calls=Calls(id_field="user_id"),
    unique=True,
    readable_singly=False,
    page_limit=1000,
    # The log has no public event type for members, so every plan reads them. This is the type that
    # our own writes cause.
    own_audit_events=("group.updated",),
    fields=(
        Field(
            "group_id",
            Text(min_length=1),
            "The group.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "user_id",
            Text(min_length=1),
            "The user.",
            required=True,
            mutability=Mutability.REPLACES,
            response_key="id",
        ),
    ),
    example="""\
kind: GroupMember
metadata:
  name: support-ada
spec:
  group_id: ${Group/support}
  user_id: ${User/ada}
""",
)
