"""Vault credentials: the secrets with which agents authenticate to the servers that they call
(beta).

The API accepts secrets and never returns them. A manifest names the source of each; the state keeps
digests, from which a plan detects a rotated secret. Secrets change in place; changing the target
replaces the credential.
"""

from __future__ import annotations

from reconciler.kinds.parts import metadata
from reconciler.kinds.vault import NAME
from reconciler.model.kind import Field, Kind, Mutability, ScopeType
from reconciler.model.types import ListOf, Object, Property, SecretValueType, Tagged, Text

_URL = Text(pattern=r"^https://\S+$")
_SERVER = Property(
    "mcp_server_url",
    _URL,
    "The https URL of the MCP server that the credential is for.",
    required=True,
)


def _secret(name: str, doc: str) -> Property:
    return Property(name, SecretValueType(), doc, required=True, in_place=True)


_CLIENT_SECRET = Object((_secret("client_secret", "The secret of the OAuth client."),))
_REFRESH = Object(
    (
        Property(
            "client_id",
            Text(min_length=1),
            "The OAuth client id used to refresh tokens.",
            required=True,
        ),
        _secret("refresh_token", "The refresh token."),
        Property("token_endpoint", _URL, "The https URL of the token endpoint.", required=True),
        Property(
            "token_endpoint_auth",
            Tagged(
                {
                    "none": Object(()),
                    "client_secret_basic": _CLIENT_SECRET,
                    "client_secret_post": _CLIENT_SECRET,
                }
            ),
            "How the client authenticates to the token endpoint.",
            required=True,
        ),
        Property(
            "resource",
            Text(min_length=1),
            "The resource indicator sent to the token endpoint.",
            default=None,
        ),
        Property(
            "scope", Text(min_length=1), "The scopes to request.", default=None, in_place=True
        ),
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
                    "The hosts that may receive the secret, in lower case.",
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
                # The API changes it whenever it refreshes the token, so a different value is not
                # drift.
                Property(
                    "expires_at",
                    Text(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"),
                    "When the access token expires, for example 2030-01-31T12:00:00Z.",
                    default=None,
                    hidden=True,
                    in_place=True,
                ),
                Property("refresh", _REFRESH, "How to refresh the access token.", default=None),
            )
        ),
        "static_bearer": Object((_SERVER, _secret("token", "The bearer token."))),
        "environment_variable": Object(
            (
                Property(
                    "secret_name",
                    Text(pattern=r"^(?!CODEX_)[A-Za-z_][A-Za-z0-9_]*$"),
                    "The variable that stands for the secret in the sandbox, which never sees its value.",
                    required=True,
                ),
                _secret("secret_value", "The secret, on a single line."),
                Property(
                    "networking",
                    _NETWORKING,
                    "Which outgoing requests may carry the secret.",
                    required=True,
                ),
            )
        ),
    }
)

KIND = Kind(
    name="Credential",
    doc="A credential in a vault. Its secrets are read from environment variables or files (beta).",
    scope=ScopeType.PROJECT_KEY,
    collection="/vaults/{vault_id}/credentials",
    natural_key=("vault_id", "name"),
    parent_sources={"vault_id": ("Vault",)},
    # Lists can also have credentials that are no longer active.
    list_query={"status": "active"},
    mark="metadata",
    beta="agents=v1",
    destroys="agents can no longer authenticate with it",
    fields=(
        Field(
            "vault_id",
            Text(min_length=1),
            "The vault.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "name",
            NAME,
            "The display name; defaults to the resource's name.",
            defaults_to_name=True,
            # The update call accepts secrets and metadata, and nothing else, not even a name.
            mutability=Mutability.REPLACES,
        ),
        Field(
            "auth",
            _AUTH,
            "The target and its secrets, each secret as `{from_env: RECONCILER_SECRET_…}` or "
            "`{from_file: secrets/…}`. Secrets, scope and expiry change in place; any other "
            "change replaces the credential.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "metadata",
            metadata(),
            "Up to 16 key-value pairs; reconciler uses one for its ownership mark.",
            default={},
            # An update replaces all metadata and keeps omitted metadata, so removal sends an empty
            # map.
            reset={},
        ),
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
