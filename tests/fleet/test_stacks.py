"""`fleet list` finds and describes the stacks of a fleet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.fleet.shards import Shard, divided, stacks_of
from reconciler.fleet.stacks import FoundStack, StackChoice, find_stacks
from reconciler.manifests import Settings
from reconciler.model.fleet import StackId
from tests.fleet.conftest import TWO_ENVIRONMENTS, Fleet, name_of, stack


def listed(fleet: Fleet, *arguments: str) -> list[dict[str, Any]]:
    stacks: list[dict[str, Any]] = json.loads(
        fleet.fleet("list", *arguments, "--format", "json", expect=0).out
    )["stacks"]
    return stacks


def names(fleet: Fleet, *arguments: str) -> list[str]:
    return list(map(name_of, listed(fleet, *arguments)))


def test_stacks_are_listed_by_folder_with_environments_in_the_order_of_their_file(
    fleet: Fleet,
) -> None:
    fleet.add("platform", spec="  environments: {prod: {}, dev: {}}\n")
    assert names(fleet) == ["platform@prod", "platform@dev", "stacks/a", "stacks/b"]


def test_the_folder_of_the_fleet_can_be_a_stack_itself(fleet: Fleet) -> None:
    fleet.write({"reconciler.yml": stack("top")})
    assert names(fleet) == [".", "stacks/a", "stacks/b"]


def test_a_stack_can_lie_in_the_folder_of_another(fleet: Fleet) -> None:
    fleet.add("stacks/a/inner")
    assert names(fleet) == ["stacks/a", "stacks/a/inner", "stacks/b"]


@pytest.mark.parametrize("folder", [".hidden", ".reconciler", ".venv", "venv", "node_modules"])
def test_folders_of_programs_are_skipped(fleet: Fleet, folder: str) -> None:
    fleet.add(f"{folder}/c")
    assert names(fleet) == ["stacks/a", "stacks/b"]


def test_a_module_is_no_stack(fleet: Fleet) -> None:
    fleet.add("modules/team").write({"modules/team/module.yaml": "kind: ModuleDeclaration\n"})
    assert names(fleet) == ["stacks/a", "stacks/b"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("stacks/*", ["stacks/a", "stacks/b"]),
        ("stacks/a", ["stacks/a"]),
        ("stacks", ["stacks/a", "stacks/b"]),
        ("./stacks/b/", ["stacks/b"]),
        ("teams/**", ["teams/x/one", "teams/y/two"]),
        ("**/two", ["teams/y/two"]),
        ("**", ["stacks/a", "stacks/b", "teams/x/one", "teams/y/two"]),
    ],
)
def test_a_pattern_chooses_folders(fleet: Fleet, pattern: str, found: list[str]) -> None:
    fleet.add("teams/x/one").add("teams/y/two")
    assert names(fleet, "--stacks", pattern) == found


def test_several_patterns_choose_each_stack_once(fleet: Fleet) -> None:
    assert names(fleet, "--stacks", "stacks/*", "--stacks", "stacks/b") == ["stacks/a", "stacks/b"]


def test_another_folder_is_that_of_the_fleet(fleet: Fleet) -> None:
    assert names(fleet, "-C", "stacks") == ["a", "b"]


def test_an_environment_can_be_a_pattern(fleet: Fleet) -> None:
    fleet.add("c", spec=TWO_ENVIRONMENTS)
    assert names(fleet, "-e", "prod") == ["c@prod"]
    assert names(fleet, "-e", "*d*") == ["c@dev", "c@prod", "stacks/a", "stacks/b"]


def test_no_match_says_what_was_looked_for(fleet: Fleet) -> None:
    done = fleet.fleet("plan", "--stacks", "teams/*", "--stacks", "x", expect=1)
    assert 'matches "teams/*" or "x"' in done.err
    assert fleet.emulator.requests == []


def test_an_environment_that_no_stack_has_is_answered_with_those_that_exist(fleet: Fleet) -> None:
    fleet.add("c", spec=TWO_ENVIRONMENTS)
    done = fleet.fleet("list", "-e", "staging", expect=1)
    assert '"staging"' in done.err
    assert "The environments are default, dev, prod." in done.err


@pytest.mark.parametrize("pattern", ["../other", "/etc", "..", ""])
def test_a_pattern_outside_of_the_folder_is_refused(fleet: Fleet, pattern: str) -> None:
    assert "name folders below" in fleet.fleet("list", "--stacks", pattern, expect=1).err


def test_a_link_to_a_stack_outside_is_refused_and_the_others_go_on(
    fleet: Fleet, tmp_path: Path
) -> None:
    Fleet(tmp_path, fleet.emulator).add("elsewhere")
    (fleet.folder / "stacks" / "c").symlink_to(tmp_path / "elsewhere")
    report = fleet.report("plan", expect=1)
    by_folder = {each["folder"]: each for each in report["stacks"]}
    assert "leads outside" in by_folder["stacks/c"]["message"]
    assert by_folder["stacks/a"]["status"] == "pending"


def test_a_link_to_a_stack_inside_is_no_second_stack(fleet: Fleet) -> None:
    (fleet.folder / "current").symlink_to(fleet.folder / "stacks" / "a")
    assert names(fleet) == ["stacks/a", "stacks/b"]


def test_a_stack_file_that_is_a_link_outside_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    outside = tmp_path / "reconciler.yaml"
    outside.write_text(stack("c"))
    (fleet.folder / "c").mkdir()
    (fleet.folder / "c" / "reconciler.yaml").symlink_to(outside)
    [found] = [each for each in listed(fleet) if each["folder"] == "c"]
    assert "through a link" in found["problems"][0]


def test_a_broken_stack_file_is_listed_with_its_problem(fleet: Fleet) -> None:
    fleet.write({"c/reconciler.yaml": "kind: Stack\nspec: {enviroments: {}}\n"})
    [broken, *others] = listed(fleet)
    assert broken["folder"] == "c"
    assert "c/reconciler.yaml:2" in broken["problems"][0]
    assert [each["problems"] for each in others] == [[], []]


def test_two_folders_with_one_state_are_errors_of_both(fleet: Fleet, tmp_path: Path) -> None:
    fleet.add("other/a").variables["RECONCILER_BACKEND"] = f"local:{tmp_path / 'states'}"
    report = fleet.report("apply", "--yes", expect=13)
    messages = {each["folder"]: each["message"] for each in report["stacks"]}
    for folder in ("other/a", "stacks/a"):
        assert '"other/a"' in messages[folder]
        assert '"stacks/a"' in messages[folder]
    assert fleet.groups() == ["b"]


def test_a_folder_that_was_not_chosen_can_have_the_state_of_one_that_was(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.add("other/a").variables["RECONCILER_BACKEND"] = f"local:{tmp_path / 'states'}"
    fleet.fleet("apply", "--yes", "--stacks", "stacks", expect=13)
    report = fleet.report("apply", "--yes", "--stacks", "other", expect=1)
    assert '"stacks/a"' in report["stacks"][0]["message"]
    assert fleet.groups() == ["b"]


def test_a_link_to_the_state_of_another_stack_does_not_hide_that_they_share_it(
    fleet: Fleet,
) -> None:
    fleet.add("other/a", spec="  backend: {local: {path: link}}\n")
    (fleet.folder / "other/a/link").symlink_to("../../stacks/a/.reconciler")
    problems = [bool(each["problems"]) for each in listed(fleet)]
    assert problems == [True, True, False]


def test_there_is_no_matrix_of_stacks_that_share_a_state(fleet: Fleet, tmp_path: Path) -> None:
    fleet.add("other/a").variables["RECONCILER_BACKEND"] = f"local:{tmp_path / 'states'}"
    done = fleet.fleet("list", "--format", "github-matrix", expect=1)
    assert (done.out, '"stacks/a"' in done.err) == ("", True)


def test_two_folders_with_one_name_and_states_of_their_own_are_two_stacks(fleet: Fleet) -> None:
    fleet.add("other/a")
    assert [each["problems"] for each in listed(fleet)] == [[], [], []]


def test_a_list_needs_no_key_no_network_and_no_manifest(fleet: Fleet) -> None:
    fleet.add("stacks/a", spec="  organization: org-abc\n  backend: remote\n", manifest="{{{")
    fleet.variables |= {"OPENAI_ADMIN_KEY": "", "OPENAI_API_KEY": ""}
    [first, _] = listed(fleet)
    assert (first["organization"], first["backend"]) == ("org-abc", "remote")
    assert fleet.emulator.requests == []


def test_an_environment_can_name_another_organization(fleet: Fleet) -> None:
    fleet.add("c", spec="  environments: {dev: {organization: org-dev}, prod: {}}\n")
    found = {name_of(each): each["organization"] for each in listed(fleet)}
    assert (found["c@dev"], found["c@prod"]) == ("org-dev", None)


def test_a_matrix_has_an_entry_for_each_stack(fleet: Fleet) -> None:
    done = fleet.fleet("list", "--format", "github-matrix", expect=0)
    assert json.loads(done.out) == {
        "include": [
            {"stack": "a", "folder": "stacks/a", "environment": "default"},
            {"stack": "b", "folder": "stacks/b", "environment": "default"},
        ]
    }
    assert done.out.count("\n") == 1


def test_a_matrix_that_github_would_refuse_is_refused_with_the_way_out(fleet: Fleet) -> None:
    for number in range(255):
        fleet.write({f"many/s{number}/reconciler.yaml": stack(f"s{number}")})
    done = fleet.fleet("list", "--format", "github-matrix", expect=1)
    assert "257 stacks" in done.err
    assert "--shards" in done.err
    sharded = fleet.fleet("list", "--shards", "4", "--format", "github-matrix", expect=0)
    assert json.loads(sharded.out)["include"][0] == {"shard": "1/4"}


def found(name: str, organization: str = "") -> FoundStack:
    return FoundStack(StackId(name, "prod", name), Path(name), organization=organization)


def test_every_stack_is_in_one_shard_and_those_of_an_organization_share_it() -> None:
    stacks = [found(f"s{number}", f"org-{number % 7}") for number in range(100)]
    shards = divided(stacks, 5)
    assert sorted(each.id for shard in shards for each in shard) == sorted(s.id for s in stacks)
    owners = [{each.organization for each in shard} for shard in shards]
    assert sum(map(len, owners)) == 7


def test_stacks_without_an_organization_are_spread_over_the_shards() -> None:
    assert [len(shard) for shard in divided([found(f"s{n}") for n in range(10)], 5)] == [2] * 5


def test_a_shard_runs_its_stacks_alone(fleet: Fleet) -> None:
    ran = [name for part in ("1/2", "2/2") for name in fleet.statuses("plan", "--shard", part)]
    assert sorted(ran) == ["stacks/a", "stacks/b"]


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_a_shard_that_does_not_exist_is_refused(fleet: Fleet, text: str) -> None:
    assert "NUMBER/TOTAL" in fleet.fleet("plan", "--shard", text, expect=1).err


def test_a_shard_of_more_parts_than_stacks_can_be_empty() -> None:
    assert stacks_of(Shard(3, 3), [found("a"), found("b")]) == []


def test_folders_are_found_in_the_same_order_whatever_the_file_system_says(
    tmp_path: Path,
) -> None:
    for name in ("b", "a-1", "a", "a.b", "A"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "reconciler.yaml").write_text(stack(name))
    stacks = find_stacks(Settings(root=tmp_path), StackChoice())
    assert [each.id.folder for each in stacks] == ["A", "a", "a-1", "a.b", "b"]
