"""Files are uploaded whole and in parts, and changes during an upload are detected."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from reconciler.api.objects.uploads import FilePart
from reconciler.errors import AmbiguousError, ApiError, StalePlanError
from tests.api.conftest import World

MakeWorld = Callable[..., World]
CONTENT = bytes(range(256)) * 40  # 10,240 bytes


def stored(world: World, id: str) -> bytes:
    with world.emulator.store.lock:
        return next(
            record.hidden["content"]
            for record in world.emulator.store.all("file")
            if record.id == id
        )


@pytest.fixture
def parts(make_world: MakeWorld) -> World:
    """A world in which files above 4,000 bytes go up in parts of 1,000."""
    return make_world(whole_bytes=4000, part_bytes=1000)


def test_a_file_arrives_with_its_name_purpose_and_bytes(world: World) -> None:
    local = world.write("data/übersicht.md", CONTENT)
    live = world.create(
        "File", {"path": local, "purpose": "user_data", "filename": "übersicht.md"}
    ).live
    assert (live.attributes["filename"], live.attributes["purpose"]) == (
        "übersicht.md",
        "user_data",
    )
    assert stored(world, live.id) == CONTENT


def test_an_expiry_travels_in_the_form(world: World) -> None:
    local = world.write("a.md", "text")
    expiry = {"anchor": "created_at", "seconds": 3600}
    live = world.create(
        "File", {"path": local, "purpose": "user_data", "expires_after": expiry}
    ).live
    assert live.attributes["expires_at"] == live.attributes["created_at"] + 3600


def test_a_file_of_no_bytes_is_refused_as_such(world: World) -> None:
    local = world.write("empty.md", b"")
    with pytest.raises(ApiError, match="File is empty"):
        world.create("File", {"path": local, "purpose": "user_data"})


def test_a_refused_upload_is_sent_again_from_its_beginning(world: World) -> None:
    world.emulator.add_fault("on=POST:/files,do=retry-after:1")
    local = world.write("a.bin", CONTENT)
    assert (
        stored(world, world.create("File", {"path": local, "purpose": "user_data"}).live.id)
        == CONTENT
    )


def test_an_upload_of_unknown_outcome_is_sent_once(world: World) -> None:
    world.emulator.add_fault("on=POST:/files,do=error:500,when=after,times=0")
    local = world.write("a.bin", CONTENT)
    with pytest.raises(AmbiguousError):
        world.create("File", {"path": local, "purpose": "user_data"})
    assert len(world.objects("file")) == 1


def test_a_file_that_changed_since_the_plan_is_not_sent(world: World) -> None:
    local = world.write("a.md", "planned")
    world.write("a.md", "changed")
    with pytest.raises(StalePlanError, match=r'"a\.md" has changed'):
        world.create("File", {"path": local, "purpose": "user_data"})
    assert world.emulator.requests == []


def test_a_file_that_is_gone_since_the_plan_is_named(world: World) -> None:
    local = world.write("a.md", "planned")
    (world.root / "a.md").unlink()
    with pytest.raises(StalePlanError, match="cannot be read"):
        world.create("File", {"path": local, "purpose": "user_data"})


def test_a_file_that_changes_while_it_is_sent_is_taken_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = world.write("a.md", "planned")
    monkeypatch.setattr(
        "reconciler.api.objects.uploads._measured",
        lambda path, local: path.write_text("changed") and "",
    )
    with pytest.raises(StalePlanError, match="has changed"):
        world.create("File", {"path": local, "purpose": "user_data"})
    assert world.objects("file") == []


def test_a_path_that_leads_out_of_the_folder_is_refused(world: World) -> None:
    local = world.write("a.md", "planned")
    (world.root / "link.md").symlink_to("/etc/hostname")
    for path in ("../a.md", "link.md"):
        with pytest.raises(StalePlanError, match="leads out"):
            world.create("File", {"path": replace(local, path=path), "purpose": "user_data"})


def test_a_large_file_goes_up_in_parts_and_arrives_whole(parts: World) -> None:
    local = parts.write("big.md", CONTENT)
    live = parts.create("File", {"path": local, "purpose": "assistants"}).live
    assert stored(parts, live.id) == CONTENT
    assert len(parts.sent("POST", "/parts")) == 11


def test_the_server_checks_the_parts_by_their_digest(parts: World) -> None:
    local = parts.write("big.md", CONTENT)
    parts.create("File", {"path": local, "purpose": "assistants"})
    (complete,) = parts.sent("POST", "/complete")
    assert complete.request_body["md5"] == hashlib.md5(CONTENT).hexdigest()


def test_a_part_whose_answer_was_lost_is_sent_again(parts: World) -> None:
    parts.emulator.add_fault("on=POST:*/parts,do=reset,when=after,skip=3,times=2")
    local = parts.write("big.md", CONTENT)
    assert (
        stored(parts, parts.create("File", {"path": local, "purpose": "assistants"}).live.id)
        == CONTENT
    )


def test_an_upload_that_fails_halfway_is_cancelled(parts: World) -> None:
    parts.emulator.add_fault("on=POST:*/parts,do=error:400,skip=3,times=0")
    local = parts.write("big.md", CONTENT)
    with pytest.raises(ApiError):
        parts.create("File", {"path": local, "purpose": "assistants"})
    assert [upload["status"] for upload in parts.objects("upload")] == ["cancelled"]


def test_parts_that_never_get_through_leave_nothing_ambiguous(parts: World) -> None:
    parts.emulator.add_fault("on=POST:*/parts,do=error:500,times=0")
    local = parts.write("big.md", CONTENT)
    with pytest.raises(ApiError) as caught:
        parts.create("File", {"path": local, "purpose": "assistants"})
    assert not isinstance(caught.value, AmbiguousError)


def test_a_completion_of_unknown_outcome_is_ambiguous_and_not_cancelled(parts: World) -> None:
    parts.emulator.add_fault("on=POST:*/complete,do=reset,when=after")
    local = parts.write("big.md", CONTENT)
    with pytest.raises(AmbiguousError):
        parts.create("File", {"path": local, "purpose": "assistants"})
    assert parts.sent("POST", "/cancel") == []
    assert len(parts.objects("file")) == 1


def test_a_window_reads_its_part_alone() -> None:
    window = FilePart(io.BytesIO(b"0123456789"), start=2, size=5)
    assert window.read() == b"23456"


def test_a_window_that_is_read_twice_has_the_digest_of_one_reading() -> None:
    window = FilePart(io.BytesIO(b"0123456789"), start=0, size=10)
    for _ in range(2):
        window.seek(0)
        window.read()
    assert window.sha256 == hashlib.sha256(b"0123456789").hexdigest()
