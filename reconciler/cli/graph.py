"""`reconciler graph`: prints the dependencies of resources as a diagram."""

from __future__ import annotations

import click

from reconciler.app.key_usage import keys_in_use
from reconciler.cli.options import GlobalOptions, global_options
from reconciler.cli.session import CommandSession
from reconciler.render.graph import render_graph


@click.command("graph")
@click.option(
    "--type",
    "kind",
    type=click.Choice(("mermaid", "dot", "svg")),
    default="mermaid",
    show_default=True,
    help="Language of the graph.",
)
@global_options
def command(options: GlobalOptions, kind: str) -> int:
    """Print the dependency graph of resources.

    Each arrow points from a resource to one that it needs. The type svg needs Graphviz.
    """
    with CommandSession(options) as session:
        configuration = session.configuration
        keys = keys_in_use(configuration, session.store.records())
    resources = configuration.resources
    declared = (resource.address for resource in resources if resource.kind.defines_project)
    projects = {address.name: address for address in declared}
    edges = {}
    # An apply waits for more objects than references show.
    for resource in resources:
        address = resource.address
        needs = set(resource.references)
        if address.project in projects:
            needs.add(projects[address.project])
        # An object in a project is written with the key of the project, which a resource may create.
        key = keys.get(address.project or "")
        if key and not resource.kind.scope.needs_admin_key:
            needs.add(key.writer)
        edges[address] = sorted(needs - {address})
    click.echo(render_graph(edges, kind), nl=False)
    return 0
