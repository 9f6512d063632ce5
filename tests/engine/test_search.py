"""The search after an unclear create as a table: ours, foreign, and ambiguous objects."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from reconciler.api.objects.reservations import InProcessReservations
from reconciler.engine.apply.search import ObjectSearch, SearchCriteria
from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.consistency import ConsistencyWindow
from reconciler.engine.ownership import Ownership
from reconciler.errors import ApiError
from reconciler.kinds import KINDS
from reconciler.model.consistency import CreationWindow
from reconciler.model.resource import LiveObject
from tests.engine.tables import DAY, NOW, OTHERS, MemoryReader, at, shown, store

STORE, ROLE = "VectorStore/docs", "Role/auditor"
OWNERSHIP = Ownership("shop", "prod")
ATTEMPT = CreateAttempt(CreationWindow(NOW - 60, NOW))


def role(id: str = "role_1", name: str = "auditor", **more: Any) -> LiveObject:
    return shown("Role", id, {"id": id, "role_name": name, **more})


def group(id: str = "group_1", *, created_at: float = NOW - 30) -> LiveObject:
    return shown("Group", id, {"id": id, "name": "Staff", "created_at": created_at})


def limit(model: str = "gpt-4o") -> LiveObject:
    return shown("RateLimit", "rl-1", {"id": "rl-1", "model": model}, "search")


def criteria(
    address: str, spec: dict[str, Any], *attempts: CreateAttempt, known: str = ""
) -> SearchCriteria:
    kind = KINDS[at(address).kind]
    return SearchCriteria(
        address=at(address),
        kind=kind,
        spec=spec,
        is_marked=kind.mark is not None,
        is_known=lambda other: other == known,
        attempts=attempts,
    )


class Clock:
    """A clock that only pauses move."""

    def __init__(self) -> None:
        self.now = NOW
        self.pauses = 0

    def pause(self, seconds: float, reason: str) -> None:
        del reason
        self.now += seconds
        self.pauses += 1


def search_in(
    *objects: LiveObject, clock: Clock | None = None
) -> tuple[ObjectSearch, MemoryReader, InProcessReservations]:
    clock = clock or Clock()
    reader, reservations = MemoryReader(objects), InProcessReservations()
    window = ConsistencyWindow(clock=lambda: clock.now, pause=clock.pause)
    return ObjectSearch(reader, reservations, OWNERSHIP, window), reader, reservations


class Row(NamedTuple):
    """What a search finds."""

    what: str
    objects: list[LiveObject]
    criteria: SearchCriteria
    id: str | None


DOCS = {"name": "Docs"}
STAFF = {"name": "Staff"}

ROWS = [
    Row("nothing exists", [], criteria(STORE, DOCS, ATTEMPT), None),
    Row("our mark", [store("vs_1", "X", mark=STORE)], criteria(STORE, DOCS, ATTEMPT), "vs_1"),
    Row(
        "the mark of another address",
        [store("vs_1", mark="VectorStore/wiki")],
        criteria(STORE, DOCS, ATTEMPT),
        None,
    ),
    Row(
        "the mark of another stack",
        [store("vs_1", mark=f"{OTHERS}/{STORE}")],
        criteria(STORE, DOCS, ATTEMPT),
        None,
    ),
    Row(
        "no mark, where our create would have left one",
        [store("vs_1", created_at=NOW - 30)],
        criteria(STORE, DOCS, ATTEMPT),
        None,
    ),
    Row(
        "a marked object that another record has",
        [store("vs_1", mark=STORE)],
        criteria(STORE, DOCS, ATTEMPT, known="vs_1"),
        None,
    ),
    Row(
        "the natural key, as old as the attempt",
        [group()],
        criteria("Group/staff", STAFF, ATTEMPT),
        "group_1",
    ),
    Row(
        "the natural key, from before the attempt",
        [group(created_at=NOW - DAY)],
        criteria("Group/staff", STAFF, ATTEMPT),
        None,
    ),
    Row(
        "the natural key, without an attempt",
        [group()],
        criteria("Group/staff", STAFF),
        None,
    ),
    Row(
        "another natural key",
        [group()],
        criteria("Group/staff", {"name": "Other"}, ATTEMPT),
        None,
    ),
    Row(
        "an object that always exists, by its natural key alone",
        [limit("gpt-4o"), limit("gpt-5")],
        criteria("RateLimit/search/gpt", {"model": "gpt-4o"}),
        "rl-1",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.what for row in ROWS])
def test_search(row: Row) -> None:
    search, _, _ = search_in(*row.objects)
    live = search.find(row.criteria)
    assert (live.id if live is not None else None) == row.id


def test_several_objects_are_an_error_and_no_guess() -> None:
    search, _, _ = search_in(group("group_1"), group("group_2"))
    with pytest.raises(ApiError, match="group_1, group_2 could each be"):
        search.find(criteria("Group/staff", STAFF, ATTEMPT))


def test_a_found_object_is_reserved_for_its_address() -> None:
    search, _, reservations = search_in(group())
    search.find(criteria("Group/staff", STAFF, ATTEMPT))
    assert not reservations.is_free("group_1", at("Group/other"))


def test_an_object_that_another_address_reserved_is_not_found() -> None:
    search, _, reservations = search_in(group())
    reservations.reserve("group_1", at("Group/other"))
    assert search.find(criteria("Group/staff", STAFF, ATTEMPT)) is None


# Until the lists have settled


def test_a_search_goes_on_as_long_as_lists_may_lag() -> None:
    clock = Clock()
    search, _, _ = search_in(clock=clock)
    assert search.find_until_settled(criteria(STORE, DOCS, ATTEMPT)) is None
    assert clock.now == pytest.approx(NOW + 12.0)


def test_a_search_ends_with_the_first_sight() -> None:
    clock = Clock()
    search, _, _ = search_in(store("vs_1", mark=STORE), clock=clock)
    assert search.find_until_settled(criteria(STORE, DOCS, ATTEMPT)) is not None
    assert clock.pauses == 0


@pytest.mark.parametrize(
    ("ended", "waited"),
    [(NOW, 12.0), (NOW - 5, 7.0), (NOW - 60, 0.0)],
    ids=["it ended now", "it ended seconds ago", "it ended long ago"],
)
def test_the_time_since_an_earlier_run_counts(ended: float, waited: float) -> None:
    clock = Clock()
    search, _, _ = search_in(clock=clock)
    attempt = CreateAttempt(CreationWindow(NOW - 300, ended), ended=ended)
    search.find_until_settled(criteria(STORE, DOCS, attempt), by_earlier_run=True)
    assert clock.now == pytest.approx(NOW + waited)


# Reads


def test_creates_of_one_scope_share_a_list() -> None:
    search, reader, _ = search_in(limit())
    for _ in range(3):
        search.find(criteria("RateLimit/search/gpt", {"model": "gpt-4o"}))
    assert reader.asked == ["RateLimit"]


def test_a_shared_list_expires() -> None:
    clock = Clock()
    search, reader, _ = search_in(limit(), clock=clock)
    search.find(criteria("RateLimit/search/gpt", {"model": "gpt-4o"}))
    clock.now += 61.0
    search.find(criteria("RateLimit/search/gpt", {"model": "gpt-4o"}))
    assert reader.asked == ["RateLimit", "RateLimit"]


def test_the_result_of_an_attempt_is_searched_in_a_new_list() -> None:
    search, reader, _ = search_in()
    for _ in range(2):
        search.find(criteria(STORE, DOCS, ATTEMPT))
    assert reader.asked == ["VectorStore", "VectorStore"]


@pytest.mark.parametrize(
    ("objects", "ids"),
    [
        ([store("vs_1")], ["vs_1"]),
        ([store("vs_1", "Other")], []),
        ([store("vs_1", mark="VectorStore/wiki")], []),
        ([store("vs_1", mark=f"{OTHERS}/{STORE}")], ["vs_1"]),
    ],
    ids=["the same name", "another name", "ours by its mark", "of another stack"],
)
def test_lookalikes_have_the_natural_key_and_no_owner_here(
    objects: list[LiveObject], ids: list[str]
) -> None:
    search, _, _ = search_in(*objects)
    made = search.lookalikes(criteria(STORE, DOCS), but=())
    assert [live.id for live in made] == ids


def test_a_lookalike_that_the_plan_knew_is_none() -> None:
    search, _, _ = search_in(store("vs_1"))
    assert search.lookalikes(criteria(STORE, DOCS), but={"vs_1"}) == []


@pytest.mark.parametrize(("id", "found"), [("role_1", True), ("role_9", False)])
def test_an_object_is_read_by_its_id(id: str, found: bool) -> None:
    search, _, _ = search_in(role())
    live = search.read(at(ROLE), KINDS["Role"], id)
    assert (live is not None) is found
