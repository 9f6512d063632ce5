"""Claims about a hostile environment: encodings, closed and full outputs, variables, folders."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from reconciler.cli.streams import showable
from tests.cli.test_plan_and_apply import ASSISTANT, writes
from tests.conftest import Workspace

ANYWHERE = "https://api.invalid/v1"
JAPANESE = """
    kind: Assistant
    metadata: {name: bot}
    spec: {name: "日本語 😀 → ✓", model: gpt-4o}
"""


def started(
    workspace: Workspace,
    *arguments: str,
    redirect: str = "",
    folder: Path | None = None,
    **variables: str,
) -> subprocess.CompletedProcess[bytes]:
    """The command line in a new interpreter, whose standard streams a shell has redirected."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirect}', "sh", *workspace.command(*arguments)],
        cwd=folder or workspace.folder,
        env={**workspace.environment, **variables},
        capture_output=True,
        check=False,
    )


# --- encodings


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "utf-16", "cp437"])
def test_an_encoding_that_lacks_characters_changes_no_exit_code(
    workspace: Workspace, encoding: str
) -> None:
    workspace.declare(JAPANESE)
    done = started(workspace, "plan", "--detailed-exitcode", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr.decode(encoding)) == (2, "")
    done.stdout.decode(encoding)


def test_an_apply_without_a_utf8_locale_does_its_work_and_ends_well(workspace: Workspace) -> None:
    workspace.declare(JAPANESE)
    plain = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONIOENCODING": ""}
    done = started(workspace, "apply", "--yes", "-v", **plain)
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert done.stderr.isascii()
    assert len(writes(workspace)) == 1


def test_json_means_the_same_in_every_encoding(workspace: Workspace) -> None:
    workspace.declare(JAPANESE).apply()
    told = {
        encoding: json.loads(
            started(workspace, "state", "export", PYTHONIOENCODING=encoding).stdout.decode(encoding)
        )
        for encoding in ("utf-8", "cp1252", "ascii")
    }
    assert "日本語 😀 → ✓" in json.dumps(told["utf-8"], ensure_ascii=False)
    assert told["cp1252"] == told["ascii"] == told["utf-8"]


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("gpt-4o → gpt-4.1 …", "ascii", "gpt-4o -> gpt-4.1 ..."),
        ("gpt-4o → gpt-4.1 …", "cp1252", "gpt-4o -> gpt-4.1 …"),
        ("日本 😀", "cp1252", "\\u65e5\\u672c \\ud83d\\ude00"),
        ('{"a": "→ 😀"}', "ascii", '{"a": "\\u2192 \\ud83d\\ude00"}'),
        ("\udcff", "utf-8", "\\udcff"),
        ("→", "utf-8", "→"),
    ],
)
def test_characters_that_an_encoding_lacks_are_spelled_out(
    text: str, encoding: str, expected: str
) -> None:
    assert showable(text, encoding) == expected


# --- outputs


@pytest.mark.parametrize("arguments", [["plan"], ["--help"], ["explain", "Project"], ["schema"]])
def test_a_full_disk_under_standard_output_is_named(
    workspace: Workspace, arguments: list[str]
) -> None:
    done = started(workspace.declare(ASSISTANT), *arguments, redirect=">/dev/full")
    assert done.returncode == 1
    assert done.stderr == b"Error: standard output cannot be written: No space left on device\n"


def test_an_unbuffered_standard_output_on_a_full_disk_is_named_too(workspace: Workspace) -> None:
    done = started(
        workspace.declare(ASSISTANT), "plan", redirect=">/dev/full", PYTHONUNBUFFERED="1"
    )
    assert (done.returncode, b"standard output cannot be written" in done.stderr) == (1, True)


def test_a_full_disk_under_standard_error_stops_no_apply(workspace: Workspace) -> None:
    done = started(workspace.declare(ASSISTANT), "apply", "--yes", "-vv", redirect="2>/dev/full")
    assert (done.returncode, len(writes(workspace))) == (0, 1)


def test_a_reader_that_leaves_early_stops_no_apply(workspace: Workspace) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        workspace.declare(ASSISTANT).command("apply", "--yes"),
        cwd=workspace.folder,
        env=workspace.environment,
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr, len(writes(workspace))) == (0, b"", 1)


