"""Keys of service accounts, besides the one that an account can come with: each with scopes and a lifetime of its own.

The API shows a key once, in the answer that makes it, and from there it goes into its sink. A key that never got there
is of no use to anybody, so it is replaced, and so is one whose time is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.model.calls import Calls
from reconciler.model.destruction import EVERYTHING, LossRule, Lost, When
from reconciler.model.kind import IN_USE, IS_OVER, KEEP, Field, Kind, Mutability, Readable, ScopeType, TerminalState
from reconciler.model.types import Integer, KeySinkType, ListOf, Text

HELD = {(IN_USE, True): "it is a key that this program is run with"}
OVER = {(IS_OVER, True): TerminalState.REPLACE}


def owned_by(key: Mapping[str, Any], type: str) -> bool | None:
    """Whether the owner of a key is of a type; None where the answer does not say."""
    owner = key.get("owner")
    found = owner.get("type") if isinstance(owner, Mapping) else None
    return None if found is None else bool(found == type)


SCOPES = Field(
    "scopes",
    ListOf(Text(min_length=1), unordered=True),
    "What the key may do, such as `api.all.read`; an empty list, or none, restricts nothing. The API does not show "
    "the scopes again, so a change by somebody else is not noticed.",
    default=[],
    reset=[],
    readable=Readable.NEVER,
    losses=(
        LossRule(When.LOSES, Lost.ACCESS, "takes {items} away from what the key may do", unset=EVERYTHING),
        LossRule(When.GAINS, Lost.LIMIT, "lets the key do {items} too", unset=EVERYTHING),
    ),
)
LIFETIME = Field(
    "expires_in_seconds",
    Integer(minimum=60),  # less would be over before anybody could read it
    "How long the key works, counted from the apply that sets or changes this. It can be changed, and not taken away.",
    reset=KEEP,
    readable=Readable.NEVER,
    losses=(
        LossRule(When.FALLS, Lost.ACCESS, "makes the key end {after} seconds from now, not {before}", unset=EVERYTHING),
        LossRule(When.RISES, Lost.LIMIT, "makes the key work for {after} seconds, not {before}", unset=EVERYTHING),
    ),
)

KIND = Kind(
    name="ServiceAccountKey",
    doc="A further key of a service account, delivered to a file or a command.",
    scope=ScopeType.PROJECT,
    collection="/organization/projects/{project}/api_keys",
    natural_key=("service_account_id", "name"),
    calls=Calls(
        create="POST /organization/projects/{project}/service_accounts/{service_account_id}/api_keys",
        listed=lambda key: owned_by(key, "service_account"),
    ),
    list_query={"owner_project_access": "any"},
    terminal_states=OVER,
    read_only_when=HELD,
    shows_key="redacted_value",
    destroys="the key stops working at once",
    fields=(
        Field(
            "service_account_id",
            Text(min_length=1),
            "The service account that the key is for.",
            required=True,
            mutability=Mutability.REPLACES,
            response_key="owner.service_account.id",
        ),
        Field(
            "name",
            Text(min_length=1),
            "The name people see. Left out, that of the resource.",
            defaults_to_name=True,
            mutability=Mutability.REPLACES,
        ),
        SCOPES,
        LIFETIME,
        Field(
            "key",
            KeySinkType(shown_in="value"),
            "Where the key is delivered: `write_to: {file: PATH}` or `write_to: {command: [PROGRAM, ARG…]}`. Another "
            "place takes another key.",
            required=True,
            readable=Readable.NEVER,
            mutability=Mutability.REPLACES,
        ),
    ),
    example="""\
kind: ServiceAccountKey
metadata:
  name: nightly
  project: search
spec:
  service_account_id: ${ServiceAccount/search/indexer}
  scopes: [api.all.read]
  expires_in_seconds: 7776000
  key:
    write_to:
      file: secrets/nightly.key
""",
)
