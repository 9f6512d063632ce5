"""Escapes untrusted text for terminals, HTML, Markdown and spreadsheets.

Names, messages and contents come from the API and from other people's manifests. They may contain
escape sequences that move the cursor, bidi overrides that reorder a line, markup, or mentions that
notify people. Everything that renderers print passes through this module; invisible characters are
spelled out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Letters, marks and symbols by their category, which terminals and browsers show as nothing.
_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_SHORT_FORMS = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
_MARKUP = re.compile(r"[\\`*_\[\]|~$^{}]")
_AT_START = re.compile(r"^(\d*)([-+=.):#])")
# Mentions, issue references, URLs, e-mail addresses, emoji names. A text, compiled at its first use:
# it takes two milliseconds, and terminals do not need it.
_LINKS = r"(?i)[@#!$%~&](?=[\w\"])|\bGH-(?=\d)|:(?=//)|\bwww(?=\.)|:(?=[\w+-]+:)"
_BREAK = "&#8203;"
# With these, a cell of a spreadsheet is a formula, which can call programs.
_FORMULA = ("=", "+", "-", "@")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(E[-+]?[0-9]+)?")
_WEB_ADDRESS = re.compile(r"https?://[\w.~:/?=&%+,;@!$'()*\[\]-]+", re.ASCII)
_BACKTICKS = re.compile(r"`+")
# A text for the same reason: sets of so many characters take three milliseconds to compile.
_NOT_IN_XML = "[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"


def terminal(text: str) -> str:
    r"""`text` on one line, with control, format and invisible characters spelled out (`\x1b`)."""
    if text.isprintable() and _BLANK_LETTERS.isdisjoint(text):
        return text
    return _replaced(text, spelled)


def terminal_lines(lines: Iterable[str]) -> str:
    """Several texts as `terminal`, each on a line of its own."""
    return "".join(f"{terminal(line)}\n" for line in lines)


def hides(char: str) -> bool:
    """Whether a character is invisible, or affects its surroundings."""
    return char in _BLANK_LETTERS or unicodedata.category(char) in _HIDDEN_CATEGORIES


def spelled(char: str) -> str:
    """A character as an ASCII escape sequence."""
    code = ord(char)
    if char in _SHORT_FORMS:
        return _SHORT_FORMS[char]
    if code < 0x100:
        return f"\\x{code:02x}"
    if code < 0x10000:
        return f"\\u{code:04x}"
    return f"\\U{code:08x}"


def quoted(text: str) -> str:
    """`text` in double quotes, on one line; quotes and backslashes inside are escaped."""
    return '"' + terminal(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def markup(text: str) -> str:
    """`text` for HTML, between tags or inside a quoted attribute."""
    import html  # imported late: loads a large entity table that terminals do not need

    return html.escape(terminal(text), quote=True)


def xml(text: str) -> str:
    """`text` for XML, between tags or inside a quoted attribute."""
    import html

    return html.escape(re.sub(_NOT_IN_XML, "\ufffd", terminal(text)), quote=True)


def code(text: str) -> str:
    """`text` as inline code in HTML, such as a `<summary>`."""
    return f"<code>{markup(text)}</code>"


def prose(text: str) -> str:
    """`text` for Markdown prose, without markup, links, mentions and issue references."""
    # Hosts detect links after rendering, when backslashes are gone; a zero-width space still works.
    # NUL stands for it until the end, so that it is not escaped itself.
    shown = re.sub(_LINKS, r"\g<0>\0", terminal(text).lstrip())
    shown = _MARKUP.sub(r"\\\g<0>", shown)
    shown = _AT_START.sub(r"\1\\\2", shown)
    import html

    return html.escape(shown, quote=False).replace("\0", _BREAK)


def chat(text: str) -> str:
    """`text` for messages in chats and mails, without links and mentions, which would call people."""
    return re.sub(_LINKS, "\\g<0>\u200b", terminal(text))


def spreadsheet(text: str) -> str:
    """`text` for a spreadsheet cell: formulas get a leading apostrophe, numbers do not."""
    shown = terminal(text)
    if shown.startswith(_FORMULA) and not _NUMBER.fullmatch(shown):
        return f"'{shown}"
    return shown


def code_span(text: str, *, in_table: bool = False) -> str:
    """`text` as a Markdown code span; in a table, `|` is escaped since it would end the cell."""
    shown = terminal(text) or " "
    ticks = "`" * (_longest_run(shown) + 1)
    # A backtick at an end would become part of the delimiter. Markdown drops the blanks again.
    if "`" in (shown[0], shown[-1]):
        shown = f" {shown} "
    span = f"{ticks}{shown}{ticks}"
    if in_table:
        return span.replace("|", "\\|")
    return span


def web_link(url: str) -> str:
    """A clickable address in Markdown; a code span if it is anything but a plain web address."""
    if _WEB_ADDRESS.fullmatch(url):
        return f"<{url}>"
    return code_span(url)


def fenced(lines: list[str], language: str = "") -> str:
    """Lines in a fenced block; the fence is longer than any run of backticks inside."""
    shown = list(map(terminal, lines))
    fence = "`" * max(3, _longest_run("\n".join(shown)) + 1)
    return "\n".join((fence + language, *shown, fence))


def json_safe(text: str) -> str:
    r"""An equivalent JSON document with invisible characters as `\u` escapes.

    Newlines are kept: JSON strings contain none, so all of them are layout.
    """
    # By line, since a document has a line per resource and nearly all of them need no escape.
    return "\n".join(map(_json_safe_line, text.split("\n")))


def _json_safe_line(line: str) -> str:
    if line.isprintable():
        return line
    return _replaced(line, _json_escape)


def _json_escape(char: str) -> str:
    """The UTF-16 units of a character, of which JSON needs two beyond the first plane."""
    digits = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{digits[at : at + 4]}" for at in range(0, len(digits), 4))


def _replaced(text: str, escape: Callable[[str], str]) -> str:
    """`text` with each character that `hides` in its escaped form."""
    return "".join(escape(char) if hides(char) else char for char in text)


def _longest_run(text: str) -> int:
    return max((len(run) for run in _BACKTICKS.findall(text)), default=0)
