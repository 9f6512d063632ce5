"""A state that was restored from a backup makes no second object, and deletes nothing that a later run made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.conftest import Workspace
from tests.reliability.backends import SharedBackend
from tests.reliability.scenarios import document

KINDS = ("project", "group", "service_account", "file", "vector_store", "assistant", "agent")
STACK = """\
kind: Stack
metadata: {name: shop}
spec: {guards: {max_delete_percent: 100, max_deletes: 100, max_vanished_percent: 100}}
"""
PROJECT = document("Project", "main", "name: Main")
KEPT = (
    PROJECT,
    document("Group", "kept", "name: Kept"),
    document("VectorStore", "kept", "name: Kept"),
    document("Assistant", "kept", "name: Kept, model: gpt-4.1"),
)
REMOVED = (
    document("Group", "removed", "name: Removed"),
    document("VectorStore", "removed", "name: Removed"),
    document("Assistant", "removed", "name: Removed, model: gpt-4.1"),
)
MARKED = (
    document("VectorStore", "new", "name: New"),
    document("Assistant", "new", "name: New, model: gpt-4.1"),
    document("Agent", "new", "name: New, model: gpt-5.1"),
)
UNMARKED = (
    document("Project", "new", "name: New"),
    document("Group", "new", "name: New"),
    document("ServiceAccount", "new", "role: member", project="main"),
    document("File", "new", "path: new.txt, purpose: assistants"),
)


def live(workspace: Workspace) -> dict[str, str]:
    """Kind and name of every live object, by id."""
    store = workspace.emulator.store
    with store.lock:
        return {
            item.id: f"{kind} {item.body.get('name') or item.body.get('filename')}"
            for kind in KINDS
            for item in store.all(kind)
            if item.body.get("status") != "archived"
        }


@pytest.fixture
def shared(workspace: Workspace, some_backend: SharedBackend) -> Workspace:
    """A stack whose state is shared."""
    workspace.variables.update(some_backend.variables())
    return workspace.write({"new.txt": "new\n", "reconciler.yaml": STACK})


def apply_twice_and_restore(
    shared: Workspace, backend: SharedBackend, first: Sequence[str], second: Sequence[str]
) -> Mapping[str, str]:
    """Apply one after the other, and restore the state of the first; what lives after the second."""
    shared.declare(*first).apply()
    copy = backend.save()
    shared.declare(*second).apply()
    after = live(shared)
    restore(shared, backend, copy)
    return after


def restore(shared: Workspace, backend: SharedBackend, copy: Any) -> None:
    backend.restore(copy)
    shared.variables.update(backend.variables())


def test_what_a_later_run_made_is_found_by_its_mark(
    shared: Workspace, some_backend: SharedBackend
) -> None:
    after = apply_twice_and_restore(shared, some_backend, KEPT, [*KEPT, *MARKED])
    shared.apply()
    assert (live(shared), shared.plan().code) == (after, 0)


def test_what_a_later_run_made_without_a_mark_is_a_conflict(
    shared: Workspace, some_backend: SharedBackend
) -> None:
    after = apply_twice_and_restore(shared, some_backend, KEPT, [*KEPT, *UNMARKED])
    refused = shared.run("apply", "--yes", expect=1)
    assert (live(shared), "--adopt" in refused.err) == (after, True)


def test_what_a_later_run_made_and_deleted_is_settled_with_adopt(
    shared: Workspace, some_backend: SharedBackend
) -> None:
    after = apply_twice_and_restore(
        shared, some_backend, [*KEPT, *REMOVED], [*KEPT, *MARKED, *UNMARKED]
    )
    shared.apply("--adopt")
    assert (live(shared), shared.plan().code) == (after, 0)


def test_an_older_checkout_with_an_older_state_deletes_nothing_of_a_later_run(
    shared: Workspace, some_backend: SharedBackend
) -> None:
    after = apply_twice_and_restore(
        shared, some_backend, [*KEPT, *REMOVED], [*KEPT, *MARKED, *UNMARKED]
    )
    shared.declare(*KEPT, *REMOVED).apply()
    now = live(shared)
    assert after.items() <= now.items()
    assert max(Counter(now.values()).values()) == 1


def test_what_a_later_run_replaced_is_neither_made_nor_deleted_again(
    shared: Workspace, some_backend: SharedBackend
) -> None:
    shared.declare(*KEPT).apply()
    copy = some_backend.save()
    shared.apply("--replace", "Assistant/kept", "--replace", "VectorStore/kept")
    after = live(shared)
    restore(shared, some_backend, copy)
    shared.run("apply", "--yes", expect=1)
    assert live(shared) == after
    shared.apply("--adopt")
    assert (live(shared), shared.plan().code) == (after, 0)
