"""The cache of parsed manifests that an apply saves for later runs."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from reconciler.manifests.parsed import ParsedFiles
from reconciler.manifests.problems import Problems
from tests.conftest import Workspace

BOT = """\
kind: Assistant
metadata: {name: bot}
spec: {name: Bot, model: gpt-4.1, temperature: 0.5}
"""
OTHER = BOT.replace("bot", "other").replace("Bot", "Other")


def database(workspace: Workspace) -> sqlite3.Connection:
    (file,) = (workspace.folder / ".reconciler").glob("*.db")
    return sqlite3.connect(file, isolation_level=None)


def parsed(text: str) -> dict[str, bytes]:
    files = ParsedFiles()
    files.documents(text, "a.yaml", Problems())
    return dict(files.to_keep())


def known(workspace: Workspace) -> set[str]:
    with closing(database(workspace)) as connection:
        return {digest for (digest,) in connection.execute("SELECT digest FROM parsed")}


def test_an_apply_keeps_what_it_parsed_and_nothing_else(workspace: Workspace) -> None:
    workspace.write({"a.yaml": BOT, "b.yaml": OTHER}).apply()
    assert known(workspace) == {*parsed(BOT), *parsed(OTHER)}
    (workspace.folder / "b.yaml").unlink()
    workspace.apply()
    assert known(workspace) == set(parsed(BOT))


def test_a_plan_takes_what_was_kept(workspace: Workspace) -> None:
    workspace.write({"a.yaml": BOT}).apply()
    [something_else] = parsed(BOT.replace("0.5", "0.9")).values()
    with closing(database(workspace)) as connection:
        connection.execute("UPDATE parsed SET documents = ?", (something_else,))
    assert "0.5 → 0.9" in workspace.plan().out


def test_a_plan_sees_what_was_edited(workspace: Workspace) -> None:
    workspace.write({"a.yaml": BOT}).apply()
    workspace.write({"a.yaml": BOT.replace("0.5", "0.7")})
    assert "0.5 → 0.7" in workspace.plan().out


def test_a_problem_of_a_manifest_that_was_kept_is_told_with_its_place(workspace: Workspace) -> None:
    stack = "kind: Stack\nmetadata: {name: acme}\nspec: {manifests: [a.yaml]}\n"
    variables = stack.replace("]}", "], variables: {model: {default: gpt-4.1}}}")
    workspace.write(
        {"reconciler.yaml": variables, "a.yaml": BOT.replace("gpt-4.1", '"${var.model}"')}
    ).apply()
    refused = workspace.write({"reconciler.yaml": stack}).run("plan", expect=1)
    assert "a.yaml:3:26" in refused.err


def test_a_state_that_cannot_be_read_does_not_hide_what_is_wrong_with_manifests(
    workspace: Workspace,
) -> None:
    workspace.write({"a.yaml": BOT}).apply()
    (file,) = (workspace.folder / ".reconciler").glob("*.db")
    file.write_bytes(b"no database" * 100)
    workspace.write({"a.yaml": BOT.replace("model:", "modle:")})
    assert "modle" in workspace.run("plan", expect=1).err
