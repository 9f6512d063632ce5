"""Secrets of an Azure Key Vault, the one that the environment names.

A put sets a new version. Owner and token are tags of each version, so what is ours, and whether a
write without an answer arrived, is known from a list that shows no values. Versions cannot be
deleted one by one: a withdrawn one is disabled, and the secret is deleted with the newest.
"""

from __future__ import annotations

import re
import threading
from typing import Any, ClassVar
from urllib.parse import urlsplit

from msgspec import Struct

from reconciler.errors import SinkError, SinkSetupError, UncertainDeliveryError
from reconciler.model.secret import Secret
from reconciler.model.sinks import Receipt, SinkContext
from reconciler.model.types import Object, Property, Text, Type
from reconciler.secrets.drivers.access_tokens import TokenCache
from reconciler.secrets.drivers.azure.credentials import access_token
from reconciler.secrets.drivers.owners import OWNER, foreign_owner, is_ours, owner_tag
from reconciler.secrets.http import Answer, SinkHttp

VARIABLE = "AZURE_KEYVAULT_URL"
RECOVERY_SECONDS = 60.0
"""How long a deleted secret may take to be recovered; Azure says seconds."""

_API = {"api-version": "7.4"}
_NAME = r"^[0-9A-Za-z-]{1,127}$"
_TOKEN = "reconciler-token"  # noqa: S105 - the name of a tag
_OK, _UNAUTHORIZED, _FORBIDDEN, _ABSENT, _CONFLICT = 200, 401, 403, 404, 409
_PAUSE_SECONDS = 2.0
_MOST_PAGES = 1000


class _Version(Struct, frozen=True):
    """A version of a secret as a list shows it."""

    id: str
    created: int
    """In unix seconds."""
    is_enabled: bool
    tags: dict[str, str]


