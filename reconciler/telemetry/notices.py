"""Announces changes of state, once each: states that began or ended since a target's last message.

A message is sent first and remembered afterwards. So it reaches each target at least once: if the
answer of a target is lost, or the process dies in between, the next run sends it again. A target
that cannot be reached gets the events that it missed with the next run; the others do not get them
twice.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from reconciler.model.fleet import StackId, StackResult
from reconciler.render.escape import chat
from reconciler.telemetry.topics import (
    Event,
    Sighting,
    Topic,
    events_between,
    sighting_of,
    stack_key,
    states_after,
)

MAX_LINES = 20
MAX_CHARACTERS = 1_700
"""Chats cut or refuse longer messages; the strictest common one takes 2,000."""
_LONGEST_TEXT = 160

_TITLES = {
    (Topic.FAILED, False): "failed",
    (Topic.REFUSED, False): "refused",
    (Topic.APPROVAL, False): "waiting for approval",
    (Topic.DRIFT, False): "drifted",
    (Topic.OVERDUE, False): "with overdue keys",
    (Topic.FAILED, True): "working again",
    (Topic.DRIFT, True): "without drift again",
}


class NoticeSeverity(StrEnum):
    """How a target shows a notice."""

    FAILURE = "failure"
    WARNING = "warning"
    SUCCESS = "success"


class Notice(Struct, frozen=True):
    """A message, safe to show in any chat."""

    title: str
    body: str
    severity: NoticeSeverity


class NoticeMemory(Protocol):
    """Remembers which states were announced to a target, beyond the end of the process.

    Stacks are named by `topics.stack_key`. States without topics need not be kept.
    """

    def announced(self, target: str) -> Mapping[str, Mapping[str, str]]:
        """The announced topics of each stack, and their cases."""

    def announce(self, target: str, states: Mapping[str, Mapping[str, str]]) -> None:
        """Replace the states of some stacks. They are kept once this returns."""


class Target(Protocol):
    """A destination of messages."""

    @property
    def id(self) -> str:
        """A stable name of the target, without any secret."""

    def send(self, notice: Notice) -> bool:
        """Deliver a message; False where that is uncertain. Takes seconds at most."""


class Announcer:
    """Collects results of stacks, and announces the states that changed.

    `link` is the address of the run. `redact` removes secrets. `on_sent` hears whether a message
    was delivered.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        memory: NoticeMemory,
        *,
        redact: Callable[[str], str],
        link: str = "",
        on_sent: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._targets = targets
        self._memory = memory
        self._redact = redact
        self._link = link
        self._on_sent = on_sent
        self._seen: dict[str, list[Sighting]] = {}
        self._lock = threading.Lock()

    def add(self, result: StackResult) -> None:
        """Add a result. Safe to use from threads."""
        seen = sighting_of(result)
        with self._lock:
            self._seen.setdefault(stack_key(result.id), []).append(seen)

    def announce(self) -> int:
        """Send at most one message to each target; the number of targets that were not reached.

        Raises the errors of the memory.
        """
        with self._lock:
            round, self._seen = self._seen, {}
        # To read the memory costs a request for each target.
        if not round:
            return 0
        return sum(not self._notify(target, round) for target in self._targets)

    def _notify(self, target: Target, round: Mapping[str, Sequence[Sighting]]) -> bool:
        announced = self._memory.announced(target.id)
        events: list[Event] = []
        states: dict[str, dict[str, str]] = {}
        for key, sightings in round.items():
            before = _known_topics(announced.get(key, {}))
            after, texts = before, dict[Topic, str]()
            # A stack may have run several times since. Its states are those after the last run.
            for seen in sightings:
                after = states_after(after, seen)
                texts |= seen.texts
            if after != before:
                states[key] = {topic.value: case for topic, case in after.items()}
                events += events_between(before, after, sightings[0].id, texts)
        if events:
            delivered = target.send(notice_of(events, redact=self._redact, link=self._link))
            self._on_sent(delivered)
            # Nothing is remembered, so the next round sends the same events again.
            if not delivered:
                return False
        if states:
            self._memory.announce(target.id, states)
        return True


def notice_of(events: Sequence[Event], *, redact: Callable[[str], str], link: str = "") -> Notice:
    """One message about many events, worst first."""
    ordered = sorted(events, key=lambda event: (event.is_over, event.topic.rank, event.id))
    counts = Counter(_TITLES[(event.topic, event.is_over)] for event in ordered)
    parts = [f"{number} {title}" for title, number in counts.items()]
    lines = [_line(event, redact) for event in ordered[:MAX_LINES]]
    footer = []
    if link:
        footer.append(f"Run: {link}")
    # The longest end of a shortened list is counted, so that it always fits.
    room = MAX_CHARACTERS - sum(len(line) + 1 for line in footer) - len("… and 10,000 more")
    kept: list[str] = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    left = len(ordered) - len(kept)
    if left:
        kept.append(f"… and {left:,} more")
    return Notice(
        f"reconciler: {', '.join(parts)}", "\n".join([*kept, *footer]), _severity(ordered)
    )


def _line(event: Event, redact: Callable[[str], str]) -> str:
    title = _TITLES[(event.topic, event.is_over)]
    # Redacted before it is cut, so that no cut leaves half a key.
    text = redact(event.text)
    if len(text) > _LONGEST_TEXT:
        text = f"{text[: _LONGEST_TEXT - 1]}…"
    name = redact(_name(event.id))[:_LONGEST_TEXT]
    line = f"{chat(name)}: {title}"
    if text:
        line += f" – {chat(text)}"
    return line


def _name(id: StackId) -> str:
    name = id.folder
    # A stack alone has no folder to tell it from others.
    if name == ".":
        name = id.name or "."
    # A stack without environments has the one of this name.
    if id.environment in ("", "default"):
        return name
    return f"{name} ({id.environment})"


def _severity(events: Sequence[Event]) -> NoticeSeverity:
    if all(event.is_over for event in events):
        return NoticeSeverity.SUCCESS
    if any(event.topic is Topic.FAILED and not event.is_over for event in events):
        return NoticeSeverity.FAILURE
    return NoticeSeverity.WARNING


def _known_topics(states: Mapping[str, str]) -> dict[Topic, str]:
    """The states as remembered, without topics of other versions of this program."""
    return {topic: states[topic] for topic in Topic if topic in states}
