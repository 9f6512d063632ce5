"""`reconciler validate`: checks that need no key and no call."""

from __future__ import annotations

import click

from reconciler.app.plans import model_warnings
from reconciler.cli.options import GlobalOptions, global_options
from reconciler.cli.reporting import publish, renderer, save_reports, talk
from reconciler.cli.session import CommandSession
from reconciler.render.values import count


@click.command("validate")
@global_options
def command(options: GlobalOptions) -> int:
    """Check manifests offline, without a key.

    Checks syntax, fields, limits and references.
    """
    # A local state knows which files hold secrets, so `validate` refuses what `plan` refuses.
    with CommandSession(options) as session:
        session.is_offline = True
        configuration = session.configuration
        warnings = (*configuration.warnings, *model_warnings(session))
    if options.format in (None, "text"):
        if warnings:
            talk(renderer(options).diagnostics(warnings).rstrip("\n"))
        stack = configuration.stack
        rules = f", {count(len(configuration.rules), 'rule')}" if configuration.rules else ""
        resources = count(len(configuration.resources), "resource")
        click.echo(f"{stack.name}/{stack.environment} is valid: {resources}{rules}.")
        save_reports(options, lambda to: to.diagnostics(warnings))
    else:
        publish(options, lambda to: to.diagnostics(warnings))
    return 0
