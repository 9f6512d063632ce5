"""A stack in a temporary folder, which is the current folder, so that messages name files as a user types them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import ConfigurationError
from reconciler.kinds import KINDS
from reconciler.manifests import Configuration, Settings, Stack, load_configuration, load_stack

PROJECT = "kind: Project\nmetadata: {name: search}\nspec: {name: Search}\n"


@dataclass
class Folder:
    """Files of a stack, and what loading them gives."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)

    def write(self, files: Mapping[str, str]) -> Folder:
        """Write files, dedented; their folders are made."""
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        return self

    def settings(self, **more: Any) -> Settings:
        return Settings(**{"root": Path(), "env": self.env, **more})

    def load(self, **more: Any) -> Configuration:
        return load_configuration(self.settings(**more), KINDS)

    def load_stack(self, **more: Any) -> Stack:
        return load_stack(self.settings(**more))

    def problems(self, **more: Any) -> list[str]:
        """Every diagnostic of a configuration that must be refused, as text."""
        with pytest.raises(ConfigurationError) as caught:
            self.load(**more)
        return [str(diagnostic) for diagnostic in caught.value.diagnostics]

    def warnings(self, **more: Any) -> list[str]:
        return [str(diagnostic) for diagnostic in self.load(**more).warnings]

    def spec(self, address: str, **more: Any) -> Any:
        """The resolved spec of one resource."""
        return next(one.spec for one in self.load(**more).resources if str(one.address) == address)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    root = tmp_path / "shop"
    root.mkdir()
    monkeypatch.chdir(root)
    return Folder(root)
