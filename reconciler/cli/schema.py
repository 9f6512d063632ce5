"""`reconciler schema`: JSON Schema on standard output, for editors and checks."""

from __future__ import annotations

import json

import click


@click.command("schema")
@click.argument("kind", required=False)
def command(kind: str | None) -> int:
    """Print the JSON Schema of KIND, of the stack file (Stack), or of all manifests."""
    from reconciler.errors import UsageError
    from reconciler.kinds import KINDS
    from reconciler.manifests.schema import kind_schema, manifest_schema, stack_schema
    from reconciler.model.diagnostic import nearest

    if kind is None:
        schema = manifest_schema(KINDS)
    elif kind == "Stack":
        schema = stack_schema()
    elif kind in KINDS:
        schema = kind_schema(KINDS[kind], expressions=True)
    else:
        raise UsageError(f'there is no kind "{kind}".{nearest(kind, [*KINDS, "Stack"])}')
    click.echo(json.dumps(schema, indent=2, ensure_ascii=False))
    return 0
