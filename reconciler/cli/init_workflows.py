"""The workflows that `reconciler init` writes."""

from __future__ import annotations

from reconciler import __version__

PLAIN = """\
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
"""For GitHub, with single commands instead of the action."""

_GITHUB = """\
# Posts the plan at pull requests, applies the plan that was reviewed after the merge, and keeps an
# issue about drift.
#
# Before the first run:
# 1. Set the secrets OPENAI_ADMIN_KEY, OPENAI_API_KEY and RECONCILER_BACKEND. The last is the address
#    of the state, such as postgresql://USER:PASSWORD@HOST/DATABASE. For another backend, change the
#    extra in `package`.
# 2. Prove that the backend locks: reconciler --backend ADDRESS state check
# 3. Require pull requests to be up to date before they are merged, so that what was reviewed is
#    what is merged.
# 4. Pin the workflow below to a commit.
name: reconciler
on:
  pull_request:
  push: {branches: [main]}
  schedule: [{cron: "17 3 * * *"}]
  workflow_dispatch:
permissions: {}
jobs:
  reconciler:
    name: reconciler
    uses: reconciler-iac/reconciler/.github/workflows/reconcile.yml@v1 # zizmor: ignore[unpinned-uses] see 4
    permissions:
      contents: read # to read the manifests
      pull-requests: write # to post the plan
      issues: write # to open, edit and close the issue about drift
    with:
      package: "reconciler-iac[postgres]==VERSION"
    secrets:
      admin-key: ${{ secrets.OPENAI_ADMIN_KEY }}
      api-key: ${{ secrets.OPENAI_API_KEY }}
      backend: ${{ secrets.RECONCILER_BACKEND }}
"""

_GITLAB = """\
# Posts the plan at merge requests, applies the plan that was reviewed after the merge, and keeps an
# issue about drift.
#
# Before the first run:
# 1. Set the variables OPENAI_ADMIN_KEY, OPENAI_API_KEY and RECONCILER_BACKEND, masked. The last is the
#    address of the state, such as postgresql://USER:PASSWORD@HOST/DATABASE. For another backend,
#    change the extra in `package`.
# 2. Set GITLAB_TOKEN to a project access token with the scope `api`, which posts comments and issues.
# 3. Prove that the backend locks: reconciler --backend ADDRESS state check
# 4. Require a fast-forward merge, so that what was reviewed is what is merged.
# 5. Add a pipeline schedule for the nightly search for drift.
# On your own server, mirror the project reconciler-iac/reconciler first.
include:
  - component: $CI_SERVER_FQDN/reconciler-iac/reconciler/reconciler@1
    inputs:
      package: "reconciler-iac[postgres]==VERSION"
"""


def workflow(host: str | None) -> tuple[str, str]:
    """The path and the text of the workflow for a host; without a host, of a plain one."""
    if host == "gitlab":
        return ".gitlab-ci.yml", _GITLAB.replace("VERSION", __version__)
    path = ".github/workflows/reconciler.yml"
    if host is None:
        return path, PLAIN
    return path, _GITHUB.replace("VERSION", __version__)
