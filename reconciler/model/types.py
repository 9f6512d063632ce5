"""The types of fields: which values a manifest may set, and when two values mean the same.

A type is data. It declares limits, from which schema and documentation are generated, and how the
API normalizes values: defaults, aliases, unordered lists. `model/comparing.py` applies it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct, field


class _ServerChosen:
    """The default of a field whose value the API picks: a silent manifest accepts any value."""

    def __repr__(self) -> str:
        return "SERVER_CHOSEN"


# Not None: null is a default that some fields have.
SERVER_CHOSEN: Any = _ServerChosen()


class Text(Struct, frozen=True):
    """A string.

    `choices` is a closed set unless `open_choices`. `aliases` maps a spelling to the one that
    answers use. `fold` normalizes equivalent spellings, such as `str.casefold`. `inside` names the
    part that holds the text where answers contain an object instead.
    """

    max_length: int | None = None
    min_length: int | None = None
    pattern: str | None = None
    pattern_hint: str = ""
    """A noun for texts that match: `a duration such as 90d`."""
    # Enums of the API grow without notice. Closed ones are those whose values this program has to
    # understand.
    choices: tuple[str, ...] = ()
    open_choices: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    multiline: bool = False
    fold: Callable[[str], str] | None = None
    inside: str | None = None


class Integer(Struct, frozen=True):
    """A whole number; both bounds are inclusive."""

    minimum: int | None = None
    maximum: int | None = None


class Number(Struct, frozen=True):
    """A number; both bounds are inclusive, and 1 equals 1.0."""

    minimum: float | None = None
    maximum: float | None = None


class Boolean(Struct, frozen=True):
    """True or false."""


class Scalar(Struct, frozen=True):
    """Text, a number or a boolean; `max_length` applies to text."""

    max_length: int | None = None


class ListOf(Struct, frozen=True):
    """A list. `unordered` if order has no meaning."""

    # The API replaces lists as a whole, so an item has no identity and a diff compares by position.

    item: Type
    max_items: int | None = None
    min_items: int | None = None
    unordered: bool = False


class MapOf(Struct, frozen=True):
    """A map with free keys. `max_items` limits pairs, `max_key` the characters of a key."""

    value: Type
    max_items: int | None = None
    max_key: int | None = None


class Property(Struct, frozen=True):
    """A named part of an `Object`."""

    name: str
    type: Type
    doc: str = ""
    required: bool = False
    default: Any = SERVER_CHOSEN
    """What answers contain if the part was not sent."""
    keeps_empty: bool = False
    """Whether an empty list differs from no list: no tool allowed, against all tools allowed."""
    hidden: bool = False
    """Whether answers omit the part. It is then compared with the value applied last."""
    in_place: bool = False
    """Whether the part can be changed even though other changes of the field force a replacement.
    """

    @property
    def is_hidden(self) -> bool:
        """Whether answers omit the part. Secrets are always hidden."""
        # A server that echoes a secret must not make it a part of a plan.
        return self.hidden or isinstance(self.type, SecretValueType)


class Object(Struct, frozen=True):
    """A map with known keys. Unknown keys are errors in a manifest and ignored in an answer.

    Exactly one of the properties in `exactly_one` must have a value; null counts as none.
    """

    properties: tuple[Property, ...]
    exactly_one: tuple[str, ...] = ()


class Tagged(Struct, frozen=True):
    """An object whose key `tag` selects one of `variants`; each variant lists its other keys.

    `same_as` maps a tag to the value that answers contain instead. `default` is what answers
    contain if nothing was sent. `fixed` if another tag forces a replacement, although the rest
    changes in place.
    """

    variants: Mapping[str, Object]
    tag: str = "type"
    same_as: Mapping[str, Any] = field(default_factory=dict)
    default: Any = None
    fixed: bool = False


class Either(Struct, frozen=True):
    """A plain value or another type, told apart by JSON type (the API's `"auto"` or an object).

    `as_other` expands a text that is short for a value of the other type, if answers use the long
    form.
    """

    text: Text | Scalar
    other: Type
    as_other: Callable[[str], Any] | None = None


class Json(Struct, frozen=True):
    """Free JSON, such as a function's parameters. `empty` is what answers contain if nothing, or
    `{}`, was sent."""

    empty: Any = None


class LocalFileType(Struct, frozen=True):
    """The path of a file below the stack's folder. Only its bytes are compared."""


class FileSetType(Struct, frozen=True):
    """Folder globs and file ids with which a collection is kept in sync. The two types are those of
    a member's settings."""

    attributes: Type
    chunking_strategy: Type
    extensions: frozenset[str] = frozenset()
    """The file extensions that the collection accepts, in lower case with the dot; empty if it
    accepts all."""
    max_bytes: int | None = None
    """The size limit of a file in the collection."""


class BundleType(Struct, frozen=True):
    """Folder globs whose files are uploaded together as one version. Any changed file makes a new
    version.

    `entry` is the file at the root that describes the bundle; `version` names the attribute with
    the current version. Versions are immutable, so the contents of each are read only once.
    """

    entry: str
    version: str
    max_files: int
    max_bytes: int


class KeySinkType(Struct, frozen=True):
    """The destination of a key that the API shows once: `write_to` a file or a command.

    If the object itself is the key, `shown_in` names the part of the create call's answer that
    contains it. Otherwise keys belong to the object and can be created again, and `listed_as` is the
    kind whose list shows them.
    """

    shown_in: str | None = None
    listed_as: str = ""
    rotates: bool = False
    """Whether another key can take the place of this one while both are valid."""


class SecretValueType(Struct, frozen=True):
    """A secret for the API, which never returns it. The manifest names its source: `from_env`,
    `from_file` or `from`.

    `multiline` is false if the value must be a single line.
    """

    multiline: bool = False


Type = (
    Text | Integer | Number | Boolean | Scalar | ListOf | MapOf | Object | Tagged | Either | Json
    | LocalFileType | FileSetType | BundleType | KeySinkType | SecretValueType
)  # fmt: skip


def types_in(kind: Type) -> Iterator[Type]:
    """A type and all types that its values contain."""
    yield kind
    match kind:
        case ListOf(item=inner) | MapOf(value=inner) | Either(other=inner):
            yield from types_in(inner)
        case Object(properties):
            for part in properties:
                yield from types_in(part.type)
        case Tagged(variants):
            for variant in variants.values():
                yield from types_in(variant)


def properties_in(kind: Type) -> Iterator[Property]:
    """All properties of a type, at any depth."""
    for part in types_in(kind):
        if isinstance(part, Object):
            yield from part.properties
