"""JSON Schemas that answers must satisfy: problems of a schema, and problems of an answer.

A schema can come from an untrusted pull request. It cannot refer to anything outside itself, it
must terminate, and validating an answer takes a bounded number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import unquote

from msgspec import Struct, field

from reconciler.model.paths import Trail
from reconciler.rules.bounded import TooMuchWorkError, Work, flaw_of_pattern

MAX_DEPTH = 30
MAX_NODES = 5_000
_MOST_ERRORS = 20

_ONE = ("additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then",
        "unevaluatedItems", "unevaluatedProperties")  # fmt: skip
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPS = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
_IN_PLACE = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"})
"""Keywords whose subschemas apply to the same value, instead of a part of it."""

_REFERENCES = ("$ref", "$dynamicRef")


class SchemaFlaw(Struct, frozen=True):
    """A problem of a schema, and its path."""

    trail: Trail
    summary: str
    detail: str


class _Node(Struct):
    """A subschema. `same` are the nodes that apply to the same value."""

    schema: Mapping[str, Any]
    trail: Trail
    same: list[_Node] = field(default_factory=list)


def flaws_of_schema(schema: Mapping[str, Any]) -> Iterator[SchemaFlaw]:
    """All problems of a schema, independent of any answer."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    walk = _Walk(schema)
    flaws = walk.flaws()
    yield from flaws
    if flaws:
        return
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        yield SchemaFlaw(
            tuple(error.absolute_path), "Invalid JSON Schema", f"{error.message[:160]}."
        )
    except RecursionError:
        yield SchemaFlaw((), "Invalid JSON Schema", "It is nested too deeply.")


