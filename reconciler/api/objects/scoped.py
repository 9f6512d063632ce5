"""A scope as seen by a caller: which key, which ids for the holes of paths, which beta header."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.api.keys import Key
from reconciler.api.transport import pages
from reconciler.api.transport.client import Client
from reconciler.api.transport.request import Request
from reconciler.errors import AmbiguousError, AnswerError
from reconciler.model.values import Spec


class ScopedClient(Struct, frozen=True):
    """A scope as seen by a caller: the key to use, the ids that paths need, the beta header of the kind."""

    client: Client
    key: Key
    ids: Mapping[str, str] = field(default_factory=dict)
    beta: str | None = None

    @property
    def plain(self) -> ScopedClient:
        """The same without the beta header, for routes that are no part of the beta."""
        return replace(self, beta=None)

    def request(
        self, method: str, path: str, *, ids: Mapping[str, str] | None = None, **rest: Any
    ) -> dict[str, Any]:
        """One call; `rest` is as in `Client.request`."""
        return self.client.exchange(self._request(method, path, ids, rest)).body

    def download(self, path: str, *, ids: Mapping[str, str] | None = None) -> bytes:
        """The bytes that a call answers with, whatever they are."""
        return self.client.exchange(self._request("GET", path, ids, {"is_download": True})).content

    def exchange(
        self, method: str, path: str, *, ids: Mapping[str, str] | None = None
    ) -> tuple[Spec, Spec]:
        """One call without a body, and the headers of its answer with it."""
        answer = self.client.exchange(self._request(method, path, ids, {}))
        return answer.body, answer.headers

    def list(
        self,
        path: str,
        *,
        ids: Mapping[str, str] | None = None,
        query: pages.QueryParameters | None = None,
        attempts: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Every item of a list, page by page."""

        def ask(asked: pages.QueryParameters) -> dict[str, Any]:
            return self.request("GET", path, ids=ids, query=dict(asked), attempts=attempts)

        return pages.items(ask, what=path, query=query)

    def _request(
        self, method: str, path: str, ids: Mapping[str, str] | None, rest: Mapping[str, Any]
    ) -> Request:
        return Request(method, path, self.key, {**self.ids, **(ids or {})}, beta=self.beta, **rest)


def id_of(item: Mapping[str, Any], *, what: str) -> str:
    """The id of an answered object; AnswerError where it has none."""
    found = item.get("id")
    if not isinstance(found, str) or not found:
        raise AnswerError(f"{what}: the answer has no id.")
    return found


def new_id_of(answer: Mapping[str, Any], *, what: str) -> str:
    """The id of an object that a call created.

    Raises AmbiguousError where the answer has none: something was created, and nobody knows which object it is.
    """
    try:
        return id_of(answer, what=what)
    except AnswerError as error:
        raise AmbiguousError(f"{error} Whether the object was created is unknown.") from error
