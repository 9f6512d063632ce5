"""Strategies that generate every spec that the declarations of kinds permit.

Nothing here knows a kind by name. Where a value must exist at the API, or fit its neighbours, `Surroundings` says so.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from reconciler.kinds.user import EMAIL
from reconciler.model.kind import Field, Kind, Shape
from reconciler.model.resource import OUR_KEYS
from reconciler.model.types import (
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
from reconciler.model.values import FileSet, LocalFile, Member, SecretValue
from tests.soak import SOAK

EXAMPLES = float(os.environ.get("RECONCILER_EXAMPLES") or 20 * SOAK or 0.25)
"""How many times the number of examples that a test names is run; there are many kinds, so the quick form runs few."""


def examples(quick: int) -> settings:
    """So many examples in the quick form; always the same ones."""
    return settings(
        max_examples=max(1, round(quick * EXAMPLES)),
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@dataclass(frozen=True)
class Surroundings:
    """What specs may lean on: local files by path, and by the name of a property the values that it may hold.

    A name can be `Kind.field`, for a field or a part that one kind has to pick otherwise than the rest.
    """

    contents: Mapping[str, bytes] = field(default_factory=dict)
    ids: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def of(self, kind: Kind) -> Surroundings:
        """The same as one kind sees it."""
        own = {
            name.removeprefix(f"{kind.name}."): ids
            for name, ids in self.ids.items()
            if name.startswith(kind.name)
        }
        return Surroundings(self.contents, {**self.ids, **own})


SOURCES = ("env RECONCILER_SECRET_A", "file secrets/b.token")
TRICKY = (
    "", " ", "yes", "no", "on", "off", "null", "~", "true", "1e3", "0x1f", "0o17", "08", "1_000", "2026-01-01", "12:30",
    ".5", "+1", "-", "---", "...", "a: b", "a #b", "- x", "? x", "*a", "&a", "!x", "%x", "@x", "`x`", "{}", "[]", "<<",
    "=", "'", '"', "\\", "\\n", "line\n", "two\nlines\n\n", "crlf\r\nline\r\n", "\ttab\t", " padded ", "trailing  \nx",
    "🧾 Café", "e\u0301", "é", "שלום", "مرحبا", "\u202eabc\u202c", "日本語", "👩‍👩‍👧", "\u2028", "\u0085", "\ufeff",
    "\x00", "\x7f", "$", "$$", "${", "${var.x}", "$${x}", "}", "$reconciler", "reconciler", "__private", "a.b", "a[0]",
)  # fmt: skip
characters = st.characters(exclude_categories=["Cs"])
free_texts = (
    st.sampled_from(TRICKY)
    | st.text(characters, max_size=12)
    | st.lists(st.sampled_from(TRICKY)).map("".join)
)
long_texts = st.builds(
    lambda text, end: text * 200 + end, st.text(characters, min_size=5, max_size=20), free_texts
)

words = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"], exclude_characters="@"),
    min_size=1,
    max_size=12,
)
emails = st.builds("{}@{}".format, words, words)
"""Drawn from their pattern, hundreds of attempts end without an address."""

numbers = st.one_of(
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, 1, 1.0, -0.0, 0.1, 1e-7, 1e22, 3.0]),
)
json_scalars = st.none() | st.booleans() | numbers | free_texts
json_values = st.recursive(
    json_scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(free_texts, inner, max_size=3),
    max_leaves=8,
)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(free_texts, inner, max_size=3)
    return st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": properties},
            optional={
                "required": st.lists(free_texts, max_size=2),
                "additionalProperties": st.booleans() | inner,
                "$defs": properties,
                "description": free_texts,
            },
        ),
        st.fixed_dictionaries(
            {"type": st.just("array"), "items": inner}, optional={"minItems": st.integers(0, 9)}
        ),
        st.fixed_dictionaries({"anyOf": st.lists(inner, max_size=3)}),
    )


leaf_schemas = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "integer", "number", "boolean", "null"])},
        optional={
            "description": free_texts,
            "enum": st.lists(json_scalars, max_size=4),
            "default": json_values,
            "minimum": numbers,
            "const": json_scalars,
            "pattern": free_texts,
        },
    ),
    st.just({"$ref": "#/$defs/line"}),
    st.fixed_dictionaries({"type": st.just(["string", "null"])}),
)
schemas = st.recursive(leaf_schemas, _nested, max_leaves=6)
json_objects = st.one_of(
    st.just({}),
    st.just({"type": "object", "properties": {}}),
    schemas,
    st.dictionaries(free_texts, json_values, max_size=3),
)


LEAST = {"expires_in_seconds": 3600}
"""The least value of properties whose objects would otherwise end while a test runs."""


def specs(
    kind: Kind, around: Surroundings, *, having: str = ""
) -> st.SearchStrategy[dict[str, Any]]:
    """Valid specs of a kind, over all its optional fields; explicit nulls where a field takes them.

    They are of the shapes that take the field `having`, and have it.
    """
    around = around.of(kind)
    shapes = [one for one in kind.shapes or (Shape(()),) if having not in _foreign(kind, one)]
    return st.one_of(*(_shaped(kind, shape, around, having) for shape in shapes))


def _foreign(kind: Kind, shape: Shape) -> set[str]:
    """The fields that a shape does not take."""
    return {name for one in kind.shapes for name in (*one.needs, *one.takes)} - {
        *shape.needs,
        *shape.takes,
    }


def _shaped(
    kind: Kind, shape: Shape, around: Surroundings, having: str
) -> st.SearchStrategy[dict[str, Any]]:
    foreign = _foreign(kind, shape)
    told = {shape.when[0]: st.just(shape.when[1])} if shape.when else {}
    found = {item.name: _field(item, around) for item in kind.fields if item.name not in foreign}
    needed = (
        {item.name for item in kind.fields if item.required}
        | {*shape.needs}
        | ({having} & found.keys())
    )
    return st.fixed_dictionaries(
        {name: one for name, one in found.items() if name in needed} | told,
        optional={
            name: one for name, one in found.items() if name not in needed and name not in told
        },
    )


def values(kind: Type, around: Surroundings, name: str = "") -> st.SearchStrategy[Any]:
    """Valid values of a type. `name` is that of the property that holds it."""
    match kind:
        case Text():
            return st.sampled_from(around.ids[name]) if name in around.ids else _texts(kind)
        case Integer(minimum=least, maximum=most):
            return (
                st.sampled_from(around.ids[name])
                if name in around.ids
                else st.integers(LEAST.get(name, least), 2**40 if most is None else most)
            )
        case Number(minimum=least, maximum=most):
            return st.floats(least, most, allow_nan=False) | st.integers(
                int(least or 0), int(most or 9)
            )
        case Boolean():
            return st.booleans()
        case Scalar(max_length=most):
            return st.booleans() | numbers | _texts(Text(max_length=most))
        case ListOf():
            items = values(kind.item, around, name)
            most = 3 if kind.max_items is None else min(3, kind.max_items)
            return st.lists(
                items,
                min_size=kind.min_items or 0,
                max_size=most,
                unique_by=repr if kind.unordered else None,
            )
        case MapOf():
            return _maps(kind, around)
        case Object():
            return _objects(kind, around)
        case Tagged():
            return st.one_of(*(_variant(kind, tag, around) for tag in kind.variants))
        case Either():
            return values(kind.text, around, name) | values(kind.other, around, name)
        case Json():
            return json_objects
        case LocalFileType():
            return st.sampled_from(sorted(around.contents)).map(
                lambda path: local_file(path, around.contents[path])
            )
        case FileSetType():
            return _file_sets(kind, around)
        case BundleType():
            return _bundles(kind, around)
        case KeySinkType():
            return st.sampled_from(["a", "b"]).map(
                lambda name: {"write_to": {"file": f"secrets/{name}.key"}}
            )
        case SecretValueType():
            return st.builds(
                SecretValue, st.sampled_from(SOURCES), st.sampled_from(["digest1", "digest2"])
            )


def local_file(path: str, content: bytes) -> LocalFile:
    """What the loader makes of a file."""
    return LocalFile(path, sha256(content).hexdigest(), len(content))


def _field(item: Field, around: Surroundings) -> st.SearchStrategy[Any]:
    found = values(item.type, around, item.name)
    return st.none() | found if item.nullable else found


def _part(part: Property, around: Surroundings) -> st.SearchStrategy[Any]:
    found = values(part.type, around, part.name)
    return st.none() | found if part.default is None else found


def _texts(kind: Text) -> st.SearchStrategy[str]:
    if kind.choices:
        return st.sampled_from(kind.choices)
    if kind is EMAIL:
        return emails
    if kind.pattern is not None:
        found = st.from_regex(kind.pattern).map(lambda text: text.strip("\n"))
    else:
        found = free_texts | long_texts if kind.multiline else free_texts
    least, most = kind.min_length or 0, kind.max_length
    if most is not None and most < 1000:
        found |= st.sampled_from([1, most - 1, most]).map(lambda size: "x" * size)
    return found.filter(lambda text: least <= len(text) and (most is None or len(text) <= most))


def _maps(kind: MapOf, around: Surroundings) -> st.SearchStrategy[dict[str, Any]]:
    keys = _texts(Text(min_length=1, max_length=kind.max_key)).filter(
        lambda key: key not in OUR_KEYS
    )
    found = st.dictionaries(keys, values(kind.value, around), max_size=3)
    if kind.max_items is None:
        return found
    full = st.sampled_from([kind.max_items - 1, kind.max_items]).map(
        lambda n: {f"key{i}": "v" * i for i in range(n)}
    )
    return found | full


def _objects(kind: Object, around: Surroundings) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(*(_having(kind, name, around) for name in kind.exactly_one or ("",))).map(
        _fitting
    )


def _having(kind: Object, name: str, around: Surroundings) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with the one named of those of which exactly one is there."""
    parts = [
        part for part in kind.properties if part.name == name or part.name not in kind.exactly_one
    ]
    needed = {part.name: _part(part, around) for part in parts if part.required}
    needed |= {
        part.name: values(part.type, around, part.name) for part in parts if part.name == name
    }
    return st.fixed_dictionaries(
        needed,
        optional={part.name: _part(part, around) for part in parts if part.name not in needed},
    )


