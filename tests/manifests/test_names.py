"""Claims about fields that default to the name of the resource."""

from __future__ import annotations

from pathlib import Path

from reconciler.kinds import KINDS
from reconciler.manifests import Settings, load_configuration

ACCOUNT = """\
kind: Project
metadata: {name: search}
spec: {name: Search}
---
kind: ServiceAccount
metadata: {name: indexer, project: search}
spec: {role: member}
"""


def test_an_account_without_a_name_gets_the_name_of_its_resource(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ACCOUNT)
    resources = load_configuration(Settings(root=tmp_path), KINDS).resources
    assert [item.spec["name"] for item in resources if item.address.kind == "ServiceAccount"] == [
        "indexer"
    ]


def test_a_backend_of_an_environment_that_is_not_used_is_no_problem(tmp_path: Path) -> None:
    stack = "{environments: {prod: {backend: {local: {path: ../elsewhere}}}}}"
    (tmp_path / "reconciler.yaml").write_text(
        f"kind: Stack\nmetadata: {{name: s}}\nspec: {stack}\n"
    )
    (tmp_path / "a.yaml").write_text(ACCOUNT)
    assert len(load_configuration(Settings(tmp_path, "default"), KINDS).resources) == 2
