"""Objects by natural key: candidates for binding, and reasons why a resource has none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from reconciler.engine.binding import conflicts
from reconciler.engine.binding.claims import Claims
from reconciler.engine.ownership import Ownership
from reconciler.engine.scope import LiveState
from reconciler.model.address import Address
from reconciler.model.diagnostic import Diagnostic
from reconciler.model.kind import OnRemove, Removal, TerminalState
from reconciler.model.resource import LiveObject, Record, Resource
from reconciler.model.values import Spec


class NaturalKeys:
    """Looks up objects with the natural key of a spec."""

    def __init__(
        self,
        live: LiveState,
        ownership: Ownership,
        claims: Claims,
        *,
        declared: Mapping[Address, Resource],
        records: Mapping[Address, Record],
    ) -> None:
        self._live = live
        self._ownership = ownership
        self._claims = claims
        self._declared = declared
        self._records = records
        self._index: dict[tuple[str, str | None], dict[tuple[object, ...], list[LiveObject]]] = {}
        self.wanted: dict[Address, Spec | None] = {}
        """The natural key of each resource bound so far; None while a part of it is unknown."""
        self.contested: dict[Address, Address] = {}
        """By resource: the undeclared address for which its object is recorded."""

    def candidates(self, resource: Resource, spec: Spec) -> list[LiveObject]:
        """The objects with the natural key of a spec that the resource may take."""
        return [live for live in self._alike(resource, spec) if self._may_take(resource, live)]

    def is_free(self, live: LiveObject, address: Address) -> bool:
        """Whether no interrupted run created the object for another address or as part of another object."""
        return self._ownership.created_ids.get(live.id, address) == address

    def problems_of_unbound(self, resource: Resource, spec: Spec) -> Iterator[Diagnostic]:
        """Why a resource without a candidate cannot simply be created."""
        # Another declaration that has the object explains more than its absence, so it is looked
        # for first.
        owner = self._owner_of_alike(resource, spec)
        if owner is not None and owner in self._declared:
            yield conflicts.declared_twice(resource, spec, self._declared[owner])
        elif owner is not None:
            self.contested[resource.address] = owner
            yield conflicts.bound_elsewhere(resource, spec, owner)
        elif self._must_exist(resource, spec):
            listed = self._live.objects(resource.address.kind, resource.address.project)
            yield conflicts.absent(resource, spec, listed)
        yield from self._nameless(resource, spec)

    def _may_take(self, resource: Resource, live: LiveObject) -> bool:
        return (
            not self._claims.is_claimed(live)
            and not self._claims.is_reserved(live, resource.address)
            # Files that we uploaded into a collection belong to the collection.
            and live.id not in self._claims.members
            # A mark of ours names the owner, which `_by_mark` has considered already.
            and self._ownership.address(live.mark) is None
            and self.is_free(live, resource.address)
        )

    def _alike(self, resource: Resource, spec: Spec) -> list[LiveObject]:
        """All objects with the natural key of a spec."""
        identity = resource.kind.identity(spec)
        if identity is None:
            return []
        home = (resource.address.kind, resource.address.project)
        if home not in self._index:
            # Indexed once per kind and project: thousands of resources would scan the list each.
            index: dict[tuple[object, ...], list[LiveObject]] = defaultdict(list)
            for live in self._live.objects(*home):
                if not is_gone(live):
                    # An object can have several natural keys, and each of them identifies it.
                    for key in resource.kind.identities(live.attributes):
                        index[tuple(key.items())].append(live)
            self._index[home] = index
        return self._index[home].get(tuple(identity.items()), [])

    def _must_exist(self, resource: Resource, spec: Spec) -> bool:
        """Whether the API creates such objects itself, so that a missing one is an error."""
        kind = resource.kind
        if not kind.always_exists or kind.identity(spec) is None:
            return False
        home = (resource.address.kind, resource.address.project)
        if self._live.objects(*home):
            return True
        # The rows of a new project (limits, settings) appear a moment after it, so an empty list
        # proves nothing about them. Users and their keys are never created by the API.
        return kind.removal is not Removal.RESTORE and self._live.was_listed(*home)

    def _nameless(self, resource: Resource, spec: Spec) -> Iterator[Diagnostic]:
        """Report objects that could be the resource, if answers do not show the natural key at all."""
        kind = resource.kind
        # A computed key is no field that an answer could lack, and a missing object that should
        # always exist has an error already.
        if kind.identify is not None or kind.always_exists or kind.identity(spec) is None:
            return
        listed = self._live.objects(resource.address.kind, resource.address.project)
        # If other objects show the key, an object without one simply has no name.
        for live in listed:
            if all(live.shows(name) for name in kind.natural_key):
                return
        free = (live for live in listed if not self._claims.is_claimed(live))
        nameless = [live.id for live in free if not kind.identities(live.attributes)]
        if nameless:
            yield conflicts.nameless(resource, nameless)

    def _owner_of_alike(self, resource: Resource, spec: Spec) -> Address | None:
        """The address that keeps the object with this natural key, if a second one must not be created.

        This applies to kinds with one object per key, and to objects that are retained without a declaration.
        """
        for live in self._alike(resource, spec):
            owner = self._claims.owner(live)
            if owner is not None and self._keeps(owner, live):
                return owner
        return None

    def _keeps(self, owner: Address, live: LiveObject) -> bool:
        resource = self._declared.get(owner)
        if resource is not None:
            # If the declaration changed its key, it wants another object now and releases this one.
            wanted = self.wanted.get(owner)
            if not wanted:
                # Resources are bound in dependency order, so the owner may not be bound yet.
                wanted = resource.kind.identity(resource.kind.fill_defaults(resource.spec))
            return resource.kind.unique_key and wanted in resource.kind.identities(live.attributes)
        if live.kind.unique_key:
            return True
        record = self._records.get(owner)
        if record is None:
            return False
        return (record.on_remove or live.kind.on_remove) is OnRemove.RETAIN


def is_gone(live: LiveObject) -> bool:
    """Whether an object is still listed although it was removed, such as an archived project."""
    return live.kind.terminal_state(live.attributes) is TerminalState.GONE
