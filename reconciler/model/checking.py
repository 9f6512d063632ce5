"""Results of checks, as values for renderers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import force_setattr

from reconciler.model.address import Address
from reconciler.model.diagnostic import SourceLocation


class CheckStatus(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"  # the answer is not what it must be
    ERROR = "error"  # there was no answer to judge
    SKIPPED = "not run"


class CheckFinding(Struct, frozen=True):
    """One mismatch between an answer and its expectation: the subject, and a phrase."""

    about: str
    message: str

    def __str__(self) -> str:
        return f"{self.about} {self.message}"


class CheckOutcome(Struct, frozen=True):
    """The result of one check. `message` says why it did not run or what went wrong; `notes` lists
    what it left behind."""

    address: Address
    status: CheckStatus
    what: str = ""
    location: SourceLocation | None = None
    seconds: float = 0.0
    findings: tuple[CheckFinding, ...] = ()
    message: str = ""
    notes: tuple[str, ...] = ()


class CheckReport(Struct, frozen=True):
    """All checks of a run, in address order."""

    stack: str
    environment: str
    outcomes: tuple[CheckOutcome, ...]
    calls: int = 0
    seconds: float = 0.0
    interrupted: bool = False

    def __post_init__(self) -> None:
        # Checks run in parallel and end in any order.
        force_setattr(
            self, "outcomes", tuple(sorted(self.outcomes, key=lambda outcome: outcome.address))
        )

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.interrupted and not any(
            outcome.status in (CheckStatus.FAILED, CheckStatus.ERROR) for outcome in self.outcomes
        )

    def counts(self) -> Mapping[CheckStatus, int]:
        """The number of checks per status."""
        counts = dict.fromkeys(CheckStatus, 0)
        for outcome in self.outcomes:
            counts[outcome.status] += 1
        return counts
