"""Roles: named sets of permissions, in the organization or in one project.

Assignments can refer to predefined roles by id, but predefined roles cannot be changed.
"""

from __future__ import annotations

from reconciler.model.calls import Calls
from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import Field, Kind, ScopeType
from reconciler.model.types import ListOf, Text

KIND = Kind(
    name="Role",
    doc="A set of permissions to assign to users and groups, in the organization or in one project.",
    scope=ScopeType.EITHER,
    collection="/organization/roles",
    natural_key=("role_name",),
    # Roles of a project are not below `/organization`, unlike its other objects.
    calls=Calls(also_at=("/projects/{project}/roles",)),
    page_limit=1000,
    # Lists contain the predefined roles, which cannot be changed.
    read_only_when={("predefined_role", True): "it is a predefined role"},
    destroys="users and groups with the role lose its permissions",
    audit_events=("role.",),
    fields=(
        Field(
            "role_name",
            Text(min_length=1),
            "The display name, unique among the roles of the organization or project.",
            required=True,
            # Requests say `role_name`, answers `name`.
            response_key="name",
        ),
        Field(
            "permissions",
            ListOf(Text(min_length=1), unordered=True),
            "The permissions, for example `api.groups.read`; may be empty.",
            required=True,
            default=[],
            losses=(
                LossRule(
                    When.LOSES, Lost.ACCESS, "removes {items} from users and groups with the role"
                ),
            ),
        ),
        Field("description", Text(), "A description of the role.", default=None, nullable=True),
    ),
    example="""\
kind: Role
metadata:
  name: group-reader
spec:
  role_name: Group reader
  description: May look up who is in which group.
  permissions: [api.groups.read]
""",
)
