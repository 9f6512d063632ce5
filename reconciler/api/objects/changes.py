"""What the makers of calls share: whom they call as, the change they work on, and how a field with own calls plugs in.

Most fields travel in the body of a create or a modify. The others (the content of a store, the key of an account) are
carried by a `Carrier`, chosen by the type of the field; the provider knows when each is due, the carrier knows how.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from msgspec import Struct, field

from reconciler.api.objects.collection import CollectionClient
from reconciler.api.objects.scoped import ScopedClient
from reconciler.api.transport.request import Form
from reconciler.model.address import Address
from reconciler.model.kind import Field, Kind
from reconciler.model.provider import ExpectedValue, Steps
from reconciler.model.resource import LiveObject, Record
from reconciler.model.values import Spec

DOUBTFUL_ATTEMPTS = 4
"""How often something is made whose answers are lost, each time after looking for what came of the time before."""

T = TypeVar("T")
R = TypeVar("R")


class ChangeContext(Struct):
    """One change of one object, and what comes of it: receipts by key field, and remarks for the report.

    `answer` is what a create answered, secrets included, or what the write of a carrier was answered about the object.
    """

    collection: CollectionClient
    address: Address | None
    steps: Steps
    record: Record | None = None
    answer: Spec = field(default_factory=dict)
    delivered: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """A sentence for each file that the API refused while the rest of the change went through."""

    def __repr__(self) -> str:
        return f"Work({self.address})"  # the answer may hold a key

    @property
    def kind(self) -> Kind:
        """The kind of the object."""
        return self.collection.kind

    @property
    def client(self) -> ScopedClient:
        """Whom to call as."""
        return self.collection.client


class FieldWrite(Struct, frozen=True):
    """One carried field of a change, and the value that it shall have."""

    context: ChangeContext
    field: Field
    value: Any = None


class FieldHandler:
    """The calls behind a field that does not travel in the body. Each method may do nothing, and here does so.

    The order is: `check` before anything is sent; `body` or `form` and `journalled` around the create, `created` after;
    `write` for an update; `removing` before and `removed` after the object goes. `tidy` is for an object that is as it
    should be, although a run died over it. Values are None where the field cannot be read.
    """

    def private(self, _field: Field) -> frozenset[str]:
        """Keys of a create's answer that must not be kept."""
        return frozenset()

    def check(self, task: FieldWrite) -> None:
        """Raise if the value could not be written, before any call is made."""

    def body(self, task: FieldWrite) -> Spec | None:
        """What the body of the create says about the field."""

    def form(self, task: FieldWrite) -> Form | None:
        """What the create sends in place of a body, where the field is a file or many."""

    def journalled(self, answer: Spec) -> Spec | None:
        """What the journal should know of a create's answer, free of secrets."""

    def created(self, task: FieldWrite, live: LiveObject) -> Any:
        """Write the field of an object that was just created; the live value afterwards."""

    def reads(self, _kind: Kind) -> tuple[str, str] | None:
        """Method and path of the call that `read` begins with; None where it makes none."""

    def read(self, reach: ScopedClient, live: LiveObject) -> Any:
        """The live value of the field."""

    def read_before_write(
        self, field: Field, reach: ScopedClient, live: LiveObject, expected: ExpectedValue
    ) -> Any:
        """The live value right before it is changed, read as far as the change touches it."""
        del field, expected
        return self.read(reach, live)

    def write(self, task: FieldWrite, live: LiveObject) -> Any:
        """Bring the field from what `live` carries to the task's value; the live value afterwards."""

    def removing(self, task: FieldWrite, live: LiveObject) -> None:
        """Remove what would be out of reach once the object is gone."""

    def removed(self, task: FieldWrite) -> None:
        """Remove what the object left behind elsewhere."""

    def delete_leftovers(self, task: FieldWrite, live: LiveObject) -> None:
        """Remove what earlier runs made for the field and did not live to use."""


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
