"""What the operator knows of the cluster: Stacks, Organizations and ConfigMaps with sources.

Watch events and lists fill it. Each change answers with the Stacks that have to be looked at because
of it. A change of a status, which is our own, asks for nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
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
    """Keys of objects."""

    stacks: frozenset[ObjectKey] = frozenset()
    organizations: frozenset[ObjectKey] = frozenset()
    config_maps: frozenset[ObjectKey] = frozenset()


class Registry:
    """Thread-safe."""

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
        """Take a Stack as the API server shows it."""
        stack = stack_of(body, self._default_interval)
        if stack is None:
            return set()
        with self._lock:
            before = self._stacks.get(stack.key)
            if before is not None and _is_older(stack, before):
                return set()
            self._stacks[stack.key] = stack
            if before is not None and before.uid != stack.uid:
                self._claims.pop(stack.key, None)
                self._refused.pop(stack.key, None)
        return {stack.key} if before is None or _asks_for_run(before, stack) else set()

    def drop_stack(self, key: ObjectKey) -> set[ObjectKey]:
        """Forget a Stack that is gone. Whoever waited for its claim is looked at."""
        with self._lock:
            stack = self._stacks.pop(key, None)
            claim = self._claims.pop(key, None) or claim_of(stack)
            self._refused.pop(key, None)
            return {other for other, refused in self._refused.items() if refused == claim}

    def put_organization(self, body: Mapping[str, Any]) -> set[ObjectKey]:
        """Take an Organization as the API server shows it."""
        organization = organization_of(body)
        if organization is None:
            return set()
        with self._lock:
            before = self._organizations.get(organization.key)
            self._organizations[organization.key] = organization
            same = before is not None and (before.uid, before.generation) == (
                organization.uid,
                organization.generation,
            )
            return set() if same else self._users_of(organization.key)

    def drop_organization(self, key: ObjectKey) -> set[ObjectKey]:
        """Forget an Organization that is gone."""
        with self._lock:
            if self._organizations.pop(key, None) is None:
                return set()
            return self._users_of(key)

    def put_config_map(self, body: Mapping[str, Any]) -> set[ObjectKey]:
        """Take a ConfigMap as the API server shows it."""
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
        """The keys of everything that is known now."""
        with self._lock:
            return KnownKeys(
                frozenset(self._stacks),
                frozenset(self._organizations),
                frozenset(self._config_maps),
            )

    def drop_missing(self, before: KnownKeys, listed: KnownKeys) -> set[ObjectKey]:
        """Forget what was known before a complete list was read, and is not in it."""
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
        """Note what a Stack manages. Returns the Stack that manages it already, if there is one.

        The first one keeps it. By age, an older Stack could take over a state by changing its
        source. After a restart, the statuses say who was first.
        """
        with self._lock:
            own = self._stacks.get(key)
            if self._claims.get(key) != claim:
                holder = self._holder_besides(own, key, claim)
                if holder is not None:
                    self._claims.pop(key, None)
                    self._refused[key] = claim
                    return holder
            self._claims[key] = claim
            self._refused.pop(key, None)
            return None

    def _holder_besides(
        self, own: StackObject | None, key: ObjectKey, claim: StateClaim
    ) -> ObjectKey | None:
        holders = [
            stack
            for other, stack in self._stacks.items()
            if other != key and (self._claims.get(other) or claim_of(stack)) == claim
        ]
        oldest = min(holders, key=_age, default=None)
        if oldest is None:
            return None
        # Two statuses name the same state if two operators could not see each other's Stacks.
        was_first = own is not None and claim_of(own) == claim and _age(own) < _age(oldest)
        is_held = any(self._claims.get(stack.key) == claim for stack in holders)
        return None if was_first and not is_held else oldest.key

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
        return {
            key
            for key, stack in self._stacks.items()
            if config_map in set(self._config_maps_of(stack))
        }

    def _config_maps_of(self, stack: StackObject) -> Iterable[ObjectKey]:
        """The ConfigMaps that a Stack reads, those of its Organization included."""
        if stack.spec is None:
            return
        references = [stack.spec.source.config_map]
        references += [place.config_map for place in stack.spec.policies]
        yield from _named(stack.key.namespace, references)
        organization = stack.organization and self._organizations.get(stack.organization)
        if organization and organization.spec is not None:
            places = [place.config_map for place in organization.spec.policies]
            yield from _named(organization.key.namespace, places)


def _named(namespace: str, references: Iterable[ConfigMapReference | None]) -> Iterable[ObjectKey]:
    for reference in references:
        if reference is not None:
            yield ObjectKey(namespace, reference.name)


def _is_older(stack: StackObject, known: StackObject) -> bool:
    """Whether an event comes late: a list or an answer to a patch was newer."""
    return stack.uid == known.uid and 0 < stack.version < known.version


def claim_of(stack: StackObject | None) -> StateClaim | None:
    """What the status of a Stack says that it manages."""
    status = stack.status if stack is not None else {}
    name, environment = status.get("stack"), status.get("environment")
    if not isinstance(name, str) or not isinstance(environment, str):
        return None
    return StateClaim(name, environment)


def _age(stack: StackObject) -> tuple[str, str]:
    return (stack.created, stack.uid)


def _asks_for_run(before: StackObject, after: StackObject) -> bool:
    return (
        before.uid != after.uid
        or before.generation != after.generation
        or before.is_deleting != after.is_deleting
        or before.reconcile != after.reconcile
        # A taken approval is removed by ourselves.
        or (before.approve != after.approve and bool(after.approve))
    )
