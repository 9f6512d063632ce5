"""A large organization that people made by hand over years, from a seed: no two seeds are alike.

Names are Unicode, doubled, or look like YAML. Projects are archived, users have left, invitations
are in every state, roles are named in both spellings, and stores hold files that are gone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from reconciler.emulator import Emulator
from tests.export.organization import Api

NAMES = (
    "Search", "search", "SEARCH", "Größe & Maß", "日本 検索", "مشروع", "🚀 Launch", "yes", "null", "0x1F",
    "1.50", "- dash", "a: b", "a #b", "'quoted'", '"double"', "trailing ", " leading", "tab\there",
    "über/slash", "..", "con", "x" * 200, "${not.an.expression}", "$${dollar}", "{brace}", "[list]",
    "@at", "%percent", "*star", "&and", "!bang", "Ünïcödé", "Ǆ", "ﬁ ligature", "e\u0301 combining",
)  # fmt: skip
"""Names that are alike after folding, empty as slugs, or of a meaning in YAML."""
TEXTS = (
    "Be brief.", "Yes", "line\nline\n", "  indented\n    more\n", "tabs\tand `code`", "trailing  \nspaces",
    "# heading\n\n- a\n- b\n\n---\nnot a document\n", "${ORDER} costs $5 and ${{ x }}", "ends without newline\nhere",
    "\u2028separator", "emoji 🙈\n" * 3, "quote \" and ' and \\ back", "long " * 300,
)  # fmt: skip
BETA = "assistants=v2"


class OldOrganization:
    """Makes the organization, step by step."""

    def __init__(self, emulator: Emulator, seed: int, *, files: int = 2_000) -> None:
        self.api = Api(emulator)
        self._emulator = emulator
        self._chance = random.Random(seed)
        self._files = files
        self.projects: list[str] = []

    def make(self) -> Api:
        """Make all of it."""
        self._emulator.state.seed({"files": self._files, "users_per_project": 25})
        self._make_projects()
        self._make_people()
        self._make_groups()
        for project in self.projects:
            self._fill(project)
        self._make_data()
        self._archive()
        return self.api

    def _pick(self, choices: Sequence[Any], most: int) -> list[Any]:
        return self._chance.sample(list(choices), k=self._chance.randint(1, most))

    def _make_projects(self) -> None:
        names = [*self._pick(NAMES, 12), "Search", "search", "Search"]
        for name in names:
            made = self.api.admin("POST", "/organization/projects", name=name)
            self.projects.append(made["id"])

    def _make_people(self) -> None:
        for number, status in enumerate(("pending", "accepted", "expired", "pending", "expired")):
            email = f"guest-{number}@example.com"
            if status == "pending" and number:
                email = f"Übung.{number}@Example.com"
            self.api.admin("POST", "/organization/invites", email=email, role="reader")
            invite = list(self._emulator.store.all("invite"))[-1]
            invite.body["status"] = status
        self.users = [user["id"] for user in self._listed("/organization/users")]

    def _make_groups(self) -> None:
        self.roles = []
        for name in ("Auditor", "auditor", "Größe"):
            made = self.api.admin(
                "POST", "/organization/roles", role_name=name, permissions=["api.groups.read"]
            )
            self.roles.append(made["id"])
        predefined = [role["id"] for role in self._listed("/organization/roles")]
        for name in ("Support", "support", "日本"):
            group = self.api.admin("POST", "/organization/groups", name=name)["id"]
            path = f"/organization/groups/{group}"
            for user in self._pick(self.users[1:], 4):
                self.api.admin("POST", f"{path}/users", user_id=user)
            for role in {*self._pick(self.roles, 2), predefined[-1]}:
                self.api.admin("POST", f"{path}/roles", role_id=role)
        for user in self._pick(self.users[1:], 3):
            self.api.admin("POST", f"/organization/users/{user}/roles", role_id=self.roles[0])

    def _fill(self, project: str) -> None:
        path = f"/organization/projects/{project}"
        for name in self._pick(NAMES, 4):
            self.api.admin("POST", f"{path}/service_accounts", name=name)
        for user in self._pick(self.users[1:10], 4):
            role = self._chance.choice(("member", "owner"))
            self.api.admin("POST", f"{path}/users", user_id=user, role=role)
        rows = self._listed(f"{path}/rate_limits")
        for row in self._pick(rows, 3):
            limit = {"max_requests_per_1_minute": self._chance.randint(1, 50)}
            self.api.admin("POST", f"{path}/rate_limits/{row['id']}", **limit)
        # People leave, and their memberships with them.
        if self._chance.random() < 0.3 and len(self.users) > 12:
            self.api.admin("DELETE", f"/organization/users/{self.users.pop()}")

    def _make_data(self) -> None:
        uploads = [self.api.upload(f"notes/{n} ü.md", f"# {n}\n".encode()) for n in range(8)]
        stores = []
        for name in [*self._pick(NAMES, 8), "Handbook", "Handbook"]:
            files = self._pick(uploads, 5)
            made = self.api.data("POST", "/vector_stores", BETA, name=name, file_ids=files)
            stores.append(made["id"])
        self.api.data("DELETE", f"/files/{uploads[0]}")  # stores still list it
        expired = list(self._emulator.store.all("vector_store"))[-1]
        expired.body["status"] = "expired"
        for name in [*self._pick(NAMES, 8), "Twin", "Twin"]:
            self._make_assistant(name, stores[:-1], uploads[1:])
        for name in [*self._pick(NAMES, 8), "Helper", "Helper"]:
            self._make_agent(name, stores[0])

    def _make_assistant(self, name: str, stores: list[str], files: list[str]) -> None:
        body: dict[str, Any] = {"model": "gpt-5.4", "name": name}
        body["instructions"] = self._chance.choice(TEXTS)
        if self._chance.random() < 0.5:
            body["tools"] = [{"type": "file_search"}, {"type": "code_interpreter"}]
            body["tool_resources"] = {
                "file_search": {"vector_store_ids": [self._chance.choice(stores)]},
                "code_interpreter": {"file_ids": self._pick(files, 2)},
            }
        if self._chance.random() < 0.5:
            body["metadata"] = {"owner": self._chance.choice(NAMES), "on": "no"}
        self.api.data("POST", "/assistants", BETA, **body)

    def _make_agent(self, name: str, store: str) -> None:
        made = self.api.data("POST", "/agents", "agents=v1", model="gpt-5.4", name=name)
        for text in self._pick(TEXTS, 3):  # edited again and again
            body = {"instructions": text, "metadata": {"store": store}}
            self.api.data("POST", f"/agents/{made['id']}", "agents=v1", **body)

    def _archive(self) -> None:
        for project in self.projects[:3]:
            self.api.admin("POST", f"/organization/projects/{project}/archive")

    def _listed(self, path: str) -> list[dict[str, Any]]:
        return list(self.api.admin("GET", f"{path}?limit=100")["data"])
