"""Project groups: which group works in a project, and with which role.

The API takes the role when the group is added and never shows it again, so a change of role adds the group anew.
"""

from __future__ import annotations

from reconciler.kinds.parts import ROLE_ID
from reconciler.model.calls import Calls
from reconciler.model.kind import Field, Kind, Mutability, Readable, ScopeType
from reconciler.model.types import Text

KIND = Kind(
    name="ProjectGroup",
    doc="A group's access to a project. Do not declare the same grant as a RoleAssignment too.",
    scope=ScopeType.PROJECT,
    collection="/organization/projects/{project}/groups",
    natural_key=("group_id",),
    calls=Calls(id_field="group_id"),
    unique=True,
    destroys="the group's members lose access to the project",
    own_audit_events=("role.assignment.",),
    fields=(
        Field("group_id", Text(min_length=1), "The group.", required=True, mutability=Mutability.REPLACES),
        Field(
            "role",
            ROLE_ID,
            "The id of a project role: a custom one, or `role-api-project-member`, `role-api-project-owner`, "
            "`role-api-project-viewer`. The API does not show it again, so a role that somebody else changed is not "
            "noticed.",
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
