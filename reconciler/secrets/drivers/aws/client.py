"""Calls to one service of AWS, with retries of our own and errors as sentences.

Credentials and region come from AWS's usual chain: variables, a profile, web identity, container
or instance. The retries and the logging of the library are off. No text of its errors is shown,
because it can quote the request.
"""

from __future__ import annotations

import logging
import re
import weakref
from collections.abc import Mapping
from ipaddress import ip_address
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec import Struct

from reconciler.errors import SinkError, SinkSetupError, SinkUnreachableError
from reconciler.model.secret import Secret
from reconciler.model.sinks import SinkContext
from reconciler.secrets.once import Once

if TYPE_CHECKING:
    from botocore.client import BaseClient

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 20.0
PAUSES = (0.5, 1.0, 2.0)
"""How many seconds to wait after each attempt but the last."""
_SERVER_ERROR = 500

_BUSY = {
    "InternalServiceError",
    "InternalServerError",
    "InternalFailure",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TooManyUpdates",
}
_BAD_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_DENIED = {"AccessDenied", "AccessDeniedException", "AuthorizationError", "NotAuthorized"}
_FULL = {
    "LimitExceededException",
    "ParameterLimitExceeded",
    "ParameterMaxVersionLimitExceeded",
}
_CREDENTIAL_ERRORS = ("RetrievalError", "ConfigError", "CredentialError", "WithMFAUnsupportedError")
"""The ends of the names of errors that come before a request."""
_CODE = re.compile(r"[A-Za-z0-9.:_-]{1,100}")
_NETWORK_HINT = "check the network, the proxy, AWS_REGION and AWS_ENDPOINT_URL"
_CREDENTIALS_HINT = (
    "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where AWS gives a role"
)


class AwsError(Exception):
    """A call failed. `code` is AWS's error code, empty where AWS did not answer."""

    def __init__(
        self,
        code: str,
        problem: str,
        hint: str,
        *,
        is_transient: bool = False,
        may_have_happened: bool = False,
        is_setup: bool = False,
    ) -> None:
        super().__init__(problem)
        self.code = code
        self.problem = problem
        """The failure, as a clause: `AWS denies access (AccessDeniedException)`."""
        self.hint = hint
        self.is_transient = is_transient
        """Whether another attempt may succeed."""
        self.may_have_happened = may_have_happened
        """Whether AWS may have carried out this attempt or an earlier one."""
        self.is_setup = is_setup
        """Whether a setting, a credential or a package is missing here."""

    def sink_error(self, place: str) -> SinkError:
        """The error for a place, of a put that certainly did not happen or of anything else."""
        kind = SinkError
        if self.is_setup:
            kind = SinkSetupError
        elif self.is_transient:
            kind = SinkUnreachableError
        return kind(f"{place}: {self.problem}", hint=self.hint)


class AwsService(Struct, frozen=True):
    """A service, and the variable of its endpoint for tests and private networks."""

    id: str
    noun: str
    endpoint_variable: str


class AwsClient:
    """Calls operations of a service. Made at the first call, because importing the library and
    finding credentials take time. Thread-safe."""

    def __init__(self, service: AwsService, context: SinkContext) -> None:
        self._service = service
        self._context = context
        self._client: Once[BaseClient] = Once()

    def read(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """The answer to an operation that changes nothing. Raises AwsError."""
        return self._call(operation, parameters, writes=False)

    def write(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """The answer to an operation that may be repeated. Raises AwsError."""
        return self._call(operation, parameters, writes=True)

    def _call(self, operation: str, parameters: dict[str, Any], *, writes: bool) -> dict[str, Any]:
        send = getattr(self._client.get(self._connect), operation)
        may_have_happened = False
        for attempt in count(1):
            # The lease of the run may have ended while an attempt was under way.
            if writes:
                self._context.permit()
            try:
                answer: dict[str, Any] = send(**parameters)
                return answer
            except Exception as error:  # noqa: BLE001 - sorted by type, and an unknown one is named
                failure = _failure_of(error)
            # Once an attempt may have arrived, the refusal of a later one says nothing about it.
            may_have_happened |= writes and failure.may_have_happened
            if attempt > len(PAUSES) or not failure.is_transient:
                failure.may_have_happened = may_have_happened
                raise failure
            self._context.sleep(PAUSES[attempt - 1])
        raise AssertionError("count() has no end")

    # --- the library

    def _connect(self) -> BaseClient:
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            raise _refused(
                f"{self._service.noun} needs a library that is not installed",
                "install reconciler with its extra `aws`",
            ) from None
        # At level DEBUG, the library logs whole requests, and with them secrets.
        for name in ("boto3", "botocore"):
            logger = logging.getLogger(name)
            logger.setLevel(max(logger.level, logging.WARNING))
        env = self._context.env
        # One attempt a call: after each, it has to be known whether a write may have happened.
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=ANSWER_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 1},
            user_agent_extra="reconciler",
        )
        try:
            session = boto3.session.Session(**_identity(env))
            self._learn(session)
            endpoint = _endpoint(env, self._service.endpoint_variable)
            client = session.client(self._service.id, endpoint_url=endpoint, config=config)
        except AwsError:
            raise
        except Exception as error:  # noqa: BLE001 - anything can be wrong with profiles and variables
            raise _failure_of(error) from None
        # Drivers live as long as their run.
        weakref.finalize(self, client.close)
        return client

    def _learn(self, session: Any) -> None:
        credentials = session.get_credentials()
        if credentials is None:
            raise _refused("there are no AWS credentials", _CREDENTIALS_HINT)
        # The keys of a role are fetched here, before the first call could quote them in an error.
        frozen = credentials.get_frozen_credentials()
        for value in (frozen.secret_key, frozen.token):
            if value:
                self._context.redactor.add(Secret(value))


