"""Findings as JUnit XML, which CI systems show as tests: a test case for each resource or check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.model.finding import CaseVerdict, Finding, FindingRule
from reconciler.model.plan_digest import plan_digest
from reconciler.model.report import Report
from reconciler.render.escape import xml
from reconciler.render.findings import WARNING
from reconciler.render.report_renderer import ReportRenderer

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NOTHING = FindingRule("nothing", "Nothing to report")
_TAGS = {CaseVerdict.FAILED: "failure", CaseVerdict.ERROR: "error"}


class JUnitRenderer(ReportRenderer):
    """One suite with a case for each finding; warnings are output of the suite."""

    def report(self, report: Report) -> str:
        """A document with one suite."""
        findings = self.findings(report)
        warnings = [finding for finding in findings if _is_remark(finding)]
        cases = [finding for finding in findings if not _is_remark(finding)]
        if not cases:
            # CI systems take a report without tests for a job that ran none.
            cases = [Finding(_NOTHING, "nothing to report", subject=report.title)]
        seconds = sum(finding.seconds for finding in cases)
        name = " ".join(part for part in ("reconciler", report.title, report.stack) if part)
        numbers = _numbers(cases, seconds)
        lines = [
            f"<testsuites{_attributes(numbers)}>",
            f"  <testsuite{_attributes({'name': name, **numbers})}>",
            *_properties(report),
            *(f"    {_case(finding, self.context.path_of(finding.location))}" for finding in cases),
        ]
        if warnings:
            texts = "&#10;".join(xml(each.sentence) for each in warnings)
            lines.append(f"    <system-out>{texts}</system-out>")
        return _HEAD + "\n".join([*lines, "  </testsuite>", "</testsuites>"]) + "\n"


def _properties(report: Report) -> Iterator[str]:
    if report.plan is not None:
        digest = _attributes({"name": "plan-digest", "value": plan_digest(report.plan)})
        yield f"    <properties><property{digest}/></properties>"


def _is_remark(finding: Finding) -> bool:
    return finding.rule == WARNING


def _numbers(cases: Sequence[Finding], seconds: float) -> dict[str, str]:
    verdicts = [finding.verdict for finding in cases]
    return {
        "tests": str(len(cases)),
        "failures": str(verdicts.count(CaseVerdict.FAILED)),
        "errors": str(verdicts.count(CaseVerdict.ERROR)),
        "skipped": str(verdicts.count(CaseVerdict.SKIPPED)),
        "time": f"{seconds:.3f}",
    }


def _case(finding: Finding, path: str) -> str:
    address = finding.address
    case = {"classname": "reconciler", "name": finding.subject or finding.message}
    if address is not None:
        case = {
            "classname": ".".join(filter(None, (address.kind, address.project))),
            "name": address.name,
        }
    case["time"] = f"{finding.seconds:.3f}"
    if finding.location:
        case |= {"file": path, "line": str(finding.location.line)}
    identity = _attributes({"name": "id", "value": finding.id})
    inner = f"<properties><property{identity}/></properties>{''.join(_verdict(finding))}"
    return f"<testcase{_attributes(case)}>{inner}</testcase>"


def _verdict(finding: Finding) -> Iterator[str]:
    message = _attributes({"message": finding.message})
    details = "&#10;".join(xml(line) for line in finding.detail.split("\n") if line)
    if finding.verdict is CaseVerdict.SKIPPED:
        yield f"<skipped{message}/>"
    elif finding.verdict in _TAGS:
        tag = _TAGS[finding.verdict]
        kind = _attributes({"type": finding.rule.name})
        text = "&#10;".join(filter(None, (xml(finding.message), details)))
        yield f"<{tag}{message}{kind}>{text}</{tag}>"
        return
    if details:
        yield f"<system-out>{details}</system-out>"


def _attributes(values: dict[str, str]) -> str:
    return "".join(f' {name}="{xml(value)}"' for name, value in values.items())
