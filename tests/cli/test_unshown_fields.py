"""Claims about fields that the API never shows: applied values are remembered, and so are unset ones."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import pytest

from reconciler.engine.diff import diff_fields
from reconciler.kinds import KINDS
from reconciler.model.address import Address
from reconciler.model.kind import Kind, Mutability, Readable
from reconciler.model.resource import LiveObject, Record
from reconciler.model.types import Integer, ListOf, Object, Tagged, Type
from tests.cli.test_plan_and_apply import admin
from tests.conftest import Workspace
from tests.whole_examples import FILES, whole_example

STACK = "kind: Stack\nmetadata: {name: s}\nspec: {guards: {max_delete_percent: 100}}\n"
KEY = """\
kind: AdminKey
metadata: {name: nightly}
spec: {name: nightly%s, key: {write_to: {file: secrets/nightly.key}}}
"""
UPLOAD = """\
kind: File
metadata: {name: prices}
spec: {path: data/price-list.md, purpose: assistants%s}
"""
CONTAINER = """\
kind: Container
metadata: {name: sandbox}
spec: {name: sandbox%s}
---
kind: File
metadata: {name: prices}
spec: {path: data/price-list.md, purpose: assistants}
"""
BATCH = f"{KINDS['Batch'].example}".replace(
    "  completion_window: 24h\n", "  completion_window: 24h\n%s"
)
TUNING = KINDS["FineTuningJob"].example.replace("  seed: 7\n", "%s")
ADDED = {
    "AdminKey.expires_in_seconds": (KEY, ", expires_in_seconds: 600000"),
    "File.expires_after": (UPLOAD, ", expires_after: {anchor: created_at, seconds: 7200}"),
    "Container.file_ids": (CONTAINER, ", file_ids: ['${File/prices}']"),
    "Batch.output_expires_after": (
        BATCH,
        "  output_expires_after: {anchor: created_at, seconds: 7200}\n",
    ),
    "FineTuningJob.seed": (TUNING, "  seed: 8\n"),
}


@pytest.mark.parametrize(("manifest", "field"), ADDED.values(), ids=ADDED.keys())
@pytest.mark.parametrize("is_added", [True, False], ids=["added", "removed"])
def test_a_field_that_the_api_never_shows_makes_a_difference(
    workspace: Workspace, manifest: str, field: str, is_added: bool
) -> None:
    workspace.write({**FILES, "reconciler.yaml": STACK})
    before, after = manifest % "", manifest % field
    if not is_added:
        before, after = after, before
    workspace.declare(before).apply()
    workspace.declare(after)
    # A key gives way to another one; it is not taken away at once.
    change = "its keys are rotated" if "kind: AdminKey" in manifest else "1 to replace"
    assert change in workspace.run("plan", expect=0).out
    workspace.apply()
    assert workspace.plan().code == 0


def test_an_adopted_object_is_not_replaced_for_a_field_that_nothing_tells(
    workspace: Workspace,
) -> None:
    workspace.declare(KEY % "").apply()
    for path in sorted((workspace.folder / ".reconciler").iterdir()):
        path.unlink()
    workspace.apply("--adopt")
    workspace.declare(KEY % ", expires_in_seconds: 600000")
    before = ids(workspace)
    for _ in range(2):  # it is said until somebody decides
        applied = workspace.apply()
        assert "AdminKey/nightly: expires_in_seconds: the API does not show it" in applied.out
        assert "--replace AdminKey/nightly" in applied.out
    assert ids(workspace) == before


def ids(workspace: Workspace) -> list[str]:
    with admin(workspace) as client:
        return [item["id"] for item in client.get("/organization/admin_api_keys").json()["data"]]


def value_of(type: Type) -> Any:
    """Some value of a type that is not its default."""
    match type:
        case Integer():
            return 7
        case ListOf(item=item):
            return [value_of(item)]
        case Tagged(variants):
            return {type.tag: list(variants)[-1]}
        case Object(properties):
            return {part.name: value_of(part.type) for part in properties}
    return "a"


UNSHOWN = [
    (kind, item.name)
    for kind in KINDS.values()
    for item in kind.fields
    if item.mutability is Mutability.REPLACES
    and item.readable is Readable.NEVER
    and not item.required
]


@pytest.mark.parametrize(
    ("kind", "name"), UNSHOWN, ids=[f"{kind.name}.{name}" for kind, name in UNSHOWN]
)
def test_a_record_that_says_what_was_not_set_tells_an_addition(kind: Kind, name: str) -> None:
    live, address = LiveObject(kind, "id", {}), Address(kind.name, "x")
    desired = {name: value_of(kind.by_name[name].type)}
    told = Record(address, "id", applied={name: None})
    silent = Record(address, "id", applied={})
    assert all(
        item.forces_replacement
        for item in diff_fields(kind, desired=desired, live=live, record=told)
    )
    assert diff_fields(kind, desired=desired, live=live, record=told) != []
    assert diff_fields(kind, desired=desired, live=live, record=silent) == []
    assert diff_fields(kind, desired=desired, live=live, record=None) == []


@pytest.mark.parametrize(
    "kind", [KINDS["AdminKey"], KINDS["Container"], KINDS["File"]], ids=attrgetter("name")
)
def test_unset_fields_are_still_known_after_another_change(
    workspace: Workspace, kind: Kind
) -> None:
    workspace.write({**FILES, "reconciler.yaml": STACK}).write(
        {"manifests.yaml": whole_example(kind)}
    )
    workspace.apply()
    workspace.write(
        {"manifests.yaml": whole_example(kind).rstrip() + "\nlifecycle: {prevent_destroy: true}\n"}
    )
    workspace.apply()
    state = workspace.run(
        "state",
        "show",
        str(Address(kind.name, kind.example.split("name: ")[1].split()[0])),
        expect=0,
    )
    assert "null" in state.out
