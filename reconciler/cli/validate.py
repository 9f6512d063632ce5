"""`reconciler validate`: checks manifests without a key or a call."""

from __future__ import annotations

import sys

import click

from reconciler.app.plans import model_warnings
from reconciler.app.policies import (
    failing_tests,
    offline_report,
    policy_diagnostics,
    refusals_of,
)
from reconciler.cli.options import GlobalOptions, policy_options, report_options
from reconciler.cli.redaction import redactor
from reconciler.cli.reporting import echo, publish, renderer, save_reports, talk, text_renderer
from reconciler.cli.session import CommandSession
from reconciler.errors import ConfigurationError, GuardError
from reconciler.manifests import Configuration
from reconciler.model.diagnostic import Severity
from reconciler.render.values import count


@click.command("validate")
@policy_options
@report_options
def command(options: GlobalOptions) -> int:
    """Check manifests offline, without a key.

    Checks syntax, fields, limits and references. Runs the tests of policies, and evaluates policies
    as far as that is possible without live state.
    """
    # A local state knows which files hold secrets, so `validate` refuses what `plan` refuses.
    with CommandSession(options) as session:
        session.is_offline = True
        configuration = session.configuration
        failed_tests = failing_tests(session)
        if failed_tests:
            raise ConfigurationError(failed_tests)
        report, more = offline_report(session)
        warnings = (*configuration.warnings, *model_warnings(session), *more)
        diagnostics = (*warnings, *policy_diagnostics(report))
    if options.format in (None, "text", "github"):
        # Errors here are failed policies, which the GuardError at the end reports.
        advice = [entry for entry in diagnostics if entry.severity is not Severity.ERROR]
        if advice:
            talk(text_renderer(options, sys.stderr).diagnostics(advice).rstrip("\n"))
        if not report.refusing:
            click.echo(_verdict(configuration))
        if options.format == "github":
            echo(options, redactor(renderer(options).diagnostics(diagnostics)))
        save_reports(options, lambda to: to.diagnostics(diagnostics))
    else:
        publish(options, lambda to: to.diagnostics(diagnostics))
    if report.refusing:
        raise GuardError(refusals_of(report))
    return 0


def _verdict(configuration: Configuration) -> str:
    stack = configuration.stack
    documents = count(len(configuration.resources), "resource")
    if configuration.rules:
        documents += f", {count(len(configuration.rules), 'rule')}"
    return f"{stack.name}/{stack.environment} is valid: {documents}."
