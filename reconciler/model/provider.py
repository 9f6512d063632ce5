"""The interfaces between the engine and the API, as protocols.

The engine depends on these alone: it knows no HTTP, no files and no keys. Planning needs a
`LiveReader`; apply needs a `LiveWriter` too. `api.objects.provider.HttpProvider` implements both. A
`project` argument is the project's name in the configuration. It is None for the organization and
for the project of the default key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from msgspec import Struct, field

from reconciler.model.address import Address
from reconciler.model.calls import Parent
from reconciler.model.keys import KeyStep
from reconciler.model.kind import Kind
from reconciler.model.resource import LiveObject, Record
from reconciler.model.secret import Secret
from reconciler.model.values import Spec

CREATE = "create"
"""The journal's name for the step that creates an object."""

DELIVER = "deliver key"
"""The journal's name for the step that hands a key to its destinations."""

MINT = "mint key"
"""The journal's name for the step that creates a key of an object."""


class JournalledCall(Protocol):
    """One journalled call. Leaving its context without a call of `done` records a failure."""

    def done(self, id: str | None = None, **result: Any) -> None:
        """Record success and the id in the answer; `result` is JSON and holds no secret."""


class Steps(Protocol):
    """The journal of one change."""

    def step(self, name: str, **intent: Any) -> AbstractContextManager[JournalledCall]:
        """Write the intent before a call. `name` is such as `create` or `upload handbook/a.md`."""

    def unfinished(self, name: str) -> Sequence[Mapping[str, Any]]:
        """Intents of earlier runs for this address and `name` that never ended, oldest first.

        Each has the keys of the intent, plus `began_at` and `ended_at` in unix seconds of the
        server. `ended_at` is None where the process died during the call. Otherwise it is the time
        at which the call was given up without an answer.
        """

    def finished(self, name: str) -> Sequence[Mapping[str, Any]]:
        """Steps for this address and `name` that ended in changes that did not end.

        Each has `id` and the keys of the result.
        """


class Sinks(Protocol):
    """The destinations of secrets.

    A target is one element of the `write_to` of a manifest, `{SINK: VALUE}`; see
    `model/sinks.py:targets_of`. Properties of its sink are those of
    `model/sinks.py:named_sink`.
    """

    def check(self, target: Spec, *, address: Address) -> None:
        """Raise SinkError if the target could not take a secret now.

        Examples are a file that is not ours and a command that does not exist.
        """

    def put(
        self, target: Spec, secret: Secret, *, address: Address, token: str
    ) -> Mapping[str, Any]:
        """Deliver the secret and return a receipt: JSON to store, without the secret.

        `token` identifies the secret, see `model/sinks.py:Sink.put`. Raises SinkError if it was
        certainly not delivered, and UncertainDeliveryError if it may have been.
        """

    def recall(self, target: Spec, *, address: Address) -> Secret | None:
        """The secret of an earlier `put`, if it can be read back and nobody changed it."""

    def fetch(self, target: Spec) -> Secret | None:
        """The secret at the target of a source; None if there is none.

        Raises SinkError. The caller checks whether the source is allowed.
        """

    def withdraw(self, target: Spec, receipt: Mapping[str, Any], *, address: Address) -> None:
        """Remove what `put` delivered if nobody changed it; does nothing for commands."""


class Written(Struct, frozen=True):
    """The result of a write."""

    live: LiveObject
    """The object in the API's answer."""
    delivered: Mapping[str, Any] = field(default_factory=dict)
    """The receipts of delivered keys, by key field."""
    notes: tuple[str, ...] = ()
    """Remarks for the report."""
    refused: tuple[str, ...] = ()
    """A sentence for each file that the API refused. The rest of the object is as asked."""


class ExpectedValue(Struct, frozen=True):
    """The part of a plan about a field. It limits a second read to the parts that the change
    touches.
    """

    seen: Any
    """The value that the plan saw, in comparable form."""
    after: Any
    """The value to write; None where every part of the field counts."""
    applied: Any
    """The value that we wrote last."""


class IdReservations(Protocol):
    """The owners of ids in one run, so that no object is bound to two addresses. Thread-safe."""

    def reserve(self, id: str, owner: Address) -> bool:
        """Reserve an id for an address; False if another address has it."""

    def is_free(self, id: str, owner: Address) -> bool:
        """Whether the address has reserved the id or still could."""

    def wait_for_creates(self, collection: str, identity: Spec | None) -> None:
        """Wait until no create of this identity is in flight.

        Every object that was listed before is then reserved, or its create had no answer.
        """


