"""Service accounts: a project's machine identities.

The API shows a key once, in the answer to the call that made it. It goes from there into the sink that the manifest
names and nowhere else; the state remembers the key's id and the sink.
"""

from __future__ import annotations

from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import KEEP, Field, Kind, Mutability, Readable, ScopeType
from reconciler.model.types import KeySinkType, Text

ROLES = ("none", "member", "owner")
"""The roles of an account in a project, from the least to the most; only the last two can be set."""

KIND = Kind(
    name="ServiceAccount",
    doc="A machine identity of a project, with a key only where `key` says where to put it.",
    scope=ScopeType.PROJECT,
    collection="/organization/projects/{project}/service_accounts",
    natural_key=("name",),
    destroys="its keys stop working at once",
    audit_events=("service_account.", "role."),
    fields=(
        Field(
            "name",
            Text(min_length=1),
            "The name people see, not unique at the API. Left out, that of the resource.",
            defaults_to_name=True,
        ),
        Field(
            "role",
            Text(choices=("member", "owner")),
            "The account's role in the project. Left out, an account with a key is a member and one without a key "
            "has no role.",
            reset=KEEP,
            on_create=False,
            losses=(LossRule(When.FALLS, Lost.ACCESS, "lowers its role from {before} to {after}", order=ROLES),),
        ),
        Field(
            "key",
            KeySinkType(),
            "Where the account's key is delivered: `write_to: {file: PATH}` writes it to a file below the stack's "
            "folder that only its owner can read; `write_to: {command: [PROGRAM, ARG…]}` hands it to a program's "
            "standard input. Left out, the account has no key of ours; taken away later, our key is deleted.",
            default=None,
            readable=Readable.NEVER,
            mutability=Mutability.IN_PLACE,
        ),
    ),
    example="""\
kind: ServiceAccount
metadata:
  name: indexer
  project: search
spec:
  role: member
  key:
    write_to:
      file: secrets/indexer.key
""",
)
