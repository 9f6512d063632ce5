"""`reconciler explain`: documents a kind from its declaration."""

from __future__ import annotations

from collections.abc import Mapping

import click

from reconciler.errors import UsageError
from reconciler.kinds import KINDS
from reconciler.model.diagnostic import nearest
from reconciler.model.kind import Declaration
from reconciler.render.explain import explain_kind
from reconciler.render.kind_page import kind_page
from reconciler.rules import RULE_KINDS


@click.command("explain")
@click.argument("what", metavar="[KIND[.FIELD]]", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(("text", "markdown")),
    default="text",
    help="Format of the text; markdown covers whole kinds only.",
)
def command(what: str | None, form: str) -> int:
    """Document a kind or a field, or list the kinds."""
    declarable: Mapping[str, Declaration] = {**KINDS, **RULE_KINDS}

    if what is None:
        width = max(map(len, declarable))
        for kind in declarable.values():
            click.echo(f"{kind.name:<{width}}  {kind.doc}")
        return 0
    name, *path = what.split(".")
    if name not in declarable:
        raise UsageError(
            f'there is no kind "{name}".{nearest(name, declarable)}',
            hint=f"Kinds: {', '.join(declarable)}.",
        )
    if form == "markdown" and not path:
        click.echo(kind_page(declarable[name]), nl=False)
        return 0
    click.echo(explain_kind(declarable[name], path), nl=False)
    return 0
