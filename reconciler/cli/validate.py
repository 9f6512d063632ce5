"""`reconciler validate`: everything that can be said without a key and without a call."""

from __future__ import annotations

import click

from reconciler.cli.options import GlobalOptions, global_options
from reconciler.cli.reporting import publish, renderer, save_reports, talk
from reconciler.cli.session import CommandSession
from reconciler.render.values import count


@click.command("validate")
@global_options
def command(options: GlobalOptions) -> int:
    """Check manifests offline: syntax, fields, limits, references. Needs no key and calls nothing."""
    # The state says which files hold secrets, so a file that `plan` refuses is refused here too.
    with CommandSession(options) as session:
        configuration = session.configuration
    if options.format in (None, "text"):
        if configuration.warnings:
            talk(renderer(options).diagnostics(configuration.warnings).rstrip("\n"))
        stack = configuration.stack
        rules = f", {count(len(configuration.rules), 'rule')}" if configuration.rules else ""
        resources = count(len(configuration.resources), "resource")
        click.echo(f"{stack.name}/{stack.environment} is valid: {resources}{rules}.")
        save_reports(options, lambda to: to.diagnostics(configuration.warnings))
    else:
        publish(options, lambda to: to.diagnostics(configuration.warnings))
    return 0
