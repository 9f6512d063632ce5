"""A stack that comes from Terraform: the plan after the import is empty, and nothing was called."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from reconciler.emulator.routes import invites
from reconciler.emulator.store import ORGANIZATION
from tests.conftest import Workspace
from tests.terraform.conftest import Organization
from tests.terraform.states import (
    JIANYUAN,
    MKDEV,
    OPENAI,
    insist_on_an_empty_plan,
    keyed,
    resource,
    save,
    state,
    take_over,
)
from tests.whole_examples import FILES, PEM

# --- what is written


def small(organization: Organization) -> dict[str, Any]:
    """Two projects of one `for_each`, and a service account with a key in clear text."""
    projects = {key: organization.project(key) for key in ("search", "support")}
    account = organization.account(projects["search"], "indexer")
    instances = [keyed(key, id=id, name=key, status="active") for key, id in projects.items()]
    attributes = {
        "id": account["id"],
        "name": "indexer",
        "project_id": projects["search"],
        "api_key": account["api_key"]["value"],
        "api_key_id": account["api_key"]["id"],
    }
    return state(
        resource(JIANYUAN, "openai_project", "p", *instances, module='module.m["a"]'),
        resource(JIANYUAN, "openai_project_service_account", "sa", attributes),
        resource("hashicorp/random", "random_pet", "x", {"id": "cat"}),
    )


def manifests(workspace: Workspace) -> dict[str, bytes]:
    """Every file that was written, apart from the state."""
    folder = workspace.folder / "manifests"
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_for_each_becomes_a_for_each(workspace: Workspace, organization: Organization) -> None:
    take_over(workspace, small(organization))
    text = (workspace.folder / "manifests/organization/projects.yaml").read_text()
    assert "for_each: [search, support]" in text
    insist_on_an_empty_plan(workspace)


def test_removed_blocks_name_what_was_taken_over_without_keys(
    workspace: Workspace, organization: Organization
) -> None:
    take_over(workspace, small(organization))
    text = (workspace.folder / "manifests/terraform-removed.tf").read_text()
    froms = [line.split("= ")[1] for line in text.splitlines() if "from =" in line]
    assert froms == ["module.m.openai_project.p", "openai_project_service_account.sa"]
    assert text.count("destroy = false") == 2


def test_a_resource_that_is_taken_over_in_part_gets_no_removed_block(
    workspace: Workspace, organization: Organization
) -> None:
    live = organization.project("search")
    gone = keyed("old", id="proj_gone", name="old", status="archived")
    live_project = keyed("a'b", id=live, name="search", status="active")
    take_over(workspace, state(resource(OPENAI, "openai_project", "p", live_project, gone)))
    text = (workspace.folder / "manifests/terraform-removed.tf").read_text()
    assert "from =" not in text
    assert """terraform state rm 'openai_project.p["a'\\''b"]'""" in text


def test_a_key_of_the_state_is_written_nowhere(
    workspace: Workspace, organization: Organization
) -> None:
    document = small(organization)
    key = document["resources"][1]["instances"][0]["attributes"]["api_key"]
    told = take_over(workspace, document, "-v")
    (workspace.folder / "terraform.tfstate").unlink()
    written = [file for file in workspace.folder.rglob("*") if file.is_file()]
    assert [file for file in written if key.encode() in file.read_bytes()] == []
    assert key not in told.out + told.err
    assert "openai_project_service_account.sa.api_key (key_" in told.out


def test_an_admin_key_is_kept_and_can_be_rotated(
    workspace: Workspace, organization: Organization
) -> None:
    key = organization.post("/organization/admin_api_keys", name="ci")
    attributes = {"id": key["id"], "name": "ci", "api_key": key["value"]}
    take_over(workspace, state(resource(JIANYUAN, "openai_admin_api_key", "ci", attributes)))
    insist_on_an_empty_plan(workspace)
    workspace.run("import", "--terraform-released", expect=0)
    workspace.apply("--replace", "AdminKey/ci", "--allow-delete", "AdminKey/ci")
    present = organization.get("/organization/admin_api_keys")["data"]
    assert key["id"] not in [other["id"] for other in present]
    assert (workspace.folder / "secrets/ci.key").read_text().strip() != key["value"]


def test_what_is_not_carried_over_is_listed(
    workspace: Workspace, organization: Organization
) -> None:
    told = take_over(workspace, small(organization))
    assert "1 resource of the provider hashicorp/random" in told.out


