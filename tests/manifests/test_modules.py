"""Modules: the resources that they declare, and the problems of invalid ones."""

from __future__ import annotations

import pytest

from reconciler.kinds import KINDS
from reconciler.manifests import Configuration, load_configuration
from reconciler.model.address import Address
from reconciler.model.values import Reference
from reconciler.rules import RULE_KINDS
from tests.manifests.conftest import Folder

TEAM = """\
variables:
  budget: {type: number, default: 500}
  owners: {type: list, description: "E-mail addresses."}
outputs:
  project: ${Project/${module.name}}
  budget: ${var.budget}
  limits: {monthly: {usd: 5}}
"""
PROJECT = """\
kind: Project
metadata: {name: "${module.name}"}
spec: {name: "${module.name}"}
---
kind: VectorStore
metadata: {name: docs, project: "${module.name}"}
spec:
  name: Budget ${var.budget}
  metadata: {project: "${Project/${module.name}}"}
"""
CALL = """\
kind: Module
metadata: {name: search}
spec: {source: modules/team, variables: {owners: [a@example.com]}}
"""


def load(folder: Folder, **more: object) -> Configuration:
    return load_configuration(folder.settings(**more), KINDS, RULE_KINDS)


def problems(folder: Folder) -> list[str]:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - its diagnostics are what tests compare
        load(folder)
    return [str(diagnostic) for diagnostic in caught.value.diagnostics]  # type: ignore[attr-defined]


def addresses(configuration: Configuration) -> list[str]:
    return [str(resource.address) for resource in configuration.resources]


@pytest.fixture
def team(folder: Folder) -> Folder:
    return folder.write(
        {"modules/team/module.yaml": TEAM, "modules/team/project.yaml": PROJECT, "m.yaml": CALL}
    )


def test_a_module_declares_its_manifests_with_its_name_and_variables(team: Folder) -> None:
    configuration = load(team)
    assert addresses(configuration) == ["Project/search", "VectorStore/search/docs"]
    assert configuration.resources[1].spec["name"] == "Budget 500"


def test_a_reference_can_contain_the_name_of_the_module(team: Folder) -> None:
    store = load(team).resources[1]
    assert store.spec["metadata"] == {"project": Reference(Address("Project", "search"))}


def test_for_each_declares_a_module_for_each_entry(team: Folder) -> None:
    team.write(
        {
            "m.yaml": """\
            kind: Module
            metadata: {name: "${each.key}"}
            for_each: {search: {budget: 7}, support: {}}
            spec:
              source: modules/team
              variables: {owners: [], budget: "${each.value.budget ?? 900}"}
            """
        }
    )
    names = {
        str(resource.address): resource.spec["name"]
        for resource in load(team).resources
        if resource.kind.name == "VectorStore"
    }
    assert names == {
        "VectorStore/search/docs": "Budget 7",
        "VectorStore/support/docs": "Budget 900",
    }


def test_an_output_can_be_read_elsewhere(team: Folder) -> None:
    team.write(
        {
            "other.yaml": """\
            kind: Group
            metadata: {name: g}
            spec: {name: "Budget ${Module/search.budget} of ${Module/search.limits.monthly.usd}"}
            """
        }
    )
    group = next(one for one in load(team).resources if one.kind.name == "Group")
    assert group.spec["name"] == "Budget 500 of 5"


def test_an_output_can_be_a_reference(team: Folder) -> None:
    team.write(
        {
            "other.yaml": """\
            kind: VectorStore
            metadata: {name: other, project: search}
            spec: {name: Other, metadata: {of: "${Module/search.project}"}}
            """
        }
    )
    store = next(one for one in load(team).resources if one.address.name == "other")
    assert store.references == {Address("Project", "search")}


def test_a_variable_can_be_a_reference(team: Folder) -> None:
    team.write(
        {
            "modules/team/module.yaml": "variables: {store: {type: string}}\n",
            "modules/team/project.yaml": """\
            kind: Agent
            metadata: {name: "${module.name}"}
            spec: {name: a, model: gpt-4.1, metadata: {store: "${var.store}"}}
            """,
            "m.yaml": """\
            kind: Module
            metadata: {name: bot}
            spec: {source: modules/team, variables: {store: "${VectorStore/docs}"}}
            ---
            kind: VectorStore
            metadata: {name: docs}
            spec: {name: Docs}
            """,
        }
    )
    agent = next(one for one in load(team).resources if one.kind.name == "Agent")
    assert agent.references == {Address("VectorStore", "docs")}


def test_modules_nest(team: Folder) -> None:
    team.write(
        {
            "modules/area/module.yaml": "variables: {budget: 1}\n",
            "modules/area/teams.yaml": """\
            kind: Module
            metadata: {name: "${module.name}-a"}
            spec: {source: modules/team, variables: {owners: [], budget: "${var.budget}"}}
            """,
            "m.yaml": "kind: Module\nmetadata: {name: x}\nspec: {source: modules/area}\n",
        }
    )
    assert addresses(load(team)) == ["Project/x-a", "VectorStore/x-a/docs"]


def test_a_file_beside_the_manifests_is_read_relative_to_the_module(team: Folder) -> None:
    team.write(
        {
            "modules/team/project.yaml": """\
            kind: Agent
            metadata: {name: "${module.name}"}
            spec: {name: a, model: gpt-4.1, instructions: "${file:./prompt.md}"}
            """,
            "modules/team/prompt.md": "Be kind.\n",
        }
    )
    assert load(team).resources[0].spec["instructions"] == "Be kind.\n"


