"""Kinds: the declarations from which validation, schemas, documentation, diff, plan and apply are derived.

A `Kind` lists the fields of a resource, the paths of its API calls, and the peculiarities of the API: whether objects
can be created, what a delete does, which changes force a replacement. No other module knows a kind by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum, StrEnum
from functools import cached_property
from typing import Any

from msgspec import Struct
from msgspec import field as struct_field

from reconciler.model.calls import (
    USUAL,
    Calls,
    Parent,
    compose_id,
    id_forms,
    is_of_project,
    parent_fields,
    split_id,
)
from reconciler.model.comparing import canonical, same
from reconciler.model.destruction import LossRule
from reconciler.model.job import Job, digest_of
from reconciler.model.paths import Trail
from reconciler.model.types import (
    SERVER_CHOSEN,
    BundleType,
    Either,
    FileSetType,
    KeySinkType,
    ListOf,
    LocalFileType,
    MapOf,
    Object,
    Property,
    SecretValueType,
    Tagged,
    Text,
    Type,
    properties_in,
    types_in,
)
from reconciler.model.values import Spec


class ScopeType(StrEnum):
    """Where objects of a kind live, which decides the key that reaches them."""

    ORGANIZATION = "organization"  # admin key
    PROJECT = "project"  # admin key, the project's id is in the path
    EITHER = "organization or project"  # admin key; with a project named, the project's, else the organization's
    PROJECT_KEY = "project key"  # a key of the project: the key alone says which project

    @property
    def needs_admin_key(self) -> bool:
        """Whether calls use the organization's admin key."""
        return self is not ScopeType.PROJECT_KEY


class Mutability(StrEnum):
    """How a field of an existing object can change."""

    IN_PLACE = "in place"
    REPLACES = "forces replacement"
    FIXED = "only at creation"  # the API cannot change it, and replacing the object for it would do more harm


class Readable(StrEnum):
    """Whether answers contain a field after it was set."""

    ALWAYS = "always"
    SOMETIMES = "sometimes"  # null or absent may mean "not shown"
    NEVER = "never"


class Removal(StrEnum):
    """How the API removes an object."""

    DELETE = "delete"
    ARCHIVE = "archive"  # final, and the object stays readable
    RESTORE = "restore"  # the object cannot go away: what we overwrote is written back
    CANCEL = "cancel"  # work that still goes on is stopped; one that has ended is only forgotten


class OnRemove(StrEnum):
    """What happens to the object when its declaration is removed."""

    DELETE = "delete"
    RETAIN = "retain"


class TerminalState(StrEnum):
    """What planning does about a listed object that has ended."""

    GONE = "gone"  # as if it were deleted: a new one is created
    REPLACE = "replace"  # it exists and is of no more use: it is replaced


class _Keep(Enum):
    KEEP = "keep"


class _Overwritten(Enum):
    OVERWRITTEN = "overwritten"


KEEP = _Keep.KEEP
"""Reset of a field that cannot be cleared: the last value stays, and the plan says so."""

OVERWRITTEN = _Overwritten.OVERWRITTEN
"""Reset of a field to its value before our first write."""


IN_USE, IS_OVER = "in_use", "is_over"
"""Attributes that the reader adds to objects that show a redacted key (`Kind.shows_key`): whether this run
authenticates with that key, and whether the key has expired."""


