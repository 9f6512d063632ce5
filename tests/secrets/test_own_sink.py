"""The sink of the documentation, installed as a package of somebody else and used by the command line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from reconciler.emulator import Emulator
from tests.servers.fake_http import FakeAnswer, FakeRequest, FakeServer

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "sinks.md"
STACK = "kind: Stack\nmetadata: {name: shop}\nspec: {manifests: [m/]}\n"
MANIFEST = """\
kind: Project
metadata: {name: main}
spec: {name: Main}
---
kind: ServiceAccount
metadata: {name: bot, project: main}
spec: {key: {write_to: {pigeonhole: {hole: HOLE}}}}
"""


class Pigeonholes(FakeServer):
    """Holes with conditional writes."""

    def __init__(self) -> None:
        super().__init__()
        self.holes: dict[str, dict[str, Any]] = {}
        self._tags = count(1)

    def answer(self, request: FakeRequest) -> FakeAnswer:
        name = request.parts[-1]
        held = self.holes.get(name)
        if request.method == "PUT":
            if request.headers.get("if-match") != (held["tag"] if held else "none"):
                return FakeAnswer(412)
            self.holes[name] = {**request.body, "tag": str(next(self._tags))}
        elif held is None:
            return FakeAnswer(404)
        elif request.method == "DELETE":
            return FakeAnswer(200, self.holes.pop(name))
        return FakeAnswer(200, self.holes[name])


@dataclass
class Installed:
    """A stack beside which the package with the sink is installed."""

    folder: Path
    server: Pigeonholes
    emulator: Emulator

    def run(self, *arguments: str, hole: str = "seven") -> subprocess.CompletedProcess[str]:
        manifests = self.folder / "m"
        manifests.mkdir(exist_ok=True)
        (self.folder / "reconciler.yaml").write_text(STACK)
        (manifests / "all.yaml").write_text(MANIFEST.replace("HOLE", hole))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")},
            "PYTHONPATH": str(self.folder / "packages"),
            "PIGEONHOLE_URL": self.server.address,
            "OPENAI_BASE_URL": self.emulator.base_url,
            "OPENAI_ADMIN_KEY": self.emulator.admin_key,
            "RECONCILER_SETTLE_SECONDS": "0.1",
        }
        return subprocess.run(
            [sys.executable, "-m", "reconciler", "-C", str(self.folder), *arguments],
            cwd=Path(__file__).parents[2],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installed]:
    (code,) = re.findall(r"^```python sink\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    packages = tmp_path / "packages"
    metadata = packages / "acme_sinks-1.0.dist-info"
    metadata.mkdir(parents=True)
    (packages / "acme_sinks.py").write_text(code)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-sinks\nVersion: 1.0\n")
    points = "[reconciler.sinks]\npigeonhole = acme_sinks:PigeonholeSink\n"
    (metadata / "entry_points.txt").write_text(f"{points}vault = acme_sinks:PigeonholeSink\n")
    with Pigeonholes() as server, Emulator() as emulator:
        yield Installed(tmp_path, server, emulator)


def test_a_sink_of_a_user_delivers_moves_and_removes_keys(installed: Installed) -> None:
    done = installed.run("apply", "--yes")
    assert done.returncode == 0, done.stderr
    key = installed.server.holes["seven"]["value"]
    store = installed.emulator.store
    assert store.key_record(key) is not None
    assert installed.server.holes["seven"]["owner"] == "shop/default/ServiceAccount/main/bot"
    assert key not in done.stdout + done.stderr

    moved = installed.run("apply", "--yes", hole="eight")
    assert moved.returncode == 0, moved.stderr
    # The old key works until it is unused.
    keys = {name: hole["value"] for name, hole in installed.server.holes.items()}
    assert sorted(keys) == ["eight", "seven"]
    assert keys["seven"] != keys["eight"]
    assert all(store.key_record(value) is not None for value in keys.values())

    gone = installed.run("destroy", "--yes", hole="eight")
    assert gone.returncode == 0, gone.stderr
    assert installed.server.holes == {}


def test_a_sink_of_a_user_is_part_of_validation_and_explain(installed: Installed) -> None:
    told = installed.run("explain", "ServiceAccount.key.write_to")
    assert "A hole of the pigeonhole server at PIGEONHOLE_URL." in told.stdout
    refused = installed.run("validate", hole='"n o"')
    assert '"n o" is no hole: use letters and digits.' in refused.stderr
    bounded = installed.run("validate", "--allow-sinks", "pigeonhole:e*")
    assert 'No key may be delivered to "pigeonhole:seven"' in bounded.stderr


def test_a_sink_of_a_user_cannot_take_the_name_of_one_of_ours(installed: Installed) -> None:
    told = installed.run("explain", "ServiceAccount.key.write_to")
    assert "(version 2) of HashiCorp Vault or OpenBao" in told.stdout


def test_a_foreign_secret_is_refused_during_the_plan(installed: Installed) -> None:
    installed.server.holes["seven"] = {"owner": "somebody", "tag": "x", "value": "theirs"}
    planned = installed.run("plan")
    assert planned.returncode == 1
    assert "The hole is not ours. Choose another hole." in planned.stderr
    assert installed.server.holes["seven"]["value"] == "theirs"
