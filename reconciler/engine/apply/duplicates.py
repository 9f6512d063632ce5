"""Reports duplicates after an apply: objects that another run has created at the same time.

Two runs with copies of one state do not see each other. Both succeed, and leave two objects with
the same mark. So the first page of each list is read once more, and a second object with the same
mark is reported in the outcome.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from reconciler.engine.ownership import Ownership
from reconciler.engine.scope import Scope
from reconciler.errors import ReconcilerError
from reconciler.model.change import Action, Outcome, OutcomeStatus
from reconciler.model.kind import Kind, TerminalState
from reconciler.model.provider import LiveWriter
from reconciler.model.resource import LiveObject

LOG = logging.getLogger("reconciler.engine")


def note_duplicates(
    outcomes: Sequence[Outcome],
    writer: LiveWriter,
    kinds: Mapping[str, Kind],
    ownership: Ownership,
) -> list[Outcome]:
    """The outcomes, with a note on each whose object has a duplicate with the same mark."""
    # One list per scope and not one read per object: a first apply creates thousands.
    created: dict[Scope, set[str]] = defaultdict(set)
    for outcome in outcomes:
        if _has_created_marked(outcome, kinds):
            # The object that a replacement left behind for now belongs to this stack as well.
            scope = _scope(outcome, kinds)
            created[scope] |= {id for id in (outcome.id, outcome.change.id) if id}
    by_mark: dict[str, list[LiveObject]] = defaultdict(list)
    # Another run can have created the same object between our last list and our call. Neither run
    # can prevent that, because the API has no conditional create; so it is reported after the fact.
    for scope, ids in created.items():
        for live in _other_marked(writer, kinds[scope.kind], scope, ids):
            by_mark[live.mark or ""].append(live)
    noted = []
    for outcome in outcomes:
        duplicates = by_mark.get(ownership.mark(outcome.change.address), ())
        if duplicates and _has_created_marked(outcome, kinds):
            outcome = _with_note(outcome, duplicates)
        noted.append(outcome)
    return noted


def _has_created_marked(outcome: Outcome, kinds: Mapping[str, Kind]) -> bool:
    kind = kinds[outcome.change.address.kind]
    is_create = outcome.change.action in (Action.CREATE, Action.REPLACE)
    if not is_create or outcome.status is not OutcomeStatus.APPLIED or outcome.id is None:
        return False
    # Jobs are left out, because two jobs of the same inputs are legitimate.
    return kind.mark is not None and kind.job is None and kind.calls.listable


def _scope(outcome: Outcome, kinds: Mapping[str, Kind]) -> Scope:
    address = outcome.change.address
    parent, _ = kinds[address.kind].parent_and_id(outcome.id or "")
    return Scope(address.kind, address.project, parent)


def _other_marked(
    writer: LiveWriter, kind: Kind, scope: Scope, ids: set[str]
) -> Iterator[LiveObject]:
    """The marked objects of a scope that this run has not created; none if the list fails."""
    try:
        # The newest page suffices: a duplicate is about as old as the object of this run.
        newest = writer.newest(kind, scope.project, scope.parent)
    except ReconcilerError as error:
        # A failed check must not turn a successful apply into a failure.
        LOG.warning(
            "%s: it was not possible to look for objects made by another run: %s", scope.kind, error
        )
        return
    for live in newest:
        # Archived objects stay in lists, and their marks with them.
        is_gone = kind.terminal_state(live.attributes) is TerminalState.GONE
        if live.mark is not None and live.id not in ids and not is_gone:
            yield live


def _with_note(outcome: Outcome, duplicates: Sequence[LiveObject]) -> Outcome:
    ids = ", ".join(sorted(live.id for live in duplicates))
    note = (
        f"{ids} carries the mark of {outcome.change.address} too: another run made it at the same "
        f"time, or the metadata was copied. Keep one, and delete the other or remove the mark from "
        f"its metadata."
    )
    return replace(outcome, notes=(*outcome.notes, note))
