"""The policies of a run, from manifests and trusted folders, and their results.

Policies of a trusted folder (`--policies`) come from outside of the reviewed change, so no manifest
can weaken, except or replace them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from reconciler.app.model_shutdowns import SHUTDOWNS
from reconciler.errors import ConfigurationError, UsageError
from reconciler.kinds import ALL_KINDS, KINDS
from reconciler.manifests import Settings, load_configuration
from reconciler.model.address import Address
from reconciler.model.change import ApplyResult, Change, Outcome, OutcomeStatus, Plan
from reconciler.model.diagnostic import Diagnostic, Severity, SourceLocation, nearest
from reconciler.model.policy import (
    NO_POLICIES,
    PolicyOutcome,
    PolicyReport,
    PolicyResult,
    PolicySeverity,
)
from reconciler.model.resource import Resource
from reconciler.model.rule import Rule
from reconciler.policies import (
    DeclaredSubject,
    Judged,
    Policy,
    Subjects,
    Surroundings,
    declared_subjects,
    field_problems,
    judge,
    live_subjects,
    planned_subjects,
    policy_of,
    run_tests,
)
from reconciler.rules import POLICY, RULE_KINDS

if TYPE_CHECKING:
    from reconciler.app.session import Session

NOTHING: Mapping[Address, Outcome] = {}
MAX_SENTENCES = 20
"""The most refusals of one policy that are spelled out."""


# --- finding policies


def policies_of(session: Session) -> tuple[Policy, ...]:
    """All policies, by name. Raises ConfigurationError for those that cannot be used."""
    if session.policies is None:
        session.policies = _load(session)
    return session.policies


def _load(session: Session) -> tuple[Policy, ...]:
    policies = [policy_of(rule) for rule in session.declared.rules if rule.kind is POLICY]
    for folder in session.policy_request.folders:
        policies += _trusted_policies(session, folder)
    problems: list[Diagnostic] = []
    for policy in policies:
        problems += field_problems(policy, ALL_KINDS)
    problems += _duplicates(policies)
    if problems:
        raise ConfigurationError(problems)
    return tuple(sorted(policies, key=lambda policy: policy.name))


def _trusted_policies(session: Session, folder: Path) -> Iterator[Policy]:
    if not folder.is_dir():
        raise UsageError(f'--policies: "{folder}" is no folder')
    settings = Settings(root=folder, env=session.settings.env, learn=session.settings.learn)
    configuration = load_configuration(settings, KINDS, RULE_KINDS)
    documents: list[Resource | Rule] = [*configuration.resources, *configuration.rules]
    for document in documents:
        if document.kind is not POLICY:
            raise UsageError(
                f'--policies: "{folder}" declares {document.address}, and only policies belong '
                "there",
                hint="Move other documents into the manifests of a stack.",
            )
    for rule in configuration.rules:
        # Made late: a rule has a location for each of its fields, and few of them are shown.
        locations = _Located(rule.locations, folder)
        location = _located(rule.location, folder)
        yield policy_of(replace(rule, location=location, locations=locations), is_trusted=True)


def _located(location: SourceLocation | None, folder: Path) -> SourceLocation | None:
    """A location with the folder as the user wrote it."""
    return location and replace(location, file=str(folder / location.file))


class _Located(Mapping[str, SourceLocation]):
    def __init__(self, locations: Mapping[str, SourceLocation], folder: Path) -> None:
        self._locations = locations
        self._folder = folder

    def __getitem__(self, path: str) -> SourceLocation:
        location = self._locations[path]
        return replace(location, file=str(self._folder / location.file))

    def __iter__(self) -> Iterator[str]:
        return iter(self._locations)

    def __len__(self) -> int:
        return len(self._locations)


def _duplicates(policies: Sequence[Policy]) -> Iterator[Diagnostic]:
    """An error for each policy with the name of a trusted one, or of another trusted one."""
    trusted: dict[str, Policy] = {}
    # Trusted ones first, so that the other one is at fault.
    for policy in sorted(policies, key=lambda policy: not policy.is_trusted):
        earlier = trusted.get(policy.name)
        if earlier is not None:
            yield Diagnostic(
                "Duplicate policy",
                f'The policy "{policy.name}" is also declared at {earlier.location}, in a folder '
                "of --policies. Rename this one: it cannot replace a trusted policy.",
                address=policy.address,
                location=policy.location,
            )
        elif policy.is_trusted:
            trusted[policy.name] = policy


def check_policies(session: Session) -> None:
    """Raise an error for policies and overrides that cannot be used, before the first call."""
    overrides_of(session, policies_of(session))


def overrides_of(session: Session, policies: Iterable[Policy]) -> Mapping[str, str]:
    """The reasons of `--override-policy` by policy. Raises UsageError for those that are not allowed."""
    severities = {policy.name: policy.severity for policy in policies}
    overrides = {}
    for text in session.policy_request.overrides:
        name, separator, reason = text.partition("=")
        if not separator or not reason.strip():
            raise UsageError(f'--override-policy "{text}": write NAME=REASON')
        # An override of a policy that one stack declares must not fail the others of a fleet.
        if name not in severities and session.policy_request.is_for_many:
            continue
        if name not in severities:
            hint = nearest(name, severities)
            raise UsageError(f'--override-policy: there is no policy "{name}".{hint}')
        if severities[name] is not PolicySeverity.OVERRIDABLE:
            raise UsageError(
                f'--override-policy: the policy "{name}" is {severities[name]}, not overridable',
                hint="Ask its owners for an exception in the policy.",
            )
        overrides[name] = reason.strip()
    return overrides


# --- evaluating them


def failing_tests(session: Session) -> list[Diagnostic]:
    """An error for each failing test of a policy."""
    return list(run_tests(policies_of(session), now=_now(session)))


def with_policies(session: Session, plan: Plan) -> Plan:
    """The plan with the results of the policies over planned resources, and their warnings."""
    policies = policies_of(session)
    overrides = overrides_of(session, policies)
    chosen = _judging_plans(policies)
    if not chosen:
        return plan
    judged = judge(chosen, _planned(session, plan), overrides=overrides)
    return _with_report(plan, judged)


def _judging_plans(policies: Iterable[Policy]) -> list[Policy]:
    return [policy for policy in policies if policy.judges_plan]


def _planned(
    session: Session, plan: Plan, applied: Mapping[Address, Outcome] = NOTHING
) -> Subjects:
    """The resources of a plan. Those that --target leaves out are seen as they are declared."""
    around = _around(session, plan.stack, plan.environment)
    subjects = planned_subjects(plan, around, applied)
    planned = {change.address for change in plan.changes}
    rest = [each for each in session.configuration.resources if each.address not in planned]
    if not rest or plan.destroy:
        return subjects
    return subjects.among(declared_subjects(map(_declared, rest), around))


def _declared(resource: Resource) -> DeclaredSubject:
    lifecycle = {
        "prevent_destroy": bool(resource.lifecycle.prevent_destroy),
        "on_remove": resource.on_remove.value,
        "create_before_destroy": bool(resource.lifecycle.create_before_destroy),
    }
    spec = resource.kind.fill_defaults(resource.spec)
    return DeclaredSubject(resource.address, spec, lifecycle, resource.location)


def with_live_policies(session: Session, plan: Plan) -> Plan:
    """The plan with the results of the policies over live objects, and their warnings."""
    policies = policies_of(session)
    overrides = overrides_of(session, policies)
    chosen = [policy for policy in policies if policy.judges_live]
    if not chosen:
        return plan
    subjects = live_subjects(plan, _around(session, plan.stack, plan.environment))
    return _with_report(plan, judge(chosen, subjects, overrides=overrides))


def offline_report(session: Session) -> tuple[PolicyReport, tuple[Diagnostic, ...]]:
    """The results that need no call, over declared resources, and the warnings."""
    policies = policies_of(session)
    chosen = _judging_plans(policies)
    if not chosen:
        return NO_POLICIES, ()
    configuration = session.configuration
    stack = configuration.stack
    subjects = declared_subjects(
        map(_declared, configuration.resources), _around(session, stack.name, stack.environment)
    )
    judged = judge(chosen, subjects, overrides=overrides_of(session, policies))
    return report_of(judged), _warnings(judged)


def decided(session: Session, result: ApplyResult) -> PolicyReport:
    """The policies that the plan left undecided, evaluated with the values from the apply."""
    applied = {outcome.change.address: outcome for outcome in result.of(OutcomeStatus.APPLIED)}
    pending = {change.address for change in result.plan.pending}
    # A change that was not applied has no values: the next plan judges it again.
    open_pairs = set()
    for judged in result.plan.policies.results:
        is_settled = judged.address in applied or judged.address not in pending
        if judged.outcome is PolicyOutcome.UNDECIDED and is_settled:
            open_pairs.add((judged.policy, judged.address))
    if not open_pairs:
        return NO_POLICIES
    names = {name for name, _ in open_pairs}
    policies = policies_of(session)
    chosen = [policy for policy in policies if policy.name in names]
    changes = tuple(_as_applied(change, result, applied) for change in result.plan.changes)
    subjects = _planned(session, replace(result.plan, changes=changes), applied)
    overrides = overrides_of(session, policies)
    return report_of(judge(chosen, subjects, overrides=overrides, only=open_pairs))


def _as_applied(change: Change, result: ApplyResult, applied: Mapping[Address, Outcome]) -> Change:
    """A change with the values and the id that were written."""
    if change.address not in applied:
        return change
    after = result.resolved.get(change.address, change.after)
    return replace(change, after=after, id=applied[change.address].id or change.id)


def _around(session: Session, stack: str, environment: str) -> Surroundings:
    ends = {model: datetime.combine(end, time.min, UTC) for model, end in SHUTDOWNS.items()}
    return Surroundings(_now(session), stack, environment, ALL_KINDS, ends)


def _now(session: Session) -> datetime:
    return datetime.fromtimestamp(session.server_clock(), UTC)


def _with_report(plan: Plan, judged: Sequence[Judged]) -> Plan:
    diagnostics = (*plan.diagnostics, *_warnings(judged))
    return replace(plan, policies=report_of(judged), diagnostics=diagnostics)


def report_of(judged: Sequence[Judged]) -> PolicyReport:
    """All results in one value, failures first, then by policy and address."""
    results: list[PolicyResult] = []
    for judgement in judged:
        results += judgement.results
    results.sort(key=lambda result: (_ORDER.index(result.outcome), result.policy, result.address))
    return PolicyReport(tuple(judgement.summary for judgement in judged), tuple(results))


_ORDER = (
    PolicyOutcome.ERROR,
    PolicyOutcome.FAIL,
    PolicyOutcome.UNDECIDED,
    PolicyOutcome.EXCEPTED,
)


def _warnings(judged: Iterable[Judged]) -> tuple[Diagnostic, ...]:
    return tuple(chain.from_iterable(judgement.warnings for judgement in judged))


def refusals_of(report: PolicyReport) -> list[str]:
    """A sentence for each result that refuses a plan, with its location and the remedy."""
    refusing = report.refusing
    numbers = Counter(result.policy for result in refusing)
    trusted = {summary.name: summary.is_trusted for summary in report.policies}
    sentences = []
    written: Counter[str] = Counter()
    for result in refusing:
        written[result.policy] += 1
        if written[result.policy] <= MAX_SENTENCES:
            sentences.append(_refusal(result, is_trusted=trusted.get(result.policy, False)))
    for name, number in numbers.items():
        if number > MAX_SENTENCES:
            sentences.append(f'policy "{name}" fails for {number - MAX_SENTENCES:,} more resources')
    return sentences


def _refusal(result: PolicyResult, *, is_trusted: bool) -> str:
    where = f" at {result.location}" if result.location else ""
    message = result.message.rstrip()
    if not message.endswith((".", "!", "?")):
        message += "."
    if result.severity is PolicySeverity.OVERRIDABLE:
        remedy = f' Fix it, or use --override-policy "{result.policy}=REASON".'
    elif is_trusted:
        remedy = " Fix it, or ask the owners of the policy for an exception."
    else:
        remedy = ""
    return (
        f'{result.severity} policy "{result.policy}" {_verb(result)} for {result.address}{where}: '
        f"{message}{remedy}"
    )


def _verb(result: PolicyResult) -> str:
    return "fails" if result.outcome is PolicyOutcome.FAIL else "cannot be evaluated"


def policy_diagnostics(report: PolicyReport) -> list[Diagnostic]:
    """The results of a report as diagnostics, for commands that show no plan."""
    shown = []
    for result in report.results:
        if result.outcome in (PolicyOutcome.UNDECIDED, PolicyOutcome.EXCEPTED):
            continue
        severity = str(result.severity).capitalize()
        override = f" Overridden: {result.override}" if result.override else ""
        shown.append(
            Diagnostic(
                f'{severity} policy "{result.policy}" {_verb(result)}',
                result.message + override,
                address=result.address,
                location=result.location,
                severity=Severity.ERROR if result.refuses else Severity.WARNING,
            )
        )
    return shown
