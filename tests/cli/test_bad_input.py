"""Wrong input: one message for each problem, with its location, before any call."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Workspace

NAMED = "kind: Assistant\nmetadata: {name: bot}\n"
GOOD = NAMED + "spec: {model: gpt-4o}\n"
STACK = "kind: Stack\nmetadata: {name: acme}\nspec: "
PROJECT = "kind: Project\nmetadata: {name: p}\nspec: {name: P}\n---\n"
BOMB = 'a: &a ["x","x","x","x","x","x","x","x","x","x"]\n' + "".join(
    f"{here}: &{here} [{', '.join(['*' + before] * 10)}]\n"
    for before, here in zip("abcdefg", "bcdefgh", strict=True)
)


def store(files: str) -> str:
    return f"kind: VectorStore\nmetadata: {{name: s}}\nspec: {{name: S, files: [{files}]}}\n"


def account(name: str, target: str) -> str:
    return (
        f"kind: ServiceAccount\nmetadata: {{name: {name}, project: p}}\n"
        f"spec: {{name: {name}, key: {{write_to: {target}}}}}\n---\n"
    )


# The text of a.yaml, where its one problem is, and what is said about it.
MANIFESTS = {
    "syntax": ("kind: [Assistant\nmetadata: x\n", "a.yaml:2:9", "Not valid YAML"),
    "tab": ("kind: Assistant\nmetadata:\n\tname: x\n", "a.yaml:3:1", "Not valid YAML"),
    "duplicate key": (NAMED + "spec: {model: a, model: b}\n", "a.yaml:3:18", '"model" appears twice'),
    "unknown kind": (GOOD.replace("Assistant", "Asistant"), "a.yaml:1:7", 'Did you mean "Assistant"?'),
    "unknown field": (NAMED + "spec: {model: x, instruction: y}\n", "a.yaml:3:18", 'Did you mean "instructions"?'),
    "unknown section": (GOOD + "lifecyle: {}\n", "a.yaml:4:1", 'Did you mean "lifecycle"?'),
    "wrong type": (NAMED + "spec: {model: x, temperature: hot}\n", "a.yaml:3:31", "must be a number"),
    "over a limit": (NAMED + "spec: {model: x, temperature: 7}\n", "a.yaml:3:31", "the maximum is 2"),
    "null spec": (NAMED + "spec:\n", "a.yaml:3:6", "Null is not allowed"),
    "list as spec": (NAMED + "spec: [1]\n", "a.yaml:3:7", "spec must be a map"),
    "number as key": (NAMED + "spec: {model: x, metadata: {1: y}}\n", "a.yaml:3:29", 'write "1" in quotes'),
    "python tag": (GOOD + "lifecycle: {adopt: !!python/name:os.system x}\n", "a.yaml:4:20", "only plain data"),
    "alias bomb": (NAMED + BOMB, "a.yaml:7:", "Aliases expand too far"),
    "deep nesting": (NAMED + "spec: " + "[" * 5000 + "]" * 5000 + "\n", "a.yaml:3:10", "Nested too deeply"),
    "emoji as name": (GOOD.replace("bot", '"🤖"'), "a.yaml:2:18", "A name starts with a letter or digit"),
    "undeclared variable": (NAMED + 'spec: {model: "${var.model}"}\n', "a.yaml:3:15", "No variable"),
    "undeclared environment": (NAMED + 'spec: {model: "${env.HOME}"}\n', "a.yaml:3:15", '--allow-env HOME'),
    "unfinished expression": (NAMED + 'spec: {model: "${"}\n', "a.yaml:3:15", "has no closing }"),
    "empty expression": (NAMED + 'spec: {model: "${}"}\n', "a.yaml:3:15", "Unknown expression"),
    "nameless variable": (NAMED + 'spec: {model: "${var.}"}\n', "a.yaml:3:15", "Unknown expression"),
    "nested expression": (NAMED + 'spec: {model: "${var.${var.x}}"}\n', "a.yaml:3:15", "Nested expression"),
    "each without for_each": (NAMED + 'spec: {model: "${each.key}"}\n', "a.yaml:3:15", "each outside for_each"),
    "number as for_each": (GOOD + "for_each: 3\n", "a.yaml:4:11", "must be a map or a list of strings"),
    "name twice in for_each": (GOOD + "for_each: [a, b, a]\n", "a.yaml:4:11", "more than once"),
    "one name for all": (GOOD + "for_each: [a, b]\n", "a.yaml:2:18", "Use ${each.key}"),
    "missing file": (NAMED + 'spec: {model: "${file:x.md}"}\n', "a.yaml:3:15", "does not exist"),
    "file above": (NAMED + 'spec: {model: "${file:../x.md}"}\n', "a.yaml:3:15", "points outside the stack's folder"),
    "absolute file": (NAMED + 'spec: {model: "${file:/etc/hosts}"}\n', "a.yaml:3:15", "is absolute"),
    "unknown reference": (NAMED + 'spec: {model: "${File/x}"}\n', "a.yaml:3:15", 'No manifest declares "File/x"'),
    "reference to itself": (NAMED + 'spec: {model: "${Assistant/bot}"}\n', "a.yaml:3:15", "Cyclic references"),
    "duplicate address": (GOOD + "---\n" + GOOD, "a.yaml:6:18", "is also declared at a.yaml:2:18"),
    "undeclared project": (GOOD.replace("bot", "bot, project: q"), "a.yaml:2:32", 'No manifest declares project "q"'),
    "key written outside": (PROJECT + account("s", "{file: ../k}"), "a.yaml:7:40", "points outside the stack's folder"),
    "two keys in one file": (
        PROJECT + account("s", "{file: k}") + account("t", "{file: ./k}"), "a.yaml:11:40", "writes its key to",
    ),
    "overlap of chunks": (
        store("{path: a.yaml, chunking_strategy: {type: static, static: "
              "{max_chunk_size_tokens: 800, chunk_overlap_tokens: 500}}}"), "a.yaml:3:", "the maximum is half",
    ),
    "reserved attribute": (store("{path: a.yaml, attributes: {reconciler_path: x}}"), "a.yaml:3:", "Reserved key"),
    "seventeen pairs": (
        NAMED + "spec: {model: x, metadata: {" + ", ".join(f"k{n}: v" for n in range(17)) + "}}\n",
        "a.yaml:3:28", "the maximum is 16",
    ),
    "misspelt lifecycle": (GOOD + "lifecycle: {prevent_destory: true}\n", "a.yaml:4:13", '"prevent_destroy"?'),
    "key in use": (NAMED + "spec: {model: x, instructions: use sk-emulator}\n", "a.yaml:3:32", "a key that is in use"),
}  # fmt: skip

# The spec of the stack file, where its one problem is, and what is said about it.
STACKS = {
    "base URL": (
        "{base_url: http://evil.example}",
        "reconciler.yaml:3:8",
        "OPENAI_BASE_URL or --base-url only",
    ),
    "literal key": (
        "{credentials: {admin: sk-abc}}",
        "reconciler.yaml:3:29",
        "does not belong in a file",
    ),
    "manifests above": (
        "{manifests: [../]}",
        "reconciler.yaml:3:20",
        "points outside the stack's folder",
    ),
    "variable without value": (
        "{variables: {x: {type: string}}}",
        "reconciler.yaml:3:20",
        "--var x=VALUE",
    ),
    "other backend": ("{backend: {s3: {}}}", "reconciler.yaml:3:18", "set RECONCILER_BACKEND"),
}


def refused(workspace: Workspace, *arguments: str) -> str:
    """What is said about input for which nothing may be called."""
    done = workspace.run(*(arguments or ("plan",)), expect=1)
    assert "Traceback" not in done.err
    assert "mistake in reconciler" not in done.err
    assert workspace.emulator.requests == []
    return done.err


@pytest.mark.parametrize(("text", "place", "message"), MANIFESTS.values(), ids=MANIFESTS.keys())
def test_a_bad_manifest_is_one_problem_with_its_place(
    workspace: Workspace, text: str, place: str, message: str
) -> None:
    said = refused(workspace.write({"a.yaml": text}))
    assert place in said
    assert message in said
    assert said.endswith("1 error\n")


@pytest.mark.parametrize(("spec", "place", "message"), STACKS.values(), ids=STACKS.keys())
def test_a_bad_stack_file_is_one_problem_with_its_place(
    workspace: Workspace, spec: str, place: str, message: str
) -> None:
    said = refused(workspace.write({"a.yaml": GOOD, "reconciler.yaml": STACK + spec + "\n"}))
    assert place in said
    assert message in said
    assert said.endswith("1 error\n")


def test_every_wrong_section_of_a_stack_is_reported_at_once(workspace: Workspace) -> None:
    spec = "{manifests: m, variables: [a], env: HOME, environments: [prod], projects: [x], credentials: [y], outputs: [z]}"
    assert refused(workspace.write({"a.yaml": GOOD, "reconciler.yaml": STACK + spec})).endswith(
        "7 errors\n"
    )


def test_text_that_is_not_utf_8_is_reported_by_line_and_column(workspace: Workspace) -> None:
    (workspace.folder / "a.yaml").write_bytes(GOOD.encode() + b"# \xff\n")
    assert "a.yaml:4:3" in refused(workspace)


def test_a_byte_order_mark_and_windows_line_ends_are_no_problem(workspace: Workspace) -> None:
    (workspace.folder / "a.yaml").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    workspace.run("validate", expect=0)


def test_a_manifest_that_is_a_link_out_of_the_folder_is_refused(workspace: Workspace) -> None:
    (workspace.folder / "a.yaml").symlink_to("/etc/hosts")
    assert "points outside the stack's folder through a link" in refused(workspace)


def test_an_upload_that_is_a_link_out_of_the_folder_is_refused(workspace: Workspace) -> None:
    workspace.write({"a.yaml": store("{path: docs/*}"), "docs/x.md": "x"})
    (workspace.folder / "docs" / "hosts").symlink_to("/etc/hosts")
    assert '"docs/hosts" points outside the stack\'s folder through a link' in refused(workspace)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_manifest_is_reported_by_name(workspace: Workspace) -> None:
    workspace.write({"a.yaml": GOOD})
    (workspace.folder / "a.yaml").chmod(0)
    assert "a.yaml:1:1" in refused(workspace)


def test_a_folder_without_manifests_is_named(workspace: Workspace) -> None:
    assert f'in "{workspace.folder}"' in refused(workspace)


def test_a_bomb_in_a_file_that_is_no_manifest_is_not_set_off(workspace: Workspace) -> None:
    workspace.write({"a.yaml": GOOD, "values.yaml": BOMB}).run("validate", expect=0)


@pytest.mark.parametrize(
    ("variable", "text", "place", "remedy"),
    [
        ("OPENAI_API_KEY", GOOD, "a.yaml:1:1", "set OPENAI_API_KEY"),
        ("OPENAI_ADMIN_KEY", PROJECT, "a.yaml:1:1", "set OPENAI_ADMIN_KEY"),
    ],
)
def test_a_scope_without_a_key_is_reported_before_the_first_call(
    workspace: Workspace, variable: str, text: str, place: str, remedy: str
) -> None:
    workspace.variables = {variable: ""}
    said = refused(workspace.write({"a.yaml": text}))
    assert (place in said, remedy in said) == (True, True)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/v1",
        "http://127.0.0.1.evil.example/v1",
        "http://localhost@evil.example/v1",
        "ftp://x",
        "x:80",
    ],
)
def test_a_base_url_that_would_show_the_keys_is_refused(workspace: Workspace, url: str) -> None:
    workspace.variables = {"OPENAI_BASE_URL": url}
    assert "https" in refused(workspace.write({"a.yaml": GOOD}))


USAGE = [
    "nope", "plan extra", "plan --nope", "plan --refresh half", "plan --budget -1", "plan --target foo",
    "plan --report x:xml", "plan -e prod", "plan --var x", "plan --var x=1", "plan --var-file nope.yaml",
    "plan -C nope", "apply nope.json", "apply a.yaml", "apply a.yaml --target Assistant/bot", "show a.yaml",
    "import foo asst_x", "import Assistant/zzz asst_x", "explain Nope", "schema Nope", "output nope",
    "state show Assistant/bot", "state import a.yaml", "emulator --fault foo",
]  # fmt: skip


@pytest.mark.parametrize("words", USAGE)
def test_wrong_usage_is_exit_code_1_and_calls_nothing(workspace: Workspace, words: str) -> None:
    assert refused(workspace.write({"a.yaml": GOOD}), *words.split())


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_saved_plan_that_was_edited_is_refused(workspace: Workspace) -> None:
    workspace.write({"a.yaml": GOOD}).run("plan", "--out", "p.json", expect=0)
    edited(workspace.folder / "p.json", '"gpt-4o"', '"gpt-5"')
    workspace.emulator.clear_requests()
    assert "changed after it was saved" in refused(workspace, "apply", "p.json")


def test_a_saved_plan_of_another_environment_is_refused(workspace: Workspace) -> None:
    workspace.write(
        {"a.yaml": GOOD, "reconciler.yaml": STACK + "{environments: {dev: {}, prod: {}}}"}
    )
    workspace.run("plan", "-e", "dev", "--out", "p.json", expect=0)
    workspace.emulator.clear_requests()
    assert (
        "the plan is of acme/dev" in workspace.run("apply", "-e", "prod", "p.json", expect=10).err
    )
    assert workspace.emulator.requests == []
