"""The audit log, read from the newest entry backwards.

Only the control plane is logged, and only if the organization has switched the log on. An object
without an entry in the newest pages has no known author; that is no error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from msgspec import Struct

from reconciler.api.keys import KeyRing
from reconciler.api.objects.scoped_client import ScopedClient
from reconciler.api.transport import pages
from reconciler.api.transport.client import Client
from reconciler.api.transport.pages import Query
from reconciler.api.transport.request import Request, Reuse
from reconciler.api.transport.responses import Response, text_or_none
from reconciler.errors import AnswerError, AuthenticationError, NotFoundError
from reconciler.model.consistency import ServerClock
from reconciler.model.log import REMOVING, AuditEntry, LogPage, LogQuery
from reconciler.model.secret import Redactor

_LOG = "/organization/audit_logs"
PAGE_ENTRIES = 100
"""The entries of a full page."""
_PAGES = 5
# The type of an entry is an object and a verb: `service_account.deleted`.
_MAKING = frozenset({"created", "added", "sent", "accepted", "registered", "issued", "provisioned"})
_REMOVING = frozenset({"deleted", "archived", "removed", "revoked", "deactivated", "detached"})
_ENDS_A_PROJECT = frozenset({"project.archived", "project.deleted"})
_ANY_DELETION = "resource.deleted"

Culprits = Mapping[tuple[str, str | None], str]


class AuditQuery(Struct, frozen=True):
    """Filters of the audit log: start time in unix seconds, entry types, projects and resources."""

    since: float | None = None
    types: Sequence[str] = ()
    project_ids: Sequence[str] = ()
    resource_ids: Sequence[str] = ()

    def query(self, limit: int) -> Query:
        """The filters in the API's spelling; empty ones are left out."""
        query: Query = {"limit": limit}
        if self.since is not None:
            query["effective_at[gte]"] = int(self.since)
        lists = {
            "event_types": self.types,
            "project_ids": self.project_ids,
            "resource_ids": self.resource_ids,
        }
        return query | {f"{name}[]": list(values) for name, values in lists.items() if values}


def newest_entries(
    client: Client, keys: KeyRing, wanted: AuditQuery, *, limit: int
) -> list[AuditEntry]:
    """The newest entries that match, newest first. Errors explain how to switch the log on."""
    items = ScopedClient(client, keys.admin()).list(
        _LOG, query=wanted.query(min(limit, PAGE_ENTRIES))
    )
    try:
        return [_entry(entry) for entry in islice(items, limit)]
    except (AuthenticationError, NotFoundError) as error:
        raise type(error)(
            f"The audit log cannot be read: {error}",
            hint="An owner switches it on in the organization's settings; it begins on that day. "
            "Only an admin key whose permissions include audit logs can read it.",
            status=error.status,
            code=error.code,
            request_id=error.request_id,
        ) from error


def read_log(
    client: Client, keys: KeyRing, query: LogQuery, *, reuse: Reuse = Reuse.NEVER
) -> Iterator[LogPage]:
    """The pages of the audit log, newest entries first. Each page is a call, made on demand.

    A failing server is not retried: a plan can do without the log, and a retry costs more calls
    than the log saves. Raises ApiError where the log cannot be read.
    """
    wanted = AuditQuery(query.since, query.types, query.project_ids, query.resource_ids)

    def fetch(parameters: Query) -> Response:
        return client.exchange(log_request(keys, parameters, reuse))

    return log_pages(fetch, wanted.query(PAGE_ENTRIES), client.server_clock)


def log_request(keys: KeyRing, query: Query, reuse: Reuse = Reuse.NEVER) -> Request:
    """The request for a page of the log."""
    return Request("GET", _LOG, keys.admin(), query=dict(query), attempts=1, reuse=reuse)


def log_pages(
    fetch: Callable[[Query], Response], query: Query, clock: ServerClock
) -> Iterator[LogPage]:
    """The pages of a query. `fetch` requests each one."""
    asked_at = math.inf

    def body(parameters: Query) -> Mapping[str, Any]:
        nonlocal asked_at
        response = fetch(parameters)
        asked_at = min(asked_at, clock.at(response.sent_at))
        return response.body

    for items, has_more in pages.each_page(body, subject=_LOG, query=query):
        yield LogPage([_entry(entry) for entry in items], has_more, asked_at)


