"""`reconciler schema`: prints JSON Schema for editors and other tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import click

from reconciler.errors import UsageError
from reconciler.kinds import KINDS
from reconciler.manifests.schema import editor_schemas, kind_schema, manifest_schema, stack_schema
from reconciler.model.diagnostic import nearest
from reconciler.model.kind import Declaration
from reconciler.rules import RULE_KINDS


@click.command("schema")
@click.argument("kind", required=False)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write the schemas of manifests, modules and the stack file into this folder.",
)
def command(kind: str | None, out: Path | None) -> int:
    """Print the JSON Schema of manifests.

    With KIND, print the schema of that kind; Stack is the kind of the stack file. With --out, write
    the schemas that editors read.
    """
    if out is not None:
        if kind is not None:
            raise UsageError("--out writes the schemas of all kinds", hint="Leave KIND out.")
        out.mkdir(parents=True, exist_ok=True)
        # Under fixed names, which the comments at the top of manifests refer to.
        for name, text in editor_schemas().items():
            (out / name).write_text(text, encoding="utf-8")
            click.echo(f"  written  {out / name}")
        return 0
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
