"""Who did it: the audit log, read backwards from now for the objects that drifted.

Only the control plane is logged, and only where the organization has switched the log on. An object without an entry in
the last pages has no culprit; that is no error.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from reconciler.api.client import Client
from reconciler.api.keys import KeyRing
from reconciler.api.reach import Reach
from reconciler.errors import AnswerError, ApiError
from reconciler.model.log import Entry
from reconciler.model.secret import Redactor

_PAGE = 100
_PAGES = 5
_PAGES_OF_CHANGES = 10

Culprits = Mapping[tuple[str, str | None], str]


def entries_since(client: Client, keys: KeyRing, since: float) -> list[Entry]:
    """The entries of the log from a time on, in unix seconds; ApiError where it cannot be read, or is too long."""
    query: dict[str, str | int] = {"limit": _PAGE, "effective_at[gte]": int(since)}
    most = _PAGE * _PAGES_OF_CHANGES
    items = list(islice(Reach(client, keys.admin()).list("/organization/audit_logs", query=query), most + 1))
    if len(items) > most:
        raise ApiError(f"it has more than {most} entries since then")
    return [_entry(item) for item in items]


def _entry(item: Mapping[str, Any]) -> Entry:
    type, at = item.get("type"), item.get("effective_at")
    if not isinstance(type, str) or not isinstance(at, int | float) or not isinstance(item.get("id"), str):
        raise AnswerError("The audit log has an entry without id, type or time.")
    about = item.get(type)
    resource = about.get("id") if isinstance(about, Mapping) else None
    return Entry(str(item["id"]), type, float(at), (item.get("project") or {}).get("id"), resource)


def blame(client: Client, keys: KeyRing, wanted: Collection[tuple[str, str | None]]) -> Culprits:
    """For objects, as id and project id (None for the organization's own), a sentence about their last change.

    Costs at most five calls. Raises from the `ApiError` tree where the log cannot be read.
    """
    found: dict[tuple[str, str | None], str] = {}
    missing = set(wanted)
    if not missing:
        return found
    entries = Reach(client, keys.admin()).list("/organization/audit_logs", query={"limit": _PAGE})
    for entry in islice(entries, _PAGE * _PAGES):
        project = (entry.get("project") or {}).get("id")
        changed = entry.get(str(entry.get("type"))) or {}
        for key in ((changed.get("id"), project), (changed.get("id"), None)):
            if key in missing:
                found[key] = _sentence(entry, client.redactor)
                missing.discard(key)
        if not missing:
            break
    return found


def _sentence(entry: Mapping[str, Any], redactor: Redactor) -> str:
    actor, at = entry.get("actor") or {}, entry.get("effective_at")
    session, api_key = actor.get("session") or {}, actor.get("api_key") or {}
    user = session.get("user") or api_key.get("user") or {}
    account = api_key.get("service_account") or {}
    who = user.get("email") or account.get("id") or user.get("id") or "somebody"
    how = f" with API key {api_key['id']}" if api_key.get("id") else ""
    when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC") if isinstance(at, int | float) else "once"
    return redactor(f"{entry.get('type')} by {who}{how}, {when}")
