"""Expressions: their values, where they can stand, and the problems of invalid ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.manifests.expressions import Expression, parse
from reconciler.model.address import Address
from reconciler.model.values import Reference, Template
from tests.manifests.conftest import PROJECT, Folder

STACK = """\
kind: Stack
spec:
  env: [STAGE, UNSET]
  variables:
    number: 3
    flag: true
    text: hello
    sneaky: ${env.SECRET}
    limits: {gpt-4.1: {requests: 5}, list: [a, b]}
    nothing: {default: null}
"""
HANDBOOK = (
    "kind: VectorStore\nmetadata: {name: handbook, project: search}\nspec: {name: Handbook}\n"
)


def agent(name: str) -> str:
    return f"kind: Agent\nmetadata: {{name: bot}}\nspec:\n  model: m\n  name: {name}\n"


def with_name(folder: Folder, name: str) -> Folder:
    return folder.write(
        {"reconciler.yaml": STACK, "m.yaml": f"{PROJECT}---\n{HANDBOOK}---\n{agent(name)}"}
    )


STORE = Reference(Address("VectorStore", "handbook", "search"))
STORE_NAME = Reference(Address("VectorStore", "handbook", "search"), ("name",))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("${var.text}", "hello"),
        ("${ var.text }", "hello"),
        ("${var.text} ${var.number} ${var.flag}", "hello 3 true"),
        ("${env.STAGE}", "prod"),
        ("${file:prompts/a.md}", "Say ${var.text}\n"),
        ("a ${file:prompts/a.md}", "a Say ${var.text}\n"),
        ("${var.sneaky}", "${env.SECRET}"),
        ("${var.limits.list.1}", "b"),
        ("$${var.text}", "${var.text}"),
        ("$$${var.text}", "$${var.text}"),
        ("cost: $5 {a} }", "cost: $5 {a} }"),
        ("${VectorStore/search/handbook}", STORE),
        ("${VectorStore/search/handbook.id}", STORE),
        ("${VectorStore/search/handbook.name}", STORE_NAME),
        (
            "see ${VectorStore/search/handbook} for ${var.text}",
            Template(("see ", STORE, " for hello")),
        ),
    ],
)
def test_an_expression_evaluates_to_its_value(folder: Folder, text: str, meant: Any) -> None:
    folder.env |= {"STAGE": "prod", "RECONCILER_ALLOW_ENV": "STAGE, UNSET"}
    with_name(folder, f"'{text}'").write({"prompts/a.md": "Say ${var.text}\n"})
    assert folder.spec("Agent/bot")["name"] == meant


@pytest.mark.parametrize(
    ("expression", "meant"), [("${var.number}", 3), ("${var.limits.gpt-4.1.requests}", 5)]
)
def test_a_string_that_is_one_expression_keeps_the_type(
    folder: Folder, expression: str, meant: Any
) -> None:
    limit = f"kind: RateLimit\nmetadata: {{name: m, project: search}}\nspec: {{model: m, max_requests_per_1_minute: '{expression}'}}\n"  # noqa: E501
    folder.write({"reconciler.yaml": STACK, "m.yaml": f"{PROJECT}---\n{limit}"})
    assert folder.spec("RateLimit/search/m")["max_requests_per_1_minute"] == meant


NOT_CLEAR = "To write ${ literally, use $${."
FORMS = "${var.NAME}, ${env.NAME}, ${file:PATH}, ${Kind/name}, ${each.key}, ${each.value} or ${module.name}"
REFUSED = {
    "unknown form": (
        "${HOME}",
        f'Unknown expression: "${{HOME}}" is not one of {FORMS}. {NOT_CLEAR}',
    ),
    "another stack without an output": (
        "${stack.platform}",
        (
            'Incomplete expression: "${stack.platform}": write ${stack.NAME.OUTPUT} for an output of '
            "another stack."
        ),
    ),
    "empty": ("${}", f'Unknown expression: "${{}}" is not one of {FORMS}. {NOT_CLEAR}'),
    "unfinished": ("a ${var.text", f"Unfinished expression: A ${{ has no closing }}. {NOT_CLEAR}"),
    "unknown variable": (
        "${var.nmber}",
        'Unknown variable: No variable "nmber" is declared. Did you mean "number"?',
    ),
    "unknown key": (
        "${var.limits.lst}",
        'No such key: "var.limits" has no "lst". Did you mean "list"?',
    ),
    "no such index": ("${var.limits.list.2}", 'No such key: "var.limits.list" has no "2".'),
    "map in text": (
        "x ${var.limits}",
        (
            'Cannot be inserted into text: "${var.limits}" is a map; only strings, numbers and booleans can '
            "be inserted into text."
        ),
    ),
    "list in text": (
        "x ${var.limits.list}",
        (
            'Cannot be inserted into text: "${var.limits.list}" is a list; only strings, numbers and '
            "booleans can be inserted into text."
        ),
    ),
    "null in text": (
        "x ${var.nothing}",
        (
            'Cannot be inserted into text: "${var.nothing}" is null; only strings, numbers and booleans can '
            "be inserted into text."
        ),
    ),
    "variable of the process that is not allowed": (
        "${env.SECRET}",
        (
            'Environment variable not allowed: "${env.SECRET}" must not be read here. Add "SECRET" to '
            "spec.env in reconciler.yaml, the list of variables that manifests may read. Manifests may read "
            "only the variables that the caller allows. Run with --allow-env SECRET, or add SECRET to the "
            "environment variable RECONCILER_ALLOW_ENV."
        ),
    ),
    "variable of the process that is not set": (
        "${env.UNSET}",
        'Environment variable not set: "UNSET" is not set.',
    ),
    "each without for_each": (
        "${each.key}",
        'each outside for_each: "${each.key}" is only valid in a document with for_each.',
    ),
    "missing file": (
        "${file:no.md}",
        'No such file: "no.md" does not exist in the stack\'s folder.',
    ),
    "folder": ("${file:.}", 'Not a file: "." is a folder.'),
    "absolute path": (
        "${file:/etc/passwd}",
        'Path outside the stack: "/etc/passwd" is absolute: write it relative to the stack\'s folder.',
    ),
    "path upwards": (
        "${file:../secret}",
        'Path outside the stack: "../secret" points outside the stack\'s folder.',
    ),
    "path upwards in the middle": (
        "${file:a/../../secret}",
        'Path outside the stack: "a/../../secret" points outside the stack\'s folder.',
    ),
    "unknown kind": (
        "${Vectorstore/handbook}",
        'Unknown kind: "${Vectorstore/handbook}": there is no kind "Vectorstore". Did you mean "VectorStore"?',
    ),
    "unknown reference": (
        "${VectorStore/search/handbok}",
        (
            'Unknown reference: No manifest declares "VectorStore/search/handbok". Did you mean '
            '"VectorStore/search/handbook"?'
        ),
    ),
    "unknown field": (
        "${VectorStore/search/handbook.nam}",
        'Unknown field: VectorStore has no field "nam". Did you mean "name"?',
    ),
    "unknown part of a field": (
        "${VectorStore/search/handbook.expires_after.dys}",
        'Unknown field: "expires_after" of VectorStore has nothing at "dys".',
    ),
    "field that is no value": (
        "${VectorStore/search/handbook.files}",
        'Field cannot be referenced: "files" of VectorStore cannot be used in a reference.',
    ),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_an_invalid_expression_is_one_problem(folder: Folder, text: str, message: str) -> None:
    folder.env |= {"SECRET": "not for manifests", "RECONCILER_ALLOW_ENV": "UNSET"}
    with_name(folder, f"'{text}'")
    assert folder.problems() == [f"m.yaml:13:9: error: Agent/bot: {message}"]


def test_a_file_that_is_not_text_is_refused(folder: Folder) -> None:
    with_name(folder, "${file:logo.png}")
    (folder.root / "logo.png").write_bytes(b"\x89PNG\xff")
    assert folder.problems() == [
        'm.yaml:13:9: error: Agent/bot: Not UTF-8: "logo.png" is not UTF-8 text.'
    ]


def test_a_link_out_of_the_stack_is_not_followed(folder: Folder) -> None:
    (folder.root.parent / "secret").write_text("x")
    (folder.root / "link").symlink_to(folder.root.parent / "secret")
    with_name(folder, "${file:link}")
    assert folder.problems() == [
        (
            'm.yaml:13:9: error: Agent/bot: Path outside the stack: "link" points outside the stack\'s '
            "folder through a link."
        )
    ]


def test_a_folder_that_is_a_link_out_of_the_stack_is_not_followed(folder: Folder) -> None:
    (folder.root.parent / "other").mkdir()
    (folder.root.parent / "other" / "secret").write_text("x")
    (folder.root / "link").symlink_to(folder.root.parent / "other")
    with_name(folder, "${file:link/secret}")
    assert "points outside the stack's folder through a link." in folder.problems()[0]


@pytest.mark.parametrize("path", [".git/config", "a/../.GIT/config", "link"])
def test_files_of_git_are_not_read(folder: Folder, path: str) -> None:
    with_name(folder, f"${{file:{path}}}").write({".git/config": "token", "a/b": ""})
    (folder.root / "link").symlink_to(".git/config")
    assert folder.problems() == [
        f'm.yaml:13:9: error: Agent/bot: Path inside .git: "{path}" is in a .git folder, which may contain credentials.'
    ]


def test_a_link_within_the_stack_is_followed(folder: Folder) -> None:
    with_name(folder, "${file:link}").write({"real.md": "hello"})
    (folder.root / "link").symlink_to("real.md")
    assert folder.spec("Agent/bot")["name"] == "hello"


def test_keys_are_not_expanded(folder: Folder) -> None:
    folder.write(
        {
            "m.yaml": "kind: Agent\nmetadata: {name: bot}\nspec: {model: m, metadata: {'${var.x}': v}}\n"
        }
    )
    assert folder.spec("Agent/bot")["metadata"] == {"${var.x}": "v"}


def test_metadata_cannot_hold_a_reference(folder: Folder) -> None:
    folder.write(
        {
            "m.yaml": f"{PROJECT}---\nkind: Agent\nmetadata: {{name: '${{Project/search}}'}}\nspec: {{model: m}}\n"
        }
    )
    assert folder.problems() == [
        (
            'm.yaml:6:18: error: Reference not possible here: "${Project/search}" is known only after '
            "apply, but this value must be known before."
        )
    ]


def test_a_reference_with_dots_means_the_longest_declared_name(folder: Folder) -> None:
    limits = "".join(
        f"---\nkind: RateLimit\nmetadata: {{name: {name}, project: search}}\nspec: {{model: {name}}}\n"
        for name in ("gpt-4", "gpt-4.1")
    )
    agent_document = "---\n" + agent("'${RateLimit/search/gpt-4.1.max_requests_per_1_minute}'")
    folder.write({"m.yaml": PROJECT + limits + agent_document})
    wanted = Reference(Address("RateLimit", "gpt-4.1", "search"), ("max_requests_per_1_minute",))
    assert folder.spec("Agent/bot")["name"] == wanted


def test_a_reference_without_its_project_gets_a_suggestion_that_names_it(folder: Folder) -> None:
    bot = "kind: Agent\nmetadata: {name: bot, project: search}\nspec: {model: m, name: '${VectorStore/handbook}'}\n"
    folder.write({"m.yaml": f"{PROJECT}---\n{HANDBOOK}---\n{bot}"})
    assert folder.problems() == [
        (
            "m.yaml:11:24: error: Agent/search/bot: Unknown reference: No manifest declares "
            '"VectorStore/handbook". A reference to an object in a project names the project: write '
            '"${VectorStore/search/handbook}".'
        )
    ]


@given(st.text(st.characters(exclude_characters="$", exclude_categories=["Cs"])))
def test_text_without_a_dollar_is_unchanged(text: str) -> None:
    assert parse(text) == (text,)


@given(st.text("ab $", max_size=8), st.text("ab $", max_size=8))
def test_an_escaped_expression_is_never_an_expression(before: str, after: str) -> None:
    parts = parse(f"{before.rstrip('$')}$${{var.x}}{after}")
    assert not any(isinstance(part, Expression) for part in parts)
