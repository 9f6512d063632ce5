"""Lists are read completely in every paging style of the API."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.api.transport import pages
from reconciler.errors import AnswerError
from tests.api.conftest import World, kind


def read(*envelopes: dict[str, Any], **options: Any) -> tuple[list[str], list[dict[str, Any]]]:
    """The ids of a list that is answered so, and the queries that were asked."""
    asked: list[dict[str, Any]] = []
    answers = iter(envelopes)

    def fetch(query: dict[str, Any]) -> dict[str, Any]:
        asked.append(dict(query))
        return next(answers)

    return [
        item["id"] for item in pages.items(fetch, subject="/things", query={"limit": 2}, **options)
    ], asked


def page(*ids: str, more: bool = False, **rest: Any) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": id} for id in ids], "has_more": more, **rest}


def test_an_id_cursor_comes_from_the_envelope() -> None:
    ids, asked = read(page("a", "b", more=True, last_id="B"), page("c"))
    assert (ids, asked[1]) == (["a", "b", "c"], {"limit": 2, "after": "B"})


@pytest.mark.parametrize("rest", [{}, {"last_id": None}])
def test_a_missing_cursor_is_the_last_item(rest: dict[str, Any]) -> None:
    _, asked = read(page("a", "b", more=True, **rest), page("c"))
    assert asked[1]["after"] == "b"


def test_a_next_token_has_priority_over_an_id() -> None:
    _, asked = read(page("a", more=True, next="token"), page("b", next=None))
    assert asked[1]["after"] == "token"


def test_a_next_page_is_asked_for_as_page() -> None:
    _, asked = read(
        page("a", more=True, next_page="page_2"),
        page("b", more=True, next_page="page_3"),
        page("c"),
    )
    assert asked == [{"limit": 2}, {"limit": 2, "page": "page_2"}, {"limit": 2, "page": "page_3"}]


def test_a_list_without_pages_is_one_page() -> None:
    assert read({"object": "list", "data": [{"id": "a"}]})[0] == ["a"]


def test_more_without_a_cursor_is_an_error() -> None:
    with pytest.raises(AnswerError, match="not where it goes on"):
        read(page(more=True, last_id=None))


def test_a_cursor_that_repeats_is_an_error() -> None:
    with pytest.raises(AnswerError, match="read already"):
        read(page("a", more=True), page("b", more=True), page("a", more=True))


def test_pages_are_bounded() -> None:
    with pytest.raises(AnswerError, match="more than 2 pages"):
        read(page("a", more=True), page("b", more=True), page("c", more=True), max_pages=2)


@pytest.mark.parametrize("data", [None, {}, ["a"], "a"])
def test_a_list_without_objects_is_an_error(data: Any) -> None:
    with pytest.raises(AnswerError, match="no list of objects"):
        read({"data": data})


def test_every_page_of_a_real_list_is_read(world: World) -> None:
    world.emulator.seed(projects=230)
    assert len({live.id for live in world.provider.list(kind("Project"), None)}) >= 230


def test_a_server_that_repeats_its_cursor_is_not_believed(world: World) -> None:
    world.emulator.seed(projects=130)
    world.emulator.add_fault("on=GET:/organization/projects,do=repeat-cursor,times=0")
    with pytest.raises(AnswerError, match="read already"):
        world.provider.list(kind("Project"), None)
