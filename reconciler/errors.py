"""All errors that reconciler raises on purpose.

    ReconcilerError
    ├── UsageError               the command line is wrong
    ├── ConfigurationError       problems in manifests or the stack file, with all diagnostics
    ├── CredentialError          a key is missing, or is of the wrong type, for a scope
    ├── ApiError                 the API refused a request, or could not be reached
    │   ├── NotFoundError        404: absent, in another project, or retired
    │   ├── AuthenticationError  401 or 403: names the key used and the key needed
    │   ├── ThrottledError       429 after all retries, or an exhausted quota
    │   ├── RetiredError         the server no longer has the endpoint
    │   ├── AnswerError          an undocumented response: HTML, truncated JSON, a repeated cursor
    │   └── AmbiguousError       a write whose outcome is unknown: timeout, lost connection, 5xx
    ├── OrganizationError        keys, state and stack file belong to different organizations
    ├── StateError               the state cannot be read, or needs a newer version
    │   └── LockedError          another run holds the lock
    │       └── LeaseLostError   another run has taken over the lock of this one
    ├── StalePlanError           manifests, state or objects changed since the plan
    ├── GuardError               a guard refuses the plan
    ├── HostError                a code host refused a request, or has no reviewed plan
    ├── SinkError                a secret could not be delivered
    │   ├── UncertainDeliveryError   it is unknown whether a secret was delivered
    │   ├── SinkUnreachableError     the destination did not answer, and nothing was written
    │   └── SinkSetupError           this process lacks the address or credential of a sink
    ├── JobError                 a job failed, or did not end in time
    └── Interrupted              the user stopped the run

Only `cli` turns them into exit codes; nothing else ends the process. Messages tell the user what
happened, and hints what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.model.change import FieldChange
    from reconciler.model.diagnostic import Diagnostic


class ReconcilerError(Exception):
    """Base class. `str(error)` is a message for the user; `hint`, if not empty, says what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(ReconcilerError):
    """The command line asks for something impossible or contradictory."""


class ConfigurationError(ReconcilerError):
    """Manifests or the stack file have problems; `diagnostics` has all of them, in file order."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        count = len(diagnostics)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} in the configuration")
        self.diagnostics = tuple(diagnostics)


class CredentialError(ReconcilerError):
    """The key for a scope is missing or of the wrong type."""


class ApiError(ReconcilerError):
    """The API refused a request, or could not be reached.

    `status` is the HTTP status, or None without a response. `code` and `param` come from the API's
    error body; `request_id` identifies the request to OpenAI's support.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.param = param
        self.request_id = request_id


class NotFoundError(ApiError):
    """404: the object is absent or in another project, or the endpoint is retired."""


class AuthenticationError(ApiError):
    """401 or 403. The message names the redacted key that was used, and the key that is needed."""


class ThrottledError(ApiError):
    """429 after all retries, or an exhausted quota, which retries cannot help."""


class RetiredError(ApiError):
    """The server no longer has the endpoint; the hint names the replacement of its kind."""


class AnswerError(ApiError):
    """A response that the API does not document: HTML, truncated JSON, a repeated cursor."""


class AmbiguousError(ApiError):
    """A write was sent and its outcome is unknown: search for its effect before retrying.

    `sent_at` is when it was sent, in unix seconds of the server's clock, or None if unknown.
    """

    sent_at: float | None = None


class OrganizationError(ReconcilerError):
    """The keys belong to another organization or server than the state or the stack file names."""


class StateError(ReconcilerError):
    """The state cannot be read or written, or needs a newer version of reconciler."""


class LockedError(StateError):
    """Another run holds the lock; the message says whose, where and since when."""


class LeaseLostError(LockedError):
    """This run no longer holds the lock: it must call and write nothing more."""


class StalePlanError(ReconcilerError):
    """Manifests, state, stack or a live object changed after the plan was made.

    `changed_since_plan` has the changed fields of a live object, from the planned to the current
    value.
    """

    def __init__(
        self, message: str, *, hint: str = "", changed_since_plan: Sequence[FieldChange] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.changed_since_plan = tuple(changed_since_plan)


class GuardError(ReconcilerError):
    """Guards refuse the plan; `refusals` has a sentence for each, with the option that allows it."""

    def __init__(self, refusals: Sequence[str]) -> None:
        super().__init__("refused: " + "; ".join(refusals))
        self.refusals = tuple(refusals)


class HostError(ReconcilerError):
    """A code host refused a request or cannot be reached, or has no plan that was reviewed."""


class SinkError(ReconcilerError):
    """A secret could not be delivered to its destination."""


class UncertainDeliveryError(SinkError):
    """A secret was sent to its destination, and it is unknown whether it arrived.

    The key stays valid, because its users may read it there already. The next run decides.
    """

    sent_at: float | None = None
    """When it was sent, in unix seconds of the API's clock; None if unknown."""


class SinkUnreachableError(SinkError):
    """The destination did not answer. Nothing was written, and a later run may succeed."""


class SinkSetupError(SinkError):
    """This process lacks what a sink needs: its address, a credential, or a package."""


class JobError(ReconcilerError):
    """A job failed, or did not end within its time limit. Earlier changes stay applied."""


class Interrupted(ReconcilerError):
    """The user stopped the run; calls in flight were finished and recorded."""
