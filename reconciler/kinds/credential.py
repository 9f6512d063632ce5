"""Credentials of a vault: what agents show to the servers that they call (beta).

The API is told the secrets and never shows them. A manifest names where each is read from; the state keeps digests, by
which a plan sees that one was rotated. Secrets change in place; to open something else takes another credential.
"""

from __future__ import annotations

from reconciler.kinds.parts import metadata
from reconciler.kinds.vault import NAME
from reconciler.model.kind import Field, Kind, Mutability, ScopeType
from reconciler.model.types import ListOf, Object, Property, SecretValueType, Tagged, Text

_URL = Text(pattern=r"^https://\S+$")
_SERVER = Property("mcp_server_url", _URL, "The MCP server that it opens, with https.", required=True)


def _secret(name: str, doc: str) -> Property:
    return Property(name, SecretValueType(), doc, required=True, in_place=True)


_CLIENT_SECRET = Object((_secret("client_secret", "The secret of the OAuth client."),))
_REFRESH = Object(
    (
        Property("client_id", Text(min_length=1), "The OAuth client that asks for new tokens.", required=True),
        _secret("refresh_token", "The refresh token."),
        Property("token_endpoint", _URL, "Where new tokens are asked for, with https.", required=True),
        Property(
            "token_endpoint_auth",
            Tagged({"none": Object(()), "client_secret_basic": _CLIENT_SECRET, "client_secret_post": _CLIENT_SECRET}),
            "How the client shows there who it is.",
            required=True,
        ),
        Property("resource", Text(min_length=1), "The resource that is named there.", default=None),
        Property("scope", Text(min_length=1), "The scopes that are asked for.", default=None, in_place=True),
    )
)
_NETWORKING = Tagged(
    {
        "unrestricted": Object(()),
        "limited": Object(
            (
                Property(
                    "allowed_hosts",
                    ListOf(
                        Text(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"),
                        min_items=1,
                        max_items=16,
                        unordered=True,
                    ),
                    "The hosts that may see the secret, in lower case.",
                    required=True,
                ),
            )
        ),
    }
)
_AUTH = Tagged(
    {
        "mcp_oauth": Object(
            (
                _SERVER,
                _secret("access_token", "The access token."),
                # It moves whenever the API refreshes the token, so what it shows is nobody's drift.
                Property(
                    "expires_at",
                    Text(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"),
                    "When the access token expires, such as 2030-01-31T12:00:00Z.",
                    default=None,
                    hidden=True,
                    in_place=True,
                ),
                Property("refresh", _REFRESH, "How new access tokens are had.", default=None),
            )
        ),
        "static_bearer": Object((_SERVER, _secret("token", "The bearer token."))),
        "environment_variable": Object(
            (
                Property(
                    "secret_name",
                    Text(pattern=r"^(?!CODEX_)[A-Za-z_][A-Za-z0-9_]*$"),
                    "The variable by which the sandbox names the secret, which it never sees.",
                    required=True,
                ),
                _secret("secret_value", "The secret, of one line."),
                Property("networking", _NETWORKING, "Where the secret is put in.", required=True),
            )
        ),
    }
)

KIND = Kind(
    name="Credential",
    doc="A credential in a vault: its secrets are read from where the manifest says, and sent (beta).",
    scope=ScopeType.PROJECT_KEY,
    collection="/vaults/{vault_id}/credentials",
    natural_key=("vault_id", "name"),
    list_query={"status": "active"},
    mark="metadata",
    beta="agents=v1",
    destroys="agents cannot reach what it opens any more",
    fields=(
        Field("vault_id", Text(min_length=1), "The vault.", required=True, mutability=Mutability.REPLACES),
        Field(
            "name",
            NAME,
            "The name people see. Left out, that of the resource.",
            defaults_to_name=True,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "auth",
            _AUTH,
            "What it opens, and the secrets for that: each as `{from_env: RECONCILER_SECRET_…}` or `{from_file: "
            "secrets/…}`. Secrets, scope and expiry change in place; anything else takes another credential.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
        Field("metadata", metadata(), "Up to 16 pairs; one of them is our mark.", default={}, reset={}),
    ),
    example="""\
kind: Credential
metadata:
  name: issues
spec:
  vault_id: ${Vault/tools}
  auth:
    type: static_bearer
    mcp_server_url: https://mcp.example.com/issues
    token: {from_file: secrets/issues.token}
""",
)
