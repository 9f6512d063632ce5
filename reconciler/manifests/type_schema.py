"""The JSON Schemas of field types.

Limits are keywords that apply to one JSON type only. Null and expressions then need no `anyOf`
around everything, which would degrade completion in editors and error messages. For the same reason
`exactlyOne` is a custom keyword, which editors ignore.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from reconciler.manifests.credentials import SENT_PREFIX
from reconciler.manifests.nulls import may_be_null
from reconciler.model.address import NAME_PATTERN
from reconciler.model.key_fields import PREVIOUS_TO, ROTATE
from reconciler.model.kind import Field, Mutability
from reconciler.model.sinks import Sink, sink_classes
from reconciler.model.sources import source_classes
from reconciler.model.types import (
    SERVER_CHOSEN,
    Boolean,
    BundleType,
    Either,
    FileSetType,
    Integer,
    Json,
    KeySinkType,
    ListOf,
    LocalFileType,
    MapOf,
    Number,
    Object,
    Property,
    Scalar,
    SecretValueType,
    Tagged,
    Text,
    Type,
)

MOST_TARGETS = 10
"""How many destinations one key can have."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_NAME = 150
NAME_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": f"^{NAME_PATTERN}$",
    "maxLength": MAX_NAME,
    "patternErrorMessage": "A name starts with a letter or digit, followed by letters, digits, '.', '_' and '-'.",
}
ID_SCHEMA: dict[str, Any] = {
    # Ids become parts of paths and headers. The last group refuses the final newline that "$" lets
    # pass.
    "pattern": r"^(?!\.+$)[A-Za-z0-9_.-]{1,200}$(?!\n)",
    "patternErrorMessage": "An id consists of at most 200 letters, digits, '_', '-' and '.'.",
}


def id_schema(forms: list[str]) -> dict[str, Any]:
    """The schema of ids of a kind, from their form: `ID`, or `GROUP_ID/USER_ID` for ids with a
    parent."""
    depths = [form.count("/") for form in forms]
    # Without a parent, the form of ids is the same for all kinds.
    if not max(depths):
        return ID_SCHEMA
    # The id of a checkpoint has colons. Where a kind has several forms of parent, the id begins with
    # the name of the parent's field.
    part = r"(?!\.+(/|$))([a-z_]+=)?[A-Za-z0-9_.:-]{1,200}"
    return {
        "pattern": rf"^{part}(/{part}){{{min(depths)},{max(depths)}}}$(?!\n)",
        "patternErrorMessage": f"An id of this kind has the form {' or '.join(forms)}.",
    }


EXPRESSION_TEXT: dict[str, Any] = {"pattern": r"\$\{"}
NOT_GIVEN = object()

_WANTED = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a map",
}


SinkClasses = Callable[[], Iterable[type[Sink]]]


def type_schema(
    kind: Type,
    *,
    expressions: bool,
    nullable: bool = False,
    pasted: bool = False,
    sinks: SinkClasses = sink_classes,
) -> dict[str, Any]:
    """The schema of one type. `nullable` also accepts null; `expressions` also accepts a string
    with an expression.

    `pasted` accepts null for all optional parts inside, as answers of the API contain it. `sinks`
    are the destinations that a key can have.
    """
    return _TypeSchemas(expressions, pasted, sinks).make(kind, nullable)


def described(doc: str, markdown: str = "") -> dict[str, Any]:
    """The hover text of a field, for editors with and without Markdown."""
    return {"description": doc, "markdownDescription": markdown or doc} if doc else {}


def is_json(value: Any) -> bool:
    """Whether a declared default is a JSON value, not SERVER_CHOSEN."""
    return value is not SERVER_CHOSEN


def field_markdown(field: Field) -> str:
    """The documentation of a field, with the consequences of changing it."""
    facts = [field.doc, _limits(field.type)]
    if field.required:
        facts.append("Required.")
    if field.mutability is Mutability.REPLACES:
        facts.append("Changing it replaces the object.")
    if field.mutability is Mutability.FIXED:
        facts.append("Takes effect only at creation.")
    return _paragraphs(*facts)


def _paragraphs(*texts: str) -> str:
    return "\n\n".join(filter(None, texts))


