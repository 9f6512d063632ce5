"""Endpoints that are gone: a 404 of a whole collection, told apart from a 404 of one object.

Where a server has retired a kind, every object of it answers 404, which would read as "all of them were deleted". So
before a 404 of such a kind is believed, its list is asked once; and where the list is gone while the rest of the API
answers, the kind is retired. Kinds that have no such list name one that went with them.
"""

from __future__ import annotations

from reconciler.api.reach import Reach
from reconciler.errors import ApiError, NotFoundError, ReconcilerError, RetiredError
from reconciler.model.kind import Kind, Retirement

_REFUSED = (403, 404, 405, 410)


class Retirements:
    """What is known of kinds that a server may have retired. Each list is asked for at most once when it is alive."""

    def __init__(self) -> None:
        self._alive: set[str] = set()

    def seen(self, kind: Kind) -> None:
        """Note that the server has the kind."""
        self._alive.add(kind.told_by)

    def check(self, kind: Kind, reach: Reach) -> None:
        """Raise RetiredError if an object of the kind is missing because the whole kind is."""
        if kind.retirement is None or kind.told_by in self._alive:
            return
        try:
            reach.request("GET", kind.told_by, query={"limit": 1})
        except NotFoundError as error:
            explained = _verdict(error, kind.retirement, reach)
            if explained is error:
                raise
            raise explained from error
        self.seen(kind)

    def explain(self, error: ApiError, kind: Kind, reach: Reach) -> ApiError:
        """What a 404 of the kind's collection means, at the price of a call or two; the error itself if no more."""
        if kind.retirement is None or kind.told_by in self._alive or not isinstance(error, NotFoundError):
            return error
        if kind.told_by == kind.collection:
            return _verdict(error, kind.retirement, reach)
        try:
            self.check(kind, reach)  # what is missing may be the object around it alone
        except ApiError as found:
            return found
        return error

    def refused(self, error: ApiError, kind: Kind, reach: Reach) -> ApiError:
        """What it means that nothing new is made; the error itself if it has nothing to do with a retirement."""
        if kind.retirement is not None and kind.retirement.read_only and error.status in _REFUSED:
            return _retired(kind.retirement, error.status, f" It was answered: {error}")
        return self.explain(error, kind, reach)


def _verdict(error: NotFoundError, retirement: Retirement, reach: Reach) -> ApiError:
    try:
        reach.plain.request("GET", "/models")
    except ReconcilerError:
        return error
    return _retired(retirement, 404)


def _retired(retirement: Retirement, status: int | None, more: str = "") -> RetiredError:
    hint = "A server that still has them is named by OPENAI_BASE_URL or --base-url."
    return RetiredError(f"{retirement.sentence}{more}", hint=hint, status=status)
