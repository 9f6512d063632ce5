"""`reconciler output`: prints ids and other values for applications."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from functools import partial
from typing import Any

import click

from reconciler.cli.options import GlobalOptions, global_options
from reconciler.cli.redaction import redactor
from reconciler.cli.reporting import reports_of, save_report
from reconciler.cli.session import CommandSession
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
        hint = nearest(name, outputs)
        if not hint:
            hint = " Declare outputs in the stack file; they have values after an apply."
        raise UsageError(f'there is no output "{name}".{hint}')
    if name is None:
        render = partial(_render, outputs)
    else:
        render = partial(_render_value, outputs[name], name)
    shown = render(chosen)
    # Reports first: standard output may be a pipe whose reader has left.
    for path, format in reports_of(options):
        save_report(options, path, redactor(render(format)))
    click.echo(redactor(shown), nl=False)
    return 0


def _render(outputs: Mapping[str, Any], format: str) -> str:
    if format == "json":
        return _json(dict(outputs))
    if format == "env":
        return "".join(_assignment(name, value) for name, value in sorted(outputs.items()))
    return get("markdown" if format == "markdown" else "text").outputs(outputs)


def _render_value(value: Any, name: str, format: str) -> str:
    """The value of one output, without its name except in assignments."""
    if format == "json":
        return _json(value)
    if format == "env":
        return _assignment(name, value)
    # Newlines stay, other control characters are escaped. JSON has the exact value.
    return "\n".join(map(terminal, _text(value).split("\n"))) + "\n"


def _json(value: Any) -> str:
    return json_safe(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)) + "\n"


def _assignment(name: str, value: Any) -> str:
    return f"{_variable(name)}={_quoted(_text(value))}\n"


def _variable(name: str) -> str:
    variable = re.sub(r"[^A-Za-z0-9_]", "_", name).upper()
    # No shell accepts a variable that begins with a digit.
    if variable[:1].isdigit():
        return f"_{variable}"
    return variable


def _quoted(text: str) -> str:
    """A value quoted for a shell; control characters are escaped as in `$'…'` of bash, ksh and zsh."""
    # Any POSIX shell reads plain quotes, so the other form is for values that need it.
    if not any(map(hides, text)):
        return shlex.quote(text)
    return "$'" + "".join(map(_spelled, text)) + "'"


def _spelled(char: str) -> str:
    if char in "\\'":
        return "\\" + char
    if not hides(char):
        return char
    if ord(char) < 0x80:
        return spelled(char)
    # A shell reads two hexadecimal digits as a byte, so characters above ASCII need eight.
    return f"\\U{ord(char):08x}"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
