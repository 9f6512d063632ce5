"""Admin keys: what opens the organization's own API.

The API shows a key once, in the answer that makes it, and changes nothing about it afterwards. It goes from there into
its sink. A key that this very run works with is never deleted or replaced.
"""

from __future__ import annotations

from reconciler.model.kind import IN_USE, Field, Kind, Mutability, Readable, ScopeType
from reconciler.model.types import Integer, KeySinkType, Text

KIND = Kind(
    name="AdminKey",
    doc="A key for the organization's admin API, delivered to where `key` says.",
    scope=ScopeType.ORGANIZATION,
    collection="/organization/admin_api_keys",
    natural_key=("name",),
    shows_key="redacted_value",
    read_only_when={(IN_USE, True): "it is a key that this run works with"},
    destroys="the key stops working at once",
    fields=(
        Field("name", Text(min_length=1), "The name people see, not unique at the API.", required=True,
              mutability=Mutability.REPLACES),
        Field(
            "expires_in_seconds",
            Integer(minimum=1, maximum=31_536_000),
            "How long the key works, counted from when it is made. Left out, for ever.",
            default=None,
            readable=Readable.NEVER,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "key",
            KeySinkType(shown_in="value"),
            "Where the key is delivered: `write_to: {file: PATH}` writes it to a file below the stack's folder that "
            "only its owner can read; `write_to: {command: [PROGRAM, ARG…]}` hands it to a program's standard input.",
            required=True,
            readable=Readable.NEVER,
            mutability=Mutability.REPLACES,
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
