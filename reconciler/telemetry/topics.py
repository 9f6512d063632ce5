"""The states of a stack that are announced, and when each begins or ends.

A run shows only some states: a plan shows drift, but not whether a failed apply would work now. A
state that a run does not show stays as announced.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from enum import StrEnum

from msgspec import Struct

from reconciler.model.fleet import Command, StackId, StackResult, StackStatus
from reconciler.telemetry.figures import StackReading, reading_of, unapplied_addresses

_MOST_REMEMBERED = 200
_HASH_LENGTH = 8
_MOST_NAMED = 3
_AWAITS_APPROVAL = ("ApprovalMissing", "ApprovalOutdated", "AwaitingApproval", "PlanStale")
_NOT_RUN = ("DependencyNotApplied", "TooManyFailures")
_SETTLED = (StackStatus.IN_SYNC, StackStatus.APPLIED)
_SAYS_NOTHING = (StackStatus.FAILED, StackStatus.LOCKED, StackStatus.INTERRUPTED)
"""Statuses that do not show that anything has ended."""

States = Mapping["Topic", str]
"""The announced topics of a stack, each with the identity of its present case."""


class Topic(StrEnum):
    """A state that people are notified of, worst first."""

    FAILED = "failed"
    REFUSED = "refused"
    APPROVAL = "approval"
    DRIFT = "drift"
    OVERDUE = "overdue"

    @property
    def rank(self) -> int:
        """The position from the worst topic on."""
        return list(Topic).index(self)


class Event(Struct, frozen=True):
    """A state of a stack that began, or ended."""

    id: StackId
    topic: Topic
    text: str = ""
    """Details for the message. Untrusted."""
    is_over: bool = False


class Sighting(Struct, frozen=True):
    """The states of a stack that a run showed. Kept instead of a plan, which takes megabytes."""

    id: StackId
    command: Command
    status: StackStatus
    has_run: bool
    """Whether the stack was run at all."""
    has_read_all: bool
    """Whether all of its live objects were read."""
    shown: Mapping[Topic, str]
    """The states that it is in, each with the identity of its case."""
    texts: Mapping[Topic, str]
    """Details about each, for the message."""


def sighting_of(result: StackResult) -> Sighting:
    """The states that the result of a run shows."""
    reading = reading_of(result)
    shown = _shown(result, reading)
    return Sighting(
        result.id,
        result.command,
        result.status,
        has_run=result.reason not in _NOT_RUN,
        has_read_all=reading is not None,
        shown=shown,
        texts={topic: _text(topic, result, reading) for topic in shown},
    )


def stack_key(id: StackId) -> str:
    """The name of a stack in the memory of notices."""
    # Names of folders can be any bytes, and the memory takes text.
    return str(id).encode("utf-8", "backslashreplace").decode()


def states_after(before: States, seen: Sighting) -> dict[Topic, str]:
    """The states of a stack after a run, by those before and what the run showed."""
    after = dict(seen.shown)
    for topic, case in before.items():
        if topic not in after:
            if not _ends(topic, case, seen):
                after[topic] = case
        elif topic is Topic.FAILED and _reason(case) == _reason(after[topic]):
            # Only the command that failed can show that the failure is over.
            after[topic] = case
    return after


def events_between(
    before: States, after: States, id: StackId, texts: Mapping[Topic, str]
) -> Iterable[Event]:
    """The states that began or ended."""
    for topic in Topic:
        if topic in after:
            if _is_news(topic, before.get(topic), after[topic]):
                yield Event(id, topic, texts.get(topic, ""))
        # A refusal, a wait for approval and an overdue key end without a notice: somebody has acted
        # on them.
        elif topic in before and topic in (Topic.FAILED, Topic.DRIFT):
            yield Event(id, topic, is_over=True)


def _shown(result: StackResult, reading: StackReading | None) -> dict[Topic, str]:
    """The states that a run shows."""
    if result.reason in _NOT_RUN:
        return {}
    shown: dict[Topic, str] = {}
    if result.status is StackStatus.FAILED:
        shown[Topic.FAILED] = f"{result.command}:{result.reason}"
    elif result.reason in _AWAITS_APPROVAL:
        shown[Topic.APPROVAL] = result.digest
    elif result.status is StackStatus.REFUSED:
        shown[Topic.REFUSED] = f"{result.command}:{result.digest}"
    if reading is not None and reading.drifted:
        shown[Topic.DRIFT] = _addresses(drifted_addresses(result))
    if reading is not None and reading.keys_overdue:
        shown[Topic.OVERDUE] = str(reading.keys_overdue)
    return shown


def _ends(topic: Topic, case: str, seen: Sighting) -> bool:
    """Whether a run that does not show a state shows that it has ended."""
    if not seen.has_run or not seen.has_read_all:
        return False
    if topic in (Topic.DRIFT, Topic.OVERDUE):
        return True
    if seen.status in _SETTLED:
        return True
    if seen.status in _SAYS_NOTHING:
        return False
    command = case.partition(":")[0]
    if topic is Topic.REFUSED:
        # Guards judge plans as they judge applies. Only policies over live objects judge drift.
        return seen.command is not Command.DRIFT or command == Command.DRIFT
    if topic is Topic.FAILED:
        # A plan does not show whether the apply that failed would work now.
        return seen.command is Command.APPLY or command != Command.APPLY
    return seen.command is Command.APPLY


def _reason(case: str) -> str:
    return case.partition(":")[2]


def _is_news(topic: Topic, before: str | None, after: str) -> bool:
    if before is None:
        return True
    # Drift that shrinks deserves no notice.
    if topic is Topic.DRIFT:
        return not set(after.split()) <= set(before.split())
    # The page that the notice links to reports keys that join others.
    return topic is not Topic.OVERDUE and before != after


def drifted_addresses(result: StackResult) -> list[str]:
    """The addresses whose objects somebody changed, without those that an apply has set right."""
    if result.plan is None:
        return []
    drifted = [drift.address for drift in result.plan.drift if drift.is_changed]
    if result.result is not None:
        unapplied = unapplied_addresses(result.result)
        drifted = [address for address in drifted if address in unapplied]
    return list(map(str, drifted))


def _addresses(addresses: list[str]) -> str:
    """Short hashes of addresses, bounded, so that later drift can be compared with it."""
    hashes = sorted(_hash(address) for address in addresses)
    # Then any change of the set deserves a notice, because the parts cannot be compared.
    if len(hashes) > _MOST_REMEMBERED:
        return _hash(" ".join(hashes))
    return " ".join(hashes)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]


def _text(topic: Topic, result: StackResult, reading: StackReading | None) -> str:
    match topic:
        case Topic.DRIFT:
            addresses = drifted_addresses(result)
            named = ", ".join(addresses[:_MOST_NAMED])
            rest = len(addresses) - _MOST_NAMED
            if rest > 0:
                named += f" and {rest} more"
            return named
        case Topic.OVERDUE:
            number = 0
            if reading is not None:
                number = reading.keys_overdue
            return "1 key" if number == 1 else f"{number} keys"
        case Topic.APPROVAL:
            return f"plan {result.digest}"
        case Topic.REFUSED if result.plan is not None and result.plan.refusals:
            return result.plan.refusals[0]
    return result.message.partition("\n")[0] or result.reason
