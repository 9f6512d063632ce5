"""Errors of the object store library as sentences.

The texts of the library quote URLs with signatures, so only the status and the error code of the
provider are shown.
"""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct

from reconciler.errors import StateError
from reconciler.state.remote.objects.address import BucketAddress
from reconciler.state.remote.objects.settings import BucketSettings
from reconciler.state.remote.storage import UnreachableError

Operation = Literal["list", "read", "write", "delete"]
"""The operation on objects of the bucket that failed."""

_PERMISSIONS = {
    "s3": {
        "list": "s3:ListBucket on the bucket",
        "read": "s3:GetObject on its objects",
        "write": "s3:PutObject on its objects",
        "delete": "s3:DeleteObject on its objects",
    },
    "az": {
        "list": "the role Storage Blob Data Contributor, or l in the SAS token",
        "read": "the role Storage Blob Data Contributor, or r in the SAS token",
        "write": "the role Storage Blob Data Contributor, or c and w in the SAS token",
        "delete": "the role Storage Blob Data Contributor, or d in the SAS token",
    },
    "gs": {
        "list": "storage.objects.list",
        "read": "storage.objects.get",
        "write": "storage.objects.create and storage.objects.delete",
        "delete": "storage.objects.delete",
    },
}
_CREDENTIALS = {
    "s3": "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or AWS_PROFILE.",
    "az": "Check AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or"
    " AZURE_STORAGE_SAS_TOKEN.",
    "gs": "Check GOOGLE_APPLICATION_CREDENTIALS.",
}
_ENDPOINT_VARIABLES = {
    "s3": "AWS_ENDPOINT_URL",
    "az": "AZURE_STORAGE_ENDPOINT",
    "gs": "GOOGLE_BASE_URL",
}

_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"}
_BAD_BUCKET = {"InvalidBucketName", "InvalidResourceName"}
_DENIED = {"AccessDenied", "AllAccessDisabled", "AuthorizationPermissionMismatch"}
_BAD_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "ExpiredToken",
    "InvalidSecurity",
    "AuthenticationFailed",
    "AuthorizationFailure",
    "InvalidAuthenticationInfo",
    "NoAuthenticationInformation",
}
_WRONG_REGION = {
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "TemporaryRedirect",
    "IllegalLocationConstraintException",
}
_BUSY = {"SlowDown", "RequestTimeout", "InternalError", "ServerBusy", "OperationTimedOut"}
_CONFLICTS = {"ConditionalRequestConflict", "OperationAborted"}
_TRANSIENT_STATUSES = {408, 429}
_SERVER_ERROR = 500
_NOT_IMPLEMENTED = 501
_FORBIDDEN = (401, 403)

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>|\(code: (\w+)\)")
_REGION = re.compile(r"<Region>([a-z0-9-]+)</Region>|expecting '([a-z0-9-]+)'")
_TOKEN_SOURCE = re.compile(
    r"169\.254\.\d+\.\d+|metadata\.google|/latest/api/token|token request|AssumeRole|sts\."
)


class StorageFailure(Struct, frozen=True):
    """The facts in an exception of the library."""

    status: int | None
    """The HTTP status; None without an answer."""
    code: str
    """The provider's error code, such as AccessDenied; empty if unknown."""
    is_connection: bool
    """No connection came about, so the request was not sent."""
    is_credentials: bool
    """The request for credentials failed, not the one to the store."""
    is_redirect: bool
    right_region: str

    @property
    def is_missing_bucket(self) -> bool:
        return self.code in _NO_BUCKET

    @property
    def is_conflict(self) -> bool:
        """A 409 of AWS: conditional writes of a key overlapped. It does not tell the result."""
        return self.code in _CONFLICTS

    @property
    def is_transient(self) -> bool:
        """The answer was lost, or the server was busy. The request may have been carried out."""
        if self.is_connection or self.is_credentials or self.is_redirect:
            return False
        if self.status is None:
            return not self.code
        if self.status == _NOT_IMPLEMENTED:
            return False
        return (
            self.status >= _SERVER_ERROR
            or self.status in _TRANSIENT_STATUSES
            or self.code in _BUSY
            or self.is_conflict
        )


