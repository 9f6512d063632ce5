"""`reconciler output`: ids and other values for applications."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from functools import partial
from typing import Any

import click

from reconciler.cli.options import GlobalOptions, global_options


@click.command("output")
@click.argument("name", required=False)
@partial(global_options, formats=("text", "json", "env"))
def command(options: GlobalOptions, name: str | None) -> int:
    """Print the stack's outputs as the last apply left them; with NAME, the bare value of one."""
    from reconciler.cli.session import Session
    from reconciler.errors import UsageError
    from reconciler.model.diagnostic import nearest

    chosen = options.format or "text"
    outputs = Session(options).store.outputs()
    if name is not None and name not in outputs:
        hint = nearest(name, outputs) or " Outputs are declared in the stack file, and have values after an apply."
        raise UsageError(f'there is no output "{name}".{hint}')
    click.echo(_render(outputs if name is None else {name: outputs[name]}, chosen, bare=name is not None), nl=False)
    return 0


def _render(outputs: Mapping[str, Any], chosen: str, *, bare: bool) -> str:
    if chosen == "json":
        value = next(iter(outputs.values())) if bare else dict(outputs)
        return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    if chosen == "env":
        return "".join(f"{_variable(key)}={shlex.quote(_text(value))}\n" for key, value in sorted(outputs.items()))
    if bare:
        return "".join(_text(value) + "\n" for value in outputs.values())
    from reconciler.render import get

    return get("text").outputs(outputs)


def _variable(name: str) -> str:
    return re.sub(r"\W", "_", name).upper()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