def _identity(env: Mapping[str, str]) -> dict[str, str | None]:
    """The arguments of a session: keys of variables before a profile, as the AWS tools do."""
    region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or None
    if env.get("AWS_ACCESS_KEY_ID") and env.get("AWS_SECRET_ACCESS_KEY"):
        return {
            "aws_access_key_id": env["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": env["AWS_SECRET_ACCESS_KEY"],
            "aws_session_token": env.get("AWS_SESSION_TOKEN") or None,
            "region_name": region,
        }
    profile = env.get("AWS_PROFILE") or env.get("AWS_DEFAULT_PROFILE") or None
    return {"profile_name": profile, "region_name": region}


def _endpoint(env: Mapping[str, str], variable: str) -> str | None:
    """The endpoint that the environment gives; None for AWS's own. Raises AwsError."""
    if env.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    for name in (variable, "AWS_ENDPOINT_URL"):
        if env.get(name):
            _require_safe(name, env[name])
            return env[name]
    return None


def _require_safe(variable: str, url: str) -> None:
    # The message does not repeat the URL, which may contain a password.
    try:
        parts = urlsplit(url)
        # A port that is no number is found only by asking for it.
        _ = parts.port
    except ValueError:
        raise _refused(f"{variable} is not the URL of an endpoint", f"correct {variable}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise _refused(f"{variable} is not the URL of an endpoint", f"correct {variable}")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise _refused(
            f"{variable} is plain http, which would show keys to everyone on the way",
            "use https; plain http is accepted for loopback addresses only",
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


# --- failures


def _refused(problem: str, hint: str, code: str = "") -> AwsError:
    """A refusal; without AWS's code, of this process alone."""
    return AwsError(code, problem, hint, is_setup=not code)


def _failure_of(error: Exception) -> AwsError:
    """The failure that an exception of the library stands for."""
    import botocore.exceptions as kinds

    match error:
        case kinds.ClientError():
            return _answered(error.response)
        case kinds.NoRegionError() | kinds.InvalidRegionError():
            return _refused("there is no valid AWS region", "set AWS_REGION")
        case kinds.ProfileNotFound() | kinds.ConfigNotFound() | kinds.ConfigParseError():
            return _refused("the AWS profile cannot be read", "correct AWS_PROFILE or its file")
        case kinds.NoCredentialsError() | kinds.PartialCredentialsError():
            return _refused("there are no complete AWS credentials", _CREDENTIALS_HINT)
        case (
            kinds.EndpointConnectionError()
            | kinds.ConnectTimeoutError()
            | kinds.ProxyConnectionError()
        ):
            return AwsError("", "AWS cannot be reached", _NETWORK_HINT, is_transient=True)
        case kinds.SSLError():
            return _refused("the certificate of AWS's endpoint is not trusted", "set AWS_CA_BUNDLE")
        case kinds.HTTPClientError():
            return AwsError(
                "",
                "AWS did not answer",
                _NETWORK_HINT,
                is_transient=True,
                may_have_happened=True,
            )
        # Its text quotes the parameters, and with them the key.
        case kinds.ParamValidationError():
            return _refused("AWS's library refuses a parameter", "correct the target")
    name = type(error).__name__
    if name.endswith(_CREDENTIAL_ERRORS) or "SSO" in name:
        return _refused(f"AWS's credentials cannot be obtained ({name})", _CREDENTIALS_HINT)
    # An answer that was cut off or cannot be parsed has errors of many kinds.
    return AwsError(
        "",
        f"AWS's library failed ({name})",
        "try again",
        is_transient=True,
        may_have_happened=True,
    )


def _answered(response: Mapping[str, Any]) -> AwsError:
    """The failure that an answer of AWS reports."""
    code = str(response.get("Error", {}).get("Code", ""))
    shown = "an unknown error"
    if _CODE.fullmatch(code):
        shown = code
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _BAD_CREDENTIALS:
        return _refused(f"AWS does not accept the credentials ({shown})", _CREDENTIALS_HINT, code)
    if code in _DENIED:
        return _refused(
            f"AWS denies access ({shown})", "grant the permission that is missing", code
        )
    if code in _FULL:
        return _refused(
            f"a limit of AWS is reached ({shown})", "raise the limit or make room", code
        )
    is_transient = status >= _SERVER_ERROR or code in _BUSY
    hint = "see AWS's documentation of the error"
    if is_transient:
        hint = "try again"
    return AwsError(
        code,
        f"AWS answered {shown} (HTTP {status})",
        hint,
        is_transient=is_transient,
        may_have_happened=status >= _SERVER_ERROR,
    )
