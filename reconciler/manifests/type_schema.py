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
    # Ids become parts of paths and headers. The last part keeps out the line end that "$" lets
    # pass.
    "pattern": r"^(?!\.+$)[A-Za-z0-9_.-]{1,200}$(?!\n)",
    "patternErrorMessage": "An id consists of at most 200 letters, digits, '_', '-' and '.'.",
}


def id_schema(forms: list[str]) -> dict[str, Any]:
    """The schema of ids of a kind, from their form: `ID`, or `GROUP_ID/USER_ID` for ids with a
    parent."""
    depths = [form.count("/") for form in forms]
    if not max(depths):
        return ID_SCHEMA
    # The id of a checkpoint has colons, and where there are several sorts of surroundings their
    # field comes first.
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
    return _Maker(expressions, pasted, sinks).make(kind, nullable)


def described(doc: str, markdown: str = "") -> dict[str, Any]:
    """The hover text of a field, for editors with and without Markdown."""
    return {"description": doc, "markdownDescription": markdown or doc} if doc else {}


def is_json(value: Any) -> bool:
    """Whether a declared default is a value, instead of SERVER_CHOSEN."""
    return value is not SERVER_CHOSEN


def field_markdown(field: Field) -> str:
    """The documentation of a field, with what an author has to know before changing it."""
    facts = [_limits(field.type)]
    if field.required:
        facts.append("Required.")
    if field.mutability is Mutability.REPLACES:
        facts.append("Changing it replaces the object.")
    if field.mutability is Mutability.FIXED:
        facts.append("Takes effect only at creation.")
    return "\n\n".join([field.doc, *[fact for fact in facts if fact]])


def _limits(kind: Type) -> str:
    match kind:
        case Text(choices=choices, open_choices=is_open) if choices:
            listed = ", ".join(f"`{choice}`" for choice in choices)
            return f"For example {listed}." if is_open else f"One of {listed}."
        case Text(max_length=most) if most is not None:
            return f"At most {most:,} characters."
        case Integer(minimum=least, maximum=most) | Number(minimum=least, maximum=most):
            if least is not None and most is not None:
                return f"From {least:,} to {most:,}."
            return f"At least {least:,}." if least is not None else ""
        case ListOf(max_items=most) if most is not None:
            return f"At most {most:,} items."
    return ""


