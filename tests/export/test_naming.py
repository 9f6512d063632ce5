"""Names are valid, alike for alike objects in any order, and different for different objects."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.export.naming import Unnamed, addresses, slug
from reconciler.model.address import NAME_PATTERN, Address


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Support bot", "support-bot"),
        ("Größe & Maß", "groesse-and-mass"),
        ("Søren's Bot", "sorens-bot"),
        ("Поддержка", "podderzhka"),
        ("Ελλάδα", "ellada"),
        ("gpt-4.1", "gpt-4.1"),
        ("handbook/a b.md", "handbook-a-b.md"),
        ("C++", "c-plus-plus"),
        ("日本 Search", "search"),
        ("日本", ""),
        ("--..x__", "x"),
    ],
)
def test_a_slug_is_what_a_person_would_write(text: str, name: str) -> None:
    assert slug(text) == name


@given(st.text())
def test_a_slug_is_a_name_or_empty(text: str) -> None:
    name = slug(text)
    assert not name or re.fullmatch(NAME_PATTERN, name)
    assert len(name) <= 63


def unnamed(*labels: str, kind: str = "Agent", parent: str = "") -> list[Unnamed]:
    """Objects with the given labels; each id ends in four characters of its own."""
    return [
        Unnamed(kind, None, f"agent_{number:04}", label, parent)
        for number, label in enumerate(labels)
    ]


def names(objects: list[Unnamed], known: dict[tuple[str, str | None, str], Address]) -> list[str]:
    """The names of objects, in the order of their ids."""
    found = addresses(objects, known)
    return [found[key].name for key in sorted(found, key=lambda key: key[2])]


def test_objects_of_one_label_take_the_end_of_their_ids() -> None:
    assert names(unnamed("Bot", "bot", "Other"), {}) == ["bot-0000", "bot-0001", "other"]


def test_objects_of_one_label_take_the_name_of_the_parent_first() -> None:
    objects = [
        Unnamed("User", None, "user_1", "ada", "example.com"),
        Unnamed("User", None, "user_2", "ada", "example.org"),
    ]
    assert names(objects, {}) == ["ada-example.com", "ada-example.org"]


def test_an_object_without_a_label_is_named_after_its_kind() -> None:
    assert names(unnamed("", kind="VectorStore"), {}) == ["vector-store-0000"]


def test_a_known_name_is_kept_and_not_given_to_another() -> None:
    known = {("Agent", None, "agent_0001"): Address("Agent", "Bot")}
    assert names(unnamed("bot", "bot"), known) == ["bot-0000", "Bot"]


def test_the_same_label_in_two_projects_is_no_collision() -> None:
    objects = [Unnamed("Agent", project, f"agent_{project}", "Bot") for project in ("a", "b")]
    assert [address.name for address in addresses(objects).values()] == ["bot", "bot"]


LABELS = st.lists(st.sampled_from(["Bot", "bot", "bot-0001", "", "日", "Bot!"]), max_size=6)


@given(LABELS, st.randoms())
def test_names_do_not_depend_on_the_order_of_objects(labels: list[str], random: object) -> None:
    objects = unnamed(*labels)
    shuffled = list(objects)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert addresses(objects) == addresses(shuffled)


@given(LABELS)
def test_no_two_objects_get_one_name(labels: list[str]) -> None:
    found = [address.name.casefold() for address in addresses(unnamed(*labels)).values()]
    assert len(set(found)) == len(labels)
