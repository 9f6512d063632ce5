"""`reconciler init`: writes a stack to start from."""

from __future__ import annotations

import re
from pathlib import Path

import click

from reconciler.cli.init_workflows import workflow
from reconciler.cli.options import GlobalOptions, global_options

SCHEMAS = ".schemas"
"""The folder of schemas for editors. They belong to the installed version, so git ignores it."""

_STACK = """\
# yaml-language-server: $schema=.schemas/stack.schema.json
kind: Stack
metadata:
  name: {name}
spec:
{backend}  manifests: [manifests/]
  variables:
    model: {{default: gpt-5.4, description: The model that agents run on.}}
  outputs:
    hello: ${{Agent/hello}}
"""

_LOCAL = """\
  # The state is in the folder .reconciler/, or at the address in RECONCILER_BACKEND if that is set.
  # Uncomment the next line once CI or a team shares the state: runs without an address are then
  # refused, instead of starting with an empty state in a folder.
  # backend: remote
"""

_REMOTE = """\
  # The state is at the address in RECONCILER_BACKEND; runs without an address are refused. To try
  # the stack on this machine alone, comment the next line.
  backend: remote
"""

_MANIFEST = """\
# yaml-language-server: $schema=../.schemas/manifest.schema.json
# One resource to begin with. It lives in the project of OPENAI_API_KEY.
kind: Agent
metadata:
  name: hello
spec:
  name: Hello
  model: ${var.model}
  instructions: Greet whoever writes to you, in one sentence.
"""

_IGNORE = """\
.reconciler/
.schemas/
secrets/
"""


@click.command("init")
@click.argument("folder", required=False, type=click.Path(path_type=Path), metavar="[DIR]")
@click.option(
    "--from",
    "host",
    type=click.Choice(["github", "gitlab"]),
    help="Write a workflow for this host that applies reviewed plans, and require a shared state.",
)
@global_options
def command(options: GlobalOptions, folder: Path | None, host: str | None) -> int:
    """Write a stack to start from, with a CI workflow.

    Writes a stack file, a manifest, schemas for editors, a workflow and a .gitignore into DIR, or the
    current folder. Keeps existing files.
    """
    from reconciler.manifests.schema import editor_schemas

    root = folder or options.chdir
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", root.resolve().name).strip("-._") or "stack"
    path, text = workflow(host)
    files = {
        "reconciler.yaml": _STACK.format(name=name, backend=_REMOTE if host else _LOCAL),
        "manifests/hello.yaml": _MANIFEST,
        path: text,
        ".gitignore": _IGNORE,
    }
    files |= {f"{SCHEMAS}/{file}": schema for file, schema in editor_schemas().items()}
    for relative, content in files.items():
        click.echo(_write(root / relative, content))
    click.echo(f"\nNext: {_next(host, path)}")
    return 0


def _next(host: str | None, path: str) -> str:
    if host:
        return f"set the secrets that {path} lists, then open a change request with your manifests."
    return (
        "set OPENAI_API_KEY (and OPENAI_ADMIN_KEY for projects and limits), then `reconciler plan`."
    )


def _write(path: Path, text: str) -> str:
    # Never overwritten: the file may be the work of somebody.
    if path.exists():
        return f"  kept     {path}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return f"  created  {path}"
