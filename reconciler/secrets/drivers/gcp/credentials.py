"""Access tokens for Google Cloud, from the sources that Google's own tools use, in their order.

A token in a variable, then a file of credentials (the key of a service account, workload identity
federation, a person's login), then the metadata server of the machine. Files are read by Google's
library, because their kinds keep changing; it is imported only where there is one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from reconciler.errors import SinkError, SinkSetupError
from reconciler.model.secret import Secret
from reconciler.model.sinks import SinkContext
from reconciler.secrets.drivers import instance_metadata
from reconciler.secrets.drivers.access_tokens import AccessToken

FILE_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
_TOKEN_VARIABLES = ("GOOGLE_OAUTH_ACCESS_TOKEN", "CLOUDSDK_AUTH_ACCESS_TOKEN")
_METADATA_VARIABLE = "GCE_METADATA_HOST"
_METADATA_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_SHOWN_CHARACTERS = 200
_HINT = (
    f"set {FILE_VARIABLE} or {_TOKEN_VARIABLES[0]}, or run where the metadata server gives a token"
)


def access_token(context: SinkContext) -> AccessToken:
    """A token. Raises SinkError."""
    for name in _TOKEN_VARIABLES:
        if text := context.env.get(name, "").strip():
            return AccessToken(text, None)
    file = credentials_file(context.env)
    if file is not None:
        return _token_of_file(file, context)
    return _token_of_machine(context.env)


def credentials_file(env: Mapping[str, str]) -> Path | None:
    """The file that the variable names, else that of `gcloud auth application-default login`."""
    if named := env.get(FILE_VARIABLE, "").strip():
        return Path(named)
    folder = env.get("CLOUDSDK_CONFIG", "")
    if not folder and env.get("HOME"):
        folder = env["HOME"] + "/.config/gcloud"
    if not folder:
        return None
    file = Path(folder) / "application_default_credentials.json"
    return file if file.is_file() else None


def read_file(file: Path) -> dict[str, Any]:
    """The content of a file of credentials. Raises SinkError."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        # The error of the parser quotes the content, which is a credential.
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise SinkSetupError(
            f"the file of {FILE_VARIABLE} cannot be read: {reason}", hint=f"correct {FILE_VARIABLE}"
        ) from None
    if not isinstance(content, dict):
        raise SinkError(
            f"the file of {FILE_VARIABLE} holds no credentials", hint=f"correct {FILE_VARIABLE}"
        )
    return content


def _token_of_machine(env: Mapping[str, str]) -> AccessToken:
    host = env.get(_METADATA_VARIABLE) or "metadata.google.internal"
    answer = instance_metadata.ask(
        f"http://{host}{_METADATA_PATH}",
        variable=_METADATA_VARIABLE,
        params={},
        headers={"Metadata-Flavor": "Google"},
    )
    if not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
        raise SinkSetupError("there are no credentials for Google Cloud", hint=_HINT)
    return AccessToken(answer["access_token"], float(answer.get("expires_in", 0)))


def _token_of_file(file: Path, context: SinkContext) -> AccessToken:
    content = read_file(file)
    for name in ("private_key", "client_secret", "refresh_token"):
        if isinstance(content.get(name), str):
            context.redactor.add(Secret(content[name]))
    try:
        from google.auth import exceptions
    except ImportError:
        raise SinkSetupError(
            f"reading {FILE_VARIABLE} needs a library that is not installed",
            hint="install reconciler with its extra `gcp`",
        ) from None
    try:
        credentials = _credentials_in(content)
        credentials.refresh(_Transport(context))
    except (exceptions.GoogleAuthError, ValueError, KeyError) as error:
        problem = context.redactor(" ".join(str(error).split()))[:_SHOWN_CHARACTERS]
        raise SinkError(
            f"the credentials of {FILE_VARIABLE} give no token: {problem}",
            hint=f"correct the file of {FILE_VARIABLE}",
        ) from None
    expiry = credentials.expiry
    seconds = 0.0
    # The library keeps the time in UTC, without a time zone.
    if expiry is not None:
        seconds = (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
    return AccessToken(str(credentials.token), seconds)


def _credentials_in(content: dict[str, Any]) -> Any:
    """Credentials of Google's library for a file. Raises SinkError for a kind that is not read."""
    # Each kind has its own loader. The general one would also take kinds that run programs.
    from google.auth import identity_pool
    from google.oauth2 import credentials, service_account

    kind = content.get("type")
    loaders: dict[Any, Any] = {
        "service_account": service_account.Credentials.from_service_account_info,
        "authorized_user": credentials.Credentials.from_authorized_user_info,
        "external_account": identity_pool.Credentials.from_info,
    }
    source = content.get("credential_source")
    is_program = isinstance(source, dict) and not {"file", "url"} & source.keys()
    if kind not in loaders or is_program:
        raise SinkError(
            f"the file of {FILE_VARIABLE} has credentials of a kind that is not supported",
            hint="use the key of a service account, workload identity federation with a file or "
            "a URL, or a token in GOOGLE_OAUTH_ACCESS_TOKEN",
        )
    return loaders[kind](content, scopes=[_SCOPE])


class _Response(Struct, frozen=True):
    """An answer in the form of Google's library."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class _Transport(Struct, frozen=True):
    """Requests of Google's library, through our client with its proxy and certificates."""

    context: SinkContext

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002 - our client has one
        **_: Any,
    ) -> _Response:
        import httpx
        from google.auth.exceptions import TransportError

        try:
            parts = urlsplit(url)
        except ValueError:
            problem = f"an address in the file of {FILE_VARIABLE} is not a URL"
            raise TransportError(problem) from None  # type: ignore[no-untyped-call]
        target = parts.path
        if parts.query:
            target += f"?{parts.query}"
        try:
            client = self.context.connect(
                f"{parts.scheme}://{parts.netloc}", variable=FILE_VARIABLE
            )
            with client:
                answer = client.request(method, target, content=body, headers=headers)
        except SinkError as error:
            raise TransportError(str(error)) from None  # type: ignore[no-untyped-call]
        except httpx.HTTPError as error:
            problem = f"{parts.hostname} cannot be reached: {error}"
            raise TransportError(problem) from None  # type: ignore[no-untyped-call]
        return _Response(answer.status_code, answer.headers, answer.content)
