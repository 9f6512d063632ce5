"""What is published for others: the action, workflows, the GitLab component, the image and the wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
TOOLS = Path(sys.executable).parent
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a validator; its findings are the failure."""
    path = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def actionlint() -> str:
    """The path of actionlint, which `make servers` installs with go."""
    folder = os.environ.get("GOBIN") or Path.home() / "go/bin"
    path = shutil.which("actionlint") or shutil.which("actionlint", path=str(folder))
    if path is None and not os.environ.get("RECONCILER_REQUIRE_SERVERS"):
        pytest.skip("actionlint is not installed: run make servers where go is")
    return path or "actionlint"


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actionlint_accepts_a_workflow(workflow: Path) -> None:
    run(actionlint(), workflow)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_satisfies_its_schema(workflow: Path) -> None:
    run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", workflow)


def test_the_action_satisfies_its_schema() -> None:
    run("check-jsonschema", "--builtin-schema", "vendor.github-actions", "action.yml")


def test_zizmor_finds_no_weakness_in_the_action_and_the_workflows() -> None:
    run("zizmor", "--offline", "--pedantic", ".github", "action.yml")


def test_shellcheck_accepts_the_step_of_the_action() -> None:
    run("shellcheck", "deploy/github/run.sh")


def test_hadolint_accepts_the_image() -> None:
    run("hadolint", "Dockerfile")


def test_the_jobs_of_the_gitlab_component_satisfy_their_schema(tmp_path: Path) -> None:
    _, jobs = (ROOT / "templates/reconciler.yml").read_text("utf-8").split("\n---\n")
    file = tmp_path / "jobs.yml"
    file.write_text(jobs)
    run("check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", file)


def test_the_gitlab_component_uses_only_inputs_that_it_declares() -> None:
    text = (ROOT / "templates/reconciler.yml").read_text("utf-8")
    declared = set(next(yaml.safe_load_all(text))["spec"]["inputs"])
    used = {part.split("]]")[0].strip() for part in text.split("$[[ inputs.")[1:]}
    assert used == declared


def test_the_pre_commit_hook_satisfies_its_schema() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    assert [hook["entry"] for hook in hooks] == ["reconciler validate"]
    assert {"id", "name", "language", "files"} <= set(hooks[0])


def test_an_input_of_the_action_reaches_the_script_as_a_variable_only() -> None:
    steps = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))["runs"]["steps"]
    assert [step for step in steps if "${{" in step.get("run", "")] == []


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with nothing but the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip"]
    run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    venv.create(folder / "venv", with_pip=True)
    [wheel] = folder.glob("reconciler_iac-*.whl")
    run(folder / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    return folder / "venv/bin"


def test_the_wheel_brings_the_command(installed: Path) -> None:
    run(installed / "reconciler", "--version")


def test_a_stack_is_validated_with_the_wheel_alone(installed: Path) -> None:
    run(installed / "reconciler", "-C", "examples/acme", "-e", "prod", "validate")


def test_every_command_explains_itself_without_extras(installed: Path) -> None:
    from reconciler.cli.main import COMMANDS

    for name in COMMANDS:
        run(installed / "reconciler", name, "--help")


def test_the_emulator_of_the_bare_wheel_names_its_extra(installed: Path) -> None:
    ended = subprocess.run(
        [installed / "reconciler", "emulator", "--port", "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "pip install 'reconciler-iac[emulator]'" in ended.stderr