def _limits(kind: Type) -> str:
    match kind:
        case Text(choices=choices, open_choices=is_open) if choices:
            listed = ", ".join(f"`{choice}`" for choice in choices)
            return f"For example {listed}." if is_open else f"One of {listed}."
        case Text(max_length=most) if most is not None:
            return f"At most {most:,} characters."
        case Integer(minimum=least, maximum=most) | Number(minimum=least, maximum=most):
            if least is None:
                return ""
            return f"At least {least:,}." if most is None else f"From {least:,} to {most:,}."
        case ListOf(max_items=most) if most is not None:
            return f"At most {most:,} items."
    return ""


class _TypeSchemas:
    """Generates schemas of one form, with a method per type."""

    def __init__(self, expressions: bool, pasted: bool, sinks: SinkClasses) -> None:
        self._expressions = expressions
        self._pasted = pasted
        self._file_entries = _FileEntrySchemas(self)
        self._places = _PlaceSchemas(self, expressions=expressions, sinks=sinks)

    def make(self, kind: Type, nullable: bool = False) -> dict[str, Any]:
        """The schema of a type."""
        match kind:
            case Text():
                return self._text(kind, nullable)
            case Integer():
                return self.typed("integer", nullable, minimum=kind.minimum, maximum=kind.maximum)
            case Number():
                return self.typed("number", nullable, minimum=kind.minimum, maximum=kind.maximum)
            case Boolean():
                return self.typed("boolean", nullable)
            case Scalar():
                return self._scalar(kind, nullable)
            case ListOf():
                items = self.make(kind.item)
                return self.typed(
                    "array", nullable, items=items, minItems=kind.min_items, maxItems=kind.max_items
                )
            case MapOf():
                return self._map(kind, nullable)
            case Object():
                return self._object(kind, nullable)
            case Tagged():
                return self._tagged(kind, nullable)
            case Either():
                return self._either(kind, nullable)
            case Json():
                return self.typed("object", nullable) if isinstance(kind.empty, dict) else {}
            case LocalFileType():
                return self.typed("string", nullable, minLength=1)
            case FileSetType():
                return self.typed("array", nullable, items=self._file_entries.member(kind))
            case BundleType():
                folder = self._file_entries.folder()
                return self.typed("array", nullable, items=folder, minItems=1)
            case KeySinkType(rotates=rotates):
                return self._places.key_sink(nullable, rotates=rotates)
            case SecretValueType():
                return self._places.secret(nullable)

    def typed(self, name: str, nullable: bool, **limits: Any) -> dict[str, Any]:
        """The schema of a JSON type, with those limits that are not None."""
        names = [name]
        extra: dict[str, Any] = {}
        if self._expressions and name != "string":
            names.append("string")
            extra = {
                **EXPRESSION_TEXT,
                "patternErrorMessage": f"Expected {_WANTED[name]}, or an expression.",
            }
        if nullable:
            names.append("null")
        return {"type": names if len(names) > 1 else name, **_set_limits(limits), **extra}

    def _text(self, kind: Text, nullable: bool) -> dict[str, Any]:
        base = self.typed("string", nullable)
        limits = _set_limits(
            {"minLength": kind.min_length, "maxLength": kind.max_length, "pattern": kind.pattern}
        )
        if kind.pattern_hint:
            limits["patternErrorMessage"] = f"Write {kind.pattern_hint}."
        if kind.choices and not kind.open_choices:
            limits["enum"] = [*kind.choices, None] if nullable else list(kind.choices)
        elif kind.choices:
            base["examples"] = list(kind.choices)
        # An expression has at least one character, so this limit alone needs no second branch.
        if limits and self._expressions and limits != {"minLength": 1}:
            return {**base, "anyOf": value_or_expression(limits)}
        return {**base, **limits}

    def _scalar(self, kind: Scalar, nullable: bool) -> dict[str, Any]:
        names = ["string", "number", "boolean"]
        if nullable:
            names.append("null")
        if kind.max_length is None:
            return {"type": names}
        limit = {"maxLength": kind.max_length}
        if self._expressions:
            return {"type": names, "anyOf": value_or_expression(limit)}
        return {"type": names, **limit}

    def _map(self, kind: MapOf, nullable: bool) -> dict[str, Any]:
        names = {"maxLength": kind.max_key} if kind.max_key is not None else None
        return self.typed(
            "object",
            nullable,
            additionalProperties=self.make(kind.value),
            maxProperties=kind.max_items,
            propertyNames=names,
        )

    def _object(self, kind: Object, nullable: bool) -> dict[str, Any]:
        return self.typed("object", nullable, **self._members(kind), additionalProperties=False)

    def _members(self, kind: Object) -> dict[str, Any]:
        """The keywords about the properties of an object; None for those that it does not need."""
        return {
            "properties": {part.name: self._property(part) for part in kind.properties},
            "required": [part.name for part in kind.properties if part.required] or None,
            "exactlyOne": list(kind.exactly_one) or None,
        }

    def _property(self, part: Property) -> dict[str, Any]:
        notes = described(part.doc, _paragraphs(part.doc, _limits(part.type)))
        if is_json(part.default):
            notes["default"] = part.default
        nullable = part.default is None or (self._pasted and may_be_null(part))
        return {**notes, **self.make(part.type, nullable)}

    def _tagged(self, kind: Tagged, nullable: bool) -> dict[str, Any]:
        """An object whose tag selects the variant."""
        tag = self._text(Text(choices=tuple(kind.variants)), nullable=False)
        notes = described(f"The variant: {', '.join(kind.variants)}.")
        branches = []
        for name, variant in kind.variants.items():
            is_selected = {"properties": {kind.tag: {"const": name}}, "required": [kind.tag]}
            branches.append({"if": is_selected, "then": self._variant(kind.tag, variant)})
        # Editors follow if/then. Our validator finds the variant by `discriminator`, without trying
        # each branch.
        return self.typed(
            "object",
            nullable,
            properties={kind.tag: {**notes, **tag}},
            required=[kind.tag],
            discriminator={"propertyName": kind.tag},
            allOf=branches,
        )

    def _variant(self, tag: str, variant: Object) -> dict[str, Any]:
        members = self._members(variant)
        members["properties"] = {tag: True, **members["properties"]}
        return {**_set_limits(members), "additionalProperties": False}

    def _either(self, kind: Either, nullable: bool) -> dict[str, Any]:
        text, other = self.make(kind.text), self.make(kind.other, nullable)
        plain = text.pop("type")
        names = (*_names(plain), *_names(other["type"]))
        return {
            "type": list(dict.fromkeys(names)),
            "if": {"type": plain},
            "then": text,
            "else": other,
        }


