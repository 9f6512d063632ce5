"""Invites: "whoever reads this e-mail is a member".

What is declared is the membership. A user with the address satisfies it, and so does a pending invite; an invite that
ran out is sent again. An accepted invite is history: it cannot be taken back, and the person is a User from then on.
"""

from __future__ import annotations

from reconciler.kinds.user import EMAIL
from reconciler.model.kind import Field, Kind, Mutability, Readable, ScopeType, TerminalState
from reconciler.model.types import ListOf, Object, Property, Text

KIND = Kind(
    name="Invite",
    doc="That an e-mail address belongs to a member: an invitation is sent only where there is no such user.",
    scope=ScopeType.ORGANIZATION,
    collection="/organization/invites",
    natural_key=("email",),
    unique=True,
    made_unnecessary_by="User",
    terminal_states={("status", "accepted"): TerminalState.GONE, ("status", "expired"): TerminalState.REPLACE},
    destroys="the invitation cannot be accepted any more",
    own_audit_events=("invite.",),
    fields=(
        Field("email", EMAIL, "The e-mail address to invite.", required=True, mutability=Mutability.REPLACES),
        Field(
            "role",
            Text(choices=("reader", "owner")),
            "The role in the organization that the person will have.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "projects",
            ListOf(
                Object(
                    (
                        Property("id", Text(min_length=1), "The project.", required=True),
                        Property("role", Text(choices=("member", "owner")), "The role in it.", required=True),
                    )
                ),
                unordered=True,
            ),
            "The projects that the person will be in. Left out, the default project; an empty list is none.",
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
