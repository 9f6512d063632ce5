"""Evaluates policies for resources. A policy that cannot be evaluated counts as failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from reconciler.cel import Budget, BudgetError, EvaluationError, UndecidedError
from reconciler.cel.values import shown_type
from reconciler.model.address import Address
from reconciler.model.diagnostic import Diagnostic, Severity, SourceLocation
from reconciler.model.policy import PolicyOutcome, PolicyResult, PolicySummary
from reconciler.policies.declared import Match, Policy
from reconciler.policies.subjects import Subject, Subjects
from reconciler.rules.bounded import search

MAX_EVALUATION_STEPS = 1_000_000
POLICY_STEPS = 2_000_000
POLICY_STEPS_PER_RESOURCE = 1_000
RUN_STEPS = 20_000_000
"""A few seconds of work, which no set of policies can exceed in a small stack."""
RUN_STEPS_PER_RESOURCE = 4_000
POLICY_SECONDS = 2.0
"""How long the regular expressions of one policy may take."""
RUN_SECONDS = 6.0
"""How long the regular expressions of all policies may take."""
MAX_MESSAGE = 1_000
MAX_RESULTS = 10_000
"""The most results of one policy that are kept; the others are counted."""
SOON_DAYS = 14
"""How many days before its end an exception is announced to expire."""


class Judged(Struct, frozen=True):
    """The outcome of one policy for all resources: the results other than passes, their number, and
    warnings."""

    summary: PolicySummary
    results: tuple[PolicyResult, ...]
    warnings: tuple[Diagnostic, ...] = ()


class RunBudget:
    """The steps that all policies of a run share."""

    def __init__(self, resources: int) -> None:
        self._resources = resources
        self._left = RUN_STEPS + RUN_STEPS_PER_RESOURCE * resources
        self._seconds = RUN_SECONDS

    def next_policy(self) -> Budget:
        """The budget of the next policy."""
        most = POLICY_STEPS + POLICY_STEPS_PER_RESOURCE * self._resources
        return Budget(
            evaluation=MAX_EVALUATION_STEPS,
            total=min(most, self._left),
            seconds=min(POLICY_SECONDS, self._seconds),
            search=search,
        )

    def take(self, given: tuple[int, float], budget: Budget) -> None:
        """Subtract the steps and seconds that a policy used from its budget."""
        steps, seconds = given
        self._left -= steps - max(budget.total, 0)
        self._seconds -= seconds - max(budget.seconds, 0.0)


def judge(
    policies: Sequence[Policy],
    subjects: Subjects,
    *,
    overrides: Mapping[str, str] | None = None,
    only: Collection[tuple[str, Address]] | None = None,
) -> list[Judged]:
    """Evaluate policies for all resources that they match.

    `overrides` gives the reasons of overridden policies by name. `only` restricts the evaluation
    to some pairs of policy and address.
    """
    run = RunBudget(len(subjects.subjects))
    selection = MatchedResources(subjects.subjects)
    scope = {
        "resources": subjects.resources,
        "now": subjects.now,
        "stack": subjects.stack,
        "environment": subjects.environment,
        "shutdowns": subjects.shutdowns,
    }
    judged = {}
    # Trusted policies first, so that a policy of a pull request cannot use up their share of the
    # budget.
    for policy in sorted(policies, key=lambda policy: not policy.is_trusted):
        budget = run.next_policy()
        given = budget.total, budget.seconds
        override = (overrides or {}).get(policy.name, "")
        judge_one = _Judge(policy, scope, budget, override)
        chosen: Sequence[Subject] = ()
        if policy.match.fits_environment(subjects.environment):
            chosen = selection.of(policy.match)
        if only is not None:
            chosen = [subject for subject in chosen if (policy.name, subject.address) in only]
        judged[policy.name] = judge_one.all(chosen, subjects.now)
        run.take(given, budget)
    return [judged[name] for name in sorted(judged)]


class MatchedResources:
    """The resources that policies match. Many policies match the same ones."""

    def __init__(self, subjects: Sequence[Subject]) -> None:
        self._subjects = subjects
        self._by_kind: dict[str, list[Subject]] = {}
        for subject in subjects:
            self._by_kind.setdefault(subject.address.kind, []).append(subject)
        self._chosen: dict[Match, list[Subject]] = {}

    def of(self, match: Match) -> list[Subject]:
        """The resources that are matched, in any environment."""
        chosen = self._chosen.get(match)
        if chosen is None:
            chosen = []
            for subject in self._of_kinds(match.kinds):
                if match.fits(subject.address.project, subject.action):
                    chosen.append(subject)
            self._chosen[match] = chosen
        return chosen

    def _of_kinds(self, kinds: Collection[str]) -> Iterator[Subject]:
        if not kinds:
            yield from self._subjects
        for kind in sorted(kinds):
            yield from self._by_kind.get(kind, ())


class _Judge:
    """Evaluates one policy. The scope is shared: each resource replaces its own variables."""

    def __init__(
        self, policy: Policy, scope: dict[str, Any], budget: Budget, override: str
    ) -> None:
        self._policy = policy
        self._scope = scope
        self._budget = budget
        self._override = override
        self._counts: Counter[PolicyOutcome] = Counter()
        self._results: list[PolicyResult] = []

    def all(self, chosen: Sequence[Subject], now: datetime) -> Judged:
        """The results for the resources that the policy matches."""
        policy = self._policy
        self._evaluate(chosen, now)
        # In the order of the enum, so that every output lists them alike.
        counts = {}
        for outcome in PolicyOutcome:
            if self._counts[outcome]:
                counts[outcome] = self._counts[outcome]
        summary = PolicySummary(
            policy.name,
            policy.severity,
            policy.description,
            policy.location,
            counts,
            policy.is_trusted,
        )
        return Judged(summary, tuple(self._results), tuple(_exception_warnings(policy, now)))

    def _evaluate(self, chosen: Sequence[Subject], now: datetime) -> None:
        # Millions of passes go through this loop, so it does only the necessary work.
        evaluate, scope = self._policy.rule.prepared(self._scope, self._budget), self._scope
        passed = 0
        for subject in chosen:
            scope["resource"] = subject.resource
            scope["change"] = subject.change
            scope["live"] = subject.live
            try:
                value: Any = evaluate(scope)
            except (EvaluationError, UndecidedError, BudgetError) as error:
                value = error
            if value is True:
                passed += 1
                continue
            self._take(subject, value, now)
            # The other resources would end the same way. The policy has failed in any case.
            if isinstance(value, BudgetError) and self._budget.total <= 0:
                break
        if passed:
            self._counts[PolicyOutcome.PASS] = passed

    def _take(self, subject: Subject, value: Any, now: datetime) -> None:
        outcome, message = self._outcome(value)
        # An undecided rule needs no exception: apply evaluates it again.
        if outcome in (PolicyOutcome.FAIL, PolicyOutcome.ERROR):
            outcome, message = self._excepted(subject, outcome, message, now)
        self._counts[outcome] += 1
        if len(self._results) >= MAX_RESULTS:
            return
        policy = self._policy
        self._results.append(
            PolicyResult(
                policy=policy.name,
                address=subject.address,
                outcome=outcome,
                severity=policy.severity,
                message=message,
                location=self._location(subject, outcome),
                policy_location=policy.location,
                override=self._override,
            )
        )

    def _location(self, subject: Subject, outcome: PolicyOutcome) -> SourceLocation | None:
        """The location to correct: the rule if it cannot be evaluated, else the resource."""
        policy = self._policy
        if outcome is PolicyOutcome.ERROR:
            return policy.locations.get("rule") or policy.location
        return subject.location or policy.location

    def _outcome(self, value: Any) -> tuple[PolicyOutcome, str]:
        match value:
            case False:
                return PolicyOutcome.FAIL, self._message()
            case UndecidedError():
                return (
                    PolicyOutcome.UNDECIDED,
                    f"it depends on {value.source}, which is not known yet",
                )
            case BudgetError():
                return PolicyOutcome.ERROR, (
                    f"the rule was stopped: {value}. Narrow it with match, or with "
                    'r.kind == "…" as the first condition of a macro.'
                )
            case EvaluationError():
                return PolicyOutcome.ERROR, f"the rule cannot be evaluated: {value}"
        return PolicyOutcome.ERROR, (
            f"the rule must be true or false, and it is a value of type {shown_type(value)}: "
            "compare it with something."
        )

    def _message(self) -> str:
        policy = self._policy
        if policy.message is None:
            return policy.description or f"the rule is false: {_line(policy.rule.source)}"
        try:
            message = policy.message.evaluate(self._scope, self._budget)
        except (EvaluationError, UndecidedError, BudgetError) as error:
            return f"the rule is false (its message cannot be evaluated: {error})"
        if not isinstance(message, str):
            return "the rule is false (its message is not a text)"
        return message[:MAX_MESSAGE]

    def _excepted(
        self, subject: Subject, outcome: PolicyOutcome, message: str, now: datetime
    ) -> tuple[PolicyOutcome, str]:
        for exception in self._policy.exceptions:
            if not exception.covers(subject.address):
                continue
            if exception.days_left(now) >= 0:
                return PolicyOutcome.EXCEPTED, f"{_sentence(message)} Excepted: {exception}"
            message = (
                f"{_sentence(message)} The exception of {exception.owner} ({exception.reason}) "
                f"expired on {exception.until}."
            )
        return outcome, message


def _exception_warnings(policy: Policy, now: datetime) -> Iterator[Diagnostic]:
    """A warning for each exception that has expired or expires soon."""
    for exception in policy.exceptions:
        left = exception.days_left(now)
        if left > SOON_DAYS:
            continue
        described = f"{exception.address} ({exception.reason}), owner {exception.owner}"
        if left < 0:
            summary = "An exception has expired"
            detail = f"{described}: it ended on {exception.until}. Remove it, or extend it."
        else:
            summary = "An exception expires soon"
            detail = f"{described}: it ends on {exception.until}."
        yield Diagnostic(
            summary,
            detail,
            address=policy.address,
            location=exception.location or policy.location,
            severity=Severity.WARNING,
        )


def _sentence(text: str) -> str:
    """A text with a full stop at its end, unless it has another."""
    text = text.rstrip()
    if text.endswith((".", "!", "?")):
        return text
    return f"{text}."


def _line(source: str) -> str:
    return " ".join(source.split())[:200]
