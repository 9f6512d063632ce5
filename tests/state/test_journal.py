"""The journal tells the next run what may have happened."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.errors import AmbiguousError, ApiError
from reconciler.model.address import Address
from reconciler.model.consistency import ATTEMPT_SECONDS, LATE_SECONDS
from reconciler.model.provider import Steps
from reconciler.model.resource import Record
from reconciler.model.secret import MASK, Secret
from reconciler.state import ChangeJournal, EntryStatus, Journal, PreImage, StateStore
from tests.state.shared import begin_run, open_reader

INDEXER = Address.parse("ServiceAccount/search/indexer")
NOW = 1_700_000_000.0


@pytest.fixture
def first_run(store: StateStore) -> Journal:
    return store.runs.journal(begin_run(store))


@pytest.fixture
def second_run(store: StateStore, first_run: Journal, folder: Path) -> Journal:
    """A later run, in a later process: it has a connection of its own."""
    return store.runs.journal(begin_run(store))


def upload(change: ChangeJournal) -> None:
    with change.step("upload a.md", sha256="00") as step:
        step.done("file-1", bytes=3)


def upload_then_raise(
    journal: Journal,
    error: BaseException,
    *,
    address: Address = INDEXER,
    pre_image: PreImage | None = None,
) -> None:
    """A change that makes one call, which succeeds, and then ends early."""
    begun = journal.change(address, "create", pre_image=pre_image)
    with pytest.raises(type(error)), begun as change:  # noqa: PT012 - that is the story
        upload(change)
        raise error


def test_a_pre_image_is_kept_before_anything_is_called_and_done_with_its_own_change(
    store: StateStore, first_run: Journal
) -> None:
    old, new = (PreImage(INDEXER, "delete", id, {"name": id}, None) for id in ("old", "new"))
    with first_run.change(INDEXER, "delete", pre_image=old) as change:
        assert [image.id for image in store.runs.pre_images(1)] == ["old"]
        change.finish()
    upload_then_raise(first_run, ApiError("no"), pre_image=new)
    assert [(image.id, image.done) for image in store.runs.pre_images(1)] == [
        ("old", True),
        ("new", False),
    ]


def test_a_change_journal_implements_the_steps_of_a_provider(first_run: Journal) -> None:
    with first_run.change(INDEXER, "create") as change:
        steps: Steps = change
        assert steps.unfinished("create") == []
        change.finish()


def test_a_finished_change_leaves_its_record_and_nothing_unfinished(
    first_run: Journal, store: StateStore, folder: Path
) -> None:
    with first_run.change(INDEXER, "create", {"name": "indexer"}) as change:
        upload(change)
        change.finish(Record(INDEXER, "user_1"))
    with open_reader(folder) as later:
        assert (list(later.records()), list(later.runs.unfinished())) == ([INDEXER], [])


def test_a_finished_delete_removes_the_record(first_run: Journal, store: StateStore) -> None:
    store.put(Record(INDEXER, "user_1"))
    with first_run.change(INDEXER, "delete") as change:
        change.finish(remove=True)
    assert dict(store.records()) == {}


def test_a_finish_without_a_record_leaves_the_state_unchanged(
    first_run: Journal, store: StateStore
) -> None:
    store.put(Record(INDEXER, "user_1"))
    with first_run.change(INDEXER, "update") as change:
        change.finish()
    assert (list(store.records()), store.serial) == ([INDEXER], 1)


@pytest.mark.parametrize(
    "abort", [KeyboardInterrupt, SystemExit, lambda: AmbiguousError("no answer")]
)
def test_a_change_that_was_aborted_or_has_no_answer_stays_unfinished(
    first_run: Journal, folder: Path, abort: Callable[[], BaseException]
) -> None:
    error = abort()
    with (
        pytest.raises(type(error)),
        first_run.change(INDEXER, "create", {"x": 1}) as change,
        change.step("create", api_name="indexer"),
    ):
        raise error
    with open_reader(folder) as later:
        entry = later.runs.unfinished()[0]
    assert (entry.address, entry.name, entry.intent, entry.status) == (
        INDEXER,
        "create",
        {"x": 1},
        EntryStatus.BEGUN,
    )
    assert [(step.name, step.intent, step.status) for step in entry.steps] == [
        ("create", {"api_name": "indexer"}, EntryStatus.BEGUN)
    ]


def test_a_change_that_the_api_refused_is_not_unfinished(first_run: Journal, folder: Path) -> None:
    with (
        pytest.raises(ApiError),
        first_run.change(INDEXER, "create") as change,
        change.step("create"),
    ):
        raise ApiError("no such role")
    with open_reader(folder) as later:
        assert list(later.runs.unfinished()) == []


def test_a_change_that_failed_after_a_call_is_unfinished_with_its_id(
    first_run: Journal, folder: Path
) -> None:
    upload_then_raise(first_run, ApiError("the second call failed"))
    with open_reader(folder) as later:
        entry = later.runs.unfinished()[0]
    assert (entry.status, entry.message, entry.ids) == (
        EntryStatus.FAILED,
        "the second call failed",
        ("file-1",),
    )


def test_a_step_that_is_left_without_a_result_has_failed(first_run: Journal, folder: Path) -> None:
    with first_run.change(INDEXER, "create") as change:
        upload(change)
        with change.step("attach"):
            pass
    with open_reader(folder) as later:
        entry = later.runs.unfinished()[0]
    assert [step.status for step in entry.steps] == [EntryStatus.DONE, EntryStatus.FAILED]


def test_a_done_step_stays_done_after_an_error(first_run: Journal, folder: Path) -> None:
    with (
        first_run.change(INDEXER, "create") as change,
        suppress(ApiError),
        change.step("create") as step,
    ):
        step.done("user_1")
        raise ApiError("too late")
    with open_reader(folder) as later:
        assert later.runs.unfinished()[0].ids == ("user_1",)


def test_the_intent_is_on_disk_before_the_call(first_run: Journal, folder: Path) -> None:
    with first_run.change(INDEXER, "create") as change:
        with change.step("create", api_name="indexer") as step:
            with open_reader(folder) as other:
                assert other.runs.unfinished()[0].steps[0].intent == {"api_name": "indexer"}
            step.done("user_1")
        change.finish()


def test_changes_in_progress_are_not_unfinished_for_their_own_run(
    first_run: Journal, store: StateStore
) -> None:
    with first_run.change(INDEXER, "create") as change:
        assert list(store.runs.unfinished()) == []
        change.finish()


def test_a_provider_finds_the_open_steps_of_earlier_runs(
    first_run: Journal, second_run: Journal
) -> None:
    with pytest.raises(AmbiguousError), first_run.change(INDEXER, "create") as change:  # noqa: SIM117
        with change.step("create", api_name="indexer"):
            raise AmbiguousError("no answer")
    with second_run.change(INDEXER, "create") as change:
        with change.step("create", api_name="again") as step:
            assert change.unfinished("create") == [
                {"api_name": "indexer", "began_at": NOW, "ended_at": NOW}
            ]
            step.done("user_1")
        assert change.unfinished("upload") == []
        change.finish()


def test_a_provider_finds_steps_that_succeeded_in_failed_changes(
    first_run: Journal, second_run: Journal
) -> None:
    upload_then_raise(first_run, ApiError("full"))
    with second_run.change(INDEXER, "create") as change:
        assert change.finished("upload a.md") == [{"id": "file-1", "bytes": 3}]
        change.finish()


def test_a_provider_does_not_find_steps_of_other_addresses(
    first_run: Journal, second_run: Journal
) -> None:
    upload_then_raise(first_run, KeyboardInterrupt(), address=Address.parse("File/search/a"))
    with second_run.change(INDEXER, "create") as change:
        assert (change.unfinished("upload a.md"), change.finished("upload a.md")) == ([], [])
        change.finish()


def test_a_provider_does_not_find_steps_of_successful_changes(
    first_run: Journal, second_run: Journal
) -> None:
    with first_run.change(INDEXER, "create") as change:
        upload(change)
        change.finish()
    with second_run.change(INDEXER, "update") as change:
        assert change.finished("upload a.md") == []
        change.finish()


def test_a_finished_change_settles_the_entries_of_earlier_runs(
    first_run: Journal, second_run: Journal, folder: Path
) -> None:
    with pytest.raises(KeyboardInterrupt), first_run.change(INDEXER, "create"):
        raise KeyboardInterrupt
    with second_run.change(INDEXER, "create") as change:
        change.finish(Record(INDEXER, "user_1"))
    with open_reader(folder) as later:
        assert list(later.runs.unfinished()) == []


def test_a_finished_half_does_not_settle_the_other_half_of_its_run(
    first_run: Journal, folder: Path
) -> None:
    with suppress(KeyboardInterrupt), first_run.change(INDEXER, "replace"):
        with first_run.change(INDEXER, "replace") as creating:
            creating.finish(Record(INDEXER, "user_2"))
        raise KeyboardInterrupt
    with open_reader(folder) as later:
        assert len(later.runs.unfinished()) == 1


def test_a_finished_change_settles_its_own_address_only(
    first_run: Journal, second_run: Journal, folder: Path
) -> None:
    other = Address.parse("Project/search")
    for address in (INDEXER, other):
        upload_then_raise(first_run, KeyboardInterrupt(), address=address)
    with second_run.change(INDEXER, "create") as change:
        change.finish(Record(INDEXER, "user_1"))
    with open_reader(folder) as later:
        assert [entry.address for entry in later.runs.unfinished()] == [other]


def test_a_move_takes_the_unfinished_entries_along(
    first_run: Journal, store: StateStore, folder: Path
) -> None:
    target = Address.parse("ServiceAccount/search/worker")
    store.put(Record(INDEXER, "user_1"))
    with pytest.raises(KeyboardInterrupt), first_run.change(INDEXER, "update"):
        raise KeyboardInterrupt
    store.move(INDEXER, target)
    with open_reader(folder) as later:
        assert later.runs.unfinished()[0].address == target


def test_the_end_of_a_run_keeps_only_what_the_next_one_needs(
    first_run: Journal, store: StateStore
) -> None:
    with first_run.change(INDEXER, "create") as change:
        upload(change)
        change.finish()
    with pytest.raises(ApiError), first_run.change(INDEXER, "update"):
        raise ApiError("refused")
    upload_then_raise(first_run, KeyboardInterrupt())
    store.runs.end(1, status="interrupted", counts={})
    with store.database.read() as connection:
        assert connection.execute("SELECT name FROM journal ORDER BY seq").fetchall() == [
            ("create",),
            ("upload a.md",),
        ]


def test_the_journal_takes_no_secret(first_run: Journal, store: StateStore) -> None:
    with (
        pytest.raises(TypeError),
        first_run.change(INDEXER, "create") as change,
        change.step("create") as step,
    ):
        step.done("user_1", key=Secret("sk-something-secret"))


def test_messages_of_failures_are_redacted(first_run: Journal, folder: Path) -> None:
    upload_then_raise(first_run, ApiError("wrong key sk-abcdefghijklmnopqrstuvwx"))
    with open_reader(folder) as later:
        assert later.runs.unfinished()[0].message == f"wrong key {MASK}"


def test_ten_workers_share_a_journal(first_run: Journal, store: StateStore) -> None:
    addresses = [Address("File", f"f{number}") for number in range(100)]

    def work(address: Address) -> None:
        with first_run.change(address, "create") as change:
            upload(change)
            change.finish(Record(address, f"file-{address.name}"))

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(work, addresses))
    assert {address: record.id for address, record in store.records().items()} == {
        address: f"file-{address.name}" for address in addresses
    }
    assert store.serial == 100


def test_a_lost_answer_records_when_the_call_was_sent_and_given_up(
    first_run: Journal, folder: Path
) -> None:
    lost = AmbiguousError("no answer")
    lost.sent_at = NOW - 5
    with pytest.raises(AmbiguousError), first_run.change(INDEXER, "create") as change:  # noqa: SIM117
        with change.step("create"):
            raise lost
    with open_reader(folder) as later:
        (entry,) = later.runs.unfinished()
    (step,) = entry.steps
    assert (step.status, step.began_at, step.ended_at) == (EntryStatus.BEGUN, NOW - 5, NOW)


def test_what_an_apply_created_early_is_no_longer_new_when_it_ends(folder: Path) -> None:
    moments = iter(range(100, 10_000, 100))
    early, late = (Address.parse(f"VectorStore/{name}") for name in ("early", "late"))
    with StateStore.open(
        folder, stack="acme", environment="prod", clock=lambda: float(next(moments))
    ) as store:
        journal = store.runs.journal(begin_run(store))
        ended: dict[Address, float] = {}
        for address in (early, late):
            with journal.change(
                address, "create", pre_image=PreImage(address, "create", None, {}, None)
            ) as change:
                change.finish(Record(address, "vs_1"))
            ended[address] = float(next(moments))
        store.runs.end(1, status="done", counts={})
        assert store.runs.created_since(ended[early]).keys() == {late}
        assert store.runs.created_since(0.0).keys() == {early, late}


def test_the_last_effect_of_a_state_is_that_of_its_last_call_or_run(folder: Path) -> None:
    now = NOW
    with StateStore.open(folder, stack="acme", environment="prod", clock=lambda: now) as store:
        assert store.runs.last_effect_at() == -math.inf
        journal = store.runs.journal(begin_run(store))
        assert store.runs.last_effect_at() == NOW
        with journal.change(INDEXER, "create") as change:
            # Nobody knows yet when it ends.
            assert store.runs.last_effect_at() == NOW + ATTEMPT_SECONDS + LATE_SECONDS
            change.finish(Record(INDEXER, "svc_1"))
        assert store.runs.last_effect_at() == NOW
        now = NOW + 100
        store.runs.end(1, status="done", counts={})
        assert store.runs.last_effect_at() == NOW + 100


def test_a_call_without_an_answer_may_take_effect_after_its_end(folder: Path) -> None:
    with StateStore.open(folder, stack="acme", environment="prod", clock=lambda: NOW) as store:
        journal = store.runs.journal(begin_run(store))
        with pytest.raises(AmbiguousError), journal.change(INDEXER, "create") as change:  # noqa: SIM117
            with change.step("create"):
                raise AmbiguousError("lost")
        assert store.runs.last_effect_at() >= NOW + LATE_SECONDS
