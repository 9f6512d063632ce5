"""`reconciler schema`: print JSON Schema, for editors and other tools."""

from __future__ import annotations

import json
from collections.abc import Mapping

import click

from reconciler.errors import UsageError
from reconciler.kinds import KINDS
from reconciler.manifests.schema import kind_schema, manifest_schema, stack_schema
from reconciler.model.diagnostic import nearest
from reconciler.model.kind import Declaration
from reconciler.rules import RULE_KINDS


@click.command("schema")
@click.argument("kind", required=False)
def command(kind: str | None) -> int:
    """Print the JSON Schema of manifests.

    With KIND, print the schema of that kind; Stack is the kind of the stack file.
    """
    declarable: Mapping[str, Declaration] = {**KINDS, **RULE_KINDS}

    if kind is None:
        schema = manifest_schema(declarable)
    elif kind == "Stack":
        schema = stack_schema()
    elif kind in declarable:
        schema = kind_schema(declarable[kind], expressions=True)
    else:
        raise UsageError(f'there is no kind "{kind}".{nearest(kind, [*declarable, "Stack"])}')
    click.echo(json.dumps(schema, indent=2, ensure_ascii=False))
    return 0
