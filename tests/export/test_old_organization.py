"""An organization made by hand over years comes in: exported, planned, lost, adopted, exported again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from reconciler.emulator import Emulator
from tests.conftest import Workspace
from tests.export.old_organization import OldOrganization
from tests.export.organization import Api
from tests.export.test_export import changes_nothing, texts

pytestmark = pytest.mark.slow
OPTIONS = ((), ("--fold",), ("--layout", "kind"), ("--layout", "flat", "--all-limits"))
SEEDS = [int(seed) for seed in os.environ.get("RECONCILER_SEEDS", "1 2").split()]


@pytest.mark.parametrize("seed", SEEDS)
def test_an_old_organization_comes_in_and_is_found_again(seed: int, tmp_path: Path) -> None:
    options = OPTIONS[seed % len(OPTIONS)]
    with Emulator() as running:
        old = OldOrganization(running, seed).make()
        _comes_in(old, tmp_path, options)


def _comes_in(old: Api, tmp_path: Path, options: tuple[str, ...]) -> None:
    folder = tmp_path / "acme"
    folder.mkdir()
    workspace = Workspace(folder, old.emulator)
    old.emulator.clear_requests()
    done = workspace.run("export", *options, expect=0)
    assert "The plan of these manifests is empty" in done.out
    assert {request.method for request in old.emulator.requests} == {"GET"}
    first = texts(workspace)
    assert changes_nothing(workspace.run("plan", "--refresh", "full"))
    workspace.run("export", "--force", *options, expect=0)
    assert texts(workspace) == first
    before = old.emulator.store.counts()
    shutil.rmtree(folder / ".reconciler")
    workspace.apply("--adopt")
    assert workspace.plan("--refresh", "full").code == 0
    after = old.emulator.store.counts()
    assert after | {"audit_log": 0} == before | {"audit_log": 0}
    workspace.run("export", "--force", *options, expect=0)
    assert texts(workspace) == first
