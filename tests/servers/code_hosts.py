"""GitHub's and GitLab's comments, merges and issues, as far as reviews use them.

Each refuses fields and parameters that the real one does not know, and bodies that are too long.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.servers.fakes import Call, FakeService, Refusal

BOT = "github-actions[bot]"


@dataclass
class Written:
    """A comment or an issue."""

    number: int
    author: str
    body: str
    title: str = ""
    labels: list[str] = field(default_factory=list)
    is_open: bool = True


@dataclass
class Pull:
    """A pull request or merge request, and its comments."""

    number: int
    head: str
    merge_commit: str | None = None
    comments: list[Written] = field(default_factory=list)


class _CodeHost(FakeService):
    def __init__(self) -> None:
        super().__init__()
        self.faults.append(self.authorize)
        self.pulls: dict[int, Pull] = {}
        self.issues: list[Written] = []
        self._ids = itertools.count(1)

    def authorize(self, call: Call) -> None:
        """Raise Refusal for a token that may not do this."""
        raise NotImplementedError

    def open_pull(self, head: str) -> Pull:
        pull = Pull(next(self._ids), head)
        self.pulls[pull.number] = pull
        return pull

    def say(self, pull: Pull, author: str, body: str) -> Written:
        """Write a comment as somebody."""
        comment = Written(next(self._ids), author, body)
        pull.comments.append(comment)
        return comment

    def bot_comments(self, pull: Pull, author: str = BOT) -> list[str]:
        return [comment.body for comment in pull.comments if comment.author == author]

    def _comment(self, number: int) -> Written:
        everything = [comment for pull in self.pulls.values() for comment in pull.comments]
        return next(comment for comment in everything if comment.number == number)

    def _issue(self, number: int) -> Written:
        return next(issue for issue in self.issues if issue.number == number)


def _only(call: Call, *names: str) -> dict[str, Any]:
    unknown = set(call.body) - set(names)
    if unknown:
        raise Refusal(422, {"message": f"unknown fields {sorted(unknown)}"})
    return call.body


def _page(call: Call, elements: list[Any]) -> list[Any]:
    size, page = int(call.query.get("per_page", 30)), int(call.query.get("page", 1))
    assert size <= 100
    return elements[(page - 1) * size : page * size]


class FakeGitHub(_CodeHost):
    """`acme/infrastructure` at GitHub, with the token of a job (`ghs_job`)."""

    repository = "acme/infrastructure"
    token = "ghs_job"

    def routes(self) -> Iterator[tuple[str, str, Callable[[Call], Any]]]:
        folder = r"/repos/acme/infrastructure"
        yield "GET", r"/user", self._user
        yield "GET", rf"{folder}/commits/(?P<sha>\w+)/pulls", self._pulls_of
        yield "GET", rf"{folder}/issues/(?P<number>\d+)/comments", self._comments
        yield "POST", rf"{folder}/issues/(?P<number>\d+)/comments", self._add
        yield "PATCH", rf"{folder}/issues/comments/(?P<id>\d+)", self._edit
        yield "GET", rf"{folder}/issues", self._issues
        yield "POST", rf"{folder}/issues", self._open
        yield "PATCH", rf"{folder}/issues/(?P<number>\d+)", self._change

    def authorize(self, call: Call) -> None:
        """Refuse what no token of a job may do."""
        if call.headers.get("authorization") != f"Bearer {self.token}":
            raise Refusal(401, {"message": "Bad credentials"})

    def _user(self, call: Call) -> Any:
        raise Refusal(403, {"message": "Resource not accessible by integration"})

    def _pulls_of(self, call: Call) -> Any:
        return [
            {
                "number": pull.number,
                "head": {"sha": pull.head},
                "merged_at": "2026-11-30T12:00:00Z" if pull.merge_commit else None,
                "merge_commit_sha": pull.merge_commit,
            }
            for pull in self.pulls.values()
            if call.match["sha"] in (pull.merge_commit, pull.head)
        ]

    def _comments(self, call: Call) -> Any:
        pull = self.pulls[int(call.match["number"])]
        return _page(call, [_github(comment) for comment in pull.comments])

    def _add(self, call: Call) -> Any:
        number, body = int(call.match["number"]), _limited(_only(call, "body")["body"], 65_536)
        if number in self.pulls:
            return _github(self.say(self.pulls[number], BOT, body))
        return {"id": next(self._ids), "issue": self._issue(number).number}

    def _edit(self, call: Call) -> Any:
        comment = self._comment(int(call.match["id"]))
        comment.body = _limited(_only(call, "body")["body"], 65_536)
        return _github(comment)

    def _issues(self, call: Call) -> Any:
        label, state = call.query["labels"], call.query["state"]
        assert state == "open"
        issues = [issue for issue in self.issues if issue.is_open and label in issue.labels]
        return _page(call, [_github(issue) for issue in issues])

    def _open(self, call: Call) -> Any:
        content = _only(call, "title", "body", "labels")
        issue = Written(
            next(self._ids), BOT, _limited(content["body"], 65_536), content["title"],
            content["labels"],
        )  # fmt: skip
        self.issues.append(issue)
        return _github(issue)

    def _change(self, call: Call) -> Any:
        issue, content = (
            self._issue(int(call.match["number"])),
            _only(call, "title", "body", "state", "state_reason"),
        )
        issue.title, issue.body = content.get("title", issue.title), content.get("body", issue.body)
        issue.is_open = content.get("state", "open") == "open"
        return _github(issue)


def _github(written: Written) -> dict[str, Any]:
    return {
        "id": written.number,
        "number": written.number,
        "title": written.title,
        "body": written.body,
        "user": {"login": written.author},
    }


def _limited(body: str, most: int) -> str:
    if len(body) > most:
        raise Refusal(422, {"message": "Body is too long"})
    return body


class FakeGitLab(_CodeHost):
    """Project 42 at GitLab, with a project access token (`glpat-project`) of the user 7."""

    token = "glpat-project"

    def routes(self) -> Iterator[tuple[str, str, Callable[[Call], Any]]]:
        folder = r"/projects/42"
        yield "GET", r"/user", lambda _: {"id": 7}
        yield "GET", rf"{folder}/repository/commits/(?P<sha>\w+)/merge_requests", self._requests_of
        yield "GET", rf"{folder}/merge_requests/(?P<number>\d+)/notes", self._notes
        yield "POST", rf"{folder}/merge_requests/(?P<number>\d+)/notes", self._add
        yield "PUT", rf"{folder}/merge_requests/(?P<number>\d+)/notes/(?P<id>\d+)", self._edit
        yield "GET", rf"{folder}/issues", self._issues
        yield "POST", rf"{folder}/issues", self._open
        yield "POST", rf"{folder}/issues/(?P<number>\d+)/notes", lambda _: {"id": next(self._ids)}
        yield "PUT", rf"{folder}/issues/(?P<number>\d+)", self._change

    def authorize(self, call: Call) -> None:
        """Refuse other tokens."""
        if call.headers.get("private-token") != self.token:
            raise Refusal(401, {"message": "401 Unauthorized"})

    def _requests_of(self, call: Call) -> Any:
        return [
            {
                "iid": pull.number,
                "sha": pull.head,
                "state": "merged" if pull.merge_commit else "opened",
                "merge_commit_sha": pull.merge_commit,
                "squash_commit_sha": None,
            }
            for pull in self.pulls.values()
            if call.match["sha"] in (pull.merge_commit, pull.head)
        ]

    def _notes(self, call: Call) -> Any:
        pull = self.pulls[int(call.match["number"])]
        return _page(call, [_gitlab(comment) for comment in pull.comments])

    def _add(self, call: Call) -> Any:
        body = _limited(_only(call, "body")["body"], 1_000_000)
        return _gitlab(self.say(self.pulls[int(call.match["number"])], "7", body))

    def _edit(self, call: Call) -> Any:
        comment = self._comment(int(call.match["id"]))
        comment.body = _limited(_only(call, "body")["body"], 1_000_000)
        return _gitlab(comment)

    def _issues(self, call: Call) -> Any:
        assert call.query["state"] == "opened"
        label = call.query["labels"]
        issues = [issue for issue in self.issues if issue.is_open and label in issue.labels]
        return _page(call, [_gitlab(issue) for issue in issues])

    def _open(self, call: Call) -> Any:
        content = _only(call, "title", "description", "labels")
        labels = content["labels"].split(",")
        issue = Written(next(self._ids), "7", content["description"], content["title"], labels)
        self.issues.append(issue)
        return _gitlab(issue)

    def _change(self, call: Call) -> Any:
        content = _only(call, "title", "description", "state_event")
        issue = self._issue(int(call.match["number"]))
        issue.title = content.get("title", issue.title)
        issue.body = content.get("description", issue.body)
        issue.is_open = content.get("state_event") != "close"
        return _gitlab(issue)


def _gitlab(written: Written) -> dict[str, Any]:
    author = int(written.author) if written.author.isdecimal() else 1
    return {
        "id": written.number,
        "iid": written.number,
        "title": written.title,
        "body": written.body,
        "description": written.body,
        "system": False,
        "author": {"id": author},
    }
