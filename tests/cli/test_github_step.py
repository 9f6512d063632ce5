"""A run inside a step of GitHub Actions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.test_plan_and_apply import ASSISTANT
from tests.conftest import Workspace

CHANGED = ASSISTANT.replace("gpt-4o", "gpt-4.1")


@pytest.fixture
def step(workspace: Workspace, tmp_path: Path) -> Workspace:
    """A workspace whose variables are those of a step."""
    for name in ("summary", "output"):
        (tmp_path / name).write_text("", encoding="utf-8")
    workspace.variables = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_WORKSPACE": str(tmp_path),
    }
    return workspace


def outputs(workspace: Workspace) -> dict[str, str]:
    text = Path(workspace.variables["GITHUB_OUTPUT"]).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z-]+)<<(?:reconciler_\w+)\n(.*)\n", text, re.MULTILINE))


def summary(workspace: Workspace) -> str:
    return Path(workspace.variables["GITHUB_STEP_SUMMARY"]).read_text(encoding="utf-8")


def test_a_plan_writes_the_summary_and_the_outputs(step: Workspace) -> None:
    step.declare(ASSISTANT).run(
        "plan", "--out", "p.json", "--detailed-exitcode", "--format", "github", expect=2
    )
    values = outputs(step)
    assert (values["changes"], values["exitcode"], values["create"]) == ("true", "2", "1")
    assert values["plan-path"] == "p.json"
    assert values["digest"] in summary(step)


def test_a_failure_writes_them_too(step: Workspace) -> None:
    done = step.declare(ASSISTANT.replace("model:", "modle:")).run(
        "plan", "--format", "github", expect=1
    )
    assert outputs(step)["exitcode"] == "1"
    assert "modle" in summary(step)
    # The file as seen from the root of the repository.
    assert "::error " in done.out
    assert "file=stack/manifests.yaml,line=" in done.out


def test_a_report_for_github_is_enough(step: Workspace) -> None:
    step.declare(ASSISTANT).run("drift", "--report", "r:github", expect=0)
    assert outputs(step)["exitcode"] == "0"


def test_without_the_format_the_step_is_left_alone(step: Workspace) -> None:
    step.declare(ASSISTANT).run("plan", expect=0)
    assert summary(step) == ""


def test_a_summary_that_is_nearly_full_gets_no_more_than_fits(step: Workspace) -> None:
    path = Path(step.variables["GITHUB_STEP_SUMMARY"])
    path.write_text("x" * ((1 << 20) - 100), encoding="utf-8")
    step.declare(ASSISTANT).run("plan", "--format", "github", expect=0)
    assert path.stat().st_size <= 1 << 20


def test_the_log_has_the_plan_as_text_between_a_random_token(step: Workspace) -> None:
    said = step.declare(ASSISTANT).run("plan", "--format", "github", expect=0).out
    assert re.match(r"::stop-commands::(\w{32})\n[\s\S]*will be created[\s\S]*::\1::\n", said)
