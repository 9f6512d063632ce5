"""Claims about `state export`, `import` and `unlock`, at the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconciler.state import StateStore
from tests.cli.test_plan_and_apply import ASSISTANT
from tests.conftest import Workspace


@pytest.fixture
def applied(workspace: Workspace) -> Workspace:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    return workspace


def exported(workspace: Workspace, **changes: Any) -> str:
    data = json.loads(workspace.run("state", "export", expect=0).out)
    return json.dumps({**data, **changes})


def test_an_export_brings_back_what_was_forgotten(applied: Workspace) -> None:
    applied.write({"s.json": exported(applied)})
    applied.run("state", "rm", "Assistant/bot", expect=0)
    done = applied.run("state", "import", "s.json", "--force-older", expect=0)
    assert done.out == "1 resource imported.\n"
    assert applied.plan().code == 0


def test_an_older_export_is_refused_with_what_it_would_forget(applied: Workspace) -> None:
    applied.write({"s.json": exported(applied)})
    second = ASSISTANT.replace("name: bot", "name: second")
    applied.write({"a.yaml": f"{ASSISTANT}---\n{second}"}).apply()
    refused = applied.run("state", "import", "s.json", expect=1).err
    assert "the export is older than this state" in refused
    assert "importing it would forget Assistant/second" in refused
    assert "--force-older" in refused
    assert "Assistant/second" in applied.run("state", "list", expect=0).out
    taken = applied.run("state", "import", "s.json", "--force-older", expect=0).err
    assert "Assistant/second is forgotten." in taken


def test_the_export_of_a_state_that_took_the_place_of_this_one_has_to_be_meant(
    applied: Workspace,
) -> None:
    applied.write({"s.json": exported(applied, lineage="f" * 32, serial=99)})
    refused = applied.run("state", "import", "s.json", expect=1).err
    assert "belongs to another state with the same stack and environment" in refused
    assert "--from-elsewhere" in refused
    applied.run("state", "import", "s.json", "--from-elsewhere", expect=0)
    assert json.loads(exported(applied))["lineage"] == "f" * 32


def test_the_export_of_another_organization_has_to_be_meant(applied: Workspace) -> None:
    applied.write({"s.json": exported(applied, organization="org-x", serial=99)})
    refused = applied.run("state", "import", "s.json", expect=1).err
    assert "the organization org-x" in refused
    assert "the organization org-emulator" in refused
    applied.run("state", "import", "s.json", "--from-elsewhere", expect=0)
    assert json.loads(exported(applied))["organization"] == "org-x"


def test_the_export_of_another_stack_has_to_be_meant(applied: Workspace) -> None:
    applied.write({"s.json": exported(applied, stack="other")})
    assert "--from-elsewhere" in applied.run("state", "import", "s.json", expect=1).err
    applied.run("state", "import", "--from-elsewhere", "s.json", expect=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [("[" * 100_000, "nested too deeply"), ("{", "is not JSON"), ("[]", "not a state export")],
    ids=["deep", "cut", "list"],
)
def test_a_file_that_is_no_export_is_refused_in_a_sentence(
    applied: Workspace, text: str, message: str
) -> None:
    applied.write({"s.json": text})
    done = applied.run("state", "import", "s.json", expect=1)
    assert message in done.err
    assert "mistake in reconciler" not in done.err


def test_resources_of_kinds_that_are_not_known_are_pointed_out(applied: Workspace) -> None:
    data = json.loads(exported(applied))
    applied.write({"s.json": json.dumps(data).replace("Assistant/bot", "Unicorn/bot")})
    assert "knows no Unicorn" in applied.run("state", "import", "s.json", expect=0).err


def test_a_lock_that_is_held_keeps_an_import_out_until_it_is_released(applied: Workspace) -> None:
    applied.write({"s.json": exported(applied)})
    folder = applied.folder / ".reconciler"
    with StateStore.open(folder, stack="stack", environment="default") as store:
        with store.lock(command="apply", on_takeover=print):
            applied.run("state", "import", "s.json", expect=12)
            assert "running `apply`" in applied.run("state", "unlock", expect=0).out
        applied.run("state", "import", "s.json", expect=0)
    assert applied.run("state", "unlock", expect=0).out == "No run holds the lock.\n"
