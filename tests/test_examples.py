"""Every example is planned, applied, checked and destroyed, in every environment that it has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Workspace

EXAMPLES = Path(__file__).parent.parent / "examples"
CASES = [
    ("minimal", ()),
    ("acme", ("-e", "dev")),
    ("acme", ("-e", "prod")),
    ("teams", ("-e", "prod")),
]
every_case = pytest.mark.parametrize(("name", "options"), CASES, ids=lambda value: "".join(value))


@pytest.fixture
def example(workspace: Workspace, name: str) -> Workspace:
    shutil.copytree(EXAMPLES / name, workspace.folder, dirs_exist_ok=True)
    return workspace


def test_every_example_has_a_case() -> None:
    # The policies declare no object; tests/policies/test_library.py tries them. The fleet has several
    # stacks; tests/fleet/test_example.py tries it.
    assert {"fleet", "policies", *(name for name, _ in CASES)} == {
        path.name for path in EXAMPLES.iterdir() if path.is_dir()
    }


@every_case
def test_an_example_converges_and_goes_away_again(
    example: Workspace, options: tuple[str, ...]
) -> None:
    example.apply(*options)
    assert example.plan(*options).code == 0
    example.run("check", *options, expect=0)
    example.run("destroy", "--yes", *options, expect=0)
    assert example.run("state", "list", *options, expect=0).out == ""


@pytest.mark.parametrize(
    ("name", "options", "calls"), [("minimal", (), 1), ("acme", ("-e", "dev"), 18)]
)
def test_an_empty_plan_makes_a_call_a_list_and_not_an_object(
    example: Workspace, options: tuple[str, ...], calls: int
) -> None:
    example.apply(*options)
    example.emulator.clear_requests()
    example.plan(*options, "--refresh", "full")
    assert len(example.emulator.requests) == calls


def test_no_key_is_in_anything_that_an_apply_leaves_behind(workspace: Workspace) -> None:
    shutil.copytree(EXAMPLES / "acme", workspace.folder, dirs_exist_ok=True)
    done = workspace.apply(
        "-e", "dev", "-vv", "--report", "r.md:markdown", "--report", "r.json:json"
    )
    planned = workspace.run("plan", "-e", "dev", "--out", "p.json", "-vv", expect=0)
    sinks = sorted((workspace.folder / "secrets").glob("*.key"))
    keys = [path.read_text().strip() for path in sinks] + [
        workspace.emulator.admin_key,
        workspace.emulator.api_key,
    ]
    kept = [
        path
        for path in workspace.folder.rglob("*")
        if path.is_file() and path not in sinks and path.name != "README.md"
    ]
    texts = [
        done.out,
        done.err,
        planned.out,
        planned.err,
        *(path.read_bytes().decode("latin-1") for path in kept),
    ]
    assert len(sinks) == 3
    assert [key for key in keys if any(key in text for text in texts)] == []
