"""Claims about ownership marks: what a mark proves, who writes it, and when it outweighs a record."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from tests.cli.test_plan_and_apply import ASSISTANT, assistants, user, writes
from tests.conftest import Workspace

STATE = ".reconciler"
SECOND = """\
kind: Assistant
metadata: {name: second}
spec: {name: Second, model: gpt-4o}
"""
STACK = "kind: Stack\nmetadata: {name: NAME}\nspec: {manifests: [m/], guards: {max_delete_percent: 100}}\n"


def clone(workspace: Workspace, name: str = "Experiment") -> str:
    """Copy the first assistant as a script does: everything but its id and name."""
    body = {key: assistants(workspace)[-1][key] for key in ("model", "metadata", "instructions")}
    with user(workspace) as client:
        return str(client.post("/assistants", json={**body, "name": name}).json()["id"])


def ids(workspace: Workspace) -> set[Any]:
    return {found["id"] for found in assistants(workspace)}


def mark_of(workspace: Workspace, id: str) -> Any:
    return next(found["metadata"] for found in assistants(workspace) if found["id"] == id).get(
        "reconciler"
    )  # type: ignore[attr-defined]


def save_state(workspace: Workspace) -> None:
    shutil.copytree(workspace.folder / STATE, workspace.folder / "saved")


def restore_state(workspace: Workspace) -> None:
    shutil.rmtree(workspace.folder / STATE)
    shutil.copytree(workspace.folder / "saved", workspace.folder / STATE)


@pytest.fixture
def applied(workspace: Workspace) -> Workspace:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    return workspace


# --- copies


def test_a_copy_with_our_mark_is_not_deleted_by_a_plan_that_adds_another_object(
    applied: Workspace,
) -> None:
    copy = clone(applied)
    applied.write({"b.yaml": SECOND}).apply()
    assert copy in ids(applied)


@pytest.mark.parametrize("format", ["text", "markdown", "json"])
def test_a_copy_with_our_mark_is_named_in_every_format_of_a_plan(
    applied: Workspace, format: str
) -> None:
    copy = clone(applied)
    said = applied.write({"b.yaml": SECOND}).run("plan", "--format", format, expect=0).out
    assert copy in said.replace("\\_", "_")


def test_a_copy_with_our_mark_is_among_the_unmanaged_objects(applied: Workspace) -> None:
    copy = clone(applied)
    found = json.loads(applied.run("drift", "--unmanaged", "--format", "json").out)
    assert copy in json.dumps(found)


def test_a_copy_does_not_take_the_place_of_an_object_that_was_deleted(applied: Workspace) -> None:
    (original,) = ids(applied)
    copy = clone(applied)
    with user(applied) as client:
        client.delete(f"/assistants/{original}").raise_for_status()
    refused = applied.run("apply", "--yes", expect=1)
    assert f"{copy} carries our mark, and this state never held it" in refused.err
    assert ids(applied) == {copy}


def test_a_copy_of_a_removed_object_stays_when_nothing_declares_the_address(
    applied: Workspace,
) -> None:
    copy = clone(applied)
    applied.write({"a.yaml": SECOND}).apply()
    applied.write({"b.yaml": SECOND.replace("second", "third").replace("Second", "Third")}).apply()
    assert copy in ids(applied)


def test_a_copy_can_be_adopted_by_its_id_at_another_address(applied: Workspace) -> None:
    copy = clone(applied, "Second")
    applied.write({"b.yaml": SECOND + f"lifecycle: {{adopt: {copy}}}\n"}).apply()
    assert mark_of(applied, copy) == "stack/default/Assistant/second"
    assert applied.plan().code == 0


def test_without_the_state_two_objects_with_one_mark_are_a_question(applied: Workspace) -> None:
    copy = clone(applied, "Bot")
    shutil.rmtree(applied.folder / STATE)
    refused = applied.plan()
    assert refused.code == 1
    assert all(id in refused.err for id in {copy, *ids(applied)})


def test_without_the_state_an_explicit_id_settles_which_of_two_marked_objects_is_meant(
    applied: Workspace,
) -> None:
    (original,) = ids(applied)
    clone(applied)
    shutil.rmtree(applied.folder / STATE)
    applied.write({"a.yaml": ASSISTANT + f"lifecycle: {{adopt: {original}}}\n"}).apply()
    assert applied.run("state", "list", expect=0).out.split() == ["Assistant/bot", original]
    assert len(ids(applied)) == 2


# --- older states


def test_an_older_state_does_not_delete_what_another_stack_has_marked_since(
    workspace: Workspace,
) -> None:
    one = {"reconciler.yaml": STACK.replace("NAME", "one")}
    workspace.write({**one, "m/a.yaml": ASSISTANT, "m/b.yaml": SECOND}).apply()
    save_state(workspace)
    (id,) = [found["id"] for found in assistants(workspace) if found["name"] == "Bot"]
    with user(workspace) as client:
        mark = {"reconciler": "two/default/Assistant/y"}
        client.post(f"/assistants/{id}", json={"metadata": mark}).raise_for_status()
    restore_state(workspace)
    (workspace.folder / "m/a.yaml").unlink()
    done = workspace.apply()
    assert "will be forgotten: its mark says that another stack manages it now" in done.out
    assert id in ids(workspace)


def test_a_declared_object_that_another_stack_has_marked_is_refused_by_name(
    applied: Workspace,
) -> None:
    (id,) = ids(applied)
    with user(applied) as client:
        mark = {"reconciler": "two/default/Assistant/y"}
        client.post(f"/assistants/{id}", json={"metadata": mark}).raise_for_status()
    applied.emulator.clear_requests()
    assert "two/default/Assistant/y" in applied.run("apply", "--yes", expect=1).err
    assert writes(applied) == []


def test_an_older_state_does_not_rebuild_what_was_renamed_since(applied: Workspace) -> None:
    before = ids(applied)
    save_state(applied)
    renamed = ASSISTANT.replace("{name: bot}", "{name: robot}")
    applied.write({"a.yaml": renamed + "lifecycle: {renamed_from: Assistant/bot}\n"}).apply()
    restore_state(applied)
    applied.write({"a.yaml": renamed, "b.yaml": SECOND}).apply()
    assert before < ids(applied)
    assert "Assistant/bot" not in applied.run("state", "list", expect=0).out
    assert applied.plan().code == 0


def test_a_record_that_was_moved_by_hand_outweighs_the_mark_of_its_former_address(
    applied: Workspace,
) -> None:
    (id,) = ids(applied)
    applied.run("state", "mv", "Assistant/bot", "Assistant/robot", expect=0)
    robot = ASSISTANT.replace("{name: bot}", "{name: robot}")
    applied.write({"a.yaml": robot, "b.yaml": ASSISTANT.replace("name: Bot", "name: New")}).apply()
    assert f"Assistant/robot  {id}" in applied.run("state", "list", expect=0).out
    assert mark_of(applied, id) == "stack/default/Assistant/robot"


def test_a_saved_plan_does_not_delete_what_another_stack_has_marked_since(
    applied: Workspace,
) -> None:
    (id,) = ids(applied)
    applied.write({"b.yaml": SECOND}).apply()
    (applied.folder / "a.yaml").unlink()
    applied.run("plan", "--out", "p.json", expect=0)
    with user(applied) as client:
        mark = {"team": "cx", "reconciler": "two/default/Assistant/y"}
        client.post(f"/assistants/{id}", json={"metadata": mark}).raise_for_status()
    done = applied.run("apply", "p.json", "--yes", expect=10)
    assert "another stack manages it" in done.out
    assert id in ids(applied)


def test_an_imported_export_of_another_stack_keeps_its_objects_and_marks_them_again(
    applied: Workspace,
) -> None:
    before = ids(applied)
    export = applied.run("state", "export", expect=0).out
    applied.write({"s.json": export, "reconciler.yaml": "kind: Stack\nmetadata: {name: renamed}\n"})
    applied.run("state", "import", "--from-elsewhere", "s.json", expect=0)
    applied.apply()
    assert ids(applied) == before
    assert {mark_of(applied, str(id)) for id in before} == {"renamed/default/Assistant/bot"}
    assert applied.plan().code == 0


# --- adoption


def make(workspace: Workspace) -> str:
    body = {"name": "Bot", "model": "gpt-4o", "instructions": "Be kind.", "temperature": 0.5}
    with user(workspace) as client:
        return str(
            client.post("/assistants", json={**body, "metadata": {"team": "cx"}}).json()["id"]
        )


@pytest.mark.parametrize("way", ["adopt: true", "adopt: ID"])
def test_adopting_an_object_that_needs_no_change_writes_the_mark(
    workspace: Workspace, way: str
) -> None:
    id = make(workspace)
    workspace.write({"a.yaml": ASSISTANT + f"lifecycle: {{{way.replace('ID', id)}}}\n"})
    assert "writes the mark stack/default/Assistant/bot" in workspace.plan().out
    workspace.apply()
    assert mark_of(workspace, id) == "stack/default/Assistant/bot"
    assert workspace.plan().code == 0


@pytest.mark.parametrize("way", ["adopt: true", "adopt: ID"])
def test_a_second_stack_cannot_adopt_an_object_that_the_first_has_adopted(
    workspace: Workspace, way: str
) -> None:
    id = make(workspace)
    bot = {"m/a.yaml": ASSISTANT + f"lifecycle: {{{way.replace('ID', id)}}}\n"}
    workspace.write({**bot, "reconciler.yaml": STACK.replace("NAME", "one")}).apply()
    workspace.write({"reconciler.yaml": STACK.replace("NAME", "two")})
    refused = workspace.run("apply", "--yes", expect=1)
    assert "Managed by another stack" in refused.err
    assert "one/default/Assistant/bot" in refused.err


def test_an_adopted_object_is_found_again_without_the_state(workspace: Workspace) -> None:
    make(workspace)
    workspace.write({"a.yaml": ASSISTANT}).apply("--adopt")
    shutil.rmtree(workspace.folder / STATE)
    assert workspace.plan().code == 0


def test_the_apply_after_an_import_writes_the_mark(workspace: Workspace) -> None:
    id = make(workspace)
    workspace.write({"a.yaml": ASSISTANT}).run("import", "Assistant/bot", id, expect=0)
    assert "it does not carry the mark of this stack yet" in workspace.plan().out
    workspace.apply()
    assert mark_of(workspace, id) == "stack/default/Assistant/bot"


def test_metadata_without_room_for_a_mark_is_adopted_without_one(workspace: Workspace) -> None:
    full = {f"k{number}": "v" for number in range(16)}
    with user(workspace) as client:
        body = {"name": "Second", "model": "gpt-4o", "metadata": full}
        client.post("/assistants", json=body).raise_for_status()
    workspace.write({"a.yaml": SECOND + "lifecycle: {adopt: true}\n"}).apply()
    assert assistants(workspace)[0]["metadata"] == full
    assert workspace.plan().code == 0


# --- twins


def test_a_second_object_that_another_run_makes_meanwhile_is_reported_by_the_apply(
    workspace: Workspace,
) -> None:
    workspace.write({"a.yaml": ASSISTANT}).run("plan", "--out", "p.json", expect=0)
    workspace.apply("p.json")
    shutil.rmtree(workspace.folder / STATE)
    with workspace.emulator.store.lock:
        first = str(next(iter(workspace.emulator.store.all("assistant"))).id)
    done = workspace.apply("p.json")
    assert f"{first} carries the mark of Assistant/bot too" in done.out
