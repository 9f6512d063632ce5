"""What a kind is: the declaration that everything else is made from.

A `Kind` says which fields a resource has, where it lives at the API, and how the API treats it: whether it can be
created at all, what a delete does, which values only a replacement can change. Validation, schemas, documentation,
diff, plan, apply and import read it; none of them knows a kind by name.
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
    Type,
    properties_in,
    types_in,
)
from reconciler.model.values import Spec


class ScopeType(StrEnum):
    """Where objects of a kind live, and so which key reaches them."""

    ORGANIZATION = "organization"  # admin key
    PROJECT = "project"  # admin key, the project's id is in the path
    EITHER = "organization or project"  # admin key; with a project named, the project's, else the organization's
    PROJECT_KEY = "project key"  # a key of the project: the key alone says which project

    @property
    def needs_admin_key(self) -> bool:
        """Whether the organization's admin key makes the calls."""
        return self is not ScopeType.PROJECT_KEY


class Mutability(StrEnum):
    """What it takes to change a field of an existing object."""

    IN_PLACE = "in place"
    REPLACES = "forces replacement"
    FIXED = "only at creation"  # the API cannot change it, and replacing the object for it would do more harm


class Readable(StrEnum):
    """Whether the API shows a field again."""

    ALWAYS = "always"
    SOMETIMES = "sometimes"  # null or absent may mean "not shown"
    NEVER = "never"


class Removal(StrEnum):
    """How a delete is carried out."""

    DELETE = "delete"
    ARCHIVE = "archive"  # final, and the object stays readable
    RESTORE = "restore"  # the object cannot go away: what we overwrote is written back
    CANCEL = "cancel"  # work that still goes on is stopped; one that has ended is only forgotten


class OnRemove(StrEnum):
    """What happens to the object when its declaration goes away."""

    DELETE = "delete"
    RETAIN = "retain"


class TerminalState(StrEnum):
    """What it means that a listed object has reached an end state."""

    GONE = "gone"  # as if it were deleted: a new one is created
    REPLACE = "replace"  # it exists and is of no more use: it is replaced


class _Keep(Enum):
    KEEP = "keep"


class _Overwritten(Enum):
    OVERWRITTEN = "overwritten"


KEEP = _Keep.KEEP
"""Reset of a field that nothing can clear: the last value stays, and the plan says so."""

OVERWRITTEN = _Overwritten.OVERWRITTEN
"""Reset of a field whose value before our first write is written back."""


IN_USE, IS_OVER = "in_use", "is_over"
"""Attributes that are told beside the API's own of an object that shows a key: whether this run works with that key,
and whether the key's time is over."""


class Field(Struct, frozen=True, dict=True):
    """A settable field of a kind.

    `default` is what the API shows when the field was never sent (SERVER_CHOSEN where it varies). `reset` is what an
    update sends once the manifest no longer sets the field: a JSON value, KEEP or OVERWRITTEN. A `named` field that is
    left out takes the resource's own name. `on_create` and
    `on_update` say which bodies accept it; a field of the update alone is sent right after the create. `merged` where
    an update keeps the parts of the value that it was not sent, so that they have to be sent to go. `shown_as` names
    the attribute of an answer that has the field's value, where it is not called like the field. `switched_by` has a
    call for each value, where the field changes by calls of its own that say nothing else (pause and resume); what is
    new has its default. What is `ours` says what we are to do, and is no part of the
    object: it is never sent, and a change of it changes nothing there. `losses` are the updates in place that destroy
    something.
    """

    name: str
    type: Type
    doc: str
    required: bool = False
    default: Any = SERVER_CHOSEN
    mutability: Mutability = Mutability.IN_PLACE
    readable: Readable = Readable.ALWAYS
    reset: Any = None
    nullable: bool = False
    on_create: bool = True
    defaults_to_name: bool = False
    merged: bool = False
    response_key: str | None = None
    action_calls: Mapping[str, str] = struct_field(default_factory=dict)
    client_only: bool = False
    losses: tuple[LossRule, ...] = ()

    @property
    def on_update(self) -> bool:
        """Whether a modify call accepts the field."""
        return self.mutability is Mutability.IN_PLACE and not self.client_only

    @cached_property
    def has_own_calls(self) -> bool:
        """Whether the value is a file, files or a key: those have calls of their own, and are no JSON."""
        inner = self.type.value if isinstance(self.type, MapOf) else self.type
        return isinstance(inner, LocalFileType | FileSetType | BundleType | KeySinkType)

    @cached_property
    def in_body(self) -> bool:
        """Whether the field travels in the JSON body of a create or a modify."""
        return not self.has_own_calls and not self.action_calls and not self.client_only

    @cached_property
    def has_hidden(self) -> bool:
        """Whether the API shows the field without some of its parts."""
        return any(part.is_hidden for part in properties_in(self.type))

    @cached_property
    def takes_secrets(self) -> bool:
        """Whether a value can name secrets that are sent to the API."""
        return any(isinstance(part, SecretValueType) for part in types_in(self.type))

    def replaces(self, path: Trail = ()) -> bool:
        """Whether another value at a path below the field takes another object."""
        replaces, types = self.mutability is Mutability.REPLACES, [self.type]
        for part in path:
            if any(
                isinstance(type_, Tagged) and type_.fixed and type_.tag == part for type_ in types
            ):
                return True
            steps = [pair for type_ in types for pair in _below(type_, part)]
            replaces = replaces and not any(prop.in_place for _, prop in steps if prop)
            types = [type_ for type_, _ in steps]
        return replaces


