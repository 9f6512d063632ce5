"""The context of a change, and the interface of fields that have calls of their own.

Most fields travel in the body of a create or a modify. The others, such as the files of a store or
the key of an account, have a `FieldHandler`, chosen by the type of the field. The reader and the
writer know when each of its methods is due; the handler knows which calls it takes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from msgspec import Struct, field

from reconciler.api.objects.collection import CollectionClient
from reconciler.api.objects.scoped_client import ScopedClient
from reconciler.api.transport.request import Form
from reconciler.errors import AmbiguousError
from reconciler.model.address import Address
from reconciler.model.keys import KeyStep
from reconciler.model.kind import Field, Kind
from reconciler.model.provider import ExpectedValue, Steps
from reconciler.model.resource import LiveObject, Record
from reconciler.model.tracing import carried
from reconciler.model.values import Spec

CREATE_ATTEMPTS = 4
"""The most attempts of a create whose answers are lost. A search follows each attempt."""

_MOST_PENDING = 1_000
"""The most calls that are queued for a thread, or whose results wait for earlier ones. With this
many, a slow call leaves no thread idle.
"""

T = TypeVar("T")
R = TypeVar("R")


class ChangeContext(Struct):
    """One change of one object, and its results."""

    collection: CollectionClient
    address: Address | None
    steps: Steps
    record: Record | None = None
    keys: Sequence[KeyStep] = ()
    """The steps to carry out for the keys of the object."""
    answer: Spec = field(default_factory=dict)
    """The answer to a create, secrets included, or to a write of a handler."""
    delivered: dict[str, Any] = field(default_factory=dict)
    """Receipts of keys, by field."""
    notes: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """A sentence for each file that the API refused while the rest of the change succeeded."""

    def __repr__(self) -> str:
        return f"ChangeContext({self.address})"  # the answer may hold a key

    @property
    def kind(self) -> Kind:
        """The kind of the object."""
        return self.collection.kind

    @property
    def client(self) -> ScopedClient:
        """The client for the scope of the object."""
        return self.collection.client

    @property
    def applied(self) -> Spec:
        """The values that were applied last; empty without a record."""
        if self.record is None:
            return {}
        return self.record.applied


class FieldWrite(Struct, frozen=True):
    """A field with calls of its own in a change, and its desired value."""

    context: ChangeContext
    field: Field
    value: Any = None


class FieldHandler:
    """The calls behind a field that does not travel in the body. By default, methods do nothing.

    For a create, the order is `check`, `body` or `form`, the call, `journal_result`,
    `after_create`; for an update `check`, `write`; for a delete `before_delete`, the call,
    `after_delete`. `delete_leftovers` is for an object that needs no change, although a run died
    over it. Values are None where the field cannot be read.
    """

    def secret_keys(self, _field: Field) -> frozenset[str]:
        """Keys of a create's answer that must not be kept."""
        return frozenset()

    def check(self, field_write: FieldWrite) -> None:
        """Raise if the value could not be written, before any call is made."""

    def body(self, field_write: FieldWrite) -> Spec | None:
        """The part of the create's body for the field."""

    def form(self, field_write: FieldWrite) -> Form | None:
        """The form to send in place of a body, for fields that hold files."""

    def journal_result(self, answer: Spec) -> Spec | None:
        """The part of a create's answer to journal, free of secrets."""

    def after_create(self, field_write: FieldWrite, live: LiveObject) -> Any:
        """Write the field of an object that was just created; the live value afterwards."""

    def read_route(self, _kind: Kind) -> tuple[str, str] | None:
        """Method and path of the first call of `read`; None where it makes none."""

    def read(self, client: ScopedClient, live: LiveObject) -> Any:
        """The live value of the field."""

    def read_before_write(
        self, field: Field, client: ScopedClient, live: LiveObject, expected: ExpectedValue
    ) -> Any:
        """The live value right before a change, read as far as the change touches it."""
        del field, expected
        return self.read(client, live)

    def write(self, field_write: FieldWrite, live: LiveObject) -> Any:
        """Change the field to the desired value; the live value afterwards."""

    def before_delete(self, field_write: FieldWrite, live: LiveObject) -> None:
        """Remove what cannot be found once the object is gone."""

    def after_delete(self, field_write: FieldWrite) -> None:
        """Remove what the object left elsewhere."""

    def delete_leftovers(self, field_write: FieldWrite, live: LiveObject) -> None:
        """Remove what earlier runs created for the field and never used."""


FieldWrites = tuple[tuple[FieldHandler, FieldWrite], ...]


def create_once(
    create: Callable[[], T],
    search: Callable[[AmbiguousError], T | None],
    *,
    lost: AmbiguousError | None = None,
) -> T:
    """Create something; if the answer is lost, search for it, and only then create it again.

    `lost` is the error of a first attempt that was made already. Raises the last AmbiguousError
    after `CREATE_ATTEMPTS` attempts.
    """
    attempts = int(lost is not None)
    while True:
        if lost is not None:
            existing = search(lost)
            if existing is not None:
                return existing
            # After the search and not before it: the last attempt may have created something too.
            if attempts >= CREATE_ATTEMPTS:
                raise lost
        attempts += 1
        try:
            return create()
        except AmbiguousError as error:
            lost = error


def side_by_side(function: Callable[[T], R], items: Sequence[T], *, workers: int) -> list[R]:
    """The results of `function` in the order of the items, from a few threads.

    After an error no further call begins. Calls under way run to their end, then the first error is
    raised.
    """
    if len(items) <= 1 or workers <= 1:
        return [function(element) for element in items]
    # The threads of the pool have no current span of their own.
    function = carried(function)
    with ThreadPoolExecutor(max_workers=min(workers, len(items))) as pool:
        results: list[R] = []
        pending: deque[Future[R]] = deque()
        try:
            for element in items:
                # A future takes more than a kilobyte, and a folder can have very many files.
                if len(pending) >= _MOST_PENDING:
                    results.append(pending.popleft().result())
                pending.append(pool.submit(function, element))
            results += (future.result() for future in pending)
            return results
        except BaseException:
            # Calls under way run to their end: they are journalled, and the executor waits for them
            # when the block is left.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
