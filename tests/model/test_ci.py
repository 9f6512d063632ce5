"""Who started a run, as the variables of each CI system tell it; and hostile values in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reconciler.model.ci import CI_SYSTEMS, LONGEST_NAME, LONGEST_URL, CiSystem, run_origin
from reconciler.model.run_origin import RunOrigin

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
SHA = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_ACTOR": "octocat",
    "GITHUB_REPOSITORY": "acme/infra",
    "GITHUB_SHA": SHA,
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_RUN_ID": "1658821493",
}
GITLAB = {
    "GITLAB_CI": "true",
    "GITLAB_USER_LOGIN": "ada",
    "CI_PROJECT_PATH": "acme/platform/infra",
    "CI_COMMIT_SHA": SHA,
    "CI_JOB_URL": "https://gitlab.com/acme/platform/infra/-/jobs/77",
    "CI_PIPELINE_URL": "https://gitlab.com/acme/platform/infra/-/pipelines/7",
}
JENKINS = {
    "JENKINS_URL": "https://ci.acme.example/",
    "BUILD_USER_ID": "ada",
    "BUILD_USER": "Ada Lovelace",
    "GIT_URL": "https://github.com/acme/infra.git",
    "GIT_COMMIT": SHA,
    "BUILD_URL": "https://ci.acme.example/job/infra/15/",
}
BUILDKITE = {
    "BUILDKITE": "true",
    "BUILDKITE_BUILD_CREATOR": "Ada Lovelace",
    "BUILDKITE_REPO": "git@github.com:acme/infra.git",
    "BUILDKITE_COMMIT": "HEAD",
    "BUILDKITE_BUILD_URL": "https://buildkite.com/acme/infra/builds/1514",
}
AZURE = {
    "TF_BUILD": "True",
    "BUILD_REQUESTEDFOR": "Ada Lovelace",
    "BUILD_REPOSITORY_NAME": "infra",
    "BUILD_SOURCEVERSION": SHA,
    "SYSTEM_COLLECTIONURI": "https://dev.azure.com/acme/",
    "SYSTEM_TEAMPROJECT": "Platform Team",
    "BUILD_BUILDID": "4821",
}
CIRCLECI = {
    "CIRCLECI": "true",
    "CIRCLE_USERNAME": "octocat",
    "CIRCLE_PROJECT_USERNAME": "acme",
    "CIRCLE_PROJECT_REPONAME": "infra",
    "CIRCLE_SHA1": SHA,
    "CIRCLE_BUILD_URL": "https://circleci.com/gh/acme/infra/22",
}

EXPECTED = [
    (
        GITHUB,
        ("GitHub Actions", "octocat", "acme/infra", SHA),
        "https://github.com/acme/infra/actions/runs/1658821493",
    ),
    (GITLAB, ("GitLab CI", "ada", "acme/platform/infra", SHA), GITLAB["CI_JOB_URL"]),
    (JENKINS, ("Jenkins", "ada", "github.com/acme/infra", SHA), JENKINS["BUILD_URL"]),
    (
        BUILDKITE,
        ("Buildkite", "Ada Lovelace", "github.com/acme/infra", "HEAD"),
        BUILDKITE["BUILDKITE_BUILD_URL"],
    ),
    (
        AZURE,
        ("Azure Pipelines", "Ada Lovelace", "infra", SHA),
        "https://dev.azure.com/acme/Platform%20Team/_build/results?buildId=4821",
    ),
    (CIRCLECI, ("CircleCI", "octocat", "acme/infra", SHA), CIRCLECI["CIRCLE_BUILD_URL"]),
]


def origin(env: dict[str, str]) -> RunOrigin:
    return run_origin(env, user="ada", host="laptop")


@pytest.mark.parametrize(("env", "expected", "url"), EXPECTED, ids=lambda value: "")
def test_each_ci_system_gives_the_actor_the_commit_and_the_page(
    env: dict[str, str], expected: tuple[str, str, str, str], url: str
) -> None:
    ci, actor, repository, commit = expected
    assert origin({**env, "CI": "true"}) == RunOrigin(
        "ada", "laptop", ci, actor, repository, commit, url
    )


@pytest.mark.parametrize("system", CI_SYSTEMS, ids=lambda system: system.name)
def test_the_documentation_names_every_variable(system: CiSystem) -> None:
    rows = PAGE.read_text(encoding="utf-8").splitlines()
    row = next(row for row in rows if row.startswith(f"| {system.name} |"))
    templates = " ".join((*system.actor, *system.repository, *system.commit, *system.url))
    read = set(re.findall(r"\{(\w+)\}", templates))
    assert set(re.findall(r"`(\w+)`", row)) == read


def test_outside_of_ci_the_account_and_the_machine_are_known() -> None:
    assert origin({"PATH": "/bin", "CI": "true"}) == RunOrigin(user="ada", host="laptop")


@pytest.mark.parametrize("system", [GITHUB, GITLAB, JENKINS, BUILDKITE, AZURE, CIRCLECI])
def test_variables_that_a_ci_system_does_not_set_stay_empty(system: dict[str, str]) -> None:
    marker = next(iter(system))
    empty = origin({marker: system[marker]})
    assert empty == RunOrigin(user="ada", host="laptop", ci=empty.ci)
    assert empty.ci


@pytest.mark.parametrize(
    ("env", "more", "actor"),
    [
        (GITHUB, {"GITHUB_TRIGGERING_ACTOR": "hubot"}, "hubot"),
        (BUILDKITE, {"BUILDKITE_UNBLOCKER": "Grace Hopper"}, "Grace Hopper"),
        (JENKINS, {"BUILD_USER_ID": ""}, "Ada Lovelace"),
    ],
)
def test_the_actor_is_the_person_who_made_the_job_run(
    env: dict[str, str], more: dict[str, str], actor: str
) -> None:
    assert origin({**env, **more}).actor == actor


def test_a_circleci_project_without_an_owner_is_known_by_its_remote() -> None:
    env = {**CIRCLECI, "CIRCLE_PROJECT_USERNAME": ""}
    env["CIRCLE_REPOSITORY_URL"] = "git@gitlab.com:acme/infra.git"
    assert origin(env).repository == "gitlab.com/acme/infra"


@pytest.mark.parametrize(
    "remote",
    [
        "https://x-access-token:hunter2secret@github.com/acme/infra.git",
        "https://hunter2secret@github.com/acme/infra",
        "https://user:p/hunter2secret#?@github.com/acme/infra.git/",
        "https://user:p@hunter2secret@github.com/acme/infra.git",
        "https://github.com/acme/infra.git?access_token=hunter2secret",
        "https://github.com/acme/infra#hunter2secret",
        "hunter2secret@github.com:acme/infra.git",
        "ssh://hunter2secret@github.com/acme/infra.git",
        f"https://user:{'x' * LONGEST_NAME}hunter2secret@github.com/acme/infra",
    ],
)
def test_a_remote_loses_its_credentials(remote: str) -> None:
    assert origin({**JENKINS, "GIT_URL": remote}).repository == "github.com/acme/infra"


def test_a_remote_keeps_its_port() -> None:
    env = {**JENKINS, "GIT_URL": "ssh://git@git.acme.example:7999/acme/infra.git"}
    assert origin(env).repository == "git.acme.example:7999/acme/infra"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://user:hunter2@ci.acme.example/job/1/", "https://ci.acme.example/job/1/"),
        ("https://ci.acme.example/job/1/?token=hunter2", "https://ci.acme.example/job/1/"),
        ("https://ci.acme.example/job/1/#hunter2", "https://ci.acme.example/job/1/"),
        ("http://[::1]:8080/job/my job/", "http://[::1]:8080/job/my%20job/"),
        ("https://user:p/hunter2@ci.acme.example/", ""),
        ("https://user/hunter2@ci.acme.example/", ""),
        ("https://ci.acme.example/sk-proj-abcdefghijklmnop1234", ""),
        ("javascript:alert(1)", ""),
        ("file:///etc/passwd", ""),
        ("//ci.acme.example/job", ""),
        ("https:///job", ""),
        ("https://[::1/job", ""),
        ("https://ci.acme.example/a\nb", ""),
        ("https://ci.acme.example/\x1b[2J", ""),
        ("https://ci.acme.example/\u202ejob", ""),
        (f"https://ci.acme.example/{'x' * LONGEST_URL}", ""),
    ],
)
def test_the_address_of_a_run_is_a_plain_web_address_or_none(given: str, kept: str) -> None:
    assert origin({**JENKINS, "BUILD_URL": given}).url == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("octo\ncat", "octo\ufffdcat"),
        ("\x1b[2Joctocat", "\ufffd[2Joctocat"),
        ("octo\u202ecat", "octo\ufffdcat"),
        ("octo\udcffcat", "octo\ufffdcat"),
        ("  octocat\n", "octocat"),
        ("{GITHUB_TOKEN}", "{GITHUB_TOKEN}"),
        ("sk-proj-abcdefghijklmnop1234", "•••"),
        (f"{' ' * 5}{'-' * (LONGEST_NAME - 9)}sk-proj-abcdefghijklmnop1234", f"{'-' * 191}•••"),
        ("x" * 100_000, f"{'x' * (LONGEST_NAME - 1)}…"),
    ],
)
def test_a_name_is_printable_and_bounded(given: str, kept: str) -> None:
    env = {**GITHUB, "GITHUB_ACTOR": given, "GITHUB_TOKEN": "ghs_secret"}
    assert origin(env).actor == kept
    assert run_origin({}, user=given.strip(), host="laptop").user == kept


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "ada@laptop"),
        (
            {"actor": "octocat", "repository": "acme/infra", "commit": SHA, "url": "https://x/1"},
            "octocat in acme/infra@1a2b3c4 (https://x/1)",
        ),
        ({"repository": "acme/infra"}, "ada@laptop in acme/infra"),
        ({"commit": "HEAD"}, "ada@laptop at HEAD"),
        ({"actor": "Ada", "repository": "infra", "commit": "123456789"}, "Ada in infra@123456789"),
    ],
)
def test_an_origin_is_described_in_words(given: dict[str, str], words: str) -> None:
    assert RunOrigin(user="ada", host="laptop", **given).describe() == words
