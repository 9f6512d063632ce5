"""A state can be written out as JSON, and read in again after people have edited it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import StateError
from reconciler.model.address import Address
from reconciler.model.resource import Record
from reconciler.state import StateStore
from reconciler.state.transfer import export_state, import_state
from tests.state.strategies import names, records, values

SEARCH = Address.parse("Project/search")


@pytest.fixture
def exported(store: StateStore) -> Any:
    store.put(Record(SEARCH, "proj_1", applied={"name": "Search"}))
    store.set_outputs({"project": "proj_1"})
    return json.loads(json.dumps(export_state(store)))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(records, max_size=4, unique_by=lambda record: record.address),
    st.dictionaries(names, values, max_size=3),
)
def test_an_export_that_is_imported_gives_the_same_state(
    tmp_path_factory: pytest.TempPathFactory, kept: list[Record], outputs: dict[str, Any]
) -> None:
    with (
        StateStore.open(tmp_path_factory.mktemp("state"), stack="acme", environment="prod") as one,
        StateStore.open(tmp_path_factory.mktemp("state"), stack="acme", environment="prod") as two,
    ):
        for record in kept:
            one.put(record)
        one.set_outputs(outputs)
        import_state(two, json.loads(json.dumps(export_state(one))))
        assert {**export_state(two), "serial": 0} == {**export_state(one), "serial": 0}
        assert (two.records(), two.outputs()) == (one.records(), one.outputs())


def test_an_import_replaces_everything(store: StateStore, exported: Any) -> None:
    store.put(Record(Address.parse("User/ada"), "user_1"))
    import_state(store, {**exported, "serial": store.serial})
    assert list(store.records()) == [SEARCH]


def test_an_import_makes_every_saved_plan_stale(store: StateStore, exported: Any) -> None:
    import_state(store, {**exported, "serial": 41})
    assert store.serial == 42
    import_state(store, {**exported, "serial": 3}, force_older=True)
    assert store.serial == 43


def test_an_older_export_is_refused_and_changes_nothing(store: StateStore, exported: Any) -> None:
    store.put(Record(Address.parse("User/ada"), "user_1"))
    with pytest.raises(
        StateError,
        match="its serial is 1, the serial here is 2; importing it would forget User/ada",
    ):
        import_state(store, exported)
    assert len(store.records()) == 2


def test_an_older_export_is_compared_by_serial_where_it_has_no_lineage(
    store: StateStore, exported: Any
) -> None:
    store.put(Record(Address.parse("User/ada"), "user_1"))
    since = ("lineage", "server", "organization", "remarks")
    old = {name: value for name, value in exported.items() if name not in since} | {"version": 1}
    for resource in old["resources"]:
        del resource["marked_later"]
    with pytest.raises(StateError, match="the export is older"):
        import_state(store, old)
    import_state(store, {**old, "serial": 2})
    assert list(store.records()) == [SEARCH]


def test_an_object_that_is_bound_anew_counts_as_forgotten(store: StateStore, exported: Any) -> None:
    store.put(Record(SEARCH, "proj_2"))
    assert import_state(store, exported, force_older=True) == [SEARCH]


def test_the_export_of_another_lineage_is_refused_unless_meant(
    store: StateStore, exported: Any
) -> None:
    other = {**exported, "lineage": "other", "serial": 9}
    with pytest.raises(StateError, match="its lineage is other"):
        import_state(store, other)
    import_state(store, other, from_elsewhere=True)
    assert store.identity.lineage == "other"


def test_a_new_state_takes_the_lineage_of_what_is_imported(tmp_path: Path, exported: Any) -> None:
    with StateStore.open(tmp_path / "new", stack="acme", environment="prod") as new:
        import_state(new, exported)
        assert new.identity.lineage == exported["lineage"]


@pytest.mark.parametrize(
    ("ours", "theirs", "is_refused"),
    [
        (("https://a", "org-1"), ("https://a", "org-2"), True),
        (("https://a", "org-1"), ("https://b", "org-1"), False),
        (("https://a", "acme"), ("https://b", "other"), True),
        (("https://a", "acme"), ("https://a", "org-1"), False),
        (("https://a", "acme"), ("https://b", "org-1"), True),
        (("https://a", ""), ("https://b", ""), True),
        (("https://a", ""), ("", ""), False),
        (("", ""), ("https://b", "org-1"), False),
    ],
)
def test_the_organization_decides_where_an_export_belongs_and_else_the_server(
    store: StateStore,
    exported: Any,
    ours: tuple[str, str],
    theirs: tuple[str, str],
    is_refused: bool,
) -> None:
    store.bind(server=ours[0], organization=ours[1])
    export = {**exported, "server": theirs[0], "organization": theirs[1]}
    if not is_refused:
        import_state(store, export)
        return
    with pytest.raises(StateError, match="this state to"):
        import_state(store, export)


@pytest.mark.parametrize("key", ["stack", "environment"])
def test_the_export_of_another_state_is_refused_unless_meant(
    store: StateStore, exported: Any, key: str
) -> None:
    other = {**exported, key: "other"}
    with pytest.raises(StateError, match="not to acme/prod"):
        import_state(store, other)
    import_state(store, other, from_elsewhere=True)
    assert list(store.records()) == [SEARCH]


def test_a_newer_export_is_refused(store: StateStore, exported: Any) -> None:
    with pytest.raises(
        StateError, match="the export has version 5, but this program supports versions up to 4"
    ):
        import_state(store, {**exported, "version": 5})


@pytest.mark.parametrize("data", [{}, [], None, "x", {"format": "terraform"}])
def test_data_that_is_no_export_is_refused(store: StateStore, data: Any) -> None:
    with pytest.raises(StateError, match="not a state export"):
        import_state(store, data)


@pytest.mark.parametrize("version", [0, "1", None, True, 1.0])
def test_an_export_without_a_proper_version_is_refused(
    store: StateStore, exported: Any, version: Any
) -> None:
    with pytest.raises(StateError, match="no valid version"):
        import_state(store, {**exported, "version": version})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("resources",), {}, '"resources" must be a list'),
        (("serial",), -1, '"serial" must be between 0 and'),
        (("serial",), 10**30, '"serial" must be between 0 and'),
        (("resorces",), [], 'unknown key "resorces". Did you mean "resources"?'),
        (("resources", 0), "x", "resource number 1 is not a map"),
        (("resources", 0, "id"), "", 'Project/search: "id" must not be empty'),
        (("resources", 0, "id"), 7, 'Project/search: "id" must be text'),
        (("resources", 0, "address"), "Project", '"Project" is not an address'),
        (("resources", 0, "prevent_destroy"), 1, '"prevent_destroy" must be true or false'),
        (("resources", 0, "on_remove"), "explode", "'explode' is not a valid OnRemove"),
        (("resources", 0, "depends_on"), [7], "resource Project/search"),
        (("resources", 0, "deposed"), [7], '"deposed" must be a list of ids'),
        (("resources", 0, "applied"), {"a": {"$reconciler": "moon"}}, 'unknown value tag "moon"'),
        (("resources", 0, "aplied"), {}, 'unknown key "aplied". Did you mean "applied"?'),
        (("outputs", "project"), {"$reconciler": "moon"}, "output project"),
    ],
)
def test_a_mistake_in_an_export_is_named_and_changes_nothing(
    store: StateStore, exported: Any, path: tuple[Any, ...], value: Any, message: str
) -> None:
    before, edited = export_state(store), copy.deepcopy(exported)
    place = edited
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    with pytest.raises(StateError) as caught:
        import_state(store, edited)
    assert message in str(caught.value)
    assert export_state(store) == before


def test_all_mistakes_are_named_at_once(store: StateStore, exported: Any) -> None:
    broken = {**exported["resources"][0], "id": 7, "on_remove": 8}
    with pytest.raises(StateError, match=r'"id" must be text; .*"on_remove" must be text or null'):
        import_state(store, {**exported, "resources": [broken]})


def test_a_resource_that_appears_twice_is_refused(store: StateStore, exported: Any) -> None:
    with pytest.raises(StateError, match="Project/search appears 2 times"):
        import_state(store, {**exported, "resources": exported["resources"] * 2})


def test_history_and_lock_are_not_exported(store: StateStore) -> None:
    assert set(export_state(store)) == {
        "format",
        "version",
        "stack",
        "environment",
        "serial",
        "lineage",
        "server",
        "organization",
        "resources",
        "outputs",
        "remarks",
    }


def test_an_import_keeps_that_the_state_waits_for_terraform(
    store: StateStore, exported: Any
) -> None:
    store.remarks.put("waits for terraform", "terraform.tfstate")
    store.remarks.put("searched", "yes")
    waiting = export_state(store)
    assert waiting["remarks"] == {"waits for terraform": "terraform.tfstate"}
    import_state(store, {**exported, "serial": 9})
    assert store.remarks.get("waits for terraform") is None
    import_state(store, {**waiting, "serial": 19})
    assert store.remarks.get("waits for terraform") == "terraform.tfstate"


def test_an_export_of_an_earlier_version_does_not_end_the_wait(
    store: StateStore, exported: Any
) -> None:
    store.remarks.put("waits for terraform", "terraform.tfstate")
    old = {name: value for name, value in exported.items() if name != "remarks"}
    import_state(store, {**old, "version": 3, "serial": 9})
    assert store.remarks.get("waits for terraform") == "terraform.tfstate"


def test_an_unknown_remark_is_refused(store: StateStore, exported: Any) -> None:
    with pytest.raises(StateError, match='the remark "searched" is not known'):
        import_state(store, {**exported, "remarks": {"searched": "yes"}})
