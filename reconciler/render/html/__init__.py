"""Reports as one HTML file."""

from __future__ import annotations

from reconciler.model.report import Report
from reconciler.render.escape import markup
from reconciler.render.findings import findings_of
from reconciler.render.report_renderer import ReportRenderer


class HtmlRenderer(ReportRenderer):
    """One page without network."""

    def report(self, report: Report) -> str:
        """The page of a report."""
        return "".join(f"<p>{markup(each.message)}</p>\n" for each in findings_of(report))
