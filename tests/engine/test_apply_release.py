"""Objects that are released, deleted, adopted or refused are treated by their action."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.engine.apply.create import create
from reconciler.engine.apply.delete import delete
from reconciler.engine.apply.forget import forget
from reconciler.errors import ApiError, StalePlanError
from reconciler.kinds import ALL_KINDS
from reconciler.model.change import Action, Change, FieldChange, Plan, Reason
from reconciler.model.job import INPUTS_KEY
from reconciler.model.kind import OnRemove, Removal
from reconciler.model.resource import MARK_KEY, LiveObject, Record
from tests.engine.memory import MemoryApi, Stack
from tests.engine.tables import OURS, at, recorded, shown, store

STORE, LIMIT, ACCOUNT = "VectorStore/docs", "RateLimit/search/gpt", "ServiceAccount/search/ci"
TUNING = "FineTuningJob/tone"
MODEL = "max_requests_per_1_minute"
MakeStack = Callable[..., Stack]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[MakeStack]:
    """Makes a stack with the given objects at its API and the given records."""
    made: list[Stack] = []

    def make(*objects: LiveObject, prior: tuple[Record, ...] = ()) -> Stack:
        made.append(Stack(tmp_path, MemoryApi(objects)))
        made[-1].record(*prior)
        return made[-1]

    yield make
    for each in made:
        each.store.close()


def change(address: str, action: Action, reason: Reason, id: str | None, **more: Any) -> Change:
    return Change(
        at(address), action, reason, id=id, removal=ALL_KINDS[at(address).kind].removal, **more
    )


def run(stack: Stack, action: Callable[..., Any], planned: Change) -> None:
    """Run one action of a plan that has nothing else to do."""
    context = stack.context(Plan("shop", "prod", (planned,)))
    with stack.journal(planned) as journal:
        action(planned, context, journal)


def limit(requests: int) -> LiveObject:
    attributes = {"id": "rl-1", "model": "gpt-4.1", MODEL: requests}
    return shown("RateLimit", "rl-1", attributes, "search")


def value_of(stack: Stack, id: str, field: str) -> Any:
    (live,) = [live for live in stack.api.objects if live.id == id]
    return live.value(field)


# --- forget


@pytest.mark.parametrize(
    ("reason", "is_released"),
    [
        (Reason.RETAINED, True),
        (Reason.PROJECT_RETAINED, True),
        (Reason.ROLLBACK, True),
        (Reason.OTHER_OWNER, False),
        (Reason.OTHER_ADDRESS, False),
        (Reason.WITH_PROJECT, False),
        (Reason.RETIRED, False),
    ],
)
def test_only_a_released_object_loses_its_mark(
    stack: MakeStack, reason: Reason, is_released: bool
) -> None:
    made = stack(store("vs_1", mark=STORE), prior=(recorded(STORE, "vs_1"),))
    run(made, forget, change(STORE, Action.FORGET, reason, "vs_1"))
    assert made.api.objects[0].mark == (None if is_released else f"{OURS}/{STORE}")
    assert made.store.records() == {}


def test_a_released_object_that_is_gone_is_only_forgotten(stack: MakeStack) -> None:
    made = stack(prior=(recorded(STORE, "vs_1"),))
    run(made, forget, change(STORE, Action.FORGET, Reason.RETAINED, "vs_1"))
    assert (made.api.written, made.store.records()) == ([], {})


def test_an_object_that_a_rollback_releases_gets_its_values_back(stack: MakeStack) -> None:
    made = stack(store("vs_1", mark=STORE), prior=(recorded(STORE, "vs_1", {"name": "Docs"}),))
    planned = change(
        STORE,
        Action.FORGET,
        Reason.ROLLBACK,
        "vs_1",
        fields=(FieldChange(("name",), "Docs", "Wiki"),),
        restored={"name": "Wiki"},
    )
    run(made, forget, planned)
    assert made.api.written == ["update vs_1: metadata, name"]
    assert (value_of(made, "vs_1", "name"), made.api.objects[0].mark) == ("Wiki", None)


@pytest.mark.parametrize(
    ("delivered", "on_remove", "is_withdrawn"),
    [
        ({"key": {"key_id": "key_1"}}, OnRemove.DELETE, True),
        ({"key": {"key_id": "key_1"}}, OnRemove.RETAIN, False),
        ({}, OnRemove.DELETE, False),
    ],
)
def test_the_delivered_keys_of_an_object_that_is_gone_are_withdrawn(
    stack: MakeStack, delivered: dict[str, Any], on_remove: OnRemove, is_withdrawn: bool
) -> None:
    made = stack(prior=(recorded(ACCOUNT, "sa_1", delivered=delivered),))
    planned = change(ACCOUNT, Action.FORGET, Reason.GONE, "sa_1", on_remove=on_remove.value)
    run(made, forget, planned)
    assert made.api.written == (["delete sa_1"] if is_withdrawn else [])
    assert made.store.records() == {}


# --- delete


def test_a_running_job_is_cancelled_and_not_deleted(stack: MakeStack) -> None:
    job = shown("FineTuningJob", "ftjob-1", {"id": "ftjob-1", "status": "running"})
    made = stack(job, prior=(recorded(TUNING, "ftjob-1"),))
    planned = change(TUNING, Action.DELETE, Reason.NOT_DECLARED, "ftjob-1")
    run(made, delete, replace(planned, removal=Removal.CANCEL))
    assert (made.api.written, made.api.ids()) == (["cancel ftjob-1"], ["ftjob-1"])
    assert made.store.records() == {}


def test_a_left_behind_object_leaves_the_record_of_its_replacement(stack: MakeStack) -> None:
    record = recorded(STORE, "vs_2", deposed=("vs_0", "vs_1"))
    made = stack(store("vs_1"), store("vs_2", mark=STORE), prior=(record,))
    run(made, delete, change(STORE, Action.DELETE, Reason.LEFT_BEHIND, "vs_1"))
    assert made.api.ids() == ["vs_2"]
    assert made.store.records()[at(STORE)].deposed == ("vs_0",)


def test_a_match_of_a_rule_that_somebody_has_marked_since_is_not_deleted(
    stack: MakeStack,
) -> None:
    made = stack(store("vs_1", mark=STORE))
    planned = change(
        "VectorStore/vs_1",
        Action.DELETE,
        Reason.RETENTION,
        "vs_1",
        matched_by=at("Retention/old"),
    )
    with pytest.raises(StalePlanError, match="taken over since"):
        run(made, delete, planned)
    assert made.api.ids() == ["vs_1"]


def test_an_object_that_is_gone_is_dropped_without_a_call(stack: MakeStack) -> None:
    made = stack(prior=(recorded(STORE, "vs_1"),))
    run(made, delete, change(STORE, Action.DELETE, Reason.NOT_DECLARED, "vs_1"))
    assert (made.api.written, made.store.records()) == ([], {})


# --- create


def test_an_object_that_always_exists_is_found_and_updated(stack: MakeStack) -> None:
    made = stack(limit(100))
    desired = {"model": "gpt-4.1", MODEL: 5}
    run(made, create, change(LIMIT, Action.CREATE, Reason.NEW, None, desired=desired))
    assert made.api.written == [f"update rl-1: {MODEL}"]
    assert made.store.records()[at(LIMIT)].overwritten == {MODEL: 100}


def test_an_object_that_always_exists_and_is_as_desired_takes_no_write(stack: MakeStack) -> None:
    made = stack(limit(5))
    desired = {"model": "gpt-4.1", MODEL: 5}
    run(made, create, change(LIMIT, Action.CREATE, Reason.NEW, None, desired=desired))
    assert made.api.written == []
    assert made.store.records()[at(LIMIT)].id == "rl-1"


def test_an_object_that_should_always_exist_and_does_not_is_an_error(stack: MakeStack) -> None:
    made = stack(limit(5))
    desired = {"model": "gpt-9", MODEL: 5}
    with pytest.raises(ApiError, match="lists no RateLimit with model 'gpt-9' here"):
        run(made, create, change(LIMIT, Action.CREATE, Reason.NEW, None, desired=desired))
    assert made.api.written == []


def test_a_create_writes_no_field_without_a_value(stack: MakeStack) -> None:
    made = stack()
    desired = {"name": "Docs", "expires_after": None}
    run(made, create, change(STORE, Action.CREATE, Reason.NEW, None, desired=desired))
    assert "expires_after" not in made.api.objects[0].attributes


def test_a_replacement_whose_old_object_changed_creates_nothing(stack: MakeStack) -> None:
    made = stack(store("vs_1", "Renamed", mark=STORE), prior=(recorded(STORE, "vs_1"),))
    planned = change(
        STORE,
        Action.REPLACE,
        Reason.REQUESTED,
        "vs_1",
        create_before_destroy=True,
        desired={"name": "Docs"},
        pre_image={"name": "Docs"},
    )
    with pytest.raises(StalePlanError):
        run(made, create, planned)
    assert made.api.written == []


def test_the_metadata_of_a_new_job_has_the_digest_of_its_inputs(stack: MakeStack) -> None:
    made = stack()
    desired = {"model": "gpt-4.1-mini", "training_file": "file-1", "metadata": {"team": "search"}}
    run(made, create, change(TUNING, Action.CREATE, Reason.NEW, None, desired=desired))
    [job] = made.api.objects
    assert job.inputs == job.kind.inputs_digest(desired)
    assert job.attributes["metadata"] == {
        "team": "search",
        INPUTS_KEY: job.inputs,
        MARK_KEY: f"{OURS}/{TUNING}",
    }


def test_a_new_project_is_known_to_the_steps_that_follow(stack: MakeStack) -> None:
    made = stack()
    planned = change("Project/search", Action.CREATE, Reason.NEW, None, desired={"name": "Search"})
    below = change(ACCOUNT, Action.CREATE, Reason.NEW, None, desired={"name": "ci"})
    context = made.context(Plan("shop", "prod", (planned, below)))
    for each in (planned, below):
        with made.journal(each) as journal:
            create(each, context, journal)
    assert made.store.records()[at(ACCOUNT)].project_id == "new_1"
