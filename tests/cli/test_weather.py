"""Network faults leave exactly one object, and a message with the cause."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import httpx
import pytest

from reconciler.state import StateStore
from tests.conftest import Workspace

pytestmark = pytest.mark.slow

ASSISTANT = """\
kind: Assistant
metadata: {name: bot}
spec: {name: Bot, model: gpt-4o}
"""

PROJECT = """\
kind: Project
metadata: {name: search}
spec: {name: Search}
lifecycle: {on_remove: delete}
"""

ACCOUNT = """\
kind: ServiceAccount
metadata: {name: ci, project: search}
spec: {name: ci, key: {write_to: {file: secrets/ci.key}}}
"""

LIMIT = """\
kind: RateLimit
metadata: {name: main, project: search}
spec: {model: gpt-4.1, max_requests_per_1_minute: 300}
"""

FILE = """\
kind: File
metadata: {name: notes}
spec: {path: notes.txt, purpose: assistants}
"""

STORE = """\
kind: VectorStore
metadata: {name: docs}
spec: {name: Docs, files: [{path: "docs/*.md"}]}
"""

EVERYTHING = {
    "assistant.yaml": ASSISTANT,
    "project.yaml": PROJECT,
    "account.yaml": ACCOUNT,
    "limit.yaml": LIMIT,
    "file.yaml": FILE,
    "store.yaml": STORE,
    "notes.txt": "notes",
    "docs/one.md": "one",
    "docs/two.md": "two",
}


def live(workspace: Workspace) -> dict[str, Any]:
    """How many objects there are of each sort; the log of what was done to them is not counted."""
    url = workspace.emulator.base_url.removesuffix("/v1") + "/_emulator/state"
    counts: dict[str, Any] = httpx.get(url).json()["counts"]
    return {name: count for name, count in counts.items() if name != "audit_log"}


CREATED = {
    "assistant": 1, "project": 2, "service_account": 1, "vector_store": 1, "vector_store_file": 2, "file": 3,
    "api_key": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    "fault",
    [
        "on=POST:/assistants,do=error:500,when=after",
        "on=POST:/vector_stores/*/file*,do=error:503,when=after",
        "on=POST:/files,do=error:429",
        "on=POST:/organization/projects/*/service_accounts,do=truncate",
        "on=GET:*,do=reset,when=before",
    ],
)
def test_a_create_whose_answer_is_lost_leaves_exactly_one_object(
    workspace: Workspace, fault: str
) -> None:
    workspace.write(EVERYTHING)
    workspace.emulator.add_fault(fault)
    workspace.apply()
    assert {name: live(workspace).get(name) for name in CREATED} == CREATED
    assert workspace.plan().code == 0


def test_a_create_that_is_carried_out_only_after_we_gave_up_waiting_is_found(
    workspace: Workspace,
) -> None:
    workspace.variables = {"RECONCILER_ANSWER_SECONDS": "0.5", "RECONCILER_SETTLE_SECONDS": "6"}
    workspace.write({"a.yaml": ASSISTANT}).emulator.add_fault("on=POST:/assistants,do=hang:1500")
    workspace.apply()
    assert live(workspace)["assistant"] == 1
    assert workspace.plan().code == 0


@pytest.mark.parametrize("talk", ["text", "json"])
def test_a_wait_is_reported_with_reason_and_end_without_a_terminal(
    workspace: Workspace, talk: str
) -> None:
    workspace.write({"a.yaml": ASSISTANT}).emulator.add_fault(
        "on=POST:/assistants,do=retry-after:3"
    )
    err = workspace.apply("--log-format", talk).err
    assert re.search(r"waiting .*until [\d:T-]*\d\d:\d\d.*: rate limit of POST /assistants", err)


FILE_AND_STORE = {
    "f.yaml": FILE.replace("notes}", "f}").replace("notes.txt", "a.txt"),
    "store.yaml": STORE.replace("docs/*.md", "*.txt"),
    "a.txt": "the same bytes",
}


@pytest.mark.parametrize("weather", ["reset,when=before", "error:500,when=after"])
def test_a_file_and_a_store_never_share_an_upload_after_one_was_lost(
    workspace: Workspace, weather: str
) -> None:
    workspace.write(FILE_AND_STORE)
    workspace.emulator.add_fault(f"on=POST:/files,do={weather}")
    workspace.apply()
    assert live(workspace)["file"] == 2
    assert workspace.plan().code == 0


def test_removing_a_file_after_a_lost_upload_leaves_its_like_in_the_store(
    workspace: Workspace,
) -> None:
    workspace.write(FILE_AND_STORE)
    workspace.emulator.add_fault("on=POST:/files,do=reset,when=before")
    workspace.apply()
    (workspace.folder / "f.yaml").unlink()
    workspace.apply()
    assert (live(workspace)["file"], live(workspace)["vector_store_file"]) == (1, 1)


@pytest.mark.parametrize(
    "fault",
    [
        "on=POST:/assistants/*,do=error:503,when=after",
        "on=POST:/vector_stores/*,do=truncate",
        "on=DELETE:/files/*,do=error:500,when=after",
    ],
)
def test_an_update_whose_answer_is_lost_converges(workspace: Workspace, fault: str) -> None:
    workspace.write(EVERYTHING).apply()
    (workspace.folder / "docs" / "two.md").unlink()
    workspace.write(
        {
            "assistant.yaml": ASSISTANT.replace("Bot", "New"),
            "project.yaml": PROJECT.replace("Search", "New"),
        }
    )
    workspace.write({"store.yaml": STORE.replace("Docs", "New"), "docs/one.md": "changed"})
    workspace.emulator.add_fault(fault)
    workspace.apply()
    assert live(workspace)["vector_store_file"] == 1
    assert workspace.plan().code == 0


@pytest.mark.parametrize(
    "fault",
    [
        "on=DELETE:/organization/projects/*/service_accounts/*,do=error:503,when=after",
        "on=POST:/organization/projects/*/archive,do=truncate",
    ],
)
def test_a_delete_whose_answer_is_lost_is_done(workspace: Workspace, fault: str) -> None:
    workspace.write(EVERYTHING).apply()
    workspace.emulator.add_fault(fault)
    workspace.run("destroy", "--yes", expect=0)
    left = live(workspace)
    assert [
        left.get(name, 0) for name in ("assistant", "service_account", "vector_store", "file")
    ] == [0, 0, 0, 0]


REFUSED = {
    "quota": ("on=POST:/assistants,do=quota", "waiting does not help"),
    "not JSON": ("on=GET:/assistants,do=not-json", "instead of JSON"),
    "page of a proxy": ("on=GET:/assistants,do=html:403", "it looks like a proxy"),
    "list without end": ("on=GET:/assistants,do=repeat-cursor,times=0", "says that there is more"),
}


@pytest.mark.parametrize(("fault", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_an_answer_that_cannot_be_used_is_explained(
    workspace: Workspace, fault: str, sentence: str
) -> None:
    workspace.write({"a.yaml": ASSISTANT})
    workspace.emulator.add_fault(fault)
    done = workspace.run("apply", "--yes", expect=1)
    assert sentence in done.err + done.out
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("variable", "value", "text", "sentence"),
    [
        (
            "OPENAI_API_KEY",
            "sk-wrong-0123456789abcdef",
            ASSISTANT,
            "the key from OPENAI_API_KEY (•••cdef)",
        ),
        ("OPENAI_API_KEY", "sk-admin-emulator", ASSISTANT, "an admin key cannot make it"),
        ("OPENAI_ADMIN_KEY", "sk-emulator", PROJECT, "a project's key cannot make it"),
        (
            "OPENAI_API_KEY",
            "sk-emulator\nX-Other: 1",
            ASSISTANT,
            "OPENAI_API_KEY does not hold a key",
        ),
    ],
    ids=["wrong", "admin for project", "project for admin", "two lines"],
)
def test_a_key_that_does_not_open_says_which_one_is_needed(
    workspace: Workspace, variable: str, value: str, text: str, sentence: str
) -> None:
    workspace.variables = {variable: value}
    done = workspace.write({"a.yaml": text}).run("plan", expect=1)
    assert sentence in done.err
    assert value not in done.err


def test_a_server_without_assistants_points_to_agents(workspace: Workspace) -> None:
    workspace.emulator.set_options(retire_assistants=True)
    assert "Use kind Agent" in workspace.write({"a.yaml": ASSISTANT}).run("plan", expect=1).err


def busy(workspace: Workspace) -> subprocess.Popen[str]:
    """An apply that has read everything and is now held up by its first create."""
    workspace.emulator.add_fault("on=POST:/assistants,do=hang:700,times=0")
    process = subprocess.Popen(
        workspace.command("apply", "--yes", "--parallelism", "1"),
        cwd=workspace.folder, env=workspace.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None and not creating(workspace):
        pass
    return process


def creating(workspace: Workspace) -> bool:
    """Whether the journal says that something is being made: from then on interrupts are ours to handle."""
    folder = workspace.folder / ".reconciler"
    with StateStore.open_for_reading(folder, stack="stack", environment="default") as state:
        return bool(state.runs.unfinished()) and workspace.emulator.requests_in_flight > 0


MANY = "\n---\n".join(ASSISTANT.replace("bot", f"b{n}").replace("Bot", f"B{n}") for n in range(6))


def test_a_second_apply_is_refused_and_says_who_holds_the_lock(workspace: Workspace) -> None:
    process = busy(workspace.write({"a.yaml": MANY}))
    second = workspace.run("apply", "--yes", expect=12)
    assert f"pid {process.pid}" in second.err
    process.communicate(timeout=60)
    assert (process.returncode, live(workspace)["assistant"]) == (0, 6)
