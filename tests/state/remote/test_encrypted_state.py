"""An encrypted state is never read or written in the clear, and never mistaken for an empty one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Workspace

pyrage = pytest.importorskip("pyrage", reason="the extra [encryption] is not installed")

NAME = "Nobody may read this name"
PROJECT = f"""
kind: Project
metadata: {{name: search}}
spec: {{name: {NAME}}}
"""


class Team:
    """An identity file, and the recipients that a stack declares."""

    def __init__(self, folder: Path, name: str) -> None:
        identity = pyrage.x25519.Identity.generate()
        self.recipient = str(identity.to_public())
        self.identity = folder / f"{name}.age"
        self.identity.write_text(f"{identity}\n", encoding="utf-8")
        self.identity.chmod(0o600)


@pytest.fixture
def ada(tmp_path: Path) -> Team:
    return Team(tmp_path, "ada")


@pytest.fixture
def bob(tmp_path: Path) -> Team:
    return Team(tmp_path, "bob")


def declare(workspace: Workspace, *recipients: str) -> Workspace:
    """A stack with one project, encrypted for these recipients."""
    encryption = f"  encryption: {{age: {{recipients: [{', '.join(recipients)}]}}}}\n"
    workspace.write(
        {
            "reconciler.yaml": "kind: Stack\nmetadata: {name: acme}\nspec:\n"
            "  manifests: [manifests.yaml]\n" + (encryption if recipients else "")
        }
    )
    return workspace.declare(PROJECT)


def as_member(workspace: Workspace, member: Team) -> Workspace:
    workspace.variables["RECONCILER_AGE_IDENTITY"] = str(member.identity)
    return workspace


def stored(workspace: Workspace) -> bytes:
    """Everything that the folder of the state holds."""
    files = sorted((workspace.folder / ".reconciler").glob("*"))
    return b"".join(path.read_bytes() for path in files if path.is_file())


def test_nothing_of_a_resource_is_readable_in_the_file(workspace: Workspace, ada: Team) -> None:
    as_member(declare(workspace, ada.recipient), ada).apply()
    content = stored(workspace)
    assert b"Project/search" not in content
    assert NAME.encode() not in content


def test_the_next_plan_is_empty(workspace: Workspace, ada: Team) -> None:
    as_member(declare(workspace, ada.recipient), ada).apply()
    assert workspace.plan().code == 0


@pytest.mark.parametrize("command", ["plan", "apply", "drift", "history"])
def test_without_an_identity_a_command_refuses(
    workspace: Workspace, ada: Team, command: str
) -> None:
    as_member(declare(workspace, ada.recipient), ada).apply()
    del workspace.variables["RECONCILER_AGE_IDENTITY"]
    finished = workspace.run(command, *(["--yes"] if command == "apply" else []), expect=1)
    assert "RECONCILER_AGE_IDENTITY is not set" in finished.err


def test_a_foreign_identity_is_refused(workspace: Workspace, ada: Team, bob: Team) -> None:
    as_member(declare(workspace, ada.recipient), ada).apply()
    finished = as_member(workspace, bob).run("plan", expect=1)
    assert "no identity in" in finished.err


def test_removing_the_declaration_does_not_decrypt(workspace: Workspace, ada: Team) -> None:
    as_member(declare(workspace, ada.recipient), ada).apply()
    finished = declare(workspace).run("apply", "--yes", expect=1)
    assert "is encrypted, but the stack declares no `encryption`" in finished.err


def test_adding_the_declaration_does_not_start_over(workspace: Workspace, ada: Team) -> None:
    declare(workspace).apply()
    finished = as_member(declare(workspace, ada.recipient), ada).run("plan", expect=1)
    assert "state rekey" in finished.err


def test_rekey_encrypts_a_plain_state(workspace: Workspace, ada: Team) -> None:
    declare(workspace).apply()
    as_member(declare(workspace, ada.recipient), ada).run("state", "rekey", expect=0)
    assert NAME.encode() not in stored(workspace)
    assert workspace.plan().code == 0


def test_rekey_lets_a_new_recipient_in(workspace: Workspace, ada: Team, bob: Team) -> None:
    as_member(declare(workspace, ada.recipient), ada).apply()
    declare(workspace, ada.recipient, bob.recipient).run("state", "rekey", expect=0)
    assert as_member(workspace, bob).plan().code == 0


def test_rekey_locks_a_removed_recipient_out(workspace: Workspace, ada: Team, bob: Team) -> None:
    as_member(declare(workspace, ada.recipient, bob.recipient), ada).apply()
    declare(workspace, ada.recipient).run("state", "rekey", expect=0)
    finished = as_member(workspace, bob).run("plan", expect=1)
    assert "no identity in" in finished.err


def test_rekey_decrypts_once_the_declaration_is_gone(workspace: Workspace, ada: Team) -> None:
    as_member(declare(workspace, ada.recipient), ada).apply()
    declare(workspace).run("state", "rekey", expect=0)
    assert NAME.encode() in stored(workspace)
    assert workspace.plan().code == 0


def test_the_history_survives_rekey(workspace: Workspace, ada: Team) -> None:
    declare(workspace).apply()
    as_member(declare(workspace, ada.recipient), ada).run("state", "rekey", expect=0)
    assert "1 applied" in workspace.run("history", expect=0).out
