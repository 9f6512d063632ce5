"""`reconciler init`: write a stack to start from."""

from __future__ import annotations

import re
from pathlib import Path

import click

from reconciler.cli.options import GlobalOptions, global_options

_STACK = """\
kind: Stack
metadata:
  name: {name}
spec:
  manifests: [manifests/]
  variables:
    model: {{default: gpt-5.1, description: The model that agents run on.}}
  outputs:
    hello: ${{Agent/hello}}
"""

_MANIFEST = """\
# One resource to begin with. It lives in the project of OPENAI_API_KEY.
kind: Agent
metadata:
  name: hello
spec:
  name: Hello
  model: ${var.model}
  instructions: Greet whoever writes to you, in one sentence.
"""

_WORKFLOW = """\
# Posts the plan on pull requests, applies what is merged, and looks for drift at night.
name: reconciler
on:
  pull_request:
  push: {branches: [main]}
  schedule: [{cron: "0 3 * * *"}]
permissions: {contents: read, pull-requests: write}
# Of this job, manifests read only variables RECONCILER_VAR_…, and those that RECONCILER_ALLOW_ENV names.
env:
  OPENAI_ADMIN_KEY: ${{ secrets.OPENAI_ADMIN_KEY }}
  OPENAI_API_KEY: ${{ secrets.OPENAI_API_KEY }}
jobs:
  reconciler:
    runs-on: ubuntu-latest
    # Applies wait for each other; plans need not.
    concurrency: reconciler-${{ github.event_name == 'push' && 'apply' || github.run_id }}
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with: {python-version: "3.12"}
      # The wheel or the git address of reconciler that your organization uses, as a variable of the repository.
      - run: pip install "${{ vars.RECONCILER_PACKAGE }}"
      # A runner forgets its files: the state of the last apply comes out of a cache.
      - uses: actions/cache/restore@v4
        with: {path: .reconciler, key: reconciler-state-none, restore-keys: reconciler-state-}
      - run: reconciler validate
      - if: github.event_name == 'pull_request'
        run: reconciler plan --report plan.md:markdown
      - if: always() && hashFiles('plan.md') != ''
        run: gh pr comment "$NUMBER" --body-file plan.md --edit-last --create-if-none
        env:
          GH_TOKEN: ${{ github.token }}
          NUMBER: ${{ github.event.number }}
      - if: github.event_name == 'push'
        run: reconciler apply --yes
      - if: always() && github.event_name == 'push'
        uses: actions/cache/save@v4
        with: {path: .reconciler, key: "reconciler-state-${{ github.run_id }}-${{ github.run_attempt }}"}
      - if: github.event_name == 'schedule'
        run: reconciler drift
"""

_IGNORE = """\
.reconciler/
secrets/
"""


@click.command("init")
@click.argument("folder", required=False, type=click.Path(path_type=Path), metavar="[DIR]")
@global_options
def command(options: GlobalOptions, folder: Path | None) -> int:
    """Write a stack to start from, with a CI workflow.

    Writes a stack file, a manifest, a workflow and a .gitignore into DIR, or the current folder.
    Keeps existing files.
    """
    root = folder or options.chdir
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", root.resolve().name).strip("-._") or "stack"
    files = {
        "reconciler.yaml": _STACK.format(name=name),
        "manifests/hello.yaml": _MANIFEST,
        ".github/workflows/reconciler.yml": _WORKFLOW,
        ".gitignore": _IGNORE,
    }
    for relative, text in files.items():
        click.echo(_write(root / relative, text))
    click.echo(
        "\nNext: set OPENAI_API_KEY (and OPENAI_ADMIN_KEY for projects and limits), then `reconciler plan`."
    )
    return 0


def _write(path: Path, text: str) -> str:
    if path.exists():
        return f"  kept     {path}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return f"  created  {path}"
