"""Recordings: what they hold, and which are refused."""

from __future__ import annotations

import json
import re
import stat
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.emulator import Emulator
from reconciler.errors import UsageError
from reconciler.rehearsal.recording import (
    RecordedKeys,
    RecordedList,
    RecordedObject,
    Recording,
    check_age,
    check_belongs,
    dump,
    load,
)
from tests.conftest import Workspace
from tests.whole_examples import PROJECT

RECORDING = Recording(
    read_at=1_000_000.0,
    server="https://api.openai.com/v1",
    organization="org-abc",
    stack="acme",
    environment="prod",
    state={},
    was_searched=True,
    is_whole=True,
    keys=RecordedKeys(),
    lists=[RecordedList("/organization/projects", [{"id": "proj_1", "name": "日本"}])],
    objects=[],
    refusals=[],
    unread=[],
    calls=[],
)
AGENT = """\
kind: Agent
metadata: {name: support}
spec:
  name: Support
  model: gpt-5.1
  tools:
    - type: mcp
      server_label: tickets
      transport: {type: http, server_url: "https://tickets.example", headers: {Authorization: "Bearer hunter2hunter2"}}
"""
TOKEN = "ghp_" + "0" * 36
"""It has the form of a GitHub token."""


def edited(**changes: Any) -> str:
    return json.dumps({**json.loads(dump(RECORDING)), **changes})


def test_a_recording_is_read_as_it_was_written() -> None:
    assert load(dump(RECORDING), name="r.json") == RECORDING


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_a_recording_of_another_format_is_refused_with_both_versions(version: Any) -> None:
    with pytest.raises(UsageError, match=r"r\.json is a recording of format .* reads format 1"):
        load(edited(version=version), name="r.json")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "terraform"}', "[" * 100_000, "\0"])
def test_what_is_no_recording_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"r\.json is not a recording"):
        load(text, name="r.json")


@pytest.mark.parametrize("damaged", [{}, {"read_at": "today"}, None, []])
def test_a_damaged_recording_is_refused(damaged: Any) -> None:
    with pytest.raises(UsageError, match=r"r\.json is damaged"):
        load(edited(recording=damaged), name="r.json")


@pytest.mark.parametrize(
    "changes",
    [
        {"organization": "org\r\nX-Header: 1"},
        {"read_at": 1e300},
        {"read_at": -1},
        {"keys": {"admin": {"shown": "sk-\n**********abcd"}}},
    ],
)
def test_values_that_no_recording_has_are_refused(changes: dict[str, Any]) -> None:
    recording = {**json.loads(dump(RECORDING))["recording"], **changes}
    with pytest.raises(UsageError, match=r"r\.json is damaged"):
        load(edited(recording=recording), name="r.json")


def test_the_recording_of_another_environment_is_refused() -> None:
    with pytest.raises(UsageError, match="recorded for acme/prod, and this is acme/dev"):
        check_belongs(RECORDING, stack="acme", environment="dev", name="r.json")


def test_a_recording_that_is_too_old_is_refused_with_its_age() -> None:
    now = RECORDING.read_at + 31 * 86_400
    with pytest.raises(UsageError, match=r"r\.json is 31 days old, more than the 30 days"):
        check_age(RECORDING, now=now, max_days=30, name="r.json")


def test_a_recording_as_old_as_permitted_is_accepted() -> None:
    check_age(RECORDING, now=RECORDING.read_at + 30 * 86_400, max_days=30, name="r.json")


@pytest.mark.slow  # two commands
def test_only_its_owner_can_read_a_recording(workspace: Workspace) -> None:
    workspace.declare(PROJECT).run("rehearse", "--record", "r.json", expect=0)
    assert stat.S_IMODE((workspace.folder / "r.json").stat().st_mode) == 0o600


@pytest.mark.slow  # a command in a process of its own
def test_a_recording_replaces_no_file_of_another_kind(workspace: Workspace) -> None:
    workspace.declare(PROJECT).write({"r.json": '{"notes": "mine"}\n'})
    refused = workspace.run("rehearse", "--record", "r.json", expect=1)
    assert '"r.json" exists, and is no recording' in refused.err
    assert (workspace.folder / "r.json").read_text() == '{"notes": "mine"}\n'
    assert not workspace.emulator.requests


@pytest.mark.slow  # two commands
def test_a_recording_is_replaced_by_the_next(workspace: Workspace) -> None:
    workspace.declare(PROJECT).run("rehearse", "--record", "r.json", expect=0)
    before = (workspace.folder / "r.json").read_bytes()
    workspace.run("rehearse", "--record", "r.json", expect=0)
    assert (workspace.folder / "r.json").read_bytes() != before