def test_the_report_for_programs_names_resources_and_what_was_left_out(
    workspace: Workspace, organization: Organization
) -> None:
    report = json.loads(take_over(workspace, small(organization), "--format", "json").out)
    assert [entry["terraform_address"] for entry in report["resources"]] == [
        'module.m["a"].openai_project.p["search"]',
        'module.m["a"].openai_project.p["support"]',
        "openai_project_service_account.sa",
    ]
    assert report["other_providers"] == {"hashicorp/random": 1}
    assert report["changed_files"] == [
        "organization/projects.yaml",
        "p-search/service-accounts.yaml",
        "terraform-removed.tf",
    ]
    assert [key["address"] for key in report["keys_in_clear_text"]] == [
        "ServiceAccount/p-search/sa"
    ]


def test_what_no_manifest_can_declare_is_left_out_and_the_rest_goes_on(
    workspace: Workspace, organization: Organization
) -> None:
    document = small(organization)
    strange = {"threshold_amount": 0, "currency": "EUR", "interval": "month"}
    document["resources"].append(resource(OPENAI, "openai_organization_spend_limit", "x", strange))
    told = take_over(workspace, document)
    assert "openai_organization_spend_limit.x: no manifest can declare it" in told.out
    assert not (workspace.folder / "manifests/organization/spend-limits.yaml").exists()
    text = (workspace.folder / "manifests/terraform-removed.tf").read_text()
    assert "openai_organization_spend_limit" not in text
    insist_on_an_empty_plan(workspace)


def test_one_strange_instance_of_a_for_each_does_not_take_the_others_along(
    workspace: Workspace, organization: Organization
) -> None:
    groups = [
        keyed(name, id=organization.post("/organization/groups", name=name)["id"], name=name)
        for name in ("a", "b")
    ]
    strange = keyed("c", id="group_strange", name="")
    told = take_over(workspace, state(resource(OPENAI, "openai_group", "g", *groups, strange)))
    assert 'openai_group.g["c"]: no manifest can declare it' in told.out
    insist_on_an_empty_plan(workspace)


def test_a_second_import_changes_nothing(workspace: Workspace, organization: Organization) -> None:
    document = small(organization)
    take_over(workspace, document)
    before = manifests(workspace), workspace.run("state", "export", expect=0).out
    take_over(workspace, document, "--force")
    assert (manifests(workspace), workspace.run("state", "export", expect=0).out) == before


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(
    workspace: Workspace, organization: Organization
) -> None:
    workspace.write({"manifests/mine.yaml": "# mine\n"})
    name = save(workspace, small(organization))
    refused = workspace.run("import", "--from-terraform", name, expect=1)
    assert "is not empty" in refused.err
    assert [file.rsplit("/", 1)[1] for file in manifests(workspace)] == ["mine.yaml"]
    assert workspace.run("import", "--terraform-released").code == 1


def test_a_folder_that_the_stack_does_not_read_is_refused(
    workspace: Workspace, organization: Organization
) -> None:
    workspace.write(
        {
            "reconciler.yaml": "kind: Stack\nmetadata: {name: it}\nspec: {manifests: [own/]}\n",
            "own/group.yaml": "kind: Group\nmetadata: {name: mine}\nspec: {name: Mine}\n",
        }
    )
    name = save(workspace, small(organization))
    refused = workspace.run("import", "--from-terraform", name, expect=1)
    assert "the stack does not read manifests" in refused.err
    assert workspace.run("state", "list").out == ""
    workspace.apply()


def test_a_folder_outside_the_stack_is_refused(workspace: Workspace) -> None:
    name = save(workspace, state())
    refused = workspace.run("import", "--from-terraform", name, "--out", "../x", expect=1)
    assert "is outside the stack's folder" in refused.err


def test_projects_that_terraform_only_uses_are_named_in_a_new_stack_file(
    workspace: Workspace, organization: Organization
) -> None:
    take_over(workspace, of_foreign_project(organization))
    assert "projects:" in (workspace.folder / "reconciler.yaml").read_text()
    insist_on_an_empty_plan(workspace)


def test_a_stack_file_that_lacks_projects_is_not_edited(
    workspace: Workspace, organization: Organization
) -> None:
    text = "kind: Stack\nmetadata: {name: it}\nspec: {}\n"
    workspace.write({"reconciler.yaml": text})
    document = of_foreign_project(organization)
    refused = workspace.run("import", "--from-terraform", save(workspace, document), expect=1)
    project = document["resources"][0]["instances"][0]["attributes"]["project_id"]
    assert f": {project}" in refused.err
    assert (workspace.folder / "reconciler.yaml").read_text() == text
    assert not (workspace.folder / "manifests").exists()


