"""Plans, drift, outcomes, checks and errors as findings, in the order of a report."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from msgspec.structs import replace

from reconciler.model.address import Address
from reconciler.model.change import ApplyResult, Change, Drift, Outcome, OutcomeStatus, Plan, Reason
from reconciler.model.checking import CheckOutcome, CheckReport, CheckStatus
from reconciler.model.diagnostic import Diagnostic, Severity
from reconciler.model.finding import CaseVerdict, Finding, FindingRule, Level, finding_id
from reconciler.model.policy import (
    NO_POLICIES,
    PolicyOutcome,
    PolicyReport,
    PolicyResult,
    PolicySummary,
)
from reconciler.model.report import Report
from reconciler.render import phrases
from reconciler.render.values import count, enclosed

ERROR = FindingRule(
    "error", "Error", "The run, or the resource, cannot go on until this is corrected."
)
WARNING = FindingRule("warning", "Warning", "The run continues, and its outcome may be unexpected.")
REFUSED = FindingRule(
    "refused", "Refused by a guard", "The message names the option that allows it."
)
CHANGE = FindingRule("change", "Planned change")
DESTRUCTIVE = FindingRule(
    "destructive",
    "Destructive change",
    "Something stops working, or data, access or a limit is lost.",
)
SKIPPED = FindingRule("skipped", "Skipped", "A resource that it depends on has an error.")
DRIFT = FindingRule(
    "drift", "Drift", "The object was changed outside reconciler since the last apply."
)
FAILED = FindingRule("failed", "Change failed", "The API refused the change, or did not answer.")
STALE = FindingRule("stale", "Changed since the plan", "Plan again and review.")
REFUSED_FILE = FindingRule("refused-file", "File refused", "The API refused a file of the object.")
CHECK = FindingRule("check", "Check", "An answer of the API is not what the check expects.")
UNMANAGED = FindingRule("unmanaged", "Unmanaged object", "No manifest declares it.")
RULES = (
    ERROR, WARNING, REFUSED, CHANGE, DESTRUCTIVE, SKIPPED, DRIFT, FAILED, STALE, REFUSED_FILE,
    CHECK, UNMANAGED,
)  # fmt: skip
"""The rules of this module, in the order of their importance. Others may come with a report."""

PROBLEMS = {
    Severity.ERROR: (ERROR, Level.ERROR, CaseVerdict.ERROR),
    # A run with warnings continues, so they fail no test case.
    Severity.WARNING: (WARNING, Level.WARNING, CaseVerdict.PASSED),
}
"""The rule, level and verdict of a diagnostic."""
_OUTCOMES = {
    OutcomeStatus.FAILED: (FAILED, Level.ERROR, CaseVerdict.FAILED),
    OutcomeStatus.STALE: (STALE, Level.ERROR, CaseVerdict.FAILED),
    # The failure that it was skipped for is the relevant one.
    OutcomeStatus.SKIPPED: (SKIPPED, Level.NOTE, CaseVerdict.SKIPPED),
}
_CHECKS = {
    CheckStatus.PASSED: (Level.NONE, CaseVerdict.PASSED),
    CheckStatus.FAILED: (Level.ERROR, CaseVerdict.FAILED),
    CheckStatus.ERROR: (Level.ERROR, CaseVerdict.ERROR),
    CheckStatus.SKIPPED: (Level.NONE, CaseVerdict.SKIPPED),
}


def findings_of(report: Report) -> list[Finding]:
    """All findings of a report: problems first, then each resource."""
    findings = [
        *problem_findings(report.diagnostics),
        *guard_findings(report),
    ]
    # A result has its plan, whose changes say less than their outcomes.
    if report.result is not None:
        findings += outcome_findings(report.result)
        if report.result.checks:
            findings += check_findings(report.result.checks)
    elif report.is_drift and report.plan is not None:
        findings += drift_findings(report.plan, unmanaged=report.unmanaged)
    elif report.plan is not None:
        findings += plan_findings(report.plan)
    if report.checks is not None:
        findings += check_findings(report.checks)
    if report.fleet is not None:
        from reconciler.render.fleet import fleet_findings

        findings += fleet_findings(report.fleet)
    findings += policy_findings(policies_of(report))
    return findings


def policies_of(report: Report) -> PolicyReport:
    """The results of policies: those after an apply if there was one."""
    if report.result is not None:
        return report.result.policies
    if report.plan is not None:
        return report.plan.policies
    return NO_POLICIES


def change_id(change: Change) -> str:
    """The id of the finding about a planned change."""
    return finding_id(_rule_of(change), str(change.address))


def drift_id(drift: Drift) -> str:
    """The id of the finding about drift."""
    return finding_id(DRIFT, str(drift.address))


def problem_id(problem: Diagnostic) -> str:
    """The id of the finding about a diagnostic."""
    rule, _, _ = PROBLEMS[problem.severity]
    about = str(problem.address or _file_of(problem))
    return finding_id(rule, about, _problem_key(problem))


def has_errors(diagnostics: Sequence[Diagnostic]) -> bool:
    """Whether one of the problems is an error."""
    return any(problem.severity is Severity.ERROR for problem in diagnostics)


def problem_findings(diagnostics: Sequence[Diagnostic]) -> Iterator[Finding]:
    """A finding for each diagnostic; two about one subject differ in their summaries."""
    for problem in diagnostics:
        rule, level, verdict = PROBLEMS[problem.severity]
        yield Finding(
            rule=rule,
            message=problem.summary,
            level=level,
            verdict=verdict,
            address=problem.address,
            subject=_file_of(problem),
            key=_problem_key(problem),
            location=problem.location,
            detail=problem.detail,
        )


def plan_findings(plan: Plan) -> Iterator[Finding]:
    """A finding for each resource, destructive changes first."""
    diagnosed = {problem.address for problem in plan.diagnostics}
    for change in sorted(plan.changes, key=lambda change: not change.is_destructive):
        if _is_diagnosed(change, diagnosed):
            continue
        yield _planned(change)
        for warning in change.warnings:
            yield Finding(
                rule=WARNING,
                message=warning,
                level=Level.WARNING,
                address=change.address,
                key=warning,
                location=change.location,
            )
    # A plan is read for its changes, so unmanaged objects fail no test case.
    yield from _unmanaged(plan, CaseVerdict.SKIPPED)


def _is_diagnosed(change: Change, diagnosed: Collection[Address | None]) -> bool:
    """Whether a diagnostic, which is a finding itself, explains the error of a resource."""
    return change.reason is Reason.BLOCKED and change.address in diagnosed


def drift_findings(plan: Plan, *, unmanaged: bool) -> Iterator[Finding]:
    """A finding for each resource, failed if it drifted, and for unmanaged objects if asked."""
    drifted = {drift.address for drift in plan.drift}
    for drift in plan.drift:
        yield _drifted(drift)
    for change in plan.changes:
        if change.blocked:
            yield _planned(change)
        elif change.address not in drifted and change.id:
            yield Finding(
                DRIFT, "has not drifted", address=change.address, location=change.location
            )
    if unmanaged:
        yield from _unmanaged(plan, CaseVerdict.FAILED)


def _unmanaged(plan: Plan, verdict: CaseVerdict) -> Iterator[Finding]:
    for listed in plan.unmanaged:
        name = f"{listed.kind} {listed.id}"
        yield Finding(
            rule=UNMANAGED,
            message=f"{listed.label} is declared in no manifest",
            level=Level.NOTE,
            verdict=verdict,
            subject=name + enclosed(" in ", listed.project),
        )


def outcome_findings(result: ApplyResult) -> Iterator[Finding]:
    """A finding for each outcome, failures first, and for each refused file."""
    diagnosed = {problem.address for problem in result.plan.diagnostics}
    outcomes = phrases.reported(result)
    for outcome in sorted(outcomes, key=lambda each: each.status is OutcomeStatus.APPLIED):
        if _is_diagnosed(outcome.change, diagnosed):
            continue
        yield _outcome(outcome)
        for sentence in outcome.refused:
            yield Finding(
                rule=REFUSED_FILE,
                message=sentence,
                level=Level.ERROR,
                verdict=CaseVerdict.FAILED,
                address=outcome.change.address,
                key=sentence,
                location=outcome.change.location,
            )


def policy_findings(report: PolicyReport) -> Iterator[Finding]:
    """A finding for each result, and one for each policy that all resources pass."""
    named = {result.policy for result in report.results}
    rules = {policy.name: _policy_rule(policy) for policy in report.policies}
    for result in report.results:
        rule = rules.get(result.policy) or FindingRule(f"policy/{result.policy}", result.policy)
        lines = (result.message, enclosed("Overridden: ", result.override))
        yield Finding(
            rule=rule,
            message=f"{result.outcome} ({result.severity})",
            level=_policy_level(result),
            verdict=_policy_verdict(result),
            address=result.address,
            location=result.location or result.policy_location,
            detail="\n".join(filter(None, lines)),
            known_id=result.id,
        )
    for policy in report.policies:
        if policy.name not in named:
            number = policy.counts.get(PolicyOutcome.PASS, 0)
            message = f"{count(number, 'resource')} passed"
            rule = rules[policy.name]
            yield Finding(rule, message, subject=policy.name, location=policy.location)


def _policy_rule(policy: PolicySummary) -> FindingRule:
    return FindingRule(f"policy/{policy.name}", policy.name, policy.description)


def _policy_level(result: PolicyResult) -> Level:
    if result.refuses:
        return Level.ERROR
    if result.is_failure:
        return Level.WARNING
    return Level.NOTE


def _policy_verdict(result: PolicyResult) -> CaseVerdict:
    if result.outcome is PolicyOutcome.ERROR:
        return CaseVerdict.ERROR
    if result.refuses:
        return CaseVerdict.FAILED
    # An advisory policy that fails is a warning, as in `PROBLEMS`.
    if result.is_failure:
        return CaseVerdict.PASSED
    return CaseVerdict.SKIPPED


def check_findings(report: CheckReport) -> Iterator[Finding]:
    """A finding for each check."""
    return map(_checked, report.outcomes)


def _rule_of(change: Change) -> FindingRule:
    if change.blocked and change.reason is Reason.WAITS:
        return SKIPPED
    if change.blocked:
        return ERROR
    if change.is_change and change.is_destructive:
        return DESTRUCTIVE
    return CHANGE


def _planned(change: Change) -> Finding:
    rule = _rule_of(change)
    level, verdict = Level.NONE, CaseVerdict.PASSED
    message, destroys = "has no changes", ""
    if rule is ERROR:
        level, verdict = Level.ERROR, CaseVerdict.ERROR
        message = f"not planned: {change.blocked}"
    elif rule is SKIPPED:
        level, verdict = Level.NOTE, CaseVerdict.SKIPPED
        message = f"skipped: {change.blocked}"
    elif change.is_change:
        message = phrases.will_be(change)
        destroys = enclosed("Destroys: ", change.destroys, ".")
    # A plan is meant for review, so a loss is a warning and not a failed test case.
    if rule is DESTRUCTIVE:
        level = Level.WARNING
    lines = filter(None, (destroys, *map(phrases.key_step, change.keys)))
    return Finding(
        rule=rule,
        message=message,
        level=level,
        verdict=verdict,
        address=change.address,
        location=change.location,
        detail="\n".join(lines),
    )


def _drifted(drift: Drift) -> Finding:
    fields = ", ".join(dict.fromkeys(field.dotted for field in drift.fields))
    lines = (enclosed("Fields: ", fields, "."), drift.blame)
    return Finding(
        rule=DRIFT,
        message=phrases.drift_sentence(drift),
        level=Level.WARNING,
        verdict=CaseVerdict.FAILED,
        address=drift.address,
        location=drift.location,
        detail="\n".join(filter(None, lines)),
    )


def _outcome(outcome: Outcome) -> Finding:
    change = outcome.change
    applied = (_rule_of(change), Level.NONE, CaseVerdict.PASSED)
    rule, level, verdict = _OUTCOMES.get(outcome.status, applied)
    request = enclosed("Request id: ", outcome.request_id)
    changed = ", ".join(field.dotted for field in outcome.changed_since_plan)
    lines = (
        outcome.hint,
        enclosed("Changed: ", changed, "."),
        outcome.blame,
        request,
        *outcome.notes,
    )
    return Finding(
        rule=rule,
        message=phrases.outcome_sentence(outcome),
        level=level,
        verdict=verdict,
        address=change.address,
        location=change.location,
        detail="\n".join(filter(None, lines)),
        seconds=outcome.seconds,
    )


def _checked(outcome: CheckOutcome) -> Finding:
    first, *others = phrases.complaints(outcome) or [str(outcome.status)]
    lines = (*others, *outcome.notes)
    level, verdict = _CHECKS[outcome.status]
    return Finding(
        rule=CHECK,
        message=first,
        level=level,
        verdict=verdict,
        address=outcome.address,
        location=outcome.location,
        detail="\n".join(lines),
        seconds=outcome.seconds,
    )


def guard_findings(report: Report) -> Iterator[Finding]:
    """As `refusal_findings`, without the refusals of policies, whose results say the same."""
    names = {result.policy for result in policies_of(report).refusing}
    for finding in refusal_findings(report.refusals, report.plan):
        # The refusal of a policy begins with `policy "NAME"`, or with its severity before that.
        head, _, rest = finding.message.partition('policy "')
        if rest.partition('"')[0] not in names or " " in head.strip():
            yield finding


def refusal_findings(refusals: Sequence[str], plan: Plan | None) -> Iterator[Finding]:
    """A finding for each refusal, at the place of the address that it names."""
    changes: dict[str, Change] = {}
    if plan is not None and refusals:
        changes = {str(change.address): change for change in plan.changes}
    for sentence in refusals:
        finding = Finding(REFUSED, sentence, level=Level.ERROR, verdict=CaseVerdict.FAILED)
        change = _named_change(sentence, changes)
        # An address identifies the refusal; without one, its sentence has to.
        if change is None:
            yield replace(finding, key=sentence)
        else:
            yield replace(finding, address=change.address, location=change.location)


def _problem_key(problem: Diagnostic) -> str:
    return f"{problem.summary}\0{problem.detail}"


def _file_of(problem: Diagnostic) -> str:
    if problem.location is None:
        return ""
    return problem.location.file


def _named_change(sentence: str, changes: Mapping[str, Change]) -> Change | None:
    """The change whose address is the first one in a sentence."""
    for word in sentence.split():
        change = changes.get(word.strip("\"'`,;:()."))
        if change is not None:
            return change
    return None
