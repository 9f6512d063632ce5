"""Deliveries of interrupted runs as a table: journal and record in, the current keys of the record out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from reconciler.engine.binding.deliveries import (
    JournaledDelivery,
    journaled_deliveries,
    with_deliveries,
)
from reconciler.kinds import ALL_KINDS
from reconciler.model.change import Action
from reconciler.model.provider import CREATE, DELIVER
from reconciler.model.resource import Record
from reconciler.state import EntryStatus, JournalEntry
from tests.engine.tables import NOW, at, recorded

ACCOUNT = "ServiceAccount/search/ci"
"""A resource with keys of its own."""
KEY = "AdminKey/ci"
"""A resource that is a key itself, so a delivery makes another object."""

DELIVERED = {"key_id": "key_1", "target": {"file": "ci.key"}, "made_at": NOW - 900}


def step(
    status: EntryStatus = EntryStatus.DONE,
    *,
    name: str = DELIVER,
    id: str | None = "key_2",
    intent: Mapping[str, Any] | None = None,
    result: Mapping[str, Any] | None = None,
    ended_at: float | None = NOW - 10,
) -> JournalEntry:
    """One step of a change that began half a minute ago."""
    return JournalEntry(
        2,
        1,
        at(ACCOUNT),
        name,
        intent or {},
        status,
        id,
        result or {},
        "",
        began_at=NOW - 30,
        ended_at=ended_at,
    )


def change(*steps: JournalEntry, action: str = Action.UPDATE) -> JournalEntry:
    """An unfinished change of the account."""
    return JournalEntry(
        1,
        1,
        at(ACCOUNT),
        action,
        {},
        EntryStatus.BEGUN,
        None,
        {},
        "",
        began_at=NOW - 60,
        ended_at=None,
        steps=steps,
    )


class JournalRow(NamedTuple):
    """One unfinished change, and its deliveries as (key, time, whether it is done)."""

    what: str
    entry: JournalEntry
    deliveries: Sequence[tuple[str | None, float, bool]]


JOURNAL_ROWS = [
    JournalRow("a delivery that was confirmed", change(step()), [("key_2", NOW - 10, True)]),
    JournalRow(
        "a delivery without an outcome counts from its begin",
        change(step(EntryStatus.BEGUN, ended_at=None)),
        [("key_2", NOW - 30, False)],
    ),
    JournalRow("a delivery that failed did not happen", change(step(EntryStatus.FAILED)), []),
    JournalRow("another step is no delivery", change(step(name=CREATE)), []),
    JournalRow(
        "a delivery of a create belongs to an object without a record",
        change(step(), action=Action.CREATE),
        [],
    ),
    JournalRow(
        "a step without an id names the key in its intent",
        change(step(id=None, intent={"id": "key_3"})),
        [("key_3", NOW - 10, True)],
    ),
    JournalRow(
        "the result knows the key better than the step",
        change(step(result={"key_id": "key_4"})),
        [("key_4", NOW - 10, True)],
    ),
    JournalRow(
        "two deliveries of one change",
        change(step(), step(id="key_3")),
        [("key_2", NOW - 10, True), ("key_3", NOW - 10, True)],
    ),
]


@pytest.mark.parametrize("row", JOURNAL_ROWS, ids=lambda row: row.what)
def test_the_journal_tells_which_keys_were_delivered(row: JournalRow) -> None:
    deliveries = journaled_deliveries([row.entry]).get(at(ACCOUNT), ())
    shown = [(delivery.key.get("key_id"), delivery.at, delivery.is_done) for delivery in deliveries]
    assert shown == row.deliveries


def delivery(key_id: str, *, is_done: bool) -> JournaledDelivery:
    return JournaledDelivery({"key_id": key_id, "target": {"file": "ci.key"}}, NOW, is_done)


class RecordRow(NamedTuple):
    """A record, the deliveries of its address, and its ids and keys afterwards."""

    what: str
    record: Record
    deliveries: Sequence[JournaledDelivery]
    id: str
    current: str | None
    previous: Sequence[str] = ()
    deposed: Sequence[str] = ()
    is_open: bool = False


def account(**delivered: Any) -> Record:
    return recorded(ACCOUNT, "sa_1", delivered={"key": delivered} if delivered else {})


ADMIN_KEY = recorded(KEY, "key_1", delivered={"key": DELIVERED})

RECORD_ROWS = [
    RecordRow(
        "a confirmed key replaces the recorded one",
        account(**DELIVERED),
        [delivery("key_2", is_done=True)],
        "sa_1",
        "key_2",
        ["key_1"],
    ),
    RecordRow(
        "a key without an outcome is kept beside the recorded one",
        account(**DELIVERED),
        [delivery("key_2", is_done=False)],
        "sa_1",
        "key_1",
        ["key_2"],
        is_open=True,
    ),
    RecordRow(
        "a second delivery settles the first",
        account(**DELIVERED),
        [delivery("key_2", is_done=False), delivery("key_3", is_done=True)],
        "sa_1",
        "key_3",
        ["key_2", "key_1"],
    ),
    RecordRow(
        "a first key that nobody recorded is left alone",
        account(),
        [delivery("key_2", is_done=True)],
        "sa_1",
        None,
    ),
    RecordRow(
        "a confirmed key that is an object becomes the recorded object",
        ADMIN_KEY,
        [delivery("key_2", is_done=True)],
        "key_2",
        "key_2",
        ["key_1"],
        deposed=["key_1"],
    ),
    RecordRow(
        "a key object without an outcome is superseded by a third one later",
        ADMIN_KEY,
        [delivery("key_2", is_done=False)],
        "key_1",
        "key_1",
        ["key_2"],
        deposed=["key_2"],
        is_open=True,
    ),
    RecordRow(
        "the same key object twice, at last confirmed, is deposed no more",
        ADMIN_KEY,
        [delivery("key_2", is_done=False), delivery("key_2", is_done=True)],
        "key_2",
        "key_2",
        ["key_1"],
        deposed=["key_1"],
    ),
    RecordRow(
        "a delivery of the recorded key object changes nothing",
        ADMIN_KEY,
        [delivery("key_1", is_done=True)],
        "key_1",
        "key_1",
    ),
]


@pytest.mark.parametrize("row", RECORD_ROWS, ids=lambda row: row.what)
def test_deliveries_complete_the_record(row: RecordRow) -> None:
    address = row.record.address
    completed = with_deliveries({address: row.record}, {address: row.deliveries}, ALL_KINDS)
    record = completed[address]
    entry = next(iter(record.delivered.values()), {})
    previous = [key["key_id"] for key in entry.get("previous", ())]
    assert (record.id, entry.get("key_id"), sorted(previous)) == (
        row.id,
        row.current,
        sorted(row.previous),
    )
    assert list(record.deposed) == list(row.deposed)
    assert bool(entry.get("is_open")) is row.is_open


def test_a_delivery_without_a_record_or_a_known_kind_is_ignored() -> None:
    deliveries = {at(ACCOUNT): [delivery("key_2", is_done=True)]}
    assert with_deliveries({}, deliveries, ALL_KINDS) == {}
    records = {at(ACCOUNT): account(**DELIVERED)}
    assert with_deliveries(records, deliveries, {}) == records
