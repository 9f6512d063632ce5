"""Results of a fleet: what a run found in each of many stacks, and how serious it is."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from reconciler.model.change import ApplyResult, Plan
from reconciler.model.diagnostic import Diagnostic


class StackId(Struct, frozen=True, order=True):
    """One stack in one environment, as a fleet names it.

    `folder` is relative to the folder that the fleet was started in. The state knows a stack by
    `name` and environment, so two folders must not share both.
    """

    folder: str
    environment: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.folder}@{self.environment}"


class Command(StrEnum):
    """What a fleet does with each stack."""

    PLAN = "plan"
    APPLY = "apply"
    DRIFT = "drift"


class StackStatus(StrEnum):
    """The state of a stack after a run, worst first."""

    FAILED = "failed"
    """It could not be planned, or an apply failed at least in part."""
    REFUSED = "refused"
    """A guard, a policy or a missing approval stopped the run."""
    LOCKED = "locked"
    """Another run held the lock."""
    DRIFTED = "drifted"
    """Somebody changed live objects."""
    PENDING = "pending"
    """The manifests declare changes that are not applied."""
    INTERRUPTED = "interrupted"
    """The run was stopped before the stack was done."""
    APPLIED = "applied"
    """Changes were applied, all of them."""
    IN_SYNC = "in sync"
    """Live objects are as declared."""

    @property
    def rank(self) -> int:
        """The position from the worst status on, for sorting."""
        return list(StackStatus).index(self)


class StackResult(Struct, frozen=True):
    """What one run did to one stack. Times are unix seconds."""

    id: StackId
    command: Command
    status: StackStatus
    exit_code: int
    """What the command for this stack alone would exit with."""
    reason: str = ""
    """A short name in CamelCase for programs, such as `GuardRefused`; empty if in sync."""
    message: str = ""
    """A sentence for people."""
    diagnostics: tuple[Diagnostic, ...] = ()
    """The problems that made the stack fail, if there are several."""
    organization: str = ""
    """The id of the organization, or empty while it is unknown."""
    plan: Plan | None = None
    result: ApplyResult | None = None
    digest: str = ""
    """The digest that approves the plan; empty without one."""
    calls: int = 0
    """Requests that this stack alone caused."""
    shared_answers: int = 0
    """Answers that it took from what other stacks had read."""
    began_at: float = 0.0
    ended_at: float = 0.0
