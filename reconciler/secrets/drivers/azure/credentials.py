"""Access tokens for Azure Key Vault, from the variables that Azure's own tools use, in their order.

A token in a variable, a client's secret, a federated token in a file (workload identity, CI), then
the managed identity of the machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from reconciler.errors import SinkError, SinkSetupError
from reconciler.model.secret import Secret
from reconciler.model.sinks import SinkContext
from reconciler.secrets.drivers import instance_metadata
from reconciler.secrets.drivers.access_tokens import AccessToken
from reconciler.secrets.http import SinkHttp, fields_of

_AUTHORITY_VARIABLE = "AZURE_AUTHORITY_HOST"
_AUTHORITY = "https://login.microsoftonline.com"
_MACHINE_VARIABLE = "AZURE_POD_IDENTITY_AUTHORITY_HOST"
_MACHINE = "http://169.254.169.254"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_CLOUDS = ("vault.azure.net", "vault.azure.cn", "vault.usgovcloudapi.net")
_HINT = (
    "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or run with a managed identity"
)
_OK = 200


def access_token(context: SinkContext, vault_url: str) -> AccessToken:
    """A token for a vault. Raises SinkError."""
    env = context.env
    if text := env.get("AZURE_ACCESS_TOKEN", "").strip():
        return AccessToken(text, None)
    resource = _resource_of(vault_url)
    if env.get("AZURE_TENANT_ID") and env.get("AZURE_CLIENT_ID"):
        if secret := env.get("AZURE_CLIENT_SECRET"):
            context.redactor.add(Secret(secret))
            return _token_of_client(context, resource, {"client_secret": secret})
        if file := env.get("AZURE_FEDERATED_TOKEN_FILE"):
            return _token_of_client(context, resource, _assertion(file, context))
    return _token_of_machine(context, resource)


def _resource_of(vault_url: str) -> str:
    # A token is for one cloud: the national ones have tokens and domains of their own.
    host = urlsplit(vault_url).hostname or ""
    cloud = next((cloud for cloud in _CLOUDS if host.endswith(f".{cloud}")), _CLOUDS[0])
    return f"https://{cloud}"


def _assertion(file: str, context: SinkContext) -> dict[str, str]:
    try:
        text = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise SinkSetupError(
            "the file of AZURE_FEDERATED_TOKEN_FILE cannot be read",
            hint="correct AZURE_FEDERATED_TOKEN_FILE",
        ) from None
    context.redactor.add(Secret(text))
    return {"client_assertion_type": _ASSERTION, "client_assertion": text}


def _token_of_client(context: SinkContext, resource: str, proof: dict[str, str]) -> AccessToken:
    env = context.env
    # Azure's tools take the variable with and without a scheme.
    authority = env.get(_AUTHORITY_VARIABLE) or _AUTHORITY
    if "://" not in authority:
        authority = f"https://{authority}"
    form = {
        "grant_type": "client_credentials",
        "client_id": env["AZURE_CLIENT_ID"],
        "scope": f"{resource}/.default",
        **proof,
    }
    content = "&".join(f"{name}={quote(value, safe='')}" for name, value in form.items())
    with context.connect(authority, variable=_AUTHORITY_VARIABLE) as client:
        http = SinkHttp(client, context, "Microsoft Entra ID", message_of=_message_of)
        answer = http.send(
            "POST",
            f"{quote(env['AZURE_TENANT_ID'], safe='')}/oauth2/v2.0/token",
            content=content.encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            is_write=False,
        )
        if answer.status != _OK:
            raise SinkError(
                f"Microsoft Entra ID gives no token (status {answer.status})"
                f"{http.explanation(answer)}",
                hint="correct AZURE_TENANT_ID, AZURE_CLIENT_ID and the client's secret or token",
            )
    return _token_in(answer.body)


def _token_of_machine(context: SinkContext, resource: str) -> AccessToken:
    env = context.env
    # A machine may have several identities, and the client id selects one.
    client: dict[str, str] = {}
    if env.get("AZURE_CLIENT_ID"):
        client["client_id"] = env["AZURE_CLIENT_ID"]
    # App Service and Container Apps have an endpoint of their own, with a secret header. Virtual
    # machines have the service at the link-local address.
    if env.get("IDENTITY_ENDPOINT") and env.get("IDENTITY_HEADER"):
        context.redactor.add(Secret(env["IDENTITY_HEADER"]))
        answer = instance_metadata.ask(
            env["IDENTITY_ENDPOINT"],
            variable="IDENTITY_ENDPOINT",
            params={"api-version": "2019-08-01", "resource": resource, **client},
            headers={"X-IDENTITY-HEADER": env["IDENTITY_HEADER"]},
        )
    else:
        host = (env.get(_MACHINE_VARIABLE) or _MACHINE).rstrip("/")
        answer = instance_metadata.ask(
            f"{host}/metadata/identity/oauth2/token",
            variable=_MACHINE_VARIABLE,
            params={"api-version": "2018-02-01", "resource": resource, **client},
            headers={"Metadata": "true"},
        )
    return _token_in(answer)


def _token_in(answer: Any) -> AccessToken:
    if not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
        raise SinkSetupError("there are no credentials for Azure Key Vault", hint=_HINT)
    # Entra ID sends a number, the metadata service a text.
    lifetime = str(answer.get("expires_in", "0"))
    # A token of unknown lifetime serves one request.
    seconds = 0.0
    if lifetime.isdigit():
        seconds = float(lifetime)
    return AccessToken(answer["access_token"], seconds)


def _message_of(body: Any) -> str:
    description = str(fields_of(body).get("error_description") or "")
    # The rest are ids of the request, and the time.
    return description.partition("Trace ID")[0].strip()
