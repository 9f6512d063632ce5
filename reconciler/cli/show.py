"""`reconciler show`: renders a saved plan in any format."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.app.encrypted_files import decrypted
from reconciler.cli.options import GlobalOptions, report_options
from reconciler.cli.reporting import publish
from reconciler.cli.session import CommandSession, read_text
from reconciler.render.planfile import load_plan
from reconciler.state.envelope import Content


@click.command("show")
@click.argument("planfile", type=click.Path(path_type=Path))
@report_options
def command(options: GlobalOptions, planfile: Path) -> int:
    """Show a saved plan."""
    with CommandSession(options) as session:
        text = read_text(planfile, "the plan")
        plan = load_plan(decrypted(session, Content.PLAN, text, name=str(planfile)))
        publish(options, lambda to: to.plan(plan))
    return 0
