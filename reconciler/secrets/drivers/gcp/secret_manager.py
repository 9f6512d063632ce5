"""Secrets of Google Cloud Secret Manager, in the project that the environment selects.

A put adds a version, which `latest` names from then on. The owner is an annotation of the secret,
because labels are too short for it and have no capitals. A version added twice, because an answer
was lost, holds the same key; a withdrawal destroys both.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, ClassVar

from msgspec import Struct

from reconciler.errors import SinkError, SinkSetupError, UncertainDeliveryError
from reconciler.model.secret import Secret
from reconciler.model.sinks import Receipt, SinkContext
from reconciler.model.types import Object, Property, Text, Type
from reconciler.secrets.drivers.access_tokens import TokenCache
from reconciler.secrets.drivers.fields import content_of, field_of
from reconciler.secrets.drivers.gcp.checksum import crc32c
from reconciler.secrets.drivers.gcp.credentials import access_token, credentials_file, read_file
from reconciler.secrets.drivers.owners import OWNER, foreign_owner, is_ours
from reconciler.secrets.http import Answer, SinkHttp

PROJECT_VARIABLE = "GOOGLE_CLOUD_PROJECT"
ENDPOINT_VARIABLE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER"
_PROJECT_VARIABLES = (PROJECT_VARIABLE, "CLOUDSDK_CORE_PROJECT", "GCLOUD_PROJECT")
_ENDPOINT = "https://secretmanager.googleapis.com/"
_NAME = r"^[A-Za-z0-9_-]{1,255}$"
_PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]|\d+|[a-z.]+:[a-z0-9-]+")
_TOKEN = "reconciler-token"  # noqa: S105 - the name of an annotation
_MADE_BY_US = {"managed-by": "reconciler"}
_OK, _BAD, _UNAUTHORIZED, _FORBIDDEN, _ABSENT, _TAKEN = 200, 400, 401, 403, 404, 409


class _Replaced(Struct, frozen=True):
    """The version before another, and the token of its key."""

    version: int
    token: str


class _Facts(Struct, frozen=True):
    """What can be known of a secret without reading it."""

    annotations: dict[str, str]
    etag: str
    is_made_by_us: bool
    versions: list[int]
    """The versions that can be read, newest first."""

    @property
    def owner(self) -> str | None:
        return self.annotations.get(OWNER)

    @property
    def token(self) -> str:
        """The token of the key that we put last."""
        return self.annotations.get(_TOKEN, "").partition(".")[2]

    def is_at(self, version: int, replaced: _Replaced) -> bool:
        """Whether a version is one that was replaced, or its copy."""
        return version == replaced.version or self.is_marked(version, replaced.token)

    def is_marked(self, version: int, token: Any) -> bool:
        """Whether we put the key of a token as this version. Somebody else's has no mark."""
        return self.annotations.get(_TOKEN) == _mark(version, token)


