"""The result of a rehearsal, as a value to show and to check."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from reconciler.model.change import ApplyResult, Plan


class RehearsalVerdict(StrEnum):
    """The result of a check. Each is a verdict of a finding too, except that no check has errors."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class RehearsalCheck(Struct, frozen=True):
    """One claim about the plan, and whether the rehearsal confirmed it."""

    name: str
    verdict: RehearsalVerdict
    detail: str = ""
    """The results of the check, one per line."""


class RouteCalls(Struct, frozen=True):
    """The calls of one route."""

    method: str
    path: str
    """The path below the base URL, with `{name}` for each parameter."""
    calls: int
    refused: int = 0
    """How many of them were refused."""
    is_admin: bool = False

    @property
    def writes(self) -> bool:
        """Whether the calls change something."""
        return self.method != "GET"


class RehearsedStep(Struct, frozen=True):
    """A change of the plan, in the order in which changes ended."""

    address: str
    action: str
    status: str
    message: str = ""


class Pace(Struct, frozen=True):
    """How long calls take at the pace of the live API, in seconds. It is a lower bound."""

    requests_per_minute: float
    """What each admin route answers."""
    reading_seconds: float = 0.0
    applying_seconds: float = 0.0
    slowest_route: str = ""
    """The route that decides about the time of the apply; empty if no route does."""

    @property
    def seconds(self) -> float:
        """The time for reading and applying together."""
        return self.reading_seconds + self.applying_seconds


class RollbackPreview(Struct, frozen=True):
    """The effect of a rollback of the rehearsed apply."""

    changes: tuple[str, ...] = ()
    """One line for each change: its action and its address."""
    obstacles: tuple[str, ...] = ()
    """The effects that a rollback cannot undo."""


class Rehearsal(Struct, frozen=True):
    """The results of applying a plan to a copy of the organization."""

    plan: Plan
    source: str
    """The source of the copy, for people: the server, or the file of a recording."""
    read_at: float
    """When the live organization was read, in unix seconds."""
    saved_plan: str = ""
    """The file of the plan; empty if the plan was made here."""
    result: ApplyResult | None = None
    """None if the plan was not applied."""
    steps: tuple[RehearsedStep, ...] = ()
    reading: tuple[RouteCalls, ...] = ()
    """The calls that reading the live organization took; those of the recording, if there is one."""
    applying: tuple[RouteCalls, ...] = ()
    """The calls that the apply made to the copy."""
    pace: Pace = Pace(0.0)
    refusals: tuple[str, ...] = ()
    """The refusals of guards; the plan is not applied then."""
    api_refusals: tuple[str, ...] = ()
    """The refusals of the copy's API, by call."""
    checks: tuple[RehearsalCheck, ...] = ()
    rollback: RollbackPreview | None = None
    unread: tuple[str, ...] = ()
    """The lists that could not be read, and so are not in the copy."""
    not_modelled: tuple[str, ...] = ()
    """The features that the copy does not reproduce, as far as they concern this plan."""
    withheld_keys: tuple[str, ...] = ()
    """The keys that were created in the copy, and where an apply would deliver them."""
    faults: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no check failed and no guard refuses the plan."""
        # A skipped check proves nothing, and fails nothing.
        failed = any(check.verdict is RehearsalVerdict.FAILED for check in self.checks)
        return not failed and not self.refusals
