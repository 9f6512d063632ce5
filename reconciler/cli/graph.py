"""`reconciler graph`: what depends on what, for a diagram."""

from __future__ import annotations

import click

from reconciler.cli.options import GlobalOptions, global_options


@click.command("graph")
@click.option(
    "--type",
    "kind",
    type=click.Choice(("mermaid", "dot", "svg")),
    default="mermaid",
    show_default=True,
    help="The notation.",
)
@global_options
def command(options: GlobalOptions, kind: str) -> int:
    """Print the graph of resources: an arrow points at what is needed. svg needs Graphviz."""
    from reconciler.cli.session import Session
    from reconciler.render.graph import render_graph

    session = Session(options)
    resources = session.configuration.resources
    projects = {item.address.name: item.address for item in resources if item.kind.defines_project}
    writers = session.key_writers()
    edges = {}
    for item in resources:
        needs = set(item.references)
        needs |= {projects[item.address.project]} if item.address.project in projects else set()
        writer = writers.get(item.address.project or "")
        if writer and not item.kind.scope.needs_admin_key:
            needs.add(writer)
        edges[item.address] = sorted(needs - {item.address})
    click.echo(render_graph(edges, kind), nl=False)
    return 0
