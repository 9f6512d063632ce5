"""An apply leaves an empty plan, for every kind and all its fields."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.engine.apply.records import imported_record
from reconciler.kinds import KINDS
from reconciler.model.comparing import with_hidden
from reconciler.model.kind import KEEP, Field, Kind, Mutability, Readable, ScopeType
from reconciler.model.resource import METADATA_PAIRS, OUR_KEYS, Lifecycle, LiveObject, Resource
from reconciler.model.types import Either, Json, ListOf, MapOf, Object, Tagged, Type
from tests.properties.bench import (
    OTHER_PROJECT,
    PROJECT,
    Bench,
    Stack,
    Steps,
    only,
    pending,
    resource,
    valid_specs,
)
from tests.properties.strategies import examples


def has_optional_parts(type: Type) -> bool:
    """Whether values of a type have parts inside that may be left out."""
    match type:
        case MapOf() | Json():
            return True
        case Object(parts):
            return any(not part.required or has_optional_parts(part.type) for part in parts)
        case Tagged(variants=variants):
            return any(map(has_optional_parts, variants.values()))
        case ListOf(item=inner) | Either(other=inner):
            return has_optional_parts(inner)
    return False


def editable_fields(kind: Kind) -> list[Field]:
    """The fields that somebody can change at the API, and anybody can see."""
    return [
        item
        for item in kind.fields
        if item.on_update and item.in_body and item.readable is not Readable.NEVER
    ]


def droppable(kind: Kind) -> list[str]:
    """The fields that a spec can do without, whatever its shape."""
    needed = {name for shape in kind.shapes for name in shape.needs}
    return [item.name for item in kind.fields if not item.required and item.name not in needed]


every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=attrgetter("name"))
adoptable_kind = pytest.mark.parametrize(
    "kind", [kind for kind in KINDS.values() if not kind.always_exists], ids=attrgetter("name")
)


@every_kind
def test_what_was_applied_leaves_nothing_to_plan(kind: Kind, bench: Bench) -> None:
    @examples(15)
    @given(spec=valid_specs(kind))
    def check(spec: dict[str, Any]) -> None:
        with bench.fresh() as stack:
            wanted = resource(kind, spec)
            stack.apply(wanted)
            assert pending(stack.plan(wanted)) == []
            assert stack.plan(wanted).drift == ()

    check()


@every_kind
def test_a_spec_in_place_of_another_leaves_what_it_would_have_made_by_itself(
    kind: Kind, bench: Bench
) -> None:
    @examples(15)
    @given(first=valid_specs(kind), second=valid_specs(kind))
    def check(first: dict[str, Any], second: dict[str, Any]) -> None:
        with bench.fresh() as stack:
            stack.apply(resource(kind, first))
            converges_to(stack, resource(kind, second))

    check()


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS.values() if droppable(kind)], ids=attrgetter("name")
)
def test_dropping_optional_fields_takes_them_back_to_what_they_were_without(
    kind: Kind, bench: Bench
) -> None:
    optional = droppable(kind)

    @examples(15)
    @given(dropped=st.sets(st.sampled_from(optional), min_size=1), data=st.data())
    def check(dropped: set[str], data: st.DataObject) -> None:
        spec = data.draw(valid_specs(kind, having=min(dropped)))
        with bench.fresh() as stack:
            stack.apply(resource(kind, spec))
            rest = resource(
                kind, {name: value for name, value in spec.items() if name not in dropped}
            )
            plan = stack.plan(rest)
            hidden = {
                item.name
                for item in kind.fields
                if item.readable is Readable.NEVER and can_be_reset(item)
            }
            unseen = [name for name in dropped & hidden if spec.get(name)]
            assert [name for name in unseen if name not in only(plan).field_names] == []
            warnings = " ".join(only(plan).warnings)
            kept = [
                name
                for name in dropped
                if kind.by_name[name].reset is KEEP and spec.get(name) is not None
            ]
            assert [name for name in kept if f"{name} is no longer set" not in warnings] == []
            converges_to(stack, rest)

    check()


@pytest.mark.parametrize(
    "kind",
    [kind for kind in KINDS.values() if any(has_optional_parts(item.type) for item in kind.fields)],
    ids=attrgetter("name"),
)
def test_dropping_one_nested_part_takes_it_back_to_what_it_was_without(
    kind: Kind, bench: Bench
) -> None:
    @examples(15)
    @given(spec=valid_specs(kind), data=st.data())
    def check(spec: dict[str, Any], data: st.DataObject) -> None:
        paths = [path for name in spec for path in optional_parts(kind.by_name[name], spec[name])]
        assume(paths)
        with bench.fresh() as stack:
            stack.apply(resource(kind, spec))
            converges_to(stack, resource(kind, without(spec, data.draw(st.sampled_from(paths)))))

    check()


@adoptable_kind
def test_an_adopted_object_of_the_same_body_is_not_changed(kind: Kind, bench: Bench) -> None:
    @examples(15)
    @given(spec=valid_specs(kind))
    def check(spec: dict[str, Any]) -> None:
        with bench.fresh() as stack:
            wanted = resource(kind, spec)
            adopting = replace(wanted, lifecycle=Lifecycle(adopt=stack.make(wanted).id))
            assert unexplained(wanted, only(stack.plan(adopting)).field_names) == []
            stack.apply(adopting)
            assert pending(stack.plan(wanted)) == []

    check()


@adoptable_kind
def test_an_imported_object_of_the_same_body_leaves_nothing_to_plan(
    kind: Kind, bench: Bench
) -> None:
    @examples(15)
    @given(spec=valid_specs(kind))
    def check(spec: dict[str, Any]) -> None:
        with bench.fresh() as stack:
            wanted = resource(kind, spec)
            adopting = replace(wanted, lifecycle=Lifecycle(adopt=stack.make(wanted).id))
            stack.store.put(imported_record(kind, only(stack.plan(adopting))))
            assert unexplained(wanted, only(stack.plan(wanted)).field_names) == []

    check()


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS.values() if editable_fields(kind)], ids=attrgetter("name")
)
def test_an_outside_edit_is_drift_of_that_field_alone_and_is_repaired(
    kind: Kind, bench: Bench
) -> None:
    fields = editable_fields(kind)

    @examples(24)
    @given(item=st.sampled_from(fields), data=st.data())
    def check(item: Field, data: st.DataObject) -> None:
        spec = data.draw(valid_specs(kind, having=item.name))
        assume(spec.get(item.name) is not None)
        other = data.draw(valid_specs(kind, like=spec, having=item.name))
        assume(other.get(item.name) is not None)
        assume(can_become(item, spec[item.name], other[item.name]))
        assume(item.name != kind.mark or len(other[item.name]) < METADATA_PAIRS)
        with bench.fresh() as stack:
            wanted = resource(kind, spec)
            stack.apply(wanted)
            before = stack.live(wanted)
            edit(stack, wanted, before, {item.name: other[item.name]})
            moved = plain(before.value(item.name)) != plain(stack.live(wanted).value(item.name))
            plan = stack.plan(wanted)
            drifted = {field.name for drift in plan.drift for field in drift.fields}
            assert drifted == set(only(plan).field_names) <= {item.name}
            if declared(spec[item.name], before, item) != declared(
                spec[item.name], stack.live(wanted), item
            ):
                assert moved
                assert drifted == {item.name}
            stack.apply(wanted)
            assert pending(stack.plan(wanted)) == []

    check()


@every_kind
def test_losing_the_state_after_an_apply_changes_no_field(kind: Kind, bench: Bench) -> None:
    @examples(10)
    @given(spec=valid_specs(kind))
    def check(spec: dict[str, Any]) -> None:
        with bench.fresh() as stack:
            wanted = resource(kind, spec)
            stack.apply(wanted)
            bound = replace(wanted, lifecycle=Lifecycle(adopt=stack.live(wanted).id))
            stack.store.remove(wanted.address)
            assert unexplained(wanted, only(stack.plan(bound)).field_names) == []

    check()


# --- what the claims are made of


def can_be_reset(item: Field) -> bool:
    """Whether a field that is not set any more is taken back to something."""
    return (
        item.reset is not KEEP and item.mutability is not Mutability.FIXED and not item.client_only
    )


def converges_to(stack: Stack, wanted: Resource) -> None:
    """One apply makes the object what a fresh one would have been, and the next plan is empty."""
    stack.apply(wanted)
    assert pending(stack.plan(wanted)) == []
    if wanted.kind.defines_project or (wanted.kind.unique and not wanted.address.project):
        return
    is_elsewhere = wanted.address.project == PROJECT or wanted.kind.scope is ScopeType.EITHER
    place = OTHER_PROJECT if is_elsewhere else wanted.address.project
    fresh = stack.make(
        replace(wanted, address=replace(wanted.address, name="fresh", project=place))
    )
    names = [item.name for item in wanted.kind.fields if shows_its_spec(item, wanted)]
    live = stack.live(wanted)
    assert {name: plain(live.value(name)) for name in names} == {
        name: plain(fresh.value(name)) for name in names
    }


def shows_its_spec(item: Field, wanted: Resource) -> bool:
    if item.mutability is Mutability.FIXED or item.readable is Readable.NEVER or not item.in_body:
        return False
    return item.reset is not KEEP or wanted.spec.get(item.name) is not None


def unexplained(wanted: Resource, names: tuple[str, ...]) -> list[str]:
    """The fields of a plan that the API shows with all that is asked for: for these, nothing excuses a change."""
    fields = [wanted.kind.by_name[name] for name in names]
    return [
        item.name
        for item in fields
        if item.readable is not Readable.NEVER and shows_all(item, wanted)
    ]


def shows_all(item: Field, wanted: Resource) -> bool:
    asked = wanted.spec.get(item.name)
    return bool(with_hidden(item.type, asked, None) == asked)


def can_become(item: Field, value: Any, other: Any) -> bool:
    """Whether somebody can change one value of a field into another: not where that takes another object."""
    return not (
        isinstance(item.type, Tagged)
        and item.type.fixed
        and value[item.type.tag] != other[item.type.tag]
    )


def edit(stack: Stack, wanted: Resource, live: LiveObject, changes: dict[str, Any]) -> None:
    """Change an object behind our back, its mark apart."""
    stack.provider.update(
        live, changes, address=wanted.address, mark=live.mark, record=None, steps=Steps()
    )


def declared(asked: Any, live: LiveObject, item: Field) -> Any:
    """What the API shows of the parts that were asked for."""
    return plain(_projected(asked, live.value(item.name)))


def _projected(asked: Any, shown: Any) -> Any:
    if isinstance(asked, dict) and isinstance(shown, dict):
        return {key: _projected(part, shown.get(key)) for key, part in asked.items()}
    if isinstance(asked, list) and isinstance(shown, list):
        pairs = [_projected(a, b) for a, b in zip(asked, shown, strict=False)]
        return [*pairs, *shown[len(pairs) :]]
    return shown


def plain(value: Any) -> Any:
    """A value without what says nothing, with numbers and the order of texts made alike; booleans are no numbers.

    This is a judge of its own, and much coarser than the program's: what it calls different is different.
    """
    if isinstance(value, dict):
        found = {key: plain(item) for key, item in value.items() if key not in OUR_KEYS}
        return {key: item for key, item in found.items() if item not in (None, "", {}, [])} or None
    if isinstance(value, list | tuple):
        items = [plain(item) for item in value]
        return (
            sorted(items) if items and all(isinstance(item, str) for item in items) else items
        ) or None
    if isinstance(value, bool):
        return "<true>" if value else None
    if isinstance(value, int | float):
        return float(value)
    return value or None


def optional_parts(item: Field, value: Any) -> list[tuple[str | int, ...]]:
    """The paths of a value's nested parts that a manifest may leave out."""
    return [(item.name, *path) for path in _optional_parts(item.type, value)]


def _optional_parts(type: Type, value: Any) -> list[tuple[str | int, ...]]:
    match type, value:
        case Either(), dict():
            return _optional_parts(type.other, value)
        case Tagged(), dict():
            return _optional_parts(type.variants[value[type.tag]], value)
        case Object(), dict():
            free = [
                part.name
                for part in type.properties
                if not (part.required or part.name in type.exactly_one)
            ]
            own = [(name,) for name in free if name in value]
            below = [
                (part.name, *path)
                for part in type.properties
                if part.name in value
                for path in _optional_parts(part.type, value[part.name])
            ]
            return [*own, *below]
        case ListOf(), list():
            return [
                (at, *path)
                for at, one in enumerate(value)
                for path in _optional_parts(type.item, one)
            ]
        case MapOf() | Json(), dict():
            return [(key,) for key in value]
    return []


def without(value: Any, path: tuple[str | int, ...]) -> Any:
    first, *rest = path
    if isinstance(value, list):
        return [without(one, tuple(rest)) if at == first else one for at, one in enumerate(value)]
    if not rest:
        return {key: one for key, one in value.items() if key != first}
    return {key: without(one, tuple(rest)) if key == first else one for key, one in value.items()}
