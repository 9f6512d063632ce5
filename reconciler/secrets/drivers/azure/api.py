"""Calls to the REST API of Azure Key Vault for secrets, version 7.4."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from reconciler.errors import SinkError, SinkSetupError, UncertainDeliveryError
from reconciler.model.sinks import SinkContext
from reconciler.secrets.drivers.access_tokens import TokenCache
from reconciler.secrets.drivers.azure.credentials import access_token
from reconciler.secrets.http import SinkHttp, SinkResponse, error_message_in, fields_of
from reconciler.secrets.once import Once

VARIABLE = "AZURE_KEYVAULT_URL"
RECOVERY_SECONDS = 60.0
"""How long a deleted secret may take to be recovered; Azure says seconds."""
OK, FORBIDDEN, ABSENT, CONFLICT = 200, 403, 404, 409

_API = {"api-version": "7.4"}
_UNAUTHORIZED = 401
_PAUSE_SECONDS = 2.0
_MOST_PAGES = 1000


class Version(Struct, frozen=True):
    """A version of a secret as a list shows it."""

    id: str
    created: int
    """In unix seconds."""
    is_enabled: bool
    tags: dict[str, str]


class KeyVaultApi:
    """Secrets of one vault. Every method raises SinkError where Azure refuses or is away."""

    def __init__(self, context: SinkContext) -> None:
        self._context = context
        self._url = url = context.env.get(VARIABLE, "").strip()
        self._tokens = TokenCache(lambda: access_token(context, url), context.redactor)
        self._connection = Once[SinkHttp]()

    def get(self, target: Any, version: str = "") -> SinkResponse:
        """The answer with the newest or another version, whatever its status."""
        path = _path(target)
        if version:
            path += f"/{version}"
        return self._http().get(path, params=_API, headers=self._tokens.header())

    def deleted(self, target: Any) -> dict[str, Any] | None:
        """The deleted secret that still holds the name; None if there is none to be seen."""
        answer = self._http().get(
            f"deletedsecrets/{target['name']}", params=_API, headers=self._tokens.header()
        )
        # Vaults without soft-delete answer 400, and the permission for it may be missing.
        if answer.status != OK or not isinstance(answer.body, dict):
            return None
        return answer.body

    def set(self, target: Any, value: str, tags: dict[str, str]) -> str | None:
        """Set a new version, and return its id; None if a deleted secret holds the name."""
        body = {
            "value": value,
            "contentType": "text/plain",
            "attributes": {"enabled": True},
            "tags": tags,
        }
        answer = self._send("PUT", _path(target), body)
        # The name belongs to a deleted secret until that is purged or recovered.
        if answer.status == CONFLICT:
            return None
        # The version exists, but which one it is stays unknown.
        if answer.status == OK and not isinstance(answer.body, dict):
            raise UncertainDeliveryError(
                f"{named(target)}: Azure names no version", hint="try again"
            )
        self.require(answer, target, "set")
        return _id_of(answer.body)

    def delete(self, target: Any) -> None:
        """Delete the secret. Azure keeps it for a while, with its name."""
        answer = self._send("DELETE", _path(target))
        self.require(answer, target, "delete", also=(ABSENT,))

    def versions(self, target: Any) -> list[Version]:
        """All versions, newest first. Raises SinkError."""
        versions: list[Version] = []
        path = f"{_path(target)}/versions"
        params: dict[str, str] | None = {**_API, "maxresults": "25"}
        for _ in range(_MOST_PAGES):
            answer = self._http().get(path, params=params, headers=self._tokens.header())
            if answer.status == ABSENT:
                return []
            self.require(answer, target, "list the versions of")
            versions.extend(map(_version, answer.body.get("value") or ()))
            next_link = answer.body.get("nextLink")
            if not next_link:
                break
            # The link has parameters of its own.
            path, params = self._next(str(next_link)), None
        # Azure does not list versions by age.
        return sorted(versions, key=lambda version: version.created, reverse=True)

    def _next(self, link: str) -> str:
        """The path and query of the next page; the token goes to no other host."""
        vault = urlsplit(self._url)
        try:
            page = urlsplit(link)
        except ValueError:
            raise _elsewhere() from None
        if (page.scheme, page.hostname) != (vault.scheme, vault.hostname):
            raise _elsewhere()
        return f"{page.path}?{page.query}"

    def recover(self, target: Any) -> None:
        """Recover our own deleted secret, whose name Azure still holds."""
        answer = self._send("POST", f"deletedsecrets/{target['name']}/recover")
        self.require(answer, target, "recover", also=(ABSENT, CONFLICT))
        # Azure answers before the secret is back.
        waited = 0.0
        while not self.versions(target) and waited < RECOVERY_SECONDS:
            self._context.sleep(_PAUSE_SECONDS)
            waited += _PAUSE_SECONDS

    def disable(self, target: Any, version: Version) -> None:
        """Take a version from its readers."""
        path = f"{_path(target)}/{version.id}"
        answer = self._send("PATCH", path, {"attributes": {"enabled": False}})
        self.require(answer, target, "disable a version of", also=(ABSENT,))

    # --- requests

    def _http(self) -> SinkHttp:
        return self._connection.get(self._connect)

    def _connect(self) -> SinkHttp:
        if not self._url:
            raise SinkSetupError(
                f"the vault of Azure is not known: {VARIABLE} is not set",
                hint=f"set {VARIABLE} to its address, https://NAME.vault.azure.net",
            )
        client = self._context.connect(self._url, variable=VARIABLE)
        server = f"Azure Key Vault at {client.base_url.netloc.decode()}"
        return SinkHttp(client, self._context, server, message_of=error_message_in)

    def _send(self, method: str, path: str, body: Any = None) -> SinkResponse:
        http = self._http()
        return http.send(method, path, json_body=body, params=_API, headers=self._tokens.header())

    def require(
        self, answer: SinkResponse, target: Any, action: str, *, also: tuple[int, ...] = ()
    ) -> None:
        """Raise SinkError unless the answer is a success or has one of the statuses `also`."""
        if answer.status in also or (answer.status == OK and isinstance(answer.body, dict)):
            return
        explanation = self._http().explanation(answer)
        hint = "see what Azure says"
        if answer.status == _UNAUTHORIZED:
            hint = "renew the credentials of the environment, for the tenant of the vault"
        elif is_disabled(answer):
            hint = "enable the secret, or choose another name"
        elif answer.status == FORBIDDEN:
            hint = "grant the role Key Vault Secrets Officer, and open the vault's firewall"
        raise SinkError(
            f"Azure Key Vault refuses to {action} {named(target)} (status {answer.status}){explanation}",
            hint=hint,
        )


def _path(target: Any) -> str:
    return f"secrets/{target['name']}"


def named(target: Any) -> str:
    """A secret in a message."""
    return f'the secret "{target["name"]}" in Azure Key Vault'


def _id_of(shown: Any) -> str:
    return str(shown.get("id", "")).rpartition("/")[2]


def _version(shown: Any) -> Version:
    attributes = shown.get("attributes") or {}
    return Version(
        id=_id_of(shown),
        created=int(attributes.get("created", 0)),
        is_enabled=bool(attributes.get("enabled", True)),
        tags=dict(shown.get("tags") or {}),
    )


def is_disabled(answer: SinkResponse) -> bool:
    """Whether a secret is refused because it is disabled."""
    # The status is 403, as for a missing permission.
    error = fields_of(fields_of(answer.body).get("error"))
    return fields_of(error.get("innererror")).get("code") == "SecretDisabled"


def _elsewhere() -> SinkError:
    return SinkError("Azure Key Vault names a next page elsewhere", hint=f"check {VARIABLE}")
