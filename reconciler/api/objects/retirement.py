"""Retired endpoints: tells a 404 of a whole collection from a 404 of one object.

Where a server has retired a kind, every object of it answers 404, which would read as "all of them
were deleted". So before such a 404 counts, the list of the kind is requested once. If the list is
gone while the rest of the API answers, the kind is retired. Kinds without such a list name one that
was retired with them.
"""

from __future__ import annotations

import re

from reconciler.api.objects.scoped_client import ScopedClient
from reconciler.errors import AnswerError, ApiError, NotFoundError, ReconcilerError, RetiredError
from reconciler.model.kind import Kind

# The API announced that evals become read-only before they end; it has not said how it refuses a
# create then. These are the statuses of a route that is closed.
_REFUSED = (403, 404, 405, 410)
_GONE = 410
# A text rather than a pattern: few runs meet such an answer, and compiling takes time.
_SHUT_DOWN = r"(?i)\b(shut ?down|retired|sunset(ted)?|discontinued|no longer (available|supported|exists?))\b"
"""Words of a refusal that mean a retirement where the status alone does not."""


class Retirements:
    """The kinds that a server still has. Each list is requested at most once while it answers."""

    def __init__(self) -> None:
        self._alive: set[str] = set()

    def seen(self, kind: Kind) -> None:
        """Record that the server has the kind."""
        self._alive.add(kind.retirement_probe)

    def check(self, kind: Kind, client: ScopedClient) -> None:
        """Raise RetiredError if an object is missing because its whole kind is retired."""
        if kind.retirement is None or kind.retirement_probe in self._alive:
            return
        try:
            client.request("GET", kind.retirement_probe, query={"limit": 1})
        except ApiError as error:
            explained = self.explain(error, kind, client, path=kind.retirement_probe)
            if explained is not error:
                raise explained from error
            if isinstance(error, NotFoundError):
                raise
            # Any other refusal of that list says nothing about the object.
            return
        self.seen(kind)

    def explain(
        self, error: ApiError, kind: Kind, client: ScopedClient, *, path: str | None = None
    ) -> ApiError:
        """The meaning of an error of the kind's collection: RetiredError, or the error itself.

        May cost two calls. `path` is the path that was refused; if it has a parent, the parent may
        be what is missing.
        """
        refused = path or kind.collection
        if kind.retirement_probe in self._alive or not _may_be_gone(error):
            return error
        # 410, or a refusal in the words of a retirement.
        if not isinstance(error, NotFoundError):
            return _retired(kind, error)
        # The list itself was refused. A path with a parent does not show which of both is missing.
        if kind.retirement_probe == refused and "{" not in refused:
            return _verdict(error, kind, client)
        if kind.retirement is None:
            return error
        # Only the parent may be missing, so the list of the kind decides.
        try:
            self.check(kind, client)
        except ApiError as explained:
            return explained
        return error

    def refused(self, error: ApiError, kind: Kind, client: ScopedClient) -> ApiError:
        """The meaning of an error of a create: RetiredError, or the error itself."""
        if kind.retirement is not None and kind.retirement.read_only and error.status in _REFUSED:
            return _retired(kind, error, f" It was answered: {error}")
        # A 400 of a create is about its body, such as a model that was shut down.
        if not isinstance(error, NotFoundError):
            return error
        return self.explain(error, kind, client)


def _may_be_gone(error: ApiError) -> bool:
    # A page of a proxy says nothing about the API.
    if isinstance(error, AnswerError):
        return False
    # /v1/assistants answers 404 since its end. Other servers refuse lists that they lack with 400.
    says_so = error.status in (400, 403) and re.search(_SHUT_DOWN, str(error)) is not None
    return isinstance(error, NotFoundError) or error.status == _GONE or says_so


def _verdict(error: ApiError, kind: Kind, client: ScopedClient) -> ApiError:
    """A 404 of a collection means that the kind is gone only where the rest of the API answers."""
    # All servers of the API list models, so without that list, the base URL or the key is wrong.
    try:
        client.plain.request("GET", "/models")
    except ReconcilerError:
        return error
    return _retired(kind, error)


def _retired(kind: Kind, error: ApiError, more: str = "") -> RetiredError:
    hint = "A server that still has them is named by OPENAI_BASE_URL or --base-url."
    sentence = f"This server has no {kind.name} objects (any more). It answered: {error}"
    if kind.retirement is not None:
        sentence = f"{kind.retirement.sentence}{more}"
    return RetiredError(sentence, hint=hint, status=error.status)
