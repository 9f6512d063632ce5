"""Fits sections into a comment of limited size, and counts those left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from reconciler.model.change import Action
from reconciler.render.values import count

COMMENT_LIMIT = 65_536
"""The largest comment GitHub accepts, in characters."""

_NOTE_ROOM = 300


class Section(NamedTuple):
    """A part that is shown whole or left out; rendered lazily, only while there is room.

    `what` names it in the note about omissions: a countable noun, or several words for a unique
    part.
    """

    render: Callable[[], str]
    what: str
    action: Action | None = None


def assemble(head: str, sections: Sequence[Section], foot: str, command: str, limit: int) -> str:
    """Head, the sections that fit, foot, and a last line about the others.

    `command` is what shows everything, as in "run … to see everything".
    """
    room = limit - len(head) - len(foot)
    shown: list[str] = []
    fitting = 0
    for section in sections:
        shown.append(section.render())
        room -= len(shown[-1]) + 1
        if room < 0:
            return head + _joined(shown[:fitting]) + foot + _note(sections, fitting, command)
        if room >= _NOTE_ROOM:
            fitting = len(shown)
    return head + _joined(shown) + foot


def _joined(texts: Sequence[str]) -> str:
    """The sections in order, with a blank line after the end of a list."""
    joined = ""
    for before, text in zip(["", *texts], texts, strict=False):
        ends_list = before.startswith("- ") and not text.startswith("- ")
        joined += ("\n" if ends_list else "") + text
    return joined


def _note(sections: Sequence[Section], fitting: int, command: str) -> str:
    missing = sections[fitting:]
    parts = []
    for what in dict.fromkeys(section.what for section in missing):
        cut = sum(section.what == what for section in missing)
        total = sum(section.what == what for section in sections)
        named = f"the {what}" if " " in what else f"{cut:,} of {count(total, what)}"
        parts.append(named + _by_action([section for section in missing if section.what == what]))
    verb = "is" if len(missing) == 1 else "are"
    return f"\n{' and '.join(parts)} {verb} not shown; run {command} to see everything.\n"


def _by_action(sections: Sequence[Section]) -> str:
    actions = [section.action for section in sections if section.action is not None]
    parts = [f"{actions.count(action):,} to {action}" for action in Action if action in actions]
    return f" ({', '.join(parts)})" if parts else ""
