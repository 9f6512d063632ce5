"""`accept` writes manual changes into the manifests, and changes nothing else in the files."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from reconciler.app.accept import prepare, write
from reconciler.app.session import Session
from reconciler.errors import ReconcilerError, StalePlanError
from reconciler.manifests import Settings
from tests.conftest import Workspace

BOT = """\
# Who answers customers.
kind: Assistant   # retired in August
metadata: {name: bot}
spec:
  name: Helpdesk            # shown to customers
  model: "gpt-4o"
  temperature: 0.3   # careful

  # Keep in step with the handbook.
  instructions: |
    You are polite.

    You never guess.
  metadata: {team: cx, tier: 'one'}
  tools:
    - type: code_interpreter   # for sums
    - type: file_search
      file_search: {max_num_results: 5}
# The end.
"""


class Live:
    """Changes objects as somebody would by hand."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        emulator = workspace.emulator
        headers = {
            "Authorization": f"Bearer {emulator.api_key}",
            "OpenAI-Beta": "assistants=v2",
        }
        self._client = httpx.Client(base_url=emulator.base_url, headers=headers)

    def close(self) -> None:
        self._client.close()

    def id(self, address: str) -> str:
        listed = json.loads(self._workspace.run("state", "list", "--format", "json").out)
        return next(str(entry["id"]) for entry in listed if entry["address"] == address)

    def change(self, address: str, **values: Any) -> None:
        paths = {"Assistant": "assistants", "VectorStore": "vector_stores"}
        path = f"/{paths[address.partition('/')[0]]}/{self.id(address)}"
        if "metadata" in values:
            kept = self._client.get(path).json()["metadata"]
            values["metadata"] |= {"reconciler": kept["reconciler"]}
        self._client.post(path, json=values).raise_for_status()

    def change_limit(self, project: str, model: str, **values: Any) -> None:
        emulator = self._workspace.emulator
        headers = {"Authorization": f"Bearer {emulator.admin_key}"}
        path = f"{emulator.base_url}/organization/projects/{self.id(project)}/rate_limits"
        listed = httpx.get(path, headers=headers, params={"limit": 100}).json()["data"]
        id = next(entry["id"] for entry in listed if entry["model"] == model)
        httpx.post(f"{path}/{id}", headers=headers, json=values).raise_for_status()


@pytest.fixture
def live(workspace: Workspace) -> Iterator[Live]:
    hand = Live(workspace)
    yield hand
    hand.close()


def changed_lines(before: str, after: str) -> list[str]:
    """The lines of a difference, without its context."""
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""))
    return [line for line in lines[2:] if not line.startswith("@@")]


def accepted(workspace: Workspace, name: str = "manifests.yaml", *arguments: str) -> list[str]:
    """Accept everything; the lines of a file that changed. The plan afterwards is empty."""
    path = workspace.folder / name
    before = path.read_bytes().decode()
    workspace.run("accept", "--yes", *(arguments or ("--all",)), expect=0)
    assert workspace.plan().code == 0
    assert workspace.run("drift").code == 0
    return changed_lines(before, path.read_bytes().decode())


SEARCH = {"type": "file_search", "file_search": {"max_num_results": 5}}