def _below(kind: Type, part: str | int) -> Iterator[tuple[Type, Property | None]]:
    """The types that a value may have at a part of another, each with the property that it is of."""
    match kind:
        case Object(properties):
            yield from ((prop.type, prop) for prop in properties if prop.name == part)
        case Tagged(variants):
            yield from (step for variant in variants.values() for step in _below(variant, part))
        case ListOf(item=inner) | MapOf(value=inner):
            yield inner, None
        case Either(other=inner):
            yield from _below(inner, part)


class Retirement(Struct, frozen=True):
    """The live platform has ended a kind: since when (ISO date), what came after, and the sentence that says so.

    `asked` is a list that went with it, for kinds that cannot be listed without an object around them, or at all.
    What is `read_only` can still be read there, and nothing of it made or changed.
    """

    since: str
    successor: str
    sentence: str
    probe: str | None = None
    read_only: bool = False


class Shape(Struct, frozen=True):
    """One of several forms that the specs of a kind have: the fields that it needs, and those that it may have besides.

    No field of another shape goes with it. `when` is the value of a field that tells the shape; without it, the fields
    that are set do.
    """

    needs: tuple[str, ...]
    takes: tuple[str, ...] = ()
    when: tuple[str, Any] | None = None

    def fits(self, spec: Spec) -> bool:
        """Whether a spec is meant to have this shape."""
        if self.when is not None:
            name, value = self.when
            return bool(spec.get(name) == value)
        return any(spec.get(name) is not None for name in self.needs)


def _unchanged(spec: Spec) -> Spec:
    return spec


class Declaration(Struct, frozen=True, kw_only=True, dict=True):
    """What a document of a manifest can say: where it belongs, its fields, and an example.

    `Kind` adds to it how the API treats the objects that are declared so; a `RuleKind` declares no object.
    """

    name: str
    doc: str
    scope: ScopeType
    fields: tuple[Field, ...]
    example: str
    retirement: Retirement | None = None
    shapes: tuple[Shape, ...] = ()

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        """The fields by name."""
        return {field.name: field for field in self.fields}

    @cached_property
    def own_calls(self) -> tuple[Field, ...]:
        """The fields that have calls of their own: contents, members, keys."""
        return tuple(field for field in self.fields if field.has_own_calls)

    @cached_property
    def takes_secrets(self) -> bool:
        """Whether a spec can name secrets that are sent to the API."""
        return any(field.takes_secrets for field in self.fields)


