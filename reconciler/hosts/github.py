"""GitHub: comments at pull requests, and issues."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from reconciler.errors import UsageError
from reconciler.hosts.http import HostHttp
from reconciler.hosts.model import DRIFT_LABEL, ChangeRequest, Issue, Note

# The account of the token that GitHub gives to each job. It cannot ask for its own name.
_ACTIONS = "github-actions[bot]"


class GitHub:
    """A repository of GitHub. `author` is the account of the token."""

    name = "GitHub"
    longest_note = 65_536

    def __init__(
        self, http: HostHttp, repository: str, event: Mapping[str, Any], author: str = ""
    ) -> None:
        self._http = http
        self._folder = f"repos/{repository}"
        self._event = event
        self._given_author = author

    @classmethod
    def of(cls, env: Mapping[str, str]) -> Self:
        """The repository of a job of GitHub Actions. Raises UsageError without a token."""
        token = env.get("GITHUB_TOKEN") or env.get("GH_TOKEN")
        if not token:
            raise UsageError(
                "GITHUB_TOKEN is not set",
                hint="Pass it to the step: env: {GITHUB_TOKEN: ${{ github.token }}}",
            )
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        http = HostHttp(
            cls.name,
            env.get("GITHUB_API_URL") or "https://api.github.com",
            headers,
            permission="pull-requests: write, and issues: write for drift",
        )
        author = env.get("RECONCILER_CI_AUTHOR", "")
        return cls(http, env.get("GITHUB_REPOSITORY", ""), _event(env), author)

    def current_request(self) -> ChangeRequest | None:
        """The pull request of the event that started the job."""
        request = self._event.get("pull_request")
        if not isinstance(request, Mapping):
            return None
        return ChangeRequest(int(request["number"]), str(request["head"]["sha"]))

    def merged_request(self, commit: str) -> ChangeRequest | None:
        """The pull request that was merged with a commit."""
        # The list can have pull requests that merely contain the commit.
        for request in self._http.get(f"{self._folder}/commits/{commit}/pulls"):
            if request.get("merged_at") and request.get("merge_commit_sha") == commit:
                return ChangeRequest(int(request["number"]), str(request["head"]["sha"]))
        return None

    def notes(self, number: int) -> list[Note]:
        """Our own comments."""
        comments = self._http.pages(f"{self._folder}/issues/{number}/comments")
        return [
            Note(str(comment["id"]), comment.get("body") or "")
            for comment in comments
            if self._is_ours(comment)
        ]

    def add_note(self, number: int, body: str) -> None:
        """Write a comment."""
        self._http.write("POST", f"{self._folder}/issues/{number}/comments", {"body": body})

    def edit_note(self, number: int, note: Note, body: str) -> None:  # noqa: ARG002 - ids of comments are unique
        """Replace the text of a comment."""
        self._http.write("PATCH", f"{self._folder}/issues/comments/{note.id}", {"body": body})

    def issues(self) -> list[Issue]:
        """Our own open issues."""
        query = {"labels": DRIFT_LABEL, "state": "open", "direction": "asc"}
        issues = []
        for issue in self._http.pages(f"{self._folder}/issues", query):
            # GitHub lists pull requests as issues, too.
            if "pull_request" not in issue and self._is_ours(issue):
                body = issue.get("body") or ""
                issues.append(Issue(int(issue["number"]), str(issue["title"]), body))
        return issues

    def open_issue(self, title: str, body: str) -> None:
        """Open an issue. GitHub creates the label with it."""
        content = {"title": title, "body": body, "labels": [DRIFT_LABEL]}
        self._http.write("POST", f"{self._folder}/issues", content)

    def edit_issue(self, issue: Issue, title: str, body: str) -> None:
        """Replace title and text."""
        path = f"{self._folder}/issues/{issue.number}"
        self._http.write("PATCH", path, {"title": title, "body": body})

    def close_issue(self, issue: Issue, body: str) -> None:
        """Close an issue."""
        self.add_note(issue.number, body)
        path = f"{self._folder}/issues/{issue.number}"
        self._http.write("PATCH", path, {"state": "closed", "state_reason": "completed"})

    def _is_ours(self, written: Mapping[str, Any]) -> bool:
        user = written.get("user")
        return isinstance(user, Mapping) and user.get("login") == self._author

    @property
    def _author(self) -> str:
        if not self._given_author:
            account = self._http.find("user") or {"login": _ACTIONS}
            self._given_author = str(account["login"])
        return self._given_author


def _event(env: Mapping[str, str]) -> Mapping[str, Any]:
    path = env.get("GITHUB_EVENT_PATH")
    if not path:
        return {}
    try:
        event = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"the event of the job cannot be read from {path}: {error}") from error
    if not isinstance(event, Mapping):
        return {}
    return event
