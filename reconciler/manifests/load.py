"""Parses YAML and JSON safely and within bounds, with a source position for every value.

Where YAML 1.1 surprises, the rules of 1.2 apply: only `true` and `false` are booleans, dates stay
text, keys are text and unique. Whatever a file contains, reading it is one bounded pass that yields
documents or diagnostics.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable
from pathlib import Path
from sys import intern
from typing import Any, NoReturn

import yaml

from reconciler.manifests.problems import Problems, ValueProblem
from reconciler.manifests.room import Room
from reconciler.manifests.source_map import COLUMN_BITS, Document
from reconciler.model.diagnostic import SourceLocation

MAX_BYTES = 5_000_000
MAX_DEPTH = 100
MAX_EXPANDED_NODES = 100_000
"""How many nodes the aliases of one file may repeat. A long text counts as several."""

_CHARACTERS_PER_NODE = 100

_TOO_DEEP = ("Nested too deeply", f"The maximum nesting depth is {MAX_DEPTH} levels.")
_DEEPER_THAN_LIBYAML = "maximum nesting depth"
"""Part of libyaml's error beyond a thousand levels, which it can report before the events of the
first hundred."""

_TAG_PREFIX = "tag:yaml.org,2002:"
_MAP_TAG = f"{_TAG_PREFIX}map"
_LIST_TAG = f"{_TAG_PREFIX}seq"
_SAFE_TAGS = {"str", "int", "float", "bool", "null", "map", "seq"}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_CONSTANTS: dict[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}
# Texts rather than patterns: only JSON and errors need them, and compiling takes time.
_SURROGATES = r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
_NOT_IN_YAML = "[\x7f-\x9f\u2028\u2029\ufffe\uffff]"
_EXPRESSION_AT = r"[^\s,\[\]{}]*\$\{[^}]*\}(?:\$\{[^}]*\}|[^\s,\[\]{}])*"
_LONGEST_EXPRESSION = 120
_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_text(path: Path, name: str, problems: Problems) -> str | None:
    """The text of a file; None, with a problem reported, if it is unreadable, too large or not
    UTF-8."""
    top = SourceLocation(name, 1, 1)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            problems.add(
                "File too large",
                f"The maximum size is {MAX_BYTES // 1_000_000} MB: split the file.",
                place=top,
            )
            return None
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - (before.rfind(b"\n") + 1) + 1
        problems.add(
            "Not UTF-8", "The file is not UTF-8 text.", place=SourceLocation(name, line, column)
        )
    except OSError as error:
        problems.add("Cannot read the file", f"{error.strerror or error}.", place=top)
    return None


def load_documents(
    text: str, name: str, problems: Problems, *, is_json: bool = False
) -> list[Document]:
    """The documents of a text, without empty ones. Stops at a syntax error.

    Items of a top-level JSON list are documents, because JSON has no document separator.
    """
    documents: list[Document] = []
    try:
        parser = _Parser(_as_yaml(text) if is_json else text)
        _Builder(parser, name, problems).read_into(documents, is_json=is_json)
    except _Unbuildable:
        pass
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if mark:
            location = SourceLocation(name, mark.line + 1, mark.column + 1)
        else:
            location = SourceLocation(name, 1, 1)
        if _DEEPER_THAN_LIBYAML in (error.problem or ""):
            problems.add(*_TOO_DEEP, place=location)
        else:
            summary, detail = "Not valid JSON", _sentence(error)
            if not is_json:
                summary, detail = "Not valid YAML", detail + _about_expression(text, location)
            problems.add(summary, detail, place=location)
    except yaml.YAMLError as error:
        problems.add("Not valid YAML", _unreadable(error), place=_position_of(error, text, name))
    return documents


def parse_flow(text: str) -> Any:
    """A value from the command line: a scalar, or a list or map in brackets. Raises Problem."""
    stripped = text.strip()
    if not stripped.startswith(("[", "{", '"', "'")):
        return plain_value(stripped) if stripped == text else text
    problems = Problems()
    documents = load_documents(text, "", problems)
    diagnostics = problems.in_reading_order()
    if diagnostics or len(documents) != 1:
        raise ValueProblem("Not valid YAML", diagnostics[0].detail if diagnostics else "")
    return documents[0].value


def plain_value(text: str) -> Any:
    """The value of an unquoted scalar: null, a boolean, a number, or the text itself."""
    # Only these, where YAML 1.1 also reads yes, no, on and off as booleans, and dates as dates.
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    # By the first character, because most scalars are words. The length is bounded, because the
    # conversion of a long integer takes quadratic time.
    if text[0] in "+-.0123456789" and len(text) < 100:
        if _INTEGER.fullmatch(text):
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
            return number
    return text


class _Unbuildable(Exception):
    """The text exceeds a bound, so parsing stops."""


class _Builder:
    """Builds values and positions from parser events.

    It does not compose a node tree, which takes more memory and whose depth only the C stack
    limits. An alias shares the value of its anchor and repeats the anchor's positions.
    """

    def __init__(self, parser: Any, file: str, problems: Problems) -> None:
        self._next: Callable[[], Any] = parser.get_event
        self._file = file
        self._problems = problems
        self._repeated = 0
        self._room = Room()
        self._start()

    def _start(self) -> None:
        self._positions = array("Q")
        self._anchors: dict[str, tuple[Any, int, int] | None] = {}

    def read_into(self, documents: list[Document], *, is_json: bool) -> None:
        """Append documents one by one, so that those before a syntax error are kept."""
        while (event := self._next()) is not None:
            if type(event) is not yaml.DocumentStartEvent:
                continue
            first = self._next()
            if is_json and type(first) is yaml.SequenceStartEvent:
                while type(item := self._next()) is not yaml.SequenceEndEvent:
                    self._finish(self._build(item, 0), documents)
            else:
                self._finish(self._build(first, 0), documents)

    def _finish(self, value: Any, documents: list[Document]) -> None:
        if value is not None:
            documents.append(Document(self._file, value, self._positions))
        self._start()

    def _build(self, event: Any, depth: int) -> Any:
        event_type = type(event)
        if event_type is yaml.AliasEvent:
            return self._alias(event)
        start, mark = len(self._positions), event.start_mark
        self._positions.append(mark.line << COLUMN_BITS | mark.column)
        # First, because nearly all nodes are such scalars.
        if event_type is yaml.ScalarEvent and event.tag is None and event.anchor is None:
            return plain_value(event.value) if event.implicit[0] else event.value
        # Known without a value until the node ends, so that an alias inside of it is refused.
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        value: Any
        if event_type is yaml.ScalarEvent:
            value = self._scalar(event)
        elif depth >= MAX_DEPTH:
            self._stop(event, *_TOO_DEEP)
        else:
            value = self._collection(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, start, len(self._positions))
        return value

    def _collection(self, event: Any, depth: int) -> Any:
        is_map = type(event) is yaml.MappingStartEvent
        if event.tag not in (None, _MAP_TAG if is_map else _LIST_TAG):
            self._bad_tag(event)
        if is_map:
            return self._mapping(depth)
        items = []
        while type(item := self._next()) is not yaml.SequenceEndEvent:
            items.append(self._build(item, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, Any]:
        value: dict[str, Any] = {}
        following, positions = self._next, self._positions
        mark: Any
        while type(event := following()) is not yaml.MappingEndEvent:
            start = len(positions)
            key = self._key(event, self._build(event, depth + 1), value)
            item = following()
            if key is None:
                self._build(item, depth + 1)
                del positions[start:]
            elif type(item) is yaml.ScalarEvent and item.tag is None and item.anchor is None:
                # The same as in `_build`, without the call: most values of a large configuration are
                # such scalars.
                mark, text = item.start_mark, item.value
                positions.append(mark.line << COLUMN_BITS | mark.column)
                value[key] = plain_value(text) if item.implicit[0] else text
            else:
                value[key] = self._build(item, depth + 1)
        return value

    def _key(self, event: Any, key: Any, known: dict[str, Any]) -> str | None:
        """The key of an item; None if a problem was reported."""
        if type(key) is str and key != "<<" and key not in known:
            # Every document has the same few keys. Interned, they take a tenth of the memory.
            return intern(key)
        if isinstance(key, dict | list):
            self._problem(event, "Not a key", "Keys must be strings.")
        elif not isinstance(key, str):
            self._problem(
                event,
                "Not a key",
                f'Keys must be strings: write "{getattr(event, "value", key)}" in quotes.',
            )
        elif key == "<<" and getattr(event, "implicit", (False,))[0]:
            self._problem(
                event, "Merge keys are not supported", "Repeat the keys, or alias a whole value."
            )
        elif key in known:
            self._problem(event, "Duplicate key", f'"{key}" appears twice in the same map.')
        else:
            return intern(key)
        return None

    def _alias(self, event: Any) -> Any:
        anchored = self._anchors.get(event.anchor)
        if anchored is None:
            detail = "No earlier anchor has that name."
            if event.anchor in self._anchors:
                detail = "The value would contain itself."
            self._stop(event, f'Alias "*{event.anchor}" cannot be followed', detail)
        value, start, end = anchored
        # By size too, since a few nodes can hold long texts. Ten aliases of ten aliases and so on
        # would expand without bound.
        self._repeated += max(end - start, self._room.size(value) // _CHARACTERS_PER_NODE)
        if self._repeated > MAX_EXPANDED_NODES:
            self._stop(
                event,
                "Aliases expand too far",
                f"Aliases may expand to at most {MAX_EXPANDED_NODES:,} values.",
            )
        self._positions.extend(self._positions[start:end])
        return value

    def _scalar(self, event: Any) -> Any:
        if event.tag is None or event.tag == "!":
            return plain_value(event.value) if event.implicit[0] else event.value
        name, value = event.tag.removeprefix(_TAG_PREFIX), plain_value(event.value)
        if name == "str":
            return event.value
        if name == "float" and type(value) in (int, float):
            return float(value)
        fits = {"null": value is None, "bool": isinstance(value, bool), "int": type(value) is int}
        if not fits.get(name, False):
            self._bad_tag(event)
        return value

    def _bad_tag(self, event: Any) -> None:
        tag = event.tag.replace(_TAG_PREFIX, "!!")
        if event.tag.removeprefix(_TAG_PREFIX) in _SAFE_TAGS:
            self._problem(event, "Tag does not match the value", f"The value is no {tag}.")
        else:
            self._problem(
                event, "Tags are not supported", f"Remove {tag}: only plain data is supported."
            )

    def _stop(self, event: Any, summary: str, detail: str) -> NoReturn:
        self._problem(event, summary, detail)
        raise _Unbuildable

    def _problem(self, event: Any, summary: str, detail: str) -> None:
        mark = event.start_mark
        self._problems.add(
            summary, detail, place=SourceLocation(self._file, mark.line + 1, mark.column + 1)
        )


def _sentence(error: yaml.MarkedYAMLError) -> str:
    problem = (error.problem or "it cannot be parsed").strip()
    context = ""
    if error.context:
        context = f", {error.context.strip()}"
        start = error.context_mark
        if start and start != error.problem_mark:
            context += f" that starts in line {start.line + 1}"
    return f"{problem[:1].upper()}{problem[1:]}{context}."


def _about_expression(text: str, location: SourceLocation) -> str:
    """A hint for an unquoted expression that YAML cannot parse.

    In a flow collection, the braces of `${…}` begin a map. In a block, a colon inside them begins a
    value. The parser stops at that brace or colon.
    """
    lines = text.splitlines()
    if location.line > len(lines):
        return ""
    line, at = lines[location.line - 1], location.column - 1
    # The last expression that begins before the position, or with its brace at the position.
    start = line.rfind("${", 0, at + 1)
    if start < 0 or "}" in line[start:at]:
        return ""
    # The hint quotes the whole scalar, with any text around the expression.
    word = max(line.rfind(character, 0, start) for character in " \t,[{") + 1
    match = re.compile(_EXPRESSION_AT).match(line, word)
    if match is None:
        return ""
    if len(match[0]) > _LONGEST_EXPRESSION:
        return " Put the expression in quotes."
    scalar = match[0].rstrip(":")
    quoted = f"'{scalar}'" if '"' in scalar else f'"{scalar}"'
    return f" Put the expression in quotes: {quoted}."


def _unreadable(error: yaml.YAMLError) -> str:
    reason = str(getattr(error, "reason", "") or "it cannot be parsed")
    return f"{reason[:1].upper()}{reason[1:]}."


def _position_of(error: yaml.YAMLError, text: str, name: str) -> SourceLocation:
    # libyaml counts bytes of UTF-8, which differ from characters after any text beyond ASCII.
    offset = getattr(error, "position", None)
    if not isinstance(offset, int):
        return SourceLocation(name, 1, 1)
    before = text.encode()[:offset].decode(errors="ignore")
    return SourceLocation(name, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def _as_yaml(text: str) -> str:
    """JSON text in the subset that YAML shares.

    JSON writes characters beyond the first plane as two escapes, which YAML does not know. It also
    permits some raw characters that YAML rejects or takes for line breaks.
    """

    def join(match: re.Match[str]) -> str:
        pair = bytes.fromhex(match[2] + match[3]).decode("utf-16-be")
        return match[1] + pair

    joined = re.sub(_SURROGATES, join, text)
    return re.sub(_NOT_IN_YAML, lambda match: f"\\u{ord(match[0]):04x}", joined)


def compose(text: str) -> list[Any]:
    """The root node of each document of a text that `load_documents` accepts.

    Nodes are PyYAML's: `start_mark.index` and `end_mark.index` count characters. The parser in
    Python is slow, and the only one whose marks are exact.
    """
    return [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if node is not None]