class Field(Struct, frozen=True, dict=True):
    """A settable field of a kind."""

    name: str
    """The name in the manifest, in request bodies and, unless `response_key` says otherwise, in answers."""
    type: Type
    doc: str
    """A sentence or two for `explain`, the schema and the documentation."""
    required: bool = False
    # Compared with live values where a manifest is silent, so an invented default shows up as drift.
    default: Any = SERVER_CHOSEN
    """What the API answers if the field was never sent; SERVER_CHOSEN where that varies."""
    mutability: Mutability = Mutability.IN_PLACE
    readable: Readable = Readable.ALWAYS
    # A modify keeps what it was not sent, so a removed field has to be sent with some value.
    reset: Any = None
    """What an update sends once the manifest no longer sets the field: a JSON value, KEEP or OVERWRITTEN."""
    nullable: bool = False
    """Whether the manifest may set null."""
    on_create: bool = True
    """Whether the create call accepts the field. If not, an update sends it right after the create."""
    defaults_to_name: bool = False
    """Whether an omitted field takes the name of the resource."""
    merged: bool = False
    """Whether an update merges the value into the old one, so that omitted parts are sent with their defaults."""
    response_key: str | None = None
    """The attribute of the answer that holds the value, if its name differs; a dotted path reaches inside."""
    action_calls: Mapping[str, str] = struct_field(default_factory=dict)
    """Method and path per value, for a field that only changes by such calls (pause, resume)."""
    client_only: bool = False
    """Whether the field only steers this program. It is never sent, and a change of it updates nothing at the API."""
    losses: tuple[LossRule, ...] = ()
    """Updates in place that destroy something."""

    @property
    def on_update(self) -> bool:
        """Whether a modify call accepts the field."""
        return self.mutability is Mutability.IN_PLACE and not self.client_only

    @cached_property
    def has_own_calls(self) -> bool:
        """Whether the value is a file, a set of files or a key, which separate calls transfer."""
        # A map of files has one upload for each key.
        inner = self.type.value if isinstance(self.type, MapOf) else self.type
        return isinstance(inner, LocalFileType | FileSetType | BundleType | KeySinkType)

    @cached_property
    def in_body(self) -> bool:
        """Whether the field travels in the JSON body of a create or a modify."""
        return not self.has_own_calls and not self.action_calls and not self.client_only

    @cached_property
    def has_hidden(self) -> bool:
        """Whether answers omit parts of the field."""
        return any(part.is_hidden for part in properties_in(self.type))

    @cached_property
    def wraps_text(self) -> bool:
        """Whether answers show a text of the field inside of an object."""
        types = types_in(self.type)
        return any(isinstance(part, Text) and part.inside is not None for part in types)

    @cached_property
    def takes_secrets(self) -> bool:
        """Whether a value can name secrets to send to the API."""
        return _contains(self.type, SecretValueType)

    @cached_property
    def delivers_keys(self) -> bool:
        """Whether a value can name destinations of keys."""
        return _contains(self.type, KeySinkType)

    @cached_property
    def is_always_shown(self) -> bool:
        """Whether every answer contains the field, and an update or a replacement can change it."""
        is_changeable = self.mutability is not Mutability.FIXED
        return self.in_body and self.readable is Readable.ALWAYS and is_changeable

    def replaces(self, path: Trail = ()) -> bool:
        """Whether a change at a path below the field forces a replacement."""
        replaces = self.mutability is Mutability.REPLACES
        # Below a `Tagged`, a step of the path can belong to several variants with different types.
        types = [self.type]
        for part in path:
            below: list[Type] = []
            for type_ in types:
                if isinstance(type_, Tagged) and type_.fixed and type_.tag == part:
                    return True
                for inner, declared in _below(type_, part):
                    below.append(inner)
                    replaces = replaces and not (declared and declared.in_place)
            types = below
        return replaces


def _contains(kind: Type, part: type[Any]) -> bool:
    return any(isinstance(inner, part) for inner in types_in(kind))


def _below(kind: Type, part: str | int) -> Iterator[tuple[Type, Property | None]]:
    """The types that a value may have at one step of a path, each with the property that declares it."""
    match kind:
        case Object(properties):
            for declared in properties:
                if declared.name == part:
                    yield declared.type, declared
        case Tagged(variants):
            for variant in variants.values():
                yield from _below(variant, part)
        case ListOf(item=inner) | MapOf(value=inner):
            yield inner, None
        case Either(other=inner):
            yield from _below(inner, part)


class Retirement(Struct, frozen=True):
    """The end of a kind at the API."""

    since: str
    """ISO date."""
    successor: str
    """The kind or feature to use instead."""
    sentence: str
    """What users read about the retirement."""
    probe: str | None = None
    """The path of a list that was retired too, for kinds whose own collection cannot be listed without a parent."""
    read_only: bool = False
    """Whether objects remain readable, while nothing can be created or changed."""


class Shape(Struct, frozen=True):
    """One of several mutually exclusive forms of a spec."""

    needs: tuple[str, ...]
    """Fields that this form requires."""
    takes: tuple[str, ...] = ()
    """Fields that this form permits. Fields of other forms are errors."""
    when: tuple[str, Any] | None = None
    """The field and value that select the form; None if the set fields in `needs` select it."""

    def fits(self, spec: Spec) -> bool:
        """Whether a spec has this form."""
        if self.when is not None:
            name, value = self.when
            return bool(spec.get(name) == value)
        return any(spec.get(name) is not None for name in self.needs)