def removed_lately(client: Client, keys: KeyRing, ids: Collection[str], since: float) -> set[str]:
    """The subset of `ids` whose removal the log shows since `since`, in unix seconds.

    Costs one call. Raises from the `ApiError` tree where the log cannot be read.
    """
    newest = next(read_log(client, keys, LogQuery(since, resource_ids=tuple(sorted(ids)))), None)
    if newest is None:
        return set()
    removed = {entry.resource_id for entry in newest.entries if entry.type.endswith(REMOVING)}
    # A server may ignore the filter.
    return {id for id in ids if id in removed}


def _entry(entry: Mapping[str, Any]) -> AuditEntry:
    type, at = entry.get("type"), entry.get("effective_at")
    if (
        not isinstance(type, str)
        or not isinstance(at, int | float)
        or not isinstance(entry.get("id"), str)
    ):
        raise AnswerError("The audit log has an entry without id, type or time.")
    # The details are in a field that is named like the type: {"type": "project.created",
    # "project.created": {"id": …}}.
    details, project = dict(_map(entry.get(type))), _map(entry.get("project"))
    return AuditEntry(
        str(entry["id"]),
        type,
        float(at),
        project.get("id"),
        text_or_none(details.pop("id", None)),
        _actor(entry),
        text_or_none(project.get("name")),
        details,
    )


def _actor(entry: Mapping[str, Any]) -> str:
    """The author in words: the person or the account, and the key."""
    # A session belongs to a person at the dashboard, a key to a person or a service account.
    actor = _map(entry.get("actor"))
    session, api_key = _map(actor.get("session")), _map(actor.get("api_key"))
    user = _map(session.get("user") or api_key.get("user"))
    account = _map(api_key.get("service_account"))
    author = user.get("email") or account.get("id") or user.get("id") or "somebody"
    if not api_key.get("id"):
        return str(author)
    return f"{author} with API key {api_key['id']}"


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


class Suspicion(Struct, frozen=True):
    """A changed or deleted object, and the types of log entries that can explain the change.

    `project_id` is None for the organization's own objects. `types` are prefixes of entry types,
    empty if they are unknown. `can_be_reset` is true if a delete resets the object to its defaults.
    """

    id: str
    project_id: str | None
    deleted: bool
    types: tuple[str, ...] = ()
    can_be_reset: bool = False

    @property
    def key(self) -> tuple[str, str | None]:
        """What identifies the object."""
        return self.id, self.project_id

    def fits(self, type: str, id: Any, project_id: str | None) -> bool:
        """Whether an entry of this type, about this object and project, can be the cause."""
        # The end of a project ends its objects, without an entry for each.
        if self.deleted and type in _ENDS_A_PROJECT and self.project_id is not None:
            return bool(id == self.project_id)
        # An entry about a whole person or group names no project, one about a project names itself.
        is_elsewhere = None not in (self.project_id, project_id) and project_id != self.project_id
        if id != self.id or is_elsewhere:
            return False
        if self.types and not type.startswith(self.types) and type != _ANY_DELETION:
            return False
        return self._is_effect_of(type)

    def _is_effect_of(self, type: str) -> bool:
        verb = type.rpartition(".")[2]
        if self.deleted:
            # The log shows the removal of a member as an update of its parent.
            return verb in _REMOVING or type in self.types
        # A deletion resets objects that always exist, such as limits.
        return verb not in _MAKING and (verb not in _REMOVING or self.can_be_reset)


def blame(client: Client, keys: KeyRing, suspicions: Collection[Suspicion]) -> Culprits:
    """A sentence about the newest entry that can explain each object, by id and project id.

    Costs at most five calls. Raises from the `ApiError` tree where the log cannot be read.
    """
    culprits: dict[tuple[str, str | None], str] = {}
    # Newest entries come first, so the first that fits is the cause.
    missing = {suspicion.key: suspicion for suspicion in suspicions}
    if not missing:
        return culprits
    entries = ScopedClient(client, keys.admin()).list(_LOG, query={"limit": PAGE_ENTRIES})
    for entry in islice(entries, PAGE_ENTRIES * _PAGES):
        type = str(entry.get("type"))
        id = _map(entry.get(type)).get("id")
        project_id = _map(entry.get("project")).get("id")
        caused = [key for key, suspicion in missing.items() if suspicion.fits(type, id, project_id)]
        for key in caused:
            culprits[key] = _sentence(entry, client.redactor)
            del missing[key]
        if not missing:
            break
    return culprits


def _sentence(entry: Mapping[str, Any], redactor: Redactor) -> str:
    at = entry.get("effective_at")
    when = "once"
    if isinstance(at, int | float):
        when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return redactor(f"{entry.get('type')} by {_actor(entry)}, {when}")
