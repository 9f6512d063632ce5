"""The protocol of a code host: notes at change requests, and issues."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

DRIFT_LABEL = "reconciler-drift"
"""The label of our issues, so that the other issues of a repository need not be read."""


class Note(Struct, frozen=True):
    """A comment of our own account at a change request."""

    id: str
    body: str


class ChangeRequest(Struct, frozen=True):
    """A pull request of GitHub or a merge request of GitLab. `head` is its last commit."""

    number: int
    head: str


class Issue(Struct, frozen=True):
    """An open issue of our own account."""

    number: int
    title: str
    body: str


class Host(Protocol):
    """A repository at a host. All methods raise HostError if the host refuses or cannot be reached."""

    name: str
    longest_note: int
    """The most characters of a note."""

    def current_request(self) -> ChangeRequest | None:
        """The change request that the job is about, if it is about one."""

    def merged_request(self, commit: str) -> ChangeRequest | None:
        """The change request whose merge made a commit."""

    def notes(self, number: int) -> list[Note]:
        """Our own notes, oldest first."""

    def add_note(self, number: int, body: str) -> None:
        """Write a note."""

    def edit_note(self, number: int, note: Note, body: str) -> None:
        """Replace the text of one of our notes."""

    def issues(self) -> list[Issue]:
        """Our own open issues with our label, oldest first."""

    def open_issue(self, title: str, body: str) -> None:
        """Open an issue with our label."""

    def edit_issue(self, issue: Issue, title: str, body: str) -> None:
        """Replace the title and text of one of our issues."""

    def close_issue(self, issue: Issue, body: str) -> None:
        """Close one of our issues, with a last comment."""
