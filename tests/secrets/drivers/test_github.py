"""GitHub Actions: what is refused and why, levels of secrets, and how ours are recognised."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from reconciler.errors import SinkError, SinkSetupError
from tests.secrets.drivers.conftest import INDEXER, KEY, Run, delivered, refusal
from tests.servers.fake_github import READ_ONLY_TOKEN, TOKEN, FakeGithub

REPOSITORY = "repos/acme/search/actions/secrets"
TARGET = {"github_actions": {"repository": "acme/search", "name": "OPENAI_API_KEY"}}


@pytest.fixture
def server() -> Iterator[FakeGithub]:
    with FakeGithub() as running:
        yield running


@pytest.fixture
def env(server: FakeGithub) -> dict[str, str]:
    return {"GITHUB_API_URL": server.address, "GITHUB_TOKEN": TOKEN}


@pytest.mark.parametrize(
    ("where", "folder", "more"),
    [
        ({"repository": "acme/search"}, REPOSITORY, {}),
        (
            {"repository": "acme/search", "environment": "production"},
            "repos/acme/search/environments/production/secrets",
            {},
        ),
        ({"organization": "acme"}, "orgs/acme/actions/secrets", {"visibility": "private"}),
        (
            {"organization": "acme", "visibility": "all"},
            "orgs/acme/actions/secrets",
            {"visibility": "all"},
        ),
    ],
    ids=["repository", "environment", "organization", "visible to all"],
)
def test_a_secret_is_sealed_for_its_place(
    run: Run,
    env: dict[str, str],
    server: FakeGithub,
    where: Mapping[str, str],
    folder: str,
    more: Mapping[str, str],
) -> None:
    target = {"github_actions": {**where, "name": "OPENAI_API_KEY"}}
    sinks = run(env)
    sinks.check(target, address=INDEXER)
    receipt = delivered(sinks, target)
    secret = server.folders[folder].secrets["OPENAI_API_KEY"]
    assert (secret["value"], {name: secret[name] for name in more}) == (KEY.reveal(), more)
    assert KEY.reveal().encode() not in b"".join(request.content for request in server.requests)
    sinks.withdraw(target, receipt, address=INDEXER)
    assert server.folders[folder].secrets == {}


def test_a_secret_that_somebody_changed_since_is_not_overwritten(
    run: Run, env: dict[str, str], server: FakeGithub
) -> None:
    receipt = delivered(run(env), TARGET)
    server.write(REPOSITORY, "OPENAI_API_KEY", "by hand")
    later = run(env, deliveries=lambda: [(INDEXER, {"receipt": receipt})])
    assert "was changed by somebody else since" in refusal(later, TARGET)
    later.withdraw(TARGET, receipt, address=INDEXER)
    assert server.folders[REPOSITORY].secrets["OPENAI_API_KEY"]["value"] == "by hand"


def test_a_token_that_may_only_read_is_refused_with_the_permission_it_needs(
    run: Run, env: dict[str, str]
) -> None:
    sinks = run({**env, "GITHUB_TOKEN": READ_ONLY_TOKEN})
    sinks.check(TARGET, address=INDEXER)  # GitHub tells no sooner
    with pytest.raises(SinkError, match="Resource not accessible") as refused:
        delivered(sinks, TARGET)
    assert "the repository's permission Secrets: write" in refused.value.hint


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"repository": "acme/nowhere", "name": "A"}, "acme/nowhere"),
        ({"repository": "acme/search", "environment": "none", "name": "A"}, "Environments: write"),
        ({"organization": "other", "name": "A"}, "organization's permission Secrets: write"),
        ({"repository": "acme/search", "name": "GITHUB_X"}, "is no name of a GitHub secret"),
        ({"repository": "acme/search", "name": "1A"}, "is no name of a GitHub secret"),
        ({"repository": "acme/search", "name": "A/../B"}, "is no name of a GitHub secret"),
        ({"repository": "acme/..", "name": "A"}, "is no repository"),
        ({"repository": "acme", "name": "A"}, "is no repository"),
        ({"organization": "acme", "environment": "x", "name": "A"}, "has no environments"),
        ({"name": "A"}, "not of its form"),
        ({"organization": "acme", "repository": "acme/search", "name": "A"}, "not of its form"),
    ],
    ids=str,
)
def test_a_target_that_does_not_exist_is_refused_during_the_plan(
    run: Run, env: dict[str, str], target: Mapping[str, Any], said: str
) -> None:
    assert said in refusal(run(env), {"github_actions": target})


def test_a_wrong_token_is_refused_and_not_repeated(run: Run, env: dict[str, str]) -> None:
    told = refusal(run({**env, "GITHUB_TOKEN": "ghp_wrong-token"}), TARGET)
    assert ("Bad credentials" in told, "ghp_wrong-token" in told) == (True, False)


def test_no_room_is_noticed_during_the_plan(
    run: Run, env: dict[str, str], server: FakeGithub
) -> None:
    for number in range(100):
        server.write(REPOSITORY, f"SECRET_{number}", "value")
    assert "there are 100 secrets already" in refusal(run(env), TARGET)


def test_a_missing_token_or_package_is_named(
    run: Run, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SinkSetupError, match="GITHUB_TOKEN is not set"):
        run({"GITHUB_API_URL": env["GITHUB_API_URL"]}).check(TARGET, address=INDEXER)
    monkeypatch.setitem(sys.modules, "nacl.public", None)
    with pytest.raises(SinkSetupError, match="PyNaCl") as missing:
        run(env).check(TARGET, address=INDEXER)
    assert "reconciler-iac[github]" in missing.value.hint


def test_spellings_of_one_secret_are_one_place() -> None:
    from reconciler.model.sinks import place_of

    spellings = ("ACME/Search", "openai_api_key"), ("acme/search", "OPENAI_API_KEY")
    places = {
        place_of({"github_actions": {"repository": repository, "name": name}})
        for repository, name in spellings
    }
    assert places == {"github_actions:acme/search/OPENAI_API_KEY"}
