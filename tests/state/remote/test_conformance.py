"""A shared state keeps the promises of a local one, whatever storage holds its log."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import Interrupted, LeaseLostError, LockedError
from reconciler.model.address import Address
from reconciler.model.resource import Record
from reconciler.state import Holder, Identity, Journal, PreImage, StateStore
from tests.state.remote.conftest import ENVIRONMENT, STACK, Open
from tests.state.shared import begin_run

SEARCH = Address.parse("Project/search")
ADS = Address.parse("Project/ads")
INDEXER = Address.parse("ServiceAccount/search/indexer")
MOMENT = 1_700_000_000.0


def refuse_takeover(holder: Holder) -> None:
    raise AssertionError(f"nobody was to be replaced: {holder}")


def write_everything(store: StateStore) -> None:
    """One use of every operation that writes."""
    with store.lock(command="apply", on_takeover=refuse_takeover):
        store.bind(server="https://api.example.com", organization="org-acme")
        first = begin_run(store)
        journal = store.runs.journal(first)
        image = PreImage(SEARCH, "create", None, {}, None, reason="NEW")
        with journal.change(SEARCH, "create", {"half": "write"}, pre_image=image) as change:
            with change.step("create", identity={"name": "Search"}) as step:
                step.done("proj_1", name="Search")
            change.finish(Record(SEARCH, "proj_1", applied={"name": "Search", "at": 1.5}))
        with (
            pytest.raises(ZeroDivisionError),
            journal.change(ADS, "create") as change,
            change.step("create"),
        ):
            raise ZeroDivisionError
        with pytest.raises(KeyboardInterrupt):
            interrupt_create(journal, INDEXER)
        store.put(Record(ADS, "proj_2", depends_on=(SEARCH,), deposed=("proj_0",)))
        store.put_unchanged(
            Record(ADS, "proj_2"), first, PreImage(ADS, "update", "proj_2", {}, None)
        )
        store.move(ADS, Address.parse("Project/advertising"))
        store.put(Record(ADS, "proj_3"))
        store.remove(ADS)
        store.set_outputs({"search": "proj_1", "list": [1, None, "ü\u2028"]})
        store.remarks.put("digest", "abc")
        store.remarks.put("digest", "abd")
        store.parse_cache.keep({"d1": b"\x00\xff", "d2": b"two"})
        store.parse_cache.keep({"d2": b"two"})
        store.runs.end(first, status="incomplete", counts={"applied": 1})
        second = begin_run(store)
        with store.runs.journal(second).change(INDEXER, "delete") as change:
            change.finish(remove=True)
        store.runs.end(second, status="done", counts={})


def interrupt_create(journal: Journal, address: Address) -> None:
    """A change that is interrupted after its call succeeded."""
    with journal.change(address, "create") as change:
        with change.step("create") as step:
            step.done("svc_1")
        raise KeyboardInterrupt


def everything_read(store: StateStore) -> dict[str, Any]:
    """The answer of every operation that reads, apart from random and machine-made values."""
    return {
        "identity": (store.identity.server, store.identity.organization),
        "serial": store.serial,
        "records": dict(store.records()),
        "held": store.held_ids(ADS),
        "holders": store.holders("Project", "proj_2"),
        "outputs": dict(store.outputs()),
        "meta": store.remarks.get("digest"),
        "parsed": (store.parse_cache.find("d1"), store.parse_cache.find("d2")),
        "unfinished": store.runs.unfinished(),
        "steps": store.runs.steps_of(1),
        "runs": store.runs.all(),
        "pre_images": store.runs.pre_images(1),
        "made": store.runs.created_since(MOMENT - 60),
        "holder": store.holder(),
    }


def test_every_operation_answers_as_a_local_state_does(open_state: Open, tmp_path: Path) -> None:
    local = StateStore.open(
        tmp_path / "local", stack=STACK, environment=ENVIRONMENT, clock=lambda: MOMENT
    )
    shared = open_state(clock=lambda: MOMENT)
    for store in (local, shared):
        write_everything(store)
    assert everything_read(open_state()) == everything_read(shared) == everything_read(local)
    local.close()


def test_an_empty_storage_is_an_empty_state(open_state: Open) -> None:
    store = open_state()
    assert (dict(store.records()), store.serial, store.identity) == ({}, 0, Identity())


def test_a_reader_during_a_run_sees_what_was_written_before_a_step(open_state: Open) -> None:
    store = open_state()
    with store.lock(command="apply", on_takeover=refuse_takeover):
        run_id = begin_run(store)
        store.put(Record(SEARCH, "proj_1"))
        with store.runs.journal(run_id).change(ADS, "create") as change, change.step("create"):
            reader = open_state()
            assert set(reader.records()) == {SEARCH}
            (entry,) = reader.runs.unfinished()
            assert (entry.address, [step.name for step in entry.steps]) == (ADS, ["create"])
            assert reader.runs.all()[-1].status is None


def test_a_second_run_learns_who_holds_the_lock(open_state: Open) -> None:
    with open_state().lock(command="apply", on_takeover=refuse_takeover) as holder:
        second = open_state().lock(command="destroy", on_takeover=refuse_takeover)
        with pytest.raises(LockedError) as raised, second:
            pass
    assert str(holder) in str(raised.value)


def test_a_waiting_run_goes_on_once_the_lock_is_released(open_state: Open) -> None:
    is_waiting, messages = threading.Event(), []

    def wait(holder: str) -> None:
        messages.append(holder)
        is_waiting.set()

    def run_second() -> None:
        store = open_state()
        with store.lock(
            command="apply", on_takeover=refuse_takeover, wait_seconds=60, on_wait=wait
        ):
            store.put(Record(ADS, "proj_2"))

    first = open_state()
    with first.lock(command="apply", on_takeover=refuse_takeover):
        second = threading.Thread(target=run_second)
        second.start()
        assert is_waiting.wait(60)
        first.put(Record(SEARCH, "proj_1"))
    second.join(60)
    assert set(open_state().records()) == {SEARCH, ADS}
    assert len(messages) == 1


def test_what_its_pause_raises_ends_the_wait_for_the_lock(open_state: Open) -> None:
    def stop(_: float) -> None:
        raise Interrupted("stopped")

    with open_state().lock(command="apply", on_takeover=refuse_takeover):
        second = open_state().lock(
            command="apply", on_takeover=refuse_takeover, wait_seconds=60, pause=stop
        )
        with pytest.raises(Interrupted), second:
            pass


WRITES: dict[str, Callable[[StateStore, int], object]] = {
    "put": lambda store, _: store.put(Record(ADS, "x")),
    "remove": lambda store, _: store.remove(SEARCH),
    "put_remark": lambda store, _: store.remarks.put("a", "b"),
    "set_outputs": lambda store, _: store.set_outputs({"a": 1}),
    "keep_parsed_files": lambda store, _: store.parse_cache.keep({"d": b""}),
    "begin_run": lambda store, _: begin_run(store),
    "end_run": lambda store, run: store.runs.end(run, status="done", counts={}),
    "bind": lambda store, _: store.bind(server="https://a.example", organization=""),
    "move": lambda store, _: store.move(SEARCH, ADS),
}


def run_replaced(
    store: StateStore,
    other: StateStore,
    act: Callable[[], object],
    on_lost: Callable[[], None] = lambda: None,
) -> None:
    """Hold the lock, lose it, and act."""
    with store.lock(command="apply", on_takeover=refuse_takeover, on_lost=on_lost):
        other.unlock()
        act()


@pytest.mark.parametrize("name", WRITES)
def test_no_write_of_a_replaced_run_arrives(open_state: Open, name: str) -> None:
    store = open_state()
    with store.lock(command="apply", on_takeover=refuse_takeover):
        store.put(Record(SEARCH, "proj_1"))
        run_id = begin_run(store)
        with pytest.raises(KeyboardInterrupt):
            interrupt_create(store.runs.journal(run_id), SEARCH)
        store.runs.end(begin_run(store), status="done", counts={})
    before = everything_read(open_state())
    with pytest.raises(LeaseLostError):
        run_replaced(store, open_state(), lambda: WRITES[name](store, run_id))
    assert everything_read(open_state()) == before


def test_a_step_of_a_replaced_run_does_not_begin(open_state: Open) -> None:
    store, calls = open_state(), []

    def create() -> None:
        journal = store.runs.journal(1)
        with journal.change(SEARCH, "create") as change, change.step("create"):
            calls.append("create")

    with pytest.raises(LeaseLostError):
        run_replaced(store, open_state(), create)
    assert not calls


def test_a_replaced_run_hears_of_it_without_asking(open_state: Open) -> None:
    store, is_lost = open_state(), threading.Event()

    def write() -> None:
        store.remarks.put("a", "b")
        is_lost.wait(60)

    with pytest.raises(LeaseLostError):
        run_replaced(store, open_state(), write, on_lost=is_lost.set)
    assert is_lost.is_set()


def test_a_replaced_run_may_not_call_the_api(open_state: Open) -> None:
    store, is_lost, calls = open_state(), threading.Event(), []

    def call() -> None:
        store.remarks.put("a", "b")
        is_lost.wait(60)
        store.permit()
        calls.append("called")

    with pytest.raises(LeaseLostError):
        run_replaced(store, open_state(), call, on_lost=is_lost.set)
    assert not calls


def test_racing_runs_exclude_each_other(open_state: Open) -> None:
    inside, counts, errors = [], [], []

    def run() -> None:
        try:
            store = open_state()
            with store.lock(command="apply", on_takeover=refuse_takeover, wait_seconds=120):
                inside.append(1)
                counts.append(len(inside))
                store.remarks.put("count", str(int(store.remarks.get("count") or 0) + 1))
                inside.pop()
        except BaseException as error:  # noqa: BLE001 - a thread has nobody to raise it to
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert (errors, set(counts), open_state().remarks.get("count")) == ([], {1}, "6")


def test_many_segments_and_their_snapshots_lose_nothing(open_state: Open) -> None:
    written = {}
    for round_number in range(4):
        store = open_state()
        with store.lock(command="apply", on_takeover=refuse_takeover):
            journal = store.runs.journal(begin_run(store))
            for number in range(40):
                record = Record(Address("File", f"f{round_number}-{number}"), f"file-{number}")
                with journal.change(record.address, "create") as change:
                    with change.step("create") as step:
                        step.done(record.id)
                    change.finish(record)
                written[record.address] = record
    assert dict(open_state().records()) == written


def test_the_same_process_cannot_hold_the_lock_twice(open_state: Open) -> None:
    store = open_state()
    with store.lock(command="apply", on_takeover=refuse_takeover):
        second = store.lock(command="apply", on_takeover=refuse_takeover)
        with pytest.raises(LockedError), second:
            pass


def test_a_state_of_ten_thousand_records_comes_back_whole(open_state: Open) -> None:
    records = {
        address: Record(address, f"file-{number}", applied={"name": f"file {number}"})
        for number in range(10_000)
        for address in (Address("File", f"f{number}"),)
    }
    store = open_state()
    with store.lock(command="import", on_takeover=refuse_takeover):
        for record in records.values():
            store.put(record)
    assert dict(open_state().records()) == records
