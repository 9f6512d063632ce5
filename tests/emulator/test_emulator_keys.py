"""Keys: two disjoint classes, bound to projects, refused like the real API refuses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from reconciler.emulator import Emulator, EmulatorOptions

Connect = Callable[..., httpx.Client]


def refusal(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.fixture
def account(admin: httpx.Client, project: dict[str, Any]) -> dict[str, Any]:
    """A service account of the second project, with its key."""
    path = f"/organization/projects/{project['id']}/service_accounts"
    return admin.post(path, json={"name": "indexer"}).json()  # type: ignore[no-any-return]


def test_no_key_is_refused(emulator: Emulator, connect: Connect) -> None:
    answer = connect(emulator).get("/models")
    assert refusal(answer) == (401, None)
    assert "didn't provide an API key" in answer.json()["error"]["message"]


def test_an_unknown_key_is_refused_without_being_repeated(
    emulator: Emulator, connect: Connect
) -> None:
    answer = connect(emulator, "sk-proj-0123456789abcdefWXYZ").get("/models")
    message = answer.json()["error"]["message"]
    assert refusal(answer) == (401, "invalid_api_key")
    assert "sk-proj-" in message
    assert "WXYZ" in message
    assert "0123456789" not in message


def test_a_project_key_does_not_open_the_control_plane(http: httpx.Client) -> None:
    answer = http.get("/organization/projects")
    assert answer.status_code == 403
    assert "Missing scopes: api.management.read" in answer.json()["error"]["message"]


def test_an_admin_key_does_not_open_the_data_plane(admin: httpx.Client) -> None:
    answer = admin.post("/vector_stores", json={})
    assert answer.status_code == 403
    assert "Missing scopes: api.vector_stores.write" in answer.json()["error"]["message"]


def test_a_minted_key_sees_only_its_project(
    emulator: Emulator, connect: Connect, http: httpx.Client, account: dict[str, Any]
) -> None:
    theirs = connect(emulator, account["api_key"]["value"])
    made = theirs.post("/assistants", json={"model": "gpt-4.1"}).json()
    assert http.get(f"/assistants/{made['id']}").status_code == 404
    assert theirs.get(f"/assistants/{made['id']}").status_code == 200


def test_a_minted_key_cannot_be_moved_to_another_project(
    emulator: Emulator, connect: Connect, account: dict[str, Any]
) -> None:
    moved = connect(emulator, account["api_key"]["value"], OpenAI_Project=emulator.project_id)
    assert refusal(moved.get("/models")) == (401, "mismatched_project")


def test_the_first_key_can_select_any_project(
    emulator: Emulator, connect: Connect, project: dict[str, Any]
) -> None:
    moved = connect(emulator, emulator.api_key, OpenAI_Project=project["id"])
    assert moved.get("/models").headers["openai-project"] == project["id"]


def test_the_first_key_cannot_select_a_project_that_does_not_exist(
    emulator: Emulator, connect: Connect
) -> None:
    moved = connect(emulator, emulator.api_key, OpenAI_Project="proj_nothing")
    assert refusal(moved.get("/models")) == (401, "mismatched_project")


def test_another_organization_is_refused(emulator: Emulator, connect: Connect) -> None:
    other = connect(emulator, emulator.api_key, OpenAI_Organization="org-other")
    assert refusal(other.get("/models")) == (401, "mismatched_organization")


def test_an_emulator_can_stand_for_another_organization(connect: Connect) -> None:
    with Emulator(EmulatorOptions(organization="org-x")) as other:
        answer = connect(other, other.api_key, OpenAI_Organization="org-x").get("/models")
        assert refusal(
            connect(other, other.api_key, OpenAI_Organization="org-emulator").get("/models")
        )
    assert (answer.status_code, answer.headers["openai-organization"]) == (200, "org-x")


def test_a_deleted_key_stops_working(
    emulator: Emulator,
    connect: Connect,
    admin: httpx.Client,
    account: dict[str, Any],
    project: dict[str, Any],
) -> None:
    theirs = connect(emulator, account["api_key"]["value"])
    assert theirs.get("/models").status_code == 200
    admin.delete(f"/organization/projects/{project['id']}/api_keys/{account['api_key']['id']}")
    assert refusal(theirs.get("/models")) == (401, "invalid_api_key")


def test_the_keys_of_a_deleted_account_stop_working(
    emulator: Emulator,
    connect: Connect,
    admin: httpx.Client,
    account: dict[str, Any],
    project: dict[str, Any],
) -> None:
    admin.delete(f"/organization/projects/{project['id']}/service_accounts/{account['id']}")
    assert refusal(connect(emulator, account["api_key"]["value"]).get("/models")) == (
        401,
        "invalid_api_key",
    )


def test_the_keys_of_an_archived_project_stop_working(
    emulator: Emulator,
    connect: Connect,
    admin: httpx.Client,
    account: dict[str, Any],
    project: dict[str, Any],
) -> None:
    admin.post(f"/organization/projects/{project['id']}/archive")
    answer = connect(emulator, account["api_key"]["value"]).get("/models")
    assert refusal(answer) == (401, "not_authorized_invalid_project")


def test_a_key_stops_working_when_its_time_is_over(
    emulator: Emulator, connect: Connect, admin: httpx.Client, project: dict[str, Any], clock: Any
) -> None:
    path = f"/organization/projects/{project['id']}/service_accounts"
    made = admin.post(path, json={"name": "brief", "expires_in_seconds": 60}).json()["api_key"]
    theirs = connect(emulator, made["value"])
    assert (made["expires_at"], theirs.get("/models").status_code) == (1_800_000_060, 200)
    clock.advance(61)
    assert refusal(theirs.get("/models")) == (401, "invalid_api_key")


def test_a_key_is_listed_by_its_ends_only(
    admin: httpx.Client, account: dict[str, Any], project: dict[str, Any]
) -> None:
    [listed] = admin.get(f"/organization/projects/{project['id']}/api_keys").json()["data"]
    secret = account["api_key"]["value"]
    assert listed["redacted_value"] == f"{secret[:8]}{'*' * 40}{secret[-4:]}"
    assert listed["owner"]["service_account"]["id"] == account["id"]
    assert "value" not in listed


def test_the_value_of_a_key_is_never_answered_again(
    admin: httpx.Client, account: dict[str, Any], project: dict[str, Any]
) -> None:
    base = f"/organization/projects/{project['id']}"
    reads = (
        f"{base}/api_keys",
        f"{base}/service_accounts",
        f"{base}/service_accounts/{account['id']}",
    )
    assert all(account["api_key"]["value"] not in admin.get(path).text for path in reads)


def test_an_account_can_be_made_without_a_key(admin: httpx.Client, project: dict[str, Any]) -> None:
    path = f"/organization/projects/{project['id']}/service_accounts"
    made = admin.post(path, json={"name": "bare", "create_service_account_only": True}).json()
    assert (made["role"], made["api_key"]) == ("none", None)


def test_a_key_can_be_given_another_end_and_scopes(
    admin: httpx.Client, account: dict[str, Any], project: dict[str, Any]
) -> None:
    path = f"/organization/projects/{project['id']}/api_keys/{account['api_key']['id']}"
    changed = admin.post(path, json={"scopes": ["api.all.read"], "expires_in_seconds": 10}).json()
    assert changed["expires_at"] == 1_800_000_010
    assert admin.post(path, json={}).status_code == 400


def test_single_keys_of_accounts_can_be_made_undeletable(
    emulator: Emulator, admin: httpx.Client, account: dict[str, Any], project: dict[str, Any]
) -> None:
    emulator.set_options(service_account_keys_deletable=False)
    path = f"/organization/projects/{project['id']}/api_keys/{account['api_key']['id']}"
    assert admin.delete(path).status_code == 400
    assert admin.get(path).status_code == 200


def test_a_key_remembers_when_it_was_used(
    emulator: Emulator,
    connect: Connect,
    admin: httpx.Client,
    account: dict[str, Any],
    project: dict[str, Any],
) -> None:
    path = f"/organization/projects/{project['id']}/api_keys/{account['api_key']['id']}"
    before = admin.get(path).json()["last_used_at"]
    connect(emulator, account["api_key"]["value"]).get("/models")
    assert (before, admin.get(path).json()["last_used_at"]) == (None, 1_800_000_000)
