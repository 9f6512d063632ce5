"""How plans and applies report the destinations of keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Workspace
from tests.servers.fake_gitlab import READ_ONLY_TOKEN, TOKEN, FakeGitlab

PROJECT = "kind: Project\nmetadata: {name: search}\nspec: {name: Search}\n"
VARIABLE = "{gitlab_variable: {project: acme/search, name: OPENAI_API_KEY}}"
WHERE = "projects/acme/search"


def account(name: str, write_to: str) -> str:
    return (
        f"kind: ServiceAccount\nmetadata: {{name: {name}, project: search}}\n"
        f"spec: {{name: {name}, key: {{write_to: {write_to}}}}}\n"
    )


def user_of(account: str) -> str:
    """A document that needs an account."""
    return (
        f"kind: ServiceAccountKey\nmetadata: {{name: second, project: search}}\n"
        f"spec: {{service_account_id: '${{ServiceAccount/search/{account}}}', name: second, "
        "key: {write_to: {file: secrets/second.key}}}\n"
    )


@pytest.fixture
def gitlab(workspace: Workspace) -> Iterator[FakeGitlab]:
    with FakeGitlab() as server:
        workspace.variables |= {"CI_API_V4_URL": server.address, "GITLAB_TOKEN": TOKEN}
        yield server


def keys_of_accounts(workspace: Workspace) -> int:
    with workspace.emulator.store.lock:
        return sum(
            record.body.get("owner", {}).get("type") == "service_account"
            or record.hidden.get("owner", {}).get("type") == "service_account"
            for record in workspace.emulator.store.all("api_key")
        )


def test_a_plan_reports_a_destination_that_takes_no_key_and_skips_its_dependents(
    workspace: Workspace, gitlab: FakeGitlab
) -> None:
    workspace.variables["GITLAB_TOKEN"] = READ_ONLY_TOKEN
    workspace.declare(
        PROJECT, account("a", VARIABLE), account("b", "{file: secrets/b.key}"), user_of("a")
    )
    planned = workspace.run("plan", expect=1)
    assert "Destination refuses the key" in planned.err
    assert "the role Maintainer" in planned.err
    assert "2 to create" in planned.out
    workspace.run("apply", "--yes")
    assert keys_of_accounts(workspace) == 1
    assert gitlab.variables[WHERE] == []


def test_a_missing_credential_is_a_warning_of_a_plan_and_an_error_of_an_apply(
    workspace: Workspace, gitlab: FakeGitlab
) -> None:
    del workspace.variables["GITLAB_TOKEN"]
    workspace.declare(PROJECT, account("a", VARIABLE))
    planned = workspace.run("plan", expect=0)
    assert "Destination not checked" in planned.out
    applied = workspace.run("apply", "--yes")
    assert applied.code == 13
    assert "GITLAB_TOKEN is not set" in applied.out
    assert keys_of_accounts(workspace) == 0


def test_a_destination_that_another_key_leaves_in_the_same_plan_is_free(
    workspace: Workspace, gitlab: FakeGitlab
) -> None:
    workspace.declare(PROJECT, account("a", VARIABLE))
    workspace.run("apply", "--yes", expect=0)
    workspace.declare(PROJECT, account("b", VARIABLE))
    workspace.run("apply", "--yes", "--allow-delete", "ServiceAccount/search/a", expect=0)
    (variable,) = gitlab.variables[WHERE]
    assert variable["description"] == "reconciler: stack/default/ServiceAccount/search/b"
    assert workspace.emulator.store.key_record(variable["value"]) is not None


def test_a_sink_that_refuses_after_the_key_was_made_leaves_no_valid_key(
    workspace: Workspace, gitlab: FakeGitlab
) -> None:
    def refuse_writes(request, answer):  # type: ignore[no-untyped-def]
        from tests.servers.fake_http import FakeAnswer

        if request.method == "POST":
            gitlab.variables[WHERE].clear()
            return FakeAnswer(403, {"message": "403 Forbidden"})
        return answer

    gitlab.before_answer = refuse_writes
    workspace.declare(PROJECT, account("a", f"[{{file: secrets/a.key}}, {VARIABLE}]"))
    applied = workspace.run("apply", "--yes")
    assert applied.code == 13
    assert "the role Maintainer" in applied.out
    assert keys_of_accounts(workspace) == 0
    assert list((workspace.folder / "secrets").glob("*.key")) == []
    gitlab.before_answer = lambda _, answer: answer
    workspace.run("apply", "--yes", expect=0)
    (variable,) = gitlab.variables[WHERE]
    assert variable["value"] == (workspace.folder / "secrets/a.key").read_text().strip()
    assert keys_of_accounts(workspace) == 1


def test_an_option_bounds_the_places(workspace: Workspace, gitlab: FakeGitlab) -> None:
    workspace.declare(PROJECT, account("a", VARIABLE))
    refused = workspace.run("plan", "--allow-sinks", "gitlab_variable:acme/other/*", expect=1)
    assert "Destination not allowed" in refused.err
    assert gitlab.requests == []
    workspace.run("plan", "--allow-sinks", "gitlab_variable:acme/search/*", expect=0)
