"""An organization that Terraform has made, and its objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import Workspace


class Organization:
    """Makes objects through the API, as a provider of Terraform would."""

    def __init__(self, workspace: Workspace, http: httpx.Client) -> None:
        self.workspace = workspace
        self._http = http

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """Create or change an object; the answer."""
        answer = self._http.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()  # type: ignore[no-any-return]

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Read an object or a list."""
        answer = self._http.get(path, params=query)
        assert answer.is_success, answer.text
        return answer.json()  # type: ignore[no-any-return]

    def project(self, name: str) -> str:
        """A new project; its id."""
        return str(self.post("/organization/projects", name=name)["id"])

    def account(self, project: str, name: str) -> dict[str, Any]:
        """A new service account with a key; the answer that shows the key."""
        return self.post(f"/organization/projects/{project}/service_accounts", name=name)

    def limits(self, project: str, model: str) -> dict[str, Any]:
        """The rate limits of a model."""
        rows = self.get(f"/organization/projects/{project}/rate_limits", limit="1000")["data"]
        return next(row for row in rows if row["model"] == model)  # type: ignore[no-any-return]

    def user(self, name: str) -> dict[str, Any]:
        """A member of the organization."""
        users = self.get("/organization/users", **{"emails[]": f"{name}@example.com"})
        return users["data"][0]  # type: ignore[no-any-return]

    def writes(self) -> list[str]:
        """The calls that changed something, with their paths."""
        return [
            f"{request.method} {request.path}"
            for request in self.workspace.emulator.requests
            if request.method != "GET"
        ]


@pytest.fixture
def organization(workspace: Workspace) -> Iterator[Organization]:
    """The organization of the workspace's emulator."""
    emulator = workspace.emulator
    headers = {"Authorization": f"Bearer {emulator.admin_key}"}
    # No request is encrypted, so the time it takes to load certificates is saved.
    with httpx.Client(base_url=emulator.base_url, headers=headers, verify=False) as client:
        yield Organization(workspace, client)