@pytest.mark.slow  # two commands
def test_secrets_of_objects_that_people_made_are_not_recorded(workspace: Workspace) -> None:
    other = Workspace(workspace.folder.parent / "other", workspace.emulator)
    other.folder.mkdir()
    other.declare(AGENT).apply()
    with workspace.emulator.store.lock:
        for agent in workspace.emulator.store.all("agent"):
            assert "hunter2" in json.dumps(agent.body)
            agent.body["instructions"] = f"Use the token {TOKEN}."
    workspace.declare(PROJECT).run("rehearse", "--record", "r.json", expect=0)
    text = (workspace.folder / "r.json").read_text(encoding="utf-8")
    assert "Use the token" in text
    assert "hunter2" not in text
    assert TOKEN not in text


def test_a_header_that_no_manifest_declares_is_masked_in_a_managed_object() -> None:
    headers = {"X-Trace": "declared", "Authorization": "Bearer hunter2"}
    body = {"id": "agent_1", "tools": [{"transport": {"headers": headers}}]}
    applied = {"tools": [{"transport": {"headers": {"X-Trace": "declared"}}}]}
    text = dump(
        replace(
            RECORDING,
            state={"resources": [{"id": "agent_1", "applied": applied}]},
            objects=[RecordedObject("/agents/agent_1", body)],
            lists=[RecordedList("/agents", [body])],
        )
    )
    assert "hunter2" not in text
    shown = json.loads(text)["recording"]["objects"][0]["body"]["tools"][0]["transport"]["headers"]
    assert shown["X-Trace"] == "declared"


@pytest.mark.slow  # two commands
def test_a_recording_needs_no_key_no_network_and_no_backend(workspace: Workspace) -> None:
    stack = "kind: Stack\nmetadata: {name: stack}\nspec: {manifests: [m.yaml]}\n"
    workspace.write({"reconciler.yaml": stack, "m.yaml": PROJECT})
    workspace.run("rehearse", "--record", "r.json", expect=0)
    workspace.emulator.stop()
    workspace.write({"reconciler.yaml": stack.replace("[m.yaml]", "[m.yaml], backend: remote")})
    workspace.variables |= {
        "OPENAI_ADMIN_KEY": "",
        "OPENAI_API_KEY": "",
        "OPENAI_BASE_URL": "",
        "HTTPS_PROXY": "http://127.0.0.1:1",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "RECONCILER_BACKEND": "",
    }
    workspace.run("rehearse", "--from", "r.json", expect=0)


@pytest.mark.slow  # two commands
def test_a_retired_collection_is_retired_in_the_copy(workspace: Workspace) -> None:
    workspace.emulator.set_options(retire=["assistants"])
    workspace.declare(PROJECT).run("rehearse", "--record", "r.json", expect=0)
    assistant = "kind: Assistant\nmetadata: {name: bot}\nspec: {name: Bot, model: gpt-4.1}\n"
    workspace.declare(PROJECT, assistant)
    live, offline = workspace.run("rehearse"), workspace.run("rehearse", "--from", "r.json")
    assert (live.code, offline.code) == (1, 1)
    assert "Assistant" in live.out
    assert re.search(r"Assistant/bot.*", offline.out)


@pytest.mark.slow  # several commands
def test_a_list_that_was_not_read_to_its_end_keeps_its_order(workspace: Workspace) -> None:
    workspace.emulator.seed(assistants=250)
    listed = [one.id for one in workspace.emulator.store.all("assistant")]
    assistant = (
        "kind: Assistant\nmetadata: {name: bot}\n"
        f"spec: {{name: Bot, model: gpt-4.1}}\nlifecycle: {{adopt: {listed[3]}}}\n"
    )
    workspace.declare(assistant).apply()
    finished = workspace.run("rehearse", "--format", "json", expect=0)
    assert json.loads(finished.out)["checks"][0]["verdict"] == "passed"


def test_options_that_contradict_each_other_are_refused(workspace: Workspace) -> None:
    finished = workspace.run("rehearse", "--record", "a", "--from", "b", expect=1)
    assert "Leave one of the two out" in finished.err


def test_a_fault_that_cannot_be_read_is_refused_before_any_call(
    workspace: Workspace, emulator: Emulator
) -> None:
    finished = workspace.declare(PROJECT).run("rehearse", "--faults", "do=dance", expect=1)
    assert "--faults" in finished.err
    assert emulator.requests == []
