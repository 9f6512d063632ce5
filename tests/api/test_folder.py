"""A vector store is synchronized with a folder, through the provider and the emulator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.model.comparing import canonical
from reconciler.model.provider import ExpectedValue
from reconciler.model.values import Member
from tests.api.conftest import World, kind
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

MakeWorld = Callable[..., World]


# --- reading before a change


FILES = kind("VectorStore").by_name["files"]


@dataclass
class Many:
    """A store of 101 files, the first of which is about to change."""

    world: World

    def __post_init__(self) -> None:
        members = [member(self.world, f"{number:03}.md", str(number)) for number in range(101)]
        written = store_of(self.world, *members)
        self.live, self.applied = (
            replace(written.live, own_calls={}),
            written.live.own_calls["files"],
        )
        self.after = files(member(self.world, "000.md", "new"), *members[1:])

    def read(self) -> tuple[Any, int]:
        """What is read before the change, in comparable form, and how many calls that takes."""
        fresh = self.world.provider.get(self.live.kind, None, self.live.id)
        assert fresh is not None
        self.world.emulator.clear_requests()
        expected = ExpectedValue(canonical(FILES.type, self.applied), self.after, self.applied)
        found = self.world.provider.read_before_write(fresh, {"files": expected}).own_calls["files"]
        return canonical(FILES.type, found), len(self.world.emulator.requests)

    def call(self, method: str, number: int, body: Any = None) -> None:
        ids = {"id": self.live.id, "file": self.applied.members[number].file_id}
        path = "/vector_stores/{id}/files/{file}"
        self.world.client.request(
            method, path, ids=ids, key=self.world.keys.for_project(None), json=body
        )


def test_before_few_of_many_members_change_only_those_are_read(world: World) -> None:
    many = Many(world)
    assert many.read() == (canonical(FILES.type, many.applied), 1)


def test_before_few_of_many_members_change_foreign_changes_to_them_show(world: World) -> None:
    many = Many(world)
    many.call("POST", 0, {"attributes": {"edited": True}})
    assert "000.md" not in many.read()[0]  # it lost the attributes that said what it is


def test_before_few_of_many_members_change_all_are_read_if_there_are_not_as_many_any_more(
    world: World,
) -> None:
    many = Many(world)
    many.call("DELETE", 7)
    members, calls = many.read()
    assert (calls, len(members), members.keys() & {"006.md", "007.md"}) == (1, 100, {"006.md"})


# --- filling


def test_a_new_store_holds_the_desired_members(world: World) -> None:
    wanted = [member(world, f"handbook/{n}.md", f"text {n}", attributes={"n": n}) for n in range(5)]
    written = store_of(world, *wanted)
    assert in_step(world, written.live, *wanted)
    assert len(world.sent("POST", "/file_batches")) == 1


def test_the_result_of_a_write_equals_a_read(world: World) -> None:
    written = store_of(world, member(world, "a.md", attributes={"x": True}), member(world, "b.md"))
    shown = {
        item.key: (item.file_id, item.content.sha256)
        for item in written.live.own_calls["files"].members
    }
    assert shown == {
        key: (item.file_id, item.content.sha256) for key, item in read(world, written.live).items()
    }


def test_digest_and_path_are_kept_in_the_attributes(world: World) -> None:
    item = member(world, "docs/a.md", attributes={"team": "cx"})
    store_of(world, item)
    (attached,) = world.objects("vector_store_file")
    assert attached["attributes"] == {
        "team": "cx", "reconciler_path": "docs/a.md", "reconciler_sha256": item.content.sha256,
    }  # fmt: skip


def test_a_single_file_is_attached_without_a_batch(world: World) -> None:
    store_of(world, member(world, "a.md"))
    assert len(world.sent("POST", "/files")) == 2
    assert world.sent("POST", "/file_batches") == []


def test_many_files_are_attached_in_batches(make_world: MakeWorld) -> None:
    world = make_world(parallelism=2, batch_files=3)
    wanted = [member(world, f"{n}.md", str(n)) for n in range(7)]
    written = store_of(world, *wanted)
    assert in_step(world, written.live, *wanted)
    assert [len(r.request_body["files"]) for r in world.sent("POST", "/file_batches")] == [3, 3]


def test_the_past_is_looked_up_once_however_many_files_there_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    for question in ("finished", "unfinished"):
        monkeypatch.setattr(world.steps, question, lambda name: asked.append(name) or [])
    store_of(world, *(member(world, f"{number}.md") for number in range(7)))
    assert len(asked) == len({"upload", "reattach"}) * len({"finished", "unfinished"})


def test_changes_of_one_store_keep_to_its_limit_a_minute(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.api.objects.store_content._WRITES_PER_MINUTE", 3)
    members = [member(world, f"{number}.md", str(number)) for number in range(4)]
    live, began = store_of(world, *members).live, world.clock.now
    sync(
        world, live, *(replace(one, attributes={"team": "cx"}) for one in members)
    )  # an attach, and four annotations
    assert [reason for reason, _ in world.waits] == [
        f"rate limit of writes to /vector_stores/{live.id}"
    ] * len(world.waits)
    assert world.clock.now >= began + 60


def test_an_uploaded_file_is_attached_by_its_id(world: World) -> None:
    file = world.create("File", {"path": world.write("a.md", "a"), "purpose": "assistants"}).live
    wanted = Member(file.id, None, file_id=file.id, attributes={"x": 1})
    written = store_of(world, wanted)
    assert in_step(world, written.live, wanted)
    assert len(world.objects("file")) == 1


# --- changing


def test_a_store_in_step_takes_no_call(world: World, pair: Pair) -> None:
    live, a, b = pair
    sync(world, live, a, b)
    assert {request.method for request in world.emulator.requests} == {"GET"}


def test_a_new_file_is_added_alone(world: World, pair: Pair) -> None:
    live, a, b = pair
    c = member(world, "c.md", "c")
    sync(world, live, a, b, c)
    assert in_step(world, live, a, b, c)
    assert len(world.sent("POST", "/v1/files")) + len(world.sent("POST")) == 2


def test_changed_content_replaces_the_file(world: World, pair: Pair) -> None:
    live, _, b = pair
    before = read(world, live)["a.md"].file_id
    changed = member(world, "a.md", "a, changed")
    sync(world, live, changed, b)
    assert in_step(world, live, changed, b)
    assert before not in {file["id"] for file in world.objects("file")}


def test_new_content_is_attached_before_the_old_is_removed(world: World, pair: Pair) -> None:
    live, _, b = pair
    sync(world, live, member(world, "a.md", "a, changed"), b)
    methods = [request.method for request in world.emulator.requests if request.method != "GET"]
    assert methods == ["POST", "POST", "DELETE", "DELETE"]


def test_changed_attributes_are_one_call(world: World, pair: Pair) -> None:
    live, a, b = pair
    tagged = replace(b, attributes={"n": 2, "team": "cx"})
    sync(world, live, a, tagged)
    assert in_step(world, live, a, tagged)
    assert [request.method for request in world.emulator.requests if request.method != "GET"] == [
        "POST"
    ]


def test_changed_chunking_keeps_the_uploaded_file(world: World, pair: Pair) -> None:
    live, a, b = pair
    before = read(world, live)["b.md"].file_id
    chunked = replace(b, chunking_strategy=SMALL)
    sync(world, live, a, chunked)
    assert in_step(world, live, a, chunked)
    assert read(world, live)["b.md"].file_id == before


def test_a_removed_file_is_detached_and_deleted(world: World, pair: Pair) -> None:
    live, a, _ = pair
    sync(world, live, a)
    assert (list(read(world, live)), uploaded(world)) == (["a.md"], ["a.md"])


def test_members_that_a_deletion_detached_are_not_detached_one_by_one(world: World) -> None:
    live = store_of(
        world, *(member(world, f"{number}.md", str(number)) for number in range(5))
    ).live
    world.emulator.clear_requests()
    sync(world, live)
    called = Counter(
        (request.method, request.path.split("/")[1]) for request in world.emulator.requests
    )
    assert called == {
        ("DELETE", "files"): 5,
        ("GET", "vector_stores"): 2,
    }  # before the change, and after the deletes
    assert read(world, live) == {}


def test_a_member_that_stays_attached_without_its_file_is_detached(world: World) -> None:
    live = store_of(
        world, *(member(world, f"{number}.md", str(number)) for number in range(5))
    ).live
    world.emulator.add_fault("on=DELETE:/files/*,do=error:404,times=3")
    world.emulator.clear_requests()
    sync(world, live)
    detached = [
        request for request in world.emulator.requests if request.path.startswith("/vector_stores/")
    ]
    assert Counter(request.method for request in detached) == {"GET": 2, "DELETE": 3}
    assert read(world, live) == {}


def test_a_foreign_file_is_detached_and_kept(world: World, pair: Pair) -> None:
    live, a, b = pair
    file = world.create(
        "File", {"path": world.write("foreign.md", "f"), "purpose": "assistants"}
    ).live
    path = "/vector_stores/{id}/files"
    world.client.request(
        "POST", path, key=world.key, ids={"id": live.id}, json={"file_id": file.id}
    )
    assert read(world, live)[file.id].content is None
    sync(world, live, a, b)
    assert (sorted(read(world, live)), uploaded(world)) == (
        ["a.md", "b.md"],
        ["a.md", "b.md", "foreign.md"],
    )


def test_a_second_file_for_one_path_is_surplus_and_removed(world: World, pair: Pair) -> None:
    live, a, b = pair
    twin = store_of(world, a).live
    (copy,) = read(world, twin).values()
    attributes = {"reconciler_path": "a.md", "reconciler_sha256": a.content.sha256}
    body = {"file_id": copy.file_id, "attributes": attributes}
    world.client.request(
        "POST", "/vector_stores/{id}/files", key=world.key, ids={"id": live.id}, json=body
    )
    assert not in_step(world, live, a, b)
    sync(world, live, a, b)
    assert in_step(world, live, a, b)


def test_content_that_no_manifest_sets_any_more_is_left_alone(world: World, pair: Pair) -> None:
    live, a, b = pair
    world.update(live, {"files": None})
    assert in_step(world, live, a, b)


def test_a_file_declared_by_its_id_is_no_longer_ours(world: World, pair: Pair) -> None:
    live, a, _ = pair
    id = read(world, live)["b.md"].file_id
    sync(world, live, a, Member(id, None, file_id=id, attributes={}))
    assert read(world, live)[id].content is None
    assert uploaded(world) == ["a.md", "b.md"]


# --- indexing


def test_a_file_that_fails_to_index_is_reported_with_its_reason(world: World) -> None:
    written = store_of(
        world,
        member(world, "a.md", "a"),
        member(world, "b/README", "b"),
        member(world, "README", "c"),
    )
    assert [text.split(":")[0] for text in sorted(written.refused)] == [
        "README could not be indexed", "b/README could not be indexed",
    ]  # fmt: skip
    assert "unsupported_file" in written.refused[0]


def test_a_single_file_that_fails_to_index_is_reported(world: World) -> None:
    assert "README could not be indexed" in store_of(world, member(world, "README", "b")).refused[0]


def test_a_file_that_failed_to_index_is_not_uploaded_again(world: World) -> None:
    bad = member(world, "README", "b")
    live = store_of(world, bad).live
    assert in_step(world, live, bad)


def test_indexing_is_waited_for(world: World) -> None:
    world.emulator.set_options(index_delay_ms=30_000)
    written = store_of(world, member(world, "a.md", "a"), member(world, "README", "b"))
    assert 30 <= sum(world.clock.slept) < 40
    assert len(written.refused) == 1


def test_indexing_that_takes_too_long_is_left_to_itself(make_world: MakeWorld) -> None:
    world = make_world(index_seconds=10)
    world.emulator.set_options(index_delay_ms=60_000)
    written = store_of(world, member(world, "a.md", "a"), member(world, "b.md", "b"))
    assert written.notes == (
        "Some files are still being indexed; the next plan shows those that fail.",
    )
    assert sum(world.clock.slept) <= 10


# --- deleting


def test_deleting_a_store_deletes_the_files_that_we_uploaded(world: World, pair: Pair) -> None:
    live, a, b = pair
    file = world.create(
        "File", {"path": world.write("foreign.md", "f"), "purpose": "assistants"}
    ).live
    sync(world, live, a, b, Member(file.id, None, file_id=file.id))
    world.delete(live)
    assert (world.objects("vector_store"), uploaded(world)) == ([], ["foreign.md"])


def test_a_delete_that_died_halfway_is_finished_by_the_next(world: World, pair: Pair) -> None:
    live, _, _ = pair
    failing(world, "on=DELETE:/files/*,do=error:400,skip=1,times=0", lambda: world.delete(live))
    world.next_run()
    world.delete(live)
    assert (world.objects("vector_store"), uploaded(world)) == ([], [])


def test_every_file_of_a_delete_is_journalled(world: World, pair: Pair) -> None:
    world.delete(pair[0])
    assert set(world.steps.names) >= {"delete file a.md", "delete file b.md", "delete"}
