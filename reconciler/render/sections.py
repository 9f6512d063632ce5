"""Fitting sections into a comment of a limited size, and saying what did not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from reconciler.model.change import Action
from reconciler.render.values import count

COMMENT_LIMIT = 65_536
"""What GitHub takes as a comment, in characters."""

_NOTE_ROOM = 300


class Section(NamedTuple):
    """A part that is shown whole or not at all, and only rendered where there is room.

    `what` names it where it is left out: a noun by which such parts are counted, or several words for the only one.
    """

    render: Callable[[], str]
    what: str
    action: Action | None = None


def assemble(head: str, sections: Sequence[Section], foot: str, command: str, limit: int) -> str:
    """Head, as many sections as fit, foot; where some do not fit, a last line that says which and where they are."""
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
    """The sections one after the other, a blank line after the last item of a list."""
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
        parts.append(named + _by_action([item for item in missing if item.what == what]))
    verb = "is" if len(missing) == 1 else "are"
    return f"\n{' and '.join(parts)} {verb} not shown; run {command} for all.\n"


def _by_action(sections: Sequence[Section]) -> str:
    actions = [section.action for section in sections if section.action is not None]
    parts = [f"{actions.count(action):,} to {action}" for action in Action if action in actions]
    return f" ({', '.join(parts)})" if parts else ""
