"""Project groups: a group's access to a project, with a role.

The API accepts the role when the group is added and never returns it, so changing the role removes
the group and adds it again.
"""

from __future__ import annotations

from reconciler.kinds.parts import ROLE_ID
from reconciler.model.calls import Calls
from reconciler.model.kind import Field, Kind, Mutability, Readable, ScopeType
from reconciler.model.types import Text

KIND = Kind(
    name="ProjectGroup",
    doc="Gives a group access to a project. Do not also declare the same grant as a RoleAssignment.",
    scope=ScopeType.PROJECT,
    collection="/organization/projects/{project}/groups",
    natural_key=("group_id",),
    # The access of a group has no id: the path ends with the id of the group.
    calls=Calls(id_field="group_id"),
    unique=True,
    destroys="the group's members lose access to the project",
    # The log reports the access of a group as an assignment of its role.
    own_audit_events=("role.assignment.",),
    fields=(
        Field(
            "group_id",
            Text(min_length=1),
            "The group.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "role",
            ROLE_ID,
            "The id of a project role: a custom role, or `role-api-project-member`, "
            "`role-api-project-owner`, `role-api-project-viewer`. The API does not return it, so "
            "drift cannot be detected.",
            required=True,
            mutability=Mutability.REPLACES,
            readable=Readable.NEVER,
        ),
    ),
    example="""\
kind: ProjectGroup
metadata:
  name: support
  project: search
spec:
  group_id: ${Group/support}
  role: role-api-project-member
""",
)
