"""Keys in files of the stack's folder, written by us or by a command."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FOREIGN = "the work of somebody else\n"


class FileBed:
    """Files below `secrets/`."""

    removes = True
    holds_owner = True
    env: Mapping[str, str] = {}

    def target(self, name: str) -> dict[str, Any]:
        return {"file": f"secrets/{name}.key"}

    def keys(self, folder: Path) -> Mapping[str, str]:
        return {
            path.stem: path.read_text().strip() for path in (folder / "secrets").glob("[!.]*.key")
        }

    def plant(self, name: str, folder: Path) -> None:
        path = folder / self.target(name)["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_FOREIGN)

    def planted(self, name: str, folder: Path) -> bool:
        return bool((folder / self.target(name)["file"]).read_text() == _FOREIGN)

    def save(self) -> Any:
        return None

    def restore(self, saved: Any) -> None:
        """Nothing is outside of the folder."""

    def close(self) -> None:
        """Nothing was started."""


class CommandBed(FileBed):
    """Files that a command writes."""

    removes = False
    holds_owner = False

    def target(self, name: str) -> dict[str, Any]:
        script = 'key="$(cat)" && [ "$key" ] && mkdir -p stored && printf %s "$key" > "stored/$0"'
        return {"command": [shutil.which("sh") or "sh", "-c", script, name]}

    def keys(self, folder: Path) -> Mapping[str, str]:
        return {path.name: path.read_text() for path in (folder / "stored").glob("*")}
