"""Exports and imports bind objects in shared and encrypted states as in a local one."""

from __future__ import annotations

import shutil

import pytest
from pyrage import x25519

from tests.conftest import Workspace
from tests.export.test_export import changes_nothing, texts
from tests.servers.postgres import Database
from tests.terraform.states import resource, save, state

pytestmark = [pytest.mark.slow, pytest.mark.backends]


def encrypting(folder: Workspace) -> Workspace:
    """Let the stack encrypt its state for an identity in a file."""
    identity = x25519.Identity.generate()
    file = folder.folder.parent / "identity.txt"
    file.write_text(f"{identity}\n")
    file.chmod(0o600)
    folder.variables = {"RECONCILER_AGE_IDENTITY": str(file)}
    recipient = f"encryption: {{age: {{recipients: [{identity.to_public()}]}}}}"
    stack = (
        f"kind: Stack\nmetadata: {{name: acme}}\nspec: {{manifests: [manifests/], {recipient}}}\n"
    )
    return folder.write({"reconciler.yaml": stack})


@pytest.fixture(params=["postgres", "encrypted"])
def shared(request: pytest.FixtureRequest, folder: Workspace) -> Workspace:
    """A folder whose state is elsewhere, or sealed."""
    if request.param == "encrypted":
        return encrypting(folder)
    database: Database = request.getfixturevalue("database")
    folder.variables = {"RECONCILER_BACKEND": database.url()}
    return folder


def test_an_export_binds_its_objects(shared: Workspace) -> None:
    shared.run("export", expect=0)
    first = texts(shared)
    assert changes_nothing(shared.plan())
    assert shared.run("state", "list", expect=0).out
    shared.run("export", "--force", expect=0)
    assert texts(shared) == first


def test_a_second_runner_plans_nothing(shared: Workspace) -> None:
    shared.run("export", expect=0)
    runner = shared.folder.parent / "runner"
    shutil.copytree(shared.folder, runner)
    other = Workspace(runner, shared.emulator, shared.variables)
    assert changes_nothing(other.plan())


def test_an_import_from_terraform_waits_in_the_shared_state(shared: Workspace) -> None:
    projects = shared.emulator.store.all("project")
    project = next(record for record in projects if record.body["status"] == "active")
    attributes = {"id": project.id, "name": project.body["name"], "status": "active"}
    made = resource("openai/openai", "openai_project", "p", attributes)
    # The name of the stack is that of its folder unless a file says it.
    if not (shared.folder / "reconciler.yaml").exists():
        shared.write({"reconciler.yaml": "kind: Stack\nmetadata: {name: acme}\nspec: {}\n"})
    name = save(shared, state(made))
    shared.run("import", "--from-terraform", name, expect=0)
    runner = shared.folder.parent / "runner"
    shutil.copytree(shared.folder, runner)
    other = Workspace(runner, shared.emulator, shared.variables)
    assert "Terraform may still manage" in other.run("apply", "--yes", expect=11).err
    shared.run("import", "--terraform-released", expect=0)
    shared.run("apply", "--yes", expect=0)