class GcpSecretManagerSink:
    """Secrets of one project."""

    name: ClassVar[str] = "gcp_secret_manager"
    description: ClassVar[str] = (
        "A secret of Google Cloud Secret Manager, in the project of the environment."
    )
    type: ClassVar[Type] = Object(
        (
            Property(
                "name",
                Text(pattern=_NAME),
                "The name of the secret, without its project.",
                required=True,
            ),
            Property(
                "field",
                Text(min_length=1, max_length=256),
                "Writes a JSON object with the key in this field, instead of the key alone.",
            ),
        )
    )
    keeps_versions: ClassVar[bool] = True
    reads_back: ClassVar[bool] = True

    def __init__(self, context: SinkContext) -> None:
        self._context = context
        self._tokens = TokenCache(lambda: access_token(context), context.redactor)
        self._lock = threading.Lock()
        self._connection: SinkHttp | None = None
        self._replaced: dict[str, _Replaced] = {}
        """What was there before, for each token that this run put."""

    @staticmethod
    def place(target: Any) -> str:
        """`gcp_secret_manager:NAME`. A secret holds one key, whatever its field."""
        name = str(target["name"])
        if not re.fullmatch(_NAME, name):
            # A path could name a secret of another project.
            raise ValueError(f'"{name}" is not the name of a secret in Google Secret Manager')
        return f"gcp_secret_manager:{name}"

    def check(self, target: Any, *, owner: str) -> None:
        """Raise SinkError if the secret cannot be described, or is not ours to write."""
        self._require_ours(target, self._facts(target), owner)

    def put(self, target: Any, secret: Secret, *, owner: str, token: str) -> Receipt:
        """Add a version with the key."""
        facts = self._facts(target)
        self._require_ours(target, facts, owner)
        if facts is None:
            facts = self._create(target, owner)
        elif facts.owner != owner:
            self._annotate(target, {**facts.annotations, OWNER: owner}, facts.etag)
        content = content_of(secret, target.get("field")).encode()
        try:
            version = self._add(target, content)
        except UncertainDeliveryError:
            version = self._arrived(target, content)
        if facts.versions and facts.token != token:
            self._replaced[token] = _Replaced(facts.versions[0], facts.token)
        # The key has arrived: what only helps later must not look like a failure.
        with suppress(SinkError):
            self._note(target, version, token)
        return {"version": version, "token": token}

    def read(self, target: Any, *, owner: str) -> Secret | None:
        """The latest version, if the secret is ours."""
        facts = self._facts(target)
        if facts is None or not self._is_ours(target, facts, owner) or not facts.versions:
            return None
        return self.fetch(target)

    def fetch(self, target: Any) -> Secret | None:
        """The latest version, whoever put it there; None if there is none. Raises SinkError."""
        content = self._content(target, "latest")
        if content is None:
            return None
        try:
            stored = Secret(content.decode())
        except UnicodeDecodeError:
            raise SinkError(f"{_named(target)} is binary", hint="store text in it") from None
        return field_of(stored, target.get("field"), _named(target))

    def withdraw(self, target: Any, receipt: Receipt, *, owner: str) -> None:
        """Destroy the version of a receipt and those before it; delete a secret without any."""
        facts = self._facts(target)
        if facts is None or not self._is_ours(target, facts, owner):
            return
        version, token = receipt.get("version"), receipt.get("token")
        newest = facts.versions[0] if facts.versions else 0
        before = self._before(target, receipt, owner)
        if not receipt and before and before.version == newest:
            return
        is_newest = (
            not isinstance(version, int) or version >= newest or facts.is_marked(newest, token)
        )
        if not receipt and before and facts.is_at(newest, before):
            return
        if is_newest and before and before.version in facts.versions:
            self._put_back(target, before, newest)
            return
        doomed = [one for one in facts.versions if is_newest or one <= int(version or 0)]
        for one in doomed:
            self._destroy(target, one)
        if facts.is_made_by_us and len(doomed) == len(facts.versions):
            answer = self._send("DELETE", self._path(target))
            self._require(answer, target, "delete", also=(_ABSENT,))

    def _before(self, target: Any, receipt: Receipt, owner: str) -> _Replaced | None:
        """The version whose key is valid without that of the receipt.

        A put of this run is taken back where another sink refused the key, and an interrupted one
        left the key of the state's receipt valid.
        """
        if receipt:
            return self._replaced.get(str(receipt.get("token")))
        recorded = self._context.receipt(self.place(target), owner)
        if recorded is None or not isinstance(recorded.get("version"), int):
            return None
        return _Replaced(recorded["version"], str(recorded.get("token")))

    # --- facts

    def _facts(self, target: Any) -> _Facts | None:
        """None for a secret that does not exist. Raises SinkError."""
        answer = self._get(self._path(target))
        if answer.status == _ABSENT:
            return None
        self._require(answer, target, "describe")
        return _Facts(
            annotations=dict(answer.body.get("annotations") or {}),
            etag=str(answer.body.get("etag", "")),
            is_made_by_us=(answer.body.get("labels") or {}).items() >= _MADE_BY_US.items(),
            versions=sorted(self._enabled(target), reverse=True),
        )

    def _enabled(self, target: Any) -> Iterator[int]:
        page = ""
        while True:
            params = {"filter": "state:ENABLED", "pageSize": "250"}
            answer = self._get(
                f"{self._path(target)}/versions",
                {**params, **({"pageToken": page} if page else {})},
            )
            self._require(answer, target, "list the versions of")
            for version in answer.body.get("versions") or ():
                yield _number_of(version)
            page = answer.body.get("nextPageToken") or ""
            if not page:
                return

    def _require_ours(self, target: Any, facts: _Facts | None, owner: str) -> None:
        if facts is None or self._is_ours(target, facts, owner):
            return
        # An empty secret, made for its replication and policy, waits for a key.
        if facts.owner is not None or facts.versions:
            raise SinkError(
                f"{_named(target)} {foreign_owner(facts.owner)}",
                hint="choose another name, or remove the secret",
            )

    def _is_ours(self, target: Any, facts: _Facts, owner: str) -> bool:
        receipt = self._context.receipt(self.place(target), owner) or {}
        is_recorded = bool(facts.token) and receipt.get("token") == facts.token
        return is_ours(facts.owner, owner, is_recorded=is_recorded)

    def _content(self, target: Any, version: str) -> bytes | None:
        answer = self._get(f"{self._path(target)}/versions/{version}:access")
        # A version that is disabled or destroyed is refused with 400.
        if answer.status in (_ABSENT, _BAD):
            return None
        self._require(answer, target, "read")
        payload = answer.body.get("payload") or {}
        content = base64.b64decode(payload.get("data", ""))
        if str(payload.get("dataCrc32c", crc32c(content))) != str(crc32c(content)):
            raise SinkError(f"{_named(target)} arrived damaged", hint="try again")
        return content

    # --- writes

    def _create(self, target: Any, owner: str) -> _Facts:
        """Create an empty secret."""
        body = {
            "replication": {"automatic": {}},
            "labels": _MADE_BY_US,
            "annotations": {OWNER: owner},
        }
        path = self._path(target).rpartition("/")[0]
        answer = self._send("POST", path, body, {"secretId": target["name"]})
        self._require(answer, target, "create", also=(_TAKEN,))
        facts = self._facts(target) if answer.status == _TAKEN else None
        # Another attempt of this put, or somebody else, was faster.
        self._require_ours(target, facts, owner)
        return facts or _Facts({OWNER: owner}, "", True, [])

    def _annotate(self, target: Any, annotations: dict[str, str], etag: str) -> None:
        answer = self._send(
            "PATCH",
            self._path(target),
            {"annotations": annotations, "etag": etag},
            {"updateMask": "annotations"},
        )
        self._require(answer, target, "annotate")

    def _note(self, target: Any, version: int, token: str) -> None:
        """Annotate which version is ours."""
        facts = self._get(self._path(target))
        self._require(facts, target, "describe")
        annotations = {**(facts.body.get("annotations") or {}), _TOKEN: _mark(version, token)}
        self._annotate(target, annotations, str(facts.body.get("etag", "")))

    def _add(self, target: Any, content: bytes) -> int:
        payload = {
            "data": base64.b64encode(content).decode(),
            "dataCrc32c": str(crc32c(content)),
        }
        answer = self._send("POST", f"{self._path(target)}:addVersion", {"payload": payload})
        self._require(answer, target, "add a version to")
        return _number_of(answer.body)

    def _arrived(self, target: Any, content: bytes) -> int:
        """The version that an unanswered write added. Raises UncertainDeliveryError."""
        problem = UncertainDeliveryError(
            f"{_named(target)}: Google Cloud did not answer, so it is unknown whether the key "
            "arrived",
            hint="run the same command again",
        )
        try:
            versions = sorted(self._enabled(target))
            if versions and self._content(target, str(versions[-1])) == content:
                return versions[-1]
        except SinkError:
            raise problem from None
        raise problem

    def _put_back(self, target: Any, before: _Replaced, newest: int) -> None:
        """Make the key before the newest again. `latest` never falls back by itself."""
        content = self._content(target, str(before.version))
        if content is not None:
            version = self._add(target, content)
            with suppress(SinkError):
                self._note(target, version, before.token)
        self._destroy(target, newest)

    def _destroy(self, target: Any, version: int) -> None:
        answer = self._send("POST", f"{self._path(target)}/versions/{version}:destroy", {})
        # A version that is destroyed already is refused with 400.
        self._require(answer, target, "destroy a version of", also=(_ABSENT, _BAD))

    # --- requests

    def _path(self, target: Any) -> str:
        return f"v1/projects/{self._project()}/secrets/{target['name']}"

    def _project(self) -> str:
        env = self._context.env
        project = next((env[name].strip() for name in _PROJECT_VARIABLES if env.get(name)), "")
        if not project:
            file = credentials_file(env)
            named = read_file(file).get("project_id") if file else None
            project = named if isinstance(named, str) else ""
        if not _PROJECT.fullmatch(project):
            raise SinkSetupError(
                "it is not known which project of Google Cloud to use",
                hint=f"set {PROJECT_VARIABLE} to the id of a project",
            )
        return project

    def _http(self) -> SinkHttp:
        with self._lock:
            if self._connection is None:
                client = self._context.connect(
                    self._context.env.get(ENDPOINT_VARIABLE) or _ENDPOINT,
                    variable=ENDPOINT_VARIABLE,
                )
                self._connection = SinkHttp(
                    client,
                    self._context,
                    f"Google Secret Manager at {client.base_url.netloc.decode()}",
                    message_of=_message_of,
                )
            return self._connection

    def _get(self, path: str, params: dict[str, str] | None = None) -> Answer:
        return self._http().get(path, params=params, headers=self._tokens.header())

    def _send(
        self, method: str, path: str, body: Any = None, params: dict[str, str] | None = None
    ) -> Answer:
        return self._http().send(
            method, path, json_body=body, params=params, headers=self._tokens.header()
        )

    def _require(
        self, answer: Answer, target: Any, action: str, *, also: tuple[int, ...] = ()
    ) -> None:
        """Raise SinkError unless the answer is a success or has one of the statuses `also`."""
        if answer.status in also or (answer.status == _OK and isinstance(answer.body, dict)):
            return
        said = self._http().explanation(answer)
        hint = "see what Google Cloud says"
        if answer.status == _UNAUTHORIZED:
            hint = "renew the credentials of the environment"
        elif answer.status in (_FORBIDDEN, _ABSENT):
            hint = (
                f"grant the role Secret Manager Admin on the secret, and check {PROJECT_VARIABLE}"
            )
        raise SinkError(
            f"Google Secret Manager refuses to {action} {_named(target)} "
            f"(status {answer.status}){said}",
            hint=hint,
        )


def _named(target: Any) -> str:
    return f'the secret "{target["name"]}" in Google Secret Manager'


def _mark(version: int, token: Any) -> str:
    return f"{version}.{token}"


def _number_of(version: Any) -> int:
    number = str(version.get("name", "")).rpartition("/")[2]
    if not number.isdigit():
        raise SinkError("Google Secret Manager names no version", hint="try again")
    return int(number)


def _message_of(body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    return str(error.get("message", "")) if isinstance(error, dict) else ""
