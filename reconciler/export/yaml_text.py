"""Writes YAML like a person: block style, short collections in one line, quotes where needed.

Only what manifests can contain is supported: JSON values with text keys. The output is also read
correctly by parsers of YAML 1.1, which take `no` and `12:30` for something else than text.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from reconciler.model.values import MAP

WIDTH = 88
"""The longest line that short collections and folded texts fill, where words allow it."""


class Raw(Struct, frozen=True):
    """Text that is inserted verbatim, such as an expression; only YAML's own quoting applies."""

    text: str


class Commented(Struct, frozen=True):
    """A value of a map with a comment above its key."""

    value: Any
    comment: str


_ATOMS = (str, int, float, type(None))
_UNQUOTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""Characters that only a double-quoted scalar can contain."""

_FIRST = re.compile(r"""[-?:](?=\s|$)|[,\[\]{}#&*!|>'"%@`]|---|\.\.\.""")
_STRUCTURE = re.compile(r":(?=\s|$)|\s#")
_FLOW_STRUCTURE = re.compile(r"[,\[\]{}:?]|\s#")
# Words with a meaning in YAML 1.1, which many readers follow.
_WORDS = frozenset(("~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "=", "<<"))
_NUMBER = re.compile(
    r"[-+]?(0[xob])?[0-9][0-9a-f_,.]*(e[-+]?[0-9]+)?"
    r"|[-+]?\.[0-9][0-9_]*(e[-+]?[0-9]+)?|[-+]?\.(inf|nan)"
    r"|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([ t].*)?",
    re.IGNORECASE,
)


def document(value: Mapping[str, Any], *, flow: frozenset[str] = frozenset()) -> str:
    """One document, with a newline at its end. The maps under the keys in `flow` take one line."""
    return "".join(f"{line}\n" for line in _map_lines(value, 0, flow))


def comment(text: str, indent: int = 0) -> Iterator[str]:
    """The lines of a comment."""
    for paragraph in text.splitlines():
        for line in textwrap.wrap(paragraph, WIDTH - indent - 2, break_long_words=False) or [""]:
            yield f"{' ' * indent}# {line}".rstrip()


def comment_lines(text: str) -> str:
    """A comment as it stands above a document, with a newline after each line."""
    return "".join(f"{line}\n" for line in comment(text))


def escaped(text: str) -> str:
    """A text in which `${` begins no expression."""
    return text.replace("${", "$${")


def scalar(value: Any, *, in_flow: bool = False) -> str:
    """A scalar in one line."""
    if isinstance(value, str | Raw):
        return _text(_characters(value), in_flow=in_flow)
    text = json.dumps(value)
    # YAML 1.1 takes a number with an exponent for text unless it has a point.
    is_short = isinstance(value, float) and "e" in text and "." not in text
    return text.replace("e", ".0e") if is_short else text


def _key(text: str, *, in_flow: bool = False) -> str:
    """A key of a map, in which `${` means nothing."""
    return _text(text, in_flow=in_flow)


def _characters(value: str | Raw) -> str:
    """The text of a value in the manifest, where `${` begins an expression."""
    return value.text if isinstance(value, Raw) else escaped(value)


def _text(text: str, *, in_flow: bool) -> str:
    if _UNQUOTABLE.search(text) or "\n" in text:
        return _double_quoted(text)
    if not _needs_quotes(text, in_flow=in_flow):
        return text
    if "'" in text or ("\\" not in text and '"' not in text):
        return _double_quoted(text)
    return f"'{text}'"


def _needs_quotes(text: str, *, in_flow: bool) -> bool:
    if not text or text != text.strip() or "\t" in text or text.lower() in _WORDS:
        return True
    if _FIRST.match(text) or _NUMBER.fullmatch(text):
        return True
    return (_FLOW_STRUCTURE if in_flow else _STRUCTURE).search(text) is not None


def _double_quoted(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return _UNQUOTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)


def _is_scalar(value: Any) -> bool:
    # Nearly all values are texts and numbers, and the abstract class is slow to say no.
    return isinstance(value, _ATOMS) or not isinstance(value, (*MAP, list, tuple))


def _in_one_line(value: Any, room: int, depth: int = 0) -> str | None:
    """A value in flow style; None if a person would not write it in one line."""
    if isinstance(value, Commented):
        return None
    if _is_scalar(value):
        if isinstance(value, str | Raw) and "\n" in _characters(value):
            return None
        text = scalar(value, in_flow=depth > 0)
    elif not value:
        text = "{}" if isinstance(value, MAP) else "[]"
    elif depth > 1:
        return None
    else:
        flow = _flow(value, room, depth)
        if flow is None:
            return None
        text = flow
    return text if len(text) <= room else None


def _flow(value: Any, room: int, depth: int) -> str | None:
    elements = list(value.values()) if isinstance(value, MAP) else list(value)
    parts = []
    for element in elements:
        part = _in_one_line(element, room, depth + 1)
        if part is None:
            return None
        parts.append(part)
    if not isinstance(value, MAP):
        return f"[{', '.join(parts)}]"
    keys = [_key(key, in_flow=True) for key in value]
    pairs = map(": ".join, zip(keys, parts, strict=True))
    return f"{{{', '.join(pairs)}}}"


def _map_lines(
    value: Mapping[str, Any], indent: int, flow: frozenset[str] = frozenset()
) -> Iterator[str]:
    pad = " " * indent
    for key, element in value.items():
        if isinstance(element, Commented):
            yield from comment(element.comment, indent)
            element = element.value
        head = f"{pad}{_key(key)}:"
        # A map in `flow` takes one line, however long that is.
        room = 10_000 if key in flow else WIDTH - len(head) - 1
        yield from _entry(head, element, indent, room)


def _entry(head: str, value: Any, indent: int, room: int) -> Iterator[str]:
    """The lines of a value after `head`: a key with a colon, or the dash of a list."""
    if isinstance(value, str | Raw):
        yield from _text_lines(head, value, indent + 2)
        return
    line = _in_one_line(value, room if value else WIDTH)
    if line is None and _is_scalar(value):
        line = scalar(value)
    if line is not None:
        yield f"{head} {line}"
        return
    yield head
    if isinstance(value, MAP):
        yield from _map_lines(value, indent + 2)
    else:
        yield from _list_lines(value, indent + 2)


def _list_lines(items: Sequence[Any], indent: int) -> Iterator[str]:
    pad = " " * indent
    for element in items:
        head = f"{pad}-"
        room = WIDTH - len(head) - 1
        line = _in_one_line(element, room if element else WIDTH)
        if line is None and isinstance(element, MAP):
            inner = _map_lines(element, indent + 2)
        elif line is None and isinstance(element, list | tuple):
            inner = _list_lines(element, indent + 2)
        else:
            yield from _entry(head, element, indent, room)
            continue
        # The first key, or the first dash of an inner list, stands beside the dash.
        first, *rest = inner
        yield f"{head} {first.lstrip()}"
        yield from rest


def _text_lines(head: str, value: str | Raw, indent: int) -> Iterator[str]:
    text = _characters(value)
    pad = " " * indent
    if "\n" in text and _fits_literal(text):
        body = text.rstrip("\n")
        newlines = len(text) - len(body)
        keeps = {0: "-", 1: ""}.get(newlines, "+")  # which newlines at the end the block keeps
        yield f"{head} |{keeps}"
        for line in [*body.split("\n"), *[""] * max(0, newlines - 1)]:
            yield f"{pad}{line}" if line else ""
        return
    line = f"{head} {_text(text, in_flow=False)}"
    # A line that is a little too long reads better than a folded one.
    if len(line) > WIDTH + 12 and _fits_folded(text):
        yield f"{head} >-"
        for part in textwrap.wrap(
            text, max(20, WIDTH - indent), break_long_words=False, break_on_hyphens=False
        ):
            yield f"{pad}{part}"
        return
    yield line


def _fits_literal(text: str) -> bool:
    """Whether a literal block preserves the text."""
    starts_plainly = not text.startswith((" ", "\n", "\t"))
    return starts_plainly and not _UNQUOTABLE.search(text)


def _fits_folded(text: str) -> bool:
    """Whether a folded block preserves the text: one line of single spaces."""
    if "\n" in text or "\t" in text or "  " in text or text != text.strip():
        return False
    # Other spaces are line breaks to `textwrap` and characters to YAML.
    return not _UNQUOTABLE.search(text) and len(text.split()) == len(text.split(" "))
