"""What in `deploy/` must agree with the rest, as far as that shows without a cluster; see `tests/kube` for the rest."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import reconciler
from tests.conftest import Workspace
from tests.kube.helm import CHART, DEPLOY, PLAIN, ROOT

COPIES = {
    "crds.yaml": PLAIN / "crds.yaml",
    "alerts.yaml": DEPLOY / "prometheus" / "alerts.yaml",
    "dashboard.json": DEPLOY / "grafana" / "reconciler.json",
}
"""Files that a chart has to contain."""


@pytest.mark.parametrize(("name", "original"), COPIES.items(), ids=str)
def test_a_file_of_the_chart_is_a_copy(name: str, original: Path) -> None:
    copy = CHART / "files" / name
    if os.environ.get("RECONCILER_GOLDEN") == "write":
        copy.write_bytes(original.read_bytes())
    assert copy.read_bytes() == original.read_bytes(), "run make golden"


def test_chart_and_package_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert {chart["version"], chart["appVersion"]} == {reconciler.__version__}


def test_the_image_has_what_the_operator_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    [everything] = project["optional-dependencies"]["all"]
    extras = everything.partition("[")[2].rstrip("]").split(",")
    assert {"operator", "postgres", "metrics", "notices", "otel"} <= set(extras)
    assert "'.[all]'" in (ROOT / "Dockerfile").read_text("utf-8")


def test_the_image_runs_as_the_user_that_the_chart_names() -> None:
    helpers = (CHART / "templates" / "_helpers.tpl").read_text("utf-8")
    [user] = re.findall(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert f"runAsUser: {user}\n" in helpers


def test_chart_release_and_docs_name_one_image() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    image = values["image"]["repository"]
    assert f"`{image}:{reconciler.__version__}`" in (ROOT / "docs" / "ci.md").read_text("utf-8")
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    assert 'name="ghcr.io/$GITHUB_REPOSITORY"' in workflow
    assert image == "ghcr.io/reconciler-iac/reconciler"


def test_the_example_stack_is_valid(workspace: Workspace) -> None:
    example = (PLAIN / "examples" / "stack.yaml").read_text("utf-8")
    [sources] = [each for each in yaml.safe_load_all(example) if each["kind"] == "ConfigMap"]
    workspace.write(sources["data"]).run(
        "validate", "--backend", "postgresql://127.0.0.1/state", expect=0
    )
