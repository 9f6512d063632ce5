"""Service accounts: a project's machine identities.

The API returns a key once, in the response to the call that created it. The value goes only to the
sink that the manifest names; the state records the id of the key and the sink.
"""

from __future__ import annotations

from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import KEEP, Field, Kind, Mutability, Readable, ScopeType
from reconciler.model.types import KeySinkType, Text

ROLES = ("none", "member", "owner")
"""The roles of an account in a project, from least to most privileged; only the last two can be
set.
"""

KIND = Kind(
    name="ServiceAccount",
    doc="A machine identity in a project. It gets a key only if `key` names a sink for it.",
    scope=ScopeType.PROJECT,
    collection="/organization/projects/{project}/service_accounts",
    # Names are not unique, and accounts have no metadata for a mark.
    natural_key=("name",),
    destroys="its keys stop working immediately",
    # Changes of custom roles can change the permissions of an account without an entry about it.
    audit_events=("service_account.", "role."),
    fields=(
        Field(
            "name",
            Text(min_length=1),
            "The display name; need not be unique. Defaults to the resource's name.",
            defaults_to_name=True,
        ),
        Field(
            "role",
            Text(choices=("member", "owner")),
            "The account's role in the project. If omitted, an account with a key is a member, "
            "and one without a key has no role.",
            # Answers can contain `none`, which no call accepts: a role can be changed but not
            # removed.
            reset=KEEP,
            # The create call accepts no role, so an update sends it right after.
            on_create=False,
            losses=(
                LossRule(
                    When.FALLS, Lost.ACCESS, "lowers its role from {before} to {after}", order=ROLES
                ),
            ),
        ),
        Field(
            "key",
            KeySinkType(listed_as="ServiceAccountKey", rotates=True),
            "Where to deliver the account's key, and when to rotate it. `write_to: {file: PATH}` "
            "writes it to a file in the stack's folder that only its owner can read; `write_to: "
            "{command: [PROGRAM, ARG…]}` passes it to a program on standard input. Another "
            "destination gets another key, and the earlier one stays valid until it is unused. If "
            "the field is omitted, no key is created; removing it later revokes the keys that "
            "reconciler created.",
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