class Kind(Declaration, frozen=True, kw_only=True, dict=True):
    """One kind of resource. See CONTRIBUTING.md for a walk through the arguments.

    `collection` is the path below the base URL, with `{project}` for the project's id. `natural_key` names the fields
    that recognise an object when we hold no id. `mark` is the field that carries our ownership mark, if there is one.
    `always_exists` for objects that the API makes by itself, one a natural key; `unique` for those that can be made and
    of which there is never a second one with the same natural key, so that finding one is enough to call it ours.
    `complete` fills defaults that follow from other fields; `identify` gives the natural key of a completed spec.

    `calls` say how its calls differ from the usual. `other_keys` are further natural keys, of which one is enough.
    `held` gives, for what an object shows, the reason why nobody may change or remove it from here, or with
    `held_for_removal` only why nobody may remove it; `shows_key` names
    the attribute that shows a key redacted, so that `IN_USE` and `IS_OVER` can be told. `keep_one` names an attribute
    and a value that at least one object must keep. `satisfied_by` names a kind whose object with the same natural key
    makes this one unnecessary. `events` are the beginnings of the types of audit log entries that tell of every change
    of such objects; empty where there are none that do. `logged` are those of the entries that writing such an object
    leaves, where they are others than the first of `events`. `shapes` are forms of which a spec has exactly one. `job`
    says how objects run that are work rather than things; all that replaces such an object is its input.
    """

    collection: str
    natural_key: tuple[str, ...]
    removal: Removal = Removal.DELETE
    on_remove: OnRemove = OnRemove.DELETE
    always_exists: bool = False
    readable_singly: bool = True
    defines_project: bool = False
    mark: str | None = None
    beta: str | None = None
    page_limit: int = 100
    list_query: Mapping[str, str] = struct_field(default_factory=dict)
    terminal_states: Mapping[tuple[str, Any], TerminalState] = struct_field(default_factory=dict)
    create_before_destroy: bool = False
    destroys: str = ""
    calls: Calls = USUAL
    unique: bool = False
    other_keys: tuple[tuple[str, ...], ...] = ()
    read_only_when: Mapping[tuple[str, Any], str] = struct_field(default_factory=dict)
    held_for_removal: bool = False
    shows_key: str | None = None
    min_one: tuple[str, Any] | None = None
    made_unnecessary_by: str | None = None
    audit_events: tuple[str, ...] = ()
    own_audit_events: tuple[str, ...] = ()
    job: Job | None = None
    absent: str = ""
    """What to do where a declared object of a kind that cannot be created does not exist: one or two sentences."""
    fill_defaults: Callable[[Spec], Spec] = _unchanged
    identify: Callable[[Spec], Spec] | None = None

    @property
    def audit_event_types(self) -> tuple[str, ...]:
        """The beginnings of the types of audit log entries that our own writes leave."""
        return self.own_audit_events or self.audit_events[:1]

    @cached_property
    def shown_otherwise(self) -> tuple[Field, ...]:
        """The fields that an answer has under another name, in part, or not for anybody to keep."""
        return tuple(
            field
            for field in self.fields
            if field.response_key or field.has_hidden or field.takes_secrets
        )

    @property
    def is_shown_once(self) -> bool:
        """Whether making an object shows a secret that nobody can read again: found later, it is of no use."""
        return any(
            isinstance(field.type, KeySinkType) and field.type.shown_in for field in self.fields
        )

    @property
    def unique_key(self) -> bool:
        """Whether there is at most one object a natural key and scope; ids then need not be unique across scopes."""
        return self.always_exists or self.unique

    def identity(self, spec: Spec) -> Spec | None:
        """The natural key of a spec or of an answer; None where a part of it is missing or unknown."""
        return next(iter(self.identities(spec)), None)

    def identities(self, spec: Spec) -> list[Spec]:
        """Every natural key that a spec or an answer has. Two jobs with the same inputs are two jobs."""
        if self.job is not None:
            return []
        keys = (self.natural_key, *self.other_keys)
        candidates = (
            [self.identify(spec)]
            if self.identify
            else [{name: spec.get(name) for name in key} for key in keys]
        )
        texts = [
            {name: self._comparable(name, value) for name, value in key.items()}
            for key in candidates
        ]
        return [key for key in texts if all(isinstance(value, str | int) for value in key.values())]

    def inputs_digest(self, spec: Spec) -> str | None:
        """The digest of what a job with this spec is started with; None for other kinds, and while it is unknown."""
        if self.job is None:
            return None
        inputs = [
            field
            for field in self.fields
            if field.in_body and field.mutability is Mutability.REPLACES
        ]
        values = {field.name: canonical(field.type, spec.get(field.name)) for field in inputs}
        defaults = {
            field.name: canonical(field.type, field.default)
            for field in inputs
            if field.default is not SERVER_CHOSEN
        }
        return digest_of(
            {
                name: value
                for name, value in values.items()
                if value is not None and not (name in defaults and same(value, defaults[name]))
            }
        )

    def _comparable(self, name: str, value: Any) -> Any:
        declared = self.by_name.get(name)
        return (
            canonical(declared.type, value)
            if declared is not None and isinstance(value, str)
            else value
        )

    @property
    def retirement_probe(self) -> str:
        """The list that is gone where the kind is retired."""
        return (self.retirement and self.retirement.probe) or self.collection

    @cached_property
    def collections(self) -> tuple[str, ...]:
        """Every collection of the kind."""
        return (self.collection, *self.calls.also_at)

    @cached_property
    def parents(self) -> tuple[tuple[str, ...], ...]:
        """The sorts of surroundings that objects can be in, as the names of fields; empty for most kinds."""
        sorts = dict.fromkeys(parent_fields(path) for path in self.collections)
        return tuple(fields for fields in sorts if fields)

    def parent_of(self, spec: Spec) -> Parent | None:
        """The surroundings that a spec names; None where a field of them is missing or unknown."""
        if not self.parents:
            return ()
        for fields in self.parents:
            values = [spec.get(name) for name in fields]
            if all(isinstance(value, str) and value for value in values):
                return tuple((name, str(value)) for name, value in zip(fields, values, strict=True))
        return None

    def collection_for(self, *, in_project: bool, parent: Parent = ()) -> str:
        """The path of the collection that has objects of a scope and surroundings."""
        fields = tuple(name for name, _ in parent)
        for path in self.collections:
            fits = is_of_project(path) == in_project or self.scope is not ScopeType.EITHER
            if fits and parent_fields(path) == fields:
                return path
        raise ValueError(f"{self.name} has no collection for {fields or 'no parent'}")

    def route(self, call: str, *, in_project: bool, parent: Parent = ()) -> tuple[str, str]:
        """Method and path of `list`, or of one of the `calls`; ids are still holes in the path."""
        wanted = "GET {collection}" if call == "list" else str(getattr(self.calls, call))
        return self.filled(wanted, in_project=in_project, parent=parent)

    def filled(self, call: str, *, in_project: bool, parent: Parent) -> tuple[str, str]:
        """Method and path of a call as it is declared, with the collection of a scope in its place."""
        method, _, path = call.partition(" ")
        return method, path.replace(
            "{collection}", self.collection_for(in_project=in_project, parent=parent)
        )

    def composed_id(self, parent: Parent, id: str) -> str:
        """The id that tells an object from all others of the kind in its scope."""
        return compose_id(parent, id, named=len(self.parents) > 1)

    def parent_and_id(self, id: str) -> tuple[Parent, str]:
        """Surroundings and own id of an object; ValueError where the id cannot be of this kind."""
        return split_id(id, self.parents) if self.parents else ((), id)

    @property
    def id_forms(self) -> list[str]:
        """How ids of such objects are written: `ID`, or what stands for it, behind the surroundings."""
        if self.calls.singleton:
            own = [path.rpartition("/")[2] for path in self.collections]
            return list(dict.fromkeys(own))
        own_id = (self.calls.id_field or "id").upper()
        return id_forms(self.parents, own_id) if self.parents else [own_id]

    def read_only_reason(self, attributes: Spec) -> str | None:
        """Why nobody may change or remove an object that looks like this, where somebody may not."""
        return next(
            (
                why
                for (name, value), why in self.read_only_when.items()
                if attributes.get(name) == value
            ),
            None,
        )

    def terminal_state(self, attributes: Spec) -> TerminalState | None:
        """Whether an object has reached an end state, and what that means."""
        for (name, value), ended in self.terminal_states.items():
            if attributes.get(name) == value:
                return ended
        return None
