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
  # The state is in the folder .reconciler/, or at the address in RECONCILER_BACKEND if that is set.
  # Uncomment the next line once CI or a team shares the state: runs without an address are then
  # refused, instead of starting with an empty state in a folder.
  # backend: remote
  manifests: [manifests/]
  variables:
    model: {{default: gpt-5.4, description: The model that agents run on.}}
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
#
# A runner forgets its files, so the state must be in a database or a bucket. Before the first run:
# 1. Set the secret RECONCILER_BACKEND to its address, such as postgresql://USER:PASSWORD@HOST/DATABASE
#    or s3://BUCKET/PREFIX. Buckets also need the variables of their provider below `env`.
# 2. Prove that it locks: reconciler --backend ADDRESS state check
# 3. Move the state that you have, if any: reconciler state migrate --to ADDRESS
# 4. Uncomment `backend: remote` in reconciler.yaml.
# 5. Set the variable RECONCILER_PACKAGE to what pip installs, with the extra of the backend, such as
#    reconciler-iac[postgres] or reconciler-iac[object-store], with a version.
# docs/state.md of reconciler has a workflow whose pull requests can read the state but not write it.
name: reconciler
on:
  pull_request:
  push: {branches: [main]}
  schedule: [{cron: "0 3 * * *"}]
permissions: {contents: read, pull-requests: write}
# Manifests read only variables RECONCILER_VAR_…, and those that RECONCILER_ALLOW_ENV names.
env:
  OPENAI_ADMIN_KEY: ${{ secrets.OPENAI_ADMIN_KEY }}
  OPENAI_API_KEY: ${{ secrets.OPENAI_API_KEY }}
  RECONCILER_BACKEND: ${{ secrets.RECONCILER_BACKEND }}
jobs:
  reconciler:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with: {python-version: "3.12"}
      - run: pip install "${{ vars.RECONCILER_PACKAGE }}"
      - run: reconciler validate
      # Pull requests from forks get no secrets, and end here.
      - run: test -n "$RECONCILER_BACKEND" || { echo "::error::Set the secret RECONCILER_BACKEND"; exit 1; }
      - if: github.event_name == 'pull_request'
        run: reconciler plan --report plan.md:markdown
      - if: always() && hashFiles('plan.md') != ''
        run: gh pr comment "$NUMBER" --body-file plan.md --edit-last --create-if-none
        env:
          GH_TOKEN: ${{ github.token }}
          NUMBER: ${{ github.event.number }}
      - if: github.event_name == 'push'
        # Applies wait for each other; plans need no lock.
        run: reconciler apply --yes --lock-wait 30m
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
