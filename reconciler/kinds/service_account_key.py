"""Additional keys for service accounts, each with its own scopes and lifetime.

The API returns a key once, in the response to the create call, and the value goes straight to its
sink. A key that was never delivered is useless, so it is replaced; so is an expired one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.model.calls import Calls
from reconciler.model.destruction import EVERYTHING, LossRule, Lost, When
from reconciler.model.kind import (
    IN_USE,
    IS_OVER,
    KEEP,
    Field,
    Kind,
    Mutability,
    Readable,
    ScopeType,
    TerminalState,
)
from reconciler.model.types import Integer, KeySinkType, ListOf, Text

HELD = {(IN_USE, True): "this run authenticates with it"}
OVER = {(IS_OVER, True): TerminalState.REPLACE}


def owned_by(key: Mapping[str, Any], type: str) -> bool | None:
    """Whether the owner of a key has a given type; None if the response does not say."""
    owner = key.get("owner")
    owner_type = owner.get("type") if isinstance(owner, Mapping) else None
    return None if owner_type is None else bool(owner_type == type)


SCOPES = Field(
    "scopes",
    ListOf(Text(min_length=1), unordered=True),
    "The scopes of the key, for example `api.all.read`; if empty or omitted, the key is "
    "unrestricted. The API does not return scopes, so drift cannot be detected.",
    default=[],
    reset=[],
    readable=Readable.NEVER,
    losses=(
        LossRule(
            When.LOSES, Lost.ACCESS, "removes {items} from the key's scopes", unset=EVERYTHING
        ),
        LossRule(When.GAINS, Lost.LIMIT, "adds {items} to the key's scopes", unset=EVERYTHING),
    ),
)
LIFETIME = Field(
    "expires_in_seconds",
    Integer(minimum=60),  # a shorter-lived key could expire before anybody reads it
    "How long the key is valid, counted from the apply that sets or changes the value. Can be changed but not removed.",
    # The update call accepts no null: a key that expires cannot be made permanent.
    reset=KEEP,
    readable=Readable.NEVER,
    losses=(
        LossRule(
            When.FALLS,
            Lost.ACCESS,
            "makes the key expire in {after} seconds instead of {before}",
            unset=EVERYTHING,
        ),
        LossRule(
            When.RISES,
            Lost.LIMIT,
            "makes the key valid for {after} seconds instead of {before}",
            unset=EVERYTHING,
        ),
    ),
)

KIND = Kind(
    name="ServiceAccountKey",
    doc="An additional key for a service account, delivered to the sink in `key`.",
    scope=ScopeType.PROJECT,
    collection="/organization/projects/{project}/api_keys",
    natural_key=("service_account_id", "name"),
    calls=Calls(
        # Keys are created below their account, and listed and deleted with all keys of the project.
        create="POST /organization/projects/{project}/service_accounts/{service_account_id}/api_keys",
        listed=lambda key: owned_by(key, "service_account"),
    ),
    # The default is a view by membership that hides some keys.
    list_query={"owner_project_access": "any"},
    terminal_states=OVER,
    read_only_when=HELD,
    shows_key="redacted_value",
    destroys="the key stops working immediately",
    fields=(
        Field(
            "service_account_id",
            Text(min_length=1),
            "The service account that owns the key.",
            required=True,
            mutability=Mutability.REPLACES,
            # Lists name the account only as the owner of the key.
            response_key="owner.service_account.id",
        ),
        Field(
            "name",
            Text(min_length=1),
            "The display name; defaults to the resource's name.",
            defaults_to_name=True,
            mutability=Mutability.REPLACES,
        ),
        SCOPES,
        LIFETIME,
        Field(
            "key",
            KeySinkType(shown_in="value", rotates=True),
            "Where to deliver the key, and when to rotate it: `write_to: {file: PATH}` or "
            "`write_to: {command: [PROGRAM, ARG…]}`. Another destination gets another key, and the "
            "earlier one stays valid until it is unused.",
            required=True,
            readable=Readable.NEVER,
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
