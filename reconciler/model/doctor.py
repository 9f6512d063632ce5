"""The findings of `doctor` about keys, network, clock, state and models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from reconciler.model.pace import RouteUse


class FindingStatus(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    UNKNOWN = "unknown"  # could not be found out, or only a write would show it
    WARNING = "warning"
    ERROR = "error"  # a plan or an apply of this stack would fail


class DoctorFinding(Struct, frozen=True):
    """One sentence about one topic. `cure` is the remedy; empty if none is needed."""

    topic: str
    status: FindingStatus
    sentence: str
    cure: str = ""


class ReadPermission(StrEnum):
    """Whether a key may read a list."""

    YES = "yes"
    NO = "no"
    ABSENT = "absent"  # the server has no such list
    UNKNOWN = "unknown"


class ListAccess(Struct, frozen=True):
    """One list that was read with one key. `needs` are the kinds, or other uses, of the list."""

    path: str
    needs: tuple[str, ...]
    readable: ReadPermission
    reason: str = ""
    """Why the list cannot be read."""


class KeyReport(Struct, frozen=True):
    """What one key may do. Never holds any part of the key."""

    source: str
    is_admin: bool
    project: str | None = None
    """The project's name in the configuration; None for the admin key and the default key."""
    organization: str = ""
    access: Sequence[ListAccess] = ()


class Needs(Struct, frozen=True):
    """The calls that the stack's kinds take: to plan, and further ones to apply."""

    kinds: tuple[str, ...] = ()
    plan: tuple[str, ...] = ()
    apply: tuple[str, ...] = ()


class Examination(Struct, frozen=True):
    """The result of `doctor`."""

    findings: Sequence[DoctorFinding]
    keys: Sequence[KeyReport] = ()
    pace: Sequence[RouteUse] = ()
    """The routes of the pace that runs share."""
    needs: Mapping[str, Needs] = {}
    """By the key that makes the calls: `admin` and `project`."""
    stack: str = ""
    environment: str = ""
    base_url: str = ""
    calls: int = 0
    seconds: float = 0.0

    @property
    def is_healthy(self) -> bool:
        """Whether no finding is an error."""
        return all(finding.status is not FindingStatus.ERROR for finding in self.findings)
