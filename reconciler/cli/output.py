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
from reconciler.cli.reporting import reports_of, save_report
from reconciler.cli.session import CommandSession
from reconciler.cli.streams import redactor
from reconciler.errors import UsageError
from reconciler.model.diagnostic import nearest
from reconciler.render import get
from reconciler.render.escape import hides, json_safe, spelled, terminal


@click.command("output")
@click.argument("name", required=False)
@partial(global_options, formats=("text", "json", "env"))
def command(options: GlobalOptions, name: str | None) -> int:
    """Print the stack's outputs from the last apply.

    With NAME, print only the value of that output.
    """
    chosen = options.format or "text"
    outputs = CommandSession(options).store.outputs()
    if name is not None and name not in outputs:
        hint = (
            nearest(name, outputs)
            or " Declare outputs in the stack file; they have values after an apply."
        )
        raise UsageError(f'there is no output "{name}".{hint}')
    wanted = outputs if name is None else {name: outputs[name]}
    shown = _render(wanted, chosen, bare=name is not None)
    for path, format in reports_of(options):
        save_report(options, path, redactor(_render(wanted, format, bare=name is not None)))
    click.echo(redactor(shown), nl=False)
    return 0


def _render(outputs: Mapping[str, Any], chosen: str, *, bare: bool) -> str:
    if chosen == "json":
        value = next(iter(outputs.values())) if bare else dict(outputs)
        return json_safe(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)) + "\n"
    if chosen == "env":
        return "".join(
            f"{_variable(key)}={_quoted(_text(value))}\n" for key, value in sorted(outputs.items())
        )
    if bare:
        # Newlines stay, other control characters are escaped. JSON has the exact value.
        return "".join(
            "\n".join(map(terminal, _text(value).split("\n"))) + "\n" for value in outputs.values()
        )

    return get("markdown" if chosen == "markdown" else "text").outputs(outputs)


def _variable(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name).upper()
    return f"_{plain}" if plain[:1].isdigit() else plain


def _quoted(text: str) -> str:
    """A value quoted for a shell; control characters are escaped as in `$'…'` of bash, ksh and zsh."""
    if not any(map(hides, text)):
        return shlex.quote(text)
    return "$'" + "".join(_spelled(char) for char in text) + "'"


def _spelled(char: str) -> str:
    if char in "\\'":
        return "\\" + char
    if not hides(char):
        return char
    # A shell reads two hexadecimal digits as a byte, so characters above ASCII need eight.
    return spelled(char) if ord(char) < 0x80 else f"\\U{ord(char):08x}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
