"""Findings as JUnit XML, which CI systems show as tests: a test case for each resource or check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from reconciler.model.finding import CaseVerdict, Finding, FindingRule
from reconciler.model.plan_digest import plan_digest
from reconciler.model.report import Report
from reconciler.render.escape import xml
from reconciler.render.findings import WARNING
from reconciler.render.report_renderer import ReportRenderer
from reconciler.render.values import filled_lines

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NOTHING = FindingRule("nothing", "Nothing to report")
_TAGS = {CaseVerdict.FAILED: "failure", CaseVerdict.ERROR: "error"}


class JUnitRenderer(ReportRenderer):
    """One suite with a case for each finding; warnings are output of the suite."""

    def report(self, report: Report) -> str:
        """A document with one suite."""
        warnings: list[Finding] = []
        cases: list[Finding] = []
        for finding in self.findings(report):
            if finding.rule == WARNING:
                warnings.append(finding)
            else:
                cases.append(finding)
        # CI systems take a report without tests for a job that ran none.
        cases = cases or [Finding(_NOTHING, "nothing to report", subject=report.title)]
        name = " ".join(filter(None, ("reconciler", report.title, report.stack)))
        numbers = _numbers(cases)
        lines = [
            f"<testsuites{_attributes(numbers)}>",
            f"  <testsuite{_attributes({'name': name, **numbers})}>",
            *_properties(report),
        ]
        for finding in cases:
            path = self.context.path_of(finding.location)
            lines.append(f"    {_case(finding, path)}")
        if warnings:
            texts = _xml_lines(finding.sentence for finding in warnings)
            lines.append(f"    <system-out>{texts}</system-out>")
        return _HEAD + "\n".join([*lines, "  </testsuite>", "</testsuites>"]) + "\n"


def _properties(report: Report) -> Iterator[str]:
    if report.plan is not None:
        digest = _attributes({"name": "plan-digest", "value": plan_digest(report.plan)})
        yield f"    <properties><property{digest}/></properties>"


def _numbers(cases: Sequence[Finding]) -> dict[str, str]:
    verdicts = Counter(finding.verdict for finding in cases)
    seconds = sum(finding.seconds for finding in cases)
    return {
        "tests": str(len(cases)),
        "failures": str(verdicts[CaseVerdict.FAILED]),
        "errors": str(verdicts[CaseVerdict.ERROR]),
        "skipped": str(verdicts[CaseVerdict.SKIPPED]),
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
    details = _xml_lines(filled_lines(finding.detail))
    if finding.verdict is CaseVerdict.SKIPPED:
        yield f"<skipped{message}/>"
    elif finding.verdict in _TAGS:
        tag = _TAGS[finding.verdict]
        kind = _attributes({"type": finding.rule.name})
        text = _xml_lines(filter(None, (finding.message, *filled_lines(finding.detail))))
        yield f"<{tag}{message}{kind}>{text}</{tag}>"
        return
    if details:
        yield f"<system-out>{details}</system-out>"


def _xml_lines(texts: Iterable[str]) -> str:
    return "&#10;".join(map(xml, texts))


def _attributes(values: dict[str, str]) -> str:
    return "".join(f' {name}="{xml(value)}"' for name, value in values.items())
