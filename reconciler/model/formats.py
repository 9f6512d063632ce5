"""The names of output formats. The command line reads them at start-up, so this imports nothing."""

from __future__ import annotations

PLAIN_FORMATS = ("text", "json", "markdown")
"""The formats of every command that has a result."""
REPORT_FORMATS = (
    *PLAIN_FORMATS,
    "html",
    "junit",
    "sarif",
    "gitlab",
    "gitlab-terraform",
    "github",
)
"""The formats of commands that plan, apply, compare or check."""
ALL_FORMATS = (*REPORT_FORMATS, "csv", "env", "github-matrix")
"""The formats that any command has. Each command names its own."""
