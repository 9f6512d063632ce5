"""Control of the emulator's audit log: entries that come late or name no project, and a clock that jumps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from reconciler.emulator import Emulator
from reconciler.emulator.store import ORGANIZATION, ObjectRow
from reconciler.state import StateStore
from tests.conftest import Workspace


class AuditLog:
    """The log of an emulator.

    Entries that are written while `delay` is set show only after so many calls that read the log. With `is_vague`, all
    are noted under the default project, as the API says of what admin keys do.
    """

    def __init__(self, emulator: Emulator) -> None:
        self._store = emulator.store
        self._default = {"id": emulator.project_id, "name": "Default project"}
        self._add, self._collection = self._store.add, self._store.collection
        self._held: list[tuple[int, dict[str, Any], dict[str, Any]]] = []
        self._asked = 0
        self.delay = 0
        self.is_vague = False

    @contextmanager
    def installed(self) -> Iterator[AuditLog]:
        """Stand between the emulator and its log."""
        vars(self._store).update(add=self._added, collection=self._read)
        try:
            yield self
        finally:
            del vars(self._store)["add"], vars(self._store)["collection"]

    def release(self) -> None:
        """Show everything."""
        with self._store.lock:
            for _, body, hidden in self._held:
                self._add("audit_log", ORGANIZATION, body, **hidden)
            self._held.clear()

    def entries(self) -> list[ObjectRow]:
        """All that the log shows."""
        return list(self._collection("audit_log", ORGANIZATION).ordered())

    def age(self, seconds: float) -> None:
        """Let all entries be older."""
        with self._store.lock:
            for body in [
                *(body for _, body, _ in self._held),
                *(entry.body for entry in self.entries()),
            ]:
                body["effective_at"] -= seconds

    def _added(self, kind: str, scope: str, body: dict[str, Any], **hidden: Any) -> Any:
        if kind == "audit_log" and self.is_vague:
            body = {**body, "project": self._default}
        if kind == "audit_log" and self.delay:
            self._held.append((self._asked + self.delay, body, hidden))
            return None
        return self._add(kind, scope, body, **hidden)

    def _read(self, kind: str, scope: str) -> Any:
        if kind == "audit_log":
            due = [item for item in self._held if item[0] <= self._asked]
            self._held = [item for item in self._held if item[0] > self._asked]
            self._asked += 1
            for _, body, hidden in due:
                self._add(kind, scope, body, **hidden)
        return self._collection(kind, scope)


def pass_time(seconds: int, log: AuditLog, *workspaces: Workspace) -> None:
    """Let time pass for what plans look at: all that is remembered is older, and so is the log."""
    log.age(seconds)
    for workspace in workspaces:
        remember(workspace, _older(memory_of(workspace), seconds))


def memory_of(workspace: Workspace) -> dict[str, Any]:
    """What the last apply left for the next plan."""
    with closing(_state(workspace)) as store:
        found: dict[str, Any] = json.loads(store.remarks.get("reading") or "null")
    return found


def remember(workspace: Workspace, memory: dict[str, Any]) -> None:
    """Have the next plan know this."""
    with closing(_state(workspace)) as store:
        store.remarks.put("reading", json.dumps(memory))


def _state(workspace: Workspace) -> StateStore:
    return StateStore.open(
        workspace.folder / ".reconciler", stack=workspace.folder.name, environment="default"
    )


def _older(memory: dict[str, Any], seconds: int) -> dict[str, Any]:
    return {
        **memory,
        "seen": [
            [*seat, read_at - seconds, checked_at - seconds]
            for *seat, read_at, checked_at in memory["seen"]
        ],
        "writes": [
            {
                **write,
                "began_at": write["began_at"] - seconds,
                "ended_at": write["ended_at"] - seconds,
            }
            for write in memory["writes"]
        ],
        "shown": {id: at - seconds for id, at in memory["shown"].items()},
        "full_at": memory["full_at"] - seconds,
    }
