"""Reports are posted to code hosts, and only reviewed plans count as approved."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from reconciler.cli.ci import command
from reconciler.errors import HostError, UsageError
from reconciler.hosts import Host, host_of
from reconciler.hosts.review import (
    KEPT_HEADLINES,
    Posted,
    approved_digest,
    key_of,
    post_drift,
    post_note,
)
from tests.servers.code_hosts import BOT, FakeGitHub, FakeGitLab, Pull

KEY = key_of("stacks/search", "prod")
DIGEST, OTHER = "a" * 64, "b" * 64
HEAD, MERGED = "1" * 40, "2" * 40


class Bed:
    """A fake host, and the environment of a job for one of its change requests."""

    def __init__(self, fake: FakeGitHub | FakeGitLab, folder: Path) -> None:
        self.fake = fake
        self.pull = fake.open_pull(HEAD)
        self._folder = folder
        self._hosts: dict[str, Host] = {}
        self.bot = BOT if isinstance(fake, FakeGitHub) else "7"

    @property
    def env(self) -> Mapping[str, str]:
        if isinstance(self.fake, FakeGitLab):
            return {
                "GITLAB_CI": "true",
                "GITLAB_TOKEN": self.fake.token,
                "CI_API_V4_URL": self.fake.url,
                "CI_PROJECT_ID": "42",
                "CI_MERGE_REQUEST_IID": str(self.pull.number),
                "CI_COMMIT_SHA": self.pull.head,
            }
        event = self._folder / "event.json"
        head = {"sha": self.pull.head}
        event.write_text(json.dumps({"pull_request": {"number": self.pull.number, "head": head}}))
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_TOKEN": self.fake.token,
            "GITHUB_API_URL": self.fake.url,
            "GITHUB_REPOSITORY": self.fake.repository,
            "GITHUB_EVENT_PATH": str(event),
        }

    @property
    def host(self) -> Host:
        """The host as a job of the change request's last commit sees it."""
        if self.pull.head not in self._hosts:
            self._hosts[self.pull.head] = host_of(self.env)
        return self._hosts[self.pull.head]

    def post(self, text: str, digest: str = "", key: str = KEY) -> str:
        request = self.host.current_request()
        assert request is not None
        return post_note(self.host, request, key, Posted(text, text.splitlines()[0], digest))

    def comments(self) -> list[str]:
        return self.fake.bot_comments(self.pull, self.bot)

    def merge(self) -> Pull:
        self.pull.merge_commit = MERGED
        return self.pull


@pytest.fixture(params=[FakeGitHub, FakeGitLab], ids=["github", "gitlab"])
def bed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bed]:
    with request.param() as fake:
        yield Bed(fake, tmp_path)


def test_a_stack_has_one_comment_however_often_it_is_planned(bed: Bed) -> None:
    assert [bed.post("Plan 1"), bed.post("Plan 2"), bed.post("Plan 3")] == [
        "added",
        "edited",
        "edited",
    ]
    [comment] = bed.comments()
    assert "\nPlan 3\n" in comment


def test_each_environment_has_a_comment_of_its_own(bed: Bed) -> None:
    bed.post("Plan of prod")
    bed.post("Plan of dev", key=key_of("stacks/search", "dev"))
    assert len(bed.comments()) == 2


def test_the_comment_keeps_the_headlines_of_the_last_plans(bed: Bed) -> None:
    for number in range(KEPT_HEADLINES + 3):
        bed.post(f"Plan {number}")
    [comment] = bed.comments()
    history = comment.partition("Earlier plans")[2]
    expected = [f"`1111111` Plan {number}" for number in range(6, 1, -1)]
    assert [line[2:] for line in history.splitlines() if line.startswith("- ")] == expected


def test_a_comment_of_somebody_else_with_our_marker_is_not_edited(bed: Bed) -> None:
    bed.post("Plan 1")
    [ours] = bed.comments()
    other = "octocat" if bed.bot == BOT else "8"
    forged = bed.fake.say(bed.pull, other, ours.replace("Plan 1", "forged"))
    bed.post("Plan 2")
    assert "forged" in forged.body
    assert "Plan 2" in bed.comments()[0]


def test_a_comment_is_never_longer_than_the_host_allows(bed: Bed) -> None:
    longest = bed.host.longest_note
    bed.post("# Plan\n" + "x" * (longest * 2))
    bed.post("# Plan\n" + "y" * (longest - 350))
    assert all(len(comment) <= longest for comment in bed.comments())


def test_the_plan_of_the_merged_commit_is_the_approved_one(bed: Bed) -> None:
    bed.post("Plan 1", OTHER)
    bed.post("Plan 2", DIGEST)
    bed.merge()
    assert approved_digest(bed.host, MERGED, KEY) == DIGEST


def test_a_plan_of_an_older_commit_is_not_approved(bed: Bed) -> None:
    bed.post("Plan", DIGEST)
    bed.merge().head = "3" * 40
    with pytest.raises(HostError, match="is of the commit 111111111111, and 333333333333 was"):
        approved_digest(bed.host, MERGED, KEY)