class _Maker:
    """Generates schemas of one form. It has a method per type of field, each independent of the others."""

    def __init__(self, expressions: bool, pasted: bool, sinks: SinkClasses) -> None:
        self._expressions = expressions
        self._pasted = pasted
        self._sinks = sinks

    def make(self, kind: Type, nullable: bool = False) -> dict[str, Any]:
        match kind:
            case Text():
                return self._text(kind, nullable)
            case Integer():
                return self._typed("integer", nullable, minimum=kind.minimum, maximum=kind.maximum)
            case Number():
                return self._typed("number", nullable, minimum=kind.minimum, maximum=kind.maximum)
            case Boolean():
                return self._typed("boolean", nullable)
            case Scalar():
                return self._scalar(kind, nullable)
            case ListOf():
                items = self.make(kind.item)
                return self._typed(
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
                return self._typed("object", nullable) if isinstance(kind.empty, dict) else {}
            case LocalFileType():
                return self._typed("string", nullable, minLength=1)
            case FileSetType():
                return self._typed("array", nullable, items=self._member(kind))
            case BundleType():
                folder = {**self._typed("object", False), **self._closed(self._local(), "path")}
                return self._typed("array", nullable, items=folder, minItems=1)
            case KeySinkType(rotates=rotates):
                return self._key_sink(nullable, rotates=rotates)
            case SecretValueType():
                return self._secret(nullable)

    def _typed(self, name: str, nullable: bool, **limits: Any) -> dict[str, Any]:
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
        given = {key: limit for key, limit in limits.items() if limit is not None}
        return {"type": names if len(names) > 1 else name, **given, **extra}

    def _text(self, kind: Text, nullable: bool) -> dict[str, Any]:
        base = self._typed("string", nullable)
        limits: dict[str, Any] = {
            "minLength": kind.min_length,
            "maxLength": kind.max_length,
            "pattern": kind.pattern,
            "patternErrorMessage": f"Write {kind.pattern_hint}." if kind.pattern_hint else None,
        }
        limits = {key: limit for key, limit in limits.items() if limit is not None}
        if kind.choices and not kind.open_choices:
            limits["enum"] = [*kind.choices, *([None] if nullable else [])]
        elif kind.choices:
            base["examples"] = list(kind.choices)
        if limits and self._expressions and limits != {"minLength": 1}:
            return {**base, "anyOf": value_or_expression(limits)}
        return {**base, **limits}

    def _scalar(self, kind: Scalar, nullable: bool) -> dict[str, Any]:
        names = ["string", "number", "boolean", *(["null"] if nullable else [])]
        if kind.max_length is None:
            return {"type": names}
        limit = {"maxLength": kind.max_length}
        if self._expressions:
            return {"type": names, "anyOf": value_or_expression(limit)}
        return {"type": names, **limit}

    def _map(self, kind: MapOf, nullable: bool) -> dict[str, Any]:
        names = {"maxLength": kind.max_key} if kind.max_key is not None else None
        return self._typed(
            "object",
            nullable,
            additionalProperties=self.make(kind.value),
            maxProperties=kind.max_items,
            propertyNames=names,
        )

    def _object(self, kind: Object, nullable: bool, **more: Any) -> dict[str, Any]:
        properties = {**more, **{part.name: self._property(part) for part in kind.properties}}
        required = [part.name for part in kind.properties if part.required]
        return self._typed(
            "object",
            nullable,
            properties=properties,
            required=required or None,
            exactlyOne=list(kind.exactly_one) or None,
            additionalProperties=False,
        )

    def _property(self, part: Property) -> dict[str, Any]:
        notes = described(
            part.doc, "\n\n".join(text for text in (part.doc, _limits(part.type)) if text)
        )
        if is_json(part.default):
            notes["default"] = part.default
        nullable = part.default is None or (self._pasted and may_be_null(part))
        return {**notes, **self.make(part.type, nullable)}

    def _tagged(self, kind: Tagged, nullable: bool) -> dict[str, Any]:
        """The tag selects the variant by if/then. `discriminator` lets our validator find it
        without trying each."""
        tag = self._text(Text(choices=tuple(kind.variants)), nullable=False)
        notes = described(f"The variant: {', '.join(kind.variants)}.")
        branches = [
            {
                "if": {"properties": {kind.tag: {"const": name}}, "required": [kind.tag]},
                "then": self._variant(kind.tag, variant),
            }
            for name, variant in kind.variants.items()
        ]
        return self._typed(
            "object",
            nullable,
            properties={kind.tag: {**notes, **tag}},
            required=[kind.tag],
            discriminator={"propertyName": kind.tag},
            allOf=branches,
        )

    def _variant(self, tag: str, variant: Object) -> dict[str, Any]:
        required = [part.name for part in variant.properties if part.required]
        properties = {tag: True, **{part.name: self._property(part) for part in variant.properties}}
        return {
            "properties": properties,
            **({"required": required} if required else {}),
            **({"exactlyOne": list(variant.exactly_one)} if variant.exactly_one else {}),
            "additionalProperties": False,
        }

    def _either(self, kind: Either, nullable: bool) -> dict[str, Any]:
        text, other = self.make(kind.text), self.make(kind.other, nullable)
        names = other["type"] if isinstance(other["type"], list) else [other["type"]]
        plain = text.pop("type")
        first = plain if isinstance(plain, list) else [plain]
        return {
            "type": [*first, *(name for name in names if name not in first)],
            "if": {"type": plain},
            "then": text,
            "else": other,
        }

    def _member(self, kind: FileSetType) -> dict[str, Any]:
        shared = {
            "attributes": {
                **described("Attributes for each file of this entry."),
                **self.make(kind.attributes, True),
            },
            "chunking_strategy": {
                **described("How to split the files of this entry into chunks."),
                **self.make(kind.chunking_strategy, True),
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
        # branches only say which of them go together.
        local = self._local()
        return {
            **self._typed("object", False),
            "properties": {**local, **uploaded, **shared},
            "if": {"required": ["file_id"]},
            "then": self._only(uploaded, shared, "file_id"),
            "else": self._only(local, shared, "path"),
        }

    def _only(
        self, properties: dict[str, Any], shared: dict[str, Any], required: str
    ) -> dict[str, Any]:
        return {
            **self._closed(dict.fromkeys((*properties, *shared), True), required),
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
            "ignore": {**ignore, **self.make(ListOf(Text(min_length=1)), True)},
            "allow_empty": {
                **described("Whether `path` may match no file."),
                **self.make(Boolean(), True),
            },
        }

    def _closed(self, properties: dict[str, Any], required: str) -> dict[str, Any]:
        return {"properties": properties, "required": [required], "additionalProperties": False}

    def _one_property(self) -> dict[str, Any]:
        """Keywords for maps of exactly one property.

        Editors count the word at the cursor too, and offer nothing once `maxProperties` is reached.
        """
        if self._expressions:
            return {"minProperties": 1, "not": {"type": "object", "minProperties": 2}}
        return {"minProperties": 1, "maxProperties": 1}

    def _secret(self, nullable: bool) -> dict[str, Any]:
        variable = described(
            "The environment variable that holds the secret; its name starts with RECONCILER_SECRET_."
        )
        file = described("The file that holds the secret, in the stack's folder secrets/.")
        name = Text(pattern=f"^{SENT_PREFIX}[A-Za-z0-9_]+$")
        whole = self._typed(
            "object",
            nullable,
            properties={
                "from_env": {**variable, **self._text(name, nullable=False)},
                "from_file": {**file, "type": "string", "minLength": 1},
                "from": self._source(),
            },
            **self._one_property(),
            additionalProperties=False,
        )
        return {
            **whole,
            "$comment": "Write one of `from_env`, `from_file` and `from`, never the secret itself.",
        }

    def _source(self) -> dict[str, Any]:
        notes = described(
            "The place of the secret in a secret manager, which the caller allows with "
            "RECONCILER_ALLOW_SOURCES."
        )
        return {**notes, **self._one_of(source_classes())}

    def _one_of(self, places: Iterable[type[Sink]]) -> dict[str, Any]:
        """A map with one key: the name of a sink, and its target."""
        properties = {
            place.name: {**described(place.description), **self.make(place.type)}
            for place in places
        }
        target = self._typed(
            "object",
            False,
            properties=properties,
            **self._one_property(),
            additionalProperties=False,
        )
        target["$comment"] = f"Write one of {', '.join(f'`{name}`' for name in properties)}."
        return target

    def _key_sink(self, nullable: bool, *, rotates: bool) -> dict[str, Any]:
        target = self._one_of(self._sinks())
        # Keywords for maps and for lists stand side by side: editors complete both from there.
        several = {"items": target, "minItems": 1, "maxItems": MOST_TARGETS}
        notes = described("Where to deliver the key: one destination, or a list of several.")
        write_to = {**notes, **target, **several, "type": _both(target["type"], "array")}
        turns = {"previous_to": {**described(PREVIOUS_TO.doc), **target}}
        turns["rotate"] = {**described(ROTATE.doc), **self.make(ROTATE.type)}
        return self._typed(
            "object",
            nullable,
            properties={"write_to": write_to, **(turns if rotates else {})},
            required=["write_to"],
            additionalProperties=False,
        )


def value_or_expression(limits: dict[str, Any]) -> list[dict[str, Any]]:
    """The branches of a value with limits; editors show their titles."""
    return [{"title": "Value", **limits}, {"title": "Expression", **EXPRESSION_TEXT}]


def _both(names: str | list[str], other: str) -> list[str]:
    return [*([names] if isinstance(names, str) else names), other]
