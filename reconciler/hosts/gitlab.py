"""GitLab: notes at merge requests, and issues.

The token of a job (CI_JOB_TOKEN) cannot write notes, so GITLAB_TOKEN has to be an access token with
the scope `api`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import quote

from reconciler.errors import UsageError
from reconciler.hosts.http import HostHttp
from reconciler.hosts.model import DRIFT_LABEL, ChangeRequest, Issue, Note


class GitLab:
    """A project of GitLab. `request` is the merge request of the job."""

    name = "GitLab"
    longest_note = 1_000_000

    def __init__(self, http: HostHttp, project: str, request: ChangeRequest | None) -> None:
        self._http = http
        self._folder = f"projects/{quote(project, safe='')}"
        self._request = request
        self._known_author: int | None = None

    @classmethod
    def of(cls, env: Mapping[str, str]) -> Self:
        """The project of a job of GitLab CI. Raises UsageError without a token."""
        token = env.get("GITLAB_TOKEN")
        if not token:
            raise UsageError(
                "GITLAB_TOKEN is not set",
                hint="Set the variable to a project access token with the scope api: CI_JOB_TOKEN "
                "cannot write notes.",
            )
        http = HostHttp(
            cls.name,
            env.get("CI_API_V4_URL") or "https://gitlab.com/api/v4",
            {"PRIVATE-TOKEN": token},
            permission="api, with the role Reporter or higher",
        )
        request = None
        if number := env.get("CI_MERGE_REQUEST_IID"):
            # In a pipeline for merged results, CI_COMMIT_SHA is no commit of the branch.
            head = env.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or env.get("CI_COMMIT_SHA", "")
            request = ChangeRequest(int(number), head)
        return cls(http, env.get("CI_PROJECT_ID", ""), request)

    def current_request(self) -> ChangeRequest | None:
        """The merge request of the pipeline."""
        return self._request

    def merged_request(self, commit: str) -> ChangeRequest | None:
        """The merge request that was merged with a commit."""
        path = f"{self._folder}/repository/commits/{commit}/merge_requests"
        for request in self._http.get(path):
            # A merge, a squash, or both have commits of their own.
            made = {request.get("merge_commit_sha"), request.get("squash_commit_sha")}
            # A fast-forward merge makes no commit of its own.
            is_fast_forward = made == {None} and request.get("sha") == commit
            if request.get("state") == "merged" and (commit in made or is_fast_forward):
                return ChangeRequest(int(request["iid"]), str(request["sha"]))
        return None

    def notes(self, number: int) -> list[Note]:
        """Our own notes."""
        path = f"{self._folder}/merge_requests/{number}/notes"
        notes = self._http.pages(path, {"sort": "asc", "order_by": "created_at"})
        return [
            Note(str(note["id"]), note.get("body") or "")
            for note in notes
            if not note.get("system") and self._is_ours(note)
        ]

    def add_note(self, number: int, body: str) -> None:
        """Write a note."""
        self._http.write("POST", f"{self._folder}/merge_requests/{number}/notes", {"body": body})

    def edit_note(self, number: int, note: Note, body: str) -> None:
        """Replace the text of a note."""
        path = f"{self._folder}/merge_requests/{number}/notes/{note.id}"
        self._http.write("PUT", path, {"body": body})

    def issues(self) -> list[Issue]:
        """Our own open issues."""
        query = {"labels": DRIFT_LABEL, "state": "opened", "sort": "asc"}
        return [
            Issue(int(issue["iid"]), str(issue["title"]), issue.get("description") or "")
            for issue in self._http.pages(f"{self._folder}/issues", query)
            if self._is_ours(issue)
        ]

    def open_issue(self, title: str, body: str) -> None:
        """Open an issue. GitLab creates the label with it."""
        content = {"title": title, "description": body, "labels": DRIFT_LABEL}
        self._http.write("POST", f"{self._folder}/issues", content)

    def edit_issue(self, issue: Issue, title: str, body: str) -> None:
        """Replace title and text."""
        path = f"{self._folder}/issues/{issue.number}"
        self._http.write("PUT", path, {"title": title, "description": body})

    def close_issue(self, issue: Issue, body: str) -> None:
        """Close an issue."""
        self._http.write("POST", f"{self._folder}/issues/{issue.number}/notes", {"body": body})
        path = f"{self._folder}/issues/{issue.number}"
        self._http.write("PUT", path, {"state_event": "close"})

    def _is_ours(self, written: Mapping[str, Any]) -> bool:
        author = written.get("author")
        return isinstance(author, Mapping) and author.get("id") == self._author

    @property
    def _author(self) -> int:
        if self._known_author is None:
            self._known_author = int(self._http.get("user")["id"])
        return self._known_author
