"""Robust standard streams, which replace the originals at the start of the process.

An encoding may lack characters, a reader may leave early, and a disk may be full. None of these may
end a run in the middle of its work.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from reconciler.errors import ReconcilerError

_ASCII_TWINS = str.maketrans(
    {
        "…": "...", "→": "->", "↷": "~>", "≠": "!=", "±": "+/-", "·": "-", "•": "*", "–": "-", "—": "-",
        "‘": "'", "’": "'", "“": '"', "”": '"', "─": "-", "│": "|", "├": "|", "└": "`", "✓": "+", "✗": "x", "⚠": "!",
        "\ufe0f": "",
    }
)  # fmt: skip
"""The closest ASCII spelling of the symbols in our own texts."""


UNKNOWN_WIDTH = 100
"""The width of text where there is no terminal, in characters."""


def terminal_width() -> int:
    """The width of the terminal, limited to a readable width for tables and sentences."""
    return min(max(_columns(), 60), 120)


def _columns() -> int:
    # shutil.get_terminal_size does the same, but its module imports every compression library,
    # which takes longer than all of `--version`.
    with suppress(KeyError, ValueError):
        if (columns := int(os.environ["COLUMNS"])) > 0:
            return columns
    with suppress(ValueError, OSError):  # closed, or no terminal
        if sys.__stdout__ is not None:
            return os.get_terminal_size(sys.__stdout__.fileno()).columns or UNKNOWN_WIDTH
    return UNKNOWN_WIDTH


class OutputError(ReconcilerError):
    """A result cannot be written to standard output or to a file."""


class Output(io.TextIOWrapper):
    """A text stream that writes every text in any encoding.

    A character that the encoding lacks becomes its ASCII twin or a JSON escape. If writing fails, an
    `optional` stream such as stderr drops the text, and any other raises `OutputError`, except after
    its reader has closed the pipe.
    """

    def __init__(self, stream: io.TextIOWrapper, label: str, *, optional: bool) -> None:
        self._target = stream.encoding
        self._label = label
        self._optional = optional
        line_buffering, write_through = stream.line_buffering, stream.write_through
        is_ascii = codecs.lookup(stream.encoding).name == "ascii"
        super().__init__(
            stream.detach(),
            # click replaces a stream in ASCII by one of its own in UTF-8. ASCII text is the same in both.
            encoding="utf-8" if is_ascii else self._target,
            errors="backslashreplace",
            line_buffering=line_buffering,
            write_through=write_through,
        )

    def write(self, text: str) -> int:
        """Write the text, with replacements where needed; the length of the text."""
        # click writes an empty text and empty bytes to learn what a stream takes. Bytes must raise; an
        # error of the disk would be swallowed there, so an empty text is not written.
        if text == "":
            return 0
        try:
            super().write(showable(text, self._target))
        except OSError as error:
            self._failed(error)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        try:
            super().flush()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        # The buffer keeps the unwritten text and would fail again at every later write.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        if not self._optional and not isinstance(error, BrokenPipeError):
            raise OutputError(
                f"{self._label} cannot be written: {error.strerror or error}",
            ) from error


def showable(text: str, encoding: str) -> str:
    """The text with each character that the encoding lacks replaced.

    A JSON document keeps its meaning: all its replacements are JSON escapes.
    """
    if _fits(text, encoding):
        return text
    if not text.lstrip().startswith(("{", "[")):
        text = _replaced(text, encoding, lambda char: char.translate(_ASCII_TWINS))
    return _replaced(text, encoding, _json_escape)


def _replaced(text: str, encoding: str, replacement: Callable[[str], str]) -> str:
    """A text with a replacement for each character that the encoding lacks."""
    return "".join(char if _fits(char, encoding) else replacement(char) for char in text)


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeError:
        return False
    return True


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def prepare() -> None:
    """Replace the standard streams of this process. A closed stream becomes the null device."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("r+", encoding="utf-8"))  # noqa: SIM115 - open until the end
    if isinstance(sys.stdin, io.TextIOWrapper):
        # Undecodable input must neither end the run nor count as yes.
        sys.stdin.reconfigure(errors="replace")
    sys.stdout = _prepared(sys.stdout, "standard output", optional=False)
    sys.stderr = _prepared(sys.stderr, "standard error", optional=True)
    # The originals are detached now, and libraries ask these for the width of the terminal.
    for name in ("stdout", "stderr"):
        setattr(sys, f"__{name}__", getattr(sys, name))


def _prepared(stream: TextIO, name: str, *, optional: bool) -> TextIO:
    # A stream of a test or of an embedding program, whose encoding does not matter.
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    return Output(stream, name, optional=optional)