EDITS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a plain text with a comment": (
        {"name": "Front desk"},
        [
            "-  name: Helpdesk            # shown to customers",
            "+  name: Front desk            # shown to customers",
        ],
    ),
    "a quoted text": ({"model": "gpt-4.1"}, ['-  model: "gpt-4o"', '+  model: "gpt-4.1"']),
    "a number": (
        {"temperature": 0.7},
        ["-  temperature: 0.3   # careful", "+  temperature: 0.7   # careful"],
    ),
    "a line of a long text": (
        {"instructions": "You are polite.\n\nYou guess at times.\n"},
        ["-    You never guess.", "+    You guess at times."],
    ),
    "a value in a flow map": (
        {"metadata": {"team": "cx", "tier": "two"}},
        ["-  metadata: {team: cx, tier: 'one'}", "+  metadata: {team: cx, tier: 'two'}"],
    ),
    "a new key in a flow map": (
        {"metadata": {"team": "cx", "tier": "one", "owner": "ada"}},
        [
            "-  metadata: {team: cx, tier: 'one'}",
            "+  metadata: {team: cx, tier: 'one', owner: ada}",
        ],
    ),
    "a key that is gone from a flow map": (
        {"metadata": {"tier": "one"}},
        ["-  metadata: {team: cx, tier: 'one'}", "+  metadata: {tier: 'one'}"],
    ),
    "a number inside a list of maps": (
        {
            "tools": [
                {"type": "code_interpreter"},
                {**SEARCH, "file_search": {"max_num_results": 9}},
            ]
        },
        [
            "-      file_search: {max_num_results: 5}",
            "+      file_search: {max_num_results: 9}",
        ],
    ),
    "an item that is gone from a list": (
        {"tools": [SEARCH]},
        ["-    - type: code_interpreter   # for sums"],
    ),
    "the last item that is gone from a list": (
        {"tools": [{"type": "code_interpreter"}]},
        ["-    - type: file_search", "-      file_search: {max_num_results: 5}"],
    ),
    "a new item at the end of a list": (
        {
            "tools": [
                {"type": "code_interpreter"},
                SEARCH,
                {"type": "function", "function": {"name": "find", "description": "Find: it"}},
            ]
        },
        [
            "+    - type: function",
            "+      function:",
            "+        name: find",
            '+        description: "Find: it"',
        ],
    ),
    "a text that needs quotes": (
        {"name": "Desk: first # line"},
        [
            "-  name: Helpdesk            # shown to customers",
            '+  name: "Desk: first # line"            # shown to customers',
        ],
    ),
    "a text that looks like an expression": (
        {"name": "${var.model}"},
        [
            "-  name: Helpdesk            # shown to customers",
            "+  name: $${var.model}            # shown to customers",
        ],
    ),
    "a text that looks like a number": (
        {"name": "12"},
        [
            "-  name: Helpdesk            # shown to customers",
            '+  name: "12"            # shown to customers',
        ],
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_hand_edit_changes_its_own_lines_alone(
    workspace: Workspace, live: Live, edit: str
) -> None:
    workspace.write({"manifests.yaml": BOT}).apply()
    values, lines = EDITS[edit]
    live.change("Assistant/bot", **values)
    assert accepted(workspace) == lines


def test_a_new_line_in_a_plain_text_makes_it_a_block(workspace: Workspace, live: Live) -> None:
    manifest = (
        "kind: Assistant\nmetadata: {name: bot}\nspec:\n  instructions: Short.\n  model: gpt-4o\n"
    )
    workspace.write({"manifests.yaml": manifest}).apply()
    live.change("Assistant/bot", instructions="One.\nTwo.")
    assert accepted(workspace) == [
        "-  instructions: Short.",
        "+  instructions: |-",
        "+    One.",
        "+    Two.",
    ]


@pytest.mark.parametrize("indicator", ["|", ">-", "|2+"])
@pytest.mark.parametrize(("text", "first"), [("One.\nTwo.\n", "|"), ("  indented", '"  indented"')])
def test_the_comment_behind_the_indicator_of_a_block_stays(
    workspace: Workspace, live: Live, indicator: str, text: str, first: str
) -> None:
    manifest = (
        "kind: Assistant\nmetadata: {name: bot}\nspec:\n  model: gpt-4o\n"
        f"  instructions: {indicator}   # ask Ada\n    Short.\n"
    )
    workspace.write({"manifests.yaml": manifest}).apply()
    live.change("Assistant/bot", instructions=text)
    assert accepted(workspace)
    edited = (workspace.folder / "manifests.yaml").read_text()
    assert f"  instructions: {first}   # ask Ada\n" in edited


def test_line_ends_and_the_byte_order_mark_stay(workspace: Workspace, live: Live) -> None:
    path = workspace.folder / "manifests.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + BOT.replace("\n", "\r\n").encode())
    workspace.apply()
    live.change("Assistant/bot", temperature=0.7)
    accepted(workspace)
    wanted = BOT.replace("0.3", "0.7").replace("\n", "\r\n").encode()
    assert path.read_bytes() == b"\xef\xbb\xbf" + wanted


def test_a_json_manifest_is_edited_in_place(workspace: Workspace, live: Live) -> None:
    text = '{\n  "kind": "Assistant",\n  "metadata": {"name": "bot"},\n  "spec": {"model": "gpt-4o", "name": "Bot"}\n}\n'
    workspace.write({"bot.json": text}).apply()
    live.change("Assistant/bot", name='The "bot"')
    assert accepted(workspace, "bot.json") == [
        '-  "spec": {"model": "gpt-4o", "name": "Bot"}',
        '+  "spec": {"model": "gpt-4o", "name": "The \\"bot\\""}',
    ]


LIMITS = """\
kind: Project
metadata: {name: search}
spec: {name: Search}
---
kind: RateLimit
metadata: {name: "${each.key}", project: search}
for_each:
  gpt-4.1:      {requests: 500,  tokens: 200000}   # the big one
  gpt-4.1-mini: {requests: 3000, tokens: 1000000}
spec:
  model: ${each.key}
  max_requests_per_1_minute: ${each.value.requests}
  max_tokens_per_1_minute: ${each.value.tokens}
"""


def test_a_value_of_for_each_is_changed_in_its_entry(workspace: Workspace, live: Live) -> None:
    workspace.write({"manifests.yaml": LIMITS}).apply()
    live.change_limit("Project/search", "gpt-4.1", max_requests_per_1_minute=700)
    assert accepted(workspace) == [
        "-  gpt-4.1:      {requests: 500,  tokens: 200000}   # the big one",
        "+  gpt-4.1:      {requests: 700,  tokens: 200000}   # the big one",
    ]


TWO = """\
kind: Assistant
metadata: {name: "${each.key}"}
for_each: {a: A, b: B}
spec: {name: "${each.value}", model: gpt-4o}
"""


def test_a_value_that_others_share_is_refused_with_its_line(
    workspace: Workspace, live: Live
) -> None:
    workspace.write({"manifests.yaml": TWO}).apply()
    live.change("Assistant/a", model="gpt-4.1")
    done = workspace.run("accept", "--all", "--yes", expect=1)
    assert "manifests.yaml:4:38" in done.err
    assert "also read by Assistant/b" in done.err
    assert (workspace.folder / "manifests.yaml").read_text() == TWO


def test_a_value_that_all_who_share_it_have_is_accepted(workspace: Workspace, live: Live) -> None:
    workspace.write({"manifests.yaml": TWO}).apply()
    live.change("Assistant/a", model="gpt-4.1")
    live.change("Assistant/b", model="gpt-4.1")
    assert accepted(workspace) == [
        '-spec: {name: "${each.value}", model: gpt-4o}',
        '+spec: {name: "${each.value}", model: gpt-4.1}',
    ]


STACK = """\
kind: Stack
spec:
  variables:
    model: {default: gpt-4o, description: What runs.}  # ask ML
"""
OF_VARIABLE = "kind: Assistant\nmetadata: {name: bot}\nspec: {name: Bot, model: '${var.model}'}\n"


def test_a_variable_that_one_resource_reads_is_changed_in_the_stack_file(
    workspace: Workspace, live: Live
) -> None:
    workspace.write({"reconciler.yaml": STACK, "manifests.yaml": OF_VARIABLE}).apply()
    live.change("Assistant/bot", model="gpt-4.1")
    assert accepted(workspace, "reconciler.yaml") == [
        "-    model: {default: gpt-4o, description: What runs.}  # ask ML",
        "+    model: {default: gpt-4.1, description: What runs.}  # ask ML",
    ]
    assert (workspace.folder / "manifests.yaml").read_text() == OF_VARIABLE


def test_a_variable_that_another_resource_reads_is_refused(
    workspace: Workspace, live: Live
) -> None:
    other = OF_VARIABLE.replace("bot", "other").replace("Bot", "Other")
    workspace.write({"reconciler.yaml": STACK}).declare(OF_VARIABLE, other).apply()
    live.change("Assistant/bot", model="gpt-4.1")
    done = workspace.run("accept", "--all", "--yes", expect=1)
    assert "reconciler.yaml:4:22" in done.err
    assert (workspace.folder / "reconciler.yaml").read_text() == STACK


def test_a_value_given_on_the_command_line_is_refused(workspace: Workspace, live: Live) -> None:
    workspace.write({"reconciler.yaml": STACK, "manifests.yaml": OF_VARIABLE})
    workspace.apply("--var", "model=gpt-4.1-mini")
    live.change("Assistant/bot", model="gpt-4.1")
    done = workspace.run("accept", "--all", "--yes", "--var", "model=gpt-4.1-mini", expect=1)
    assert "was given with this run" in done.err


def test_a_prompt_in_a_file_is_changed_there(workspace: Workspace, live: Live) -> None:
    manifest = (
        "kind: Assistant\nmetadata: {name: bot}\n"
        "spec: {model: gpt-4o, instructions: '${file:prompts/bot.md}'}\n"
    )
    workspace.write({"manifests.yaml": manifest, "prompts/bot.md": "# Bot\n\nBe polite.\n"}).apply()
    live.change("Assistant/bot", instructions="# Bot\n\nBe brief.\n")
    assert accepted(workspace, "prompts/bot.md") == ["-Be polite.", "+Be brief."]


def test_an_id_of_a_declared_object_becomes_a_reference(workspace: Workspace, live: Live) -> None:
    manifest = """\
kind: VectorStore
metadata: {name: one}
spec: {name: One}
---
kind: VectorStore
metadata: {name: two}
spec: {name: Two}
---
kind: Assistant
metadata: {name: bot}
spec:
  model: gpt-4o
  tools: [{type: file_search}]
  tool_resources:
    file_search:
      vector_store_ids: ["${VectorStore/one}"]
"""
    workspace.write({"manifests.yaml": manifest}).apply()
    id = live.id("VectorStore/two")
    live.change("Assistant/bot", tool_resources={"file_search": {"vector_store_ids": [id]}})
    assert accepted(workspace) == [
        '-      vector_store_ids: ["${VectorStore/one}"]',
        '+      vector_store_ids: ["${VectorStore/two}"]',
    ]


def test_a_field_that_was_cleared_is_null(workspace: Workspace, live: Live) -> None:
    manifest = (
        "kind: VectorStore\nmetadata: {name: a}\nspec:\n  name: A\n"
        "  expires_after: {anchor: last_active_at, days: 7}  # a week\n  metadata: {x: y}\n"
    )
    workspace.write({"manifests.yaml": manifest}).apply()
    live.change("VectorStore/a", expires_after=None)
    assert accepted(workspace) == [
        "-  expires_after: {anchor: last_active_at, days: 7}  # a week",
        "+  expires_after: null  # a week",
    ]


def test_only_named_addresses_are_accepted(workspace: Workspace, live: Live) -> None:
    workspace.declare(BOT, TWO).apply()
    live.change("Assistant/bot", temperature=0.7)
    live.change("Assistant/a", name="Alpha")
    workspace.run("accept", "Assistant/a", "--yes", expect=0)
    text = (workspace.folder / "manifests.yaml").read_text()
    assert "for_each: {a: Alpha, b: B}" in text
    assert "temperature: 0.3   # careful" in text


def test_a_change_of_the_manifest_is_not_undone(workspace: Workspace, live: Live) -> None:
    workspace.write({"manifests.yaml": BOT}).apply()
    live.change("Assistant/bot", temperature=0.7)
    workspace.write({"manifests.yaml": BOT.replace("Helpdesk", "Service desk")})
    workspace.run("accept", "--all", "--yes", expect=0)
    wanted = BOT.replace("Helpdesk", "Service desk").replace("0.3", "0.7")
    assert (workspace.folder / "manifests.yaml").read_text() == wanted


def test_without_approval_nothing_is_written(workspace: Workspace, live: Live) -> None:
    workspace.write({"manifests.yaml": BOT}).apply()
    live.change("Assistant/bot", temperature=0.7)
    done = workspace.run("accept", "--all", expect=1)
    assert "+  temperature: 0.7   # careful" in done.out
    assert (workspace.folder / "manifests.yaml").read_text() == BOT


def test_an_object_that_is_gone_is_refused(workspace: Workspace, live: Live) -> None:
    workspace.write({"manifests.yaml": BOT}).apply()
    emulator = workspace.emulator
    headers = {"Authorization": f"Bearer {emulator.api_key}", "OpenAI-Beta": "assistants=v2"}
    httpx.delete(f"{emulator.base_url}/assistants/{live.id('Assistant/bot')}", headers=headers)
    assert "the object is gone" in workspace.run("accept", "--all", "--yes", expect=1).err


def test_a_value_behind_an_alias_is_refused(workspace: Workspace, live: Live) -> None:
    manifest = (
        "kind: Assistant\nmetadata: {name: bot}\n"
        "spec: {name: &same Bot, model: gpt-4o, description: *same}\n"
    )
    workspace.write({"manifests.yaml": manifest}).apply()
    live.change("Assistant/bot", description="Another")
    done = workspace.run("accept", "--all", "--yes", expect=1)
    assert "alias" in done.err
    assert (workspace.folder / "manifests.yaml").read_text() == manifest


def test_an_entry_of_for_each_that_an_alias_repeats_is_refused(
    workspace: Workspace, live: Live
) -> None:
    manifest = (
        'kind: Assistant\nmetadata: {name: "${each.key}"}\n'
        "for_each: {a: &same {name: A}, b: *same}\n"
        'spec: {name: "${each.value.name}", model: gpt-4o}\n'
    )
    workspace.write({"manifests.yaml": manifest}).apply()
    live.change("Assistant/a", name="Alpha")
    assert "alias" in workspace.run("accept", "--all", "--yes", expect=1).err
    assert (workspace.folder / "manifests.yaml").read_text() == manifest


def test_nothing_is_accepted_where_nothing_moved(workspace: Workspace) -> None:
    workspace.write({"manifests.yaml": BOT}).apply()
    assert "Nothing to accept." in workspace.run("accept", "--all", expect=0).out


def test_accepting_calls_nothing_that_writes(workspace: Workspace, live: Live) -> None:
    workspace.write({"manifests.yaml": BOT}).apply()
    live.change("Assistant/bot", temperature=0.7)
    workspace.emulator.clear_requests()
    workspace.run("accept", "--all", "--yes", expect=0)
    assert {request.method for request in workspace.emulator.requests} == {"GET"}


@pytest.fixture
def session(workspace: Workspace) -> Iterator[Session]:
    """A session in this process, so that a test can act between reading and writing."""
    settings = Settings(root=workspace.folder, env=workspace.environment)
    with Session(settings) as opened:
        yield opened


def test_a_manifest_that_was_edited_meanwhile_is_refused(
    workspace: Workspace, live: Live, session: Session
) -> None:
    workspace.write({"manifests.yaml": BOT}).apply()
    live.change("Assistant/bot", temperature=0.7)
    acceptance = prepare(session, (), everything=True)
    edited = BOT.replace("Helpdesk", "Service desk")
    workspace.write({"manifests.yaml": edited})
    with pytest.raises(StalePlanError, match=r"manifests\.yaml was edited"):
        write(session, acceptance)
    assert (workspace.folder / "manifests.yaml").read_text() == edited


def test_files_are_restored_if_the_result_differs_from_live_state(
    workspace: Workspace, live: Live, session: Session
) -> None:
    workspace.write({"manifests.yaml": BOT}).apply()
    live.change("Assistant/bot", temperature=0.7)
    acceptance = prepare(session, (), everything=True)
    [change] = acceptance.files
    wrong = replace(change, after=change.after.replace("0.7", "0.9"))
    with pytest.raises(ReconcilerError, match="temperature would not be what the API has"):
        write(session, replace(acceptance, files=[wrong]))
    assert (workspace.folder / "manifests.yaml").read_text() == BOT


def test_the_permissions_of_a_file_stay(workspace: Workspace, live: Live) -> None:
    workspace.write({"manifests.yaml": BOT}).apply()
    path = workspace.folder / "manifests.yaml"
    path.chmod(0o640)
    live.change("Assistant/bot", temperature=0.7)
    accepted(workspace)
    assert path.stat().st_mode & 0o777 == 0o640
