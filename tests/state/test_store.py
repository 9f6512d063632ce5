"""Records, outputs, runs and pre-images are kept, in files that nobody else can read."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import StateError
from reconciler.model.address import Address
from reconciler.model.resource import Record
from reconciler.model.run_origin import RunOrigin
from reconciler.state import PreImage, StateStore
from reconciler.state.runs import RUNS_WITH_PRE_IMAGES
from reconciler.state.store import state_file
from tests.state.shared import begin_run, open_reader
from tests.state.strategies import records

SEARCH = Address.parse("Project/search")
INDEXER = Address.parse("ServiceAccount/search/indexer")


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


@settings(max_examples=15, deadline=None)
@given(st.lists(records, max_size=4, unique_by=lambda record: record.address))
def test_records_come_back_as_they_were_put(
    tmp_path_factory: pytest.TempPathFactory, kept: list[Record]
) -> None:
    folder = tmp_path_factory.mktemp("state")
    with StateStore.open(folder, stack="acme", environment="prod") as store:
        for record in kept:
            store.put(record)
    with open_reader(folder) as store:
        assert store.records() == {record.address: record for record in kept}


def test_records_are_in_address_order(store: StateStore) -> None:
    for text in ("Assistant/search/bot", "Project/search", "User/ada", "Assistant/ads/bot"):
        store.put(Record(Address.parse(text), "x"))
    assert list(store.records()) == sorted(store.records())


def test_the_serial_grows_by_one_with_each_change_of_resources(store: StateStore) -> None:
    seen = [store.serial]
    store.put(Record(SEARCH, "proj_1"))
    seen.append(store.serial)
    store.move(SEARCH, Address.parse("Project/find"))
    seen.append(store.serial)
    store.remove(Address.parse("Project/find"))
    seen.append(store.serial)
    assert seen == [0, 1, 2, 3]


def test_putting_an_equal_record_does_not_make_plans_stale(store: StateStore) -> None:
    store.put(Record(SEARCH, "proj_1", depends_on=(INDEXER,)))
    store.put(Record(SEARCH, "proj_1", depends_on=(INDEXER,)))
    store.remove(INDEXER)
    assert store.serial == 1


def test_a_change_of_dependencies_alone_is_a_change(store: StateStore) -> None:
    store.put(Record(INDEXER, "user_1"))
    store.put(Record(INDEXER, "user_1", depends_on=(SEARCH,)))
    assert (store.serial, store.records()[INDEXER].depends_on) == (2, (SEARCH,))


def test_a_move_updates_the_dependencies_of_others(store: StateStore) -> None:
    target = Address.parse("Project/find")
    store.put(Record(SEARCH, "proj_1"))
    store.put(Record(INDEXER, "user_1", depends_on=(SEARCH,)))
    store.move(SEARCH, target)
    assert store.records()[INDEXER].depends_on == (target,)
    assert store.records()[target] == Record(target, "proj_1")


def test_a_move_of_an_unknown_address_is_refused(store: StateStore) -> None:
    with pytest.raises(StateError, match="Project/search is not in the state"):
        store.move(SEARCH, INDEXER)


def test_a_move_onto_another_resource_is_refused(store: StateStore) -> None:
    store.put(Record(SEARCH, "proj_1"))
    store.put(Record(INDEXER, "user_1"))
    with pytest.raises(StateError, match="ServiceAccount/search/indexer is already in the state"):
        store.move(SEARCH, INDEXER)
    assert store.serial == 2


def test_outputs_keep_their_order(store: StateStore) -> None:
    store.set_outputs({"b": "asst_1", "a": {"ids": [1, None]}})
    store.set_outputs({"z": "asst_1", "a": {"ids": [1, None]}})
    assert list(store.outputs().items()) == [("z", "asst_1"), ("a", {"ids": [1, None]})]


def test_remarks_are_kept(store: StateStore, folder: Path) -> None:
    store.remarks.put("applied_digest", "abc")
    with open_reader(folder) as reader:
        assert (reader.remarks.get("applied_digest"), reader.remarks.get("other")) == ("abc", None)


def test_a_run_has_a_beginning_and_an_end(store: StateStore) -> None:
    run_id = begin_run(store)
    assert store.runs.all()[0].ended_at is None
    store.runs.end(run_id, status="applied", counts={"create": 2})
    run = store.runs.all()[0]
    assert (run.id, run.status, run.counts, run.ended_at) == (
        run_id,
        "applied",
        {"create": 2},
        1_700_000_000.0,
    )


def test_a_run_keeps_the_ci_job_that_it_was_started_from(store: StateStore, folder: Path) -> None:
    origin = RunOrigin(
        user="runner",
        host="vm",
        ci="GitHub Actions",
        actor="octocat",
        repository="acme/infra",
        commit="1a2b3c4",
        url="https://github.com/acme/infra/actions/runs/1",
    )
    store.runs.begin(
        command="apply", user="runner", host="vm", pid=7, plan_digest="d", origin=origin
    )
    with open_reader(folder) as reader:
        assert reader.runs.all()[0].origin == origin


def keep(store: StateStore, run_id: int, image: PreImage) -> None:
    with store.runs.journal(run_id).change(image.address, image.action, pre_image=image) as change:
        change.finish()


def test_pre_images_belong_to_their_run(store: StateStore) -> None:
    for name in ("One", "Two"):
        keep(
            store, 3, PreImage(SEARCH, "update", "proj_1", {"name": name}, Record(SEARCH, "proj_1"))
        )
        run_id = begin_run(store)
        keep(store, run_id, PreImage(INDEXER, "create", None, {"name": name}, None))
    image = store.runs.pre_images(run_id)[0]
    assert (image.address, image.id, image.before, image.record) == (
        INDEXER,
        None,
        {"name": "Two"},
        None,
    )
    assert store.runs.pre_images(3)[0].record == Record(SEARCH, "proj_1")


def test_only_the_last_runs_keep_their_pre_images(store: StateStore) -> None:
    for run_id in range(1, RUNS_WITH_PRE_IMAGES + 2):
        keep(store, run_id, PreImage(SEARCH, "update", "proj_1", {}, None))
    store.runs.end(run_id, status="applied", counts={})
    assert (
        len(store.runs.pre_images(1)),
        len(store.runs.pre_images(2)),
        len(store.runs.pre_images(run_id)),
    ) == (
        0,
        1,
        1,
    )


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_nobody_else_can_read_the_state(folder: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with StateStore.open(folder, stack="acme", environment="prod") as store:
            store.put(Record(SEARCH, "proj_1"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "acme.prod.db").stat().st_mode) == 0o600


def test_the_files_that_sqlite_makes_beside_it_are_as_private(folder: Path) -> None:
    before = os.umask(0)
    try:
        with (
            StateStore.open(folder, stack="acme", environment="prod") as store,
            store.database.write() as connection,
        ):
            connection.execute("INSERT INTO meta VALUES ('a', 'b')")
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.glob("*.db*")}
    finally:
        os.umask(before)
    assert modes == {"acme.prod.db": 0o600, "acme.prod.db-journal": 0o600}


def test_a_state_that_others_could_read_is_closed_to_them(store: StateStore, folder: Path) -> None:
    file = folder / "acme.prod.db"
    file.chmod(0o644)
    StateStore.open(folder, stack="acme", environment="prod").close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_git_does_not_see_the_state(store: StateStore, folder: Path) -> None:
    assert (folder / ".gitignore").read_text() == "*\n"


def test_a_folder_of_the_user_is_not_hidden_from_git(tmp_path: Path) -> None:
    (tmp_path / "reconciler.yaml").write_text("kind: Stack\n")
    StateStore.open(tmp_path, stack="acme", environment="prod").close()
    assert not (tmp_path / ".gitignore").exists()


def test_a_link_in_place_of_the_state_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (folder / "acme.prod.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="symbolic link"):
        StateStore.open(folder, stack="acme", environment="prod")
    assert not (tmp_path / "elsewhere").exists()


def test_different_names_never_share_a_file(tmp_path: Path) -> None:
    names = [
        ("a.b", "c"),
        ("a", "b.c"),
        ("a/b", "c"),
        ("a_b", "c"),
        ("../a", "c"),
        ("a%2Eb", "c"),
        ("ä", "c"),
    ]
    files = {state_file(tmp_path, *pair) for pair in names}
    assert len(files) == len(names)
    assert {file.parent for file in files} == {tmp_path}


def test_the_state_of_another_environment_is_refused(store: StateStore, folder: Path) -> None:
    (folder / "acme.dev.db").write_bytes((folder / "acme.prod.db").read_bytes())
    with pytest.raises(StateError, match="it belongs to acme/prod, not to acme/dev"):
        StateStore.open(folder, stack="acme", environment="dev")


def test_reading_an_absent_state_gives_an_empty_one_and_creates_nothing(folder: Path) -> None:
    with open_reader(folder) as reader:
        assert (dict(reader.records()), reader.serial, reader.holder()) == ({}, 0, None)
    assert not folder.exists()


def test_reading_leaves_every_file_alone(store: StateStore, folder: Path) -> None:
    store.put(Record(SEARCH, "proj_1"))
    before = contents(folder)
    with open_reader(folder) as reader:
        assert list(reader.records()) == [SEARCH]
        assert contents(folder) == before
    assert contents(folder) == before


def test_a_reader_sees_what_was_committed_when_it_opened(store: StateStore, folder: Path) -> None:
    with open_reader(folder) as reader:
        store.put(Record(SEARCH, "proj_1"))
        assert dict(reader.records()) == {}


def test_a_state_opened_for_reading_cannot_be_written(store: StateStore, folder: Path) -> None:
    with open_reader(folder) as reader, pytest.raises(StateError, match="it is read-only"):
        reader.put(Record(SEARCH, "proj_1"))


def test_a_closed_state_says_so_instead_of_failing_strangely(store: StateStore) -> None:
    store.close()
    with pytest.raises(StateError, match="closed database"):
        store.records()


def test_an_unreadable_row_says_what_to_do(store: StateStore, folder: Path) -> None:
    store.put(Record(SEARCH, "proj_1"))
    with sqlite3.connect(folder / "acme.prod.db") as raw:
        raw.execute("UPDATE resources SET on_remove = 'explode'")
    raw.close()
    with pytest.raises(StateError, match=r"unreadable.*explode") as caught:
        store.records()
    assert "restore the file" in caught.value.hint


def test_a_name_that_is_not_valid_utf_8_does_not_break_the_state(store: StateStore) -> None:
    store.put(Record(SEARCH, "proj_\udce9"))
    assert store.records()[SEARCH].id == "proj_\\udce9"


def test_parsed_manifests_are_kept_until_others_replace_them(folder: Path) -> None:
    with StateStore.open(folder, stack="acme", environment="prod") as store:
        store.parse_cache.keep({"old": b"1", "both": b"2"})
        store.parse_cache.keep({"both": b"2", "new": b"3"})
    with open_reader(folder) as store:
        assert [store.parse_cache.find(digest) for digest in ("old", "both", "new")] == [
            None,
            b"2",
            b"3",
        ]


def test_parsed_manifests_make_no_plan_stale(store: StateStore) -> None:
    serial = store.serial
    store.parse_cache.keep({"a": b"1"})
    assert store.serial == serial


def test_keeping_the_same_parsed_manifests_writes_nothing(folder: Path) -> None:
    with StateStore.open(folder, stack="acme", environment="prod") as store:
        store.parse_cache.keep({"a": b"1"})
        before = contents(folder)
        store.parse_cache.keep({"a": b"1"})
        assert contents(folder) == before
