"""A stack with every kind, and changes by other people between two commands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.conftest import Finished, Workspace

STACK = """\
kind: Stack
metadata: {name: acme}
spec: {manifests: [m/]}
"""

MANIFESTS = {
    "Project/search": "{name: Search}",
    "RateLimit/search/main": "{model: gpt-4.1, max_requests_per_1_minute: 300}",
    "ServiceAccount/search/ci": "{name: ci, role: member}",
    "VectorStore/docs": "{name: Docs}",
    "Assistant/bot": "{name: Bot, model: gpt-4o, instructions: Be kind.}",
    "Assistant/quiet": "{name: Quiet, model: gpt-4o, instructions: Say little.}",
    "Agent/helper": "{name: Helper, model: gpt-5.1, instructions: Help.}",
    "File/notes": "{path: notes.txt, purpose: assistants}",
}
"""Every kind once, by address, and one assistant more that nobody touches."""

COLLECTIONS = {
    "Project": "/organization/projects",
    "RateLimit": "/organization/projects/{project}/rate_limits",
    "ServiceAccount": "/organization/projects/{project}/service_accounts",
    "VectorStore": "/vector_stores",
    "Assistant": "/assistants",
    "Agent": "/agents",
    "File": "/files",
}


def manifest(address: str, spec: str, lifecycle: str = "") -> str:
    """One document."""
    kind, *project, name = address.split("/")
    metadata = f"{{name: {name}{f', project: {project[0]}' if project else ''}}}"
    return f"kind: {kind}\nmetadata: {metadata}\nspec: {spec}\n" + (
        f"lifecycle: {lifecycle}\n" if lifecycle else ""
    )


def write(
    workspace: Workspace, specs: Mapping[str, str], lifecycle: str = "", **more: str
) -> Workspace:
    """Make the manifests of a stack these, and no others."""
    for path in (workspace.folder / "m").glob("*.yaml"):
        path.unlink()
    files = {
        f"m/{address.replace('/', '-')}.yaml": manifest(address, spec, lifecycle)
        for address, spec in specs.items()
    }
    return workspace.write({"reconciler.yaml": STACK, "notes.txt": "one", **files, **more})


@dataclass
class Platform:
    """Somebody else's hands at the API."""

    workspace: Workspace

    def call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """One call, with the key that the path needs; anything but success is a mistake of the test."""
        emulator = self.workspace.emulator
        key = emulator.admin_key if path.startswith("/organization") else emulator.api_key
        beta = "agents=v1" if path.startswith("/agents") else "assistants=v2"
        headers = {"Authorization": f"Bearer {key}", "OpenAI-Beta": beta}
        answer = httpx.request(
            method, emulator.base_url + path, headers=headers, timeout=10, **options
        )
        assert answer.is_success, f"{method} {path}: {answer.text}"
        return dict(answer.json())

    def collection(self, kind: str, project: str = "Search") -> str:
        """The path of a kind's objects."""
        found = COLLECTIONS[kind]
        return found.format(project=self.project(project)) if "{" in found else found

    def project(self, name: str) -> str:
        """The id of a project."""
        return next(item["id"] for item in self.all("Project") if item["name"] == name)

    def all(self, kind: str) -> list[dict[str, Any]]:
        """The objects of a kind."""
        query = {"limit": 100, **({"include_archived": "true"} if kind == "Project" else {})}
        return list(self.call("GET", self.collection(kind), params=query)["data"])

    def change(self, kind: str, id: str, **fields: Any) -> None:
        """Change an object behind the program's back."""
        self.call("POST", f"{self.collection(kind)}/{id}", json=fields)

    def make(self, kind: str, **fields: Any) -> str:
        """Make an object behind the program's back; its id."""
        return str(self.call("POST", self.collection(kind), json=fields)["id"])

    def upload(self, name: str, content: str) -> str:
        """Upload a file behind the program's back; its id."""
        return str(
            self.call(
                "POST",
                "/files",
                data={"purpose": "assistants"},
                files={"file": (name, content.encode())},
            )["id"]
        )

    def ids(self) -> dict[str, str]:
        """What the state binds each address to."""
        found = json.loads(self.workspace.run("state", "list", "--format", "json", expect=0).out)
        return {item["address"]: item["id"] for item in found}


def outcomes(finished: Finished) -> dict[str, dict[str, Any]]:
    """The outcome of each address, from the JSON of an apply."""
    return {item["address"]: item for item in json.loads(finished.out)["reconciler"]["outcomes"]}
