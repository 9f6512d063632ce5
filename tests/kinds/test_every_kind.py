"""Every kind of the registry is complete; each failure names the missing part."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from reconciler.kinds import KINDS
from reconciler.model.kind import Kind, Readable
from reconciler.model.types import Either, ListOf, MapOf, Object, Property, Tagged
from tests.conftest import Workspace
from tests.whole_examples import FILES, is_listed, kinds_in, make_a_persons_key, whole_example

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=attrgetter("name"))
every_listed_kind = pytest.mark.parametrize(
    "kind", list(filter(is_listed, KINDS.values())), ids=attrgetter("name")
)


def properties(kind: Any) -> Iterator[Property]:
    match kind:
        case Object(parts):
            for part in parts:
                yield part
                yield from properties(part.type)
        case Tagged(variants=variants):
            for variant in variants.values():
                yield from properties(variant)
        case ListOf(item=inner) | MapOf(value=inner) | Either(other=inner):
            yield from properties(inner)


@pytest.fixture
def with_example(workspace: Workspace, kind: Kind) -> Workspace:
    workspace.write({"manifests.yaml": whole_example(kind), **FILES})
    make_a_persons_key(workspace.emulator)
    return workspace


def objects(workspace: Workspace) -> dict[str, int]:
    """How many objects of each sort there are."""
    return {
        sort: count
        for sort, count in workspace.emulator.store.counts().items()
        if sort != "audit_log"
    }


@every_kind
def test_an_applied_example_leaves_nothing_to_plan(with_example: Workspace) -> None:
    with_example.apply()
    assert with_example.plan().code == 0


@every_kind
def test_a_second_apply_writes_nothing(with_example: Workspace) -> None:
    with_example.apply()
    with_example.emulator.clear_requests()
    with_example.apply()
    assert {request.method for request in with_example.emulator.requests} == {"GET"}


@every_kind
def test_applied_examples_can_be_destroyed(with_example: Workspace) -> None:
    with_example.apply()
    with_example.run("destroy", "--yes", expect=0)
    assert with_example.run("state", "list", expect=0).out == ""


@every_listed_kind
def test_losing_the_state_never_makes_a_second_object(with_example: Workspace, kind: Kind) -> None:
    with_example.apply()
    for path in sorted((with_example.folder / ".reconciler").iterdir()):
        path.unlink()
    with_example.emulator.clear_requests()
    before = objects(with_example)
    code = with_example.run("apply", "--yes").code
    kinds = kinds_in(whole_example(kind))
    assert objects(with_example) == before
    # What the API does not show has to be sent again; nothing else has.
    unseen = kind.takes_secrets or any(
        item.on_update and item.in_body and item.readable is Readable.NEVER for item in kind.fields
    )
    assert unseen or not [
        request for request in with_example.emulator.requests if request.method != "GET"
    ]
    assert code == (0 if all(one.mark or one.unique_key for one in kinds) else 1)


@every_listed_kind
def test_an_object_of_an_unmarked_kind_is_bound_again_with_adopt(with_example: Workspace) -> None:
    with_example.apply()
    ids = with_example.run("state", "list", expect=0).out
    for path in sorted((with_example.folder / ".reconciler").iterdir()):
        path.unlink()
    with_example.run("apply", "--yes", "--adopt")
    assert with_example.run("state", "list", expect=0).out == ids


@every_kind
def test_every_field_says_what_it_is(kind: Kind) -> None:
    parts = [part for field in kind.fields for part in properties(field.type)]
    assert [item.name for item in (*kind.fields, *parts) if not item.doc.endswith(".")] == []


@every_kind
def test_a_kind_has_a_file_of_its_own(kind: Kind) -> None:
    import reconciler.kinds

    words = "".join(
        f"_{letter.lower()}" if letter.isupper() else letter for letter in kind.name
    ).lstrip("_")
    assert (Path(reconciler.kinds.__file__).parent / f"{words}.py").is_file()


@every_kind
def test_a_natural_key_is_made_of_fields(kind: Kind) -> None:
    assert set(kind.natural_key) <= {*kind.by_name, *(("bytes", "name") if kind.identify else ())}


@every_kind
def test_explain_documents_every_field(with_example: Workspace, kind: Kind) -> None:
    page = with_example.run("explain", kind.name, expect=0).out
    assert [field.name for field in kind.fields if field.name not in page] == []
