"""An inventory: every object that the keys can read, and how much of it is managed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cached_property

from msgspec import Struct

from reconciler.model.address import Address


class ObjectRelation(StrEnum):
    """How an object relates to the stack."""

    MANAGED = "managed"
    UNMANAGED = "unmanaged"
    IGNORED = "ignored"
    BUILT_IN = "built-in"  # the platform or a directory service creates it
    ENDED = "ended"  # archived, expired or accepted: it exists only as history


class InventoryObject(Struct, frozen=True):
    """One object at the API."""

    kind: str
    id: str
    """The id, with the ids of the parent where it is unique only there."""
    label: str
    """The name of the object, or another text that identifies it."""
    relation: ObjectRelation
    project: str | None = None
    """The project's name: that of the configuration, else that at the API."""
    project_id: str | None = None
    address: Address | None = None
    """The address that manages the object, if that is known."""

    @property
    def sort_key(self) -> tuple[str, str, str, str]:
        """By project and kind; objects of the organization come first."""
        return self.project or "", self.kind, self.label, self.id


class UnreadList(Struct, frozen=True):
    """A list that could not be read. How many objects it has is unknown."""

    kind: str
    project: str | None
    reason: str
    project_id: str | None = None

    @property
    def sort_key(self) -> tuple[str, str]:
        """By project and kind."""
        return self.project or "", self.kind


class Inventory(Struct, frozen=True, dict=True):
    """All objects that were read, in order of project and kind, and the lists that could not be read."""

    objects: Sequence[InventoryObject] = ()
    unread: Sequence[UnreadList] = ()
    stack: str = ""
    environment: str = ""
    calls: int = 0
    seconds: float = 0.0

    @cached_property
    def counts(self) -> Mapping[ObjectRelation, int]:
        """The number of objects by their relation to the stack."""
        return Counter(entry.relation for entry in self.objects)

    @cached_property
    def groups(self) -> Mapping[tuple[str | None, str], Sequence[InventoryObject]]:
        """The objects of each project and kind; None is the organization or the default project."""
        groups: dict[tuple[str | None, str], list[InventoryObject]] = {}
        for entry in self.objects:
            groups.setdefault((entry.project, entry.kind), []).append(entry)
        return groups

    @property
    def coverage(self) -> float | None:
        """The managed share of all managed and unmanaged objects, in per cent."""
        return coverage_of(self.objects)

    def of(self, relation: ObjectRelation) -> list[InventoryObject]:
        """The objects with a relation to the stack."""
        return [entry for entry in self.objects if entry.relation is relation]


def coverage_of(objects: Iterable[InventoryObject]) -> float | None:
    """The managed share in per cent; None if no object could be managed."""
    # Ignored, built-in and ended objects do not count: nobody can or wants to manage them.
    counts = Counter(entry.relation for entry in objects)
    managed = counts[ObjectRelation.MANAGED]
    manageable = managed + counts[ObjectRelation.UNMANAGED]
    return 100 * managed / manageable if manageable else None


def sentences_of(unread: Iterable[UnreadList]) -> list[str]:
    """A sentence for each reason, with the kinds and projects that it holds for."""
    kinds: dict[tuple[str, str | None], list[str]] = {}
    for entry in unread:
        kinds.setdefault((entry.reason, entry.project), []).append(entry.kind)
    sentences = []
    for (reason, project), names in kinds.items():
        where = f" of project {project}" if project else ""
        sentences.append(f"{', '.join(names)}{where}: {reason}")
    return sentences
