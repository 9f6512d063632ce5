"""The owners of objects while resources are bound, so that no object gets two addresses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain

from reconciler.model.address import Address
from reconciler.model.keys import key_ids
from reconciler.model.resource import LiveObject, Record, Resource
from reconciler.model.values import FileSet

# Ids are not unique across projects: every project has the same rate limit ids.
ObjectKey = tuple[str, str | None, str]
"""Kind, project and id of an object."""


class Claims:
    """Objects with an owner: recorded, bound, or reserved by the manifest of another address.

    `taken` are recorded addresses whose objects another owner has marked since.
    """

    def __init__(
        self,
        records: Mapping[Address, Record],
        declared: Mapping[Address, Resource],
        taken: Collection[Address],
    ) -> None:
        self._owners: dict[ObjectKey, Address] = {}
        for address, record in records.items():
            # Superseded objects are ours until they are deleted; nothing else may be bound to them.
            for id in record.deposed:
                self._owners[address.kind, address.project, id] = address
            # A taken object belongs to its new owner. The record keeps its claim on superseded objects.
            if address not in taken:
                self._owners[address.kind, address.project, record.id] = address
        self._reserved: dict[ObjectKey, Address] = {}
        for address, resource in declared.items():
            adopt = resource.lifecycle.adopt
            # Once a record exists, the state decides, and `adopt` only repeats it.
            if isinstance(adopt, str) and address not in records:
                self._reserved[address.kind, address.project, adopt] = address
        self._records = records

    @cached_property
    def members(self) -> set[str]:
        """The ids of files in our collections, which need no resource of their own."""
        # Collections have thousands of files, and few plans ask.
        ids: set[str] = set()
        for record in self._records.values():
            ids.update(member_ids(record.applied.values()))
        return ids

    @cached_property
    def delivered_keys(self) -> set[str]:
        """The ids of keys that belong to our objects."""
        ids: set[str] = set()
        for record in self._records.values():
            ids.update(chain.from_iterable(map(key_ids, record.delivered.values())))
        return ids

    def claim(self, live: LiveObject, address: Address) -> None:
        """Give an object to an address."""
        self._owners[address.kind, address.project, live.id] = address

    def owner(self, live: LiveObject) -> Address | None:
        """The address that an object is bound or recorded for."""
        return self._owners.get((live.kind.name, live.project, live.id))

    def owner_of_id(self, address: Address, id: str) -> Address | None:
        """The owner of an object with the kind and project of an address."""
        return self._owners.get((address.kind, address.project, id))

    def is_claimed(self, live: LiveObject) -> bool:
        """Whether an object is bound or recorded."""
        return (live.kind.name, live.project, live.id) in self._owners

    def is_reserved(self, live: LiveObject, address: Address) -> bool:
        """Whether the manifest of another address adopts the object by its id."""
        # Every address may have the object that its own manifest names.
        key = (live.kind.name, live.project, live.id)
        return self._reserved.get(key, address) != address


def member_ids(values: Iterable[object]) -> Iterator[str]:
    """The ids of the files in collections."""
    for value in values:
        if isinstance(value, FileSet):
            for member in value.members:
                if isinstance(member.file_id, str):
                    yield member.file_id
