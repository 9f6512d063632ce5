"""The stack that `reconciler init` writes works on a laptop, and its workflow with a shared state."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

import reconciler
from tests.conftest import Workspace
from tests.servers.postgres import Database

WORKFLOW = ".github/workflows/reconciler.yml"
STACK = "reconciler.yaml"


@pytest.fixture
def fresh(workspace: Workspace) -> Workspace:
    """A folder after `init`."""
    workspace.run("init", expect=0)
    return workspace


def uncomment_remote(workspace: Workspace) -> None:
    path = workspace.folder / STACK
    text = path.read_text(encoding="utf-8")
    assert "  # backend: remote\n" in text
    path.write_text(text.replace("  # backend: remote\n", "  backend: remote\n"), encoding="utf-8")


def steps(workspace: Workspace) -> list[Mapping[str, Any]]:
    workflow = yaml.safe_load((workspace.folder / WORKFLOW).read_text(encoding="utf-8"))
    listed: list[Mapping[str, Any]] = workflow["jobs"]["reconciler"]["steps"]
    return listed


def script(workspace: Workspace, words: str) -> str:
    """The only script of the workflow that contains these words."""
    (run,) = [step["run"] for step in steps(workspace) if words in step.get("run", "")]
    return str(run)


def test_a_fresh_stack_plans_without_a_backend(fresh: Workspace) -> None:
    assert "1 to create" in fresh.run("plan", expect=0).out


def test_a_fresh_stack_keeps_its_state_at_an_address_that_is_given(
    fresh: Workspace, database: Database
) -> None:
    fresh.variables["RECONCILER_BACKEND"] = database.url()
    fresh.apply()
    assert not (fresh.folder / ".reconciler").exists()


def test_a_stack_with_the_line_uncommented_is_refused_without_an_address(fresh: Workspace) -> None:
    uncomment_remote(fresh)
    assert "no backend address is set" in fresh.run("plan", expect=1).err


def test_the_steps_in_the_workflow_move_a_local_state_to_the_backend(
    fresh: Workspace, database: Database
) -> None:
    fresh.apply()
    text = (fresh.folder / WORKFLOW).read_text(encoding="utf-8")
    assert "reconciler --backend ADDRESS state check\n" in text
    assert "reconciler state migrate --to ADDRESS\n" in text
    fresh.run("--backend", database.url(), "state", "check", expect=0)
    fresh.run("state", "migrate", "--to", database.url(), expect=0)
    uncomment_remote(fresh)
    fresh.variables["RECONCILER_BACKEND"] = database.url()
    assert fresh.plan().code == 0


def test_the_workflow_takes_the_address_from_a_secret(fresh: Workspace) -> None:
    workflow = yaml.safe_load((fresh.folder / WORKFLOW).read_text(encoding="utf-8"))
    assert workflow["env"]["RECONCILER_BACKEND"] == "${{ secrets.RECONCILER_BACKEND }}"


def test_the_workflow_carries_no_state_in_a_cache(fresh: Workspace) -> None:
    assert [step["uses"] for step in steps(fresh) if "cache" in step.get("uses", "")] == []


def test_the_workflow_waits_for_the_lock(fresh: Workspace) -> None:
    _, *words = script(fresh, "reconciler apply").split()
    fresh.run(*words, expect=0)
    assert "--lock-wait" in words


@pytest.mark.parametrize(("address", "code"), [("", 1), ("s3://bucket/state", 0)])
def test_the_workflow_stops_before_it_plans_without_an_address(
    fresh: Workspace, address: str, code: int
) -> None:
    runs = [step["run"] for step in steps(fresh) if "run" in step]
    guard = script(fresh, "test -n")
    assert runs.index(guard) < runs.index(script(fresh, "reconciler plan"))
    done = subprocess.run(["sh", "-c", guard], env={"RECONCILER_BACKEND": address})
    assert done.returncode == code


def test_init_keeps_existing_files(workspace: Workspace) -> None:
    workspace.write({STACK: "kind: Stack\nspec: {}\n"})
    workspace.run("init", expect=0)
    assert (workspace.folder / STACK).read_text(encoding="utf-8") == "kind: Stack\nspec: {}\n"


@pytest.mark.parametrize("host", ["github", "gitlab"])
def test_init_for_a_host_requires_a_shared_state(workspace: Workspace, host: str) -> None:
    workspace.run("init", "--from", host, expect=0)
    assert "no backend address is set" in workspace.run("plan", expect=1).err


@pytest.mark.parametrize("host", ["github", "gitlab"])
def test_init_for_a_host_plans_with_an_address(
    workspace: Workspace, host: str, database: Database
) -> None:
    workspace.variables["RECONCILER_BACKEND"] = database.url()
    workspace.run("init", "--from", host, expect=0)
    assert "1 to create" in workspace.run("plan", expect=0).out


def test_init_for_github_calls_the_reusable_workflow_with_secrets(workspace: Workspace) -> None:
    workspace.run("init", "--from", "github", expect=0)
    workflow = yaml.safe_load((workspace.folder / WORKFLOW).read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    assert job["uses"].startswith("reconciler-iac/reconciler/.github/workflows/reconcile.yml@")
    assert job["with"]["package"].endswith(f"=={reconciler.__version__}")
    assert set(job["secrets"]) == {"admin-key", "api-key", "backend"}
    assert workflow["permissions"] == {}


def test_init_for_gitlab_includes_the_component(workspace: Workspace) -> None:
    workspace.run("init", "--from", "gitlab", expect=0)
    pipeline = yaml.safe_load((workspace.folder / ".gitlab-ci.yml").read_text(encoding="utf-8"))
    (include,) = pipeline["include"]
    assert include["component"].endswith("/reconciler@1")
    assert include["inputs"]["package"].endswith(f"=={reconciler.__version__}")
    assert not (workspace.folder / WORKFLOW).exists()


@pytest.mark.parametrize("name", [STACK, "manifests/hello.yaml"])
def test_a_modeline_names_a_schema_that_accepts_the_file(fresh: Workspace, name: str) -> None:
    path = fresh.folder / name
    text = path.read_text(encoding="utf-8")
    modeline = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert modeline
    schema = json.loads((path.parent / modeline[1]).read_text(encoding="utf-8"))
    assert list(Draft202012Validator(schema).iter_errors(yaml.safe_load(text))) == []


def test_schema_writes_the_schemas_of_the_modelines_again(fresh: Workspace) -> None:
    before = {path.name: path.read_bytes() for path in (fresh.folder / ".schemas").iterdir()}
    shutil.rmtree(fresh.folder / ".schemas")
    fresh.run("schema", "--out", ".schemas", expect=0)
    after = {path.name: path.read_bytes() for path in (fresh.folder / ".schemas").iterdir()}
    assert after == before


def test_schema_leaves_other_files_of_the_folder_alone(fresh: Workspace) -> None:
    fresh.write({".schemas/mine.schema.json": "{}"})
    fresh.run("schema", "--out", ".schemas", expect=0)
    assert (fresh.folder / ".schemas/mine.schema.json").read_text(encoding="utf-8") == "{}"


def test_schema_writes_no_single_kind_into_a_folder(fresh: Workspace) -> None:
    assert "Leave KIND out" in fresh.run("schema", "Project", "--out", "x", expect=1).err


def test_git_ignores_the_schemas(fresh: Workspace) -> None:
    assert ".schemas/" in (fresh.folder / ".gitignore").read_text(encoding="utf-8").splitlines()
