"""Helpers for tests that synchronize a vector store with a folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reconciler.errors import ReconcilerError
from reconciler.model.comparing import comparable
from reconciler.model.provider import Written
from reconciler.model.resource import LiveObject
from reconciler.model.values import FileSet, Member
from tests.api.conftest import World, kind

SMALL = {"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 50}}
Pair = tuple[LiveObject, Member, Member]


def member(world: World, path: str, content: str = "text", **rest: Any) -> Member:
    return Member(path, world.write(path, content), **rest)


def files(*members: Member) -> FileSet:
    return FileSet(tuple(sorted(members, key=lambda item: item.key)))


def store_of(world: World, *members: Member) -> Written:
    return world.create("VectorStore", {"name": "Handbook", "files": files(*members)})


def read(world: World, live: LiveObject) -> dict[str, Member]:
    carried = world.provider.read_own_calls(live, ["files"]).own_calls["files"]
    return {item.key: item for item in carried.members}


def sync(world: World, live: LiveObject, *members: Member) -> Written:
    """Bring a store to these members, as an apply does: read it, then update it."""
    world.emulator.clear_requests()
    return world.update(world.provider.read_own_calls(live, ["files"]), {"files": files(*members)})


def in_step(world: World, live: LiveObject, *members: Member) -> bool:
    field = kind("VectorStore").by_name["files"]
    shown = world.provider.read_own_calls(live, ["files"]).own_calls["files"]
    desired, found = comparable(field.type, files(*members), shown)
    return bool(desired == found)


def uploaded(world: World) -> list[str]:
    return sorted(file["filename"] for file in world.objects("file"))


def failing(world: World, fault: str, call: Callable[[], Any]) -> None:
    world.emulator.add_fault(fault)
    with pytest.raises(ReconcilerError):
        call()
    world.emulator.clear_faults()
