"""Code hosts: posts reports to pull requests and issues of GitHub and GitLab.

A host deletes no text of other people: notes and issues are found by a hidden marker, and only
those of our own account count, because anybody can write a marker. `review.py` composes and parses
posts; `github.py` and `gitlab.py` call the hosts.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.errors import UsageError
from reconciler.hosts.model import ChangeRequest, Host, Issue, Note

__all__ = ["ChangeRequest", "Host", "Issue", "Note", "host_of"]


def host_of(env: Mapping[str, str]) -> Host:
    """The host whose CI job this process is part of. Raises UsageError."""
    if env.get("GITHUB_ACTIONS") == "true":
        from reconciler.hosts.github import GitHub

        return GitHub.of(env)
    if env.get("GITLAB_CI") == "true":
        from reconciler.hosts.gitlab import GitLab

        return GitLab.of(env)
    raise UsageError(
        "this is no job of GitHub Actions or GitLab CI",
        hint="The commands of `reconciler ci` read the variables that such a job has.",
    )
