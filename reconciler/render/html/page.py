"""The frame of a page: one file that loads nothing and runs only its own script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from reconciler.render.escape import markup

_HERE = "reconciler.render.html"


def page(title: str, body: Iterable[str], foot: str) -> str:
    """A whole document; `body` is markup, `title` and `foot` are text."""
    style, script = _asset("page.css"), _asset("page.js")
    # The digests allow exactly this style and this script, and nothing else: no image, no font, no
    # connection, no handler in an attribute, whatever a text from outside contains.
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{markup(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#main">Skip to the content</a>\n'
    )
    end = (
        f"<footer>\n<p>{markup(foot)}</p>\n</footer>\n<script>{script}</script>\n</body>\n</html>\n"
    )
    return head + "".join(body) + end


def section(title: str, body: Iterable[str], *, id: str) -> str:
    """A region with a heading; empty if it has no content."""
    content = "".join(body)
    if not content:
        return ""
    return (
        f'<section aria-labelledby="{id}">\n<h2 id="{id}">{markup(title)}</h2>\n'
        f"{content}</section>\n"
    )


def table(headers: Iterable[str], rows: Iterable[Iterable[str]], *, text: frozenset[int]) -> str:
    """A table of texts; the columns in `text` are aligned left, and the first one heads its row."""
    # Numbers are aligned right, and are the default.
    styles = dict.fromkeys(text, ' class="text"')
    heads = ""
    for at, header in enumerate(headers):
        heads += f'<th scope="col"{styles.get(at, "")}>{markup(header)}</th>'
    lines = []
    for row in rows:
        first, *others = row
        cells = f'<th scope="row">{markup(first)}</th>'
        for at, cell in enumerate(others, 1):
            cells += f"<td{styles.get(at, '')}>{markup(cell)}</td>"
        lines.append(f"<tr>{cells}</tr>\n")
    # A region that scrolls needs a tab stop and a name, for people who use the keyboard.
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="Table"><table class="numbers">'
        f"<thead><tr>{heads}</tr></thead>\n"
        f"<tbody>\n{''.join(lines)}</tbody></table></div>\n"
    )


@cache
def _asset(name: str) -> str:
    return files(_HERE).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
