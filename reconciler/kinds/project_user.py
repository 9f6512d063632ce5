"""Project users: members of the organization in a project, with a role.

A person is identified by id or e-mail address; the API accepts either.
"""

from __future__ import annotations

from reconciler.kinds.user import EMAIL
from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import KEEP, Field, Kind, Mutability, ScopeType, Shape
from reconciler.model.types import Text
from reconciler.model.values import Spec


def _by_id(spec: Spec) -> Spec:
    """Answers show the address beside the id, so the id is enough."""
    if spec.get("user_id") is None or "email" not in spec:
        return spec
    return {name: value for name, value in spec.items() if name != "email"}


KIND = Kind(
    name="ProjectUser",
    doc=
        "A member of the organization in a project, with a role there. Do not also declare the "
        "same grant as a RoleAssignment.",
    scope=ScopeType.PROJECT,
    collection="/organization/projects/{project}/users",
    natural_key=("user_id",),
    other_keys=(("email",),),
    shapes=(Shape(("user_id",)), Shape(("email",))),
    # The API refuses to add a member twice ("already exists in project").
    unique=True,
    from_answer=_by_id,
    destroys="the person loses access to the project",
    # Roles, groups and SCIM also decide who is a member, under event types of their own.
    audit_events=("user.", "role.", "group.", "invite.accepted", "scim."),
    fields=(
        Field("user_id", Text(min_length=1), "The user id. Set either this or `email`. With both, the id counts.",
              reset=KEEP,
              mutability=Mutability.REPLACES, response_key="id"),
        Field("email", EMAIL, "The user's e-mail address. Set either this or `user_id`.", reset=KEEP,
              mutability=Mutability.REPLACES),
        Field("role", Text(choices=("owner", "member")), "The role in the project.", required=True,
              losses=(LossRule(When.FALLS, Lost.ACCESS, "lowers the role from {before} to {after}",
                               order=("member", "owner")),)),
    ),
    example="""\
kind: ProjectUser
metadata:
  name: ada
  project: search
spec:
  email: ada@example.com
  role: member
""",
)  # fmt: skip
