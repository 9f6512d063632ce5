"""Secrets of GitHub Actions, in a fake."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.servers.fake_github import TOKEN, FakeGithub

_FOLDER = "repos/acme/search/actions/secrets"
_FOREIGN = "the work of somebody else"


class GithubBed:
    """Secrets of the repository `acme/search`."""

    removes = True
    holds_owner = False

    def __init__(self) -> None:
        self.server = FakeGithub().start()
        self.env: Mapping[str, str] = {
            "GITHUB_API_URL": self.server.address,
            "GITHUB_TOKEN": TOKEN,
        }

    def target(self, name: str) -> dict[str, Any]:
        return {"github_actions": {"repository": "acme/search", "name": f"KEY_{name}".upper()}}

    def keys(self, folder: Path) -> Mapping[str, str]:
        secrets = self.server.folders[_FOLDER].secrets
        return {
            name.removeprefix("KEY_").lower(): secret["value"] for name, secret in secrets.items()
        }

    def plant(self, name: str, folder: Path) -> None:
        self.server.write(_FOLDER, f"KEY_{name}".upper(), _FOREIGN)

    def planted(self, name: str, folder: Path) -> bool:
        return bool(self.keys(folder)[name] == _FOREIGN)

    def save(self) -> Any:
        return copy.deepcopy(self.server.folders[_FOLDER].secrets)

    def restore(self, saved: Any) -> None:
        self.server.folders[_FOLDER].secrets = copy.deepcopy(saved or {})

    def close(self) -> None:
        self.server.stop()
