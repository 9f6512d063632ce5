"""`reconciler validate`: checks that need no key and no call."""

from __future__ import annotations

import sys

import click

from reconciler.app.plans import model_warnings
from reconciler.cli.failures import redactor
from reconciler.cli.options import GlobalOptions, report_options
from reconciler.cli.reporting import echo, publish, renderer, save_reports, talk, text_renderer
from reconciler.cli.session import CommandSession
from reconciler.render.values import count


@click.command("validate")
@report_options
def command(options: GlobalOptions) -> int:
    """Check manifests offline, without a key.

    Checks syntax, fields, limits and references.
    """
    # A local state knows which files hold secrets, so `validate` refuses what `plan` refuses.
    with CommandSession(options) as session:
        session.is_offline = True
        configuration = session.configuration
        warnings = (*configuration.warnings, *model_warnings(session))
    if options.format in (None, "text", "github"):
        if warnings:
            talk(text_renderer(options, sys.stderr).diagnostics(warnings).rstrip("\n"))
        stack = configuration.stack
        rules = f", {count(len(configuration.rules), 'rule')}" if configuration.rules else ""
        resources = count(len(configuration.resources), "resource")
        click.echo(f"{stack.name}/{stack.environment} is valid: {resources}{rules}.")
        if options.format == "github":
            echo(options, redactor(renderer(options).diagnostics(warnings)))
        save_reports(options, lambda to: to.diagnostics(warnings))
    else:
        publish(options, lambda to: to.diagnostics(warnings))
    return 0
