"""A client for one scope: the key, the ids of the path parameters, and the beta header."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.api.keys import Key
from reconciler.api.transport import pages
from reconciler.api.transport.client import Client
from reconciler.api.transport.request import Request, Reuse
from reconciler.errors import AmbiguousError, AnswerError
from reconciler.model.values import Spec


class ScopedClient(Struct, frozen=True):
    """Makes calls in one scope. `ids` fill path parameters, in addition to those of each call.

    `reuse` is that of all reads.
    """

    http: Client
    key: Key
    ids: Mapping[str, str] = field(default_factory=dict)
    beta: str | None = None
    reuse: Reuse = Reuse.NEVER

    @property
    def plain(self) -> ScopedClient:
        """The same without the beta header, for routes that are no part of the beta."""
        return replace(self, beta=None)

    def request(
        self, method: str, path: str, *, ids: Mapping[str, str] | None = None, **rest: Any
    ) -> dict[str, Any]:
        """One call; `rest` are fields of `Request`."""
        return self.http.exchange(self._request(method, path, ids, rest)).body

    def download(self, path: str, *, ids: Mapping[str, str] | None = None) -> bytes:
        """The bytes of a download."""
        request = self._request("GET", path, ids, {"is_download": True})
        return self.http.exchange(request).content

    def exchange(
        self, method: str, path: str, *, ids: Mapping[str, str] | None = None
    ) -> tuple[Spec, Spec]:
        """One call without a body; the JSON of its answer and the headers."""
        answer = self.http.exchange(self._request(method, path, ids, {}))
        return answer.body, answer.headers

    def list(
        self,
        path: str,
        *,
        ids: Mapping[str, str] | None = None,
        query: pages.QueryParameters | None = None,
        attempts: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Every item of a list; each page is requested when its first item is."""

        def fetch(parameters: pages.QueryParameters) -> dict[str, Any]:
            return self.request("GET", path, ids=ids, query=dict(parameters), attempts=attempts)

        return pages.items(fetch, subject=path, query=query)

    def is_shared(self, path: str, *, ids: Mapping[str, str], query: pages.QueryParameters) -> bool:
        """Whether another client has read, or is reading, a list that this one may use."""
        # Only the reader of a plan takes answers of others.
        if self.http.shared is None or self.reuse is not Reuse.ALLOWED:
            return False
        return self.http.shared.is_known(self._request("GET", path, ids, {"query": query}))

    def _request(
        self, method: str, path: str, ids: Mapping[str, str] | None, rest: Mapping[str, Any]
    ) -> Request:
        all_ids = {**self.ids, **(ids or {})}
        return Request(method, path, self.key, all_ids, beta=self.beta, reuse=self.reuse, **rest)


def id_of(answer: Mapping[str, Any], *, subject: str) -> str:
    """The id of an answered object; AnswerError where it has none."""
    id = answer.get("id")
    if not isinstance(id, str) or not id:
        raise AnswerError(f"{subject}: the answer has no id.")
    return id


def new_id_of(answer: Mapping[str, Any], *, subject: str) -> str:
    """The id of an object that a call created.

    Raises AmbiguousError where the answer has none: the call created an object with an unknown id.
    """
    # An AnswerError would read as a failed create, after which the caller may create another object.
    try:
        return id_of(answer, subject=subject)
    except AnswerError as error:
        raise AmbiguousError(f"{error} Whether the object was created is unknown.") from error