def test_the_manifests_of_a_module_are_not_the_stacks_own(team: Folder) -> None:
    team.write({"m.yaml": "kind: Group\nmetadata: {name: g}\nspec: {name: g}\n"})
    assert addresses(load(team)) == ["Group/g"]


def test_a_problem_in_a_module_names_the_file_and_the_document_that_declared_it(
    team: Folder,
) -> None:
    team.write({"modules/team/project.yaml": PROJECT.replace("name: Budget", "nme: Budget")})
    assert any(
        line.startswith("modules/team/project.yaml:8:3 (Module/search at m.yaml:1:1): error: ")
        for line in problems(team)
    )


def test_resources_that_clash_name_both_places(team: Folder) -> None:
    team.write(
        {
            "m.yaml": CALL,
            "n.yaml": "kind: Project\nmetadata: {name: search}\nspec: {name: other}\n",
        }
    )
    assert problems(team) == [
        (
            "n.yaml:2:18: error: Project/search: Duplicate address: Project/search is also declared at "
            "modules/team/project.yaml:2:18 (Module/search at m.yaml:1:1)."
        )
    ]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            "source: modules/teem",
            'm.yaml:3:16: error: No such module: "modules/teem" is not a folder',
        ),
        ("source: other", 'Not a module: "other" has no module.yaml'),
        ("source: ../elsewhere", 'Path outside the stack: "../elsewhere" points outside'),
        ("source: https://example.com/m.git", "Module outside of the stack"),
        ("source: modules/team", "m.yaml:3:7: error: Variable without a value: modules/team needs"),
        (
            "source: modules/team, variables: {owners: [], bugdet: 5}",
            (
                'm.yaml:3:62: error: Unknown variable: modules/team declares no variable "bugdet". '
                'Did you mean "budget"?'
            ),
        ),
        (
            "source: modules/team, variables: {owners: [], budget: lots}",
            'Wrong type: The variable "budget" of modules/team must be of type number.',
        ),
    ],
)
def test_a_module_that_cannot_be_declared_is_an_error_at_its_document(
    team: Folder, spec: str, said: str
) -> None:
    team.write(
        {
            "other/a.txt": "",
            "m.yaml": f"kind: Module\nmetadata: {{name: search}}\nspec: {{{spec}}}\n",
        }
    )
    assert [line for line in problems(team) if said in line], problems(team)


def test_a_module_that_declares_itself_is_an_error(team: Folder) -> None:
    team.write({"modules/team/again.yaml": CALL.replace("search", "again")})
    assert any(
        "Cycle of modules: The module declares itself: modules/team → modules/team." in line
        for line in problems(team)
    )


def test_modules_that_nest_too_deeply_are_an_error(folder: Folder) -> None:
    for level in range(10):
        inner = f'kind: Module\nmetadata: {{name: "m{level}"}}\nspec: {{source: m/l{level + 1}}}\n'
        folder.write({f"m/l{level}/module.yaml": "variables: {}\n", f"m/l{level}/a.yaml": inner})
    folder.write({"m.yaml": "kind: Module\nmetadata: {name: top}\nspec: {source: m/l0}\n"})
    assert any("Modules nested too deeply" in line for line in problems(folder))


def test_outputs_that_depend_on_each_other_are_an_error(team: Folder) -> None:
    team.write(
        {
            "modules/team/module.yaml": "outputs: {a: '${Module/${module.name}.a}'}\n",
            "modules/team/project.yaml": "",
            "m.yaml": """\
            kind: Module
            metadata: {name: search}
            spec: {source: modules/team}
            ---
            kind: Group
            metadata: {name: g}
            spec: {name: "${Module/search.a}"}
            """,
        }
    )
    assert any("Cycle of outputs" in line for line in problems(team))


def test_an_unknown_output_is_an_error_with_a_suggestion(team: Folder) -> None:
    team.write(
        {"o.yaml": 'kind: Group\nmetadata: {name: g}\nspec: {name: "${Module/search.budgt}"}\n'}
    )
    assert problems(team) == [
        (
            'o.yaml:3:14: error: Group/g: Unknown output: modules/team has no output "budgt". '
            'Did you mean "budget"?'
        )
    ]


def test_the_modules_name_cannot_be_read_outside_of_modules(folder: Folder) -> None:
    folder.write({"m.yaml": 'kind: Group\nmetadata: {name: g}\nspec: {name: "${module.name}"}\n'})
    assert any("Not in a module" in line for line in problems(folder))


def test_an_unknown_key_of_module_yaml_is_an_error_there(team: Folder) -> None:
    team.write({"modules/team/module.yaml": "variabels: {}\n"})
    assert any(line.startswith("modules/team/module.yaml:1:1: error: ") for line in problems(team))


def test_the_stacks_variables_are_not_visible_in_a_module(team: Folder) -> None:
    team.write(
        {
            "reconciler.yaml": "kind: Stack\nspec: {variables: {region: eu}}\n",
            "modules/team/project.yaml": PROJECT.replace("Budget ${var.budget}", "${var.region}"),
        }
    )
    assert any(
        'Unknown variable: The module declares no variable "region". Add it to variables in '
        "modules/team/module.yaml." in line
        for line in problems(team)
    )
