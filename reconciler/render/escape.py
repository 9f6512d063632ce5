"""Making text of unknown origin harmless: for a terminal, for HTML, for Markdown, for spreadsheets.

Names, messages and contents come from the API and from manifests of strangers. They may hold escape sequences that
move the cursor, bidi overrides that show a line in another order than it is read, markup, or mentions that notify
people. Everything a renderer prints passes through this module, and what cannot be shown is spelled out instead.
"""

from __future__ import annotations

import re
import unicodedata

_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
_MARKUP = re.compile(r"[\\`*_\[\]|~$^{}]")
_AT_START = re.compile(r"^(\d*)([-+=.):#])")
# Mentions, references to issues and the like, addresses of pages and of people, names of emoji.
_LINKS = re.compile(r"[@#!$%~&](?=[\w\"])|\bGH-(?=\d)|:(?=//)|\bwww(?=\.)|:(?=[\w+-]+:)", re.IGNORECASE)
_BREAK = "&#8203;"
_FORMULA = ("=", "+", "-", "@")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(E[-+]?[0-9]+)?")
_BACKTICKS = re.compile(r"`+")


def terminal(text: str) -> str:
    r"""`text` on one line, with every control, format and invisible character spelled out (`\n`, `\x1b`, `\u202e`)."""
    if text.isprintable() and _BLANK_LETTERS.isdisjoint(text):
        return text
    return "".join(spelled(char) if hides(char) else char for char in text)


def hides(char: str) -> bool:
    """Whether a character shows nothing of its own, or acts on what is around it."""
    return char in _BLANK_LETTERS or unicodedata.category(char) in _HIDDEN_CATEGORIES


def spelled(char: str) -> str:
    """A character as an escape sequence in ASCII."""
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quoted(text: str) -> str:
    """`text` in double quotes, on one line; quotes and backslashes inside are told apart from our own."""
    return '"' + terminal(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def markup(text: str) -> str:
    """`text` for HTML, between tags or inside a quoted attribute."""
    import html  # with thousands of names of characters, which texts for terminals do without

    return html.escape(terminal(text), quote=True)


def code(text: str) -> str:
    """`text` as inline code for a place where HTML is read, such as a `<summary>`."""
    return f"<code>{markup(text)}</code>"


def prose(text: str) -> str:
    """`text` for Markdown prose: no markup, no link, no mention, no reference to an issue."""
    # Hosts look for links after the Markdown is rendered, where a backslash has no effect: a break that takes no room
    # does. It is put in last, as a private character until then, so that nothing of it is escaped.
    shown = _LINKS.sub(lambda found: f"{found[0]}\0", terminal(text).lstrip())
    shown = _MARKUP.sub(lambda found: f"\\{found[0]}", shown)
    shown = _AT_START.sub(r"\1\\\2", shown)
    import html

    return html.escape(shown, quote=False).replace("\0", _BREAK)


def spreadsheet(text: str) -> str:
    """`text` for a cell of a spreadsheet: what looks like a formula and is no number begins with an apostrophe."""
    shown = terminal(text)
    return f"'{shown}" if shown.startswith(_FORMULA) and not _NUMBER.fullmatch(shown) else shown


def code_span(text: str, *, in_table: bool = False) -> str:
    """`text` as a code span of Markdown; a table would take a bare `|` for the end of its cell."""
    shown = terminal(text) or " "
    ticks = "`" * (_longest_run(shown) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    span = f"{ticks}{pad}{shown}{pad}{ticks}"
    return span.replace("|", "\\|") if in_table else span


def fenced(lines: list[str], language: str = "") -> str:
    """Lines in a fenced block whose fence is longer than any run of backticks inside."""
    shown = [terminal(line) for line in lines]
    fence = "`" * max(3, _longest_run("\n".join(shown)) + 1)
    return "\n".join((fence + language, *shown, fence))


def json_safe(text: str) -> str:
    r"""A JSON document with its invisible characters as `\u` escapes; the document says the same as before.

    Newlines stay: outside strings they are layout, and inside strings JSON has none.
    """
    return "\n".join(line if line.isprintable() else _json_safe(line) for line in text.split("\n"))


def _json_safe(line: str) -> str:
    return "".join(_json_escape(char) if hides(char) else char for char in line)


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _longest_run(text: str) -> int:
    return max((len(run) for run in _BACKTICKS.findall(text)), default=0)
