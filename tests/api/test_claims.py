"""A search takes no object that belongs to another address."""

from __future__ import annotations

import threading
import time

import pytest

from reconciler.api.objects.change_context import ChangeContext
from reconciler.api.objects.collection import CollectionClient
from reconciler.api.objects.orphaned_uploads import OrphanedUploads
from reconciler.api.objects.reservations import InProcessReservations
from reconciler.api.objects.scoped_client import ScopedClient
from reconciler.api.objects.uploads import Uploader
from reconciler.engine.apply.records import RecordSet
from reconciler.engine.apply.search import ObjectSearch, SearchCriteria
from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.consistency import ConsistencyWindow
from reconciler.engine.ownership import Ownership
from reconciler.errors import AmbiguousError
from reconciler.kinds import KINDS
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Plan, Reason
from reconciler.model.consistency import CreationWindow
from reconciler.model.resource import Record
from reconciler.model.values import FileSet, LocalFile, Member
from tests.api.conftest import World, kind

F, G, STORE = Address("File", "f"), Address("File", "g"), Address("VectorStore", "docs")
IDENTITY = {"filename": "a.md", "purpose": "assistants", "bytes": 4}


def file_in(world: World, owner: Address) -> tuple[LocalFile, str]:
    """A local file, and the object that an address has made of it."""
    local = world.write("a.md", "same")
    spec = {"path": local, "filename": "a.md", "purpose": "assistants"}
    made = world.provider.create(
        kind("File"), None, spec, address=owner, mark=None, steps=world.steps
    )
    return local, made.live.id


def file_by_hand(world: World) -> tuple[LocalFile, str]:
    """A local file, and an upload of it that no address has reserved."""
    local = world.write("a.md", "same")
    uploader, client = Uploader(world.root), ScopedClient(world.client, world.key)
    return local, uploader.upload(client, local, filename="a.md", purpose="assistants")["id"]


def orphans_of(world: World) -> OrphanedUploads:
    context = ChangeContext(
        CollectionClient(kind("VectorStore"), ScopedClient(world.client, world.key), None),
        STORE,
        world.steps,
    )
    return OrphanedUploads(context, world.provider.reservations, frozenset(), "assistants", 20.0)


def test_an_id_is_given_to_one_address_alone() -> None:
    claims = InProcessReservations()
    assert [claims.reserve("file-1", owner) for owner in (F, G, F)] == [True, False, True]


def test_asking_whether_an_id_is_free_does_not_take_it() -> None:
    claims = InProcessReservations()
    assert claims.is_free("file-1", F)
    assert claims.reserve("file-1", G)
    assert not claims.is_free("file-1", F)


def test_a_search_waits_for_creates_of_the_same_identity() -> None:
    claims, order = InProcessReservations(), []

    def make() -> None:
        with claims.creating("/files", IDENTITY):
            begun.set()
            time.sleep(0.1)
            order.append("made")

    begun, maker = threading.Event(), threading.Thread(target=make)
    maker.start()
    begun.wait(5)
    claims.wait_for_creates("/files", IDENTITY)
    order.append("searched")
    maker.join()
    assert order == ["made", "searched"]


def test_a_search_does_not_wait_for_creates_of_another_identity() -> None:
    claims = InProcessReservations()
    with claims.creating("/files", IDENTITY):
        claims.wait_for_creates("/files", {**IDENTITY, "bytes": 5})


def test_a_created_object_is_reserved_for_its_address(world: World) -> None:
    _, id = file_in(world, F)
    assert not world.provider.reservations.is_free(id, G)


def test_an_answer_with_the_id_of_another_resource_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.provider.reservations, "reserve", lambda *_: False)
    with pytest.raises(AmbiguousError, match="the id of another resource"):
        world.create("VectorStore", {"name": "a"})


def test_a_lost_upload_is_not_found_in_the_file_of_another_resource(world: World) -> None:
    local, _ = file_in(world, F)
    assert orphans_of(world).find(local, [CreationWindow(world.clock())]) is None


def test_a_lost_upload_is_found_if_the_file_is_not_reserved(world: World) -> None:
    local, id = file_by_hand(world)
    assert orphans_of(world).find(local, [CreationWindow(world.clock())]) == id


def finder_of(world: World) -> tuple[ObjectSearch, SearchCriteria]:
    """The engine's search for File/f, which was lost just now."""
    spec = {"path": world.write("a.md", "same"), "filename": "a.md", "purpose": "assistants"}
    finder = ObjectSearch(
        world.provider, world.provider.reservations, Ownership("shop", "test"), ConsistencyWindow()
    )
    attempts = (CreateAttempt(CreationWindow(world.clock())),)
    return finder, SearchCriteria(
        F, kind("File"), spec, is_marked=False, is_known=lambda _: False, attempts=attempts
    )


def test_the_engine_does_not_find_an_object_that_a_concurrent_resource_created(
    world: World,
) -> None:
    finder, wanted = finder_of(world)
    file_in(world, G)
    assert finder.find(wanted) is None


def test_an_object_that_the_engine_finds_is_reserved(world: World) -> None:
    finder, wanted = finder_of(world)
    _, id = file_by_hand(world)
    found = finder.find(wanted)
    assert found is not None
    assert (found.id, world.provider.reservations.is_free(id, G)) == (id, False)


def test_an_apply_begins_with_every_id_of_the_records_and_of_the_files_that_they_hold() -> None:
    member = Member("a.md", LocalFile("a.md", "0", 4), file_id="file-1")
    held = Record(STORE, "vs_1", applied={"files": FileSet((member,))}, deposed=("vs_0",))
    books = RecordSet(Plan("shop", "test", ()), {STORE: held, F: Record(F, "file-2")})
    assert dict(books.owned_ids(KINDS)) == {
        "vs_1": STORE,
        "vs_0": STORE,
        "file-1": STORE,
        "file-2": F,
    }


def test_a_renamed_resource_keeps_its_reserved_ids() -> None:
    change = Change(G, Action.NO_OP, Reason.RENAMED, id="file-2", renamed_from=F)
    books = RecordSet(Plan("shop", "test", (change,)), {F: Record(F, "file-2")})
    assert dict(books.owned_ids(KINDS)) == {"file-2": G}


def test_a_file_in_use_is_not_reported_as_a_leftover(world: World) -> None:
    local, first = file_by_hand(world)
    _, second = file_by_hand(world)
    orphans = orphans_of(world)
    assert orphans.find(local, [CreationWindow(world.clock())]) is None
    world.provider.reservations.reserve(first, F)
    (remark,) = orphans.remarks()
    assert (first in remark, second in remark) == (False, True)
