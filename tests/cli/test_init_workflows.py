"""The workflows of `reconciler init` satisfy the validators of their hosts, and use what we publish."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.conftest import Workspace
from tests.test_packages import actionlint, run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WORKFLOW = ".github/workflows/reconciler.yml"


@pytest.mark.parametrize("words", [(), ("--from", "github")], ids=["plain", "github"])
def test_validators_accept_the_workflow_for_github(
    workspace: Workspace, words: tuple[str, ...]
) -> None:
    workspace.run("init", *words, expect=0)
    run(actionlint(), workspace.folder / WORKFLOW)
    schema = ("--builtin-schema", "vendor.github-workflows")
    run("check-jsonschema", *schema, workspace.folder / WORKFLOW)


def test_zizmor_finds_no_weakness_in_the_workflow_for_github(workspace: Workspace) -> None:
    workspace.run("init", "--from", "github", expect=0)
    run("zizmor", "--offline", workspace.folder / WORKFLOW)


def test_the_schema_of_gitlab_accepts_the_pipeline(workspace: Workspace) -> None:
    workspace.run("init", "--from", "gitlab", expect=0)
    schema = ("--builtin-schema", "vendor.gitlab-ci")
    run("check-jsonschema", *schema, workspace.folder / ".gitlab-ci.yml")


def test_the_workflow_gives_the_reusable_workflow_what_it_declares(workspace: Workspace) -> None:
    workspace.run("init", "--from", "github", expect=0)
    (job,) = yaml.safe_load((workspace.folder / WORKFLOW).read_text("utf-8"))["jobs"].values()
    reusable = yaml.safe_load((ROOT / ".github/workflows/reconcile.yml").read_text("utf-8"))
    call = reusable[True]["workflow_call"]  # YAML 1.1 reads `on` as true
    assert job["with"].keys() <= call["inputs"].keys()
    assert job["secrets"].keys() == call["secrets"].keys()
    declared = [*call["inputs"].items(), *call["secrets"].items()]
    needed = {name for name, value in declared if value.get("required")}
    assert needed <= job["with"].keys() | job["secrets"].keys()
    wanted = [part["permissions"] for part in reusable["jobs"].values()]
    assert {(name, level) for part in wanted for name, level in part.items()} == set(
        job["permissions"].items()
    )


def test_the_pipeline_gives_the_component_what_it_declares(workspace: Workspace) -> None:
    workspace.run("init", "--from", "gitlab", expect=0)
    pipeline = yaml.safe_load((workspace.folder / ".gitlab-ci.yml").read_text("utf-8"))
    component = next(yaml.safe_load_all((ROOT / "templates/reconciler.yml").read_text("utf-8")))
    declared = component["spec"]["inputs"]
    given = pipeline["include"][0]["inputs"].keys()
    assert given <= declared.keys()
    assert {name for name, value in declared.items() if "default" not in value} <= given
