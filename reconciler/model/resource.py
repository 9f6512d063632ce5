"""Three views of one thing: declared (`Resource`), at the API (`LiveObject`), and as we last left it (`Record`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import force_setattr

from reconciler.model.address import Address
from reconciler.model.diagnostic import SourceLocation
from reconciler.model.job import INPUTS_KEY
from reconciler.model.kind import Kind, OnRemove
from reconciler.model.values import MAP, Reference, Spec, references_in, substitute

IGNORE_ALL = "all"

MARK_KEY = "reconciler"
"""The metadata key that carries our ownership mark."""

METADATA_PAIRS = 16
"""How many pairs the API allows in metadata; our mark needs one of them."""

OUR_KEYS = frozenset({MARK_KEY, INPUTS_KEY})
"""The metadata keys that are ours, and that nobody sees in a diff."""


class Lifecycle(Struct, frozen=True):
    """How the engine treats a resource. None means that the kind's own default holds.

    `prevent_destroy` is None where the manifest is silent: a protection that was recorded then goes on, and only an
    explicit false ends it. `adopt` is False, True (the one object with the natural key) or an object id.
    `ignore_changes` holds dotted field paths, or `IGNORE_ALL` alone.
    """

    prevent_destroy: bool | None = None
    ignore_changes: tuple[str, ...] = ()
    on_remove: OnRemove | None = None
    adopt: bool | str = False
    create_before_destroy: bool | None = None
    renamed_from: Address | None = None


NO_ADDRESSES: frozenset[Address] = frozenset()
"""One for all: each empty set of its own takes as much room as a full one."""


class Resource(Struct, frozen=True):
    """One thing declared in a manifest, expanded and resolved as far as the manifests alone allow.

    `spec` may hold references, templates, local files and file sets. `places` maps dotted field paths to where they
    were written, `place` is the document's own. `restored` are values for fields that nothing declares: a rollback
    writes them where it would otherwise write the API's defaults.
    """

    address: Address
    kind: Kind
    spec: Spec
    lifecycle: Lifecycle = Lifecycle()
    location: SourceLocation | None = None
    locations: Mapping[str, SourceLocation] = field(default_factory=dict)
    restored: Spec = field(default_factory=dict)
    references: frozenset[Address] = NO_ADDRESSES
    """The addresses that the spec refers to."""

    def __post_init__(self) -> None:
        addresses = frozenset(reference.address for reference in references_in(self.spec))
        force_setattr(self, "references", addresses or NO_ADDRESSES)

    def resolved(self, lookup: Callable[[Reference], Any]) -> Spec:
        """The spec with what `lookup` answers in place of references; the spec itself where there are none."""
        resolved: Spec = substitute(self.spec, lookup) if self.references else self.spec
        return resolved

    @property
    def on_remove(self) -> OnRemove:
        """What the removal of this declaration will do."""
        return self.lifecycle.on_remove or self.kind.on_remove


class LiveObject(Struct, frozen=True):
    """What exists at the API. `attributes` is the answer as it came, with what the path says of its surroundings.

    `carried` holds the live values of fields that have calls of their own, where they were read; `project` is the
    project's name in the configuration, None for the organization and for the project of the default key.
    """

    kind: Kind
    id: str
    attributes: Spec
    project: str | None = None
    own_calls: Mapping[str, Any] = field(default_factory=dict)

    @property
    def own_id(self) -> str:
        """The id that the API gave it, without the surroundings: what other objects refer to."""
        return self.kind.parent_and_id(self.id)[1]

    @property
    def mark(self) -> str | None:
        """Our ownership mark, `stack/environment/address`, where the object carries one."""
        return self._noted(MARK_KEY)

    @property
    def is_marked(self) -> bool:
        """Whether it carries the mark of any stack, in whatever field the API shows such notes."""
        return any(
            isinstance(value, MAP) and MARK_KEY in value for value in self.attributes.values()
        )

    @property
    def inputs(self) -> str | None:
        """The digest of what a job of ours was started with, where it carries one."""
        return self._noted(INPUTS_KEY)

    @property
    def runs(self) -> bool:
        """Whether it is a job that has not ended."""
        return self.kind.job is not None and self.kind.job.runs(self.attributes)

    def _noted(self, key: str) -> str | None:
        marks = self.attributes.get(self.kind.mark) if self.kind.mark else None
        note = marks.get(key) if isinstance(marks, MAP) else None
        return note if isinstance(note, str) else None

    def shows(self, name: str) -> bool:
        """Whether the answer has a field at all, be it null: one that it lacks is unknown."""
        return name in self.attributes or name in self.own_calls

    def value(self, name: str) -> Any:
        """The live value of a field, our own mark hidden."""
        if name in self.own_calls:
            return self.own_calls[name]
        shown = self.attributes.get(name)
        if name == self.kind.mark and isinstance(shown, MAP):
            return {key: text for key, text in shown.items() if key not in OUR_KEYS}
        return shown


def shown_to_others(live: LiveObject) -> Spec:
    """What references may be to: all that is shown; of a job its fields, and its results once they are final."""
    job = live.kind.job
    if job is None:
        return live.attributes
    return {
        name: value for name, value in live.attributes.items() if name not in job.results
    } | job.found(live.attributes)


class Record(Struct, frozen=True):
    """What we remember of a resource: the binding to an object, and what the API cannot tell.

    `applied` is the spec of the last apply, resolved; `answered` holds, for fields that the server kept otherwise than
    asked, what it answered. `overwritten` are the values before our first write. `delivered` says, for each key field,
    the key's id and the sink it went to (never the key). `project_id` is the API's id of the project at that time.
    `deposed` are ids that a replacement has superseded and not deleted yet.
    """

    address: Address
    id: str
    project_id: str | None = None
    applied: Spec = field(default_factory=dict)
    answered: Spec = field(default_factory=dict)
    overwritten: Spec = field(default_factory=dict)
    delivered: Spec = field(default_factory=dict)
    prevent_destroy: bool = False
    on_remove: OnRemove | None = None
    depends_on: tuple[Address, ...] = ()
    deposed: tuple[str, ...] = ()
