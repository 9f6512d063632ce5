"""Keys in OpenBao, which speaks Vault's API."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.servers.openbao import ROOT_TOKEN, call, openbao_address

_FOREIGN = {"password": "the work of somebody else"}


class VaultBed:
    """Secrets below `secret/keys/`."""

    removes = True
    holds_owner = True

    def __init__(self) -> None:
        self.env: Mapping[str, str] = {"VAULT_ADDR": openbao_address(), "VAULT_TOKEN": ROOT_TOKEN}
        self.restore(None)

    def target(self, name: str) -> dict[str, Any]:
        return {"vault": {"path": f"secret/keys/{name}"}}

    def keys(self, folder: Path) -> Mapping[str, str]:
        return {name: data["value"] for name, (data, _) in self.save().items() if "value" in data}

    def plant(self, name: str, folder: Path) -> None:
        call("POST", f"secret/data/keys/{name}", {"data": _FOREIGN})

    def planted(self, name: str, folder: Path) -> bool:
        return bool(self.save()[name][0] == _FOREIGN)

    def save(self) -> Any:
        saved = {}
        for name in self._names():
            metadata = call("GET", f"secret/metadata/keys/{name}").json()["data"]
            answer = call("GET", f"secret/data/keys/{name}").json()
            data = (answer.get("data") or {}).get("data") or {}
            saved[name] = (data, metadata["custom_metadata"])
        return saved

    def restore(self, saved: Any) -> None:
        for name in self._names():
            call("DELETE", f"secret/metadata/keys/{name}")
        for name, (data, custom) in (saved or {}).items():
            call("POST", f"secret/metadata/keys/{name}", {"custom_metadata": custom or {}})
            call("POST", f"secret/data/keys/{name}", {"data": data})

    def close(self) -> None:
        """The server is shared; nothing is left in it."""
        self.restore(None)

    def _names(self) -> list[str]:
        answer = call("LIST", "secret/metadata/keys")
        return answer.json()["data"]["keys"] if answer.status_code == 200 else []
