"""Claims about the memory of ids: which addresses were ever bound to which objects, and whose export was imported."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from reconciler.model.address import Address
from reconciler.model.kind import OnRemove
from reconciler.model.resource import Record
from reconciler.state import StateStore, schema
from reconciler.state.transfer import export_state, import_state

BOT = Address.parse("Assistant/bot")
ROBOT = Address.parse("Assistant/robot")


def test_every_id_that_an_address_was_bound_to_is_remembered(store: StateStore) -> None:
    store.put(Record(BOT, "asst_1"))
    store.put(Record(BOT, "asst_2"))
    store.remove(BOT)
    assert set(store.held_ids(BOT)) == {"asst_1", "asst_2"}


def test_a_moved_record_was_bound_to_its_object_at_both_addresses(store: StateStore) -> None:
    store.put(Record(BOT, "asst_1"))
    store.move(BOT, ROBOT)
    assert set(store.holders("Assistant", "asst_1")) == {BOT, ROBOT}


def test_an_id_of_another_kind_is_another_id(store: StateStore) -> None:
    store.put(Record(BOT, "same"))
    assert set(store.holders("Agent", "same")) == set()


def test_earlier_ids_survive_an_import(store: StateStore) -> None:
    export = export_state(store)
    store.put(Record(BOT, "asst_1"))
    import_state(store, export, force_older=True)
    assert set(store.held_ids(BOT)) == {"asst_1"}


def test_the_owner_of_an_export_from_elsewhere_is_remembered(store: StateStore) -> None:
    import_state(store, {**export_state(store), "stack": "other"}, from_elsewhere=True)
    import_state(store, export_state(store))
    assert list(store.remarks.former_owners()) == ["other/prod"]


def test_a_migrated_state_knows_the_ids_of_its_records(folder: Path) -> None:
    folder.mkdir()
    with closing(sqlite3.connect(folder / "acme.prod.db", isolation_level=None)) as raw:
        schema.migrate(raw, migrations=schema.MIGRATIONS[:3])
        raw.execute("INSERT INTO identity VALUES (1, 'acme', 'prod', 1)")
        for address, on_remove in (
            ("Assistant/bot", "delete"),
            ("Project/a", "delete"),
            ("Group/g", "retain"),
        ):
            values = (address, f"id of {address}", on_remove)
            raw.execute(
                "INSERT INTO resources VALUES (?, ?, NULL, '{}', '{}', '{}', '{}', 0, ?, '[]')",
                values,
            )
    with StateStore.open(folder, stack="acme", environment="prod") as store:
        found = {str(address): record.on_remove for address, record in store.records().items()}
        assert set(store.held_ids(BOT)) == {"id of Assistant/bot"}
    # The default of a kind was recorded like a choice, so only what is no default is taken for one.
    assert found == {
        "Assistant/bot": None,
        "Project/a": OnRemove.DELETE,
        "Group/g": OnRemove.RETAIN,
    }
