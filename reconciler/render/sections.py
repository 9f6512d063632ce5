"""Fits a report into the space of a host: in full, then by project, then as counts.

A section is shown in full, in one line, or only counted, and never cut in the middle, so code
blocks and folded parts are always closed. Critical sections keep their full form longest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from reconciler.model.change import Action
from reconciler.render.values import Entry, count, enclosed, grouped, tally

COMMENT_LIMIT = 65_536
"""The largest comment GitHub accepts, in characters."""

# The longest note, without its list of places where everything is.
_NOTE_ROOM = 900
_MOST_MISSES = 5
_LEAST = 2_500
# The markup and the number of a heading.
_GROUP_ROOM = 80


class SizeLimit(NamedTuple):
    """The most that a host accepts, in its unit. No limit means that everything is shown."""

    limit: int | None
    measure: Callable[[str], int]

    @classmethod
    def in_characters(cls, limit: int) -> SizeLimit:
        """A number of characters, counted as hosts written in JavaScript do: in UTF-16 units."""
        return cls(limit, _utf16_units)

    @classmethod
    def in_bytes(cls, limit: int) -> SizeLimit:
        """A number of bytes of UTF-8."""
        return cls(limit, _utf8_bytes)

    @classmethod
    def unlimited(cls) -> SizeLimit:
        """Everything is shown."""
        return cls(None, len)

    @property
    def is_too_small(self) -> bool:
        """Whether not even the counts of a plan would fit."""
        return self.limit is not None and self.limit < _LEAST


class Section(NamedTuple):
    """A part of a report; rendered lazily, only while there is room.

    `noun` names it in the note about omissions: a countable noun, or several words for a unique
    part. `line` is its short form, a list item below the heading `group`, which is HTML.
    """

    render: Callable[[], str]
    noun: str
    action: Action | None = None
    line: Callable[[], str] | None = None
    group: str = ""
    is_critical: bool = False


class Frame(NamedTuple):
    """The text before and after the sections, which is always shown.

    `command` shows everything, and `whole` names the places that have everything already.
    """

    head: str
    foot: str
    command: str
    whole: tuple[str, ...] = ()


def sections_of(
    entries: Iterable[Entry], render: Callable[[Entry], str], noun: str
) -> list[Section]:
    """A section for each entry, which `render` makes."""
    return [Section(partial(render, entry), noun) for entry in entries]


def assemble(head: str, sections: Sequence[Section], foot: str, command: str, limit: int) -> str:
    """As `fitted`, with a limit in characters. `command` shows everything."""
    return fitted(Frame(head, foot, command), sections, SizeLimit.in_characters(limit))


def fitted(frame: Frame, sections: Sequence[Section], budget: SizeLimit) -> str:
    """The head, the sections in the longest form that fits, the foot, and a note about the rest."""
    if budget.limit is None:
        texts = [section.render() for section in sections]
        return frame.head + _joined(texts) + frame.foot
    fitting = _Fitting(sections, budget, frame)
    note = enclosed("\n", fitting.note(), "\n")
    return frame.head + _joined(fitting.texts()) + frame.foot + note


class _Fitting:
    """Chooses the form of each section: critical ones first, then in order."""

    def __init__(self, sections: Sequence[Section], budget: SizeLimit, frame: Frame) -> None:
        self._sections = sections
        self._measure = budget.measure
        self._frame = frame
        limit = budget.limit or 0
        self._room = limit - self._measure(frame.head) - self._measure(frame.foot)
        self._full: dict[int, str] = {}
        self._lines: dict[int, str] = {}
        self._choose()

    def texts(self) -> list[str]:
        """The sections in full, in order, then the others by group."""
        texts = [self._full[at] for at in sorted(self._full)]
        return [*texts, *_grouped(self._sections, self._lines)]

    def note(self) -> str:
        """The numbers of shortened and omitted sections, and the places with the full report."""
        shown = {*self._full, *self._lines}
        shortened = [self._sections[at] for at in self._lines]
        missing = [section for at, section in enumerate(self._sections) if at not in shown]
        if not shortened and not missing:
            return ""
        sentences = []
        if shortened:
            sentences.append(f"{_named(shortened, self._sections)} shown in one line each.")
        if missing:
            sentences.append(f"{_named(missing, self._sections)} not shown.")
        return " ".join([*sentences, self._where()])

    def _where(self) -> str:
        if not self._frame.whole:
            return f"Run {self._frame.command} to see everything."
        return f"Everything is in {' and '.join(self._frame.whole)}."

    def _choose(self) -> None:
        if self._all_fit():
            return
        self._full.clear()
        self._room -= _NOTE_ROOM + self._measure(self._where())
        positions = range(len(self._sections))
        parts = grouped(positions, lambda at: self._sections[at].is_critical)
        self._fit(parts.get(True, []))
        self._fit(parts.get(False, []))

    def _all_fit(self) -> bool:
        room = self._room
        for at, section in enumerate(self._sections):
            text = section.render()
            room -= self._measure(text) + 1
            if room < 0:
                return False
            self._full[at] = text
        return True

    def _fit(self, part: Sequence[int]) -> None:
        """Give each section one line if all lines fit, then full forms from what is left."""
        costs = self._with_lines(part)
        for at in part:
            if at not in costs and self._sections[at].line is None:
                self._show(at, 0)
        misses = 0
        for at in part:
            if at in costs and not self._show(at, costs[at]):
                misses += 1
                # Do not render sections that will not fit.
                if misses == _MOST_MISSES:
                    break

    def _with_lines(self, part: Sequence[int]) -> dict[int, int]:
        """Choose the short forms that fit; the size of each, without the heading of its group."""
        chosen: dict[int, int] = {}
        groups: set[str] = set()
        for at in part:
            section = self._sections[at]
            if section.line is None:
                continue
            text = section.line()
            cost = self._measure(text) + 1
            heading = 0
            if section.group not in groups:
                heading = self._measure(section.group) + _GROUP_ROOM
            # The first that does not fit ends it, so that only the end of the list is missing.
            if self._room - cost - heading < 0:
                break
            groups.add(section.group)
            chosen[at] = cost
            self._lines[at] = text
            self._room -= cost + heading
        return chosen

    def _show(self, at: int, saved: int) -> bool:
        """Show a section in full, if there is room; `saved` is the size of its short form."""
        text = self._sections[at].render()
        cost = self._measure(text) + 1 - saved
        if cost > self._room:
            return False
        self._room -= cost
        self._full[at] = text
        self._lines.pop(at, None)
        return True


def _grouped(sections: Sequence[Section], lines: dict[int, str]) -> Iterator[str]:
    ordered = sorted(lines, key=lambda at: not sections[at].is_critical)
    groups = grouped(ordered, lambda at: (sections[at].is_critical, sections[at].group))
    for (is_critical, group), positions in groups.items():
        opening = "<details>"
        # Destructive changes are never folded.
        if is_critical:
            opening = "<details open>"
        summary = f"{group}: {count(len(positions), 'entry', 'entries')}"
        body = "".join(lines[at] for at in positions)
        yield f"{opening}<summary>{summary}</summary>\n\n{body}\n</details>\n\n"


def _joined(texts: Sequence[str]) -> str:
    """The sections in order, with a blank line after the end of a list."""
    parts: list[str] = []
    before = ""
    for text in texts:
        if before.startswith("- ") and not text.startswith("- "):
            parts.append("\n")
        parts.append(text)
        before = text
    return "".join(parts)


def _named(chosen: Sequence[Section], all_sections: Sequence[Section]) -> str:
    totals = Counter(section.noun for section in all_sections)
    parts = []
    for noun, own in grouped(chosen, lambda section: section.noun).items():
        named = f"the {noun}"
        if " " not in noun:
            named = f"{len(own):,} of {count(totals[noun], noun)}"
        parts.append(named + _by_action(own))
    text = " and ".join(parts)
    verb = "are"
    if len(chosen) == 1:
        verb = "is"
    return f"{text[:1].upper()}{text[1:]} {verb}"


def _by_action(sections: Sequence[Section]) -> str:
    counts = dict.fromkeys(Action, 0)
    for section in sections:
        if section.action is not None:
            counts[section.action] += 1
    return enclosed(" (", ", ".join(tally(counts, "to ")), ")")


def _utf16_units(text: str) -> int:
    if text.isascii():
        return len(text)
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _utf8_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
