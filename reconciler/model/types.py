"""The types of fields: what a manifest may say, and when two values mean the same.

A type is data. It knows its limits (the schema and the documentation are made from them) and how the API spells the
values that it normalises: defaults that it fills in, aliases, lists that are sets. `model/comparing.py` acts on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct, field


class _ServerChosen:
    """The default of a field that we cannot know: the API picks it, so a manifest that is silent accepts any."""

    def __repr__(self) -> str:
        return "SERVER_CHOSEN"


SERVER_CHOSEN: Any = _ServerChosen()


class Text(Struct, frozen=True):
    """A string. `choices` is closed unless `open_choices`; `aliases` maps a spelling to the one that is answered.

    `fold` brings spellings that mean the same to one, such as `str.casefold`. `inside` names the part of an object
    that answers have the text in.
    """

    max_length: int | None = None
    min_length: int | None = None
    pattern: str | None = None
    choices: tuple[str, ...] = ()
    open_choices: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    multiline: bool = False
    fold: Callable[[str], str] | None = None
    inside: str | None = None


class Integer(Struct, frozen=True):
    """A whole number; both ends are inclusive."""

    minimum: int | None = None
    maximum: int | None = None


class Number(Struct, frozen=True):
    """A number; both ends are inclusive, and 1 equals 1.0."""

    minimum: float | None = None
    maximum: float | None = None


class Boolean(Struct, frozen=True):
    """true or false."""


class Scalar(Struct, frozen=True):
    """Text, a number or a boolean; `max_length` is for text."""

    max_length: int | None = None


class ListOf(Struct, frozen=True):
    """A list, replaced as a whole by the API. `unordered` where it is a set."""

    item: Type
    max_items: int | None = None
    min_items: int | None = None
    unordered: bool = False


class MapOf(Struct, frozen=True):
    """A map with free keys. `max_items` counts pairs, `max_key` is in characters."""

    value: Type
    max_items: int | None = None
    max_key: int | None = None


class Property(Struct, frozen=True):
    """A named part of an `Object`. `default` is what the API shows when the part was not sent.

    `keeps_empty` where an empty list says something else than no list (no tool allowed, against all of them). `hidden`
    where the API does not show the part again, so that it is compared with what was applied last. `in_place` where it
    can be changed although another value of its field takes another object.
    """

    name: str
    type: Type
    doc: str = ""
    required: bool = False
    default: Any = SERVER_CHOSEN
    keeps_empty: bool = False
    hidden: bool = False
    in_place: bool = False

    @property
    def is_hidden(self) -> bool:
        """Whether no answer has the part; secrets never come back."""
        return self.hidden or isinstance(self.type, SecretValueType)


class Object(Struct, frozen=True):
    """A map with known keys. Unknown keys are errors in a manifest and ignored in an answer.

    Exactly one of the properties that `exactly_one` names has a value; null counts as none.
    """

    properties: tuple[Property, ...]
    exactly_one: tuple[str, ...] = ()


class Tagged(Struct, frozen=True):
    """An object whose `tag` key says which of `variants` it is; each variant lists its other keys.

    `same_as` gives, for a tag, the whole value that the API answers instead; `default` is what it shows for nothing.
    `fixed` where another tag takes another object, although the rest changes in place.
    """

    variants: Mapping[str, Object]
    tag: str = "type"
    same_as: Mapping[str, Any] = field(default_factory=dict)
    default: Any = None
    fixed: bool = False


class Either(Struct, frozen=True):
    """A plain value or something else, told apart by their JSON type (the API's `"auto"` or an object).

    `as_other` where a text is short for a value of the other sort, and is answered as that.
    """

    text: Text | Scalar
    other: Type
    as_other: Callable[[str], Any] | None = None


class Json(Struct, frozen=True):
    """Free JSON, such as a function's parameters. `empty` is what the API shows when nothing, or `{}`, was sent."""

    empty: Any = None


class LocalFileType(Struct, frozen=True):
    """A path of a file below the stack's folder; its bytes are what counts."""


class FileSetType(Struct, frozen=True):
    """Folder globs and file ids that a collection is kept in step with; the two types are those of each member."""

    attributes: Type
    chunking_strategy: Type
    extensions: frozenset[str] = frozenset()
    """The extensions of files that the collection reads, in lower case with the dot; empty where any will do."""
    max_bytes: int | None = None
    """The size of the largest file that the collection takes."""


class BundleType(Struct, frozen=True):
    """Folder globs whose files are uploaded together, as one folder. A change of any makes a new version of them all.

    `entry` is the file at the folder's root, which describes it; `version` names the attribute of an object that says
    which version counts. Versions never change, so what one holds is asked for once.
    """

    entry: str
    version: str
    max_files: int
    max_bytes: int


class KeySinkType(Struct, frozen=True):
    """Where a key that the API shows once is delivered: `write_to` a file or a command.

    `shown_in` names the part of the create's answer that has it, where the object itself is the key; without it, keys
    are made beside the object and can be made again.
    """

    shown_in: str | None = None


class SecretValueType(Struct, frozen=True):
    """A secret that the API is told and never shows: a manifest names where it is read from, `from_env` or `from_file`.

    Where its value is one line, `multiline` is false.
    """

    multiline: bool = False


Type = (
    Text | Integer | Number | Boolean | Scalar | ListOf | MapOf | Object | Tagged | Either | Json
    | LocalFileType | FileSetType | BundleType | KeySinkType | SecretValueType
)  # fmt: skip


def types_in(kind: Type) -> Iterator[Type]:
    """A type and all that its values are made of."""
    yield kind
    match kind:
        case ListOf(item=inner) | MapOf(value=inner) | Either(other=inner):
            yield from types_in(inner)
        case Object(properties):
            yield from (part_type for part in properties for part_type in types_in(part.type))
        case Tagged(variants):
            yield from (
                part_type for variant in variants.values() for part_type in types_in(variant)
            )


def properties_in(kind: Type) -> Iterator[Property]:
    """Every named part of a type, at any depth."""
    return (
        part
        for part_type in types_in(kind)
        if isinstance(part_type, Object)
        for part in part_type.properties
    )
