"""A program that lost its lease forgets what it could not write."""

from __future__ import annotations

import pytest

from reconciler.errors import LeaseLostError
from reconciler.model.address import Address
from reconciler.model.resource import Record
from reconciler.state import StateStore
from tests.state.remote.conftest import Open

SEARCH = Address.parse("Project/search")
ADS = Address.parse("Project/ads")


def lose_a_write(store: StateStore, other: StateStore) -> None:
    """Write a record that never reaches the log."""
    with store.lock(command="apply", on_takeover=lambda _: None):
        other.unlock()
        store.put(Record(ADS, "proj_lost"))
        assert ADS in store.records()


def test_what_a_lost_lease_kept_from_the_log_is_gone_once_the_lock_is_taken_again(
    open_state: Open,
) -> None:
    store, other = open_state(), open_state()
    with pytest.raises(LeaseLostError):
        lose_a_write(store, other)
    with other.lock(command="apply", on_takeover=lambda _: None):
        other.put(Record(SEARCH, "proj_1"))
    with store.lock(command="apply", on_takeover=lambda _: None):
        store.remarks.put("name", "value")
        assert dict(store.records()) == dict(open_state().records())
