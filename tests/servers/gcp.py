"""A fake of Google Cloud: Secret Manager, the token endpoint and the metadata server.

It follows the REST reference of Secret Manager v1: unknown fields, bad labels, stale etags and
wrong checksums are refused with the error and the status of the reference. Only the token of the
last login is accepted, and an assertion has to be signed by the service account's key.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.servers.fakes import Call, FakeService, Refusal

PROJECT = "acme-prod"
PROJECT_NUMBER = "421337421337"
EMAIL = f"deployer@{PROJECT}.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
_STATUS |= {404: "NOT_FOUND", 409: "ALREADY_EXISTS", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
_SECRET_FIELDS = {"replication", "labels", "annotations", "etag", "topics", "expireTime", "ttl"}
_SECRET_FIELDS |= {"rotation", "versionAliases", "versionDestroyTtl", "tags", "name"}
_MAX_PAYLOAD, _MAX_ANNOTATIONS = 65_536, 16_384


@cache
def private_key() -> rsa.RSAPrivateKey:
    """The key of the service account. Making one takes longer than most tests."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def refused(status: int, message: str, name: str = "") -> Refusal:
    error = {"code": status, "message": message, "status": name or _STATUS[status]}
    return Refusal(status, {"error": error})


@dataclass
class Version:
    content: bytes
    state: str = "ENABLED"


@dataclass
class HeldSecret:
    labels: dict[str, str]
    annotations: dict[str, str]
    versions: list[Version] = field(default_factory=list)
    revision: int = 1

    @property
    def etag(self) -> str:
        return f'"{self.revision:x}"'


