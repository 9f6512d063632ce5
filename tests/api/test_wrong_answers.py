"""Successful answers without required values leave the outcome open, and create nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from reconciler.api.keys import Key
from reconciler.api.objects.collection import CollectionClient
from reconciler.api.objects.scoped_client import ScopedClient
from reconciler.api.transport.client import Client
from reconciler.api.transport.throttle import Throttle
from reconciler.errors import AmbiguousError, AnswerError
from reconciler.kinds import KINDS
from reconciler.model.provider import Written
from reconciler.model.secret import Secret
from reconciler.model.values import FileSet, Member
from tests.api.conftest import Clock, World

WRONG = ("empty,when=after", "no-id", "error-body,when=after")
every_wrong_answer = pytest.mark.parametrize("wrong", WRONG)
KEY = {"write_to": {"file": "a.key"}}


def store_of(world: World, *paths: str) -> Written:
    members = tuple(Member(path, world.write(path, path)) for path in paths)
    return world.create("VectorStore", {"name": "Handbook", "files": FileSet(members)})


@every_wrong_answer
def test_an_upload_whose_answer_names_no_file_is_found_and_not_sent_again(
    world: World, wrong: str
) -> None:
    world.emulator.add_fault(f"on=POST:/files,do={wrong}")
    store_of(world, "a.md")
    assert len(world.objects("file")) == len(world.objects("vector_store_file")) == 1


@every_wrong_answer
@pytest.mark.parametrize("paths", [("a.md",), ("a.md", "b.md")], ids=["one file", "a batch"])
def test_a_file_that_was_attached_with_a_wrong_answer_is_attached_once(
    world: World, wrong: str, paths: tuple[str, ...]
) -> None:
    world.emulator.add_fault(f"on=POST:/vector_stores/*/file*,do={wrong}")
    store_of(world, *paths)
    assert len(world.objects("vector_store_file")) == len(paths)
    assert len(world.objects("file")) == len(paths)


@every_wrong_answer
@pytest.mark.usefixtures("search")
def test_a_key_that_an_answer_does_not_show_is_deleted_and_another_delivered(
    world: World, wrong: str
) -> None:
    made = world.create("ServiceAccount", {"name": "indexer", "key": KEY}, project="search")
    before = len(world.objects("api_key"))
    world.emulator.add_fault(f"on=POST:*/api_keys,do={wrong}")
    world.update(made.live, {"key": {"write_to": {"file": "b.key"}}}, record=world.record_of(made))
    # The earlier key stays valid until it is unused; the one that nobody received is gone.
    assert len(world.objects("api_key")) == before + 1
    with world.emulator.store.lock:
        assert world.emulator.store.key_record(world.sinks.held["b.key"]) is not None


@pytest.mark.usefixtures("search")
def test_a_new_account_whose_key_is_not_shown_whole_gets_another_and_loses_the_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(world.objects("api_key"))
    exchange = Client.exchange

    def without_the_keys_id(client: Client, request: Any) -> Any:
        answer = exchange(client, request)
        shown = answer.body.get("api_key")
        return (
            replace(answer, body={**answer.body, "api_key": {**shown, "id": None}})
            if shown
            else answer
        )

    monkeypatch.setattr(Client, "exchange", without_the_keys_id)
    made = world.create("ServiceAccount", {"name": "indexer", "key": KEY}, project="search")
    assert len(world.objects("api_key")) == before + 1
    assert made.delivered["key"]["key_id"] in {key["id"] for key in world.objects("api_key")}


@every_wrong_answer
def test_a_change_whose_answer_shows_nothing_is_read(world: World, wrong: str) -> None:
    made = world.create("Assistant", {"model": "gpt-4o", "name": "Bot"})
    world.emulator.add_fault(f"on=POST:/assistants/*,do={wrong}")
    changed = world.update(made.live, {"name": "New"})
    assert (changed.live.id, changed.live.attributes["name"]) == (made.live.id, "New")


def test_an_event_of_a_job_without_a_message_is_not_reported(clock: Clock) -> None:
    """The emulator gives every event a message."""
    events = [{"id": "e2", "message": None}, {"message": "Job started"}, {"id": "e0"}]
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"data": events}))
    client = Client("https://api.example/v1", transport=transport, clock=clock)
    scope = ScopedClient(client, Key(Secret("sk-emulator"), "a test"))
    assert CollectionClient(KINDS["FineTuningJob"], scope, None).job_events("ftjob_1") == [
        ("", "Job started")
    ]


def test_a_project_is_not_taken_to_be_archived_because_an_answer_says_nothing(world: World) -> None:
    made = world.create("Project", {"name": "Search"})
    world.emulator.add_fault("on=POST:*/archive,do=empty")
    with pytest.raises(AnswerError, match="does not say that"):
        world.delete(made.live)


@every_wrong_answer
def test_an_object_without_an_id_is_not_created_by_an_answer_that_does_not_show_it(
    world: World, wrong: str
) -> None:
    group = world.create("Group", {"name": "Finance"}).live.id
    user = world.objects("user")[0]["id"]
    world.emulator.add_fault(
        f"on=POST:/organization/groups/*/users,do={wrong.replace('no-id', 'empty')}"
    )
    with pytest.raises(AmbiguousError):
        world.create("GroupMember", {"group_id": group, "user_id": user})


Answering = Callable[[httpx.Request], httpx.Response]


def client_of(answer: Answering, clock: Clock) -> Client:
    return Client(
        "https://api.example/v1",
        throttle=Throttle(clock=clock),
        clock=clock,
        sleep=clock.sleep,
        transport=httpx.MockTransport(answer),
    )


def test_a_delete_that_says_that_nothing_was_deleted_is_tried_again_and_no_success(
    world: World,
) -> None:
    client = client_of(
        lambda _: httpx.Response(200, json={"id": "file-1", "deleted": False}), world.clock
    )
    with pytest.raises(AmbiguousError, match="nothing was deleted"):
        client.request("DELETE", "/files/{id}", key=world.key, ids={"id": "file-1"})


def test_a_job_that_shows_the_error_it_ended_with_is_an_answer(world: World) -> None:
    shown = {
        "id": "ftjob-1",
        "object": "fine_tuning.job",
        "error": {"message": "the file is broken"},
    }
    client = client_of(lambda _: httpx.Response(200, json=shown), world.clock)
    assert client.request("GET", "/fine_tuning/jobs/ftjob-1", key=world.key) == shown
