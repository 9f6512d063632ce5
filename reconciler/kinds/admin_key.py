"""Admin keys: keys for the organization's admin API.

The API returns a key once, in the response to the create call, and a key cannot be changed
afterwards. The value goes straight to its sink. The key that authenticates the current run is never
deleted or replaced.
"""

from __future__ import annotations

from reconciler.model.kind import IN_USE, Field, Kind, Mutability, Readable, ScopeType
from reconciler.model.types import Integer, KeySinkType, Text

KIND = Kind(
    name="AdminKey",
    doc="A key for the organization's admin API, delivered to the sink in `key`.",
    scope=ScopeType.ORGANIZATION,
    collection="/organization/admin_api_keys",
    # Names need not be unique, so an adoption by name needs exactly one match.
    natural_key=("name",),
    # The API does not tell which key sent a request. The redacted value, compared with the key of
    # this run, does.
    shows_key="redacted_value",
    read_only_when={(IN_USE, True): "this run authenticates with it"},
    destroys="the key stops working immediately",
    fields=(
        # There is no modify call for admin keys, so a change of any field creates another key.
        Field("name", Text(min_length=1), "The display name; need not be unique.", required=True,
              mutability=Mutability.REPLACES),
        Field(
            "expires_in_seconds",
            Integer(minimum=1, maximum=31_536_000),
            "How long the key is valid, counted from its creation. If omitted, the key never "
            "expires.",
            default=None,
            # Answers show `expires_at` instead of the lifetime.
            readable=Readable.NEVER,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "key",
            KeySinkType(shown_in="value", rotates=True),
            "Where to deliver the key, and when to rotate it. `write_to: {file: PATH}` writes it to "
            "a file in the stack's folder that only its owner can read; `write_to: {command: "
            "[PROGRAM, ARG…]}` passes it to a program on standard input. Another destination gets "
            "another key, and the earlier one stays valid until it is unused.",
            required=True,
            readable=Readable.NEVER,
        ),
    ),
    example="""\
kind: AdminKey
metadata:
  name: nightly
spec:
  name: nightly
  key:
    write_to:
      file: secrets/nightly.key
""",
)  # fmt: skip