def _fitting(value: dict[str, Any]) -> dict[str, Any]:
    """What spans two properties: an overlap is at most half a chunk, what is not enabled has no number, a network that
    is not restricted blocks nothing, and an environment that exists is not set up.
    """
    if value.get("environment_id"):
        return {"environment_id": value["environment_id"]}
    size, overlap = value.get("max_chunk_size_tokens"), value.get("chunk_overlap_tokens")
    if size is not None and overlap is not None:
        return {**value, "chunk_overlap_tokens": min(overlap, size // 2)}
    if value.get("blocked_domains") and (
        value["access"] != "restricted" or value.get("allowed_domains")
    ):
        return {**value, "blocked_domains": []}
    return {"enabled": False} if value.get("enabled") is False else value


def _variant(kind: Tagged, tag: str, around: Surroundings) -> st.SearchStrategy[dict[str, Any]]:
    return _objects(kind.variants[tag], around).map(lambda rest: {kind.tag: tag, **rest})


def _file_sets(kind: FileSetType, around: Surroundings) -> st.SearchStrategy[FileSet]:
    details = st.tuples(
        st.none() | values(kind.attributes, around),
        st.none() | values(kind.chunking_strategy, around),
    )
    keys = st.sampled_from(sorted({*around.contents, *around.ids["file_ids"]}))
    return st.dictionaries(keys, details, max_size=4).map(lambda found: _file_set(found, around))


def _bundles(kind: BundleType, around: Surroundings) -> st.SearchStrategy[FileSet]:
    entries = st.sampled_from(
        [path for path in sorted(around.contents) if path.endswith(f"/{kind.entry}")]
    )
    others = st.sets(
        st.sampled_from([path for path in sorted(around.contents) if not path.endswith(kind.entry)])
    )
    return st.builds(
        lambda entry, paths: _bundle(kind, entry, sorted(paths), around), entries, others
    )


def _bundle(kind: BundleType, entry: str, paths: list[str], around: Surroundings) -> FileSet:
    """The entry file with other files beside it, as the loader makes a set of them."""
    name = re.findall(rb"name: (\w+)", around.contents[entry])[0].decode()
    described = {"name": name, "description": "Some."}
    first = Member(kind.entry, local_file(entry, around.contents[entry]), attributes=described)
    rest = [
        Member(unicodedata.normalize("NFC", path), local_file(path, around.contents[path]))
        for path in paths
    ]
    return FileSet(tuple(sorted([first, *rest], key=lambda member: member.key)))


def _file_set(found: Mapping[str, tuple[Any, Any]], around: Surroundings) -> FileSet:
    members = []
    for key, (attributes, chunking) in sorted(found.items()):
        content = local_file(key, around.contents[key]) if key in around.contents else None
        members.append(Member(key, content, None if content else key, attributes, chunking))
    return FileSet(tuple(members))
