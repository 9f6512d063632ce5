"""The inputs of an apply, and the state that its actions share.

A caller fills an `ApplyContext`. Together with the plan it becomes an `ActionContext`, which every
action receives: the API, the state, and the results of this apply so far.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from threading import Event
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from reconciler.engine.apply.listener import Listener
from reconciler.engine.consistency import ConsistencyWindow
from reconciler.engine.ownership import Ownership
from reconciler.engine.scope import Scope
from reconciler.model.change import Action, Change, Plan
from reconciler.model.kind import Kind
from reconciler.model.provider import LiveReader, LiveWriter, Provider
from reconciler.model.resource import METADATA_PAIRS
from reconciler.model.values import Spec
from reconciler.state import StateStore

if TYPE_CHECKING:
    from reconciler.engine.apply.records import RecordSet
    from reconciler.engine.apply.resolve import ReferenceValues
    from reconciler.engine.apply.search import ObjectSearch


class ApplyContext(Struct, frozen=True):
    """The inputs of an apply, apart from the plan."""

    provider: Provider
    store: StateStore
    kinds: Mapping[str, Kind]
    ownership: Ownership
    run_id: int
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """The outputs of the stack as declared, with their references."""
    parallelism: int = 10
    """How many steps may run at a time in each worker pool."""
    # An event and not an exception: a step that raises in the middle of a call would leave its
    # journal entry without the id in the answer.
    stop: Event = field(default_factory=Event)
    """Set by an interrupt: running steps may finish, and no other step starts."""
    listener: Listener | None = None
    consistency: ConsistencyWindow = field(default_factory=ConsistencyWindow)
    clock: Callable[[], float] = time.monotonic
    # Outcomes reach reports and the state, and messages of the API can quote values of the request.
    redact: Callable[[str], str] = str
    age_seconds: Callable[[], float] = lambda: 0.0
    """The current age of the live state that the plan was made from."""


class StepResult(Struct, frozen=True):
    """The result of a step."""

    id: str | None = None
    """The id of the object."""
    notes: tuple[str, ...] = ()
    """Remarks for the report."""
    refused: tuple[str, ...] = ()
    """A sentence for each file that the API refused."""


class ActionContext(Struct, frozen=True):
    """The state that the actions of one apply share. Safe to use from threads."""

    reader: LiveReader
    writer: LiveWriter
    kinds: Mapping[str, Kind]
    store: StateStore
    ownership: Ownership
    consistency: ConsistencyWindow
    age_seconds: Callable[[], float]
    records: RecordSet
    references: ReferenceValues
    search: ObjectSearch
    adopted: Mapping[Scope, frozenset[str]]
    """The ids of the objects that the plan adopts, by the list that shows them."""
    new_projects: Collection[str | None]
    """The names of the projects that this apply creates."""

    def kind_of(self, change: Change) -> Kind:
        """The kind of the object of a change."""
        return self.kinds[change.address.kind]

    def mark(self, change: Change, spec: Spec) -> str | None:
        """The ownership mark for the object of a change.

        None if the kind has no field for it, or if the metadata in `spec` leaves no room.
        """
        kind = self.kind_of(change)
        if kind.mark is None:
            return None
        # The API limits the pairs of metadata, and those of the user outrank our mark.
        metadata = spec.get(kind.mark)
        if isinstance(metadata, Mapping) and len(metadata) >= METADATA_PAIRS:
            return None
        return self.ownership.mark(change.address)


def action_context(plan: Plan, context: ApplyContext) -> ActionContext:
    """The shared state of the actions of a plan, before the first of them."""
    # Every command imports this module for its `Listener`, and only an apply needs these.
    from reconciler.engine.apply.records import RecordSet
    from reconciler.engine.apply.resolve import ReferenceValues
    from reconciler.engine.apply.search import ObjectSearch
    from reconciler.engine.binding.deliveries import with_deliveries

    # One object reads and writes. Each action sees only the half that it needs.
    provider, kinds = context.provider, context.kinds
    saved = context.store.records()
    recorded = with_deliveries(saved, context.ownership.deliveries, kinds)
    unsaved = [address for address, record in recorded.items() if record != saved.get(address)]
    records = RecordSet(plan, recorded, unsaved=unsaved)
    # Every id that has an owner is reserved before the first search, so no search can take it.
    for id, owner in records.owned_ids(kinds):
        provider.reservations.reserve(id, owner)
    # Adoptions of one scope share a list instead of reading each object: an admin route answers
    # about seven requests a minute.
    adopted: dict[Scope, set[str]] = defaultdict(set)
    # A project of this apply was empty before, so creates in it need no further look at their
    # scope.
    new_projects = set()
    for change in plan.changes:
        kind = kinds[change.address.kind]
        if change.action is Action.ADOPT and change.id is not None:
            adopted[list_scope(kind, change)].add(change.id)
        if change.action is Action.CREATE and kind.defines_project:
            new_projects.add(change.address.name)
    return ActionContext(
        # Two names for one object, so that a function that only reads cannot receive a writer by
        # mistake.
        reader=provider,
        writer=provider,
        kinds=kinds,
        store=context.store,
        ownership=context.ownership,
        consistency=context.consistency,
        age_seconds=context.age_seconds,
        records=records,
        references=ReferenceValues(plan, kinds, context.outputs),
        search=ObjectSearch(
            provider, provider.reservations, context.ownership, context.consistency
        ),
        adopted={scope: frozenset(ids) for scope, ids in adopted.items()},
        new_projects=new_projects,
    )


def list_scope(kind: Kind, change: Change) -> Scope:
    """The list that shows the object of a change."""
    parent, _ = kind.parent_and_id(change.id or "")
    return Scope(kind.name, change.address.project, parent)