class _FileEntrySchemas:
    """Schemas of the entries of a `files` field: paths to upload, or ids of uploaded files."""

    def __init__(self, types: _TypeSchemas) -> None:
        self._types = types

    def member(self, kind: FileSetType) -> dict[str, Any]:
        """The schema of one entry of a file set."""
        shared = {
            "attributes": {
                **described("Attributes for each file of this entry."),
                **self._types.make(kind.attributes, True),
            },
            "chunking_strategy": {
                **described("How to split the files of this entry into chunks."),
                **self._types.make(kind.chunking_strategy, True),
            },
        }
        uploaded = {
            "file_id": {
                **described("The id of an uploaded file, instead of `path`."),
                "type": "string",
                "minLength": 1,
            }
        }
        # All properties stand at the top, because editors complete an empty entry from there. The
        # branches only say which of them can be combined.
        local = self._local()
        return {
            **self._types.typed("object", False),
            "properties": {**local, **uploaded, **shared},
            "if": {"required": ["file_id"]},
            "then": self._only(uploaded, shared, "file_id"),
            "else": self._only(local, shared, "path"),
        }

    def folder(self) -> dict[str, Any]:
        """The schema of one entry of a bundle."""
        return {**self._types.typed("object", False), **_closed(self._local(), "path")}

    def _only(
        self, properties: dict[str, Any], shared: dict[str, Any], required: str
    ) -> dict[str, Any]:
        return {
            **_closed(dict.fromkeys((*properties, *shared), True), required),
            "$comment": "An entry has either `path` (with `ignore` and `allow_empty`) or `file_id`.",
        }

    def _local(self) -> dict[str, Any]:
        pattern = described(
            "A file or a glob: `*` and `?` match within a name, `**` matches any folders."
        )
        ignore = described(
            "Globs of files to exclude, relative to the stack's folder or the fixed part of `path`."
        )
        return {
            "path": {**pattern, "type": "string", "minLength": 1},
            "ignore": {**ignore, **self._types.make(ListOf(Text(min_length=1)), True)},
            "allow_empty": {
                **described("Whether `path` may match no file."),
                **self._types.make(Boolean(), True),
            },
        }


