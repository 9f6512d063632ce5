"""What a GET answers can be pasted into a manifest, and the plan of it changes nothing."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from reconciler.app.session import Session
from reconciler.kinds import KINDS
from reconciler.manifests import Settings
from reconciler.manifests.load import load_documents
from reconciler.manifests.problems import Problems
from reconciler.model.address import Address
from reconciler.model.job import INPUTS_KEY
from reconciler.model.kind import Kind
from reconciler.model.resource import LiveObject
from tests.conftest import Workspace
from tests.kinds.test_adoption import lose_state_and_marks
from tests.manifests.conftest import Folder, folder
from tests.whole_examples import FILES, make_a_persons_key, whole_example

__all__ = ["folder"]

NOT_ANSWERED = {"Certificate": ("certificate",), "ProjectGroup": ("role",)}
"""What a manifest has to say and no answer shows."""
OTHER_NAMES = ("user_provided_suffix",)
"""Fields that answers show under another name."""


def documents(kind: Kind) -> list[dict[str, Any]]:
    loaded = load_documents(whole_example(kind), "example.yaml", Problems())
    return [json.loads(json.dumps(document.value)) for document in loaded]


def pasted(kind: Kind, written: dict[str, Any], live: LiveObject) -> dict[str, Any]:
    """The answer as a spec. Files and keys are not part of it, and the fields of the path are."""
    parents = {name for names in kind.parents for name in names}
    spec = {}
    for name in (*kind.by_name, *OTHER_NAMES):
        field = kind.by_name.get(name)
        is_own = field is not None and (field.has_own_calls or field.client_only)
        if kind.name == "ServiceAccount" and name == "key":
            continue  # of an account that exists, nobody has to be given a key
        if is_own or name in parents or name in NOT_ANSWERED.get(kind.name, ()):
            spec |= {name: written[name]} if name in written else {}
        elif name in live.attributes:
            spec[name] = live.attributes[name]
    if kind.mark in spec:
        pairs = spec[kind.mark] or {}
        spec[kind.mark] = {key: pairs[key] for key in pairs if not key.startswith("reconciler")}
    return spec


def forget_inputs(workspace: Workspace) -> None:
    """Make jobs those of somebody who never heard of this program."""
    store = workspace.emulator.store
    for kind in ("batch", "fine_tuning_job", "eval_run"):
        for record in store.all(kind):
            (record.body.get("metadata") or {}).pop(INPUTS_KEY, None)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(KINDS))
def test_an_answer_pasted_into_a_manifest_changes_nothing(workspace: Workspace, name: str) -> None:
    kind = KINDS[name]
    if name == "ProjectKey":
        make_a_persons_key(workspace.emulator)
    workspace.write({**FILES, "manifests.yaml": whole_example(kind)}).apply()
    manifests = documents(kind)
    with Session(Settings(root=workspace.folder, env=workspace.environment)) as session:
        records = session.store.records()
        for address, record in records.items():
            if address.project and record.project_id:
                session.provider.bind_project(address.project, record.project_id)
        for document in manifests:
            metadata = document["metadata"]
            address = Address(document["kind"], metadata["name"], metadata.get("project"))
            id = records[address].id
            if not KINDS[address.kind].unique_key:
                document["lifecycle"] = {**document.get("lifecycle", {}), "adopt": id}
            if document["kind"] == name:
                parent = kind.parent_and_id(id)[0]
                listable = kind.calls.listable
                live = session.provider.get(kind, address.project, id)
                if live is None and listable:
                    objects = session.provider.list(kind, address.project, parent)
                    live = next(object for object in objects if object.id == id)
                assert live is not None
                document["spec"] = pasted(kind, document["spec"], live)
    lose_state_and_marks(workspace)
    forget_inputs(workspace)
    (workspace.folder / "manifests.yaml").unlink()
    workspace.write({"manifests.json": json.dumps(manifests)})
    plan = json.loads(workspace.run("plan", "--format", "json", expect=0).out)
    actions = {
        change["address"]: change["change"]["actions"] for change in plan["resource_changes"]
    }
    touched = {
        address: action
        for address, action in actions.items()
        if action != ["no-op"] and address.startswith(f"{name}/")
    }
    assert touched == {}


def test_a_pasted_job_does_not_run_again(workspace: Workspace) -> None:
    kind = KINDS["FineTuningJob"]
    workspace.write({**FILES, "manifests.yaml": whole_example(kind)}).apply()
    emulator = workspace.emulator
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    [job] = httpx.get(f"{emulator.base_url}/fine_tuning/jobs", headers=headers).json()["data"]
    shown = {name: job[name] for name in (*kind.by_name, *OTHER_NAMES) if name in job}
    text = (workspace.folder / "manifests.yaml").read_text()
    training = re.sub(r'"file-[^"]*"', '"${File/examples}"', json.dumps({**shown, "metadata": {}}))
    document = f'{{"kind": "FineTuningJob", "metadata": {{"name": "tone"}}, "spec": {training}}}'
    rest = text.partition("---")[2]
    workspace.write({"manifests.yaml": rest, "job.json": document})
    planned = workspace.plan()
    assert planned.code == 0, planned.out


def test_another_input_of_a_job_still_runs_it_again(workspace: Workspace) -> None:
    text = whole_example(KINDS["FineTuningJob"])
    workspace.write({**FILES, "manifests.yaml": text}).apply()
    workspace.write({"manifests.yaml": text.replace("n_epochs: 2", "n_epochs: 3")})
    assert "will be run again" in workspace.plan().out


CREDENTIAL = """
kind: Credential
metadata: {name: issues}
spec:
  vault_id: vault_1
  auth: {type: static_bearer, mcp_server_url: https://mcp.example.com/issues}
"""


def test_only_an_object_that_exists_may_keep_its_secret(folder: Folder) -> None:
    folder.write({"a.yaml": CREDENTIAL})
    assert 'Missing "token"' in folder.problems()[0]
    folder.write({"a.yaml": f"{CREDENTIAL}lifecycle: {{adopt: vault_1/cred_1}}\n"})
    assert folder.load().resources


def test_a_field_that_only_the_server_sets_is_refused_by_name(folder: Folder) -> None:
    folder.write({"a.yaml": "kind: Project\nmetadata: {name: p}\nspec: {name: P, created_at: 1}\n"})
    assert 'Unknown field "created_at"' in folder.problems()[0]
