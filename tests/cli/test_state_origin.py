"""A state works only with the server and organization of its objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.emulator import Emulator, EmulatorOptions
from tests.cli.test_plan_and_apply import ASSISTANT
from tests.conftest import Workspace

STACK = """\
kind: Stack
metadata: {{name: stack}}
spec: {spec}
"""


@pytest.fixture
def applied(workspace: Workspace) -> Workspace:
    workspace.declare(ASSISTANT).apply()
    return workspace


@pytest.fixture
def rival() -> Iterator[Emulator]:
    """The API of another organization."""
    with Emulator(EmulatorOptions(organization="org-rival")) as running:
        yield running


def writes(emulator: Emulator) -> list[str]:
    return [request.path for request in emulator.requests if request.method != "GET"]


def identity(workspace: Workspace) -> tuple[str, str]:
    data: dict[str, Any] = json.loads(workspace.run("state", "export", expect=0).out)
    return data["server"], data["organization"]


def assistants(count: int) -> list[str]:
    return [ASSISTANT.replace("name: bot", f"name: bot{number}") for number in range(count)]


def test_a_state_records_its_server_and_organization(applied: Workspace) -> None:
    assert identity(applied) == (applied.emulator.base_url, "org-emulator")


@pytest.mark.parametrize(
    "command",
    [
        ("plan",),
        ("apply", "--yes"),
        ("destroy", "--yes"),
        ("drift",),
        ("apply", "--yes", "--refresh", "full"),
    ],
    ids=" ".join,
)
def test_a_state_is_refused_in_another_organization_before_anything_is_written(
    applied: Workspace, rival: Emulator, command: tuple[str, ...]
) -> None:
    refused = applied.run(*command, "--base-url", rival.base_url, expect=1).err
    assert "the state belongs to the organization org-emulator" in refused
    assert "the keys in use are of the organization org-rival" in refused
    assert rival.base_url in refused
    assert "another environment (-e NAME) or another state folder" in refused
    assert writes(rival) == []


def test_the_state_of_a_rehearsal_is_called_so(applied: Workspace, rival: Emulator) -> None:
    refused = applied.run("plan", "--base-url", rival.base_url, expect=1).err
    assert "the state of a rehearsal on the emulator" in refused


def test_a_saved_plan_is_not_applied_with_keys_of_another_organization(
    workspace: Workspace,
) -> None:
    workspace.declare(ASSISTANT).apply()
    workspace.declare(*assistants(2), ASSISTANT).run("plan", "--out", "p.json", expect=0)
    workspace.emulator.set_options(organization="org-rival")
    workspace.emulator.clear_requests()
    assert "org-rival" in workspace.run("apply", "p.json", expect=1).err
    assert writes(workspace.emulator) == []


def test_the_same_organization_at_another_address_is_accepted(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept = EmulatorOptions(data=tmp_path_factory.mktemp("data") / "organization.json")
    with Emulator(kept) as first:
        workspace.declare(ASSISTANT).run("apply", "--yes", "--base-url", first.base_url, expect=0)
    with Emulator(kept) as second:
        workspace.run("apply", "--yes", "--base-url", second.base_url, expect=0)
        assert identity(workspace) == (second.base_url, "org-emulator")
        assert writes(second) == []


def test_one_object_that_is_gone_at_another_address_is_refused(applied: Workspace) -> None:
    with Emulator() as empty:
        refused = applied.run("apply", "--yes", "--base-url", empty.base_url, expect=11).err
        assert "1 of 1 recorded objects are gone at once" in refused
        assert writes(empty) == []


def test_a_state_without_objects_belongs_to_nobody(applied: Workspace, rival: Emulator) -> None:
    applied.run("destroy", "--yes", expect=0)
    applied.run("apply", "--yes", "--base-url", rival.base_url, expect=0)
    assert identity(applied) == (rival.base_url, "org-rival")


def test_an_imported_object_ties_the_state_to_its_organization(
    workspace: Workspace, rival: Emulator
) -> None:
    workspace.declare(ASSISTANT).apply()
    found = workspace.run("state", "list", expect=0).out.split()[-1]
    workspace.run("state", "rm", "Assistant/bot", expect=0)
    workspace.run("import", "Assistant/bot", found, expect=0)
    assert "org-emulator" in workspace.run("plan", "--base-url", rival.base_url, expect=1).err


def test_the_organization_of_the_stack_file_is_asserted(
    workspace: Workspace, rival: Emulator
) -> None:
    workspace.declare(ASSISTANT).write(
        {"reconciler.yaml": STACK.format(spec="{organization: org-emulator}")}
    )
    workspace.apply()
    refused = workspace.run("plan", "--base-url", rival.base_url, "-e", "default", expect=1).err
    assert "`organization` in the stack file names the organization org-emulator" in refused
    assert writes(rival) == []


def test_an_environment_has_an_organization_of_its_own(
    workspace: Workspace, rival: Emulator
) -> None:
    spec = "{organization: org-emulator, environments: {prod: {organization: org-rival}}}"
    workspace.declare(ASSISTANT).write({"reconciler.yaml": STACK.format(spec=spec)})
    workspace.apply("-e", "default")
    workspace.run("apply", "--yes", "-e", "prod", "--base-url", rival.base_url, expect=0)


@pytest.mark.parametrize("value", ["acme", "5", "[org-a]", "org-a b"])
def test_what_is_no_id_of_an_organization_is_refused(workspace: Workspace, value: str) -> None:
    workspace.write({"reconciler.yaml": STACK.format(spec=f"{{organization: {value!r}}}")})
    assert "reconciler.yaml:3" in workspace.run("validate", expect=1).err


def test_a_variable_that_names_another_organization_than_the_stack_is_refused(
    workspace: Workspace,
) -> None:
    workspace.write({"reconciler.yaml": STACK.format(spec="{organization: org-a}")})
    workspace.variables = {"OPENAI_ORG_ID": "org-b"}
    refused = workspace.run("validate", expect=1).err
    assert "The stack file names org-a, and OPENAI_ORG_ID is org-b" in refused


def lose(workspace: Workspace, count: int) -> None:
    store = workspace.emulator.store
    with store.lock:
        for record in list(store.all("assistant"))[:count]:
            store.remove(record)


@pytest.mark.parametrize(
    "command", [("plan",), ("apply", "--yes"), ("destroy", "--yes")], ids=" ".join
)
def test_a_plan_without_a_third_of_the_recorded_objects_is_refused(
    workspace: Workspace, command: tuple[str, ...]
) -> None:
    workspace.declare(*assistants(9)).apply()
    lose(workspace, 3)
    workspace.emulator.clear_requests()
    refused = workspace.run(*command, expect=11).err
    assert "3 of 9 recorded objects are gone at once" in refused
    assert "guards: {max_vanished_percent: 34}" in refused
    assert writes(workspace.emulator) == []


def test_the_field_that_the_guard_names_lets_exactly_that_pass(workspace: Workspace) -> None:
    spec = "{guards: {max_vanished_percent: 34}}"
    workspace.declare(*assistants(9)).write({"reconciler.yaml": STACK.format(spec=spec)}).apply()
    lose(workspace, 3)
    workspace.apply()
    lose(workspace, 4)
    workspace.run("apply", "--yes", expect=11)


def test_two_objects_that_somebody_deleted_are_made_again(workspace: Workspace) -> None:
    workspace.declare(*assistants(2)).apply()
    lose(workspace, 2)
    workspace.apply()


def test_drift_says_loudly_that_much_is_gone(workspace: Workspace) -> None:
    workspace.declare(*assistants(4)).apply()
    lose(workspace, 3)
    done = workspace.run("drift", "--report", "r.md:markdown", "--report", "r.json:json", expect=2)
    sentence = "3 of 4 recorded objects are gone at once"
    assert sentence in done.out
    assert sentence in (workspace.folder / "r.md").read_text()
    [warning] = json.loads((workspace.folder / "r.json").read_text())["reconciler"]["diagnostics"]
    assert sentence in warning["detail"]


def test_a_saved_plan_is_refused_once_another_state_took_the_place_of_its_own(
    workspace: Workspace,
) -> None:
    workspace.declare(ASSISTANT).apply()
    database = next((workspace.folder / ".reconciler").glob("*.db"))
    other = workspace.folder / "other"
    other.mkdir()
    workspace.run("state", "export", expect=0)
    database.rename(other / database.name)
    workspace.apply()  # a successor of the lost state, with the same serial
    workspace.declare(ASSISTANT.replace("gpt-4o", "gpt-4.1")).run(
        "plan", "--out", "p.json", expect=0
    )
    (other / database.name).replace(database)
    refused = workspace.run("apply", "p.json", expect=10).err
    assert "the plan was made from another state of stack/default" in refused
    assert "lineage" in refused


def test_a_plan_that_was_saved_before_there_was_a_state_is_applied(workspace: Workspace) -> None:
    workspace.declare(ASSISTANT).run("plan", "--out", "p.json", expect=0)
    assert not (workspace.folder / ".reconciler").exists()
    workspace.run("apply", "p.json", expect=0)
