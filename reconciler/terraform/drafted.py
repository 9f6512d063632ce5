"""Drafts together with their instances and objects."""

from __future__ import annotations

from msgspec import Struct

from reconciler.model.kind import Kind, ScopeType
from reconciler.terraform.mapping import Draft, NotCarriedOver, TypeMapping
from reconciler.terraform.state import TerraformInstance


class Drafted(Struct, frozen=True):
    """A draft with the instance that it was made from, and the id of its object."""

    draft: Draft
    instance: TerraformInstance
    mapping: TypeMapping
    id: str
    """The id as records of the state have it."""

    @property
    def kind(self) -> str:
        """The name of the kind."""
        return self.draft.kind

    @property
    def project_id(self) -> str | None:
        """The id of the project that the object belongs to."""
        return self.draft.project_id

    @property
    def identity(self) -> tuple[str, str | None, str]:
        """Equal for two declarations of one object."""
        return self.kind, self.project_id, self.id


def object_id(kind: Kind, draft: Draft) -> str:
    """The id of the object as records have it. Raises NotCarriedOver if a part is missing."""
    spec = draft.spec
    if kind.calls.singleton:
        # A setting has no id, so the last part of its path stands for it.
        collection = kind.collection_for(in_project=draft.project_id is not None)
        return collection.rpartition("/")[2]
    own = draft.own_id
    if own is None and kind.calls.id_field:
        own = spec.get(kind.calls.id_field)
    parent = kind.parent_of(spec)
    if not own or parent is None:
        raise NotCarriedOver("the state does not have its whole id")
    return kind.composed_id(parent, own)


def has_unique_ids(kind: Kind) -> bool:
    """Whether an id names one object in the whole organization."""
    if kind.parents or kind.calls.singleton or kind.calls.id_field:
        return False
    return not kind.unique_key or kind.scope is ScopeType.ORGANIZATION
