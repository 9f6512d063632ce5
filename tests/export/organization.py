"""An organization that people made by hand over years, through the emulator's own API."""

from __future__ import annotations

from typing import Any

import httpx

from reconciler.emulator import Emulator

INSTRUCTIONS = "\n".join(
    [
        "# Support",
        "",
        "You are the support agent.",
        "- Be polite: always.",
        "- Quote ${ORDER}.",
        "Ok",
    ]
)


class Api:
    """Calls to the emulator, as a person with a script would make them."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.ids: dict[str, str] = {}

    def admin(self, method: str, path: str, **body: Any) -> Any:
        """A call with the admin key."""
        return self._call(self.emulator.admin_key, method, path, body)

    def data(self, method: str, path: str, beta: str = "", **body: Any) -> Any:
        """A call with the key of the default project."""
        headers = {"OpenAI-Beta": beta} if beta else {}
        return self._call(self.emulator.api_key, method, path, body, headers)

    def upload(self, name: str, content: bytes, purpose: str = "assistants") -> str:
        """Upload a file; its id."""
        answer = httpx.post(
            f"{self.emulator.base_url}/files",
            headers={"Authorization": f"Bearer {self.emulator.api_key}"},
            data={"purpose": purpose},
            files={"file": (name, content)},
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def _call(
        self, key: str, method: str, path: str, body: Any, headers: dict[str, str] | None = None
    ) -> Any:
        answer = httpx.request(
            method,
            f"{self.emulator.base_url}{path}",
            headers={"Authorization": f"Bearer {key}", **(headers or {})},
            json=body or None,
        )
        assert answer.status_code < 300, f"{method} {path}: {answer.text}"
        return answer.json()


def made_by_hand(emulator: Emulator) -> Api:
    """Fill the emulator; `ids` has the ids by a short name."""
    api = Api(emulator)
    _organization(api)
    _default_project(api)
    return api


def _organization(api: Api) -> None:
    ids = api.ids
    projects = "/organization/projects"
    for key, name in (
        ("search", "Search"),
        ("search2", "search"),
        ("umlaut", "Größe & Maß"),
        ("japan", "日本"),
        ("old", "Old things"),
    ):
        ids[key] = api.admin("POST", projects, name=name)["id"]
    api.admin("POST", f"{projects}/{ids['old']}/archive")
    users = {user["email"]: user["id"] for user in api.admin("GET", "/organization/users")["data"]}
    ids |= {email.partition("@")[0]: id for email, id in users.items()}
    search = f"{projects}/{ids['search']}"
    limits = {row["model"]: row["id"] for row in api.admin("GET", f"{search}/rate_limits")["data"]}
    api.admin("POST", f"{search}/rate_limits/{limits['gpt-4.1']}", max_requests_per_1_minute=77)
    for name in ("indexer", "Indexer", "bot"):
        made = api.admin("POST", f"{search}/service_accounts", name=name)
        ids[f"account {name}"] = made["id"]
    for person, role in (("cleo", "member"), ("dev", "owner")):
        api.admin("POST", f"{search}/users", user_id=ids[person], role=role)
    api.admin("POST", f"{search}/spend_alerts", threshold_amount=100_000, currency="USD",
              interval="month",
              notification_channel={"type": "email", "recipients": ["ops@example.com"]})  # fmt: skip
    api.admin("POST", f"{search}/model_permissions", mode="allow_list", model_ids=["gpt-4.1"])
    ids["support"] = api.admin("POST", "/organization/groups", name="Support")["id"]
    members = f"/organization/groups/{ids['support']}/users"
    for person in ("cleo", "dev"):
        api.admin("POST", members, user_id=ids[person])
    ids["reader"] = api.admin(
        "POST", "/organization/roles", role_name="Group reader", permissions=["api.groups.read"]
    )["id"]
    api.admin("POST", f"/organization/groups/{ids['support']}/roles", role_id=ids["reader"])
    api.admin("POST", f"/organization/users/{ids['ben']}/roles", role_id=ids["reader"])
    ids["invite"] = api.admin(
        "POST", "/organization/invites", email="fay@example.com", role="reader",
        projects=[{"id": ids["search"], "role": "member"}],
    )["id"]  # fmt: skip


def _default_project(api: Api) -> None:
    ids = api.ids
    assistants = "assistants=v2"
    files = [api.upload(f"notes-{n}.md", f"# {n}\n".encode()) for n in range(3)]
    ids["file"] = files[0]
    ids["store"] = api.data("POST", "/vector_stores", assistants, name="Handbook",
                            file_ids=files[:2], metadata={"team": "cx"})["id"]  # fmt: skip
    ids["assistant"] = api.data(
        "POST", "/assistants", assistants, model="gpt-4.1", name="Support bot",
        instructions=INSTRUCTIONS, temperature=0.3,
        tools=[{"type": "file_search"}, {"type": "code_interpreter"}],
        tool_resources={"file_search": {"vector_store_ids": [ids["store"]]},
                        "code_interpreter": {"file_ids": [files[2]]}},
    )["id"]  # fmt: skip
    for _ in range(2):
        api.data("POST", "/assistants", assistants, model="gpt-4.1", name="Twin")
    ids["agent"] = api.data(
        "POST", "/agents", "agents=v1", model="gpt-5.1", name="Helper: täglich",
        instructions="Yes", metadata={"handbook": ids["store"], "on": "no"},
    )["id"]  # fmt: skip
