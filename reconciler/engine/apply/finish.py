"""Records a write of any action."""

from __future__ import annotations

from typing import Any

from reconciler.engine.apply.context import ActionContext, StepResult
from reconciler.model.change import Change
from reconciler.model.provider import Written
from reconciler.model.resource import SEEN, Record
from reconciler.state import ChangeJournal

_LONGEST_VALUE = 60
"""The most characters of a value in a note."""


def finish_write(
    change: Change,
    record: Record,
    written: Written,
    context: ActionContext,
    journal: ChangeJournal,
) -> StepResult:
    """Record a write, and end its change in the journal: both in one transaction."""
    # Steps that wait for this one start as soon as it returns, so all lookups must be in place
    # before.
    if context.kind_of(change).defines_project:
        context.reader.bind_project(change.address.name, written.live.id)
        context.records.bind_project(change.address.name, written.live.id)
    context.references.remember(change, written.live)
    context.records.put(record)
    # Last: once the entry is closed, no later run searches for the object.
    journal.finish(record)
    notes = list(written.notes)
    # The server may keep another value than the one sent. The next plan expects that value.
    for name, value in record.answered.items():
        if name != SEEN:
            notes.append(f"{name}: the API keeps {_short(value)}, not what was asked")
    return StepResult(record.id, tuple(notes), written.refused)


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    if len(text) > _LONGEST_VALUE:
        text = text[: _LONGEST_VALUE - 3] + "…"
    return text
