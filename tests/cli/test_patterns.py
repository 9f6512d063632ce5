"""Patterns for addresses in `--target`, `--allow-delete`, `allow_delete` and `state mv`."""

from __future__ import annotations

import pytest

from tests.conftest import Workspace

GROUPS = 'kind: Group\nmetadata: {name: "${each.key}"}\nfor_each: [a1, a2, b1]\nspec: {name: "${each.key}"}\n'
PROTECTED = GROUPS + "lifecycle: {prevent_destroy: true}\n"
STACK = "kind: Stack\nmetadata: {name: s}\nspec: {manifests: [m.yaml], allow_delete: %s}\n"


def groups(workspace: Workspace) -> list[str]:
    return sorted(str(record.body["name"]) for record in workspace.emulator.store.all("group"))


def with_groups(workspace: Workspace, manifest: str = GROUPS) -> Workspace:
    workspace.write({"m.yaml": manifest, "reconciler.yaml": STACK % "[]"})
    return workspace


def test_a_pattern_targets_all_addresses_that_match(workspace: Workspace) -> None:
    with_groups(workspace).apply("--target", "Group/a*")
    assert groups(workspace) == ["a1", "a2"]


def test_a_pattern_that_matches_nothing_is_an_error_before_the_first_call(
    workspace: Workspace,
) -> None:
    refused = with_groups(workspace).run("plan", "--target", "Group/c*", expect=1).err
    assert '--target: no address matches "Group/c*".' in refused
    assert workspace.emulator.requests == []


@pytest.mark.parametrize("allowed", ["Group/a*", "Group/a?"])
def test_a_pattern_allows_the_deletions_that_match(workspace: Workspace, allowed: str) -> None:
    with_groups(workspace, PROTECTED).apply()
    workspace.write({"m.yaml": PROTECTED.replace("[a1, a2, b1]", "[b1]")})
    workspace.run("apply", "--yes", expect=11)
    workspace.apply("--allow-delete", allowed)
    assert groups(workspace) == ["b1"]


@pytest.mark.parametrize("entries", ["[Group/a*]", "[Group/a1, Group/a2]"])
def test_the_stack_file_can_allow_deletions(workspace: Workspace, entries: str) -> None:
    with_groups(workspace, PROTECTED).apply()
    workspace.write(
        {"m.yaml": PROTECTED.replace("[a1, a2, b1]", "[b1]"), "reconciler.yaml": STACK % entries}
    )
    workspace.apply()
    assert groups(workspace) == ["b1"]


def test_an_entry_whose_object_is_gone_is_no_error(workspace: Workspace) -> None:
    with_groups(workspace).write({"reconciler.yaml": STACK % "[Group/gone]"})
    workspace.apply()
    assert groups(workspace) == ["a1", "a2", "b1"]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ("['*']", "Pattern too broad"),
        ("['Group/*']", "Pattern too broad"),
        ("[Groop/a1]", 'Unknown kind: "Groop" is not a kind. Did you mean "Group"?'),
    ],
)
def test_an_entry_that_allows_too_much_or_nothing_is_an_error(
    workspace: Workspace, entries: str, said: str
) -> None:
    with_groups(workspace).write({"reconciler.yaml": STACK % entries})
    lines = workspace.run("validate", expect=1).err
    assert all(part in lines for part in said.split(": "))


def addresses(workspace: Workspace) -> list[str]:
    lines = workspace.run("state", "list", expect=0).out.splitlines()
    return [line.split()[0] for line in lines]


@pytest.mark.parametrize(
    ("source", "target"),
    [("Group/a*", "Group/team-*"), ("Group/a?", "Group/team-?")],
)
def test_state_mv_moves_all_addresses_that_match(
    workspace: Workspace, source: str, target: str
) -> None:
    with_groups(workspace).apply()
    workspace.run("state", "mv", source, target, expect=0)
    assert addresses(workspace) == ["Group/b1", "Group/team-1", "Group/team-2"]


def test_state_mv_moves_what_is_below_a_prefix(workspace: Workspace) -> None:
    project = "kind: Project\nmetadata: {name: %s}\nspec: {name: P}\n"
    account = "kind: ServiceAccount\nmetadata: {name: app, project: %s}\nspec: {name: app}\n"
    workspace.write({"m.yaml": f"{project}---\n{account}" % ("old", "old")}).apply()
    workspace.run("state", "mv", "ServiceAccount/old/", "ServiceAccount/new/", expect=0)
    assert addresses(workspace) == ["Project/old", "ServiceAccount/new/app"]


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("Group/a*", "Group/b", "must have the same wildcards"),
        ("Group/a*", "Group/b*", "Group/b1 is bound to an object already"),
        ("Group/c*", "Group/d*", 'no address that matches "Group/c*"'),
        ("Group/a*", "Project/a*", "are of different kinds"),
    ],
)
def test_state_mv_moves_nothing_if_one_move_is_impossible(
    workspace: Workspace, source: str, target: str, said: str
) -> None:
    with_groups(workspace).apply()
    assert said in workspace.run("state", "mv", source, target, expect=1).err
    assert addresses(workspace) == ["Group/a1", "Group/a2", "Group/b1"]


LIMITED = """\
kind: Project
metadata: {name: a}
spec: {name: A}
---
kind: SpendLimit
metadata: {name: cap, project: a}
spec: {threshold_amount: 100}
"""


@pytest.mark.parametrize(
    ("source", "target"),
    [("SpendLimit/a/cap", "SpendLimit/cap"), ("SpendLimit/a/*", "SpendLimit/*")],
)
def test_state_mv_refuses_to_take_an_object_of_a_project_for_one_of_the_organization(
    workspace: Workspace, source: str, target: str
) -> None:
    workspace.write({"m.yaml": LIMITED}).apply()
    refused = workspace.run("state", "mv", source, target, expect=1)
    assert "are different objects" in refused.err
    assert addresses(workspace) == ["Project/a", "SpendLimit/a/cap"]


def test_state_mv_follows_a_project_with_a_new_name(workspace: Workspace) -> None:
    workspace.write({"m.yaml": LIMITED}).apply()
    workspace.run("state", "mv", "Project/a", "Project/c", expect=0)
    workspace.run("state", "mv", "SpendLimit/a/", "SpendLimit/c/", expect=0)
    assert addresses(workspace) == ["Project/c", "SpendLimit/c/cap"]
