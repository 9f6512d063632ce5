"""`reconciler validate`: everything that can be said without a key and without a call."""

from __future__ import annotations

from typing import Any

import click

from reconciler.cli.options import GlobalOptions, global_options


@click.command("validate")
@global_options
def command(options: GlobalOptions) -> int:
    """Check manifests offline: syntax, fields, limits, references. Needs no key and calls nothing."""
    from reconciler.cli.reporting import publish, renderer, talk
    from reconciler.kinds import KINDS
    from reconciler.manifests import load_configuration

    configuration = load_configuration(_settings(options), KINDS)
    if options.format in (None, "text"):
        if configuration.warnings:
            talk(renderer(options).diagnostics(configuration.warnings).rstrip("\n"))
        count = len(configuration.resources)
        stack = configuration.stack
        click.echo(f"{stack.name}/{stack.environment} is valid: {count} resource{'s' if count != 1 else ''}.")
    else:
        publish(options, lambda to: to.diagnostics(configuration.warnings))
    return 0


def _settings(options: Any) -> Any:
    from reconciler.cli.session import Session

    return Session(options).settings
