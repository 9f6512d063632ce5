"""Invites: memberships declared by e-mail address.

The declaration means "this address is a member". An existing user with the address or a pending
invite satisfies it; an expired invite is sent again. An accepted invite cannot be revoked: from
then on, the person is a User.
"""

from __future__ import annotations

from reconciler.kinds.user import EMAIL
from reconciler.model.kind import Field, Kind, Mutability, Readable, ScopeType, TerminalState
from reconciler.model.types import ListOf, Object, Property, Text

KIND = Kind(
    name="Invite",
    doc="Ensures that an e-mail address is a member; invites it if it is not.",
    scope=ScopeType.ORGANIZATION,
    collection="/organization/invites",
    natural_key=("email",),
    unique=True,
    # An accepted invitation becomes a user.
    made_unnecessary_by="User",
    terminal_states={
        ("status", "accepted"): TerminalState.GONE,
        ("status", "expired"): TerminalState.REPLACE,
    },
    destroys="the invitation can no longer be accepted",
    # Invitations expire without an event, so the log cannot show that a list is unchanged.
    own_audit_events=("invite.",),
    fields=(
        Field(
            "email",
            EMAIL,
            "The e-mail address to invite.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
        # There is no modify call: a change withdraws the invitation and sends another e-mail.
        Field(
            "role",
            Text(choices=("reader", "owner")),
            "The person's role in the organization.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "projects",
            ListOf(
                Object(
                    (
                        Property("id", Text(min_length=1), "The project.", required=True),
                        Property(
                            "role",
                            Text(choices=("member", "owner")),
                            "The person's role in the project.",
                            required=True,
                        ),
                    )
                ),
                unordered=True,
            ),
            "The projects that the person joins. Defaults to the default project; an empty list means none.",
            readable=Readable.SOMETIMES,
            mutability=Mutability.REPLACES,
        ),
    ),
    example="""\
kind: Invite
metadata:
  name: fay
spec:
  email: fay@example.com
  role: reader
  projects:
    - id: ${Project/search}
      role: member
""",
)
