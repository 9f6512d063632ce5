"""The provider makes the calls that kinds declare, against the emulator."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from reconciler.api.objects.change_context import side_by_side
from reconciler.errors import (
    AmbiguousError,
    ApiError,
    AuthenticationError,
    CredentialError,
    NotFoundError,
    RetiredError,
)
from reconciler.model.address import Address
from reconciler.model.resource import LiveObject, Record
from tests.api.conftest import Given, World, kind

MakeWorld = Callable[..., World]


# --- reading


def test_a_listed_object_carries_its_kind_project_and_answer(world: World, search: str) -> None:
    world.create("ServiceAccount", {"name": "indexer"}, project="search")
    (live,) = world.provider.list(kind("ServiceAccount"), "search")
    assert (live.kind.name, live.project, live.attributes["name"]) == (
        "ServiceAccount",
        "search",
        "indexer",
    )


def test_rate_limits_of_a_project_are_one_call(world: World, search: str) -> None:
    found = world.provider.list(kind("RateLimit"), "search")
    assert len(found) > 20
    assert len(world.emulator.requests) == 1


def test_an_object_is_read_by_its_id(world: World) -> None:
    made = world.create("VectorStore", {"name": "a"}).live
    assert world.provider.get(kind("VectorStore"), None, made.id) == made


def test_an_object_that_is_not_there_is_none(world: World) -> None:
    assert world.provider.get(kind("VectorStore"), None, "vs_nothing") is None


def test_a_kind_that_cannot_be_read_singly_is_picked_from_its_list(
    world: World, search: str
) -> None:
    live = world.provider.get(kind("RateLimit"), "search", "rl-gpt-4.1")
    assert live is not None
    assert live.attributes["model"] == "gpt-4.1"


def test_objects_of_a_project_are_reached_by_the_default_key_and_the_header(
    world: World, search: str
) -> None:
    world.create("VectorStore", {"name": "in search"}, project="search")
    assert world.provider.list(kind("VectorStore"), None) == ()
    assert [
        live.attributes["name"] for live in world.provider.list(kind("VectorStore"), "search")
    ] == ["in search"]


def test_a_project_that_does_not_exist_yet_cannot_be_read(world: World) -> None:
    assert not world.provider.can_read(kind("RateLimit"), "later")
    with pytest.raises(CredentialError, match="later"):
        world.provider.list(kind("RateLimit"), "later")


def test_a_bound_project_can_be_read(world: World, search: str) -> None:
    assert world.provider.can_read(kind("RateLimit"), "search")
    assert world.provider.can_read(kind("VectorStore"), "search")


def test_a_project_whose_key_file_is_missing_cannot_be_read(make_world: MakeWorld) -> None:
    world = make_world(keys={"projects": {"search": Given("file", file="search.key")}})
    world.provider.bind_project("search", "proj_1")
    assert not world.provider.can_read(kind("VectorStore"), "search")
    assert world.provider.can_read(kind("RateLimit"), "search")


def test_a_missing_admin_key_is_an_error_and_not_an_empty_organization(
    make_world: MakeWorld,
) -> None:
    world = make_world(keys={"admin": None})
    assert world.provider.can_read(kind("Project"), None)
    with pytest.raises(CredentialError):
        world.provider.list(kind("Project"), None)


def test_a_key_of_another_project_is_explained(
    world: World, search: str, make_world: MakeWorld
) -> None:
    world.create(
        "ServiceAccount", {"name": "a", "key": {"write_to": {"file": "k"}}}, project="search"
    )
    secret = world.keys.for_project("search").secret
    other = make_world(keys={"projects": {"other": Given("OTHER_KEY", secret)}})
    other.provider.bind_project("other", other.create("Project", {"name": "Other"}).live.id)
    with pytest.raises(AuthenticationError) as caught:
        other.provider.list(kind("File"), "other")
    assert "credentials.projects.other" in caught.value.hint


# --- retirement


def test_a_retired_list_names_its_successor(world: World) -> None:
    world.emulator.set_options(retire_assistants=True)
    with pytest.raises(RetiredError, match="kind Agent"):
        world.provider.list(kind("Assistant"), None)
    assert world.client.calls == 2


def test_a_retired_object_is_not_taken_for_a_deleted_one(world: World) -> None:
    world.emulator.set_options(retire_assistants=True)
    with pytest.raises(RetiredError):
        world.provider.get(kind("Assistant"), None, "asst_1")


def test_a_deleted_object_of_a_living_kind_costs_the_question_once(world: World) -> None:
    for _ in range(3):
        assert world.provider.get(kind("Assistant"), None, "asst_1") is None
    assert len(world.sent("GET", "/assistants")) == 1


def test_a_server_without_any_models_is_a_wrong_address_and_no_retirement(world: World) -> None:
    world.emulator.set_options(retire_assistants=True)
    world.emulator.add_fault("on=GET:/models,do=error:404,times=0")
    with pytest.raises(NotFoundError):
        world.provider.list(kind("Assistant"), None)


@pytest.mark.parametrize(
    ("entry", "name"), [("evals:410", "Eval"), ("agents", "Agent"), ("agents:403", "Agent")]
)
def test_any_kind_whose_collection_is_gone_is_retired(world: World, entry: str, name: str) -> None:
    world.emulator.set_options(retire=[entry])
    with pytest.raises(RetiredError):
        world.provider.list(kind(name), None)


def test_a_create_that_is_refused_for_its_model_is_no_retirement(world: World) -> None:
    world.emulator.set_options(retire=["agents:400"])
    with pytest.raises(ApiError) as caught:
        world.create("Agent", {"model": "gpt-4.1"})
    assert not isinstance(caught.value, RetiredError)


def test_a_kind_that_answers_a_page_of_a_proxy_is_not_retired(world: World) -> None:
    world.emulator.add_fault("on=GET:/agents,do=html:404,times=0")
    with pytest.raises(ApiError) as caught:
        world.provider.list(kind("Agent"), None)
    assert not isinstance(caught.value, RetiredError)


# --- creating


def test_a_create_sends_the_fields_that_are_set_and_the_mark(world: World) -> None:
    world.create(
        "VectorStore", {"name": "a", "metadata": {"team": "cx"}}, mark="acme/prod/VectorStore/it"
    )
    (request,) = world.sent("POST")
    assert request.request_body == {
        "name": "a", "metadata": {"team": "cx", "reconciler": "acme/prod/VectorStore/it"},
    }  # fmt: skip


def test_the_mark_comes_back_and_is_hidden_from_the_value(world: World) -> None:
    live = world.create(
        "VectorStore", {"name": "a", "metadata": {"team": "cx"}}, mark="acme/prod/x"
    ).live
    assert (live.mark, live.value("metadata")) == ("acme/prod/x", {"team": "cx"})


def test_a_kind_without_metadata_is_created_unmarked(world: World) -> None:
    world.create("Project", {"name": "a"}, mark="acme/prod/x")
    assert world.sent("POST")[0].request_body == {"name": "a"}


def test_a_create_is_journalled_with_its_id(world: World) -> None:
    live = world.create("VectorStore", {"name": "a"}).live
    assert [(entry.name, entry.status, entry.id) for entry in world.steps.entries] == [
        ("create", "done", live.id)
    ]


def test_an_ambiguous_create_leaves_the_step_open(world: World) -> None:
    world.emulator.add_fault("on=POST:/vector_stores,do=error:500,when=after")
    with pytest.raises(AmbiguousError):
        world.create("VectorStore", {"name": "a"})
    assert [entry.status for entry in world.steps.entries] == ["begun"]


def test_a_create_answered_without_an_id_is_ambiguous(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "reconciler.emulator.routes.vector_stores.indexing.show_store", lambda *_, **__: {}
    )
    with pytest.raises(AmbiguousError, match="no id"):
        world.create("VectorStore", {"name": "a"})


def test_a_field_that_the_create_does_not_take_follows_at_once(world: World, search: str) -> None:
    written = world.create("ServiceAccount", {"name": "a", "role": "owner"}, project="search")
    assert written.live.attributes["role"] == "owner"
    assert [request.request_body for request in world.sent("POST")] == [
        {"name": "a", "create_service_account_only": True}, {"role": "owner"},
    ]  # fmt: skip
    assert world.steps.names[-2:] == ["create", "update"]


def test_a_new_object_that_is_not_visible_yet_is_waited_for(world: World, search: str) -> None:
    world.emulator.add_fault("on=POST:*/service_accounts/*,do=error:404,times=2")
    assert (
        world.create("ServiceAccount", {"name": "a", "role": "owner"}, project="search").live.value(
            "role"
        )
        == "owner"
    )


# --- updating


def test_an_update_sends_the_changed_fields_alone(world: World) -> None:
    live = world.create("Agent", {"name": "a", "model": "gpt-5.1", "instructions": "Be kind."}).live
    world.emulator.clear_requests()
    written = world.update(live, {"name": "b", "instructions": None})
    assert world.sent("POST")[0].request_body == {"name": "b", "instructions": None}
    assert (written.live.value("name"), written.live.value("instructions")) == ("b", None)


def test_changed_metadata_goes_as_a_whole_with_the_mark(world: World) -> None:
    live = world.create("VectorStore", {"name": "a", "metadata": {"x": "1"}}, mark="m").live
    written = world.update(live, {"metadata": {"y": "2"}}, mark="m")
    assert written.live.attributes["metadata"] == {"y": "2", "reconciler": "m"}


def test_metadata_is_cleared_down_to_the_mark(world: World) -> None:
    live = world.create("VectorStore", {"name": "a", "metadata": {"x": "1"}}, mark="m").live
    assert world.update(live, {"metadata": None}, mark="m").live.attributes["metadata"] == {
        "reconciler": "m"
    }


def test_an_object_without_our_mark_gets_it_with_the_next_update(world: World) -> None:
    live = world.create("VectorStore", {"name": "a", "metadata": {"x": "1"}}).live
    written = world.update(live, {"name": "b"}, mark="m")
    assert written.live.attributes["metadata"] == {"x": "1", "reconciler": "m"}


def test_a_rate_limit_is_changed_by_its_live_id(world: World, search: str) -> None:
    live = world.provider.get(kind("RateLimit"), "search", "rl-gpt-4.1")
    assert live is not None
    assert (
        world.update(live, {"max_requests_per_1_minute": 7}).live.attributes[
            "max_requests_per_1_minute"
        ]
        == 7
    )


def test_an_update_is_sent_again_after_an_unclear_answer(world: World) -> None:
    live = world.create("VectorStore", {"name": "a"}).live
    world.emulator.add_fault("on=POST:/vector_stores/*,do=reset,when=after")
    assert world.update(live, {"name": "b"}).live.value("name") == "b"


# --- deleting


def test_a_deleted_object_is_gone(world: World) -> None:
    live = world.create("Agent", {"name": "a", "model": "gpt-5.1"}).live
    world.delete(live)
    assert world.provider.get(kind("Agent"), None, live.id) is None


def test_deleting_an_object_that_is_gone_is_no_error(world: World) -> None:
    live = world.create("Agent", {"name": "a", "model": "gpt-5.1"}).live
    world.delete(live)
    world.delete(live)
    assert [entry.status for entry in world.steps.entries if entry.name == "delete"] == [
        "done",
        "done",
    ]


def test_a_delete_whose_answer_was_lost_succeeds(world: World) -> None:
    live = world.create("Agent", {"name": "a", "model": "gpt-5.1"}).live
    world.emulator.add_fault("on=DELETE:/agents/*,do=reset,when=after")
    world.delete(live)
    assert world.objects("agent") == []


def test_a_project_is_archived(world: World) -> None:
    live = world.create("Project", {"name": "a"}).live
    world.delete(live)
    found = world.provider.get(kind("Project"), None, live.id)
    assert found is not None
    assert found.attributes["status"] == "archived"


def test_archiving_twice_is_no_error(world: World) -> None:
    live = world.create("Project", {"name": "a"}).live
    world.emulator.add_fault("on=POST:*/archive,do=error:500,when=after")
    world.delete(live)


def test_a_project_that_cannot_be_archived_is_an_error(world: World) -> None:
    default = world.provider.get(kind("Project"), None, world.emulator.project_id)
    assert default is not None
    with pytest.raises(ApiError, match="cannot be archived"):
        world.delete(default)


def test_a_rate_limit_gets_its_overwritten_values_back(world: World, search: str) -> None:
    live = world.provider.get(kind("RateLimit"), "search", "rl-gpt-4.1")
    assert live is not None
    before = live.attributes["max_requests_per_1_minute"]
    world.update(live, {"max_requests_per_1_minute": 7})
    record = Record(
        Address("RateLimit", "it", "search"),
        live.id,
        overwritten={"max_requests_per_1_minute": before},
    )
    world.delete(live, record=record)
    assert world.provider.get(kind("RateLimit"), "search", live.id) == live


def test_a_rate_limit_without_a_memory_is_left_alone(world: World, search: str) -> None:
    live = world.provider.get(kind("RateLimit"), "search", "rl-gpt-4.1")
    assert live is not None
    world.delete(live)
    assert world.sent("POST") == []


def test_objects_of_an_archived_project_count_as_gone(world: World, search: str) -> None:
    account = world.create("ServiceAccount", {"name": "a"}, project="search").live
    store = world.create("VectorStore", {"name": "a"}, project="search").live
    project = world.provider.get(kind("Project"), None, search)
    assert project is not None
    world.delete(project)
    world.delete(account)
    world.delete(store)


def test_a_refused_delete_in_a_living_project_is_an_error(world: World, search: str) -> None:
    account = world.create("ServiceAccount", {"name": "archived"}, project="search").live
    world.emulator.add_fault("on=DELETE:*,do=error:400,times=0")
    with pytest.raises(ApiError):
        world.delete(account)


# --- what all of it rests on


def test_side_by_side_keeps_the_order() -> None:
    # More than wait for a thread at a time.
    assert side_by_side(lambda number: number * 2, range(2_500), workers=8) == [
        number * 2 for number in range(2_500)
    ]


def test_side_by_side_begins_nothing_new_after_an_error() -> None:
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        time.sleep(0.001)  # so that the error is seen before all are begun
        raise ValueError(str(number))

    with pytest.raises(ValueError, match="0"):
        side_by_side(work, range(1000), workers=2)
    assert len(begun) < 1000


def test_an_update_keeps_the_project_of_the_object(world: World, search: str) -> None:
    live: LiveObject = world.create("VectorStore", {"name": "a"}, project="search").live
    assert replace(world.update(live, {"name": "b"}).live, attributes={}) == replace(
        live, attributes={}
    )