def _unchanged(spec: Spec) -> Spec:
    return spec


class Declaration(Struct, frozen=True, kw_only=True, dict=True):
    """What `Kind` and `RuleKind` have in common: the fields that a document can set."""

    name: str
    doc: str
    """The introduction of the kind's documentation page."""
    scope: ScopeType
    fields: tuple[Field, ...]
    example: str
    """A manifest that converges, as YAML."""
    retirement: Retirement | None = None
    """Set if the API has retired the kind."""
    shapes: tuple[Shape, ...] = ()
    """Forms of which a spec must have exactly one; empty if there is only one form."""

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        """The fields by name."""
        return {field.name: field for field in self.fields}

    @cached_property
    def own_calls(self) -> tuple[Field, ...]:
        """The fields with calls of their own: contents, members, keys."""
        return tuple(field for field in self.fields if field.has_own_calls)

    @cached_property
    def delivers_keys(self) -> bool:
        """Whether a spec can name destinations of keys."""
        return any(field.delivers_keys for field in self.fields)

    @cached_property
    def wraps_texts(self) -> bool:
        """Whether answers wrap the text of any field into an object."""
        return any(field.wraps_text for field in self.fields)

    @cached_property
    def takes_secrets(self) -> bool:
        """Whether a spec can name secrets to send to the API."""
        return any(field.takes_secrets for field in self.fields)


