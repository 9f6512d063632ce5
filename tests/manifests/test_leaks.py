"""Keys in use never appear in a message: not whole, not shortened, not as the name of a resource."""

from __future__ import annotations

import pytest

from reconciler.errors import ConfigurationError
from reconciler.manifests.problems import Problems
from reconciler.model.address import Address
from reconciler.model.diagnostic import SourceLocation
from reconciler.model.secret import Secret
from tests.manifests.conftest import PROJECT, Folder

KEY = "hunter2-THISisAkeyTHATisINuseANDhasNOshapeOFitsOWN"
STACK = "kind: Stack\nspec: {variables: {leak: {type: string}}}\n"
LEAK = "'${var.leak}'"
BOT = "kind: Assistant\nmetadata: {name: bot}\n"
EACH = BOT.replace("bot", "'${each.key}'")


def said(folder: Folder, document: str, stack: str = STACK) -> list[str]:
    """The problems of a manifest that may read a key in use through a variable."""
    folder.env["OPENAI_API_KEY"] = KEY
    variables = {"leak": KEY} if stack is STACK else {}
    return folder.write({"reconciler.yaml": stack, "m.yaml": document}).problems(
        variables=variables
    )


DOCUMENTS = {
    "name": (f"kind: Agent\nmetadata: {{name: {LEAK}}}\nspec: {{model: m}}\n", "2:18"),
    "part of a name": (
        "kind: Agent\nmetadata: {name: 'a-${var.leak}'}\nspec: {model: m}\n",
        "2:18",
    ),
    "project": (
        f"kind: Agent\nmetadata: {{name: a, project: {LEAK}}}\nspec: {{model: m}}\n",
        "2:30",
    ),
    "name of a project": (
        f"kind: Project\nmetadata: {{name: {LEAK}}}\nspec: {{name: x}}\n",
        "2:18",
    ),
    "key of for_each": (f"{EACH}for_each: {{{KEY}: 1}}\nspec: {{model: m}}\n", "3:12"),
    "item of for_each": (f"{EACH}for_each: [{LEAK}]\nspec: {{model: m}}\n", "3:12"),
    "all of for_each": (f"{BOT}for_each: {LEAK}\nspec: {{model: m}}\n", "3:11"),
    "type": (f"{BOT}spec: {{model: m, temperature: {LEAK}}}\n", "3:31"),
    "choice": (f"{BOT}spec: {{model: m}}\nlifecycle: {{on_remove: {LEAK}}}\n", "4:24"),
    "constant": (f"{BOT}spec: {{model: m}}\napiVersion: {KEY}\n", "4:13"),
    "pattern": (f"{BOT}spec: {{model: m, response_format: {LEAK}}}\n", "3:35"),
    "list of fields": (f"{BOT}spec: {{model: m}}\nlifecycle: {{ignore_changes: {LEAK}}}\n", "4:29"),
    "adopted id": (f"{BOT}spec: {{model: m}}\nlifecycle: {{adopt: {LEAK}}}\n", "4:20"),
    "earlier address": (f"{BOT}spec: {{model: m}}\nlifecycle: {{renamed_from: {LEAK}}}\n", "4:27"),
    "unknown field": (f"{BOT}spec: {{model: m, {KEY}: x}}\n", "3:"),
    "spec": (f"{BOT}spec: {LEAK}\n", "3:7"),
}


@pytest.mark.parametrize(("document", "place"), DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_a_key_in_use_is_one_problem_that_prints_nothing_of_it(
    folder: Folder, document: str, place: str
) -> None:
    (problem,) = said(folder, document)
    assert problem.startswith(f"m.yaml:{place}")
    assert "A credential does not belong in a manifest" in problem
    assert KEY[:8] not in problem


def test_an_unknown_kind_that_is_a_key_in_use_is_not_quoted(folder: Folder) -> None:
    assert not any(
        KEY[:8] in problem
        for problem in said(folder, f"kind: {KEY}\nmetadata: {{name: a}}\nspec: {{}}\n")
    )


@pytest.mark.parametrize(
    "spec",
    [
        f"{{guards: {{max_deletes: {KEY}}}}}",
        f"{{pace: {{admin_requests_per_minute: {KEY}}}}}",
        f"{{projects: {{{KEY}: p}}}}",
    ],
)
def test_a_wrong_value_of_the_stack_is_not_quoted_where_it_is_a_key(
    folder: Folder, spec: str
) -> None:
    (problem,) = said(folder, PROJECT, f"kind: Stack\nspec: {spec}\n")
    assert KEY[:8] not in problem


def test_a_text_shaped_like_a_key_is_masked_before_a_message_shortens_it(folder: Folder) -> None:
    value = "x" * 30 + " sk-proj-abcdefghijklmnopqrstuv"
    problems = folder.write(
        {"m.yaml": f"{BOT}spec: {{model: m, temperature: {value}}}\n"}
    ).problems()
    assert not any("sk-proj" in problem for problem in problems)


def test_a_key_in_use_is_refused_among_the_projects_of_a_stack(folder: Folder) -> None:
    (problem,) = said(folder, PROJECT, f"kind: Stack\nspec: {{projects: {{leg: {KEY}}}}}\n")
    assert "A credential does not belong in a stack file" in problem
    assert KEY[:8] not in problem


def test_a_variable_that_holds_a_key_in_use_may_not_be_read_by_manifests(folder: Folder) -> None:
    document = "kind: Agent\nmetadata: {name: '${env.OPENAI_API_KEY}'}\nspec: {model: m}\n"
    assert said(folder, document, "kind: Stack\nspec: {env: [OPENAI_API_KEY]}\n") == [
        (
            'reconciler.yaml:2:14: error: Manifests must not read credentials: "OPENAI_API_KEY" holds a key '
            "that is in use: remove it from spec.env."
        )
    ]


def test_secrets_are_registered_at_once_even_if_loading_fails(
    folder: Folder,
) -> None:
    learnt: list[Secret] = []
    folder.env["OTHER"] = KEY
    stack = "kind: Stack\nspec: {credentials: {default: '${env.OTHER}'}}\n"
    with pytest.raises(ConfigurationError):
        folder.write({"reconciler.yaml": stack, "m.yaml": "kind: Nothing\n"}).load(
            learn=learnt.append
        )
    assert Secret(KEY) in learnt


def test_an_address_and_a_file_with_a_secret_in_them_are_not_printed() -> None:
    problems = Problems()
    problems.add("Wrong", address=Address("Agent", KEY), place=SourceLocation(f"{KEY}.yaml", 1, 1))
    (found,) = problems.in_reading_order([Secret(KEY)])
    assert str(found) == "•••.yaml:1:1: error: Wrong"