def of_foreign_project(organization: Organization) -> dict[str, Any]:
    """A service account in a project that Terraform does not manage."""
    project = organization.project("Legacy")
    account = organization.account(project, "indexer")
    attributes = {"id": account["id"], "name": "indexer", "project_id": project}
    return state(resource(OPENAI, "openai_project_service_account", "sa", attributes))


def test_the_state_of_another_organization_is_refused(workspace: Workspace) -> None:
    text = "kind: Stack\nmetadata: {name: it}\nspec: {organization: org-mine}\n"
    workspace.write({"reconciler.yaml": text})
    role = "role-api-organization-owner__api-organization__org-other"
    document = state(
        resource(OPENAI, "openai_user_role", "r", {"user_id": "user-1", "role_id": role})
    )
    refused = workspace.run("import", "--from-terraform", save(workspace, document), expect=1)
    assert "is of the organization org-other, and this stack is of org-mine" in refused.err
    assert not (workspace.folder / "manifests").exists()


def test_objects_that_the_organization_lacks_are_not_created(
    workspace: Workspace, organization: Organization
) -> None:
    groups = [keyed(f"g{n}", id=f"group_elsewhere_{n}", name=f"G{n}") for n in range(6)]
    take_over(workspace, state(resource(OPENAI, "openai_group", "g", *groups)))
    workspace.run("import", "--terraform-released", expect=0)
    refused = workspace.run("apply", "--yes", expect=11)
    assert "another organization" in refused.err
    assert organization.writes() == []


def test_a_state_without_anything_to_carry_over_is_refused_with_the_reason(
    workspace: Workspace,
) -> None:
    document = state(resource("hashicorp/random", "random_pet", "x", {"id": "cat"}))
    refused = workspace.run("import", "--from-terraform", save(workspace, document), expect=1)
    assert "1 of the provider hashicorp/random, which is not supported" in refused.err


def test_a_second_workspace_joins_the_stack_in_a_folder_of_its_own(
    workspace: Workspace, organization: Organization
) -> None:
    ids = [organization.post("/organization/groups", name=name)["id"] for name in ("A", "B")]
    for folder, id, name in zip(("manifests/a", "manifests/b"), ids, "AB", strict=True):
        document = state(resource(OPENAI, "openai_group", "g", {"id": id, "name": name}))
        take_over(workspace, document, "--out", folder)
    listed = workspace.run("state", "list", expect=0).out.split()
    assert sorted(listed[::2]) == ["Group/g", f"Group/g-{ids[1][-4:].lower()}"]
    insist_on_an_empty_plan(workspace)


def test_an_object_that_the_stack_manages_already_is_not_declared_twice(
    workspace: Workspace, organization: Organization
) -> None:
    workspace.declare("kind: Group\nmetadata: {name: mine}\nspec: {name: Mine}\n").apply()
    (mine,) = organization.get("/organization/groups")["data"]
    other = organization.post("/organization/groups", name="Other")
    groups = [
        resource(OPENAI, "openai_group", name, {"id": group["id"], "name": group["name"]})
        for name, group in (("mine", mine), ("other", other))
    ]
    told = take_over(workspace, state(*groups))
    assert "openai_group.mine is managed as Group/mine already" in told.out
    text = (workspace.folder / "manifests/terraform-removed.tf").read_text()
    assert "from = openai_group.mine\n" in text
    insist_on_an_empty_plan(workspace)


def test_a_second_import_from_another_folder_changes_no_byte(
    workspace: Workspace, organization: Organization
) -> None:
    group = organization.post("/organization/groups", name="Mine")
    own = resource(OPENAI, "openai_group", "mine", {"id": group["id"], "name": group["name"]})
    take_over(workspace, state(own))
    (written,) = (workspace.folder / "manifests/organization").iterdir()
    before = written.read_bytes()
    outside = Workspace(workspace.folder.parent, workspace.emulator)
    file = str(workspace.folder / save(workspace, state(own)))
    again = ("import", "--from-terraform", file, "--force")
    outside.run(*again, "-C", workspace.folder.name, expect=0)
    assert written.read_bytes() == before


def test_an_address_that_another_manifest_declares_is_not_taken(
    workspace: Workspace, organization: Organization
) -> None:
    workspace.declare("kind: Group\nmetadata: {name: g}\nspec: {name: Later}\n")
    group = organization.post("/organization/groups", name="Support")
    attributes = {"id": group["id"], "name": "Support"}
    take_over(workspace, state(resource(OPENAI, "openai_group", "g", attributes)))
    listed = workspace.run("state", "list", expect=0).out.split()
    assert listed[0] == f"Group/g-{group['id'][-4:].lower()}"
    assert "Plan: 1 to create, 0 to update" in workspace.plan().out


