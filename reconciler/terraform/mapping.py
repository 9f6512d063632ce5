"""Maps a resource type of a provider to our kinds.

Each provider has a table of `TypeMapping`s. The same type name means different things in different
providers, so nothing looks a type up without its provider.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from reconciler.errors import ReconcilerError
from reconciler.model.values import Spec
from reconciler.terraform.state import TerraformInstance

FindFile = Callable[[str, int], str | None]
"""Finds a local file of a size in bytes, by the path that Terraform has: its path in the stack's
folder, or None."""


class NotCarriedOver(ReconcilerError):
    """An instance has no declaration here; the message says why, as a clause without a full stop."""


class Draft(Struct, frozen=True):
    """A resource before it has an address. Ids of other objects are still text."""

    kind: str
    spec: Spec
    own_id: str | None = None
    """The API's id of the object; None where it follows from the spec."""
    project_id: str | None = None
    comments: Mapping[str, str] = field(default_factory=dict)
    """By field; the comment of "" stands above the document. Its first line is the same for all
    instances of a resource, further lines are of this one."""
    suffix: str = ""
    """The suffix that distinguishes drafts of one instance in their names: a word, or the id of
    another object.
    """


class Lookup(Struct, frozen=True):
    """Facts from the whole state."""

    emails: Mapping[str, str]
    """E-mail addresses by the id of the user."""
    configured: Mapping[str, frozenset[str]] | None
    """The attributes that the configuration sets, by configuration address; None if unknown."""
    store_files: Mapping[str, Sequence[Mapping[str, Any]]]
    """The files that resources of their own attach to vector stores, by the id of the store."""
    stores: frozenset[str] = frozenset()
    """The ids of the vector stores in the state."""
    find_file: FindFile = lambda path, size: None  # noqa: ARG005
    """Finds the content of an uploaded file."""
    usual_limits: Callable[[str, str, int], bool] = lambda model, name, value: False  # noqa: ARG005
    """Whether a rate limit of a model is the organization's own."""

    def sets(self, instance: TerraformInstance, attribute: str) -> bool | None:
        """Whether the configuration sets an attribute; None if unknown."""
        if self.configured is None:
            return None
        return attribute in self.configured.get(instance.configuration_address, frozenset())


Convert = Callable[[TerraformInstance, Lookup], Iterable[Draft]]


class Take(Struct, frozen=True):
    """One field of the spec and the attribute that it is taken from."""

    field: str
    attribute: str = ""
    """Defaults to the name of the field; a dotted path reaches inside."""
    change: Callable[[Any], Any] | None = None
    is_computed: bool = False
    """Whether the provider stores the API's value where the configuration sets none."""

    @property
    def source(self) -> str:
        """The path of the attribute."""
        return self.attribute or self.field


class TypeMapping(Struct, frozen=True):
    """A type of resource that becomes one or more resources here."""

    kinds: tuple[str, ...]
    """The kinds of the results; the first is the usual one."""
    takes: tuple[Take, ...] = ()
    own_id: str = "id"
    """The attribute with the API's id; empty where it follows from the spec."""
    in_project: bool = False
    keys: tuple[tuple[str, str], ...] = ()
    """Attributes that hold an API key in clear text, each with the attribute of the key's id."""
    convert: Convert | None = None
    """Makes the drafts if a table cannot describe them."""
    note: str = ""
    """A peculiarity of the type, for the documentation."""

    def drafts(self, instance: TerraformInstance, lookup: Lookup) -> Iterable[Draft]:
        """The resources that an instance becomes. Raises NotCarriedOver."""
        if self.convert is not None:
            return self.convert(instance, lookup)
        return [self.draft(instance, lookup)]

    def draft(self, instance: TerraformInstance, lookup: Lookup, **changes: Any) -> Draft:
        """The draft that the table describes."""
        given: dict[str, Any] = {
            "kind": self.kinds[0],
            "spec": dict(_fields(self.takes, instance, lookup)),
            "own_id": text_of(instance, self.own_id) if self.own_id else None,
            "project_id": text_of(instance, "project_id") if self.in_project else None,
        }
        return Draft(**{**given, **changes})


class TerraformProvider(Struct, frozen=True):
    """A provider of the OpenAI API."""

    name: str
    """Namespace and type in the registry."""
    types: Mapping[str, TypeMapping]
    without_counterpart: Mapping[str, str]
    """Types that have no declaration here, with the reason as a clause."""


def _fields(
    takes: Iterable[Take], instance: TerraformInstance, lookup: Lookup
) -> Iterable[tuple[str, Any]]:
    for take in takes:
        value = value_at(instance.attributes, take.source)
        if value is None:
            continue
        root = take.source.partition(".")[0]
        if take.is_computed and lookup.sets(instance, root) is False:
            continue
        if take.change is not None:
            value = take.change(value)
        if value is not None:
            yield take.field, value


def value_at(attributes: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; None if there is none. Single blocks may be lists of one."""
    value: Any = attributes
    for part in path.split("."):
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def text_of(instance: TerraformInstance, attribute: str) -> str:
    """An attribute that must be text. Raises NotCarriedOver if it is missing."""
    value = value_at(instance.attributes, attribute)
    if not isinstance(value, str) or not value:
        raise NotCarriedOver(f"the state has no {attribute} of it")
    return value


def last_part(id: str) -> str:
    """The object's own id of an id that is composed with colons."""
    return id.rpartition(":")[2]


def as_list(value: Any) -> list[Any]:
    """A list of a list or a set."""
    return list(value) if isinstance(value, list | tuple) else [value]


def present_parts(block: Any) -> dict[str, Any]:
    """The parts of a block that are set; a provider may store one block as a list."""
    if isinstance(block, list) and block:
        block = block[0]
    if not isinstance(block, Mapping):
        return {}
    return {name: part for name, part in block.items() if part is not None}


def short_role(id: str) -> str:
    """The part of a predefined role's id that does not name its scope."""
    return id.partition("__api-")[0] if id.startswith("role-api-") else id


def unless_empty(value: Any) -> Any:
    """A text; None if it is empty, which some providers store for null."""
    return value or None
