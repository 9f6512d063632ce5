"""The control plane: archived projects, rate limits that fit their models, people, and the audit log."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from reconciler.emulator import Emulator


@pytest.fixture
def archived(admin: httpx.Client, project: dict[str, Any]) -> str:
    """An archived project that has a service account."""
    base = f"/organization/projects/{project['id']}"
    admin.post(f"{base}/service_accounts", json={"name": "indexer"})
    admin.post(f"{base}/archive")
    return base


def events(admin: httpx.Client, **params: Any) -> list[str]:
    answer = admin.get("/organization/audit_logs", params=params)
    answer.raise_for_status()
    return [entry["type"] for entry in answer.json()["data"]]


@pytest.mark.parametrize("child", ["", "/service_accounts", "/rate_limits", "/api_keys", "/users"])
def test_an_archived_project_can_be_read(admin: httpx.Client, archived: str, child: str) -> None:
    assert admin.get(archived + child).status_code == 200


@pytest.mark.parametrize(
    ("method", "child", "body"),
    [
        ("POST", "", {"name": "again"}),
        ("POST", "/archive", None),
        ("POST", "/service_accounts", {"name": "x"}),
        ("POST", "/service_accounts/{a}", {"name": "x"}),
        ("DELETE", "/service_accounts/{a}", None),
        ("POST", "/service_accounts/{a}/api_keys", {}),
        ("POST", "/rate_limits/rl-gpt-4.1", {"max_requests_per_1_minute": 1}),
        ("POST", "/users", {"role": "member", "email": "cleo@example.com"}),
        ("DELETE", "/api_keys/{k}", None),
    ],
    ids=str,
)
def test_nothing_in_an_archived_project_can_be_changed(
    admin: httpx.Client, archived: str, method: str, child: str, body: Any
) -> None:
    account = admin.get(f"{archived}/service_accounts").json()["data"][0]["id"]
    key = admin.get(f"{archived}/api_keys").json()["data"][0]["id"]
    path = archived + child.replace("{a}", account).replace("{k}", key)
    answer = admin.request(method, path, json=body)
    assert answer.status_code == 400
    assert "archived" in answer.json()["error"]["message"]


def test_archived_projects_are_listed_only_when_asked_for(
    admin: httpx.Client, archived: str
) -> None:
    def ids(**params: Any) -> list[str]:
        return [p["id"] for p in admin.get("/organization/projects", params=params).json()["data"]]

    id = archived.rpartition("/")[2]
    assert id not in ids()
    assert id in ids(include_archived="true")


def test_the_default_project_cannot_be_archived(emulator: Emulator, admin: httpx.Client) -> None:
    assert admin.post(f"/organization/projects/{emulator.project_id}/archive").status_code == 400


def test_two_projects_may_have_one_name(admin: httpx.Client) -> None:
    made = [
        admin.post("/organization/projects", json={"name": "Twin"}).json()["id"] for _ in range(2)
    ]
    assert made[0] != made[1]


def test_two_service_accounts_may_have_one_name(
    admin: httpx.Client, project: dict[str, Any]
) -> None:
    path = f"/organization/projects/{project['id']}/service_accounts"
    made = [admin.post(path, json={"name": "Twin"}).json()["id"] for _ in range(2)]
    assert [account["id"] for account in admin.get(path).json()["data"]] == made


@pytest.mark.parametrize(
    "path",
    [
        "/organization/projects/proj_x",
        "/organization/projects/proj_x/service_accounts",
        "/organization/projects/{p}/service_accounts/svc_acct_x",
        "/organization/projects/{p}/api_keys/key_x",
        "/organization/projects/{p}/users/user-x",
        "/organization/users/user-x",
    ],
)
def test_what_does_not_exist_is_not_found(
    admin: httpx.Client, project: dict[str, Any], path: str
) -> None:
    assert admin.get(path.replace("{p}", project["id"])).status_code == 404


def limits(admin: httpx.Client, project: dict[str, Any]) -> dict[str, dict[str, Any]]:
    rows = admin.get(f"/organization/projects/{project['id']}/rate_limits").json()["data"]
    return {row["model"]: row for row in rows}


def test_a_new_project_has_limits_for_many_models(
    admin: httpx.Client, project: dict[str, Any]
) -> None:
    rows = limits(admin, project)
    assert 40 <= len(rows) <= 100
    assert all(row["id"] == f"rl-{model}" for model, row in rows.items())


@pytest.mark.parametrize(
    ("field", "has", "has_not"),
    [
        ("max_images_per_1_minute", "gpt-image-2", "gpt-5.1"),
        ("max_audio_megabytes_per_1_minute", "whisper-1", "gpt-4.1"),
        ("max_requests_per_1_day", "gpt-4", "gpt-4.1"),
        ("batch_1_day_max_input_tokens", "gpt-4.1", "gpt-realtime"),
    ],
)
def test_a_row_has_only_the_fields_that_fit_its_model(
    admin: httpx.Client, project: dict[str, Any], field: str, has: str, has_not: str
) -> None:
    rows = limits(admin, project)
    assert field in rows[has]
    assert field not in rows[has_not]


def test_a_limit_of_one_project_is_not_that_of_another(
    emulator: Emulator, admin: httpx.Client, project: dict[str, Any]
) -> None:
    path = f"/organization/projects/{project['id']}/rate_limits/rl-gpt-4.1"
    assert admin.post(path, json={"max_requests_per_1_minute": 1}).status_code == 200
    assert limits(admin, project)["gpt-4.1"]["max_requests_per_1_minute"] == 1
    assert (
        limits(admin, {"id": emulator.project_id})["gpt-4.1"]["max_requests_per_1_minute"] == 10_000
    )


def test_the_limit_of_the_organization_itself_is_allowed(
    admin: httpx.Client, project: dict[str, Any]
) -> None:
    path = f"/organization/projects/{project['id']}/rate_limits/rl-gpt-4.1"
    assert admin.post(path, json={"max_requests_per_1_minute": 100_000}).status_code == 200


@pytest.mark.parametrize("id", ["rl-nothing", "gpt-4.1"])
def test_an_unknown_limit_is_not_found(
    admin: httpx.Client, project: dict[str, Any], id: str
) -> None:
    path = f"/organization/projects/{project['id']}/rate_limits/{id}"
    assert admin.post(path, json={"max_requests_per_1_minute": 1}).status_code == 404


def person(admin: httpx.Client, name: str) -> dict[str, Any]:
    answer = admin.get("/organization/users", params={"emails[]": f"{name}@example.com"})
    return answer.json()["data"][0]  # type: ignore[no-any-return]


def test_the_last_owner_stays_an_owner(admin: httpx.Client) -> None:
    ada, ben = person(admin, "ada")["id"], person(admin, "ben")["id"]
    assert admin.post(f"/organization/users/{ben}", json={"role": "reader"}).status_code == 200
    assert admin.post(f"/organization/users/{ada}", json={"role": "reader"}).status_code == 400
    assert admin.delete(f"/organization/users/{ada}").status_code == 400


def test_a_user_that_a_directory_manages_can_change_roles_and_cannot_be_removed(
    admin: httpx.Client,
) -> None:
    eli = person(admin, "eli")["id"]
    assert (
        admin.post(f"/organization/users/{eli}", json={"role": "owner"}).json()["role"] == "owner"
    )
    assert admin.delete(f"/organization/users/{eli}").status_code == 400


def test_a_removed_user_leaves_every_project(admin: httpx.Client, project: dict[str, Any]) -> None:
    members = f"/organization/projects/{project['id']}/users"
    cleo = admin.post(members, json={"role": "member", "email": "cleo@example.com"}).json()["id"]
    admin.delete(f"/organization/users/{cleo}")
    assert admin.get(members).json()["data"] == []


def test_a_member_cannot_be_added_twice(admin: httpx.Client, project: dict[str, Any]) -> None:
    members = f"/organization/projects/{project['id']}/users"
    answers = [
        admin.post(members, json={"role": "member", "email": "cleo@example.com"}) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [200, 400]
    assert "already exists in project" in answers[1].json()["error"]["message"]


def test_every_admin_write_is_logged_newest_first(
    admin: httpx.Client, project: dict[str, Any]
) -> None:
    base = f"/organization/projects/{project['id']}"
    account = admin.post(f"{base}/service_accounts", json={"name": "x"}).json()
    admin.post(f"{base}/service_accounts/{account['id']}", json={"role": "owner"})
    admin.post(f"{base}/rate_limits/rl-gpt-4.1", json={"max_requests_per_1_minute": 1})
    admin.delete(f"{base}/api_keys/{account['api_key']['id']}")
    admin.delete(f"{base}/service_accounts/{account['id']}")
    admin.post(base, json={"name": "New"})
    admin.post(f"{base}/archive")
    assert events(admin) == [
        "project.archived",
        "project.updated",
        "service_account.deleted",
        "api_key.deleted",
        "rate_limit.updated",
        "service_account.updated",
        "api_key.created",
        "service_account.created",
        "project.created",
    ]


def test_reads_and_refused_writes_are_not_logged(admin: httpx.Client) -> None:
    admin.get("/organization/projects")
    admin.post("/organization/projects", json={"name": ""})
    assert events(admin) == []


def test_an_entry_names_the_project_the_actor_and_the_change(
    admin: httpx.Client, project: dict[str, Any]
) -> None:
    path = f"/organization/projects/{project['id']}/rate_limits/rl-gpt-4.1"
    admin.post(path, json={"max_requests_per_1_minute": 7})
    entry = admin.get("/organization/audit_logs", params={"limit": 1}).json()["data"][0]
    assert entry["project"] == {"id": project["id"], "name": "Search"}
    assert entry["actor"]["api_key"]["user"]["email"] == "ada@example.com"
    assert entry["rate_limit.updated"] == {
        "id": "rl-gpt-4.1",
        "changes_requested": {"max_requests_per_1_minute": 7},
    }


def test_the_log_is_filtered_by_time(admin: httpx.Client, clock: Any) -> None:
    admin.post("/organization/projects", json={"name": "old"})
    clock.advance(100)
    admin.post("/organization/projects", json={"name": "new"})
    assert len(events(admin, **{"effective_at[gte]": 1_800_000_100})) == 1
    assert len(events(admin, **{"effective_at[lt]": 1_800_000_100})) == 1
    assert (
        len(
            events(admin, **{"effective_at[gt]": 1_799_999_999, "effective_at[lte]": 1_800_000_100})
        )
        == 2
    )


@pytest.mark.parametrize(
    ("name", "value", "count"),
    [
        ("project_ids[]", "{p}", 2),
        ("project_ids[]", "proj_other", 0),
        ("event_types[]", "rate_limit.updated", 1),
        ("resource_ids[]", "rl-gpt-4.1", 1),
        ("actor_emails[]", "ada@example.com", 2),
        ("actor_emails[]", "ben@example.com", 0),
        ("actor_ids[]", "user-nobody", 0),
        ("tenant_only", "true", 0),
    ],
)
def test_the_log_is_filtered(
    admin: httpx.Client, project: dict[str, Any], name: str, value: str, count: int
) -> None:
    path = f"/organization/projects/{project['id']}/rate_limits/rl-gpt-4.1"
    admin.post(path, json={"max_requests_per_1_minute": 7})
    assert len(events(admin, **{name: value.replace("{p}", project["id"])})) == count


def test_the_log_is_walked_back_in_pages(admin: httpx.Client) -> None:
    for number in range(3):
        admin.post("/organization/projects", json={"name": str(number)})
    first = admin.get("/organization/audit_logs", params={"limit": 2}).json()
    rest = admin.get("/organization/audit_logs", params={"after": first["last_id"]}).json()
    names = [entry["project"]["name"] for entry in first["data"] + rest["data"]]
    assert (names, first["has_more"], rest["has_more"]) == (["2", "1", "0"], True, False)
