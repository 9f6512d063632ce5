"""Results of a fleet: the status of each of many stacks after a run, and the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

from reconciler.model.change import ApplyResult, Plan
from reconciler.model.diagnostic import Diagnostic


class StackId(Struct, frozen=True, order=True):
    """One stack in one environment, as a fleet names it.

    `folder` is relative to the folder that the fleet was started in. The state knows a stack by
    `name` and environment, so two folders must not share both.
    """

    folder: str
    environment: str
    """Empty if the stack file cannot be read."""
    name: str = ""

    def __str__(self) -> str:
        return f"{self.folder}@{self.environment}" if self.environment else self.folder


class Command(StrEnum):
    """The command that a fleet runs for each stack."""

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
    """Live objects match the manifests."""

    @property
    def rank(self) -> int:
        """The position among all statuses, worst first, for sorting."""
        return list(StackStatus).index(self)


class StackResult(Struct, frozen=True):
    """The result of one run for one stack. Times are unix seconds."""

    id: StackId
    command: Command
    status: StackStatus
    exit_code: int
    """The exit code of the command for this stack alone."""
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
    """Answers that it reused from reads of other stacks."""
    spend_share: float | None = None
    """The used share of the monthly spend limit that is closest to its end; None if not read."""
    began_at: float = 0.0
    ended_at: float = 0.0

    @property
    def answered_by_log(self) -> bool:
        """Whether nothing was read, because the audit log shows no change since the last apply."""
        return self.plan is not None and self.plan.refresh.answered_by_log


class DriftNote(Struct, frozen=True):
    """A live object that was changed outside reconciler. Without values, so that it can be stored."""

    address: str
    fields: tuple[str, ...] = ()
    deleted: bool = False
    overdue: str = ""
    """Which key should have been rotated by now, as a clause."""
    blame: str = ""


class LossNote(Struct, frozen=True):
    """A destructive change: its address, and clauses such as `12 files are deleted`."""

    address: str
    action: str
    sentence: str


class FailureNote(Struct, frozen=True):
    """A change that was not applied, and why."""

    address: str
    message: str


class StackHealth(Struct, frozen=True):
    """The health of a stack according to its history. Times are unix seconds."""

    last_look: float | None
    """When live state was last read; None if every recorded run failed before that."""
    status_since: float
    """Since when the stack has had its present status."""
    drift_since: float | None = None
    """When the present drift was first found; None if there is none."""
    last_apply: float | None = None
    last_apply_status: str = ""
    last_apply_by: str = ""
    failures: int = 0
    """The failed runs of the period."""
    runs: int = 0
    """The runs of the period."""
    calls: int = 0
    """The requests of the period."""


class StackReport(Struct, frozen=True):
    """The part of a fleet report about one stack. It contains no plan, so thousands fit in memory.

    Lists are cut to `MOST_NOTES` entries; the numbers beside them count all.
    """

    id: StackId
    command: str
    status: StackStatus
    exit_code: int
    reason: str = ""
    message: str = ""
    organization: str = ""
    digest: str = ""
    """The digest that approves the plan; empty if there is nothing to approve."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """The planned changes by action, without those that do nothing."""
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """How the changes of an apply ended, by `OutcomeStatus`."""
    destructive: int = 0
    losses: tuple[LossNote, ...] = ()
    drifted: int = 0
    drift: tuple[DriftNote, ...] = ()
    refused: int = 0
    refusals: tuple[str, ...] = ()
    failed: int = 0
    failures: tuple[FailureNote, ...] = ()
    problems: int = 0
    diagnostics: tuple[Diagnostic, ...] = ()
    unmanaged: int = 0
    calls: int = 0
    """Requests that this stack alone caused."""
    shared_answers: int = 0
    """Answers that it reused from reads of other stacks."""
    answered_by_log: bool = False
    """Whether nothing was read, because the audit log shows no change since the last apply."""
    began_at: float = 0.0
    ended_at: float = 0.0
    health: StackHealth | None = None
    """The health of the stack according to its history; only in `fleet report`."""
    file: str = ""
    """The path of the stack file, as the user would type it."""
    next_command: str = ""
    """The command line that shows more of this stack."""


MOST_NOTES = 20
"""The most entries of a list in a `StackReport`."""


class FleetReport(Struct, frozen=True):
    """The report of one run of a fleet, worst stacks first. Times are unix seconds."""

    command: str
    stacks: tuple[StackReport, ...]
    digest: str = ""
    """The digest that approves the plans of all stacks; empty if there is nothing to approve."""
    calls: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    exit_code: int = 0

    @property
    def counts(self) -> Mapping[StackStatus, int]:
        """The number of stacks by status, worst first, without zeros."""
        numbers = Counter(stack.status for stack in self.stacks)
        return {status: numbers[status] for status in StackStatus if numbers[status]}
