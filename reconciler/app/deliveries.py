"""What the state knows of delivered keys: receipts, and deliveries without a recorded outcome."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reconciler.model.address import Address
from reconciler.model.provider import DELIVER
from reconciler.state import StateStore
from reconciler.state.journal import EntryStatus


def delivered(store: StateStore) -> Iterator[tuple[Address, Any]]:
    """The receipts of each address: of its record, and of deliveries in changes that did not end."""
    for address, record in store.records().items():
        yield address, record.delivered
    for change in store.runs.unfinished():
        for step in change.steps:
            if step.name == DELIVER:
                yield change.address, step.result


def begun_deliveries(store: StateStore) -> Iterator[tuple[Address, Any]]:
    """The targets of deliveries without a recorded outcome, each with its address."""
    for change in store.runs.unfinished():
        for step in change.steps:
            if step.name == DELIVER and step.status is EntryStatus.BEGUN:
                yield change.address, step.intent.get("target")
