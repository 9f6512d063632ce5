"""An entry of the organization's audit log: what may have changed, when, and who did it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

REMOVING = (".deleted", ".archived", ".removed")
"""How the types of entries end that tell of something that is gone."""


class AuditEntry(Struct, frozen=True):
    """One entry: `at` in unix seconds, `project_id` None for what belongs to the organization.

    `actor` is who in words. `details` is what the log says about the change: fields, as far as it tells them.
    """

    id: str
    type: str
    at: float
    project_id: str | None = None
    resource_id: str | None = None
    actor: str = ""
    project_name: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class LogQuery(Struct, frozen=True):
    """Which entries of the audit log to read: from `since` (unix seconds) on, of certain types, projects and resources.

    All are read where nothing is said.
    """

    since: float | None = None
    types: tuple[str, ...] = ()
    project_ids: tuple[str, ...] = ()
    resource_ids: tuple[str, ...] = ()


class LogPage(Struct, frozen=True):
    """One page of the audit log, newest entry first. `has_more` is true where older entries match the query too."""

    entries: Sequence[AuditEntry]
    has_more: bool
