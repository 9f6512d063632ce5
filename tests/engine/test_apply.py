"""Each action writes and records the right values, and failures leave a consistent state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.errors import ApiError
from reconciler.model.change import ApplyResult, OutcomeStatus, Reason
from reconciler.model.kind import OnRemove
from reconciler.model.resource import LiveObject
from reconciler.model.values import Reference
from tests.engine.memory import MemoryApi, Stack
from tests.engine.tables import NOW, OTHERS, OURS, World, at, declared, store

STORE, OTHER = "VectorStore/docs", "VectorStore/wiki"
DOCS = {"name": "Docs"}
MakeStack = Callable[..., Stack]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[MakeStack]:
    """Makes a stack with the given objects at its API."""
    made: list[Stack] = []

    def make(*objects: LiveObject) -> Stack:
        made.append(Stack(tmp_path, MemoryApi(objects)))
        return made[-1]

    yield make
    for each in made:
        each.store.close()


def world(*resources: Any) -> World:
    return World(resources)


def docs(name: str = "Docs", **lifecycle: Any) -> World:
    return world(declared(STORE, {"name": name}, **lifecycle))


def statuses(result: ApplyResult) -> dict[str, OutcomeStatus]:
    return {str(outcome.change.address): outcome.status for outcome in result.outcomes}


def applied(stack: Stack, wanted: World) -> None:
    assert set(statuses(stack.apply(wanted)).values()) == {OutcomeStatus.APPLIED}


# Actions


def test_a_create_is_recorded_and_marked(stack: MakeStack) -> None:
    made = stack()
    applied(made, docs())
    [live] = made.api.objects
    record = made.store.records()[at(STORE)]
    assert (record.id, record.applied) == (live.id, DOCS)
    assert live.mark == f"{OURS}/{STORE}"


def test_a_second_apply_writes_nothing(stack: MakeStack) -> None:
    made = stack()
    applied(made, docs())
    made.api.written.clear()
    assert made.apply(docs()).outcomes == ()
    assert made.api.written == []


def test_an_update_sends_the_fields_that_differ(stack: MakeStack) -> None:
    made = stack()
    applied(made, docs())
    made.api.written.clear()
    applied(made, docs("Documents"))
    assert made.api.written == ["update new_1: name"]
    assert made.store.records()[at(STORE)].applied == {"name": "Documents"}


def test_a_deletion_removes_object_and_record(stack: MakeStack) -> None:
    made = stack()
    applied(made, docs())
    applied(made, world())
    assert made.api.ids() == []
    assert made.store.records() == {}


def test_a_retained_object_stays_without_its_mark(stack: MakeStack) -> None:
    made = stack()
    applied(made, docs(on_remove=OnRemove.RETAIN))
    applied(made, world())
    [live] = made.api.objects
    assert live.mark is None
    assert made.store.records() == {}


def test_an_adoption_marks_the_object_and_changes_nothing_else(stack: MakeStack) -> None:
    made = stack(store("vs_1"))
    applied(made, docs(adopt="vs_1"))
    assert made.api.written == ["update vs_1: metadata"]
    assert made.store.records()[at(STORE)].id == "vs_1"


def test_a_renamed_resource_keeps_its_object(stack: MakeStack) -> None:
    made = stack()
    applied(made, docs())
    renamed = world(declared(OTHER, DOCS, renamed_from=at(STORE)))
    applied(made, renamed)
    assert list(made.store.records()) == [at(OTHER)]
    assert made.api.ids() == ["new_1"]
    assert made.api.objects[0].mark == f"{OURS}/{OTHER}"


def test_a_deleted_object_is_created_again(stack: MakeStack) -> None:
    made = stack()
    applied(made, docs())
    made.api.objects.clear()
    plan = made.plan(docs())
    assert [change.reason for change in plan.pending] == [Reason.DELETED_OUTSIDE]
    applied(made, docs())
    assert made.store.records()[at(STORE)].id == "new_2"


# What changed since the plan


def test_an_object_that_changed_since_the_plan_is_left_alone(stack: MakeStack) -> None:
    made = stack()
    applied(made, docs())
    plan = made.plan(docs("Documents"))
    [live] = made.api.objects
    made.api.objects[0] = replace(live, attributes={**live.attributes, "name": "By hand"})
    [outcome] = made.apply(docs("Documents"), plan).outcomes
    assert outcome.status is OutcomeStatus.STALE
    assert [change.after for change in outcome.changed_since_plan] == ["By hand"]
    assert made.api.objects[0].value("name") == "By hand"
    assert made.store.records()[at(STORE)].applied == DOCS


def test_an_object_that_is_gone_since_the_plan_is_not_updated(stack: MakeStack) -> None:
    made = stack()
    applied(made, docs())
    plan = made.plan(docs("Documents"))
    made.api.objects.clear()
    [outcome] = made.apply(docs("Documents"), plan).outcomes
    assert outcome.status is OutcomeStatus.STALE
    assert made.api.ids() == []


def test_an_object_that_is_gone_since_the_plan_counts_as_deleted(stack: MakeStack) -> None:
    made = stack()
    applied(made, docs())
    plan = made.plan(world())
    made.api.objects.clear()
    assert statuses(made.apply(world(), plan)) == {STORE: OutcomeStatus.APPLIED}
    assert made.store.records() == {}


def test_an_object_that_another_stack_has_marked_is_left_alone(stack: MakeStack) -> None:
    made = stack()
    applied(made, docs())
    plan = made.plan(world())
    [live] = made.api.objects
    metadata = {"reconciler": f"{OTHERS}/{STORE}"}
    made.api.objects[0] = replace(live, attributes={**live.attributes, "metadata": metadata})
    assert statuses(made.apply(world(), plan)) == {STORE: OutcomeStatus.STALE}
    assert made.api.ids() == ["new_1"]


# Lost answers


def test_a_create_whose_answer_was_lost_is_found_by_its_mark(stack: MakeStack) -> None:
    made = stack()
    made.api.lost_after.append(True)
    applied(made, docs())
    assert made.api.written == ["create Docs"]
    assert made.store.records()[at(STORE)].id == "new_1"


def test_a_create_that_never_arrived_is_sent_again_after_the_window(stack: MakeStack) -> None:
    made = stack()
    made.api.lost_after.append(False)
    applied(made, docs())
    assert made.api.written == ["create Docs"]
    assert sum(made.pauses) == pytest.approx(12.0)


def test_a_create_that_is_always_lost_stays_open_in_the_journal(stack: MakeStack) -> None:
    made = stack()
    made.api.lost_after.extend([False] * 4)
    assert statuses(made.apply(docs())) == {STORE: OutcomeStatus.FAILED}
    assert made.store.records() == {}
    assert list(made.next_run().ownership.unfinished) == [at(STORE)]


def test_the_next_run_finds_an_object_that_appears_late(stack: MakeStack) -> None:
    made = stack()
    made.api.lost_after.extend([False] * 4)
    made.apply(docs())
    late = store("vs_late", mark=STORE, created_at=NOW)
    made.api.objects.append(late)
    next_run = made.next_run()
    made.api.written.clear()
    assert [change.reason for change in next_run.plan(docs()).changes] == [Reason.IN_SYNC]
    next_run.apply(docs())
    assert made.api.written == []
    assert next_run.store.records()[at(STORE)].id == "vs_late"


def test_the_next_run_creates_objects_whose_create_never_arrived(stack: MakeStack) -> None:
    made = stack()
    made.api.lost_after.extend([False] * 4)
    made.apply(docs())
    next_run = made.next_run()
    applied(next_run, docs())
    assert made.api.ids() == ["new_1"]
    assert list(next_run.next_run().ownership.unfinished) == []


def test_the_next_run_deletes_an_object_that_nothing_declares_any_more(stack: MakeStack) -> None:
    made = stack()
    made.api.lost_after.extend([False] * 4)
    made.apply(docs())
    made.api.objects.append(store("vs_late", mark=STORE, created_at=NOW))
    applied(made.next_run(), world())
    assert made.api.ids() == []


# Dependencies and failures


def pair(name: str = "Docs", bot: str = "Bot") -> World:
    """A store, and an assistant that refers to it."""
    tools = {"file_search": {"vector_store_ids": [Reference(at(STORE))]}}
    spec = {"name": bot, "model": "gpt-4o", "tool_resources": tools}
    return world(declared(STORE, {"name": name}), declared("Assistant/bot", spec))


def test_a_reference_has_the_id_of_the_new_object(stack: MakeStack) -> None:
    made = stack()
    applied(made, pair())
    bot = next(live for live in made.api.objects if live.kind.name == "Assistant")
    assert bot.value("tool_resources") == {"file_search": {"vector_store_ids": ["new_1"]}}


def test_objects_are_created_after_what_they_need_and_deleted_before(stack: MakeStack) -> None:
    made = stack()
    applied(made, pair())
    applied(made, world())
    assert made.api.written == ["create Docs", "create Bot", "delete new_2", "delete new_1"]


def test_a_failure_skips_only_what_depends_on_it(stack: MakeStack) -> None:
    made = stack()
    made.api.refusals["Docs"] = ApiError("full", status=400, request_id="req_1")
    wanted = pair()
    wanted = wanted._replace(desired=[*wanted.desired, declared(OTHER, {"name": "Wiki"})])
    result = made.apply(wanted)
    assert statuses(result) == {
        STORE: OutcomeStatus.FAILED,
        "Assistant/bot": OutcomeStatus.SKIPPED,
        OTHER: OutcomeStatus.APPLIED,
    }
    [failed], [skipped] = result.of(OutcomeStatus.FAILED), result.of(OutcomeStatus.SKIPPED)
    assert (failed.message, failed.request_id) == ("full", "req_1")
    assert skipped.message == f"{STORE} did not go through"


def test_a_refused_create_leaves_nothing_to_search_for(stack: MakeStack) -> None:
    made = stack()
    made.api.refusals["Docs"] = ApiError("full", status=400)
    made.apply(docs())
    assert list(made.store.runs.unfinished()) == []


def test_a_refused_delete_keeps_the_record(stack: MakeStack) -> None:
    made = stack()
    applied(made, docs())
    made.api.refusals["new_1"] = ApiError("in use", status=409)
    assert statuses(made.apply(world())) == {STORE: OutcomeStatus.FAILED}
    assert made.store.records()[at(STORE)].id == "new_1"


def test_an_interrupt_starts_no_further_step(stack: MakeStack) -> None:
    made = stack()
    stop = Event()
    stop.set()
    result = made.apply(pair(), stop=stop)
    assert set(statuses(result).values()) == {OutcomeStatus.SKIPPED}
    assert result.interrupted
    assert made.api.written == []


def test_messages_are_redacted(stack: MakeStack) -> None:
    made = stack()
    made.api.refusals["Docs"] = ApiError("the key sk-1 is wrong", status=401)
    [outcome] = made.apply(docs(), redact=lambda text: text.replace("sk-1", "…")).outcomes
    assert outcome.message == "the key … is wrong"


def test_outputs_have_the_ids_of_new_objects(stack: MakeStack) -> None:
    made = stack()
    result = made.apply(docs(), outputs={"id": Reference(at(STORE)), "fixed": 1})
    assert result.outputs == {"id": "new_1", "fixed": 1}


def test_an_output_of_a_failed_change_is_left_out(stack: MakeStack) -> None:
    made = stack()
    made.api.refusals["Docs"] = ApiError("full", status=400)
    assert made.apply(docs(), outputs={"id": Reference(at(STORE))}).outputs == {}


class Progress:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def started(self, change: Any) -> None:
        self.heard.append(f"start {change.address}")

    def job_event(self, change: Any, text: str) -> None:
        self.heard.append(f"{change.address}: {text}")

    def finished(self, outcome: Any) -> None:
        self.heard.append(f"{outcome.status} {outcome.change.address}")


def test_a_listener_hears_each_change_begin_and_end(stack: MakeStack) -> None:
    listener = Progress()
    stack().apply(docs(), listener=listener)
    assert listener.heard == [f"start {STORE}", f"applied {STORE}"]


def test_a_listener_hears_of_skipped_changes(stack: MakeStack) -> None:
    made, listener = stack(), Progress()
    made.api.refusals["Docs"] = ApiError("full", status=400)
    made.apply(pair(), listener=listener)
    assert listener.heard == [f"start {STORE}", f"failed {STORE}", "skipped Assistant/bot"]


# Duplicates


def test_a_lookalike_that_appeared_since_the_plan_is_not_duplicated(stack: MakeStack) -> None:
    made = stack()
    plan = made.plan(docs())
    made.api.objects.append(store("vs_9", created_at=NOW))
    result = made.apply(docs(), plan, age_seconds=lambda: 3_600.0)
    assert statuses(result) == {STORE: OutcomeStatus.STALE}
    assert made.api.ids() == ["vs_9"]


def test_the_object_of_a_run_at_the_same_time_is_reported(stack: MakeStack) -> None:
    made = stack()
    plan = made.plan(docs())
    made.api.objects.append(store("vs_9", mark=STORE, created_at=NOW))
    [outcome] = made.apply(docs(), plan).outcomes
    assert outcome.status is OutcomeStatus.APPLIED
    assert outcome.notes[0].startswith("vs_9 carries the mark of VectorStore/docs too")


def test_the_object_of_another_stack_is_no_duplicate(stack: MakeStack) -> None:
    made = stack()
    plan = made.plan(docs())
    made.api.objects.append(store("vs_9", mark=f"{OTHERS}/{STORE}", created_at=NOW))
    [outcome] = made.apply(docs(), plan).outcomes
    assert outcome.notes == ()
