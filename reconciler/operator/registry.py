"""The operator's copy of the cluster: Stacks, Organizations and ConfigMaps with sources.

Watch events and lists fill it. Each change returns the Stacks that it makes due. A change of a
status, which the operator wrote itself, makes none due.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from reconciler.operator.crds import DEFAULT_INTERVAL
from reconciler.operator.resources import (
    ConfigMapReference,
    ObjectKey,
    OrganizationObject,
    StackObject,
    key_in,
    organization_of,
    stack_of,
)
from reconciler.operator.sources import StoredConfigMap, stored


class StateClaim(Struct, frozen=True):
    """The stack and environment that a Stack manages, which identify a state."""

    stack: str
    environment: str


class KnownKeys(Struct, frozen=True):
    """The keys of known or listed objects."""

    stacks: frozenset[ObjectKey] = frozenset()
    organizations: frozenset[ObjectKey] = frozenset()
    config_maps: frozenset[ObjectKey] = frozenset()


class Registry:
    """Holds the present objects, and the Stack that manages each state. Thread-safe."""

    def __init__(self, default_interval: str = DEFAULT_INTERVAL) -> None:
        self._default_interval = default_interval
        self._lock = threading.Lock()
        self._stacks: dict[ObjectKey, StackObject] = {}
        self._organizations: dict[ObjectKey, OrganizationObject] = {}
        self._config_maps: dict[ObjectKey, StoredConfigMap] = {}
        self._claims: dict[ObjectKey, StateClaim] = {}
        self._refused: dict[ObjectKey, StateClaim] = {}

    # --- changes

    def put_stack(self, body: Mapping[str, Any]) -> set[ObjectKey]:
        """Store a Stack of the API server."""
        stack = stack_of(body, self._default_interval)
        if stack is None:
            return set()
        with self._lock:
            before = self._stacks.get(stack.key)
            if before is not None and _is_older(stack, before):
                return set()
            self._stacks[stack.key] = stack
            if before is not None and before.uid != stack.uid:
                return {stack.key} | self._drop_claim(before)
        if before is None or _asks_for_run(before, stack):
            return {stack.key}
        return set()

    def drop_stack(self, key: ObjectKey) -> set[ObjectKey]:
        """Forget a Stack that is gone. Stacks that waited for its claim are due."""
        with self._lock:
            stack = self._stacks.pop(key, None)
            if stack is None:
                return set()
            return self._drop_claim(stack)

    def _drop_claim(self, gone: StackObject) -> set[ObjectKey]:
        """Forget the claim of a Stack that is gone; the Stacks that waited for it."""
        claim = self._claims.pop(gone.key, None) or claim_of(gone)
        self._refused.pop(gone.key, None)
        return {other for other, refused in self._refused.items() if refused == claim}

    def put_organization(self, body: Mapping[str, Any]) -> set[ObjectKey]:
        """Store an Organization of the API server."""
        organization = organization_of(body)
        if organization is None:
            return set()
        with self._lock:
            before = self._organizations.get(organization.key)
            self._organizations[organization.key] = organization
            # The generation stays when only the status changes.
            if before is not None and _version(before) == _version(organization):
                return set()
            return self._users_of(organization.key)

    def drop_organization(self, key: ObjectKey) -> set[ObjectKey]:
        """Forget an Organization that is gone."""
        with self._lock:
            if self._organizations.pop(key, None) is None:
                return set()
            return self._users_of(key)

    def put_config_map(self, body: Mapping[str, Any]) -> set[ObjectKey]:
        """Store a ConfigMap of the API server."""
        key = key_in(body)
        content = stored(body)
        with self._lock:
            before = self._config_maps.get(key)
            self._config_maps[key] = content
            if before is not None and before.digest == content.digest:
                return set()
            return self._readers_of(key)

    def drop_config_map(self, key: ObjectKey) -> set[ObjectKey]:
        """Forget a ConfigMap that is gone, or lost its label."""
        with self._lock:
            if self._config_maps.pop(key, None) is None:
                return set()
            return self._readers_of(key)

    def known(self) -> KnownKeys:
        """The keys of all objects."""
        with self._lock:
            return KnownKeys(
                frozenset(self._stacks),
                frozenset(self._organizations),
                frozenset(self._config_maps),
            )

    def drop_missing(self, before: KnownKeys, listed: KnownKeys) -> set[ObjectKey]:
        """Forget objects that were known before a complete list was read and are missing in it."""
        affected: set[ObjectKey] = set()
        for key in before.stacks - listed.stacks:
            affected |= self.drop_stack(key)
        for key in before.organizations - listed.organizations:
            affected |= self.drop_organization(key)
        for key in before.config_maps - listed.config_maps:
            affected |= self.drop_config_map(key)
        return affected

    # --- claims

    def claim(self, key: ObjectKey, claim: StateClaim) -> ObjectKey | None:
        """Note the claim of a Stack; the Stack that has made the claim already, if any."""
        # The first Stack keeps its claim. If the older one won, it could take over a state by
        # changing its source. After a restart, the statuses say who was first.
        with self._lock:
            own = self._stacks.get(key)
            if self._claims.get(key) != claim:
                holder = self._other_holder(own, key, claim)
                if holder is not None:
                    self._claims.pop(key, None)
                    self._refused[key] = claim
                    return holder
            self._claims[key] = claim
            self._refused.pop(key, None)
            return None

    def _other_holder(
        self, own: StackObject | None, key: ObjectKey, claim: StateClaim
    ) -> ObjectKey | None:
        holders = []
        for other, stack in self._stacks.items():
            if other != key and (self._claims.get(other) or claim_of(stack)) == claim:
                holders.append(stack)
        oldest = min(holders, key=_age, default=None)
        if oldest is None:
            return None
        # Two operators that watch different namespaces can both let a Stack claim this state, and
        # then both statuses name it.
        was_first = own is not None and claim_of(own) == claim and _age(own) < _age(oldest)
        is_held = any(self._claims.get(stack.key) == claim for stack in holders)
        if was_first and not is_held:
            return None
        return oldest.key

    # --- reading

    def stack(self, key: ObjectKey) -> StackObject | None:
        """A Stack; None if it is not known."""
        with self._lock:
            return self._stacks.get(key)

    def stacks(self) -> list[StackObject]:
        """All Stacks."""
        with self._lock:
            return list(self._stacks.values())

    def organization(self, key: ObjectKey) -> OrganizationObject | None:
        """An Organization; None if it is not known."""
        with self._lock:
            return self._organizations.get(key)

    def count_of(self, organization: ObjectKey | None) -> int:
        """How many Stacks use an Organization."""
        with self._lock:
            return sum(stack.organization == organization for stack in self._stacks.values())

    def config_map(self, key: ObjectKey) -> StoredConfigMap | None:
        """The data of a ConfigMap; None if none with the label is known."""
        with self._lock:
            return self._config_maps.get(key)

    def _users_of(self, organization: ObjectKey) -> set[ObjectKey]:
        return {key for key, stack in self._stacks.items() if stack.organization == organization}

    def _readers_of(self, config_map: ObjectKey) -> set[ObjectKey]:
        readers = set()
        for key, stack in self._stacks.items():
            if config_map in self._config_maps_of(stack):
                readers.add(key)
        return readers

    def _config_maps_of(self, stack: StackObject) -> Iterator[ObjectKey]:
        """The ConfigMaps that a Stack reads, those of its Organization included."""
        if stack.spec is None:
            return
        references = [stack.spec.source.config_map]
        references += [place.config_map for place in stack.spec.policies]
        yield from _named(stack.key.namespace, references)
        if stack.organization is None:
            return
        organization = self._organizations.get(stack.organization)
        if organization is not None and organization.spec is not None:
            places = [place.config_map for place in organization.spec.policies]
            yield from _named(organization.key.namespace, places)


def _named(namespace: str, references: Iterable[ConfigMapReference | None]) -> Iterator[ObjectKey]:
    for reference in references:
        if reference is not None:
            yield ObjectKey(namespace, reference.name)


def _version(organization: OrganizationObject) -> tuple[str, int]:
    return organization.uid, organization.generation


def _is_older(stack: StackObject, known: StackObject) -> bool:
    """Whether an event is late: a list or the answer to a patch was newer."""
    # Resource versions of one object can be compared. 0 stands for one that is not a number.
    return stack.uid == known.uid and 0 < stack.version < known.version


def claim_of(stack: StackObject | None) -> StateClaim | None:
    """The claim in the status of a Stack."""
    if stack is None:
        return None
    status = stack.status
    name, environment = status.get("stack"), status.get("environment")
    if not isinstance(name, str) or not isinstance(environment, str):
        return None
    return StateClaim(name, environment)


def _age(stack: StackObject) -> tuple[str, str]:
    return (stack.created, stack.uid)


def _asks_for_run(before: StackObject, after: StackObject) -> bool:
    return (
        before.generation != after.generation
        or before.is_deleting != after.is_deleting
        or before.reconcile != after.reconcile
        # The operator itself removes the annotation of an approval that it used up.
        or (before.approve != after.approve and bool(after.approve))
    )
