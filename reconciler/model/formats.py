"""The output formats. The command line reads this table at start-up, so this imports nothing."""

from __future__ import annotations

PLAIN_FORMATS = ("text", "json", "markdown")
"""The formats of every command that has a result."""
RENDERERS = {
    "text": "reconciler.render.text:TextRenderer",
    "json": "reconciler.render.json:JsonRenderer",
    "markdown": "reconciler.render.markdown:MarkdownRenderer",
    "html": "reconciler.render.html:HtmlRenderer",
    "junit": "reconciler.render.junit:JUnitRenderer",
    "sarif": "reconciler.render.sarif:SarifRenderer",
    "gitlab": "reconciler.render.gitlab:GitLabRenderer",
    "gitlab-terraform": "reconciler.render.gitlab:GitLabTerraformRenderer",
    "github": "reconciler.render.github:GitHubRenderer",
}
"""The class of each report format, as `module:class`. An entry is all that registers a format.

The order is that of `--help`.
"""
REPORT_FORMATS = tuple(RENDERERS)
"""The formats of commands that plan, apply, compare or check."""
ALL_FORMATS = (*REPORT_FORMATS, "csv", "env", "github-matrix")
"""The formats that any command has. Each command names its own."""
