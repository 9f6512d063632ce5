"""`reconciler validate`: everything that can be said without a key and without a call."""

from __future__ import annotations

from typing import Any

import click

from reconciler.cli.options import GlobalOptions, global_options


@click.command("validate")
@global_options
def command(options: GlobalOptions) -> int:
    """Check manifests offline: syntax, fields, limits, references. Needs no key and calls nothing."""
    from reconciler.cli.reporting import publish, renderer, save_reports, talk
    from reconciler.kinds import KINDS
    from reconciler.manifests import load_configuration
    from reconciler.render.values import count
    from reconciler.rules import RULE_KINDS

    configuration = load_configuration(_settings(options), KINDS, RULE_KINDS)
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


def _settings(options: Any) -> Any:
    from reconciler.cli.session import Session

    return Session(options).settings
