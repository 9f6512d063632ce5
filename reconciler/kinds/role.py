"""Roles: named sets of permissions, of the organization or of one project.

Some roles are predefined. They can be referred to by id in assignments, and nobody can change them.
"""

from __future__ import annotations

from reconciler.model.calls import Calls
from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import Field, Kind, ScopeType
from reconciler.model.types import ListOf, Text

KIND = Kind(
    name="Role",
    doc="A set of permissions that users and groups are given, in the organization or in one project.",
    scope=ScopeType.EITHER,
    collection="/organization/roles",
    natural_key=("role_name",),
    calls=Calls(also_at=("/projects/{project}/roles",)),
    page_limit=1000,
    read_only_when={("predefined_role", True): "it is predefined: it is the same everywhere"},
    destroys="who has it loses what it allows",
    audit_events=("role.",),
    fields=(
        Field(
            "role_name",
            Text(min_length=1),
            "The name people see, unique among the roles of the organization or project.",
            required=True,
            response_key="name",
        ),
        Field(
            "permissions",
            ListOf(Text(min_length=1), unordered=True),
            "What the role allows, such as `api.groups.read`; a role may allow nothing.",
            required=True,
            default=[],
            losses=(LossRule(When.LOSES, Lost.ACCESS, "takes {items} away from whoever has the role"),),
        ),
        Field("description", Text(), "What the role is for.", default=None, nullable=True),
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