def test_a_state_is_read_from_standard_input(
    workspace: Workspace, organization: Organization
) -> None:
    text = json.dumps(small(organization))
    workspace.run("import", "--from-terraform", "-", stdin=text, expect=0)
    insist_on_an_empty_plan(workspace)


@pytest.mark.parametrize(
    "arguments",
    [(), ("Group/g",), ("Group/g", "group_1", "--force"),
     ("Group/g", "group_1", "--terraform-released"), ("--out", "x")],
    ids=" ".join,
)  # fmt: skip
def test_options_that_do_not_go_together_are_refused(
    workspace: Workspace, arguments: tuple[str, ...]
) -> None:
    assert workspace.run("import", *arguments, expect=1).err.startswith("Error: ")


def test_certificates_are_carried_over_with_their_text(
    workspace: Workspace, organization: Organization
) -> None:
    made = organization.post("/organization/certificates", name="Gateway", certificate=PEM)
    attributes = {"id": made["id"], "name": "Gateway", "certificate": PEM}
    take_over(workspace, state(resource(OPENAI, "openai_certificate", "c", attributes)))
    insist_on_an_empty_plan(workspace)


def test_an_accepted_invitation_asks_for_nothing(
    workspace: Workspace, organization: Organization
) -> None:
    invite = organization.post("/organization/invites", email="fay@example.com", role="reader")
    store = workspace.emulator.store
    (record,) = store.collection("invite", ORGANIZATION).ordered()
    invites.accept(store, record)
    attributes = {
        "id": invite["id"], "email": "fay@example.com", "role": "reader", "status": "pending"
    }  # fmt: skip
    take_over(workspace, state(resource(JIANYUAN, "openai_invite", "fay", attributes)))
    insist_on_an_empty_plan(workspace)


# --- objects of the default project


@pytest.fixture
def platform(workspace: Workspace) -> Iterator[httpx.Client]:
    """A client with the key of the default project."""
    emulator = workspace.emulator
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    # No request is encrypted, so the time it takes to load certificates is saved.
    with httpx.Client(base_url=emulator.base_url, headers=headers, verify=False) as client:
        yield client


def upload(platform: httpx.Client, name: str, purpose: str, content: str) -> str:
    answer = platform.post("/files", files={"file": (name, content)}, data={"purpose": purpose})
    assert answer.is_success, answer.text
    return str(answer.json()["id"])


def post(platform: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    answer = platform.post(path, json=body)
    assert answer.is_success, answer.text
    return answer.json()  # type: ignore[no-any-return]


def test_a_batch_and_a_fine_tuning_job_are_not_run_again(
    workspace: Workspace, platform: httpx.Client
) -> None:
    requests = upload(platform, "questions.jsonl", "batch", FILES["data/questions.jsonl"])
    examples = upload(platform, "examples.jsonl", "fine-tune", FILES["data/examples.jsonl"])
    batch = post(
        platform,
        "/batches",
        input_file_id=requests,
        endpoint="/v1/chat/completions",
        completion_window="24h",
    )
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}
    job = post(
        platform,
        "/fine_tuning/jobs",
        model="gpt-4.1-mini",
        training_file=examples,
        suffix="tone",
        seed=7,
        method=method,
    )
    text = {"type": "supervised", "supervised": {"hyperparameters": {
        "n_epochs": "2", "batch_size": None, "learning_rate_multiplier": None}}, "dpo": None}  # fmt: skip
    take_over(
        workspace,
        state(
            resource(MKDEV, "openai_batch", "b", {
                "id": batch["id"], "input_file_id": requests, "endpoint": "/v1/chat/completions",
                "completion_window": "24h", "metadata": None, "status": "completed"}),
            resource(MKDEV, "openai_fine_tuning_job", "j", {
                "id": job["id"], "model": "gpt-4.1-mini", "training_file": examples,
                "validation_file": None, "suffix": "tone", "seed": 7, "method": text,
                "metadata": None, "integrations": None, "status": "succeeded"}),
        ),
    )  # fmt: skip
    insist_on_an_empty_plan(workspace)


