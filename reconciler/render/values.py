"""Values of fields for people: on one line if they fit, otherwise as YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from reconciler.model.secret import MASK, Redactor, Secret
from reconciler.model.values import FileSet, LocalFile, Member, Reference, Template, Unknown
from reconciler.render.escape import quoted, terminal

NOTHING = "(not set)"
LONG_TEXT = 80
"""Longer texts, and texts of several lines, are abbreviated or shown as a diff."""

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_DIGEST = re.compile(r"[0-9a-f]{64}")
# Texts that YAML 1.1 or 1.2 does not read as strings.
_RESERVED = frozenset({"null", "true", "false", "yes", "no", "on", "off"})
Entry = TypeVar("Entry")
Key = TypeVar("Key")

_SIZE_UNITS = ("kB", "MB", "GB", "TB")
_redact_keys = Redactor()


def redacted(text: str) -> str:
    """`text` with everything that looks like an API key replaced by dots."""
    # Every key begins with this, and most texts do without the regular expressions.
    if "sk-" not in text:
        return text
    return _redact_keys(text)


def count(number: int, word: str, plural: str = "") -> str:
    """`1 file`, `12 files`, `1,204 lines`."""
    return f"{number:,} {word if number == 1 else plural or word + 's'}"


def tally(counts: Mapping[Any, int], before: str = "") -> list[str]:
    """Counts by word, such as `1,204 applied`, or `3 to create` with `to ` before each word.

    Those that are zero are left out.
    """
    return [f"{number:,} {before}{word}" for word, number in counts.items() if number]


def enclosed(before: str, text: str | None, after: str = "") -> str:
    """`text` between `before` and `after`; nothing at all if the text is empty or None."""
    if not text:
        return ""
    return f"{before}{text}{after}"


def grouped(entries: Iterable[Entry], key: Callable[[Entry], Key]) -> dict[Key, list[Entry]]:
    """The entries by their key; the keys in the order of their first entry."""
    groups: dict[Key, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(key(entry), []).append(entry)
    return groups


def unique(words: Iterable[str]) -> list[str]:
    """The words in the order of their first use."""
    return list(dict.fromkeys(words))


def more(total: int, shown: int) -> str:
    """` and 7 more`, if not all are shown."""
    if total <= shown:
        return ""
    return f" and {total - shown:,} more"


def filled_lines(text: str) -> list[str]:
    """The lines of a text, without the empty ones."""
    return [line for line in text.split("\n") if line]


def is_long(value: Any) -> bool:
    """Whether a value is a text that does not fit on one line."""
    return isinstance(value, str) and (len(value) > LONG_TEXT or "\n" in value.rstrip("\n"))


def is_container(value: Any) -> bool:
    """Whether a value is a map or a list."""
    return isinstance(value, Mapping | list | tuple)


def inline(value: Any) -> str:
    """The whole value on one line; None reads `(not set)`."""
    if value is None:
        return NOTHING
    return _inline(value, top=True)


def brief(value: Any, width: int) -> str | None:
    """A value on one line of about `width` characters, long texts abbreviated.

    None for a map or list that does not fit.
    """
    if is_long(value):
        return beginning(value, width)
    text = inline(value)
    if is_container(value) and len(text) > width:
        return None
    return text


def beginning(text: str, width: int) -> str:
    """The start of a long text, with its size: `"You are…" (63 lines)`."""
    # Before anything is cut: half of a key no longer looks like one.
    text = redacted(text)
    lines = text.rstrip("\n").split("\n")
    first = lines[0]
    size = count(len(lines), "line")
    if len(lines) == 1:
        size = count(len(text), "character")
    room = max(20, width - len(size) - 5)
    if len(lines) == 1 or len(first) > room:
        first = first[:room].rstrip() + "…"
    return f"{quoted(first)} ({size})"


def block(value: Any) -> list[str]:
    """The whole value as lines of YAML."""
    return list(_block(value))


def text_lines(text: str) -> list[str]:
    """The lines of a text for a diff, with secrets redacted; a final newline adds no empty line."""
    lines = redacted(text).split("\n")
    if lines[-1] == "":
        lines.pop()
    return lines


def file_size(size: int) -> str:
    """A size in decimal units: `740 bytes`, `1.2 kB`, `34 MB`."""
    if size < 1000:
        return count(size, "byte")
    power = 1
    # From 999.5 on, the number would round to 1000 of its unit: `1.0 MB`, not `1000 kB`.
    while size >= 999.5 * 1000**power and power < len(_SIZE_UNITS):
        power += 1
    number, unit = size / 1000**power, _SIZE_UNITS[power - 1]
    # From 9.95 on, a decimal would show three digits.
    decimals = 1 if number < 9.95 else 0
    return f"{number:.{decimals}f} {unit}"


def _inline(value: Any, *, top: bool = False) -> str:
    match value:
        case str():
            return _inline_text(value, top=top)
        case Mapping():
            pairs = [f"{_key(key)}: {_inline(inner)}" for key, inner in value.items()]
            return "{" + ", ".join(pairs) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_inline, value)) + "]"
        case FileSet(members):
            return count(len(members), "file")
    return _single(value)


def _inline_text(text: str, *, top: bool) -> str:
    # A person compares the first digits of a digest, if any.
    if _DIGEST.fullmatch(text):
        return f"sha256 {text[:12]}"
    if top or not _is_word(text):
        return quoted(redacted(text))
    return text


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
        for key, inner in value.items():
            yield from _entry(f"{_key(key)}:", inner)
    elif isinstance(value, list | tuple) and value:
        for inner in value:
            yield from _list_item(inner)
    elif isinstance(value, str) and "\n" in value:
        yield from text_lines(value)
    else:
        yield _inline(value)


def _entry(head: str, value: Any) -> Iterator[str]:
    if isinstance(value, str) and "\n" in value:
        yield f"{head} |"
        for text in text_lines(value):
            yield f"  {text}"
    elif is_container(value) and len(_inline(value)) > LONG_TEXT // 2:
        yield head
        for text in _block(value):
            yield f"  {text}"
    else:
        yield f"{head} {_inline(value)}"


def _list_item(value: Any) -> Iterator[str]:
    if isinstance(value, str) and "\n" in value:
        yield from _entry("-", value)
        return
    inline_value = _inline(value)
    if len(inline_value) <= LONG_TEXT // 2:
        yield f"- {inline_value}"
        return
    first, *others = _block(value)
    yield f"- {first}"
    for text in others:
        yield f"  {text}"


def _is_word(text: str) -> bool:
    """Whether YAML reads the text as a string without quotes."""
    if not _WORD.fullmatch(text) or text.lower() in _RESERVED:
        return False
    return redacted(text) == text


def _key(key: Any) -> str:
    text = str(key)
    if _is_word(text):
        return text
    return quoted(redacted(text))
