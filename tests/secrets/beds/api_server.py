"""Secrets of Kubernetes, on a real API server, by an account that may do no more than the sink needs."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.servers.kube import running_cluster

LEAST_PRIVILEGE = {
    "apiGroups": [""],
    "resources": ["secrets"],
    "verbs": ["get", "create", "patch", "delete"],
}
"""The rule that docs/sinks.md asks for."""

_FOREIGN = "the work of somebody else"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"


class ApiServerBed:
    """Keys of the Secret `openai` in a namespace of its own, so that several owners share a Secret."""

    removes = True
    holds_owner = True

    def __init__(self) -> None:
        self.cluster = running_cluster()
        self.namespace = self.cluster.create_namespace("keys")
        token = self.cluster.create_account(self.namespace, "reconciler", [LEAST_PRIVILEGE])
        self.env: Mapping[str, str] = {"KUBECONFIG": str(self.cluster.kubeconfig(token))}

    @property
    def secrets(self) -> str:
        """The path of the Secrets of the namespace."""
        return f"/api/v1/namespaces/{self.namespace}/secrets"

    def target(self, name: str) -> dict[str, Any]:
        return {"kubernetes": {"namespace": self.namespace, "secret": "openai", "key": name}}

    def keys(self, folder: Path) -> Mapping[str, str]:
        secret = self.save()
        return {} if secret is None else _values(secret)

    def plant(self, name: str, folder: Path) -> None:
        self.set(name, _FOREIGN)

    def set(self, name: str, value: str) -> None:
        """Have a value of somebody else."""
        self._write(_MERGE, {name: value}, "kubectl-edit")

    def planted(self, name: str, folder: Path) -> bool:
        return self.keys(folder)[name] == _FOREIGN

    def save(self) -> Any:
        answer = self.cluster.call("GET", f"{self.secrets}/openai")
        return None if answer.status_code == 404 else answer.raise_for_status().json()

    def restore(self, saved: Any) -> None:
        """Have each manager write its part again: that is how managers come by fields."""
        answer = self.cluster.call("DELETE", f"{self.secrets}/openai")
        assert answer.status_code in (200, 404), answer.text
        if saved is None:
            return
        values = _values(saved)
        for manager, content_type, keys in _parts(saved):
            self._write(content_type, {key: values[key] for key in keys}, manager)

    def close(self) -> None:
        """The server is shared, and a namespace cannot be deleted there; its Secret can."""
        self.restore(None)

    def _write(self, content_type: str, values: Mapping[str, str], manager: str) -> None:
        data = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
        metadata = {"name": "openai", "namespace": self.namespace}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
        parameters = {"fieldManager": manager}
        headers = {"Content-Type": content_type}
        path = f"{self.secrets}/openai"
        answer = self.cluster.call("PATCH", path, body, params=parameters, headers=headers)
        if answer.status_code == 404:
            answer = self.cluster.call("POST", self.secrets, body, params=parameters)
        assert answer.is_success, answer.text


def _values(secret: Mapping[str, Any]) -> dict[str, str]:
    data = secret.get("data") or {}
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def _parts(secret: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """What each manager of a Secret wrote, and how."""
    for entry in secret["metadata"]["managedFields"]:
        owned = entry["fieldsV1"].get("f:data") or {}
        keys = [name.removeprefix("f:") for name in owned if name.startswith("f:")]
        yield entry["manager"], _APPLY if entry["operation"] == "Apply" else _MERGE, keys
