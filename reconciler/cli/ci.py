"""`reconciler ci`: posts reports where reviewers read them, from a job of GitHub or GitLab."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.command_group import WholeSummaries
from reconciler.cli.options import GlobalOptions, global_options
from reconciler.cli.reporting import talk
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.hosts.review import Posted

_report = click.argument("markdown", type=click.Path(path_type=Path), metavar="REPORT.md")
_json = click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The JSON report of the same run, for the digest of its plan.",
)
_commit = click.option(
    "--commit",
    envvar=("GITHUB_SHA", "CI_COMMIT_SHA"),
    required=True,
    metavar="SHA",
    help="The merged commit; by default that of the job.",
)
_MOST_BYTES = 64_000_000
_NO_REPORT = """\
### reconciler: no report

The run ended before it could write its report. The log of the job says how far it came.
"""


@click.group("ci", cls=WholeSummaries)
def command() -> None:
    """Post reports to pull requests and issues, from a CI job."""


@command.command("comment")
@_report
@_json
@click.option(
    "--commit", metavar="SHA", help="Post to the pull request that was merged as this commit."
)
@global_options
def comment(
    options: GlobalOptions, markdown: Path, json_file: Path | None, commit: str | None
) -> int:
    """Post REPORT.md to the pull request; replace the last comment.

    Keeps one comment for each stack and environment, with the headlines of the last five plans.
    """
    from reconciler.hosts import host_of
    from reconciler.hosts.review import key_of, post_note

    host = host_of(os.environ)
    request = host.merged_request(commit) if commit else host.current_request()
    if request is None:
        talk("This job belongs to no pull request, so nothing was posted.")
        return 0
    key = key_of(str(options.chdir), options.env)
    if commit:
        # A comment of its own: the comment of the plan holds the approved digest, which a second run
        # of the apply needs again.
        key = f"{key}/applied"
    done = post_note(host, request, key, _posted(markdown, json_file))
    talk(f"The comment of {key} at {request.number} was {done}.")
    return 0


@command.command("approved")
@_commit
@global_options
def approved(options: GlobalOptions, commit: str) -> int:
    """Print the digest of the plan that was reviewed before a merge.

    Give it to `reconciler apply --approve DIGEST`. Fails if the merged commit has no plan.
    """
    from reconciler.hosts import host_of
    from reconciler.hosts.review import approved_digest, key_of

    key = key_of(str(options.chdir), options.env)
    click.echo(approved_digest(host_of(os.environ), commit, key))
    return 0


@command.command("drift-issue")
@_report
@click.option(
    "--exit-code",
    "code",
    type=int,
    required=True,
    help="The exit code of `reconciler drift`: 2 opens or edits the issue, 0 closes it.",
)
@global_options
def drift_issue(options: GlobalOptions, markdown: Path, code: int) -> int:
    """Open, edit or close the issue about the drift of a stack.

    REPORT.md is the Markdown report of `reconciler drift`.
    """
    from reconciler.hosts import host_of
    from reconciler.hosts.review import Posted, key_of, post_drift

    # A failed run says nothing about drift, so it must neither open nor close the issue.
    if code not in (0, 2):
        talk(f"Drift is not known (exit code {code}), so the issue stays as it is.")
        return 0
    key = key_of(str(options.chdir), options.env)
    posted = Posted("", "")
    if code:
        posted = _posted(markdown, None)
    done = post_drift(host_of(os.environ), key, posted, is_drifted=code == 2)
    talk(f"The issue about drift in {key}: {done}.")
    return 0


def _posted(report: Path, json_file: Path | None) -> Posted:
    from reconciler.hosts.review import Posted

    text = _read(report)
    # A killed run leaves its report empty. The successful plan of an earlier run must not stay on
    # the pull request.
    if not text.strip():
        return Posted(_NO_REPORT, _NO_REPORT.partition("\n")[0].lstrip("# "))
    headline = text.partition("\n")[0].lstrip("# ").strip()
    digest = ""
    if json_file is not None:
        digest = _digest_in(json_file)
    return Posted(text, headline, digest)


def _digest_in(path: Path) -> str:
    """The digest in a JSON report of a plan that can be approved; empty for another."""
    try:
        view: Any = json.loads(_read(path))
    except ValueError as error:
        raise UsageError(f"{path} is no JSON report: {error}") from error
    # Without a digest, the comment takes away the approval that an earlier plan had.
    if not isinstance(view, dict) or view.get("errored"):
        return ""
    ours = view.get("reconciler")
    if not isinstance(ours, dict):
        return ""
    if view.get("applyable") is not True and not _is_unchanged(view, ours):
        return ""
    digest = ours.get("plan_digest")
    if not isinstance(digest, str):
        return ""
    return digest


def _is_unchanged(view: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Whether a report is of a plan without changes.

    It is not applyable, and can be approved: the apply after the merge has nothing to do either.
    """
    is_whole_plan = "resource_changes" in view and view.get("complete") is True
    return is_whole_plan and not ours.get("refusals")


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_MOST_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
