"""A repository that lives through pull requests: what is applied is what was reviewed.

The step of the action runs as in a job, with the emulator as the API and a fake GitHub that keeps
comments.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from reconciler.emulator import Emulator
from tests.servers.code_hosts import FakeGitHub, Pull

pytestmark = pytest.mark.slow

RUN = Path(__file__).parents[2] / "deploy/github/run.sh"
STACK = "kind: Stack\nmetadata: {name: acme}\nspec: {manifests: [m/]}\n"
GROUP = "kind: Group\nmetadata: {name: %s}\nspec: {name: %s}\n"


class Repository:
    """A checkout, and the jobs that run in it."""

    def __init__(self, folder: Path, emulator: Emulator, github: FakeGitHub) -> None:
        self._folder = folder
        self.emulator = emulator
        self.github = github
        self._commits = 0
        (folder / "m").mkdir()
        (folder / "reconciler.yaml").write_text(STACK)

    def write(self, **groups: str) -> None:
        """Declare groups, and nothing else."""
        self.write_text("---\n".join(GROUP % pair for pair in groups.items()))

    def write_text(self, text: str) -> None:
        (self._folder / "m/groups.yaml").write_text(text)

    def commit(self) -> str:
        self._commits += 1
        return f"{self._commits:040x}"

    def pull(self) -> Pull:
        return self.github.open_pull(self.commit())

    def push(self, pull: Pull) -> None:
        pull.head = self.commit()

    def merge(self, pull: Pull) -> str:
        pull.merge_commit = self.commit()
        return pull.merge_commit

    def job(
        self, command: str, *, pull: Pull | None = None, commit: str = "", keys: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run the step of the action."""
        event = self._folder / "event.json"
        about = (
            {"pull_request": {"number": pull.number, "head": {"sha": pull.head}}} if pull else {}
        )
        event.write_text(json.dumps(about))
        temporary = self._folder / "tmp"
        temporary.mkdir(exist_ok=True)
        variables = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(self._folder),
            "GITHUB_ACTIONS": "true",
            "GITHUB_TOKEN": self.github.token,
            "GITHUB_API_URL": self.github.url,
            "GITHUB_REPOSITORY": self.github.repository,
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_SHA": commit,
            "RUNNER_TEMP": str(temporary),
            "RECONCILER_ACTION_COMMAND": command,
            "OPENAI_BASE_URL": self.emulator.base_url,
            "RECONCILER_SETTLE_SECONDS": "0.1",
        }
        if keys:
            variables["OPENAI_ADMIN_KEY"] = self.emulator.admin_key
            variables["OPENAI_API_KEY"] = self.emulator.api_key
        return subprocess.run(
            ["bash", str(RUN)],
            cwd=self._folder,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def groups(self) -> list[str]:
        return sorted(str(record.body["name"]) for record in self.emulator.store.all("group"))

    def comment(self, pull: Pull) -> str:
        """The comment of the plan."""
        comments = self.github.bot_comments(pull)
        return next(comment for comment in comments if "/applied -->" not in comment)

    def rename_outside(self, name: str) -> None:
        """Rename a group by hand."""
        group = next(iter(self.emulator.store.all("group")))
        httpx.post(
            f"{self.emulator.base_url}/organization/groups/{group.id}",
            headers={"Authorization": f"Bearer {self.emulator.admin_key}"},
            json={"name": name},
        ).raise_for_status()


@pytest.fixture
def repository(tmp_path: Path, emulator: Emulator) -> Iterator[Repository]:
    with FakeGitHub() as github:
        yield Repository(tmp_path, emulator, github)


def test_pull_requests_are_planned_reviewed_and_applied_one_after_another(
    repository: Repository,
) -> None:
    declared: dict[str, str] = {}
    for number in range(5):
        declared[f"g{number}"] = f"G{number}"
        repository.write(**declared)
        pull = repository.pull()
        assert repository.job("plan", pull=pull).returncode == 0
        assert f"Group/g{number}" in repository.comment(pull)
        applied = repository.job("apply", commit=repository.merge(pull))
        assert applied.returncode == 0, applied.stdout + applied.stderr
        assert repository.groups() == sorted(declared.values())


def test_a_pull_request_without_changes_is_merged_without_an_error(repository: Repository) -> None:
    repository.write(a="A")
    pull = repository.pull()
    repository.job("plan", pull=pull)
    repository.job("apply", commit=repository.merge(pull))
    documentation = repository.pull()
    assert repository.job("plan", pull=documentation).returncode == 0
    applied = repository.job("apply", commit=repository.merge(documentation))
    assert applied.returncode == 0, applied.stdout + applied.stderr


def test_no_changes_were_reviewed_and_so_none_are_made(repository: Repository) -> None:
    repository.write(a="A")
    pull = repository.pull()
    repository.job("plan", pull=pull)
    repository.job("apply", commit=repository.merge(pull))
    documentation = repository.pull()
    repository.job("plan", pull=documentation)
    repository.write(a="A", b="B")
    assert repository.job("apply", commit=repository.merge(documentation)).returncode == 10
    assert repository.groups() == ["A"]


def test_a_change_that_nobody_reviewed_is_not_applied(repository: Repository) -> None:
    repository.write(a="A")
    pull = repository.pull()
    repository.job("plan", pull=pull)
    repository.write(a="A", b="B")  # what is merged is not what was planned
    applied = repository.job("apply", commit=repository.merge(pull))
    assert applied.returncode == 10
    assert repository.groups() == []
    assert "Group/b" in applied.stdout + applied.stderr


def test_a_push_without_a_plan_after_it_is_not_applied(repository: Repository) -> None:
    repository.write(a="A")
    pull = repository.pull()
    repository.job("plan", pull=pull)
    repository.push(pull)
    assert repository.job("apply", commit=repository.merge(pull)).returncode == 1
    assert repository.groups() == []


def test_a_failed_plan_replaces_the_good_one_and_its_approval(repository: Repository) -> None:
    repository.write(a="A")
    pull = repository.pull()
    repository.job("plan", pull=pull)
    repository.write_text("kind: Groop\n")
    assert repository.job("plan", pull=pull).returncode == 1
    assert "Unknown kind" in repository.comment(pull)
    repository.write(a="A")
    assert repository.job("apply", commit=repository.merge(pull)).returncode == 1
    assert repository.groups() == []


def test_an_apply_can_be_repeated_after_it_was_interrupted(repository: Repository) -> None:
    repository.write(a="A")
    pull = repository.pull()
    repository.job("plan", pull=pull)
    commit = repository.merge(pull)
    assert repository.job("apply", commit=commit).returncode == 0
    again = repository.job("apply", commit=commit)
    assert again.returncode == 10  # everything is done, so nothing of the reviewed plan is left
    assert repository.groups() == ["A"]


def test_the_first_plan_of_a_fork_is_a_validation(repository: Repository) -> None:
    repository.write(a="A")
    pull = repository.pull()
    done = repository.job("plan", pull=pull, keys=False)
    assert done.returncode == 0
    assert "validated and not planned" in done.stdout
    assert repository.emulator.requests == []


def test_drift_opens_one_issue_and_closes_it_once_it_is_gone(repository: Repository) -> None:
    repository.write(a="A")
    pull = repository.pull()
    repository.job("plan", pull=pull)
    repository.job("apply", commit=repository.merge(pull))
    assert repository.job("drift").returncode == 0
    repository.rename_outside("by hand")
    assert [repository.job("drift").returncode for _ in range(2)] == [2, 2]
    [issue] = repository.github.issues
    assert issue.is_open
    assert "Group/a" in issue.body
    repository.rename_outside("A")
    assert repository.job("drift").returncode == 0
    assert not issue.is_open


def test_no_key_is_in_a_comment_or_an_output(repository: Repository) -> None:
    repository.write(a="A")
    pull = repository.pull()
    planned = repository.job("plan", pull=pull)
    applied = repository.job("apply", commit=repository.merge(pull))
    texts = [planned.stdout, planned.stderr, applied.stdout, applied.stderr]
    texts += repository.github.bot_comments(pull)
    keys = (repository.emulator.admin_key, repository.github.token)
    assert [key for key in keys for text in texts if key in text] == []