class _Walk:
    """Visits every subschema once, and records references between them."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._nodes: dict[int, _Node] = {}
        self._anchors: dict[str, tuple[Any, Trail]] = {}
        self._flaws: list[SchemaFlaw] = []
        self._is_too_large = False

    def flaws(self) -> list[SchemaFlaw]:
        """Problems of the subschemas and of their references."""
        self._add(self._root, ())
        self._follow_references()
        if not self._is_too_large:
            self._flaws += self._circles()
            self._flaws += self._unsupported()
        return self._flaws

    def _add(self, schema: Any, trail: Trail) -> _Node | None:
        if not isinstance(schema, dict):
            return None
        known = self._nodes.get(id(schema))
        if known is not None:
            return known
        if len(trail) > 2 * MAX_DEPTH or len(self._nodes) >= MAX_NODES:
            if not self._is_too_large:
                detail = f"The maximum is {MAX_DEPTH} levels and {MAX_NODES:,} subschemas."
                self._flaws.append(SchemaFlaw(trail[:1], "Schema too large", detail))
            self._is_too_large = True
            return None
        node = self._nodes[id(schema)] = _Node(schema, trail)
        for anchor in ("$anchor", "$dynamicAnchor"):
            if isinstance(schema.get(anchor), str):
                self._anchors[schema[anchor]] = schema, trail
        for keyword, below, part in _subschemas(schema):
            inner = self._add(below, (*trail, *part))
            if inner is not None and keyword in _IN_PLACE:
                node.same.append(inner)
        return node

    def _follow_references(self) -> None:
        waiting = list(self._nodes.values())
        while waiting and not self._is_too_large:
            node = waiting.pop()
            before = len(self._nodes)
            for keyword in _REFERENCES:
                if keyword in node.schema:
                    self._follow(node, keyword)
            # Subschemas that only a reference leads to, such as those below an unknown keyword.
            waiting += list(self._nodes.values())[before:]

    def _follow(self, node: _Node, keyword: str) -> None:
        reference, trail = node.schema[keyword], (*node.trail, keyword)
        if not isinstance(reference, str) or not reference.startswith("#"):
            detail = f'{reference!r:.80} points outside the schema: write "#/…" or "#ANCHOR".'
            self._flaws.append(SchemaFlaw(trail, "Reference not possible here", detail))
            return
        location = self._target(unquote(reference[1:]))
        if location is None:
            detail = f"{reference!r:.80} does not refer to a schema."
            self._flaws.append(SchemaFlaw(trail, "Unknown reference", detail))
            return
        target = self._add(*location)
        if target is not None:
            node.same.append(target)

    def _target(self, reference: str) -> tuple[Any, Trail] | None:
        """The subschema that a reference leads to, and its path."""
        if reference and not reference.startswith("/"):
            return self._anchors.get(reference)
        value: Any = self._root
        trail: list[str | int] = []
        for part in reference.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            key: str | int = name
            if isinstance(value, list):
                # The length first, because the conversion of a long number takes quadratic time.
                if not name.isdecimal() or len(name) > 5 or int(name) >= len(value):
                    return None
                key = int(name)
            elif not isinstance(value, dict) or name not in value:
                return None
            value = value[key]
            trail.append(key)
        if not isinstance(value, dict | bool):
            return None
        return value, tuple(trail)

    def _circles(self) -> Iterator[SchemaFlaw]:
        """Subschemas that refer to themselves for the same value, so that a validator never ends."""
        # A search in depth with a stack of its own, which reports the first cycle.
        done: set[int] = set()
        for start in self._nodes.values():
            path: dict[int, None] = {}
            waiting: list[tuple[_Node, Iterator[_Node]]] = []
            if id(start) not in done:
                waiting.append((start, iter(start.same)))
                path[id(start)] = None
            while waiting:
                node, following = waiting[-1]
                inner = next(following, None)
                if inner is None:
                    waiting.pop()
                    path.pop(id(node), None)
                    done.add(id(node))
                elif id(inner) in path:
                    detail = "The schema refers to itself for the same value, so its evaluation would never end."
                    yield SchemaFlaw(inner.trail, "Circular schema", detail)
                    return
                elif id(inner) not in done:
                    path[id(inner)] = None
                    waiting.append((inner, iter(inner.same)))

    def _unsupported(self) -> Iterator[SchemaFlaw]:
        has_patterns = any("patternProperties" in node.schema for node in self._nodes.values())
        for node in self._nodes.values():
            if "$id" in node.schema:
                detail = 'A schema cannot have its own URI here: remove "$id".'
                yield SchemaFlaw((*node.trail, "$id"), "Not supported", detail)
            # The library evaluates patternProperties again for it, with its own, unbounded search.
            if has_patterns and "unevaluatedProperties" in node.schema:
                detail = (
                    "unevaluatedProperties and patternProperties cannot be combined in one schema."
                )
                yield SchemaFlaw((*node.trail, "unevaluatedProperties"), "Not supported", detail)
            for part, pattern in _patterns(node.schema):
                if flaw := flaw_of_pattern(pattern):
                    yield SchemaFlaw((*node.trail, *part), "Invalid regular expression", f"{flaw}.")


def _patterns(schema: Mapping[str, Any]) -> Iterator[tuple[Trail, str]]:
    """The regular expressions of one subschema, and their paths."""
    pattern, named = schema.get("pattern"), schema.get("patternProperties")
    if isinstance(pattern, str):
        yield ("pattern",), pattern
    if isinstance(named, dict):
        for name in named:
            yield ("patternProperties", name), name


def _subschemas(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any, Trail]]:
    """The direct subschemas of a schema: keyword, schema and path."""
    for keyword in _ONE:
        if keyword in schema:
            yield keyword, schema[keyword], (keyword,)
    for keyword in _LISTS:
        items = schema.get(keyword)
        if isinstance(items, list):
            for index, subschema in enumerate(items):
                yield keyword, subschema, (keyword, index)
    for keyword in _MAPS:
        named = schema.get(keyword)
        if isinstance(named, dict):
            for name, subschema in named.items():
                yield keyword, subschema, (keyword, name)


# --- validation of an answer


def errors_of(schema: Mapping[str, Any], body: Any, work: Work) -> list[tuple[str, str]]:
    """Where an answer violates a schema, as JSON path and message.

    Raises TooMuchWorkError, and ValueError if the schema is unusable.
    """
    from jsonschema.exceptions import ValidationError
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        # An empty registry, because the default one fetches references over the network.
        validator = _validator(work)(schema, registry=Registry())
        errors: list[ValidationError] = list(islice(validator.iter_errors(body), 5 * _MOST_ERRORS))
    except Unresolvable as error:
        raise ValueError(f"cannot be used: {str(error)[:160]}") from error
    except RecursionError:
        raise TooMuchWorkError("it is nested too deeply") from None
    except (ArithmeticError, TypeError, AttributeError) as error:
        raise ValueError(f"cannot be used: {str(error)[:160]}") from error
    errors.sort(key=lambda error: error.json_path)
    return [(error.json_path, error.message) for error in errors[:_MOST_ERRORS]]


def _validator(work: Work) -> Any:
    """The validator of the draft, with every keyword counted and every pattern bounded."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from jsonschema.validators import extend

    def counted(keyword: Callable[..., Any]) -> Callable[..., Iterator[ValidationError]]:
        def check(
            validator: Any, limit: Any, instance: Any, schema: Any
        ) -> Iterator[ValidationError]:
            size = len(limit) if isinstance(limit, list | dict) else 0
            work.spend(1 + size // 10)
            for error in keyword(validator, limit, instance, schema) or ():
                work.spend(1 + len(error.message) // 100)  # a message quotes the value
                yield error

        return check

    def pattern(_: Any, limit: str, instance: Any, __: Any) -> Iterator[ValidationError]:
        if isinstance(instance, str) and not work.search(limit, instance):
            yield ValidationError(f"{instance[:200]!r} does not match {limit!r}")

    def pattern_properties(
        validator: Any, limit: Any, instance: Any, _: Any
    ) -> Iterator[ValidationError]:
        if not isinstance(instance, dict):
            return
        for name, inner in limit.items():
            for key, element in instance.items():
                if work.search(name, key):
                    yield from validator.descend(element, inner, path=key, schema_path=name)

    def additional_properties(
        validator: Any, limit: Any, instance: Any, schema: Any
    ) -> Iterator[ValidationError]:
        if not isinstance(instance, dict):
            return
        known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        for key, element in instance.items():
            if key in known or any(work.search(name, key) for name in patterns):
                continue
            if limit is False:
                yield ValidationError(
                    f"Additional properties are not allowed ({key!r} was unexpected)"
                )
            else:
                yield from validator.descend(element, limit, path=key)

    def unique_items(
        validator: Any, limit: Any, instance: Any, schema: Any
    ) -> Iterator[ValidationError]:
        # Maps and lists have no order and no hash, so the library compares each with each.
        if isinstance(instance, list) and any(isinstance(item, dict | list) for item in instance):
            work.spend(len(instance) ** 2 // 10)
        check = Draft202012Validator.VALIDATORS["uniqueItems"]
        yield from check(validator, limit, instance, schema) or ()

    own = {
        "pattern": pattern,
        "patternProperties": pattern_properties,
        "additionalProperties": additional_properties,
        "uniqueItems": unique_items,
    }
    keywords = {**Draft202012Validator.VALIDATORS, **own}
    return extend(  # type: ignore[no-untyped-call]
        Draft202012Validator, {name: counted(keyword) for name, keyword in keywords.items()}
    )
