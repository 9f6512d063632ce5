"""`reconciler show`: render a saved plan in any format."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli.options import GlobalOptions, global_options
from reconciler.cli.reporting import publish
from reconciler.cli.session import read_text
from reconciler.render.planfile import load_plan


@click.command("show")
@click.argument("planfile", type=click.Path(path_type=Path))
@global_options
def command(options: GlobalOptions, planfile: Path) -> int:
    """Render a saved plan again."""
    plan = load_plan(read_text(planfile, "the plan"))
    publish(options, lambda to: to.plan(plan))
    return 0
