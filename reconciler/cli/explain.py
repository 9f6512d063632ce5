"""`reconciler explain`: the documentation of a kind, from its declaration."""

from __future__ import annotations

import click


@click.command("explain")
@click.argument("what", metavar="KIND[.FIELD]", required=False)
def command(what: str | None) -> int:
    """Document a kind or one of its fields; without an argument, list the kinds."""
    from reconciler.errors import UsageError
    from reconciler.kinds import KINDS
    from reconciler.model.diagnostic import nearest
    from reconciler.render.explain import explain_kind

    if what is None:
        width = max(map(len, KINDS))
        for kind in KINDS.values():
            click.echo(f"{kind.name:<{width}}  {kind.doc}")
        return 0
    name, *path = what.split(".")
    if name not in KINDS:
        raise UsageError(f'there is no kind "{name}".{nearest(name, KINDS)}', hint=f"Kinds: {', '.join(KINDS)}.")
    click.echo(explain_kind(KINDS[name], path), nl=False)
    return 0
