"""Outputs of other stacks, read from the state that both share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Workspace

PLATFORM = """\
kind: Stack
metadata: {name: platform}
spec:
  manifests: [m.yaml]
  environments: {dev: {}, prod: {}}
  outputs: {team: "${Group/team}", limits: {monthly: 5}}
"""
TEAM = """\
kind: Stack
metadata: {name: team}
spec: {manifests: [m.yaml], environments: {dev: {}, prod: {}}}
"""
GROUP = "kind: Group\nmetadata: {name: team}\nspec: {name: Team}\n"


def agent(value: str) -> str:
    head = "kind: Agent\nmetadata: {name: bot}\nspec:\n  name: Bot\n  model: gpt-5.1\n"
    return f"{head}  metadata: {{value: '{value}'}}\n"


@pytest.fixture
def stacks(workspace: Workspace, tmp_path: Path) -> tuple[Workspace, Workspace]:
    """Two stacks with one state folder; the first has been applied in dev."""
    workspace.variables["RECONCILER_BACKEND"] = f"local:{tmp_path / 'states'}"
    folders = workspace.folder / "platform", workspace.folder / "team"
    for folder in folders:
        folder.mkdir()
    platform, team = (
        Workspace(folder, workspace.emulator, workspace.variables) for folder in folders
    )
    platform.write({"reconciler.yaml": PLATFORM, "m.yaml": GROUP}).apply("-e", "dev")
    team.write({"reconciler.yaml": TEAM})
    return platform, team


def value_of(workspace: Workspace) -> str:
    [record] = workspace.emulator.store.all("agent")
    return str(record.body["metadata"]["value"])


def test_an_output_of_another_stack_is_the_value_of_its_last_apply(
    stacks: tuple[Workspace, Workspace],
) -> None:
    platform, team = stacks
    team.write({"m.yaml": agent("${stack.platform.team} ${stack.platform.limits.monthly}")})
    team.apply("-e", "dev")
    id = platform.run("-e", "dev", "output", "team", expect=0).out.strip()
    assert value_of(team) == f"{id} 5"


def test_a_default_holds_where_the_other_stack_has_no_such_output(
    stacks: tuple[Workspace, Workspace],
) -> None:
    _, team = stacks
    team.write({"m.yaml": agent('${stack.platform.nothing ?? "none"}')}).apply("-e", "dev")
    assert value_of(team) == "none"


def test_another_output_changes_the_plan(stacks: tuple[Workspace, Workspace]) -> None:
    platform, team = stacks
    team.write({"m.yaml": agent("at ${stack.platform.limits.monthly}")}).apply("-e", "dev")
    platform.write({"reconciler.yaml": PLATFORM.replace("monthly: 5", "monthly: 6")})
    platform.apply("-e", "dev")
    assert '"at 5" → "at 6"' in team.plan("-e", "dev").out


@pytest.mark.parametrize(
    ("value", "environment", "said"),
    [
        ("${stack.platform.teem}", "dev", 'has no "teem". Did you mean "team"?'),
        ("${stack.platform.team}", "prod", "has no outputs in the environment prod"),
        ("${stack.nobody.team}", "dev", 'The stack "nobody" has no outputs'),
        ("${stack.team.x}", "dev", '"team" is this stack'),
        ("${stack.platform}", "dev", "write ${stack.NAME.OUTPUT}"),
    ],
)
def test_an_output_that_does_not_exist_is_an_error_at_its_place(
    stacks: tuple[Workspace, Workspace], value: str, environment: str, said: str
) -> None:
    _, team = stacks
    refused = team.write({"m.yaml": agent(value)}).run("plan", "-e", environment, expect=1).err
    assert said in refused
    assert "m.yaml:6:21" in refused


def test_validate_asks_for_no_output(stacks: tuple[Workspace, Workspace]) -> None:
    _, team = stacks
    team.variables["RECONCILER_BACKEND"] = "postgresql://127.0.0.1:9/nowhere"
    team.write({"m.yaml": agent("${stack.platform.team}")})
    team.run("validate", "-e", "dev", expect=0)


def test_a_command_without_manifests_reads_no_output_of_other_stacks(
    stacks: tuple[Workspace, Workspace],
) -> None:
    _, team = stacks
    outputs = "  outputs: {all: '${stack.platform.team}'}\n"
    spec = TEAM.replace("spec: {manifests: [m.yaml], ", "spec:\n  manifests: [m.yaml]\n  ")
    team.write({"reconciler.yaml": spec.replace("}}}", "}}") + outputs, "m.yaml": GROUP})
    team.write({"m.yaml": GROUP.replace("Team", "Other")}).apply("-e", "dev")
    for words in (("output", "all"), ("history",), ("state", "list")):
        team.run("-e", "dev", *words, expect=0)
