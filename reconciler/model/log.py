"""Entries of the organization's audit log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

REMOVING = (".deleted", ".archived", ".removed")
"""Suffixes of the event types that report a removal."""


class AuditEntry(Struct, frozen=True):
    """One entry of the log."""

    id: str
    type: str
    at: float
    """In unix seconds."""
    project_id: str | None = None
    """None for events of the organization."""
    resource_id: str | None = None
    actor: str = ""
    """Who made the change, as words."""
    project_name: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    """The changed fields, as far as the log reports them."""


class LogQuery(Struct, frozen=True):
    """A filter of the audit log: from `since` (unix seconds) on, and by types, projects and
    resources.

    An empty filter matches everything.
    """

    since: float | None = None
    types: tuple[str, ...] = ()
    project_ids: tuple[str, ...] = ()
    resource_ids: tuple[str, ...] = ()


class LogPage(Struct, frozen=True):
    """One page of the log, newest entry first. `has_more` means that older entries match the query
    too."""

    entries: Sequence[AuditEntry]
    has_more: bool
    asked_at: float = math.inf
    """When the log was asked for this page and all before it, the earliest time, in unix seconds of
    the server; infinite if that is unknown."""
