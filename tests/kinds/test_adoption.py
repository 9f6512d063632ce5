"""Existing objects are adopted by id, also with composed ids and with equal names."""

from __future__ import annotations

import json
import re

import pytest

from reconciler.kinds import KINDS
from tests.cli.test_inventory import post, upload
from tests.conftest import Workspace
from tests.whole_examples import FILES, whole_example

INSIDE_OTHERS = [name for name, kind in KINDS.items() if kind.parents]


def records(workspace: Workspace) -> dict[str, str]:
    """The id of each address in the state."""
    listed = json.loads(workspace.run("state", "list", "--format", "json", expect=0).out)
    return {entry["address"]: entry["id"] for entry in listed}


def lose_state_and_marks(workspace: Workspace) -> None:
    """Make all objects those of somebody who never heard of this program."""
    for path in sorted((workspace.folder / ".reconciler").iterdir()):
        path.unlink()
    store = workspace.emulator.store
    for kind in store.counts():
        for record in store.all(kind):
            (record.body.get("metadata") or {}).pop("reconciler", None)


def adopting(text: str, ids: dict[str, str]) -> str:
    """A document that adopts its object by id."""
    kind = re.search(r"^kind: (\S+)", text, re.MULTILINE)
    name = re.search(r"^(?:metadata: \{|  )name: ([\w.-]+)", text, re.MULTILINE)
    project = re.search(r"^  project: ([\w.-]+)", text, re.MULTILINE)
    assert kind
    assert name
    address = "/".join(filter(None, (kind[1], project and project[1], name[1])))
    adopt = f"adopt: {json.dumps(ids[address])}"
    if "lifecycle: {" in text:
        return text.replace("lifecycle: {", f"lifecycle: {{{adopt}, ")
    return f"{text.rstrip()}\nlifecycle: {{{adopt}}}\n"


@pytest.mark.parametrize("name", INSIDE_OTHERS)
def test_an_object_inside_another_is_adopted_by_its_id(workspace: Workspace, name: str) -> None:
    text = whole_example(KINDS[name])
    workspace.write({"manifests.yaml": text, **FILES}).apply()
    ids = records(workspace)
    lose_state_and_marks(workspace)
    documents = re.split(r"^---$", text, flags=re.MULTILINE)
    adopted = "---".join(adopting(document, ids) for document in documents)
    workspace.write({"manifests.yaml": adopted})
    before = workspace.emulator.store.counts()
    workspace.apply()
    assert records(workspace) == ids
    assert workspace.plan().code == 0
    after = workspace.emulator.store.counts()
    assert after | {"audit_log": 0} == before | {"audit_log": 0}


@pytest.mark.parametrize("kind", ["VectorStore", "Group", "Container", "Project"])
def test_two_objects_of_one_name_are_adopted_each_by_its_id(
    workspace: Workspace, kind: str
) -> None:
    paths = {
        "VectorStore": "/vector_stores",
        "Group": "/organization/groups",
        "Container": "/containers",
        "Project": "/organization/projects",
    }
    is_admin = "organization" in paths[kind]
    ids = {
        f"{kind}/{name}": post(workspace, paths[kind], admin=is_admin, name="Twin")["id"]
        for name in ("one", "two")
    }
    workspace.declare(
        *(
            f"kind: {kind}\nmetadata: {{name: {name}}}\nspec: {{name: Twin}}\n"
            f"lifecycle: {{adopt: {ids[f'{kind}/{name}']}}}\n"
            for name in ("one", "two")
        )
    ).apply()
    assert records(workspace) == ids
    assert workspace.plan().code == 0


def test_a_file_whose_name_has_slashes_is_adopted(workspace: Workspace) -> None:
    file = upload(workspace, "docs/a.md")
    workspace.write({"docs/a.md": "text"}).declare(
        "kind: File\nmetadata: {name: a}\n"
        "spec: {path: docs/a.md, filename: docs/a.md, purpose: assistants}\n"
        f"lifecycle: {{adopt: {file['id']}}}\n"
    ).apply()
    assert records(workspace) == {"File/a": file["id"]}
    assert workspace.plan().code == 0


def test_an_expired_container_cannot_be_adopted_and_the_error_says_why(
    workspace: Workspace,
) -> None:
    box = post(workspace, "/containers", name="box")
    [record] = workspace.emulator.store.all("container")
    record.body["status"] = "expired"
    workspace.declare(
        f"kind: Container\nmetadata: {{name: box}}\nspec: {{}}\nlifecycle: {{adopt: {box['id']}}}\n"
    )
    error = workspace.run("plan", expect=1).err
    assert f'{box["id"]} has status "expired", which is final' in error
    assert "Remove `adopt`" in error


@pytest.mark.parametrize("name", ["text", "markdown"])
def test_an_adoption_shows_what_the_object_is(workspace: Workspace, name: str) -> None:
    made = post(workspace, "/assistants", name="Helpdesk", model="gpt-4o", beta=True)
    workspace.declare(
        "kind: Assistant\nmetadata: {name: help}\nspec: {name: Helpdesk, model: gpt-4o}\n"
        f"lifecycle: {{adopt: {made['id']}}}\n"
    )
    shown = workspace.run("plan", "--format", name, expect=0).out
    assert re.search(r'name: +"?Helpdesk', shown)
    assert re.search(r'model: +"?gpt-4o', shown)
