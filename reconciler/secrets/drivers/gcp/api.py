"""Calls to the REST API of Google Cloud Secret Manager, version 1."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from reconciler.errors import SinkError, SinkSetupError, UncertainDeliveryError
from reconciler.model.sinks import SinkContext
from reconciler.secrets.drivers.access_tokens import TokenCache
from reconciler.secrets.drivers.gcp.checksum import crc32c
from reconciler.secrets.drivers.gcp.credentials import access_token, credentials_file, read_file
from reconciler.secrets.drivers.owners import OWNER
from reconciler.secrets.drivers.versions import Replaced, mark_of
from reconciler.secrets.http import SinkHttp, SinkResponse, error_message_in
from reconciler.secrets.once import Once

PROJECT_VARIABLE = "GOOGLE_CLOUD_PROJECT"
ENDPOINT_VARIABLE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER"
_PROJECT_VARIABLES = (PROJECT_VARIABLE, "CLOUDSDK_CORE_PROJECT", "GCLOUD_PROJECT")
_ENDPOINT = "https://secretmanager.googleapis.com/"
_PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]|\d+|[a-z.]+:[a-z0-9-]+")
_TOKEN = "reconciler-token"  # noqa: S105 - the name of an annotation
_MADE_BY_US = {"managed-by": "reconciler"}
_OK, _BAD, _UNAUTHORIZED, _FORBIDDEN, _ABSENT, _TAKEN = 200, 400, 401, 403, 404, 409


class Facts(Struct, frozen=True):
    """The facts about a secret that are known without reading it."""

    annotations: dict[str, str]
    etag: str
    is_made_by_us: bool
    versions: list[int]
    """The versions that can be read, newest first."""

    @property
    def owner(self) -> str | None:
        """The owner that the annotation names."""
        return self.annotations.get(OWNER)

    @property
    def token(self) -> str:
        """The token of the key that we put last."""
        return self.annotations.get(_TOKEN, "").partition(".")[2]

    def is_at(self, version: int, replaced: Replaced) -> bool:
        """Whether a version is one that was replaced, or its copy."""
        return version == replaced.version or self.is_marked(version, replaced.token)

    def is_marked(self, version: int, token: Any) -> bool:
        """Whether we put the key of a token as this version. Foreign versions have no mark."""
        return self.annotations.get(_TOKEN) == mark_of(version, token)


class SecretManagerApi:
    """Secrets of one project. Every method raises SinkError where Google refuses or is away."""

    def __init__(self, context: SinkContext) -> None:
        self._context = context
        self._tokens = TokenCache(lambda: access_token(context), context.redactor)
        self._connection = Once[SinkHttp]()

    def facts(self, target: Any) -> Facts | None:
        """None for a secret that does not exist. Raises SinkError."""
        answer = self._get(self._path(target))
        if answer.status == _ABSENT:
            return None
        self._require(answer, target, "describe")
        return Facts(
            annotations=dict(answer.body.get("annotations") or {}),
            etag=str(answer.body.get("etag", "")),
            is_made_by_us=(answer.body.get("labels") or {}).items() >= _MADE_BY_US.items(),
            versions=sorted(self.enabled(target), reverse=True),
        )

    def enabled(self, target: Any) -> Iterator[int]:
        """Yield the numbers of the versions that can be read."""
        params = {"filter": "state:ENABLED", "pageSize": "250"}
        while True:
            answer = self._get(f"{self._path(target)}/versions", params)
            self._require(answer, target, "list the versions of")
            for version in answer.body.get("versions") or ():
                yield _number_of(version)
            page = answer.body.get("nextPageToken") or ""
            if not page:
                return
            params["pageToken"] = page

    def content(self, target: Any, version: str) -> bytes | None:
        """The content of a version; None if it cannot be read."""
        answer = self._get(f"{self._path(target)}/versions/{version}:access")
        # A version that is disabled or destroyed is refused with 400.
        if answer.status in (_ABSENT, _BAD):
            return None
        self._require(answer, target, "read")
        payload = answer.body.get("payload") or {}
        content = base64.b64decode(payload.get("data", ""))
        # The checksum is a 64-bit number, which JSON APIs of Google send as a text.
        if str(payload.get("dataCrc32c", crc32c(content))) != str(crc32c(content)):
            raise SinkError(f"{named(target)} arrived damaged", hint="try again")
        return content

    # --- writes

    def create(self, target: Any, owner: str) -> Facts | None:
        """Create an empty secret; None if there is one already."""
        body = {
            "replication": {"automatic": {}},
            "labels": _MADE_BY_US,
            "annotations": {OWNER: owner},
        }
        path = self._path(target).rpartition("/")[0]
        answer = self._send("POST", path, body, {"secretId": target["name"]})
        self._require(answer, target, "create", also=(_TAKEN,))
        if answer.status == _TAKEN:
            return None
        return Facts({OWNER: owner}, "", True, [])

    def annotate(self, target: Any, annotations: dict[str, str], etag: str) -> None:
        """Replace the annotations. Google refuses that if the secret changed since `etag` was read."""
        answer = self._send(
            "PATCH",
            self._path(target),
            {"annotations": annotations, "etag": etag},
            {"updateMask": "annotations"},
        )
        self._require(answer, target, "annotate")

    def note(self, target: Any, version: int, token: str) -> None:
        """Annotate which version is ours."""
        facts = self._get(self._path(target))
        self._require(facts, target, "describe")
        annotations = {**(facts.body.get("annotations") or {}), _TOKEN: mark_of(version, token)}
        self.annotate(target, annotations, str(facts.body.get("etag", "")))

    def add(self, target: Any, content: bytes) -> int:
        """Add a version, and return its number."""
        payload = {
            "data": base64.b64encode(content).decode(),
            "dataCrc32c": str(crc32c(content)),
        }
        answer = self._send("POST", f"{self._path(target)}:addVersion", {"payload": payload})
        self._require(answer, target, "add a version to")
        # The version exists, but which one it is stays unknown.
        try:
            return _number_of(answer.body)
        except SinkError as error:
            raise UncertainDeliveryError(str(error), hint=error.hint) from None

    def destroy(self, target: Any, version: int) -> None:
        """Destroy a version for good."""
        answer = self._send("POST", f"{self._path(target)}/versions/{version}:destroy", {})
        # A version that is destroyed already is refused with 400.
        self._require(answer, target, "destroy a version of", also=(_ABSENT, _BAD))

    def delete(self, target: Any) -> None:
        """Delete a secret with all its versions."""
        answer = self._send("DELETE", self._path(target))
        self._require(answer, target, "delete", also=(_ABSENT,))

    # --- requests

    def _path(self, target: Any) -> str:
        return f"v1/projects/{self._project()}/secrets/{target['name']}"

    def _project(self) -> str:
        env = self._context.env
        project = next((env[name].strip() for name in _PROJECT_VARIABLES if env.get(name)), "")
        if not project:
            file = credentials_file(env)
            if file is not None:
                # The key of a service account names its project; other credentials do not.
                project = str(read_file(file).get("project_id") or "")
        if not _PROJECT.fullmatch(project):
            raise SinkSetupError(
                "it is not known which project of Google Cloud to use",
                hint=f"set {PROJECT_VARIABLE} to the id of a project",
            )
        return project

    def _http(self) -> SinkHttp:
        return self._connection.get(self._connect)

    def _connect(self) -> SinkHttp:
        endpoint = self._context.env.get(ENDPOINT_VARIABLE) or _ENDPOINT
        client = self._context.connect(endpoint, variable=ENDPOINT_VARIABLE)
        server = f"Google Secret Manager at {client.base_url.netloc.decode()}"
        return SinkHttp(client, self._context, server, message_of=error_message_in)

    def _get(self, path: str, params: dict[str, str] | None = None) -> SinkResponse:
        return self._http().get(path, params=params, headers=self._tokens.header())

    def _send(
        self, method: str, path: str, body: Any = None, params: dict[str, str] | None = None
    ) -> SinkResponse:
        return self._http().send(
            method, path, json_body=body, params=params, headers=self._tokens.header()
        )

    def _require(
        self, answer: SinkResponse, target: Any, action: str, *, also: tuple[int, ...] = ()
    ) -> None:
        """Raise SinkError unless the answer is a success or has one of the statuses `also`."""
        if answer.status in also or (answer.status == _OK and isinstance(answer.body, dict)):
            return
        explanation = self._http().explanation(answer)
        hint = "see what Google Cloud says"
        if answer.status == _UNAUTHORIZED:
            hint = "renew the credentials of the environment"
        elif answer.status in (_FORBIDDEN, _ABSENT):
            hint = (
                f"grant the role Secret Manager Admin on the secret, and check {PROJECT_VARIABLE}"
            )
        raise SinkError(
            f"Google Secret Manager refuses to {action} {named(target)} "
            f"(status {answer.status}){explanation}",
            hint=hint,
        )


def named(target: Any) -> str:
    """A secret in a message."""
    return f'the secret "{target["name"]}" in Google Secret Manager'


def _number_of(version: Any) -> int:
    number = str(version.get("name", "")).rpartition("/")[2]
    if not number.isdigit():
        raise SinkError("Google Secret Manager names no version", hint="try again")
    return int(number)
