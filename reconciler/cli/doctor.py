"""`reconciler doctor`: examines everything that a run depends on."""

from __future__ import annotations

from functools import partial

import click

from reconciler.cli.options import GlobalOptions, global_options
from reconciler.cli.reporting import deliver
from reconciler.cli.session import CommandSession


@click.command("doctor")
@global_options
def command(options: GlobalOptions) -> int:
    """Check keys, network, clock, state and models, and say what to do.

    Reads one entry of each list with each key, and writes nothing.
    """
    from reconciler.app.doctor.examination import examine
    from reconciler.render.doctor import FORMATS

    with CommandSession(options) as session:
        examination = examine(session)
    deliver(options, {name: partial(render, examination) for name, render in FORMATS.items()})
    return 0 if examination.is_healthy else 1
