"""An entry of the organization's audit log, as far as it says that something may have changed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One entry: `at` in unix seconds, `project_id` None for what belongs to the organization."""

    id: str
    type: str
    at: float
    project_id: str | None = None
    resource_id: str | None = None
