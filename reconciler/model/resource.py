"""The three states of an object: desired (`Resource`), live (`LiveObject`) and prior (`Record`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import force_setattr

from reconciler.model.address import Address
from reconciler.model.diagnostic import SourceLocation
from reconciler.model.job import INPUTS_KEY
from reconciler.model.kind import Kind, OnRemove, Readable
from reconciler.model.values import MAP, Reference, Spec, references_in, substitute

IGNORE_ALL = "all"

MARK_KEY = "reconciler"
"""The metadata key that carries our ownership mark."""

METADATA_PAIRS = 16
"""The number of pairs that the API allows in metadata. Our mark takes one of them."""

OUR_KEYS = frozenset({MARK_KEY, INPUTS_KEY})
"""Our own metadata keys, which diffs hide."""


class Lifecycle(Struct, frozen=True):
    """The `lifecycle` of a manifest. None means that the manifest is silent and the kind's default applies."""

    prevent_destroy: bool | None = None
    """None keeps a protection that is recorded; only an explicit false ends it."""
    ignore_changes: tuple[str, ...] = ()
    """Dotted field paths, or `IGNORE_ALL` alone."""
    on_remove: OnRemove | None = None
    adopt: bool | str = False
    """False, an object id, or True for the only object with the natural key."""
    create_before_destroy: bool | None = None
    renamed_from: Address | None = None
    strict: bool = False
    """Whether fields that no manifest sets have to be at the API's default."""


NO_ADDRESSES: frozenset[Address] = frozenset()
"""Shared by all resources without references: an empty frozenset of its own takes as much memory as a full one."""


class Resource(Struct, frozen=True):
    """An object declared in a manifest, expanded and resolved as far as the manifests alone allow."""

    address: Address
    kind: Kind
    spec: Spec
    """It may contain references, templates, local files and file sets."""
    lifecycle: Lifecycle = Lifecycle()
    location: SourceLocation | None = None
    """The source location of the document."""
    locations: Mapping[str, SourceLocation] = field(default_factory=dict)
    """By dotted field path: where the value was written."""
    restored: Spec = field(default_factory=dict)
    """Values that a rollback writes to undeclared fields, instead of the API's defaults."""
    references: frozenset[Address] = NO_ADDRESSES
    """The addresses that the spec refers to."""

    def __post_init__(self) -> None:
        # Computed once: planning asks for the references of every resource many times.
        addresses = frozenset(reference.address for reference in references_in(self.spec))
        force_setattr(self, "references", addresses or NO_ADDRESSES)

    def resolved(self, lookup: Callable[[Reference], Any]) -> Spec:
        """The spec with references replaced by what `lookup` returns; the spec itself if it has none."""
        resolved: Spec = substitute(self.spec, lookup) if self.references else self.spec
        return resolved

    @property
    def on_remove(self) -> OnRemove:
        """What happens to the object if its declaration is removed."""
        return self.lifecycle.on_remove or self.kind.on_remove


class LiveObject(Struct, frozen=True):
    """An object at the API."""

    kind: Kind
    id: str
    attributes: Spec
    """The API's answer, with the fields that name the parent."""
    project: str | None = None
    """The project's name in the configuration; None for the organization and for the project of the default key."""
    own_calls: Mapping[str, Any] = field(default_factory=dict)
    """The live values of fields with calls of their own, as far as they were read."""

    @property
    def own_id(self) -> str:
        """The API's id, without that of the parent. References resolve to it."""
        return self.kind.parent_and_id(self.id)[1]

    @property
    def mark(self) -> str | None:
        """Our ownership mark, `stack/environment/address`; None if the object has none."""
        return self._metadata_text(MARK_KEY)

    @property
    def is_marked(self) -> bool:
        """Whether any metadata field holds the mark of any stack."""
        return any(
            isinstance(value, MAP) and MARK_KEY in value for value in self.attributes.values()
        )

    @property
    def inputs(self) -> str | None:
        """The digest of the inputs, if it is a job of ours."""
        return self._metadata_text(INPUTS_KEY)

    @property
    def runs(self) -> bool:
        """Whether it is a running job."""
        return self.kind.job is not None and self.kind.job.runs(self.attributes)

    def _metadata_text(self, key: str) -> str | None:
        marks = self.attributes.get(self.kind.mark) if self.kind.mark else None
        note = marks.get(key) if isinstance(marks, MAP) else None
        return note if isinstance(note, str) else None

    def shows(self, name: str) -> bool:
        """Whether the answer has the field, even as null. A field that it lacks is unknown."""
        return name in self.attributes or name in self.own_calls

    def value(self, name: str) -> Any:
        """The live value of a field, without our own metadata keys."""
        if name in self.own_calls:
            return self.own_calls[name]
        shown = self.attributes.get(name)
        # Our keys are not in the manifest, and a diff would offer to remove them.
        if name == self.kind.mark and isinstance(shown, MAP):
            return {key: text for key, text in shown.items() if key not in OUR_KEYS}
        return shown


def shown_to_others(live: LiveObject) -> Spec:
    """The attributes that references may use. Results of a job are included once they are final."""
    job = live.kind.job
    if job is None:
        return live.attributes
    # The API fills some results in while the job runs, and they change until its end.
    others = {name: value for name, value in live.attributes.items() if name not in job.results}
    return {**others, **job.final_results(live.attributes)}


SEEN = "(seen)"
"""The entry of `Record.answered` for values that no manifest sets. It cannot be the name of a field."""


class Record(Struct, frozen=True):
    """The recorded facts about a resource: its object, and values that the API does not show."""

    address: Address
    id: str
    project_id: str | None = None
    """The API's id of the project."""
    applied: Spec = field(default_factory=dict)
    """The resolved spec of the last apply."""
    answered: Spec = field(default_factory=dict)
    """The API's values of fields that it stored differently from what was sent. `SEEN` holds those of `seen`."""
    overwritten: Spec = field(default_factory=dict)
    """The values before our first write, for fields and objects that cannot be removed."""
    delivered: Spec = field(default_factory=dict)
    """By key field: the id of the key and the sink that received it. Never the key itself."""
    prevent_destroy: bool = False
    on_remove: OnRemove | None = None
    depends_on: tuple[Address, ...] = ()
    # A kill between the create of a replacement and the delete of the old object must not lose the
    # old object.
    deposed: tuple[str, ...] = ()
    """Ids that a replacement superseded and that are not deleted yet."""
    marked_later: bool = False
    """Whether the object may stay without our mark until something else of it changes."""

    @property
    def seen(self) -> Spec:
        """The values, after the last apply, of fields and parts that no manifest sets. In normal
        form. Only for strict resources.
        """
        seen: Spec = self.answered.get(SEEN, {})
        return seen


def without_seen(answered: Spec) -> dict[str, Any]:
    """The entries of `Record.answered` that are fields."""
    return {name: value for name, value in answered.items() if name != SEEN}


def shown_spec(live: LiveObject, record: Record | None) -> dict[str, Any]:
    """An object as a spec: its live values, and the recorded values of fields that the API never
    shows."""
    shown = {}
    for declared in live.kind.fields:
        value = live.value(declared.name)
        # A record outlives edits by hand, so its values count only where the API is silent.
        if declared.readable is Readable.NEVER and record is not None:
            value = record.applied.get(declared.name)
        if value is not None:
            shown[declared.name] = value
    return shown


def by_address(resources: Iterable[Resource]) -> dict[Address, Resource]:
    """The resources by their addresses, which are unique in a configuration."""
    return {resource.address: resource for resource in resources}
