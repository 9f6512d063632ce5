"""A folder sync survives faults of the API and runs that died."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from msgspec.structs import replace

from reconciler.emulator import indexing
from reconciler.emulator.errors import bad_request
from reconciler.emulator.store import ObjectRow as Stored
from reconciler.errors import ApiError
from reconciler.model.address import Address
from reconciler.model.resource import LiveObject, Record
from reconciler.model.values import Member
from tests.api.conftest import World
from tests.api.folders import (
    SMALL,
    Pair,
    failing,
    files,
    in_step,
    member,
    read,
    store_of,
    sync,
    uploaded,
)

STORE = Address("VectorStore", "it")


def test_an_upload_of_a_run_that_died_is_attached_and_not_repeated(world: World) -> None:
    wanted = [member(world, "a.md", "a"), member(world, "b.md", "b")]
    live = store_of(world).live
    failing(world, "on=POST:*/file_batches,do=error:400", lambda: sync(world, live, *wanted))
    world.next_run()
    sync(world, live, *wanted)
    assert in_step(world, live, *wanted)
    assert uploaded(world) == ["a.md", "b.md"]


def test_an_upload_that_a_dying_run_began_is_found_in_the_list(world: World) -> None:
    wanted = member(world, "a.md", "a")
    live = store_of(world).live
    failing(world, "on=POST:*/files,do=error:400,skip=1", lambda: sync(world, live, wanted))
    entry = next(entry for entry in world.steps.entries if entry.name == "upload")
    entry.status, entry.id, entry.result = "begun", None, {}
    world.next_run()
    sync(world, live, wanted)
    assert in_step(world, live, wanted)
    assert uploaded(world) == ["a.md"]


def test_a_journalled_upload_that_was_deleted_is_sent_again(world: World) -> None:
    wanted = member(world, "a.md", "a")
    live = store_of(world).live
    failing(world, "on=POST:*/files,do=error:400,skip=1", lambda: sync(world, live, wanted))
    (file,) = world.objects("file")
    world.client.request("DELETE", "/files/{file}", key=world.key, ids={"file": file["id"]})
    world.next_run()
    sync(world, live, wanted)
    assert in_step(world, live, wanted)


def test_an_upload_whose_answer_was_lost_is_found_and_not_repeated(world: World) -> None:
    wanted = [
        member(world, "x/a.md", "same"),
        member(world, "y/a.md", "same size"[:4]),
        member(world, "b.md", "b"),
    ]
    live = store_of(world).live
    world.emulator.add_fault("on=POST:/files,do=reset,when=after")
    sync(world, live, *wanted)
    assert in_step(world, live, *wanted)
    assert uploaded(world) == ["a.md", "a.md", "b.md"]


def test_an_upload_that_never_happened_is_sent_again(world: World) -> None:
    live = store_of(world).live
    world.emulator.add_fault("on=POST:/files,do=reset")
    wanted = member(world, "a.md", "a")
    sync(world, live, wanted)
    assert in_step(world, live, wanted)


def test_a_list_that_lags_behind_is_looked_at_again(world: World) -> None:
    world.emulator.set_options(list_lag_ms=5000)
    live = store_of(world).live
    world.emulator.add_fault("on=POST:/files,do=reset,when=after")
    sync(world, live, member(world, "a.md", "a"))
    assert uploaded(world) == ["a.md"]


def test_uploads_that_look_alike_are_named(world: World) -> None:
    live = store_of(world).live
    world.emulator.add_fault("on=POST:/files,do=reset,when=after,times=2")
    written = sync(world, live, member(world, "x/a.md", "same"), member(world, "y/a.md", "emas"))
    assert all("may be left over" in note for note in written.notes)
    assert sorted(read(world, live)) == ["x/a.md", "y/a.md"]


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_attach_whose_answer_was_lost_is_completed(world: World, count: int, when: str) -> None:
    wanted = [member(world, f"{n}.md", str(n)) for n in range(count)]
    live = store_of(world).live
    world.emulator.add_fault(f"on=POST:/vector_stores/*/file*,do=error:500,when={when}")
    sync(world, live, *wanted)
    assert in_step(world, live, *wanted)
    assert len(world.sent("POST", "/file_batches")) <= 2


@pytest.mark.parametrize(("count", "path"), [(1, "/files"), (4, "/file_batches")])
def test_an_attach_that_met_a_conflict_is_looked_for_before_it_is_repeated(
    world: World, count: int, path: str
) -> None:
    wanted = [member(world, f"{n}.md", str(n)) for n in range(count)]
    live = store_of(world).live
    world.emulator.add_fault("on=POST:/vector_stores/*/file*,do=error:409,when=after")
    sync(world, live, *wanted)
    assert in_step(world, live, *wanted)
    assert len(world.sent("POST", f"{live.id}{path}")) == 1


def test_a_run_that_dies_while_rechunking_keeps_the_uploaded_file(world: World, pair: Pair) -> None:
    live, a, b = pair
    chunked = replace(b, chunking_strategy=SMALL)
    failing(world, "on=POST:*/files,do=error:400", lambda: sync(world, live, a, chunked))
    world.next_run()
    sync(world, live, a, chunked)
    assert in_step(world, live, a, chunked)
    assert uploaded(world) == ["a.md", "b.md"]


def test_a_run_that_dies_while_removing_leaves_no_file_behind(world: World, pair: Pair) -> None:
    live, a, _ = pair
    failing(world, "on=DELETE:/vector_stores/*,do=error:400", lambda: sync(world, live, a))
    world.next_run()
    sync(world, live, a)
    assert uploaded(world) == ["a.md"]


@pytest.mark.parametrize("status", [400, 403])
def test_a_failed_upload_that_blames_no_file_stops_the_change(world: World, status: int) -> None:
    live = store_of(world).live
    world.emulator.add_fault(f"on=POST:/files,do=error:{status},times=0")
    with pytest.raises(ApiError):
        sync(world, live, member(world, "a.md", "a"))
    assert read(world, live) == {}


# --- refused files


def test_a_file_that_is_refused_at_upload_is_named_and_the_rest_goes_on(world: World) -> None:
    written = store_of(
        world, member(world, "a.md", "a"), member(world, "empty.md", ""), member(world, "c.md", "c")
    )
    assert set(read(world, written.live)) == {"a.md", "c.md"}
    assert [text.split(":")[0] for text in written.refused] == ["empty.md was refused at upload"]


def test_a_file_that_is_refused_with_its_batch_is_named_and_the_rest_is_attached(
    world: World,
) -> None:
    written = store_of(
        world, *(member(world, name, name) for name in ("a.md", "b.png", "c.md", "d.PNG", "e.bin"))
    )
    assert set(read(world, written.live)) == {"a.md", "c.md"}
    assert sorted(text.split(" ")[0] for text in written.refused) == ["b.png", "d.PNG", "e.bin"]


def test_the_upload_of_a_refused_file_is_deleted(world: World) -> None:
    store_of(world, member(world, "a.md", "a"), member(world, "b.png", "b"))
    assert uploaded(world) == ["a.md"]


def refusing(monkeypatch: pytest.MonkeyPatch, is_refused: Callable[[str], bool]) -> None:
    """Let stores refuse files without saying which."""

    def refuse(files: Iterable[Stored]) -> None:
        if any(is_refused(file.body["filename"]) for file in files):
            raise bad_request("A file is not as it should be.")

    monkeypatch.setattr(indexing, "refuse_unread", refuse)


def test_a_batch_that_is_refused_without_a_name_is_halved_until_the_file_is_known(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, lambda name: name == "b.md")
    written = store_of(world, *(member(world, f"{name}.md", name) for name in "abcdefg"))
    assert [text.split(" ")[0] for text in written.refused] == ["b.md"]
    assert len(read(world, written.live)) == 6


def test_a_store_that_takes_nothing_is_one_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = store_of(world).live
    refusing(monkeypatch, lambda _: True)
    with pytest.raises(ApiError):
        sync(world, live, *(member(world, f"{number}.md", str(number)) for number in range(30)))


def test_an_id_that_no_file_has_is_named_and_the_rest_is_attached(world: World) -> None:
    written = store_of(
        world, member(world, "a.md", "a"), Member("file-nowhere", None, file_id="file-nowhere")
    )
    assert set(read(world, written.live)) == {"a.md"}
    assert written.refused[0].startswith("file-nowhere was refused when it was attached")


def test_a_wrong_way_of_chunking_deletes_no_file(world: World, pair: Pair) -> None:
    live, a, b = pair
    wrong = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 90}}
    with pytest.raises(ApiError):
        sync(world, live, a, replace(b, chunking_strategy=wrong))
    assert uploaded(world) == ["a.md", "b.md"]


def test_a_file_that_was_refused_before_is_not_sent_again(world: World) -> None:
    empty = member(world, "empty.md", "")
    live = store_of(world, member(world, "a.md", "a")).live
    written = sync(world, live, member(world, "a.md", "a"), replace(empty, refused="at upload"))
    assert written.refused == ()
    assert world.sent("POST") == []


@pytest.mark.parametrize("calls", range(8))
@pytest.mark.parametrize("weather", ["error:400", "reset,when=after"])
def test_a_run_that_dies_after_any_call_is_finished_by_the_next(
    world: World, pair: Pair, calls: int, weather: str
) -> None:
    live, _, b = pair
    wanted = [
        member(world, "a.md", "a, changed"), replace(b, chunking_strategy=SMALL), member(world, "c.md", "c"),
    ]  # fmt: skip
    failing(world, f"on=*:*,do={weather},skip={calls},times=0", lambda: sync(world, live, *wanted))
    world.next_run()
    sync(world, live, *wanted)
    assert in_step(world, live, *wanted)
    assert uploaded(world) == ["a.md", "b.md", "c.md"]


def died_before_attaching(world: World, *members: Member) -> LiveObject:
    """A store, and a run that uploaded the members and died before it attached them."""
    live = store_of(world).live
    failing(world, "on=POST:/vector_stores/*,do=error:400", lambda: sync(world, live, *members))
    world.next_run()
    return live


def test_an_upload_whose_path_has_left_the_manifests_is_deleted(world: World) -> None:
    live = died_before_attaching(world, member(world, "a.md", "a"))
    sync(world, live, member(world, "b.md", "b"))
    assert uploaded(world) == ["b.md"]


def test_an_upload_of_content_that_has_changed_is_deleted(world: World) -> None:
    live = died_before_attaching(world, member(world, "a.md", "a"))
    wanted = member(world, "a.md", "changed")
    sync(world, live, wanted)
    assert (uploaded(world), in_step(world, live, wanted)) == (["a.md"], True)


def test_an_upload_is_deleted_with_the_store_that_it_was_meant_for(world: World) -> None:
    live = died_before_attaching(world, member(world, "a.md", "a"))
    world.provider.delete(live, address=STORE, record=Record(STORE, live.id), steps=world.steps)
    assert uploaded(world) == []


def test_an_upload_is_deleted_although_nothing_is_to_be_done_with_the_store(world: World) -> None:
    live = died_before_attaching(world, member(world, "a.md", "a"))
    world.provider.delete_leftovers(live, address=STORE, record=None, steps=world.steps)
    assert uploaded(world) == []


def test_members_that_the_list_lacks_yet_are_not_uploaded_again(world: World) -> None:
    wanted = member(world, "a.md", "a")
    written = store_of(world, wanted)
    record = Record(STORE, written.live.id, applied={"files": written.live.own_calls["files"]})
    world.emulator.set_options(list_lag_ms=60_000)
    live = world.provider.read_own_calls(replace(written.live, own_calls={}), ["files"])
    world.provider.update(
        live,
        {"files": files(wanted)},
        address=record.address,
        mark=None,
        record=record,
        steps=world.steps,
    )
    assert uploaded(world) == ["a.md"]
