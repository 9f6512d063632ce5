"""Results of policies, as values for every report.

Passing results are only counted, because there is one for each policy and resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

from reconciler.model.address import Address
from reconciler.model.diagnostic import SourceLocation


class PolicySeverity(StrEnum):
    """The effect of a failing policy on a plan."""

    ADVISORY = "advisory"
    """It is reported."""
    OVERRIDABLE = "overridable"
    """It refuses the plan, unless the command line overrides the policy with a reason."""
    MANDATORY = "mandatory"
    """It refuses the plan."""


class PolicyOutcome(StrEnum):
    """The result of one policy for one resource."""

    PASS = "pass"  # noqa: S105 - not a password
    FAIL = "fail"
    UNDECIDED = "undecided"
    """It depends on a value that is known only after apply."""
    ERROR = "error"
    """The rule could not be evaluated. It counts as a failure."""
    EXCEPTED = "excepted"
    """It fails, and an exception of the policy covers the resource."""


class PolicyResult(Struct, frozen=True):
    """One policy applied to one resource."""

    policy: str
    address: Address
    outcome: PolicyOutcome
    severity: PolicySeverity
    message: str = ""
    """The failure, the reason why it is undecided, or the reason of the exception."""
    location: SourceLocation | None = None
    """Of the resource; of the policy where nothing declares the resource; of a rule that is an error."""
    policy_location: SourceLocation | None = None
    override: str = ""
    """The reason with which the command line overrides the policy."""

    @property
    def id(self) -> str:
        """The same in every report and run: `policy/NAME/ADDRESS`."""
        return f"policy/{self.policy}/{self.address}"

    @property
    def is_failure(self) -> bool:
        """Whether the policy fails, even if it refuses nothing."""
        return self.outcome in (PolicyOutcome.FAIL, PolicyOutcome.ERROR)

    @property
    def refuses(self) -> bool:
        """Whether the plan must not be applied because of it."""
        # An undecided policy refuses nothing: the apply evaluates it again with the values.
        return (
            self.is_failure and self.severity is not PolicySeverity.ADVISORY and not self.override
        )


class PolicySummary(Struct, frozen=True):
    """One policy, and the number of its resources by outcome."""

    name: str
    severity: PolicySeverity
    description: str = ""
    location: SourceLocation | None = None
    counts: Mapping[PolicyOutcome, int] = field(default_factory=dict)
    """Without zeros."""
    is_trusted: bool = False
    """Whether it comes from the folder of `--policies`."""


class PolicyReport(Struct, frozen=True):
    """All policies of a run, by name, and every result other than a pass."""

    policies: tuple[PolicySummary, ...] = ()
    results: tuple[PolicyResult, ...] = ()

    @property
    def refusing(self) -> tuple[PolicyResult, ...]:
        """The results because of which the plan must not be applied."""
        return tuple(result for result in self.results if result.refuses)

    def counts(self) -> Mapping[PolicyOutcome, int]:
        """The number of results by outcome, without zeros."""
        totals = dict.fromkeys(PolicyOutcome, 0)
        for policy in self.policies:
            for outcome, number in policy.counts.items():
                totals[outcome] += number
        return {outcome: number for outcome, number in totals.items() if number}


NO_POLICIES = PolicyReport()
