"""States in the shape that the providers write, and their import."""

from __future__ import annotations

import json
from typing import Any

from tests.conftest import Finished, Workspace

OPENAI, MKDEV, JIANYUAN = "openai/openai", "mkdev-me/openai", "jianyuan/openai"
SOURCE = 'provider["registry.terraform.io/{}"]'


def resource(
    provider: str, type: str, name: str, *instances: dict[str, Any], module: str = "", **more: Any
) -> dict[str, Any]:
    """One resource. An instance is its attributes, or a whole instance with `attributes`."""
    whole = [given if "attributes" in given else {"attributes": given} for given in instances]
    return {
        **({"module": module} if module else {}),
        "mode": "managed",
        "type": type,
        "name": name,
        "provider": SOURCE.format(provider),
        "instances": [
            {"schema_version": 0, "sensitive_attributes": [], **instance} for instance in whole
        ],
        **more,
    }


def keyed(key: str | int, **attributes: Any) -> dict[str, Any]:
    """An instance of `count` or `for_each`."""
    return {"index_key": key, "attributes": attributes}


def state(*resources: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A state of version 4."""
    return {
        "version": 4,
        "terraform_version": "1.11.4",
        "serial": 7,
        "lineage": "7f1c61f0-0b7a-4dcd-8d5f-0f4b3a2f2a31",
        "outputs": {},
        "resources": list(resources),
        "check_results": None,
        **more,
    }


def save(workspace: Workspace, document: Any, name: str = "terraform.tfstate") -> str:
    """Write a state into the workspace; its name there."""
    text = document if isinstance(document, str) else json.dumps(document)
    (workspace.folder / name).write_text(text, encoding="utf-8")
    return name


def take_over(workspace: Workspace, document: Any, *options: str) -> Finished:
    """Import a state, and insist that it went through."""
    workspace.emulator.clear_requests()
    return workspace.run(
        "import", "--from-terraform", save(workspace, document), *options, expect=0
    )


def insist_on_an_empty_plan(workspace: Workspace) -> None:
    """Plan, and fail unless there is nothing to change."""
    plan = workspace.plan()
    assert plan.code == 0, plan.out + plan.err
