"""Secrets of Kubernetes, in a fake with the rules of server-side apply."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.servers.fake_kubernetes import TOKEN, FakeKubernetes

_FOREIGN = "the work of somebody else"


def kubeconfig(server: str, user: Mapping[str, Any], **cluster: Any) -> str:
    """A kubeconfig with one context."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tests",
        "contexts": [{"name": "tests", "context": {"cluster": "fake", "user": "tester"}}],
        "clusters": [{"name": "fake", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "tester", "user": dict(user)}],
    }
    return json.dumps(config)


class KubernetesBed:
    """Keys of the Secret `openai` in the namespace `search`, so that several owners share a Secret."""

    removes = True
    holds_owner = True

    def __init__(self) -> None:
        self.server = FakeKubernetes().start()
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "kubeconfig"
        path.write_text(kubeconfig(self.server.address, {"token": TOKEN}))
        self.env: Mapping[str, str] = {"KUBECONFIG": str(path)}

    def target(self, name: str) -> dict[str, Any]:
        return {"kubernetes": {"namespace": "search", "secret": "openai", "key": name}}

    def keys(self, folder: Path) -> Mapping[str, str]:
        secret = self.server.secrets.get(("search", "openai"))
        return {} if secret is None else secret.data

    def plant(self, name: str, folder: Path) -> None:
        self.set(name, _FOREIGN)

    def set(self, name: str, value: str) -> None:
        """Have a value of somebody else."""
        self.server.update("search", "openai", name, value, manager="kubectl-edit")

    def planted(self, name: str, folder: Path) -> bool:
        return bool(self.keys(folder)[name] == _FOREIGN)

    def save(self) -> Any:
        return copy.deepcopy(self.server.secrets)

    def restore(self, saved: Any) -> None:
        self.server.secrets = copy.deepcopy(saved or {})

    def close(self) -> None:
        self.server.stop()
        self._folder.cleanup()
