"""Claims about answers that lack parts or have them in another type: nothing is concluded from either."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given

from reconciler.engine.diff import diff_fields, drifted_fields
from reconciler.errors import ApiError
from reconciler.kinds import KINDS
from reconciler.model.kind import Kind, Mutability, Readable
from reconciler.model.resource import LiveObject
from tests.properties.bench import Bench, resource, valid_specs
from tests.properties.strategies import examples

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=attrgetter("name"))


def without_each_part(
    shown: Mapping[str, Any], names: set[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Copies of an answer that each lack one part of the named fields, however deep it is."""
    for path in _paths({name: value for name, value in shown.items() if name in names}):
        copy = deepcopy(dict(shown))
        target: Any = copy
        for part in path[:-1]:
            target = target[part]
        del target[path[-1]]
        yield ".".join(map(str, path)), copy


def _paths(value: Any) -> Iterator[tuple[Any, ...]]:
    parts: Any = value.items() if isinstance(value, Mapping) else ()
    if isinstance(value, list):
        parts = enumerate(value)
    for key, item in parts:
        if isinstance(value, Mapping):  # an item that a list lacks is a difference
            yield (key,)
        yield from ((key, *path) for path in _paths(item))


def compared(kind: Kind) -> set[str]:
    """The fields of which answers show every part. Keys of maps and of free JSON are values, not parts."""
    return {
        item.name
        for item in kind.fields
        if item.in_body
        and item.readable is Readable.ALWAYS
        and type(item.type).__name__ not in ("MapOf", "Json")
    }


def is_free(kind: Kind, dotted: str) -> bool:
    """Whether a path ends below a map or free JSON, where a missing key is a difference."""
    types = [kind.by_name[dotted.split(".")[0]].type]
    for part in dotted.split(".")[1:]:
        names = {type(one).__name__ for one in types}
        if names & {"MapOf", "Json"}:
            return True
        types = [inner for one in types for inner in _below(one, part)]
    return False


def _below(one: Any, part: str) -> Iterator[Any]:
    match type(one).__name__:
        case "Object":
            yield from (item.type for item in one.properties if item.name == part)
        case "Tagged":
            yield from (
                found for variant in one.variants.values() for found in _below(variant, part)
            )
        case "ListOf":
            yield one.item
        case "Either":
            yield from _below(one.other, part)


@every_kind
def test_a_part_that_an_answer_lacks_is_no_difference(kind: Kind, bench: Bench) -> None:
    @examples(6)
    @given(spec=valid_specs(kind))
    def check(spec: dict[str, Any]) -> None:
        with bench.fresh() as stack:
            wanted = resource(kind, spec)
            stack.apply(wanted)
            live, record = stack.live(wanted), stack.store.records()[wanted.address]
            desired = kind.fill_defaults(wanted.spec)
            for path, shown in without_each_part(live.attributes, compared(kind)):
                if is_free(kind, path):
                    continue
                other = LiveObject(kind, live.id, shown, live.project, live.own_calls)
                assert (path, diff_fields(kind, desired=desired, live=other, record=record)) == (
                    path,
                    [],
                )
                assert (path, drifted_fields(kind, live=other, record=record, ignore=())) == (
                    path,
                    [],
                )

    check()


@every_kind
def test_nothing_is_replaced_for_a_part_that_an_answer_lacks_where_no_record_is_left(
    kind: Kind, bench: Bench
) -> None:
    @examples(6)
    @given(spec=valid_specs(kind))
    def check(spec: dict[str, Any]) -> None:
        with bench.fresh() as stack:
            wanted = resource(kind, spec)
            stack.apply(wanted)
            live = stack.live(wanted)
            desired = kind.fill_defaults(wanted.spec)
            for path, shown in without_each_part(live.attributes, compared(kind)):
                if is_free(kind, path):
                    continue
                other = LiveObject(kind, live.id, shown, live.project, live.own_calls)
                found = diff_fields(kind, desired=desired, live=other, record=None)
                assert (path, [item for item in found if item.forces_replacement]) == (path, [])

    check()


@every_kind
def test_a_value_of_another_type_is_an_error_that_says_where_and_what(
    kind: Kind, bench: Bench
) -> None:
    @examples(4)
    @given(spec=valid_specs(kind))
    def check(spec: dict[str, Any]) -> None:
        with bench.fresh() as stack:
            wanted = resource(kind, spec)
            stack.apply(wanted)
            live, record = stack.live(wanted), stack.store.records()[wanted.address]
            desired = kind.fill_defaults(wanted.spec)
            for name in compared(kind) & desired.keys():
                if desired[name] is None or kind.by_name[name].mutability is Mutability.FIXED:
                    continue
                broken = LiveObject(
                    kind, live.id, {**live.attributes, name: {1, 2}}, live.project, live.own_calls
                )
                with pytest.raises(ApiError) as caught:
                    diff_fields(kind, desired=desired, live=broken, record=record)
                assert f"{kind.name} {live.id}: " in str(caught.value)
                assert f"{name} is a set, not " in str(caught.value)

    check()
