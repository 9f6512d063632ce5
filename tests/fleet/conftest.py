"""Fixtures of fleets: small stacks against one emulator, and stacks in two organizations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.emulator import Emulator
from tests.conftest import Finished, Workspace
from tests.fleet.beds import FleetBed
from tests.fleet.organizations import Organizations
from tests.fleet.stack_files import stack_file
from tests.servers.postgres import Database

TWO_ENVIRONMENTS = "  environments: {dev: {}, prod: {}}\n"


def stack(name: str, spec: str = "") -> str:
    """The text of a stack file; `spec` are lines indented by two."""
    return stack_file(name, manifests="m.yaml", spec=spec)


def group(name: str, address: str = "team") -> str:
    """A manifest with one object, whose name no other stack uses."""
    return f"kind: Group\nmetadata: {{name: {address}}}\nspec: {{name: {name}}}\n"


class Fleet(Workspace):
    """A workspace with several stacks."""

    def add(self, folder: str, *, spec: str = "", manifest: str | None = None) -> Fleet:
        """A stack named after the last part of its folder, with one group of the same name."""
        name = folder.rpartition("/")[2]
        text = group(name) if manifest is None else manifest
        self.write({f"{folder}/reconciler.yaml": stack(name, spec), f"{folder}/m.yaml": text})
        return self

    def fleet(self, *arguments: str, expect: int | None = None) -> Finished:
        """Run a command of `reconciler fleet`."""
        return self.run("fleet", *arguments, expect=expect)

    def report(self, *arguments: str, expect: int | None = None) -> dict[str, Any]:
        """The JSON report of a command."""
        report: dict[str, Any] = json.loads(
            self.fleet(*arguments, "--format", "json", expect=expect).out
        )
        return report

    def statuses(self, *arguments: str, expect: int | None = None) -> dict[str, str]:
        """The status of each stack after a command."""
        report = self.report(*arguments, expect=expect)
        return {name_of(each): each["status"] for each in report["stacks"]}

    def groups(self) -> list[str]:
        """The names of all groups that exist, sorted."""
        return sorted(str(record.body["name"]) for record in self.emulator.store.all("group"))

    def rename_group(self, name: str, other: str) -> None:
        """Rename a group by hand, as somebody in the dashboard does."""
        [id] = [
            record.id for record in self.emulator.store.all("group") if record.body["name"] == name
        ]
        headers = {"Authorization": f"Bearer {self.emulator.admin_key}"}
        url = f"{self.emulator.base_url}/organization/groups/{id}"
        httpx.post(url, headers=headers, json={"name": other}).raise_for_status()


def name_of(stack: dict[str, Any]) -> str:
    """The folder, with the environment unless it is the default."""
    if stack["environment"] in ("", "default"):
        return str(stack["folder"])
    return f"{stack['folder']}@{stack['environment']}"


@pytest.fixture
def fleet(tmp_path: Path, emulator: Emulator) -> Fleet:
    """A folder with the stacks `a` and `b`, neither of them applied."""
    folder = tmp_path / "fleet"
    folder.mkdir()
    return Fleet(folder, emulator).add("stacks/a").add("stacks/b")


@pytest.fixture
def platform() -> Iterator[Organizations]:
    """Two organizations without rate limits."""
    with Organizations(2) as running:
        yield running


@pytest.fixture
def bed(tmp_path: Path, platform: Organizations) -> FleetBed:
    """An empty folder for stacks whose states are local."""
    return FleetBed(tmp_path, platform)


@pytest.fixture
def shared_bed(tmp_path: Path, platform: Organizations, database: Database) -> FleetBed:
    """An empty folder for stacks whose states are in Postgres."""
    return FleetBed(tmp_path, platform, database)
