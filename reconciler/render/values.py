"""Values of fields as people read them: compact where they fit on a line, else a few lines of YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.model.secret import MASK, Redactor, Secret
from reconciler.model.values import FileSet, LocalFile, Member, Reference, Template, Unknown
from reconciler.render.escape import quoted, terminal

NOTHING = "(not set)"
LONG_TEXT = 80
"""Texts longer than this, or of several lines, are shown in part or as a diff."""

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_RESERVED = frozenset({"null", "true", "false", "yes", "no", "on", "off"})
_redact_keys = Redactor()


def redacted(text: str) -> str:
    """`text` with everything that is shaped like an API key replaced by dots."""
    return _redact_keys(text) if "sk-" in text else text


def count(number: int, word: str, plural: str = "") -> str:
    """`1 file`, `12 files`, `1,204 lines`."""
    return f"{number:,} {word if number == 1 else plural or word + 's'}"


def is_long(value: Any) -> bool:
    """Whether a value is a text that deserves lines of its own."""
    return isinstance(value, str) and (len(value) > LONG_TEXT or "\n" in value.rstrip("\n"))


def is_container(value: Any) -> bool:
    """Whether a value has parts."""
    return isinstance(value, Mapping | list | tuple)


def inline(value: Any) -> str:
    """Any value on one line, whole; the absence of one reads `(not set)`."""
    return NOTHING if value is None else _inline(value, top=True)


def brief(value: Any, width: int) -> str | None:
    """A value on one line of at most `width` characters, long texts by their beginning; None where it needs lines."""
    if is_long(value):
        return beginning(value, width)
    text = inline(value)
    return text if len(text) <= width or not is_container(value) else None


def beginning(text: str, width: int) -> str:
    """The first line of a long text, with how much there is in all."""
    text = redacted(text)
    lines = text.rstrip("\n").split("\n")
    size = count(len(lines), "line") if len(lines) > 1 else count(len(text), "character")
    first, room = lines[0], max(20, width - len(size) - 5)
    whole = len(lines) > 1 and len(first) <= room
    return f"{quoted(first if whole else first[:room].rstrip() + '…')} ({size})"


def block(value: Any) -> list[str]:
    """A value as lines of YAML, whole."""
    return list(_block(value))


def text_lines(text: str) -> list[str]:
    """The lines of a text for a diff, secrets replaced; an end of line at the end makes no line of its own."""
    lines = redacted(text).split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def file_size(size: int) -> str:
    """Bytes as people say them: `740 bytes`, `1.2 kB`, `34 MB`."""
    if size < 1000:
        return count(size, "byte")
    power = min(4, next(power for power in range(1, 9) if size < 999.5 * 1000**power))
    number, unit = size / 1000**power, ("kB", "MB", "GB", "TB")[power - 1]
    return f"{number:.1f} {unit}" if number < 9.95 else f"{number:.0f} {unit}"


def _inline(value: Any, *, top: bool = False) -> str:
    match value:
        case str():
            return _digest(value) or (quoted(redacted(value)) if top or not _is_word(value) else value)
        case Mapping():
            return "{" + ", ".join(f"{_key(key)}: {_inline(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(_inline(item) for item in value) + "]"
        case FileSet(members):
            return count(len(members), "file")
    return _single(value)


def _single(value: Any) -> str:
    match value:
        case None | bool() | int() | float():
            return json.dumps(value)
        case Secret():
            return MASK
        case LocalFile(path, sha256, size):
            return f"{terminal(path)} ({file_size(size)}, sha256 {sha256[:12]})"
        case Member(key):
            return terminal(key)
        case Unknown() | Reference() | Template():
            return terminal(redacted(str(value)))
    return terminal(redacted(str(value)))


def _block(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _entry(f"{_key(key)}:", item, indent="  ")
    elif isinstance(value, list | tuple) and value:
        for item in value:
            yield from _item(item)
    elif isinstance(value, str) and "\n" in value:
        yield from text_lines(value)
    else:
        yield _inline(value)


def _entry(head: str, item: Any, *, indent: str) -> Iterator[str]:
    if isinstance(item, str) and "\n" in item:
        yield f"{head} |"
        yield from (f"{indent}{line}" for line in text_lines(item))
    elif is_container(item) and len(_inline(item)) > LONG_TEXT // 2:
        yield head
        yield from (f"{indent}{line}" for line in _block(item))
    else:
        yield f"{head} {_inline(item)}"


def _item(item: Any) -> Iterator[str]:
    if isinstance(item, str) and "\n" in item:
        yield from _entry("-", item, indent="  ")
        return
    lines = [_inline(item)] if len(_inline(item)) <= LONG_TEXT // 2 else list(_block(item))
    for number, text in enumerate(lines):
        yield f"- {text}" if number == 0 else f"  {text}"


def _digest(text: str) -> str:
    return f"sha256 {text[:12]}" if _DIGEST.fullmatch(text) else ""


def _is_word(text: str) -> bool:
    return bool(_WORD.fullmatch(text)) and text.lower() not in _RESERVED and redacted(text) == text


def _key(key: Any) -> str:
    return str(key) if _is_word(str(key)) else quoted(redacted(str(key)))
