"""What the engine asks of the world, as protocols.

The engine knows these and nothing behind them: no HTTP, no files, no keys. `api.provider.HttpProvider` is the real
one. The project argument is always the project's *name in the configuration*, None for the organization and for the
project of the default key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct, field

from reconciler.model.address import Address
from reconciler.model.calls import Parent
from reconciler.model.kind import Kind
from reconciler.model.resource import LiveObject, Record
from reconciler.model.secret import Secret
from reconciler.model.values import Spec

CREATE = "create"
"""The journal's name of the step that makes an object."""


class Step(Protocol):
    """One journalled call. Leaving its context without `done` records a failure."""

    def done(self, id: str | None = None, **result: Any) -> None:
        """Record that the call succeeded, with the id it gave; `result` must be JSON and free of secrets."""


class Steps(Protocol):
    """The journal, as seen from within one change."""

    def step(self, name: str, **intent: Any) -> AbstractContextManager[Step]:
        """Write the intent before a call. `name` says what is done, such as `create` or `upload handbook/a.md`."""

    def unfinished(self, name: str) -> Sequence[Mapping[str, Any]]:
        """Intents of this address written under `name` by earlier runs that never ended, oldest first.

        Each has the intent's own keys, plus `began_at` and `ended_at` (unix seconds of the server). `ended_at` is None
        where the process died over the call, else the time at which it was clear that no answer would come.
        """

    def finished(self, name: str) -> Sequence[Mapping[str, Any]]:
        """Steps of this address under `name` that ended, in changes that as a whole did not: `id` and the result."""


class Sinks(Protocol):
    """Where secrets go. A target is the `write_to` of a manifest: `{file: PATH}` or `{command: [ARG, …]}`."""

    def check(self, target: Spec) -> None:
        """Raise SinkError if the target could not take a secret now (a file that is not ours, no such command)."""

    def put(self, target: Spec, secret: Secret, *, address: Address) -> Mapping[str, Any]:
        """Deliver the secret; the receipt is JSON to remember, free of the secret. Raises SinkError."""

    def recall(self, target: Spec, *, address: Address) -> Secret | None:
        """What an earlier `put` for the address left there, where it can be read again and is as we left it."""

    def withdraw(self, target: Spec, receipt: Mapping[str, Any]) -> None:
        """Remove what `put` left there, if it is still what we left; commands have nothing to withdraw."""


class Written(Struct, frozen=True):
    """What a write left behind: the object as the API answered, receipts by key field, remarks for the report."""

    live: LiveObject
    delivered: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    """A sentence for each file that the API refused. The object is as it should be apart from them."""


class ExpectedValue(Struct, frozen=True):
    """A field as a plan saw it (in comparable form), what it is to become, and what we last wrote.

    Whoever reads the field again may read what the change touches alone. `after` is None where all of it counts.
    """

    seen: Any
    after: Any
    applied: Any


class IdReservations(Protocol):
    """Which ids are spoken for in this run, so that no object is bound to two addresses. Safe to use from threads."""

    def reserve(self, id: str, owner: Address) -> bool:
        """Take an id for an address; False if it is another's already."""

    def is_free(self, id: str, owner: Address) -> bool:
        """Whether the address has the id or could still take it."""

    def wait_for_creates(self, collection: str, identity: Spec | None) -> None:
        """Wait until nobody makes an object of this identity: whatever was listed before is then claimed or lost."""


@runtime_checkable
class Claiming(Protocol):
    """What a provider needs besides to be applied through; one that is only read can do without."""

    @property
    def reservations(self) -> IdReservations:
        """The ids that are spoken for. `create` claims what it makes; who finds an object claims it too."""


class Provider(Protocol):
    """Reads and writes objects of our kinds. All methods raise from the `ApiError` tree and may be called by threads.

    Specs that are handed to `create` and `update` are resolved: no references, no unknowns.
    """

    @property
    def calls(self) -> int:
        """Requests sent so far, retries included."""

    def bind_project(self, name: str, project_id: str) -> None:
        """Tell which API project a project name of the configuration is."""

    def can_read(self, kind: Kind, project: str | None) -> bool:
        """Whether objects of the kind can be read now: the project exists and a key for it is at hand."""

    def announce(self, kind: Kind, project: str | None, *calls: str, within: Parent = ()) -> None:
        """Tell that calls will be made soon, so that the time left can be estimated.

        They go by `list`, by their names in `Calls`, or by the field that they read.
        """

    def list(
        self,
        kind: Kind,
        project: str | None,
        within: Parent = (),
        *,
        enough: frozenset[str] | None = None,
        anew: bool = False,
        is_optional: bool = False,
    ) -> Sequence[LiveObject]:
        """All objects of a kind in a scope and surroundings, every page, ended ones included.

        `enough` are the ids of all that is wanted, where nothing else is: the rest may then be left out, and so may
        some of these, where asking for them singly takes fewer calls. `anew` demands a new request from a provider that
        remembers answers. An `is_optional` list is given up early where the server fails.
        """

    def newest(self, kind: Kind, project: str | None, within: Parent = ()) -> Sequence[LiveObject]:
        """The first page of a list: the objects that were made last, ended ones included."""

    def get(self, kind: Kind, project: str | None, id: str, *, anew: bool = False) -> LiveObject | None:
        """One object, or None where the API knows none; kinds that cannot be read singly are listed.

        `anew` is as in `list`.
        """

    def read_own_calls(self, live: LiveObject, names: Iterable[str]) -> LiveObject:
        """The object with the live values of the named fields that have calls of their own."""

    def read_before_write(self, live: LiveObject, expected: Mapping[str, ExpectedValue]) -> LiveObject:
        """The same right before the fields are changed, from fewer calls.

        What the change touches is read. The rest is taken to be as it was seen, unless a cheaper sign speaks against.
        """

    def create(
        self, kind: Kind, project: str | None, spec: Spec, *, address: Address, mark: str | None, steps: Steps
    ) -> Written:
        """Make the object, with all its fields; `mark` goes into the kind's mark field.

        Raises AmbiguousError where the create was sent and its outcome is unknown: the caller looks for the object.
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
    ) -> Written:
        """Send the changed fields, and nothing else; a value of None clears the field.

        `live` is the object as just read, with the carried fields that `changes` names.
        """

    def delete(self, live: LiveObject, *, record: Record | None, steps: Steps) -> None:
        """Remove the object the way its kind does: delete, archive, or write the overwritten values back.

        An object that is gone already is no error. A job is stopped first if it still runs, and takes what it made
        with it where it cannot be deleted itself.
        """

    def cancel(self, live: LiveObject, *, steps: Steps) -> None:
        """Stop a job. One that has ended by now is left as it is."""

    def job_events(self, live: LiveObject) -> Sequence[tuple[str, str]]:
        """What a job has said lately, oldest first, as id and sentence; nothing where it cannot be asked."""

    def delete_leftovers(self, live: LiveObject, *, address: Address, record: Record | None, steps: Steps) -> None:
        """Remove what earlier runs made for the object and did not live to use; the object itself is left alone."""
