"""What the makers of calls share: whom they call as, the change they work on, and how a field with own calls plugs in.

Most fields travel in the body of a create or a modify. The others (the content of a store, the key of an account) are
carried by a `Carrier`, chosen by the type of the field; the provider knows when each is due, the carrier knows how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from reconciler.api import pages
from reconciler.api.client import Client, Request
from reconciler.api.keys import Key
from reconciler.errors import AnswerError
from reconciler.model.address import Address
from reconciler.model.kind import Field, Kind
from reconciler.model.provider import Steps
from reconciler.model.resource import LiveObject, Record
from reconciler.model.values import Spec

CREATE = "create"
"""The journal's name of the step that makes an object."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Reach:
    """A scope as seen by a caller: the key to use, the ids that paths need, the beta header of the kind."""

    client: Client
    key: Key
    ids: Mapping[str, str] = field(default_factory=dict)
    beta: str | None = None

    @property
    def plain(self) -> Reach:
        """The same without the beta header, for routes that are no part of the beta."""
        return replace(self, beta=None)

    def request(self, method: str, path: str, *, ids: Mapping[str, str] | None = None, **rest: Any) -> dict[str, Any]:
        """One call; `rest` is as in `Client.request`."""
        return self.client.exchange(self._request(method, path, ids, rest)).body

    def exchange(self, method: str, path: str, *, ids: Mapping[str, str] | None = None) -> tuple[Spec, Spec]:
        """One call without a body, and the headers of its answer with it."""
        answer = self.client.exchange(self._request(method, path, ids, {}))
        return answer.body, answer.headers

    def list(
        self, path: str, *, ids: Mapping[str, str] | None = None, query: Mapping[str, str | int] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Every item of a list, page by page."""
        return pages.items(lambda asked: self.request("GET", path, ids=ids, query=dict(asked)), what=path, query=query)

    def _request(self, method: str, path: str, ids: Mapping[str, str] | None, rest: Mapping[str, Any]) -> Request:
        return Request(method, path, self.key, {**self.ids, **(ids or {})}, beta=self.beta, **rest)


@dataclass
class Work:
    """One change of one object, and what comes of it: receipts by key field, and remarks for the report.

    `answer` is what a create answered, secrets included.
    """

    kind: Kind
    reach: Reach
    address: Address | None
    project: str | None
    steps: Steps
    record: Record | None = None
    answer: Spec = field(default_factory=dict, repr=False)
    delivered: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Task:
    """One carried field of a change, and the value that it shall have."""

    work: Work
    field: Field
    value: Any = None


class Carrier:
    """The calls behind a field that does not travel in the body. Each method may do nothing, and here does so.

    The order is: `check` before anything is sent; `body` and `journalled` around the create, `created` after it;
    `write` for an update; `removing` before and `removed` after the object goes. Values are None where the field
    cannot be read.
    """

    private: frozenset[str] = frozenset()
    """Keys of a create's answer that must not be kept."""

    def check(self, task: Task) -> None:
        """Raise if the value could not be written, before any call is made."""

    def body(self, task: Task) -> Spec | None:
        """What the body of the create says about the field."""

    def journalled(self, answer: Spec) -> Spec | None:
        """What the journal should know of a create's answer, free of secrets."""

    def created(self, task: Task, live: LiveObject) -> Any:
        """Write the field of an object that was just created; the live value afterwards."""

    def read(self, reach: Reach, live: LiveObject) -> Any:
        """The live value of the field."""

    def write(self, task: Task, live: LiveObject) -> Any:
        """Bring the field from what `live` carries to the task's value; the live value afterwards."""

    def removing(self, task: Task, live: LiveObject) -> None:
        """Remove what would be out of reach once the object is gone."""

    def removed(self, task: Task) -> None:
        """Remove what the object left behind elsewhere."""


def id_of(item: Mapping[str, Any], *, what: str) -> str:
    """The id of an answered object; AnswerError where it has none."""
    found = item.get("id")
    if not isinstance(found, str) or not found:
        raise AnswerError(f"{what}: the answer has no id.")
    return found


def side_by_side(function: Callable[[T], R], items: Sequence[T], *, workers: int) -> list[R]:
    """The results of `function` in the order of the items, a few at a time.

    After an error nothing new is begun; what is under way ends first, then the first error is raised.
    """
    if len(items) <= 1 or workers <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(max_workers=min(workers, len(items))) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