class KeyVaultSink:
    """Secrets of one vault."""

    name: ClassVar[str] = "azure_key_vault"
    description: ClassVar[str] = "A secret of Azure Key Vault, in the vault of the environment."
    type: ClassVar[Type] = Object(
        (Property("name", Text(pattern=_NAME), "The name of the secret.", required=True),)
    )
    keeps_versions: ClassVar[bool] = True
    reads_back: ClassVar[bool] = True

    def __init__(self, context: SinkContext) -> None:
        self._context = context
        self._url = url = context.env.get(VARIABLE, "").strip()
        self._tokens = TokenCache(lambda: access_token(context, url), context.redactor)
        self._lock = threading.Lock()
        self._connection: SinkHttp | None = None
        self._replaced: dict[str, str] = {}
        """The version before, for each token that this run put."""

    @staticmethod
    def place(target: Any) -> str:
        """`azure_key_vault:NAME`, in lower case: vaults do not tell capitals apart."""
        name = str(target["name"])
        if not re.fullmatch(_NAME, name):
            raise ValueError(f'"{name}" is not the name of a secret in Azure Key Vault')
        return f"azure_key_vault:{name.lower()}"

    def check(self, target: Any, *, owner: str) -> None:
        """Raise SinkError if the versions cannot be listed, or are not ours."""
        versions = self._versions(target)
        self._require_ours(target, versions, owner)
        if not versions:
            self._require_free(target, owner)

    def put(self, target: Any, secret: Secret, *, owner: str, token: str) -> Receipt:
        """Set a new version."""
        versions = self._versions(target)
        self._require_ours(target, versions, owner)
        try:
            version = self._set(target, secret, owner, token)
        except UncertainDeliveryError:
            version = self._arrived(target, token)
            if not version:
                raise
        if versions and versions[0].is_enabled and versions[0].tags.get(_TOKEN) != token:
            self._replaced[token] = versions[0].id
        return {"version": version, "token": token}

    def read(self, target: Any, *, owner: str) -> Secret | None:
        """The newest version, if it is ours."""
        answer = self._get(target)
        if answer.status == _ABSENT or _is_disabled(answer):
            return None
        self._require(answer, target, "read")
        if not self._is_ours(target, answer.body.get("tags") or {}, owner):
            return None
        return Secret(str(answer.body["value"]))

    def fetch(self, target: Any) -> Secret | None:
        """The newest version, whoever put it there; None if there is none. Raises SinkError."""
        answer = self._get(target)
        if answer.status == _ABSENT:
            return None
        self._require(answer, target, "read")
        return Secret(str(answer.body["value"]))

    def withdraw(self, target: Any, receipt: Receipt, *, owner: str) -> None:
        """Delete the secret if its newest version is the receipt's, else disable that version."""
        versions = self._versions(target)
        if not versions:
            return
        token, newest = receipt.get("token"), versions[0].tags.get(_TOKEN)
        if newest != token and token is not None:
            self._disable_all(target, versions, token)
            return
        if not self._is_ours(target, versions[0].tags, owner):
            return
        before = self._before(target, receipt, owner)
        if not receipt and before == versions[0].id:
            return
        if any(version.id == before and version.is_enabled for version in versions):
            self._put_back(target, str(before), versions, str(newest))
            return
        answer = self._send("DELETE", _path(target))
        self._require(answer, target, "delete", also=(_ABSENT,))

    def _before(self, target: Any, receipt: Receipt, owner: str) -> str | None:
        """The version whose key is valid without that of the receipt.

        A put of this run is taken back where another sink refused the key, and an interrupted one
        left the key of the state's receipt valid.
        """
        if receipt:
            return self._replaced.get(str(receipt.get("token")))
        recorded = self._context.receipt(self.place(target), owner) or {}
        return recorded.get("version")

    # --- facts

    def _versions(self, target: Any) -> list[_Version]:
        """All versions, newest first. Raises SinkError."""
        found: list[_Version] = []
        path = f"{_path(target)}/versions"
        params: dict[str, str] | None = {**_API, "maxresults": "25"}
        for _ in range(_MOST_PAGES):
            answer = self._http().get(path, params=params, headers=self._tokens.header())
            if answer.status == _ABSENT:
                return []
            self._require(answer, target, "list the versions of")
            found.extend(map(_version, answer.body.get("value") or ()))
            following = answer.body.get("nextLink")
            if not following:
                break
            path, params = self._next(str(following)), None  # the link has its own
        return sorted(found, key=lambda version: version.created, reverse=True)

    def _next(self, link: str) -> str:
        """The path and query of the next page; the token goes to no other host."""
        mine, theirs = urlsplit(self._url), urlsplit(link)
        if (theirs.scheme, theirs.hostname) != (mine.scheme, mine.hostname):
            raise SinkError("Azure Key Vault names a next page elsewhere", hint=f"check {VARIABLE}")
        return f"{theirs.path}?{theirs.query}"

    def _require_ours(self, target: Any, versions: list[_Version], owner: str) -> None:
        # Times are whole seconds: what was made in the same one may be the newest.
        newest = [version for version in versions if version.created == versions[0].created]
        for version in newest:
            if not self._is_ours(target, version.tags, owner):
                raise SinkError(
                    f"{_named(target)} {foreign_owner(version.tags.get(OWNER))}",
                    hint="choose another name, or remove the secret",
                )

    def _is_ours(self, target: Any, tags: dict[str, str], owner: str) -> bool:
        receipt = self._context.receipt(self.place(target), owner) or {}
        is_recorded = _TOKEN in tags and receipt.get("token") == tags[_TOKEN]
        return is_ours(tags.get(OWNER), owner, is_recorded=is_recorded)

    def _require_free(self, target: Any, owner: str) -> None:
        """Raise SinkError if somebody else's deleted secret still holds the name."""
        answer = self._http().get(
            f"deletedsecrets/{target['name']}", params=_API, headers=self._tokens.header()
        )
        # Vaults without soft-delete answer 400, and the permission for it may be missing.
        if answer.status != _OK or not isinstance(answer.body, dict):
            return
        deleted_owner = (answer.body.get("tags") or {}).get(OWNER)
        if not is_ours(deleted_owner, owner, is_recorded=False):
            raise SinkError(
                f"{_named(target)} was deleted, can still be recovered, and "
                f"{foreign_owner(deleted_owner)}",
                hint="choose another name, or purge the deleted secret",
            )

    def _arrived(self, target: Any, token: str) -> str:
        """The version that an unanswered write made; empty if there is none."""
        try:
            versions = self._versions(target)
        except SinkError:
            return ""
        return next((one.id for one in versions if one.tags.get(_TOKEN) == token), "")

    # --- writes

    def _set(self, target: Any, secret: Secret, owner: str, token: str) -> str:
        body = {
            "value": secret.reveal(),
            "contentType": "text/plain",
            "attributes": {"enabled": True},
            "tags": {OWNER: owner_tag(owner), _TOKEN: token},
        }
        answer = self._send("PUT", _path(target), body)
        if answer.status == _CONFLICT:
            self._require_free(target, owner)
            self._recover(target)
            answer = self._send("PUT", _path(target), body)
        self._require(answer, target, "set")
        return _id_of(answer.body)

    def _recover(self, target: Any) -> None:
        """Recover our own deleted secret, whose name Azure still holds."""
        answer = self._send("POST", f"deletedsecrets/{target['name']}/recover")
        self._require(answer, target, "recover", also=(_ABSENT, _CONFLICT))
        waited = 0.0
        while not self._versions(target) and waited < RECOVERY_SECONDS:
            self._context.sleep(_PAUSE_SECONDS)
            waited += _PAUSE_SECONDS

    def _disable_all(self, target: Any, versions: list[_Version], token: str) -> None:
        """Disable the versions with the key of a token."""
        for version in versions:
            if version.tags.get(_TOKEN) == token and version.is_enabled:
                self._disable(target, version)

    def _disable(self, target: Any, version: _Version) -> None:
        path = f"{_path(target)}/{version.id}"
        answer = self._send("PATCH", path, {"attributes": {"enabled": False}})
        self._require(answer, target, "disable a version of", also=(_ABSENT,))

    def _put_back(self, target: Any, before: str, versions: list[_Version], token: str) -> None:
        """Set the version before again: readers get the newest, even where it is disabled."""
        answer = self._http().get(
            f"{_path(target)}/{before}", params=_API, headers=self._tokens.header()
        )
        self._require(answer, target, "read")
        tags = answer.body.get("tags") or {}
        body = {
            "value": answer.body["value"],
            "contentType": "text/plain",
            "attributes": {"enabled": True},
            "tags": tags,
        }
        self._require(self._send("PUT", _path(target), body), target, "set")
        self._disable_all(target, versions, token)

    # --- requests

    def _http(self) -> SinkHttp:
        with self._lock:
            if self._connection is None:
                if not self._url:
                    raise SinkSetupError(
                        f"the vault of Azure is not known: {VARIABLE} is not set",
                        hint=f"set {VARIABLE} to its address, https://NAME.vault.azure.net",
                    )
                client = self._context.connect(self._url, variable=VARIABLE)
                self._connection = SinkHttp(
                    client,
                    self._context,
                    f"Azure Key Vault at {client.base_url.netloc.decode()}",
                    message_of=_message_of,
                )
            return self._connection

    def _get(self, target: Any) -> Answer:
        return self._http().get(_path(target), params=_API, headers=self._tokens.header())

    def _send(self, method: str, path: str, body: Any = None) -> Answer:
        http = self._http()
        return http.send(method, path, json_body=body, params=_API, headers=self._tokens.header())

    def _require(
        self, answer: Answer, target: Any, action: str, *, also: tuple[int, ...] = ()
    ) -> None:
        """Raise SinkError unless the answer is a success or has one of the statuses `also`."""
        if answer.status in also or (answer.status == _OK and isinstance(answer.body, dict)):
            return
        said = self._http().explanation(answer)
        hint = "see what Azure says"
        if answer.status == _UNAUTHORIZED:
            hint = "renew the credentials of the environment, for the tenant of the vault"
        elif _is_disabled(answer):
            hint = "enable the secret, or choose another name"
        elif answer.status == _FORBIDDEN:
            hint = "grant the role Key Vault Secrets Officer, and open the vault's firewall"
        raise SinkError(
            f"Azure Key Vault refuses to {action} {_named(target)} (status {answer.status}){said}",
            hint=hint,
        )


def _path(target: Any) -> str:
    return f"secrets/{target['name']}"


def _named(target: Any) -> str:
    return f'the secret "{target["name"]}" in Azure Key Vault'


def _id_of(shown: Any) -> str:
    return str(shown.get("id", "")).rpartition("/")[2]


def _version(shown: Any) -> _Version:
    attributes = shown.get("attributes") or {}
    return _Version(
        id=_id_of(shown),
        created=int(attributes.get("created", 0)),
        is_enabled=bool(attributes.get("enabled", True)),
        tags=dict(shown.get("tags") or {}),
    )


def _is_disabled(answer: Answer) -> bool:
    error = answer.body.get("error") if isinstance(answer.body, dict) else None
    inner = error.get("innererror") if isinstance(error, dict) else None
    return isinstance(inner, dict) and inner.get("code") == "SecretDisabled"


def _message_of(body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    return str(error.get("message", "")) if isinstance(error, dict) else ""
