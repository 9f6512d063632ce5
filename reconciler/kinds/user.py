"""Users: members of the organization.

The API cannot create users: people accept invitations. A declared user is bound by e-mail address
and its role is managed. The person stays a member when the declaration is removed, unless the
manifest says otherwise.
"""

from __future__ import annotations

from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import KEEP, Field, Kind, Mutability, OnRemove, ScopeType
from reconciler.model.types import Text

EMAIL = Text(min_length=3, pattern=r"^[^@\s]+@[^@\s]+$", fold=str.casefold)
"""An e-mail address; the API compares addresses case-insensitively."""

SCIM = {("is_scim_managed", True): "it is managed by the identity provider through SCIM"}

KIND = Kind(
    name="User",
    doc=
        "A member of the organization, identified by e-mail address. To add a person, declare an "
        "Invite.",
    scope=ScopeType.ORGANIZATION,
    collection="/organization/users",
    natural_key=("email",),
    always_exists=True,
    on_remove=OnRemove.RETAIN,
    destroys="the person loses access to the organization",
    read_only_when=SCIM,
    # The API lets an admin change the role of a person managed through SCIM, but only the directory
    # service removes the person.
    held_for_removal=True,
    absent=
        "Users cannot be created. To invite the person, declare kind Invite for the address. If "
        "the person has left, remove this document.",
    # Without an owner, nobody could manage the organization.
    min_one=("role", "owner"),
    # Accepted invitations and SCIM change who is a member, under event types of their own.
    audit_events=("user.", "role.", "invite.accepted", "scim."),
    fields=(
        Field("email", EMAIL, "The member's e-mail address.", required=True,
              mutability=Mutability.REPLACES),
        Field("role", Text(choices=("owner", "reader")), "The role in the organization.", reset=KEEP,
              losses=(LossRule(When.FALLS, Lost.ACCESS, "lowers the role from {before} to {after}",
                               order=("reader", "owner")),)),
        Field("technical_level", Text(min_length=1), "The person's technical level, as free text.", default=None,
              nullable=True),
        Field("developer_persona", Text(min_length=1), "The person's role as a developer, as free text.",
              default=None, nullable=True),
    ),
    example="""\
kind: User
metadata:
  name: ada
spec:
  email: ada@example.com
  role: owner
""",
)  # fmt: skip
