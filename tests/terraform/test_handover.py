"""Between the import and the day Terraform lets go, nothing is changed."""

from __future__ import annotations

import pytest

from reconciler.app.applying import apply_checked_plan, locked
from reconciler.app.plans import plan_stack
from reconciler.app.session import Session
from reconciler.errors import GuardError
from reconciler.manifests import Settings
from reconciler.model.change import Action
from tests.conftest import Workspace
from tests.terraform.conftest import Organization
from tests.terraform.states import OPENAI, resource, save, state


@pytest.fixture
def imported(workspace: Workspace, organization: Organization) -> Workspace:
    """A stack with a group that Terraform made, right after its import."""
    group = organization.post("/organization/groups", name="Support")
    name = save(
        workspace,
        state(resource(OPENAI, "openai_group", "g", {"id": group["id"], "name": "Support"})),
    )
    workspace.emulator.clear_requests()
    workspace.run("import", "--from-terraform", name, expect=0)
    return workspace


def rename(workspace: Workspace) -> None:
    """Edit the imported manifest."""
    file = workspace.folder / "manifests/organization/groups.yaml"
    file.write_text(file.read_text().replace("Support", "Operations"))


def test_an_import_calls_nothing(imported: Workspace) -> None:
    assert imported.emulator.requests == []


@pytest.mark.parametrize("command", ["apply", "destroy"])
def test_nothing_is_written_until_terraform_has_let_go(
    imported: Workspace, organization: Organization, command: str
) -> None:
    rename(imported)
    refused = imported.run(command, "--yes", expect=11)
    assert "Terraform may still manage the objects" in refused.err
    assert "reconciler import --terraform-released" in refused.err
    assert organization.writes() == []


@pytest.mark.parametrize("command", ["apply", "destroy"])
def test_the_refusal_comes_before_the_first_call(imported: Workspace, command: str) -> None:
    imported.run(command, "--yes", expect=11)
    assert imported.emulator.requests == []


def test_a_program_cannot_apply_either(imported: Workspace, organization: Organization) -> None:
    rename(imported)
    settings = Settings(root=imported.folder, env=imported.environment)
    with Session(settings) as session, locked(session, "apply"):
        plan = plan_stack(session)
        assert [change.action for change in plan.pending] == [Action.UPDATE]
        with pytest.raises(GuardError):
            apply_checked_plan(session, plan, command="apply")
    assert organization.writes() == []


def test_a_saved_plan_is_refused_as_well(imported: Workspace, organization: Organization) -> None:
    rename(imported)
    imported.run("plan", "--out", "it.plan", expect=0)
    imported.run("apply", "it.plan", expect=11)
    assert organization.writes() == []


def test_a_plan_is_made_and_says_that_apply_refuses(imported: Workspace) -> None:
    rename(imported)
    plan = imported.plan()
    assert plan.code == 2
    assert "until then, apply refuses" in plan.err


def test_apply_begins_once_terraform_has_let_go(
    imported: Workspace, organization: Organization
) -> None:
    rename(imported)
    imported.run("import", "--terraform-released", expect=0)
    imported.apply()
    groups = organization.get("/organization/groups")["data"]
    assert [group["name"] for group in groups] == ["Operations"]


def test_a_release_without_an_import_is_refused(workspace: Workspace) -> None:
    refused = workspace.run("import", "--terraform-released", expect=1)
    assert "nothing in this state waits for Terraform" in refused.err


def test_an_object_changed_since_the_state_shows_as_drift(
    imported: Workspace, organization: Organization
) -> None:
    group = organization.get("/organization/groups")["data"][0]
    organization.post(f"/organization/groups/{group['id']}", name="By hand")
    plan = imported.plan()
    assert plan.code == 2
    assert "it was changed outside reconciler" in plan.out


def test_a_document_that_is_removed_later_deletes_its_object(
    imported: Workspace, organization: Organization
) -> None:
    imported.run("import", "--terraform-released", expect=0)
    (imported.folder / "manifests/organization/groups.yaml").unlink()
    imported.declare("kind: Group\nmetadata: {name: other}\nspec: {name: Other}\n")
    imported.apply("--allow-delete", "Group/g")
    groups = organization.get("/organization/groups")["data"]
    assert [group["name"] for group in groups] == ["Other"]


def test_a_rollback_is_refused_as_well(workspace: Workspace, organization: Organization) -> None:
    workspace.declare("kind: Group\nmetadata: {name: mine}\nspec: {name: Mine}\n").apply()
    group = organization.post("/organization/groups", name="Support")
    attributes = {"id": group["id"], "name": "Support"}
    name = save(workspace, state(resource(OPENAI, "openai_group", "g", attributes)))
    workspace.run("import", "--from-terraform", name, expect=0)
    workspace.emulator.clear_requests()
    workspace.run("rollback", "1", "--yes", expect=11)
    assert workspace.emulator.requests == []


def test_manifests_that_were_written_and_not_bound_are_not_applied(
    workspace: Workspace, organization: Organization
) -> None:
    workspace.write({"mine.yaml": "kind: Group\nmetadata: {name: mine}\nspec: {nome: Mine}\n"})
    attributes = {"id": "group_1", "name": "Support"}
    name = save(workspace, state(resource(OPENAI, "openai_group", "g", attributes)))
    failed = workspace.run("import", "--from-terraform", name, expect=1)
    assert "nothing was bound" in failed.err
    (workspace.folder / "mine.yaml").unlink()
    workspace.run("apply", "--yes", expect=11)
    assert organization.writes() == []


def test_a_plan_right_after_the_import_notices_another_organization(workspace: Workspace) -> None:
    attributes = {"id": "group_elsewhere", "name": "Support"}
    name = save(workspace, state(resource(OPENAI, "openai_group", "g", attributes)))
    workspace.run("import", "--from-terraform", name, expect=0)
    refused = workspace.run("plan", expect=11)
    assert "1 of 1 recorded objects are gone at once" in refused.err
    assert "another organization" in refused.err
