"""`render` prints documents that declare the same as their manifests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from reconciler.kinds import KINDS
from reconciler.manifests import Configuration, Settings, load_configuration
from reconciler.rules import RULE_KINDS
from tests.conftest import Workspace

EXAMPLES = Path(__file__).parents[2] / "examples"
ADDRESS = "File/prices"


def load(folder: Path) -> Configuration:
    return load_configuration(Settings(folder, "prod"), KINDS, RULE_KINDS)


@pytest.mark.parametrize("name", ["acme", "teams"])
@pytest.mark.parametrize("form", ["yaml", "json"])
def test_the_rendered_documents_declare_the_same(
    workspace: Workspace, name: str, form: str
) -> None:
    shutil.copytree(EXAMPLES / name, workspace.folder, dirs_exist_ok=True)
    # Outputs of modules cannot be read once the modules are expanded.
    stack = workspace.folder / "reconciler.yaml"
    stack.write_text(stack.read_text("utf-8").partition("  outputs:")[0], "utf-8")
    before = load(workspace.folder)
    options = ("--format", "json") if form == "json" else ()
    rendered = workspace.run("-e", "prod", "render", *options, expect=0).out
    shutil.rmtree(workspace.folder / "manifests")
    workspace.write({f"manifests/all.{form}": rendered})
    assert load(workspace.folder).digest == before.digest


def test_render_calls_nothing_and_needs_no_key(workspace: Workspace) -> None:
    workspace.write({"m.yaml": "kind: Group\nmetadata: {name: g}\nspec: {name: G}\n"})
    workspace.variables = {"OPENAI_ADMIN_KEY": "", "OPENAI_API_KEY": ""}
    assert workspace.run("render", expect=0).out == (
        "# m.yaml:1:1\nkind: Group\nmetadata: {name: g}\nspec: {name: G}\n"
    )
    assert workspace.emulator.requests == []


def test_addresses_and_patterns_select_documents(workspace: Workspace) -> None:
    group = 'kind: Group\nmetadata: {name: "${each.key}"}\nfor_each: [a1, a2, b]\nspec: {name: "${each.key}"}\n'
    workspace.write({"m.yaml": group})
    shown = json.loads(
        workspace.run("render", "Group/a*", "Group/b", "--format", "json", expect=0).out
    )
    assert [document["metadata"]["name"] for document in shown] == ["a1", "a2", "b"]
    shown = json.loads(workspace.run("render", "Group/a?", "--format", "json", expect=0).out)
    assert [document["metadata"]["name"] for document in shown] == ["a1", "a2"]


def test_an_address_that_nothing_declares_is_an_error_with_a_suggestion(
    workspace: Workspace,
) -> None:
    workspace.write({"m.yaml": "kind: Group\nmetadata: {name: people}\nspec: {name: G}\n"})
    refused = workspace.run("render", "Group/peopel", expect=1).err
    assert 'no manifest declares "Group/peopel". Did you mean "Group/people"?' in refused


def test_a_text_that_looks_like_an_expression_stays_text(workspace: Workspace) -> None:
    workspace.write({"m.yaml": 'kind: Group\nmetadata: {name: g}\nspec: {name: "$${var.x}"}\n'})
    assert '{name: "$${var.x}"}' in workspace.run("render", expect=0).out


def test_control_characters_are_not_printed(workspace: Workspace) -> None:
    workspace.write({"m.yaml": 'kind: Group\nmetadata: {name: g}\nspec: {name: "a\\e[31mb"}\n'})
    assert "\x1b" not in workspace.run("render", expect=0).out
