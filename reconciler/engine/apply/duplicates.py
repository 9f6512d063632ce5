"""A last look after an apply: whether somebody else made the same objects at the same time.

Two runs with copies of one state do not see each other. Both succeed, and both leave an object with the same mark. So
the newest objects of each list are read once more, and a second object with the same mark is reported with the outcome.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from reconciler.engine.binding.matcher import Ownership
from reconciler.engine.refresh.reader import Scope
from reconciler.errors import ReconcilerError
from reconciler.model.change import Action, Outcome, OutcomeStatus
from reconciler.model.kind import Kind, TerminalState
from reconciler.model.provider import Provider
from reconciler.model.resource import LiveObject

LOG = logging.getLogger("reconciler.engine")


def with_twins(
    outcomes: Sequence[Outcome], provider: Provider, kinds: Mapping[str, Kind], ownership: Ownership
) -> list[Outcome]:
    """The outcomes, each with a note where another object carries the mark of the object that it made."""
    made: dict[Scope, set[str]] = defaultdict(set)
    for outcome in outcomes:
        if _made_marked(outcome, kinds):
            # What a replacement has left behind for now is ours too.
            made[_place(outcome, kinds)] |= {id for id in (outcome.id, outcome.change.id) if id}
    marked: dict[str, list[LiveObject]] = defaultdict(list)
    for place, ids in made.items():
        for live in _others(provider, kinds[place.kind], place, ids):
            marked[live.mark or ""].append(live)
    return [
        _noted(outcome, marked.get(ownership.mark(outcome.change.address), ()))
        if _made_marked(outcome, kinds)
        else outcome
        for outcome in outcomes
    ]


def _made_marked(outcome: Outcome, kinds: Mapping[str, Kind]) -> bool:
    kind = kinds[outcome.change.address.kind]
    is_made = outcome.change.action in (Action.CREATE, Action.REPLACE) and outcome.status is OutcomeStatus.APPLIED
    return is_made and outcome.id is not None and kind.mark is not None and kind.job is None and kind.calls.listable


def _place(outcome: Outcome, kinds: Mapping[str, Kind]) -> Scope:
    address = outcome.change.address
    return Scope(address.kind, address.project, kinds[address.kind].parent_and_id(outcome.id or "")[0])


def _others(provider: Provider, kind: Kind, place: Scope, ids: set[str]) -> Iterator[LiveObject]:
    """The marked objects of a place that this run has not made; none where the list cannot be read."""
    try:
        listed = provider.newest(kind, place.project, place.parent)
    except ReconcilerError as error:
        LOG.warning("%s: it was not possible to look for objects made by another run: %s", place.kind, error)
        return
    for live in listed:
        if (
            live.mark is not None
            and live.id not in ids
            and kind.terminal_state(live.attributes) is not TerminalState.GONE
        ):
            yield live


def _noted(outcome: Outcome, others: Sequence[LiveObject]) -> Outcome:
    if not others:
        return outcome
    ids = ", ".join(sorted(live.id for live in others))
    note = (
        f"{ids} carries the mark of {outcome.change.address} too: another run made it at the same time, or the "
        f"metadata was copied. Keep one, and delete the other or remove the mark from its metadata."
    )
    return replace(outcome, notes=(*outcome.notes, note))