class LiveReader(Protocol):
    """Reads objects, for planning. Thread-safe; all methods raise errors of the `ApiError` tree."""

    @property
    def calls(self) -> int:
        """Requests sent so far, retries included."""

    def bind_project(self, name: str, project_id: str) -> None:
        """Set the API project of a project name in the configuration."""

    def can_read(self, kind: Kind, project: str | None) -> bool:
        """Whether the kind can be read now: the project exists and has a key."""

    def announce(self, kind: Kind, project: str | None, *calls: str, parent: Parent = ()) -> None:
        """Announce calls, so that the remaining time can be estimated.

        A call is `list`, a name of `Calls`, or the name of a field with calls of its own.
        """

    def list(
        self,
        kind: Kind,
        project: str | None,
        parent: Parent = (),
        *,
        only_ids: frozenset[str] | None = None,
        fresh: bool = False,
        is_optional: bool = False,
    ) -> Sequence[LiveObject]:
        """All objects of a kind in a scope and parent, every page, ended objects included.

        `only_ids` holds the ids that the caller needs. The list may then omit all others, and also
        some of these where single reads take fewer calls. `fresh` bypasses a cache. An
        `is_optional` list is given up after few retries.
        """

    def get(
        self, kind: Kind, project: str | None, id: str, *, fresh: bool = False
    ) -> LiveObject | None:
        """One object, or None where the API has none. Lists kinds without a call for one object.

        `fresh` bypasses a cache.
        """

    def read_own_calls(self, live: LiveObject, names: Iterable[str]) -> LiveObject:
        """The object with the live values of named fields that have calls of their own."""


class LiveWriter(Protocol):
    """Writes objects, and makes the reads that only apply needs and that no cache may answer.

    Thread-safe; all methods raise errors of the `ApiError` tree. The specs that `create` and
    `update` take are resolved: they hold no references and no unknowns.
    """

    @property
    def reservations(self) -> IdReservations:
        """The ids with an owner. `create` reserves the id of its object; a search does so too."""

    def newest(self, kind: Kind, project: str | None, parent: Parent = ()) -> Sequence[LiveObject]:
        """The first page of a list: the most recent objects, ended objects included."""

    def read_before_write(
        self, live: LiveObject, expected: Mapping[str, ExpectedValue]
    ) -> LiveObject:
        """The object with the live values of fields with calls of their own, just before a write.

        Reads the parts that the change touches. For the other parts it answers what the plan saw,
        unless a cheaper sign shows a change.
        """

    def create(
        self,
        kind: Kind,
        project: str | None,
        spec: Spec,
        *,
        address: Address,
        mark: str | None,
        steps: Steps,
        record: Record | None = None,
    ) -> Written:
        """Create the object with all its fields; `mark` goes into the kind's mark field.

        `record` is that of the object that it succeeds, while both exist.

        Raises AmbiguousError where the create was sent and its outcome is unknown. The caller then
        has to search for the object.
        """

    def update(
        self,
        live: LiveObject,
        changes: Spec,
        *,
        address: Address,
        mark: str | None,
        record: Record | None,
        steps: Steps,
        keys: Sequence[KeyStep] = (),
    ) -> Written:
        """Send the changed fields and nothing else; None clears a field.

        `keys` are the steps to carry out for the keys of the object.

        `live` comes from a read just before, with the values of all fields in `changes` that have
        calls of their own.
        """

    def delete(
        self, live: LiveObject, *, address: Address, record: Record | None, steps: Steps
    ) -> None:
        """Remove the object as its kind requires: delete, archive, or restore overwritten values.

        Succeeds if the object is gone already. Stops a running job first. Where a job itself
        cannot be deleted, deletes its product.
        """

    def cancel(self, live: LiveObject, *, steps: Steps) -> None:
        """Stop a job; does nothing if the job has ended."""

    def job_events(self, live: LiveObject) -> Sequence[tuple[str, str]]:
        """Recent events of a job as (id, sentence), oldest first; empty where the API has none."""

    def delete_leftovers(
        self, live: LiveObject, *, address: Address, record: Record | None, steps: Steps
    ) -> None:
        """Delete leftovers of unfinished runs for the object; leaves the object itself alone."""


class Provider(LiveReader, LiveWriter, Protocol):
    """Both interfaces, as apply needs them."""