class Kind(Declaration, frozen=True, kw_only=True, dict=True):
    """One kind of resource. CONTRIBUTING.md describes how to add one.

    A long class, because each of its declarations is documented beside it.
    """

    collection: str
    """The path below the base URL. Path parameters: `{project}`, and fields of the spec that name the parent."""
    natural_key: tuple[str, ...]
    """The fields that identify an object without an id."""
    other_keys: tuple[tuple[str, ...], ...] = ()
    """Alternative natural keys. A match of any one identifies the object."""
    identify: Callable[[Spec], Spec] | None = None
    """Computes the natural key from a spec or an answer, where fields alone do not give it."""
    from_answer: Callable[[Spec], Spec] = _unchanged
    """Rewrites forms that only answers have, so that an answer can be pasted into a manifest. Gets any map."""
    fill_defaults: Callable[[Spec], Spec] = _unchanged
    """Fills defaults that depend on other fields."""
    calls: Calls = USUAL
    """Methods and paths that differ from the usual ones."""
    # The defaults of some lists hide objects, and a plan would take those for deleted.
    list_query: Mapping[str, str] = struct_field(default_factory=dict)
    """Query parameters of list calls."""
    ended_query: Mapping[str, str] = struct_field(default_factory=dict)
    """Query parameters with which the list also has objects that have ended; empty if it always has."""
    page_limit: int = 100
    """The largest `limit` that the list accepts."""
    beta: str | None = None
    """The value of the `OpenAI-Beta` header."""

    # Without metadata, ownership is known only from the state: a lost state loses the object.
    mark: str | None = None
    """The field that stores our ownership mark; None if the API stores no metadata."""
    always_exists: bool = False
    """Whether the API creates the objects itself, one per natural key. They are updated and never created."""
    unique: bool = False
    """Whether the API permits one object per natural key, so that a match on the key suffices to bind it."""
    # Admin routes allow few requests a minute, so objects are read by lists wherever possible.
    readable_singly: bool = True
    """Whether the API has a call to read one object by id."""
    parent_sources: Mapping[str, tuple[str, ...]] = struct_field(default_factory=dict)
    """For each field that names the parent: the kinds whose objects are parents. `KIND.field` takes the id from a
    field of the object. Without an entry, parents are unknown unless a manifest or a record names them."""
    shown_with_parent: Mapping[str, str] = struct_field(default_factory=dict)
    """For fields that name the parent: a kind of which lists inside the parent show nothing new, as long as all
    objects of it are predefined."""
    defines_project: bool = False
    """Whether the object is a project, through which other kinds are reached."""

    removal: Removal = Removal.DELETE
    # RETAIN for objects that cannot be created again: projects, people, trained models.
    on_remove: OnRemove = OnRemove.DELETE
    """The default of `lifecycle.on_remove`."""
    create_before_destroy: bool = False
    """The default of `lifecycle.create_before_destroy`."""
    destroys: str = ""
    """What a deletion destroys, as a clause for the plan; empty if nothing of value is lost."""
    terminal_states: Mapping[tuple[str, Any], TerminalState] = struct_field(default_factory=dict)
    """By attribute and value: the effect of an object that has that value."""
    read_only_when: Mapping[tuple[str, Any], str] = struct_field(default_factory=dict)
    """By attribute and value: the reason why an object with that value must not be changed or removed here."""
    held_for_removal: bool = False
    """Whether `read_only_when` forbids only removal and permits changes."""
    min_one: tuple[str, Any] | None = None
    """An attribute and a value that at least one object must keep, such as the role `owner`."""
    shows_key: str | None = None
    """The attribute with a redacted key, from which the reader derives `IN_USE` and `IS_OVER`."""
    made_unnecessary_by: str | None = None
    """A kind whose object with the same natural key fulfils the purpose of this one: a user, of an invite."""
    absent: str = ""
    """The remedy if a declared object of a kind that cannot be created does not exist: one or two
    sentences.
    """

    audit_events: tuple[str, ...] = ()
    """Prefixes of the audit log event types that together report every change of such objects. Empty if the log
    misses some changes: such scopes are read by every plan."""
    own_audit_events: tuple[str, ...] = ()
    """Prefixes of the event types that our own writes cause, if they differ from the first of `audit_events`."""

    job: Job | None = None
    """Set for objects that start work. Only other inputs replace such an object."""

    @property
    def audit_event_types(self) -> tuple[str, ...]:
        """Prefixes of the audit log event types that our own writes cause."""
        return self.own_audit_events or self.audit_events[:1]

    @cached_property
    def fields_by_mutability(self) -> Mapping[Mutability, tuple[Field, ...]]:
        """The fields of each mutability that occurs."""
        fields: dict[Mutability, tuple[Field, ...]] = {}
        for field in self.fields:
            fields[field.mutability] = (*fields.get(field.mutability, ()), field)
        return fields

    @cached_property
    def always_shown(self) -> tuple[Field, ...]:
        """The fields that every answer contains and that an update or a replacement can change."""
        return tuple(field for field in self.fields if field.is_always_shown)

    @cached_property
    def shown_otherwise(self) -> tuple[Field, ...]:
        """The fields that answers rename, show in part, or show as a secret that must not be kept."""
        return tuple(
            field
            for field in self.fields
            if field.response_key or field.has_hidden or field.takes_secrets
        )

    @cached_property
    def is_shown_once(self) -> bool:
        """Whether the create call answers with a secret that cannot be read again. An object found later is useless."""
        sinks = (field.type for field in self.fields if isinstance(field.type, KeySinkType))
        return any(sink.shown_in for sink in sinks)

    @property
    def unique_key(self) -> bool:
        """Whether a scope has at most one object per natural key. Ids then need not be unique across scopes."""
        return self.always_exists or self.unique

    def identity(self, spec: Spec) -> Spec | None:
        """The natural key of a spec or an answer; None if a part of it is missing or unknown."""
        return next(iter(self.identities(spec)), None)

    def identities(self, spec: Spec) -> list[Spec]:
        """All natural keys of a spec or an answer. Jobs have none: two jobs with the same inputs are two jobs."""
        if self.job is not None:
            return []
        if self.identify is not None:
            candidates = [self.identify(spec)]
        else:
            keys = (self.natural_key, *self.other_keys)
            candidates = [{name: spec.get(name) for name in key} for key in keys]
        complete: list[Spec] = []
        for candidate in candidates:
            # Normal forms, so that an alias or another case in a manifest still names the object.
            key = {name: self._comparable(name, value) for name, value in candidate.items()}
            # A key with an unknown or missing part must match nothing: an adoption or a create
            # that relied on it could take another object.
            if all(isinstance(value, str | int) for value in key.values()):
                complete.append(key)
        return complete

    def inputs_digest(self, spec: Spec) -> str | None:
        """The digest of a job's inputs; None for other kinds, and while an input is unknown."""
        if self.job is None:
            return None
        inputs: dict[str, Any] = {}
        for field in self.fields:
            # Metadata is FIXED and the waiting fields are client-only: neither is an input, so
            # neither starts the job again.
            if not field.in_body or field.mutability is not Mutability.REPLACES:
                continue
            value = canonical(field.type, spec.get(field.name))
            # A default that a manifest spells out gives the same digest as an omitted field.
            if value is not None and not self._is_default(field, value):
                inputs[field.name] = value
        return digest_of(inputs)

    @staticmethod
    def _is_default(field: Field, value: Any) -> bool:
        if field.default is SERVER_CHOSEN:
            return False
        return same(value, canonical(field.type, field.default))

    def _comparable(self, name: str, value: Any) -> Any:
        declared = self.by_name.get(name)
        if declared is not None and isinstance(value, str):
            return canonical(declared.type, value)
        return value

    @property
    def retirement_probe(self) -> str:
        """The path of the list that answers 404 or 410 once the kind is retired."""
        return (self.retirement and self.retirement.probe) or self.collection

    @cached_property
    def collections(self) -> tuple[str, ...]:
        """Every collection of the kind."""
        return (self.collection, *self.calls.also_at)

    @cached_property
    def parents(self) -> tuple[tuple[str, ...], ...]:
        """The fields that name the parent, for each type of parent that objects can have; empty for most kinds."""
        # Collections of the organization and of a project can have the same type of parent.
        types = dict.fromkeys(parent_fields(path) for path in self.collections)
        return tuple(fields for fields in types if fields)

    def parent_of(self, spec: Spec) -> Parent | None:
        """The parent that a spec names; None if one of its fields is missing or unknown."""
        if not self.parents:
            return ()
        # The first type of parent that is completely set wins.
        for fields in self.parents:
            ids = [spec.get(name) for name in fields]
            if all(isinstance(id, str) and id for id in ids):
                return tuple(zip(fields, map(str, ids), strict=True))
        return None

    def collection_for(self, *, in_project: bool, parent: Parent = ()) -> str:
        """The path of the collection for a scope and a type of parent."""
        fields = tuple(name for name, _ in parent)
        for path in self.collections:
            # Kinds of both scopes have a collection for each; for all others, the key alone selects
            # the scope.
            fits = is_of_project(path) == in_project or self.scope is not ScopeType.EITHER
            if fits and parent_fields(path) == fields:
                return path
        raise ValueError(f"{self.name} has no collection for {fields or 'no parent'}")

    def route(self, call: str, *, in_project: bool, parent: Parent = ()) -> tuple[str, str]:
        """Method and path of `list` or of one of the `calls`, with path parameters in place of ids."""
        # The collection is what a list reads, so no kind declares that call.
        declared = "GET {collection}" if call == "list" else str(getattr(self.calls, call))
        return self.filled(declared, in_project=in_project, parent=parent)

    def filled(self, call: str, *, in_project: bool, parent: Parent) -> tuple[str, str]:
        """Method and path of a declared call, with the collection of a scope inserted."""
        method, _, path = call.partition(" ")
        return method, path.replace(
            "{collection}", self.collection_for(in_project=in_project, parent=parent)
        )

    def composed_id(self, parent: Parent, id: str) -> str:
        """An id that is unique in the scope: the API's id, preceded by the ids of the parent."""
        return compose_id(parent, id, named=len(self.parents) > 1)

    def parent_and_id(self, id: str) -> tuple[Parent, str]:
        """Parent and own id. Raises ValueError if the id cannot belong to this kind."""
        return split_id(id, self.parents) if self.parents else ((), id)

    @property
    def id_forms(self) -> list[str]:
        """How to write ids of such objects, for messages: `GROUP_ID/USER_ID`."""
        if self.calls.singleton:
            # A singleton has no id of its own, so the last part of its path stands for it. The
            # paths for the organization and for a project mostly end alike.
            names = [path.rpartition("/")[2] for path in self.collections]
            return list(dict.fromkeys(names))
        own_id = (self.calls.id_field or "id").upper()
        return id_forms(self.parents, own_id) if self.parents else [own_id]

    def read_only_reason(self, attributes: Spec) -> str | None:
        """Why an object with these attributes must not be changed or removed; None if it may."""
        for (name, value), reason in self.read_only_when.items():
            if attributes.get(name) == value:
                return reason
        return None

    def terminal_state(self, attributes: Spec) -> TerminalState | None:
        """The terminal state of an object with these attributes; None if it has not ended."""
        for (name, value), ended in self.terminal_states.items():
            if attributes.get(name) == value:
                return ended
        return None
