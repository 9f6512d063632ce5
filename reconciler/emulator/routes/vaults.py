"""Vaults and the credentials in them (beta). Secrets are accepted but never shown; only they can be changed.

Secrets are stored outside the body of a credential, so that no response can contain them.
"""

from __future__ import annotations

import re
from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.errors import bad_request
from reconciler.emulator.paging import page_of
from reconciler.emulator.routes.agents import BETA
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ObjectRow
from reconciler.emulator.validation import (
    Check,
    choice,
    fields,
    invalid_value,
    listed,
    metadata,
    nullable,
    tagged,
    text,
)

_MOST_NAME_BYTES = 256
_WORD = text(minimum=1)
_URL = text(pattern=r"https://\S+")
_TIME = text(pattern=r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_STATUSES = ("active", "archived")
_SECRETS = ("access_token", "token", "secret_value", "refresh_token", "client_secret")


def _name(value: Any, place: str) -> str:
    found: str = text()(value, place).strip()
    if not 1 <= len(found.encode("utf-8", "surrogatepass")) <= _MOST_NAME_BYTES:
        raise bad_request(
            f"Invalid '{place}': expected 1 to {_MOST_NAME_BYTES} bytes of UTF-8.", param=place
        )
    return found


def _secret(value: Any, place: str) -> str:
    found: str = _WORD(value, place)
    if re.search(r"[\r\n\0]", found):
        raise bad_request(f"Invalid '{place}': a secret has no line ends.", param=place)
    return found


def _hosts(value: Any, place: str) -> list[str]:
    sent = listed(text(pattern=r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?"), minimum=1, maximum=16)(
        value, place
    )
    hosts = [host.lower() for host in sent]
    if len(set(hosts)) < len(hosts):
        raise bad_request(f"Invalid '{place}': the hosts must be distinct.", param=place)
    return hosts


def _token_endpoint_auth(secret: Check) -> dict[str, Check]:
    return {
        kind: fields({"type": choice(kind), "client_secret": secret})
        for kind in ("client_secret_basic", "client_secret_post")
    }


_CREATE_AUTH = tagged(
    {
        "mcp_oauth": fields(
            {"type": choice("mcp_oauth"), "access_token": _secret, "mcp_server_url": _URL},
            {
                "expires_at": nullable(_TIME),
                "refresh": nullable(
                    fields(
                        {
                            "client_id": _WORD,
                            "refresh_token": _secret,
                            "token_endpoint": _URL,
                            "token_endpoint_auth": tagged(
                                {
                                    "none": fields({"type": choice("none")}),
                                    **_token_endpoint_auth(_secret),
                                }
                            ),
                        },
                        {"resource": nullable(_WORD), "scope": nullable(_WORD)},
                    )
                ),
            },
        ),
        "static_bearer": fields(
            {"type": choice("static_bearer"), "token": _secret, "mcp_server_url": _URL}
        ),
        "environment_variable": fields(
            {
                "type": choice("environment_variable"),
                "secret_name": text(pattern="(?!CODEX_)[A-Za-z_][A-Za-z0-9_]*"),
                "secret_value": _secret,
                "networking": tagged(
                    {
                        "unrestricted": fields({"type": choice("unrestricted")}),
                        "limited": fields({"type": choice("limited"), "allowed_hosts": _hosts}),
                    }
                ),
            }
        ),
    }
)
_ROTATED_CLIENT = tagged(_token_endpoint_auth(nullable(_secret)))
_ROTATE_AUTH = tagged(
    {
        "mcp_oauth": fields(
            {"type": choice("mcp_oauth")},
            {
                "access_token": nullable(_secret),
                "expires_at": nullable(_TIME),
                "refresh": nullable(
                    fields(
                        {},
                        {
                            "refresh_token": nullable(_secret),
                            "scope": nullable(_WORD),
                            "token_endpoint_auth": nullable(_ROTATED_CLIENT),
                        },
                    )
                ),
            },
        ),
        "static_bearer": fields({"type": choice("static_bearer"), "token": _secret}),
        "environment_variable": fields(
            {"type": choice("environment_variable"), "secret_value": _secret}
        ),
    }
)
_CREATE_VAULT = fields({}, {"name": _name, "metadata": nullable(metadata)})
_UPDATE_VAULT = fields({}, {"name": nullable(_name), "metadata": metadata})
_CREATE_CREDENTIAL = fields({"name": _name, "auth": _CREATE_AUTH}, {"metadata": metadata})
_UPDATE_CREDENTIAL = fields({}, {"auth": _ROTATE_AUTH, "metadata": metadata})


def list_vaults(call: Call) -> dict[str, Any]:
    return _listed(call, "vault", call.project_id)


def create_vault(call: Call) -> dict[str, Any]:
    sent = call.json(_CREATE_VAULT)
    body = {
        "id": ids.fresh("vault"),
        "object": "vault",
        "created_at": call.now,
        "name": sent.get("name"),
        "metadata": sent.get("metadata") or {},
    }
    return call.store.add("vault", call.project_id, body).body


def retrieve_vault(call: Call) -> dict[str, Any]:
    return _vault(call).body


def update_vault(call: Call) -> dict[str, Any]:
    vault = _vault(call)
    vault.body.update(call.json(_UPDATE_VAULT))
    call.store.changed(vault)
    return vault.body


def delete_vault(call: Call) -> dict[str, Any]:
    vault = _vault(call)
    for credential in list(call.store.collection("credential", vault.id).ordered()):
        call.store.remove(credential)
    return call.removed(vault, "vault.deleted")


def list_credentials(call: Call) -> dict[str, Any]:
    return _listed(call, "credential", _vault(call).id)


def create_credential(call: Call) -> dict[str, Any]:
    vault, sent = _vault(call), call.json(_CREATE_CREDENTIAL)
    body = {
        "id": ids.fresh("credential"),
        "object": "vault.credential",
        "created_at": call.now,
        "updated_at": call.now,
        "vault_id": vault.id,
        "name": sent["name"],
        "auth": _shown(sent["auth"]),
        "metadata": sent.get("metadata", {}),
    }
    return call.store.add("credential", vault.id, body, secrets=_secrets_of(sent["auth"])).body


def retrieve_credential(call: Call) -> dict[str, Any]:
    return _credential(call).body


def update_credential(call: Call) -> dict[str, Any]:
    credential, sent = _credential(call), call.json(_UPDATE_CREDENTIAL)
    if "auth" in sent:
        _rotate(credential, sent["auth"])
    if "metadata" in sent:
        credential.body["metadata"] = sent["metadata"]
    credential.body["updated_at"] = call.now
    call.store.changed(credential)
    return credential.body


def delete_credential(call: Call) -> dict[str, Any]:
    return call.removed(_credential(call), "vault.credential.deleted")


def _rotate(credential: ObjectRow, sent: dict[str, Any]) -> None:
    auth = credential.body["auth"]
    refresh, sent_refresh = auth.get("refresh"), sent.get("refresh") or {}
    client = sent_refresh.get("token_endpoint_auth")
    if sent["type"] != auth["type"]:
        raise bad_request(
            "Invalid 'auth.type': the type of a credential cannot be changed.", param="auth.type"
        )
    if (sent_refresh and not refresh) or (
        client and client["type"] != refresh["token_endpoint_auth"]["type"]
    ):
        raise bad_request(
            "Invalid 'auth.refresh': nothing of the kind was configured.", param="auth.refresh"
        )
    if sent.get("access_token") is not None:
        auth["expires_at"] = None
    if "expires_at" in sent:
        auth["expires_at"] = sent["expires_at"]
    if "scope" in sent_refresh:
        refresh["scope"] = sent_refresh["scope"]
    credential.hidden["secrets"].update(_secrets_of(sent))


def _shown(auth: dict[str, Any]) -> dict[str, Any]:
    """The visible fields of an authentication, without secrets; omitted fields are null."""
    shown = {name: value for name, value in auth.items() if name not in _SECRETS}
    if auth["type"] == "mcp_oauth":
        refresh = auth.get("refresh")
        shown |= {"expires_at": auth.get("expires_at"), "refresh": None}
        if refresh:
            rest = {name: value for name, value in refresh.items() if name not in _SECRETS}
            client = {"type": refresh["token_endpoint_auth"]["type"]}
            shown["refresh"] = {
                "resource": None,
                "scope": None,
                **rest,
                "token_endpoint_auth": client,
            }
    return shown


def _secrets_of(auth: dict[str, Any]) -> dict[str, str]:
    refresh = auth.get("refresh") or {}
    parts = (auth, refresh, refresh.get("token_endpoint_auth") or {})
    return {name: part[name] for part in parts for name in _SECRETS if part.get(name) is not None}


def _listed(call: Call, kind: str, scope: str) -> dict[str, Any]:
    wanted = {
        pair[9:-1]: value
        for pair, value in call.query.as_dict().items()
        if pair.startswith("metadata[")
    }
    statuses = call.query.all("status") or _STATUSES
    for status in statuses:
        if status not in _STATUSES:
            raise invalid_value(status, "status", _STATUSES)
    collection, page = call.store.collection(kind, scope), page_of(call.query, before=False)
    return call.list_answer(
        collection,
        page,
        keep=lambda one: "active" in statuses and wanted.items() <= one.body["metadata"].items(),
    )


def _vault(call: Call) -> ObjectRow:
    return call.path_record("vault", call.project_id, "vault_id", "No vault found with id '{id}'.")


def _credential(call: Call) -> ObjectRow:
    return call.path_record(
        "credential", _vault(call).id, "credential_id", "No credential found with id '{id}'."
    )


_ALL, _ONE = "/vaults", "/vaults/{vault_id}"
_CREDENTIALS, _CREDENTIAL = f"{_ONE}/credentials", f"{_ONE}/credentials/{{credential_id}}"
ROUTES = (
    Route("GET", _ALL, list_vaults, Access.PROJECT, beta=BETA),
    Route("POST", _ALL, create_vault, Access.PROJECT, beta=BETA),
    Route("GET", _ONE, retrieve_vault, Access.PROJECT, beta=BETA),
    Route("POST", _ONE, update_vault, Access.PROJECT, beta=BETA),
    Route("DELETE", _ONE, delete_vault, Access.PROJECT, beta=BETA),
    Route("GET", _CREDENTIALS, list_credentials, Access.PROJECT, beta=BETA),
    Route("POST", _CREDENTIALS, create_credential, Access.PROJECT, beta=BETA),
    Route("GET", _CREDENTIAL, retrieve_credential, Access.PROJECT, beta=BETA),
    Route("POST", _CREDENTIAL, update_credential, Access.PROJECT, beta=BETA),
    Route("DELETE", _CREDENTIAL, delete_credential, Access.PROJECT, beta=BETA),
)