def test_a_failed_plan_takes_the_approval_back(bed: Bed) -> None:
    bed.post("Plan", DIGEST)
    bed.post("Error: no plan")
    bed.merge()
    with pytest.raises(HostError, match="has no plan of"):
        approved_digest(bed.host, MERGED, KEY)


def test_a_digest_that_a_text_of_the_plan_contains_does_not_count(bed: Bed) -> None:
    bed.post(f"Error\n<!-- reconciler:plan {DIGEST} of {HEAD} -->")
    bed.merge()
    with pytest.raises(HostError, match="has no plan of"):
        approved_digest(bed.host, MERGED, KEY)


def test_a_comment_of_somebody_else_does_not_approve(bed: Bed) -> None:
    bed.post("Plan", DIGEST)
    [ours] = bed.comments()
    bed.pull.comments.clear()
    bed.fake.say(bed.pull, "octocat" if bed.bot == BOT else "8", ours)
    bed.merge()
    with pytest.raises(HostError, match="has no plan of"):
        approved_digest(bed.host, MERGED, KEY)


def test_a_commit_without_a_change_request_is_not_approved(bed: Bed) -> None:
    bed.post("Plan", DIGEST)
    with pytest.raises(HostError, match="no merged change request belongs to the commit"):
        approved_digest(bed.host, MERGED, KEY)


def test_drift_has_one_issue_that_is_opened_edited_and_closed(bed: Bed) -> None:
    steps = [
        post_drift(bed.host, KEY, Posted(text, ""), is_drifted=bool(text))
        for text in ("", "Drift 1", "Drift 1", "Drift 2", "", "", "Drift 3")
    ]
    assert steps == [
        "unchanged",
        "opened",
        "unchanged",
        "edited",
        "closed",
        "unchanged",
        "opened",
    ]
    assert [(issue.is_open, issue.body.partition("\n")[2]) for issue in bed.fake.issues] == [
        (False, "Drift 2"),
        (True, "Drift 3"),
    ]


def test_the_issue_of_another_stack_is_left_alone(bed: Bed) -> None:
    post_drift(bed.host, key_of("other", "prod"), Posted("Drift", ""), is_drifted=True)
    assert post_drift(bed.host, KEY, Posted("", ""), is_drifted=False) == "unchanged"
    assert bed.fake.issues[0].is_open


def test_an_issue_that_quotes_the_marker_of_another_stack_stays_open(bed: Bed) -> None:
    other = key_of("other", "prod")
    quote = f"Drift\n```diff\n- <!-- reconciler:stack {KEY} -->\n```"
    post_drift(bed.host, other, Posted(quote, ""), is_drifted=True)
    assert post_drift(bed.host, KEY, Posted("", ""), is_drifted=False) == "unchanged"
    assert bed.fake.issues[0].is_open


def test_a_report_cannot_write_the_history_of_the_comment(bed: Bed) -> None:
    quote = "<!-- reconciler:earlier -->\n- forged\n<!-- /reconciler:earlier -->\n\n</details>"
    bed.post(f"Plan 1\n```\n{quote}\n```\n\nPlan digest: 1")
    bed.post("Plan 2")
    [comment] = bed.comments()
    assert comment.partition("Earlier plans")[2].count("\n- ") == 1
    assert "forged" not in comment


@pytest.mark.parametrize("end", ["-->", "--->", "---->", "--!>"])
def test_a_headline_cannot_end_the_comment_that_hides_it(bed: Bed, end: str) -> None:
    bed.post(f"Plan {end} of a stranger")
    [comment] = bed.comments()
    hidden = comment.splitlines()[1]
    assert hidden.count("--") == 2
    assert hidden.endswith("of a stranger -->")


def test_a_wrong_token_is_a_sentence_with_the_permission(bed: Bed) -> None:
    env = {**bed.env, "GITHUB_TOKEN": "wrong", "GITLAB_TOKEN": "wrong"}
    with pytest.raises(HostError, match="with status 401") as caught:
        host_of(env).notes(bed.pull.number)
    assert "Give the token the permission" in caught.value.hint


def test_a_run_that_wrote_no_report_replaces_the_last_plan_and_its_approval(
    bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = key_of(".", None)
    bed.post("Plan", DIGEST, key=key)
    for name, value in bed.env.items():
        monkeypatch.setenv(name, value)
    report, view = tmp_path / "plan.md", tmp_path / "plan.json"
    report.touch()
    view.touch()
    result = CliRunner().invoke(command, ["comment", str(report), "--json", str(view)])
    assert result.exit_code == 0, result.output
    [comment] = bed.comments()
    assert "ended before it could write its report" in comment
    bed.merge()
    with pytest.raises(HostError, match="has no plan of"):
        approved_digest(bed.host, MERGED, key)


def test_a_key_cannot_end_the_marker() -> None:
    assert key_of("a --> b", None) == "a-b@default"


def test_outside_of_a_job_there_is_no_host() -> None:
    with pytest.raises(UsageError, match="no job of GitHub Actions or GitLab CI"):
        host_of({})
