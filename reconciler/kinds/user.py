"""Users: the people of the organization.

Nobody can be created here: people accept invitations. So a user is bound by e-mail address, its role is managed, and
removing the declaration lets the person stay unless the manifest asks for more.
"""

from __future__ import annotations

from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import KEEP, Field, Kind, Mutability, OnRemove, ScopeType
from reconciler.model.types import Text

EMAIL = Text(min_length=3, pattern=r"^[^@\s]+@[^@\s]+$", fold=str.casefold)
"""An e-mail address; the API compares them without regard to case."""

SCIM = {("is_scim_managed", True): "it is managed by the identity provider, through SCIM"}

KIND = Kind(
    name="User",
    doc="A member of the organization, recognised by e-mail address. To bring somebody in, declare an Invite.",
    scope=ScopeType.ORGANIZATION,
    collection="/organization/users",
    natural_key=("email",),
    always_exists=True,
    on_remove=OnRemove.RETAIN,
    destroys="the person loses access to the organization",
    read_only_when=SCIM,
    held_for_removal=True,
    absent="Nobody can be made a member from here: declare kind Invite for the address to invite the person. If the "
    "person has left, remove this document.",
    min_one=("role", "owner"),
    audit_events=("user.", "role.", "invite.accepted", "scim."),
    fields=(
        Field("email", EMAIL, "The e-mail address that the person is a member with.", required=True,
              mutability=Mutability.REPLACES),
        Field("role", Text(choices=("owner", "reader")), "The role in the organization.", reset=KEEP,
              losses=(LossRule(When.FALLS, Lost.ACCESS, "lowers the role from {before} to {after}",
                               order=("reader", "owner")),)),
        Field("technical_level", Text(min_length=1), "How technical the person is, as free text.", default=None,
              nullable=True),
        Field("developer_persona", Text(min_length=1), "What the person does as a developer, as free text.",
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
