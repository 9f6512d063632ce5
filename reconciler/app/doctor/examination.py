"""The whole examination: stack, network, keys, state and models, in the order of dependence."""

from __future__ import annotations

import time
from collections.abc import Iterator

from reconciler.app.doctor.keys import KeyExaminer
from reconciler.app.doctor.models import model_findings
from reconciler.app.doctor.needs import needs_of
from reconciler.app.doctor.network import clock_finding, network_findings
from reconciler.app.doctor.pace import pace_finding, shared_pace_findings
from reconciler.app.doctor.state import organization_findings, state_findings
from reconciler.app.pacing import PaceReport, pace_report, process_label
from reconciler.app.session import Session
from reconciler.errors import ConfigurationError, ReconcilerError, UsageError
from reconciler.manifests import Configuration
from reconciler.model.diagnostic import Diagnostic
from reconciler.model.doctor import DoctorFinding, Examination, FindingStatus

_MOST_PROBLEMS = 5


def examine(session: Session) -> Examination:
    """Examine the stack of a session. Reads only; needs neither manifests nor a state."""
    session.manifests.are_required = False
    started = time.monotonic()
    findings: list[DoctorFinding] = []
    try:
        stack = session.stack
    except ConfigurationError as error:
        findings += _problems("stack", "The stack file", error)
        return Examination(findings, seconds=time.monotonic() - started)
    configuration = _configuration(session, findings)
    findings += network_findings(session)
    keys = KeyExaminer(session, configuration)
    pace: PaceReport | None = None
    # With a bad address or proxy setting, every call would fail for that reason.
    if not any(map(_is_network_error, findings)):
        findings += keys.examine()
        findings += organization_findings(session, keys)
        pace = pace_report(session)
        findings.append(clock_finding(session.server_clock))
        findings.append(pace_finding(session, pace))
        findings += shared_pace_findings(pace, process_label(session))
    findings += state_findings(session)
    findings += model_findings(session, configuration, keys.models)
    return Examination(
        findings,
        keys.reports,
        pace.routes if pace is not None else (),
        needs_of(configuration),
        stack=stack.name,
        environment=stack.environment,
        base_url=_base_url(session),
        calls=keys.calls,
        seconds=time.monotonic() - started,
    )


def _configuration(session: Session, findings: list[DoctorFinding]) -> Configuration | None:
    """The manifests; None where they have problems, which become findings."""
    try:
        configuration = session.declared
    except ConfigurationError as error:
        findings += _problems("manifests", "The manifests", error)
        return None
    except ReconcilerError as error:
        findings.append(DoctorFinding("manifests", FindingStatus.ERROR, f"{error}.", error.hint))
        return None
    number = len(configuration.resources)
    sentence = f"The manifests are valid and declare {number:,} resource{'s' * (number != 1)}."
    if not number:
        sentence = "No manifest declares anything; keys are examined for every kind."
    findings.append(DoctorFinding("manifests", FindingStatus.OK, sentence))
    return configuration


def _is_network_error(finding: DoctorFinding) -> bool:
    return finding.topic == "network" and finding.status is FindingStatus.ERROR


def _problems(topic: str, what: str, error: ConfigurationError) -> Iterator[DoctorFinding]:
    for diagnostic in error.diagnostics[:_MOST_PROBLEMS]:
        yield DoctorFinding(topic, FindingStatus.ERROR, _sentence(diagnostic), diagnostic.detail)
    left = len(error.diagnostics) - _MOST_PROBLEMS
    if left > 0:
        yield DoctorFinding(
            topic,
            FindingStatus.ERROR,
            f"{what} has {left} more problems.",
            "Run `reconciler validate` to see all of them.",
        )


def _sentence(diagnostic: Diagnostic) -> str:
    place = f"{diagnostic.location}: " if diagnostic.location else ""
    return f"{place}{diagnostic.summary.rstrip('.')}."


def _base_url(session: Session) -> str:
    try:
        return session.base_url
    except UsageError:
        return ""
