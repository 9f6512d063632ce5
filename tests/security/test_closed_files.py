"""No manifest can read a file with secrets, under any name or declaration."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.security.conftest import Inside
from tests.security.platform import manifest

SECRET = "a token of the issues, in plain words"
BEARER = "{vault_id: '${Vault/v}', auth: {type: static_bearer, mcp_server_url: 'https://mcp.example.com/x', token: "
SENDS = "---\n".join(
    (
        manifest("Vault/v", "{name: V}"),
        manifest("Credential/c", BEARER + "{from_file: secrets/t.token}}}"),
    )
)
SEARCH = manifest("Project/search", "{name: Search}")
DELIVERS = (
    SEARCH
    + "---\n"
    + manifest("ServiceAccount/search/ci", "{name: ci, key: {write_to: {file: keys/ci.key}}}")
)
USES = {
    "text": lambda path: manifest(
        "Assistant/bot", f'{{model: m, instructions: "${{file:{path}}}"}}'
    ),
    "upload": lambda path: manifest("File/f", f'{{path: "{path}", purpose: assistants}}'),
    "folder": lambda path: manifest("VectorStore/v", f'{{name: v, files: [{{path: "{path}"}}]}}'),
    "skill": lambda path: manifest(
        "Skill/s", f'{{files: [{{path: "skill/*"}}, {{path: "{path}"}}]}}'
    ),
    "check": lambda path: manifest(
        "Check/c",
        f'{{operation: createTranscription, body: {{model: whisper-1}}, files: {{file: "{path}"}}}}',
    ),
    "name": lambda path: manifest("Assistant/bot", "{model: m}").replace(
        "bot", f'"${{file:{path}}}"'
    ),
    "for_each": lambda path: (
        manifest("Assistant/bot", "{model: m}") + f'for_each: ["${{file:{path}}}"]\n'
    ),
}


def open_link(folder: Path) -> None:
    (folder / "docs" / "link.txt").symlink_to("../secrets/t.token")


def open_hard_link(folder: Path) -> None:
    os.link(folder / "secrets" / "t.token", folder / "docs" / "link.txt")


def open_linked_folder(folder: Path) -> None:
    (folder / "linked").symlink_to("secrets")


def other_case(folder: Path) -> None:
    (folder / "SECRETS").mkdir()
    (folder / "SECRETS" / "t.token").write_text(SECRET)


WAYS: dict[str, tuple[Callable[[Path], None], str]] = {
    "its name": (lambda _: None, "secrets/t.token"),
    "its name the long way": (lambda _: None, "./docs/../secrets/./t.token"),
    "a link": (open_link, "docs/link.txt"),
    "a hard link": (open_hard_link, "docs/link.txt"),
    "a linked folder": (open_linked_folder, "linked/t.token"),
    "a folder in other letters": (other_case, "SECRETS/t.token"),
}


@pytest.fixture
def stack(inside: Inside) -> Inside:
    """A stack with a secret in the folder for secrets, and a document beside it."""
    skill = "---\nname: s\ndescription: d\n---\n"
    return inside.write({"secrets/t.token": SECRET, "docs/a.txt": "a", "skill/SKILL.md": skill})


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("way", WAYS)
def test_no_resource_reads_a_file_of_secrets(stack: Inside, use: str, way: str) -> None:
    prepare, path = WAYS[way]
    prepare(stack.folder)
    done = stack.declare(USES[use](path)).run("validate", "--format", "markdown", expect=1)
    assert "A credential does not belong in a manifest" in done.out
    assert SECRET not in done.out + done.err


@pytest.mark.parametrize("use", ["text", "upload", "folder", "check"])
def test_a_secret_that_is_no_longer_declared_stays_closed(stack: Inside, use: str) -> None:
    stack.declare(SENDS).apply()
    done = stack.declare(USES[use]("secrets/t.token")).run("validate", expect=1)
    assert SECRET not in done.out + done.err


@pytest.mark.parametrize(
    "entry", ["secrets/m.yaml", "secrets", "secrets/*", "./secrets/", "linked.yaml", "m"]
)
def test_no_manifest_is_read_from_the_folder_of_secrets(stack: Inside, entry: str) -> None:
    stack.write({"secrets/m.yaml": f"- {SECRET}\n", "m/a.yaml": SEARCH})
    (stack.folder / "linked.yaml").symlink_to("secrets/m.yaml")
    os.link(stack.folder / "secrets" / "m.yaml", stack.folder / "m" / "b.yaml")
    stack.write(
        {
            "reconciler.yaml": f"kind: Stack\nmetadata: {{name: s}}\nspec: {{manifests: ['{entry}']}}\n"
        }
    )
    done = stack.run("validate", expect=1)
    assert "A credential does not belong in a manifest" in done.err
    assert SECRET not in done.err


def test_the_stack_file_is_no_link_to_a_secret(stack: Inside) -> None:
    (stack.folder / "reconciler.yaml").symlink_to("secrets/t.token")
    done = stack.run("validate", expect=1)
    assert "A credential does not belong in a manifest" in done.err
    assert SECRET not in done.err


def test_a_pattern_that_matches_the_folder_of_secrets_says_how_to_leave_it_out(
    stack: Inside,
) -> None:
    store = USES["folder"]("**/*.t*")
    refused = stack.declare(store).run("validate", expect=1)
    assert 'Add "secrets/" to ignore.' in refused.err
    stack.declare(store.replace("path:", "ignore: [secrets/], path:")).run("validate", expect=0)


def test_whether_a_secret_exists_is_not_told(stack: Inside) -> None:
    answers = [
        stack.declare(USES["text"](f"secrets/{name}")).run("validate")
        for name in ("t.token", "x.token")
    ]
    there, missing = (answer.err.replace("x.token", "t.token") for answer in answers)
    assert there == missing


@pytest.mark.parametrize("use", ["text", "upload", "folder"])
@pytest.mark.parametrize(
    "around", ["{}", "{}\n", "# {}\nis what we use\n", "{}{}" + "x" * (1 << 20)]
)
def test_a_copy_of_a_secret_goes_nowhere(stack: Inside, use: str, around: str) -> None:
    (stack.folder / "docs" / "a.txt").write_text(around.format(SECRET, "\n"))
    done = stack.declare(USES[use]("docs/a.txt")).run("validate", expect=1)
    assert '"docs/a.txt" contains a secret from a file in "secrets/"' in done.err


@pytest.mark.parametrize("use", ["text", "upload", "folder"])
def test_a_copy_of_a_secret_that_was_sent_goes_nowhere_even_once_its_file_is_gone(
    stack: Inside, use: str
) -> None:
    stack.declare(SENDS).apply()
    (stack.folder / "secrets" / "t.token").rename(stack.folder / "docs" / "a.txt")
    done = stack.declare(USES[use]("docs/a.txt")).run("validate", expect=1)
    assert '"docs/a.txt" contains a secret that was delivered or sent before' in done.err


@pytest.mark.parametrize("use", ["text", "upload", "folder"])
def test_a_copy_of_a_key_that_was_delivered_goes_nowhere(stack: Inside, use: str) -> None:
    stack.declare(DELIVERS).apply()
    key = (stack.folder / "keys" / "ci.key").read_text().strip()
    (stack.folder / "docs" / "a.txt").write_text(f"Use {key} for a while.")
    done = stack.declare(SEARCH, USES[use]("docs/a.txt")).run("validate", expect=1)
    assert '"docs/a.txt" contains a secret that was delivered or sent before' in done.err
    assert key not in done.err


@pytest.mark.parametrize("use", ["text", "upload", "folder"])
def test_a_file_that_a_key_was_delivered_to_stays_closed_without_its_proof(
    stack: Inside, use: str
) -> None:
    stack.declare(DELIVERS).apply()
    (stack.folder / "keys" / ".ci.key.reconciler").unlink()
    (stack.folder / "keys" / "ci.key").write_text(
        "rotated by hand, to something that nobody recorded\n"
    )
    done = stack.declare(SEARCH, USES[use]("keys/ci.key")).run("validate", expect=1)
    assert '"keys/ci.key" holds a key' in done.err


@pytest.mark.parametrize("use", ["text", "upload", "folder"])
def test_a_hard_link_to_a_delivered_key_is_closed(stack: Inside, use: str) -> None:
    stack.declare(DELIVERS).apply()
    os.link(stack.folder / "keys" / "ci.key", stack.folder / "docs" / "link.txt")
    (stack.folder / "keys" / "ci.key").write_text("no copy of anything that was recorded\n")
    done = stack.declare(SEARCH, USES[use]("docs/link.txt")).run("validate", expect=1)
    assert '"docs/link.txt" is a hard link to a file that holds a secret' in done.err


def test_a_hard_link_between_documents_is_no_secret(stack: Inside) -> None:
    os.link(stack.folder / "docs" / "a.txt", stack.folder / "docs" / "b.txt")
    stack.declare(USES["folder"]("docs/*.txt")).run("validate", expect=0)


def test_a_copy_of_a_short_secret_goes_nowhere(stack: Inside) -> None:
    stack.write({"secrets/pin": "12-34-56-78\n", "docs/pin.txt": "12-34-56-78"})
    done = stack.declare(USES["text"]("docs/pin.txt")).run("validate", expect=1)
    assert '"docs/pin.txt" contains a secret from a file in "secrets/"' in done.err


def test_a_file_of_secrets_that_is_too_large_for_one_is_closed_too(stack: Inside) -> None:
    stack.write({"secrets/dump.txt": "no secret by its size\n" * 10_000})
    done = stack.declare(USES["upload"]("secrets/dump.txt")).run("validate", expect=1)
    assert (
        '"secrets/dump.txt" is in the folder "secrets/", which resources must not read.' in done.err
    )