def _closed(properties: dict[str, Any], required: str) -> dict[str, Any]:
    return {"properties": properties, "required": [required], "additionalProperties": False}


class _PlaceSchemas:
    """Schemas of places: the destinations of keys, and the sources of secrets."""

    def __init__(self, types: _TypeSchemas, *, expressions: bool, sinks: SinkClasses) -> None:
        self._types = types
        self._expressions = expressions
        self._sinks = sinks

    def secret(self, nullable: bool) -> dict[str, Any]:
        """The schema of a value that names the source of a secret."""
        variable = described(
            "The environment variable that holds the secret; its name starts with RECONCILER_SECRET_."
        )
        file = described("The file that holds the secret, in the stack's folder secrets/.")
        place = described(
            "The place of the secret in a secret manager, which the caller allows with "
            "RECONCILER_ALLOW_SOURCES."
        )
        name = Text(pattern=f"^{SENT_PREFIX}[A-Za-z0-9_]+$")
        source = self._types.typed(
            "object",
            nullable,
            properties={
                "from_env": {**variable, **self._types.make(name)},
                "from_file": {**file, "type": "string", "minLength": 1},
                "from": {**place, **self._one_of(source_classes())},
            },
            **self._one_property(),
            additionalProperties=False,
        )
        source["$comment"] = (
            "Write one of `from_env`, `from_file` and `from`, never the secret itself."
        )
        return source

    def key_sink(self, nullable: bool, *, rotates: bool) -> dict[str, Any]:
        """The schema of a field that delivers a key."""
        target = self._one_of(self._sinks())
        # Keywords for maps and for lists stand side by side: editors complete both from there.
        several = {"items": target, "minItems": 1, "maxItems": MOST_TARGETS}
        notes = described("Where to deliver the key: one destination, or a list of several.")
        write_to = {**notes, **target, **several, "type": [*_names(target["type"]), "array"]}
        properties = {"write_to": write_to}
        if rotates:
            properties["previous_to"] = {**described(PREVIOUS_TO.doc), **target}
            properties["rotate"] = {**described(ROTATE.doc), **self._types.make(ROTATE.type)}
        return self._types.typed(
            "object",
            nullable,
            properties=properties,
            required=["write_to"],
            additionalProperties=False,
        )

    def _one_of(self, places: Iterable[type[Sink]]) -> dict[str, Any]:
        """A map with one key: the name of a sink, and its target."""
        properties: dict[str, Any] = {}
        for place in places:
            notes = described(place.description)
            properties[place.name] = {**notes, **self._types.make(place.type)}
        target = self._types.typed(
            "object",
            False,
            properties=properties,
            **self._one_property(),
            additionalProperties=False,
        )
        target["$comment"] = f"Write one of {', '.join(f'`{name}`' for name in properties)}."
        return target

    def _one_property(self) -> dict[str, Any]:
        """Keywords for maps of exactly one property."""
        # Editors count the word at the cursor too, and offer nothing once `maxProperties` is
        # reached. So their schemas state the limit in another way.
        if self._expressions:
            return {"minProperties": 1, "not": {"type": "object", "minProperties": 2}}
        return {"minProperties": 1, "maxProperties": 1}


def _set_limits(limits: dict[str, Any]) -> dict[str, Any]:
    """The limits that a type has."""
    return {keyword: limit for keyword, limit in limits.items() if limit is not None}


def value_or_expression(limits: dict[str, Any]) -> list[dict[str, Any]]:
    """The branches of a value with limits; editors show their titles."""
    return [{"title": "Value", **limits}, {"title": "Expression", **EXPRESSION_TEXT}]


def _names(names: str | list[str]) -> list[str]:
    """The value of the keyword `type` as a list."""
    return [names] if isinstance(names, str) else names
