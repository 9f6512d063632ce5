"""CI/CD variables of GitLab, in a fake."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.servers.fake_gitlab import TOKEN, FakeGitlab

_WHERE = "projects/acme/search"
_FOREIGN = "the work of somebody else"


class GitlabBed:
    """Variables of the project `acme/search`."""

    removes = True
    holds_owner = True

    def __init__(self) -> None:
        self.server = FakeGitlab().start()
        self.env: Mapping[str, str] = {"CI_API_V4_URL": self.server.address, "GITLAB_TOKEN": TOKEN}

    def target(self, name: str) -> dict[str, Any]:
        return {"gitlab_variable": {"project": "acme/search", "name": f"KEY_{name}"}}

    def keys(self, folder: Path) -> Mapping[str, str]:
        variables = self.server.variables[_WHERE]
        return {variable["key"].removeprefix("KEY_"): variable["value"] for variable in variables}

    def plant(self, name: str, folder: Path) -> None:
        self.set(name, _FOREIGN)

    def set(self, name: str, value: str) -> None:
        """Have a value of somebody else."""
        variables = self.server.variables[_WHERE]
        variables[:] = [variable for variable in variables if variable["key"] != f"KEY_{name}"]
        variables.append(
            {
                "key": f"KEY_{name}",
                "value": value,
                "description": None,
                "masked": False,
                "protected": False,
                "raw": False,
                "hidden": False,
                "environment_scope": "*",
            }
        )

    def planted(self, name: str, folder: Path) -> bool:
        return bool(self.keys(folder)[name] == _FOREIGN)

    def save(self) -> Any:
        return copy.deepcopy(self.server.variables)

    def restore(self, saved: Any) -> None:
        empty: dict[str, list[dict[str, Any]]] = {"projects/acme/search": [], "groups/acme": []}
        self.server.variables = copy.deepcopy(saved or empty)

    def close(self) -> None:
        self.server.stop()