def read_failure(error: Exception) -> StorageFailure:
    """Read the facts that the library provides only in its text."""
    text = str(error)
    message, _, debug = text.partition("Debug source")
    status = _STATUS.search(message)
    code = _CODE.search(message)
    region = _REGION.search(message)
    number = int(status[1]) if status else None
    code_text = (code[1] or code[2]) if code else ""
    # For a part of a batch, Azure puts the status in the place of the code.
    if code_text.isdigit():
        number, code_text = int(code_text), ""
    return StorageFailure(
        status=number,
        code=code_text,
        is_connection=number is None and "kind: Connect" in debug,
        is_credentials=bool(_TOKEN_SOURCE.search(message.partition("<")[0])),
        is_redirect="redirect without LOCATION" in message,
        right_region=(region[1] or region[2]) if region else "",
    )


class Explainer(Struct, frozen=True):
    """Makes the errors of one bucket."""

    address: BucketAddress
    settings: BucketSettings

    def error(self, failure: StorageFailure, operation: Operation) -> StateError:
        """The error to raise: an UnreachableError if a later attempt may succeed."""
        # In this order: a failure to get credentials also looks like a failed connection.
        if failure.is_credentials:
            return StateError(
                f"No credentials for {self.address} could be obtained.",
                hint=_CREDENTIALS[self.address.scheme],
            )
        if failure.is_connection:
            return UnreachableError(
                f"{self.address} cannot be reached{self._at_endpoint()}.",
                hint=f"Check the network, the proxy and {self._endpoint_variable()}.",
            )
        if failure.is_transient:
            return self._transient(failure, operation)
        return (
            self._wrong_place(failure)
            or self._refused(failure, operation)
            or self._other(failure, operation)
        )

    def silent(self, operation: Operation) -> UnreachableError:
        """No answer came within the time limit."""
        return UnreachableError(
            f"{self.address} did not answer in time to an attempt to {operation} objects.",
            hint="Try again; if it persists, check the network and the state of the service.",
        )

    def _transient(self, failure: StorageFailure, operation: Operation) -> UnreachableError:
        if failure.status is None:
            return self.silent(operation)
        return UnreachableError(
            f"{self.address} answered {self._answer(failure)}"
            f" to an attempt to {operation} objects.",
            hint="Try again; if it persists, check the state of the service.",
        )

    def _wrong_place(self, failure: StorageFailure) -> StateError | None:
        if failure.is_missing_bucket:
            return StateError(
                f"The {self.address.noun} {self.address.bucket} of {self.address}"
                f" does not exist{self._at_endpoint()}.",
                hint=f"Create the {self.address.noun} first, or correct the address"
                f" or {self._endpoint_variable()}.",
            )
        if failure.code in _BAD_BUCKET:
            return StateError(
                f"{self.address.bucket!r} is not a valid name of a {self.address.noun}.",
                hint="Correct the address of the state.",
            )
        if failure.code in _WRONG_REGION or failure.is_redirect:
            right = f": it is in {failure.right_region}" if failure.right_region else ""
            return StateError(
                f"The bucket of {self.address} is not in the region"
                f" {self.settings.region or 'us-east-1'}{right}.",
                hint=f"Set AWS_REGION to {failure.right_region or 'the region of the bucket'}.",
            )
        return None

    def _refused(self, failure: StorageFailure, operation: Operation) -> StateError | None:
        if failure.code == "RequestTimeTooSkewed":
            return StateError(
                f"{self.address} refuses requests because the clock of this machine is wrong.",
                hint="Synchronize the clock.",
            )
        if failure.code in _BAD_CREDENTIALS:
            return StateError(
                f"{self.address} does not accept the credentials ({failure.code}).",
                hint=_CREDENTIALS[self.address.scheme],
            )
        if failure.code in _DENIED or failure.status in _FORBIDDEN:
            return StateError(
                f"No permission to {operation} objects in {self.address}.",
                hint=f"Grant {_PERMISSIONS[self.address.scheme][operation]}.",
            )
        return None

    def _other(self, failure: StorageFailure, operation: Operation) -> StateError:
        if failure.status == _NOT_IMPLEMENTED and operation == "write":
            return StateError(
                f"The server of {self.address} does not implement conditional writes.",
                hint="Use a store that does; `reconciler state check` tries what is needed.",
            )
        return StateError(
            f"{self.address} refused to {operation} objects: {self._answer(failure)}.",
            hint=f"Check the address and {self._endpoint_variable()}.",
        )

    def _answer(self, failure: StorageFailure) -> str:
        status = f"HTTP {failure.status}" if failure.status else "an unknown error"
        return f"{status} ({failure.code})" if failure.code else status

    def _at_endpoint(self) -> str:
        return f" at {self.settings.endpoint}" if self.settings.endpoint else ""

    def _endpoint_variable(self) -> str:
        return _ENDPOINT_VARIABLES[self.address.scheme]
