"""Splits an expression into tokens."""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct

from reconciler.cel.errors import ExpressionError

MAX_LENGTH = 10_000
"""The longest expression, in characters."""

_SPACE = re.compile(r"(?:[ \t\r\n\f]+|//[^\n]*)*")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+[uU]?|(?:\d+\.\d+|\d+|\.\d+)(?:[eE][+-]?\d+)?[uU]?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r"&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,()\[\]{}]")
_QUOTE = re.compile(r"[rR]?('''|\"\"\"|'|\")")
_ESCAPE = re.compile(
    r"\\(?:x[0-9a-fA-F]{2}|X[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2}|.)",
    re.DOTALL,
)
_SIMPLE = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "?": "?", '"': '"', "'": "'", "`": "`",
}  # fmt: skip
_MAX_INTEGER = 2**63


class Token(Struct, frozen=True):
    """`kind` is `name`, `value`, `end`, or the operator itself. `at` is an offset."""

    kind: str
    value: Any
    at: int


def problem(source: str, at: int, message: str) -> ExpressionError:
    """An error at an offset of the source."""
    before = source[:at]
    line = before.count("\n") + 1
    return ExpressionError(message, line=line, column=at - (before.rfind("\n") + 1) + 1)


def tokens_of(source: str) -> list[Token]:
    """All tokens, the last of kind `end`. Raises ExpressionError."""
    if len(source) > MAX_LENGTH:
        message = f"the expression has {len(source):,} characters; the maximum is {MAX_LENGTH:,}"
        raise problem(source, 0, message)
    tokens = []
    at = _after_space(source, 0)
    while at < len(source):
        token, at = _token(source, at)
        tokens.append(token)
        at = _after_space(source, at)
    return [*tokens, Token("end", None, len(source))]


def _after_space(source: str, at: int) -> int:
    match = _SPACE.match(source, at)
    return match.end() if match else at


def _token(source: str, at: int) -> tuple[Token, int]:
    if quote := _QUOTE.match(source, at):
        return _text(source, at, quote)
    if re.match(r"[rR]?[bB][rR]?['\"]", source[at : at + 4]):
        raise problem(source, at, "bytes are not supported: write a string")
    if name := _NAME.match(source, at):
        return Token("name", name.group(), at), name.end()
    if number := _NUMBER.match(source, at):
        return Token("value", _number(source, at, number.group()), at), number.end()
    if operator := _OPERATOR.match(source, at):
        return Token(operator.group(), None, at), operator.end()
    raise problem(source, at, f"unexpected character {source[at]!r}")


def _number(source: str, at: int, text: str) -> int | float:
    if text[-1] in "uU":
        raise problem(source, at, f"unsigned integers are not supported: write {text[:-1]}")
    if text[:2] in ("0x", "0X"):
        value: int | float = int(text, 16)
    elif text.isdigit():
        # A longer one does not fit anyway, and its conversion takes quadratic time.
        value = int(text) if len(text) < 30 else _MAX_INTEGER + 1
    else:
        value = float(text)
    # A minus sign is a token of its own, so the smallest integer is one more than the largest.
    if isinstance(value, int) and value > _MAX_INTEGER:
        raise problem(source, at, "the integer does not fit into 64 bits")
    return value


def _text(source: str, at: int, quote: re.Match[str]) -> tuple[Token, int]:
    mark, is_raw = quote.group(1), source[at] in "rR"
    begin = quote.end()
    parts: list[str] = []
    cursor = begin
    while True:
        if cursor >= len(source) or (len(mark) == 1 and source[cursor] in "\r\n"):
            raise problem(source, at, f"the string is not closed: add {mark}")
        if source.startswith(mark, cursor):
            return Token("value", "".join(parts), at), cursor + len(mark)
        if source[cursor] == "\\" and not is_raw:
            text, cursor = _escaped(source, cursor)
            parts.append(text)
        else:
            parts.append(source[cursor])
            cursor += 1


def _escaped(source: str, at: int) -> tuple[str, int]:
    match = _ESCAPE.match(source, at)
    if match is None:
        raise problem(source, at, "the string is not closed")
    body = match.group()[1:]
    if body in _SIMPLE:
        return _SIMPLE[body], match.end()
    code = -1
    if body[0] in "xXuU" and len(body) > 1:
        code = int(body[1:], 16)
    elif len(body) == 3:
        code = int(body, 8)
    # A half of a surrogate pair is no character, and no output could encode it.
    if not 0 <= code <= 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise problem(source, at, f"\\{body} is not an escape sequence: write \\\\ for a backslash")
    return chr(code), match.end()
