"""Who did it: the audit log, read backwards from now.

Only the control plane is logged, and only where the organization has switched the log on. An object without an entry in
the last pages has no culprit; that is no error.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from msgspec import Struct

from reconciler.api import pages
from reconciler.api.client import Client
from reconciler.api.keys import KeyRing
from reconciler.api.pages import Query
from reconciler.api.reach import Reach
from reconciler.errors import AnswerError, AuthenticationError, NotFoundError
from reconciler.model.log import Entry, LogPage, LogQuery
from reconciler.model.secret import Redactor

_LOG = "/organization/audit_logs"
_PAGE = 100
_PAGES = 5

Culprits = Mapping[tuple[str, str | None], str]


class Wanted(Struct, frozen=True):
    """Which entries are wanted: from a time on, in unix seconds, of certain types, projects and resources."""

    since: float | None = None
    types: Sequence[str] = ()
    project_ids: Sequence[str] = ()
    resource_ids: Sequence[str] = ()

    def query(self, limit: int) -> Query:
        """The filters as the API spells them; what is not asked for is not sent."""
        query: Query = {"limit": limit}
        if self.since is not None:
            query["effective_at[gte]"] = int(self.since)
        lists = {"event_types": self.types, "project_ids": self.project_ids, "resource_ids": self.resource_ids}
        return query | {f"{name}[]": list(values) for name, values in lists.items() if values}


def newest_entries(client: Client, keys: KeyRing, wanted: Wanted, *, limit: int) -> list[Entry]:
    """The newest entries that are wanted, the newest first; says what to do where the log cannot be read."""
    items = Reach(client, keys.admin()).list(_LOG, query=wanted.query(min(limit, _PAGE)))
    try:
        return [_entry(item) for item in islice(items, limit)]
    except (AuthenticationError, NotFoundError) as error:
        raise type(error)(
            f"The audit log cannot be read: {error}",
            hint="An owner switches it on in the organization's settings; it begins on that day. Only an admin key "
            "whose permissions include audit logs can read it.",
            status=error.status,
            code=error.code,
            request_id=error.request_id,
        ) from error


def read_log(client: Client, keys: KeyRing, query: LogQuery) -> Iterator[LogPage]:
    """The pages of the audit log, newest entries first. Each page costs one call, made when the caller asks for it.

    A failing server is not tried again: a caller that plans from the log can do without it, and a retry would cost
    more calls than it saves. Raises ApiError where the log cannot be read.
    """
    reach = Reach(client, keys.admin())
    wanted = Wanted(query.since, types=query.types, project_ids=query.project_ids)
    pages_of_log = pages.each_page(
        lambda asked: reach.request("GET", _LOG, query=dict(asked), attempts=1),
        what=_LOG,
        query=wanted.query(_PAGE),
    )
    for items, has_more in pages_of_log:
        yield LogPage([_entry(item) for item in items], has_more)


def _entry(item: Mapping[str, Any]) -> Entry:
    type, at = item.get("type"), item.get("effective_at")
    if not isinstance(type, str) or not isinstance(at, int | float) or not isinstance(item.get("id"), str):
        raise AnswerError("The audit log has an entry without id, type or time.")
    details, project = dict(_map(item.get(type))), _map(item.get("project"))
    resource, name = details.pop("id", None), project.get("name")
    return Entry(
        str(item["id"]),
        type,
        float(at),
        project.get("id"),
        resource if isinstance(resource, str) else None,
        _actor(item),
        name if isinstance(name, str) else None,
        details,
    )


def _actor(item: Mapping[str, Any]) -> str:
    """Who did it, in words: the person or the account, and the key."""
    actor = _map(item.get("actor"))
    session, api_key = _map(actor.get("session")), _map(actor.get("api_key"))
    user = _map(session.get("user") or api_key.get("user"))
    account = _map(api_key.get("service_account"))
    who = user.get("email") or account.get("id") or user.get("id") or "somebody"
    return f"{who} with API key {api_key['id']}" if api_key.get("id") else str(who)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def blame(client: Client, keys: KeyRing, wanted: Collection[tuple[str, str | None]]) -> Culprits:
    """For objects, as id and project id (None for the organization's own), a sentence about their last change.

    Costs at most five calls. Raises from the `ApiError` tree where the log cannot be read.
    """
    found: dict[tuple[str, str | None], str] = {}
    missing = set(wanted)
    if not missing:
        return found
    entries = Reach(client, keys.admin()).list(_LOG, query={"limit": _PAGE})
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
    at = entry.get("effective_at")
    when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC") if isinstance(at, int | float) else "once"
    return redactor(f"{entry.get('type')} by {_actor(entry)}, {when}")
