"""A fake of Azure: Key Vault, Microsoft Entra ID's token endpoint and the managed identity.

It follows the REST reference of Key Vault secrets 7.4: without a token it challenges, unknown fields
are refused, deleted secrets keep their names until they are purged, and a recovery takes a moment.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from tests.servers.fakes import Call, FakeService, Refusal

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
CLIENT = "4a1b8e5c-0000-4000-8000-3f2b6a9c1d2e"
CLIENT_SECRET = "~the.secret-of/the+client="
FEDERATED_TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJyZXBvOmFjbWUifQ.c2lnbmF0dXJl"
RESOURCE = "https://vault.azure.net"
_API_VERSIONS = {"7.4", "7.5", "7.6", "2025-07-01"}
_MAX_TAGS, _MAX_TAG, _MAX_VALUE = 15, 256, 25_600
_RECOVERY_READS = 2


def refused(status: int, code: str, message: str = "no", inner: str = "") -> Refusal:
    error: dict[str, Any] = {"code": code, "message": message}
    return Refusal(status, {"error": error | ({"innererror": {"code": inner}} if inner else {})})


@dataclass
class Version:
    id: str
    value: str
    tags: dict[str, str]
    content_type: str
    created: int
    is_enabled: bool = True


@dataclass
class HeldSecret:
    versions: list[Version] = field(default_factory=list)
    reads_until_back: int = 0


class FakeAzure(FakeService):
    """The secrets of one vault, by name in lower case, and those that are deleted."""

    def __init__(self) -> None:
        self.secrets: dict[str, HeldSecret] = {}
        self.deleted: dict[str, HeldSecret] = {}
        self.tokens: set[str] = set()
        self._made = 0
        super().__init__()

    # --- what tests ask

    def place(self, name: str) -> str | None:
        """What a reader gets; None if that is nothing."""
        held = self.secrets.get(name.lower())
        if held is None or not held.versions[-1].is_enabled:
            return None
        return held.versions[-1].value

    def readable(self, name: str) -> list[str]:
        """All versions that can be read, oldest first."""
        held = self.secrets.get(name.lower())
        return [one.value for one in held.versions if one.is_enabled] if held else []

    def hold(self, name: str, value: str, tags: dict[str, str] | None = None) -> None:
        """Have a secret that somebody else made."""
        self.secrets[name.lower()] = HeldSecret([self._new(value, tags or {}, "")])

    def add(self, name: str, value: str) -> None:
        """Set a version, as by hand."""
        if name.lower() in self.secrets:
            self.secrets[name.lower()].versions.append(self._new(value, {}, ""))
        else:
            self.hold(name, value)

    def bury(self, name: str) -> None:
        """Delete a secret, as by hand."""
        self.deleted[name.lower()] = self.secrets.pop(name.lower())

    def env(self) -> dict[str, str]:
        """The environment of a job with a token."""
        self.tokens.add("eyJ.a-token-of-the-job.x")
        return {"AZURE_KEYVAULT_URL": self.url, "AZURE_ACCESS_TOKEN": "eyJ.a-token-of-the-job.x"}

    # --- routes

    def routes(self) -> Iterator[tuple[str, str, Callable[[Call], Any]]]:
        secret = "/secrets/(?P<name>[0-9A-Za-z-]{1,127})"
        version = f"{secret}/(?P<version>[0-9a-f]{{32}})"
        deleted = "/deletedsecrets/(?P<name>[0-9A-Za-z-]{1,127})"
        yield "POST", f"/{TENANT}/oauth2/v2.0/token", self._client_token
        yield "GET", "/metadata/identity/oauth2/token", self._machine_token
        yield "GET", "/msi/token", self._service_token
        yield "PUT", secret, self._with_token(self._set)
        yield "GET", secret, self._with_token(self._get)
        yield "DELETE", secret, self._with_token(self._delete)
        yield "GET", f"{secret}/versions", self._with_token(self._list)
        yield "GET", version, self._with_token(self._get)
        yield "PATCH", version, self._with_token(self._update)
        yield "GET", deleted, self._with_token(self._get_deleted)
        yield "POST", f"{deleted}/recover", self._with_token(self._recover)

    def unknown(self, call: Call) -> Refusal:
        return refused(400, "BadParameter", f"{call.method} {call.path} is unknown")

    def _with_token(self, action: Callable[[Call], Any]) -> Callable[[Call], Any]:
        def checked(call: Call) -> Any:
            scheme, _, token = call.headers.get("authorization", "").partition(" ")
            if scheme != "Bearer" or token not in self.tokens:
                challenge = f'Bearer authorization="{self.url}/{TENANT}", resource="{RESOURCE}"'
                refusal = refused(
                    401, "Unauthorized", "AKV10000: Request is missing a Bearer token"
                )
                raise Refusal(401, refusal.body, {"WWW-Authenticate": challenge})
            if call.query.get("api-version") not in _API_VERSIONS:
                raise refused(400, "BadParameter", "The api-version is not supported")
            return action(call)

        return checked

    # --- tokens

    def _client_token(self, call: Call) -> Any:
        form = {name: values[0] for name, values in parse_qs(call.raw.decode()).items()}
        content_type = call.headers["content-type"]
        assert content_type == "application/x-www-form-urlencoded"
        expected = {
            "grant_type": "client_credentials",
            "client_id": CLIENT,
            "scope": f"{RESOURCE}/.default",
        }
        proofs = (
            {"client_secret": CLIENT_SECRET},
            {
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "client_assertion": FEDERATED_TOKEN,
            },
        )
        if form not in [{**expected, **proof} for proof in proofs]:
            raise Refusal(
                401,
                {
                    "error": "invalid_client",
                    "error_description": "AADSTS7000215: Invalid client secret provided."
                    " Trace ID: 1 Correlation ID: 2",
                },
            )
        return self._granted(3599)

    def _machine_token(self, call: Call) -> Any:
        if call.headers.get("metadata") != "true":
            raise Refusal(400, {"error": "invalid_request"})
        assert call.query == {"api-version": "2018-02-01", "resource": RESOURCE}
        return self._granted("86399")

    def _service_token(self, call: Call) -> Any:
        if call.headers.get("x-identity-header") != "the-header-of-the-service":
            raise Refusal(400, {"error": "invalid_request"})
        assert call.query == {"api-version": "2019-08-01", "resource": RESOURCE}
        return self._granted("86399")

    def _granted(self, lifetime: int | str) -> Any:
        token = f"eyJ.granted-{len(self.tokens)}.x"
        self.tokens.add(token)
        return {"access_token": token, "expires_in": lifetime, "token_type": "Bearer"}

    # --- secrets

    def _secret(self, call: Call) -> HeldSecret:
        held = self.secrets.get(call.match["name"].lower())
        if held is not None and held.reads_until_back:
            held.reads_until_back -= 1
            held = None
        if held is None:
            message = (
                f"A secret with (name/id) {call.match['name']} was not found in this key vault."
            )
            raise refused(404, "SecretNotFound", message)
        return held

    def _set(self, call: Call) -> Any:
        name = call.match["name"].lower()
        _known(call.body, {"value", "tags", "contentType", "attributes"})
        _known(call.body.get("attributes") or {}, {"enabled", "nbf", "exp"})
        if name in self.deleted:
            raise refused(
                409,
                "Conflict",
                f"Secret {name} is currently in a deleted but recoverable state.",
                "ObjectIsDeletedButRecoverable",
            )
        if not isinstance(call.body.get("value"), str) or len(call.body["value"]) > _MAX_VALUE:
            raise refused(400, "BadParameter", "The value is invalid")
        held = self.secrets.setdefault(name, HeldSecret())
        if held.reads_until_back:
            raise refused(409, "Conflict", "being recovered", "ObjectIsBeingRecovered")
        made = self._new(call.body["value"], _tags(call.body), call.body.get("contentType", ""))
        held.versions.append(made)
        return {"value": made.value, **self._shown(call, made)}

    def _new(self, value: str, tags: dict[str, str], content_type: str) -> Version:
        self._made += 1
        # A vault's clock that gives each version a second of its own.
        created = int(time.time()) + self._made
        return Version(f"{self._made:032x}", value, tags, content_type, created)

    def _get(self, call: Call) -> Any:
        held = self._secret(call)
        version = self._version(held, call)
        if not version.is_enabled:
            message = "Operation get is not allowed on a disabled secret."
            raise refused(403, "Forbidden", message, "SecretDisabled")
        return {"value": version.value, **self._shown(call, version)}

    def _version(self, held: HeldSecret, call: Call) -> Version:
        wanted = call.match.get("version") or held.versions[-1].id
        for version in held.versions:
            if version.id == wanted:
                return version
        raise refused(404, "SecretNotFound")

    def _list(self, call: Call) -> Any:
        _known(call.query, {"api-version", "maxresults", "$skiptoken"})
        held = self.secrets.get(call.match["name"].lower())
        if held is None or held.reads_until_back:
            if held is not None:
                held.reads_until_back -= 1
            return {"value": [], "nextLink": None}
        # In no order, and in small pages, so that whoever relies on either is found out.
        ordered = sorted(held.versions, key=lambda version: version.id[::-1])
        start = int(call.query.get("$skiptoken") or 0)
        page = [self._shown(call, version) for version in ordered[start : start + 2]]
        following = None
        if start + 2 < len(ordered):
            following = f"{self.url}{call.path}?api-version=7.4&$skiptoken={start + 2}"
        return {"value": page, "nextLink": following}

    def _update(self, call: Call) -> Any:
        _known(call.body, {"contentType", "attributes", "tags"})
        version = self._version(self._secret(call), call)
        attributes = call.body.get("attributes") or {}
        _known(attributes, {"enabled", "nbf", "exp"})
        version.is_enabled = attributes.get("enabled", version.is_enabled)
        return self._shown(call, version)

    def _delete(self, call: Call) -> Any:
        held = self._secret(call)
        self.bury(call.match["name"])
        return self._shown_deleted(call, held)

    def _get_deleted(self, call: Call) -> Any:
        held = self.deleted.get(call.match["name"].lower())
        if held is None:
            raise refused(404, "SecretNotFound", "Deleted Secret not found")
        return self._shown_deleted(call, held)

    def _recover(self, call: Call) -> Any:
        shown = self._get_deleted(call)
        held = self.deleted.pop(call.match["name"].lower())
        held.reads_until_back = _RECOVERY_READS
        self.secrets[call.match["name"].lower()] = held
        return shown

    def _shown_deleted(self, call: Call, held: HeldSecret) -> Any:
        shown = self._shown(call, held.versions[-1])
        recovery = f"{self.url}/deletedsecrets/{call.match['name']}"
        return {**shown, "recoveryId": recovery, "scheduledPurgeDate": 1 << 31}

    def _shown(self, call: Call, version: Version) -> Any:
        shown: dict[str, Any] = {
            "id": f"{self.url}/secrets/{call.match['name']}/{version.id}",
            "attributes": {
                "enabled": version.is_enabled,
                "created": version.created,
                "updated": version.created,
                "recoveryLevel": "Recoverable+Purgeable",
            },
        }
        return shown | ({"tags": version.tags} if version.tags else {})


def _known(given: dict[str, Any], names: set[str]) -> None:
    for name in given:
        if name not in names:
            raise refused(400, "BadParameter", f"Property {name} is unknown")


def _tags(body: dict[str, Any]) -> dict[str, str]:
    tags = body.get("tags") or {}
    if len(tags) > _MAX_TAGS or any(len(text) > _MAX_TAG for pair in tags.items() for text in pair):
        raise refused(400, "BadParameter", "The tags are too many or too long")
    if not all(re.fullmatch(r"[^<>*%&:\\?+\x00-\x1f]+", key) for key in tags):
        raise refused(400, "BadParameter", "A tag has an invalid name")
    return dict(tags)
