"""Reservations of ids within one run: no id is ever given to two addresses.

The search for an object whose answer was lost may find an object that another thread is creating.
So every create announces the identity of its object and then reserves its id, and every search
reserves an id before it uses it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from threading import Condition

from reconciler.model.address import Address
from reconciler.model.values import Spec


class InProcessReservations:
    """Implements `model.provider.IdReservations`. Safe to use from threads."""

    def __init__(self) -> None:
        self._owners: dict[str, Address | None] = {}
        self._making: Counter[Hashable] = Counter()
        self._changed = Condition()

    def reserve(self, id: str, owner: Address | None) -> bool:
        """Reserve an id for an address; False if another address has it."""
        with self._changed:
            return self._owners.setdefault(id, owner) == owner

    def is_free(self, id: str, owner: Address | None) -> bool:
        """Whether the address has the id or could still reserve it."""
        with self._changed:
            return self._owners.get(id, owner) == owner

    def is_taken(self, id: str) -> bool:
        """Whether any address has the id."""
        with self._changed:
            return id in self._owners

    @contextmanager
    def creating(self, collection: str, identity: Spec | None) -> Iterator[None]:
        """Surround a create and the reservation of its id. Never search inside: searches wait."""
        likeness = _likeness(collection, identity)
        # A count, because two addresses may create objects that look alike.
        with self._changed:
            self._making[likeness] += 1
        try:
            yield
        finally:
            with self._changed:
                self._making[likeness] -= 1
                # A run may create very many objects, each with an identity of its own.
                if not self._making[likeness]:
                    del self._making[likeness]
                self._changed.notify_all()

    def wait_for_creates(self, collection: str, identity: Spec | None) -> None:
        """Wait until no create of this identity is under way.

        Then every object listed before is either reserved or an orphan.
        """
        likeness = _likeness(collection, identity)
        with self._changed:
            self._changed.wait_for(lambda: not self._making[likeness])


def _likeness(collection: str, identity: Spec | None) -> Hashable:
    return collection, frozenset((identity or {}).items())