# --- variables


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSL_CERT_FILE", "/nowhere/ca.pem"),
        ("SSL_CERT_FILE", "/dev/null"),
        ("SSL_CERT_DIR", "/nowhere"),
        ("SSLKEYLOGFILE", "/nowhere/keys"),
        ("HTTPS_PROXY", "foo:bar"),
        ("ALL_PROXY", "socks4://127.0.0.1:1"),
        ("OPENAI_BASE_URL", "https://xn--/v1"),
        ("OPENAI_BASE_URL", "https://-a..b/v1"),
        ("OPENAI_BASE_URL", f"https://{'a' * 70}.example/v1"),
        ("OPENAI_ORG_ID", "org-é"),
        ("OPENAI_PROJECT_ID", "proj\x7f"),
        ("OPENAI_API_KEY", "sk-emul\udcffator"),
        ("RECONCILER_ANSWER_SECONDS", "inf"),
        ("RECONCILER_ANSWER_SECONDS", "nan"),
        ("RECONCILER_SETTLE_SECONDS", "1e300"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(
    workspace: Workspace, name: str, value: str
) -> None:
    unset = dict.fromkeys(
        ("SSL_CERT_FILE", "SSL_CERT_DIR", "NO_PROXY", "no_proxy", "https_proxy", "all_proxy"), ""
    )
    workspace.variables = {**unset, "OPENAI_BASE_URL": ANYWHERE, name: value}
    done = workspace.declare(ASSISTANT).run("plan", expect=1)
    assert name in done.err
    assert "unexpected" not in done.err
    assert "Traceback" not in done.err


def test_a_variable_in_another_encoding_is_refused_where_a_manifest_reads_it(
    workspace: Workspace,
) -> None:
    workspace.variables = {"RECONCILER_VAR_MODEL": "caf\udce9"}
    stack = "kind: Stack\nmetadata: {name: s}\nspec: {manifests: [manifests.yaml], env: [RECONCILER_VAR_MODEL]}\n"
    workspace.write({"reconciler.yaml": stack})
    done = workspace.declare(ASSISTANT.replace("gpt-4o", "${env.RECONCILER_VAR_MODEL}")).run(
        "plan", expect=1
    )
    assert '"RECONCILER_VAR_MODEL" contains bytes that are not UTF-8' in done.err


@pytest.mark.parametrize(
    "variables",
    [
        {"COLUMNS": "-1"},
        {"COLUMNS": "many"},
        {"TZ": "Nowhere/Land"},
        {"TMPDIR": "/nowhere"},
        {"LC_ALL": "xx_YY"},
    ],
    ids=str,
)
def test_a_variable_of_no_importance_changes_nothing(
    workspace: Workspace, variables: dict[str, str]
) -> None:
    workspace.variables = variables
    assert workspace.declare(ASSISTANT).plan().code == 2


def test_a_home_is_not_needed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    workspace.declare(ASSISTANT).apply()


# --- folders and limits


def test_a_deleted_current_folder_is_named(workspace: Workspace) -> None:
    gone = workspace.folder / "gone"
    gone.mkdir()
    done = subprocess.run(
        ["sh", "-c", 'rmdir "$0" && exec "$@"', str(gone), *workspace.command("plan")],
        cwd=gone,
        env={**workspace.environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: The current folder no longer exists.\n")


@pytest.mark.parametrize(
    ("option", "target", "named"),
    [
        ("--out", "/dev/full", '"/dev/full"'),
        ("--report", "/dev/full:json", 'the report "/dev/full"'),
    ],
)
def test_a_full_disk_under_a_file_names_the_file(
    workspace: Workspace, option: str, target: str, named: str
) -> None:
    done = workspace.declare(ASSISTANT).run("plan", option, target, expect=1)
    assert done.err == f"Error: {named} cannot be written: No space left on device\n"


FOLDERS = {
    "VectorStore": "{name: KB, files: [{path: 'docs/**'}]}",
    "Skill": "{files: [{path: 'docs/**'}]}",
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_file_name_in_another_encoding_is_refused_offline(
    workspace: Workspace, kind: str
) -> None:
    workspace.write({"docs/SKILL.md": "---\nname: a\ndescription: b\n---\n"})
    (workspace.folder / "docs" / os.fsdecode(b"caf\xe9.md")).write_text("x")
    workspace.declare(f"kind: {kind}\nmetadata: {{name: it}}\nspec: {FOLDERS[kind]}\n")
    done = workspace.run("validate", expect=1)
    assert '"docs/caf\\udce9.md": its name is not valid UTF-8' in done.err


def test_a_variable_of_the_command_line_in_another_encoding_is_refused(
    workspace: Workspace,
) -> None:
    done = workspace.declare(ASSISTANT).run("plan", "--var", "x=caf\udce9", expect=1)
    assert "--var x: the value is not text in UTF-8" in done.err


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="needs prlimit")
def test_a_limit_of_threads_is_no_mistake_of_the_program(workspace: Workspace) -> None:
    workspace.declare(ASSISTANT)
    done = subprocess.run(
        ["prlimit", "--as=200000000", *workspace.command("plan")],
        cwd=workspace.folder,
        env=workspace.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "unexpected" not in done.stderr
