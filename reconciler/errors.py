"""Everything that this program raises on purpose.

    ReconcilerError
    ├── UsageError               the command line asks for something that cannot be
    ├── ConfigurationError       manifests or the stack file have problems: carries every diagnostic found
    ├── CredentialError          no key, or the wrong class of key, for a scope
    ├── ApiError                 the API refused, or could not be understood
    │   ├── NotFoundError        404: absent, of another project, or retired
    │   ├── AuthenticationError  401 and 403: which key was used, which is needed
    │   ├── ThrottledError       429 that waiting did not cure, or an exhausted quota
    │   ├── RetiredError         the endpoint is gone from this server
    │   ├── AnswerError          an answer that is not what the API documents (HTML, truncated, a looping cursor)
    │   └── AmbiguousError       a write whose outcome is unknown: time-out, lost connection, 5xx
    ├── OrganizationError        keys, state or stack file are of different organizations
    ├── StateError               the state cannot be read, or is newer than this program
    │   └── LockedError          another run holds the lock
    ├── StalePlanError           the ground of a plan has moved
    ├── GuardError               a guard refuses the plan
    ├── SinkError                a secret could not be delivered
    ├── JobError                 a job failed, or went on for longer than it was waited for
    └── Interrupted              the user stopped the run

Only `cli` turns these into exit codes; nothing else ends the process. Messages are written for the person who must
act: what happened, then what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.model.change import FieldChange
    from reconciler.model.diagnostic import Diagnostic


class ReconcilerError(Exception):
    """Base of the tree. `str(error)` is a sentence for the user; `hint` says what to do, and may be empty."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(ReconcilerError):
    """The command line asks for something that cannot be."""


class ConfigurationError(ReconcilerError):
    """Manifests or the stack file have problems. `diagnostics` holds all that were found, in reading order."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        count = len(diagnostics)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} in the configuration")
        self.diagnostics = tuple(diagnostics)


class CredentialError(ReconcilerError):
    """No key, or the wrong class of key, for a scope."""


class ApiError(ReconcilerError):
    """The API refused a request, or could not be reached.

    `status` is the HTTP status or None where no answer came; `code` and `param` are the API's own, where it gave
    them; `request_id` is what the vendor's support asks for.
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
    """404: the object is absent, belongs to another project, or the endpoint is retired."""


class AuthenticationError(ApiError):
    """401 or 403. The message names the credential that was used, redacted, and the one that is needed."""


class ThrottledError(ApiError):
    """429 that waiting did not cure in the time allowed, or a quota that waiting cannot cure."""


class RetiredError(ApiError):
    """The endpoint is gone from this server, and the kind that uses it says what came after it."""


class AnswerError(ApiError):
    """An answer that is not what the API documents: HTML, truncated JSON, a cursor that repeats."""


class AmbiguousError(ApiError):
    """A write was sent and its outcome is unknown. Whoever catches this looks before trying again.

    `sent_at` is when it was sent, by the server's clock in unix seconds; None where that is not known.
    """

    sent_at: float | None = None


class OrganizationError(ReconcilerError):
    """The keys in use reach another organization or server than the state or the stack file names."""


class StateError(ReconcilerError):
    """The state cannot be read or written, or is of a newer version."""


class LockedError(StateError):
    """Another run holds the lock; the message says who, where and since when."""


class StalePlanError(ReconcilerError):
    """What a plan was made from has moved: manifests, state, stack, or a live object.

    `moved` is what of a live object did, field by field: from what the plan saw, to what is there.
    """

    def __init__(self, message: str, *, hint: str = "", moved: Sequence[FieldChange] = ()) -> None:
        super().__init__(message, hint=hint)
        self.changed_since_plan = tuple(moved)


class GuardError(ReconcilerError):
    """A guard refuses the plan. `refusals` has one sentence each, with what would allow exactly that."""

    def __init__(self, refusals: Sequence[str]) -> None:
        super().__init__("refused: " + "; ".join(refusals))
        self.refusals = tuple(refusals)


class SinkError(ReconcilerError):
    """A secret could not be delivered to where the manifest wants it."""


class JobError(ReconcilerError):
    """A job failed, or goes on for longer than it was to be waited for. What was done before stays done."""


class Interrupted(ReconcilerError):
    """The user stopped the run; what was in flight has been finished and recorded."""