def test_a_vector_store_keeps_its_files(workspace: Workspace, platform: httpx.Client) -> None:
    files = [upload(platform, f"{name}.md", "assistants", name) for name in "abc"]
    store = post(platform, "/vector_stores", name="Handbook", file_ids=files[:1])
    for id in files[1:]:
        post(platform, f"/vector_stores/{store['id']}/files", file_id=id)
    attached = {"vector_store_id": store["id"]}
    take_over(
        workspace,
        state(
            resource(MKDEV, "openai_vector_store", "s", {
                "id": store["id"], "name": "Handbook", "file_ids": files[:1], "metadata": None,
                "expires_after": None, "chunking_strategy": None, "file_counts": {"total": 3}}),
            resource(MKDEV, "openai_vector_store_file", "f",
                     {"id": files[1], "file_id": files[1], **attached}),
            resource(MKDEV, "openai_vector_store_file_batch", "more",
                     {"id": "vsfb_1", "file_ids": files[2:], **attached}),
        ),
    )  # fmt: skip
    text = (workspace.folder / "manifests/default-key/vector-stores.yaml").read_text()
    assert [id for id in files if id in text] == files
    workspace.run("import", "--terraform-released", expect=0)
    workspace.apply()
    listed = platform.get(f"/vector_stores/{store['id']}/files").json()["data"]
    assert {file["id"] for file in listed} == set(files)
    insist_on_an_empty_plan(workspace)


def test_files_that_the_state_does_not_know_are_left_alone(
    workspace: Workspace, platform: httpx.Client
) -> None:
    files = [upload(platform, f"{name}.md", "assistants", name) for name in "ab"]
    store = post(platform, "/vector_stores", name="Handbook", file_ids=files)
    attributes = {
        "id": store["id"], "name": "Handbook", "file_ids": files[:1], "file_counts": {"total": 2}
    }  # fmt: skip
    take_over(workspace, state(resource(MKDEV, "openai_vector_store", "s", attributes)))
    text = (workspace.folder / "manifests/default-key/vector-stores.yaml").read_text()
    assert "files:" not in text
    assert "in the state: 1" in text


def test_a_file_is_carried_over_with_its_content(
    workspace: Workspace, platform: httpx.Client
) -> None:
    content = FILES["data/questions.jsonl"]
    id = upload(platform, "questions.jsonl", "batch", content)
    workspace.write({"data/questions.jsonl": content})
    batch = post(
        platform,
        "/batches",
        input_file_id=id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
    )
    take_over(
        workspace,
        state(
            resource(MKDEV, "openai_file", "f", {
                "id": id, "file": "./data/questions.jsonl", "purpose": "batch",
                "filename": "questions.jsonl", "bytes": len(content), "project_id": None}),
            resource(MKDEV, "openai_batch", "b", {
                "id": batch["id"], "input_file_id": id, "endpoint": "/v1/chat/completions",
                "completion_window": "24h"}),
        ),
    )  # fmt: skip
    text = (workspace.folder / "manifests/default-key/batches.yaml").read_text()
    assert "input_file_id: ${File/f}" in text
    insist_on_an_empty_plan(workspace)


@pytest.mark.parametrize("path", ["data/other.md", "../secret.md", "/etc/hostname"])
def test_a_file_of_other_content_or_outside_the_stack_is_left_out(
    workspace: Workspace, organization: Organization, path: str
) -> None:
    workspace.write({"data/other.md": "longer", "../secret.md": "abc"})
    project = {"id": organization.project("x"), "name": "x"}
    file = {"id": "file-1", "file": path, "purpose": "assistants", "filename": "x", "bytes": 3}
    told = take_over(
        workspace,
        state(
            resource(MKDEV, "openai_project", "p", project),
            resource(MKDEV, "openai_file", "f", file),
        ),
    )
    assert "openai_file.f: a File needs its content" in told.out


def test_what_a_record_depends_on_is_known_without_a_manifest(
    workspace: Workspace, organization: Organization
) -> None:
    take_over(workspace, small(organization))
    exported = json.loads(workspace.run("state", "export", expect=0).out)
    records = {record["address"]: record for record in exported["resources"]}
    account = records["ServiceAccount/p-search/sa"]
    assert account["depends_on"] == ["Project/p-search"]
    assert account["project_id"] == records["Project/p-search"]["id"]


def test_two_objects_of_one_name_are_told_apart_by_their_ids(
    workspace: Workspace, organization: Organization
) -> None:
    ids = [organization.project("Twin"), organization.project("Twin")]
    twins = [
        resource(OPENAI, "openai_project", f"t{n}", {"id": id, "name": "Twin", "status": "active"})
        for n, id in enumerate(ids)
    ]
    name = save(workspace, state(*twins))
    done = workspace.run("import", "--from-terraform", name, expect=0)
    assert "Not carried over" not in done.out
    text = "".join(path.read_text() for path in (workspace.folder / "manifests").rglob("*.yaml"))
    assert f"lifecycle: {{adopt: {ids[1]}}}" in text
    assert workspace.plan("--refresh", "full").code == 0
