"""Whatever an export cannot read or write is one sentence, and the rest is exported."""

from __future__ import annotations

import pytest

from tests.conftest import Workspace
from tests.export.organization import Api
from tests.export.test_export import changes_nothing, everything, texts
from tests.whole_examples import make_a_persons_key


def test_a_folder_that_is_not_empty_is_refused(folder: Workspace, organization: Api) -> None:
    folder.write({"manifests/mine.txt": "mine"})
    done = folder.run("export", expect=1)
    assert "manifests is not empty: it has mine.txt" in done.err
    assert organization.emulator.requests == []
    assert not (folder.folder / "reconciler.yaml").exists()


def test_force_keeps_the_files_that_an_export_does_not_write(folder: Workspace) -> None:
    folder.write({"manifests/notes/mine.txt": "mine", "manifests/organization/groups.yaml": "x"})
    folder.run("export", "--kind", "Group", "--force", expect=0)
    files = texts(folder)
    assert files["notes/mine.txt"] == b"mine"
    assert b"kind: Group" in files["organization/groups.yaml"]


def test_a_file_is_not_replaced_if_that_would_lose_a_declaration(
    folder: Workspace, organization: Api
) -> None:
    folder.run("export", "--kind", "Group", expect=0)
    before = texts(folder)
    organization.admin("POST", "/organization/groups", name="Sales")
    done = folder.run("export", "--kind", "Group", "--unmanaged", "--force", expect=1)
    assert "manifests/organization/groups.yaml declares Group/support" in done.err
    assert texts(folder) == before


def test_another_layout_over_the_first_is_refused(folder: Workspace) -> None:
    folder.run("export", "--kind", "Group", expect=0)
    before = texts(folder)
    done = folder.run("export", "--kind", "Group", "--layout", "flat", "--force", expect=1)
    assert "manifests/organization/groups.yaml declares Group/support already" in done.err
    assert texts(folder) == before


def test_what_is_gone_disappears_from_its_file(folder: Workspace, organization: Api) -> None:
    organization.admin("POST", "/organization/groups", name="Sales")
    folder.run("export", "--kind", "Group", expect=0)
    organization.admin("DELETE", f"/organization/groups/{organization.ids['support']}")
    folder.run("export", "--kind", "Group", "--force", expect=13)
    assert "name: Sales" in everything(folder)
    assert "name: Support" not in everything(folder)


def test_an_object_that_manifests_cannot_tell_from_another_is_left_out(
    folder: Workspace, organization: Api
) -> None:
    for _ in range(2):
        make_a_persons_key(organization.emulator)
    done = folder.run("export", "--kind", "ProjectKey", expect=0)
    assert everything(folder).count("name: Laptop") == 1
    assert "Left out: 1 ProjectKey in default-project" in done.err
    assert "already declares name laptop" in done.err.lower()
    assert changes_nothing(folder.run("plan"))


def test_a_manifest_of_an_earlier_export_is_reported(folder: Workspace, organization: Api) -> None:
    folder.run("export", "--kind", "Group", "--kind", "Role", expect=0)
    organization.admin("DELETE", f"/organization/groups/{organization.ids['support']}")
    done = folder.run("export", "--kind", "Group", "--force", expect=13)
    assert "Not of this export: manifests/organization/groups.yaml" in done.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--kind", "Grup"], '--kind Grup: there is no such kind. Did you mean "Group"?'),
        (["--project", "nope"], "--project nope: the organization has no project of that name"),
        (["--out", ".."], "is outside the stack's folder"),
        (["--out", "/tmp/elsewhere"], "is outside the stack's folder"),
        (["--stack", "no name"], '--stack "no name" is no name'),
    ],
)
def test_a_bad_option_is_one_sentence_and_leaves_nothing_behind(
    folder: Workspace, arguments: list[str], sentence: str
) -> None:
    done = folder.run("export", *arguments, expect=1)
    assert sentence in done.err
    assert not (folder.folder / "reconciler.yaml").exists()
    assert not (folder.folder / "manifests").exists()


def test_a_second_name_for_the_stack_is_refused(folder: Workspace) -> None:
    folder.write({"reconciler.yaml": "kind: Stack\nmetadata: {name: mine}\nspec: {}\n"})
    done = folder.run("export", "--stack", "other", expect=1)
    assert "--stack other: there is a stack file already, reconciler.yaml" in done.err


def test_a_file_in_place_of_the_folder_is_refused(folder: Workspace) -> None:
    folder.write({"manifests": "a file"})
    assert "manifests is not a folder" in folder.run("export", "--force", expect=1).err


def test_a_list_that_is_refused_in_one_project_is_reported_and_the_rest_exported(
    folder: Workspace, organization: Api
) -> None:
    project = organization.ids["search"]
    organization.emulator.add_fault(
        f"on=GET:/organization/projects/{project}/service_accounts*,do=error:403,times=0"
    )
    done = folder.run("export", expect=13)
    name = f"search-{project[-4:].lower()}"
    assert f"Not read: ServiceAccount in {name}:" in done.err
    assert "kind: Assistant" in everything(folder)
    assert "max_requests_per_1_minute: 77" in everything(folder)
    organization.emulator.clear_faults()
    assert changes_nothing(folder.run("plan"))


def test_a_retired_kind_is_reported_and_the_rest_exported(
    folder: Workspace, organization: Api
) -> None:
    organization.emulator.set_options(retire_assistants=True)
    try:
        done = folder.run("export", expect=0)
    finally:
        organization.emulator.set_options(retire_assistants=False)
    assert "Not read: Assistant: The live platform retired assistants" in done.err
    assert "kind: Agent" in everything(folder)


def test_without_an_admin_key_the_default_project_is_exported(folder: Workspace) -> None:
    folder.variables["OPENAI_ADMIN_KEY"] = ""
    done = folder.run("export", expect=0)
    assert "Not read: everything of the organization: no admin key is set" in done.err
    assert "kind: Assistant" in everything(folder)


def test_without_a_project_key_the_organization_is_exported(folder: Workspace) -> None:
    folder.variables["OPENAI_API_KEY"] = ""
    done = folder.run("export", expect=0)
    assert "no API key is set (OPENAI_API_KEY)" in done.err
    assert "kind: Group" in everything(folder)


def test_without_any_key_nothing_is_written(folder: Workspace) -> None:
    folder.variables |= {"OPENAI_API_KEY": "", "OPENAI_ADMIN_KEY": ""}
    done = folder.run("export", expect=1)
    assert "No key is set" in done.err
    assert not (folder.folder / "manifests").exists()


def test_a_state_of_another_organization_is_refused(folder: Workspace, organization: Api) -> None:
    folder.run("export", "--kind", "Group", expect=0)
    organization.emulator.set_options(organization="org-other")
    try:
        done = folder.run("export", "--kind", "Group", "--force", expect=1)
    finally:
        organization.emulator.set_options(organization="org-emulator")
    assert "the state belongs to" in done.err


def test_a_broken_manifest_of_the_user_is_named(folder: Workspace) -> None:
    folder.run("export", "--kind", "Group", expect=0)
    broken = "kind: Group\nmetadata: {name: other}\nspec: {nam: Other}\n"
    folder.write({"manifests/broken.yaml": broken})
    done = folder.run("export", "--kind", "Group", "--force", expect=1)
    assert "broken.yaml" in done.err