class FakeGcp(FakeService):
    """Secrets of one project, by name."""

    def __init__(self) -> None:
        self.secrets: dict[str, HeldSecret] = {}
        self.tokens: set[str] = set()
        super().__init__()

    # --- what tests ask

    def place(self, name: str) -> str | None:
        """What a reader of `latest` gets; None if that is nothing."""
        held = self.secrets.get(name)
        if held is None or not held.versions or held.versions[-1].state != "ENABLED":
            return None
        return held.versions[-1].content.decode()

    def readable(self, name: str) -> list[str]:
        """All versions that can be read, oldest first."""
        held = self.secrets.get(name)
        versions = held.versions if held else []
        return [one.content.decode() for one in versions if one.state == "ENABLED"]

    def hold(self, name: str, *contents: str, annotations: dict[str, str] | None = None) -> None:
        """Have a secret that somebody else made."""
        versions = [Version(content.encode()) for content in contents]
        self.secrets[name] = HeldSecret({}, annotations or {}, versions)

    def add(self, name: str, content: str) -> None:
        """Add a version, as by hand."""
        if name in self.secrets:
            self.secrets[name].versions.append(Version(content.encode()))
        else:
            self.hold(name, content)

    def env(self) -> dict[str, str]:
        """The environment of a job with a token."""
        self.tokens.add("ya29.a-token-of-the-job")
        return {
            "GOOGLE_OAUTH_ACCESS_TOKEN": "ya29.a-token-of-the-job",
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": f"{self.url}/",
        }

    def key_file(self, folder: Path) -> Path:
        """The file of a service account's key."""
        pem = private_key().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        content = {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "a1b2c3",
            "private_key": pem.decode(),
            "client_email": EMAIL,
            "client_id": "1234567890",
            "token_uri": f"{self.url}/token",
        }
        path = folder / "service-account.json"
        path.write_text(json.dumps(content))
        return path

    # --- routes

    def routes(self) -> Iterator[tuple[str, str, Callable[[Call], Any]]]:
        secrets = rf"/v1/projects/(?P<project>{PROJECT}|{PROJECT_NUMBER})/secrets"
        secret = rf"{secrets}/(?P<name>[A-Za-z0-9_-]+)"
        version = rf"{secret}/versions/(?P<version>\d+|latest)"
        yield "POST", "/token", self._token
        metadata = "/computeMetadata/v1/instance/service-accounts/default/token"
        yield "GET", metadata, self._metadata_token
        yield "POST", secrets, self._with_token(self._create)
        yield "GET", secret, self._with_token(lambda call: self._shown(self._secret(call), call))
        yield "PATCH", secret, self._with_token(self._update)
        yield "DELETE", secret, self._with_token(self._delete)
        yield "POST", f"{secret}:addVersion", self._with_token(self._add_version)
        yield "GET", f"{secret}/versions", self._with_token(self._list)
        yield "GET", f"{version}:access", self._with_token(self._access)
        yield "POST", f"{version}:destroy", self._with_token(self._destroy)

    def unknown(self, call: Call) -> Refusal:
        if call.path.startswith("/v1/projects/"):
            return refused(403, f"Permission denied on resource {call.path} (or it may not exist).")
        return refused(404, "Not found")

    def _with_token(self, action: Callable[[Call], Any]) -> Callable[[Call], Any]:
        def checked(call: Call) -> Any:
            scheme, _, token = call.headers.get("authorization", "").partition(" ")
            if scheme != "Bearer" or token not in self.tokens:
                raise refused(401, "Request had invalid authentication credentials.")
            return action(call)

        return checked

    def _token(self, call: Call) -> Any:
        form = {name: values[0] for name, values in parse_qs(call.raw.decode()).items()}
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            raise Refusal(400, {"error": "unsupported_grant_type"})
        signed, _, signature = form["assertion"].rpartition(".")
        try:
            private_key().public_key().verify(
                _unpadded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            raise Refusal(400, {"error": "invalid_grant"}) from None
        head, claims = (json.loads(_unpadded(part)) for part in signed.split("."))
        assert head["alg"] == "RS256"
        assert head["kid"] == "a1b2c3"
        assert claims["iss"] == EMAIL
        assert claims["aud"] in (f"{self.url}/token", "https://oauth2.googleapis.com/token")
        assert claims["scope"] == SCOPE
        assert claims["iat"] - 10 < time.time() < claims["exp"] <= claims["iat"] + 3600
        return self._granted()

    def _metadata_token(self, call: Call) -> Any:
        if call.headers.get("metadata-flavor") != "Google":
            raise Refusal(403, {"error": "Missing Metadata-Flavor:Google header."})
        return self._granted()

    def _granted(self) -> Any:
        token = f"ya29.granted-{len(self.tokens)}"
        self.tokens.add(token)
        return {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}

    # --- secrets

    def _secret(self, call: Call) -> HeldSecret:
        held = self.secrets.get(call.match["name"])
        if held is None:
            name = f"projects/{PROJECT_NUMBER}/secrets/{call.match['name']}"
            raise refused(404, f"Secret [{name}] not found.")
        return held

    def _create(self, call: Call) -> Any:
        _known(call.query, {"secretId"})
        _known(call.body, _SECRET_FIELDS)
        name = call.query.get("secretId", "")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", name):
            raise refused(400, "secret_id must match [A-Za-z0-9_-]{1,255}")
        if call.body.get("replication") != {"automatic": {}}:
            raise refused(400, "replication must be set")
        if name in self.secrets:
            raise refused(409, f"Secret [projects/{PROJECT_NUMBER}/secrets/{name}] already exists.")
        held = HeldSecret(_labels(call.body), _annotations(call.body))
        self.secrets[name] = held
        call.match = {**call.match, "name": name}
        return self._shown(held, call)

    def _update(self, call: Call) -> Any:
        _known(call.query, {"updateMask"})
        _known(call.body, _SECRET_FIELDS)
        held = self._secret(call)
        if "etag" in call.body and call.body["etag"] != held.etag:
            raise refused(400, "The etag is stale.", "FAILED_PRECONDITION")
        for name in call.query.get("updateMask", "").split(","):
            if name == "annotations":
                held.annotations = _annotations(call.body)
            elif name == "labels":
                held.labels = _labels(call.body)
            else:
                raise refused(400, f"unknown field {name} in the update mask")
        held.revision += 1
        return self._shown(held, call)

    def _delete(self, call: Call) -> Any:
        _known(call.query, {"etag"})
        self._secret(call)
        del self.secrets[call.match["name"]]
        return {}

    def _shown(self, held: HeldSecret, call: Call) -> Any:
        shown: dict[str, Any] = {
            "name": f"projects/{PROJECT_NUMBER}/secrets/{call.match['name']}",
            "replication": {"automatic": {}},
            "createTime": "2026-01-01T00:00:00.000001Z",
            "etag": held.etag,
        }
        # Empty maps are left out, as in all JSON of Google's.
        shown |= {"labels": held.labels} if held.labels else {}
        shown |= {"annotations": held.annotations} if held.annotations else {}
        return shown

    # --- versions

    def _add_version(self, call: Call) -> Any:
        _known(call.body, {"payload"})
        payload = call.body.get("payload") or {}
        _known(payload, {"data", "dataCrc32c"})
        content = base64.b64decode(payload.get("data", ""), validate=True)
        if not content or len(content) > _MAX_PAYLOAD:
            raise refused(400, "The payload must have between 1 and 65536 bytes.")
        if not isinstance(payload.get("dataCrc32c", "0"), str):
            raise refused(400, "Invalid value at 'payload.data_crc32c' (TYPE_INT64)")
        if "dataCrc32c" in payload and int(payload["dataCrc32c"]) != slow_crc32c(content):
            raise refused(400, "The checksum of the payload is wrong.")
        held = self._secret(call)
        held.versions.append(Version(content))
        return self._shown_version(call, len(held.versions), held.versions[-1])

    def _list(self, call: Call) -> Any:
        _known(call.query, {"filter", "pageSize", "pageToken"})
        assert call.query.get("filter", "state:ENABLED") == "state:ENABLED"
        held = self._secret(call)
        numbered = list(enumerate(held.versions, start=1))
        shown = [
            self._shown_version(call, number, version)
            for number, version in reversed(numbered)
            if version.state == "ENABLED" or "filter" not in call.query
        ]
        # Small pages, so that whoever does not turn them is found out.
        start = int(call.query.get("pageToken") or 0)
        page: dict[str, Any] = {"versions": shown[start : start + 2], "totalSize": len(shown)}
        return page | ({"nextPageToken": str(start + 2)} if start + 2 < len(shown) else {})

    def _version(self, call: Call) -> tuple[int, Version]:
        held = self._secret(call)
        text = call.match["version"]
        number = len(held.versions) if text == "latest" else int(text)
        if not 1 <= number <= len(held.versions):
            raise refused(404, f"Secret Version [{call.path}] not found.")
        return number, held.versions[number - 1]

    def _access(self, call: Call) -> Any:
        number, version = self._version(call)
        if version.state != "ENABLED":
            raise refused(
                400, f"Secret Version is in {version.state} state.", "FAILED_PRECONDITION"
            )
        payload = {
            "data": base64.b64encode(version.content).decode(),
            "dataCrc32c": str(slow_crc32c(version.content)),
        }
        return {"name": self._shown_version(call, number, version)["name"], "payload": payload}

    def _destroy(self, call: Call) -> Any:
        _known(call.body, {"etag"})
        number, version = self._version(call)
        if version.state == "DESTROYED":
            raise refused(400, "Secret Version is destroyed.", "FAILED_PRECONDITION")
        version.state, version.content = "DESTROYED", b""
        return self._shown_version(call, number, version)

    def _shown_version(self, call: Call, number: int, version: Version) -> dict[str, Any]:
        name = f"projects/{PROJECT_NUMBER}/secrets/{call.match['name']}/versions/{number}"
        return {"name": name, "state": version.state, "etag": f'"{number:x}"'}


def _known(given: dict[str, Any], names: set[str]) -> None:
    for name in given:
        if name not in names:
            raise refused(400, f'Invalid JSON payload received. Unknown name "{name}"')


def _labels(body: dict[str, Any]) -> dict[str, str]:
    labels = body.get("labels") or {}
    for key, value in labels.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) or not re.fullmatch(
            r"[a-z0-9_-]{0,63}", value
        ):
            raise refused(400, f"The label {key} is invalid.")
    return dict(labels)


def _annotations(body: dict[str, Any]) -> dict[str, str]:
    annotations = body.get("annotations") or {}
    for key in annotations:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", key):
            raise refused(400, f"The annotation {key} is invalid.")
    if sum(len(key) + len(value) for key, value in annotations.items()) > _MAX_ANNOTATIONS:
        raise refused(400, "The annotations are too large.")
    return dict(annotations)


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def slow_crc32c(content: bytes) -> int:
    """CRC-32C bit by bit: another implementation than the one that is tested."""
    checksum = 0xFFFFFFFF
    for byte in content:
        checksum ^= byte
        for _ in range(8):
            checksum = (checksum >> 1) ^ (0x82F63B78 * (checksum & 1))
    return checksum ^ 0xFFFFFFFF
