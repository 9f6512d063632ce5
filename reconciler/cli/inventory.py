"""`reconciler inventory`: lists all objects, and how many of them are managed."""

from __future__ import annotations

from functools import partial

import click

from reconciler.app.inventory import take_inventory
from reconciler.cli.options import GlobalOptions, global_options
from reconciler.cli.reporting import deliver
from reconciler.cli.session import CommandSession
from reconciler.render.inventory import FORMATS


@click.command("inventory")
@partial(global_options, formats=tuple(FORMATS))
def command(options: GlobalOptions) -> int:
    """List all objects, and how many of them are managed.

    Reads every kind in every project that the keys can read. Needs no manifests, only keys in the
    environment. Names the lists that cannot be read, and counts them as unknown. Does not count
    objects that `ignore` in the stack file matches. Writes nothing.
    """
    with CommandSession(options) as session:
        inventory = take_inventory(session)
    deliver(options, {name: partial(render, inventory) for name, render in FORMATS.items()})
    return 0
