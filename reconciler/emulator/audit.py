"""The audit log: one entry per write of the admin API, as organization owners see it."""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.routing import Call
from reconciler.emulator.store import ORGANIZATION, ObjectRow


def log(
    call: Call, event: str, resource_id: str, /, *, project: ObjectRow | None = None, **details: Any
) -> None:
    """Write an entry, unless the log is disabled.

    `details` goes beside the resource's id, usually as `data` or `changes_requested`.
    """
    if call.options.audit_off:
        return
    entry: dict[str, Any] = {"id": ids.fresh("audit_log"), "type": event, "effective_at": call.now}
    if project is not None:
        entry["project"] = {"id": project.id, "name": project.body["name"]}
    entry["actor"] = call.principal.actor
    entry[event] = {"id": resource_id, **details}
    call.store.add("audit_log", ORGANIZATION, entry, resource_id=resource_id)
