"""An organization becomes manifests whose plan changes nothing, and nothing is written to the API."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Finished, Workspace
from tests.export.organization import INSTRUCTIONS, Api


def texts(workspace: Workspace, folder: str = "manifests") -> dict[str, bytes]:
    """The files of an export."""
    root = workspace.folder / folder
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def everything(workspace: Workspace, folder: str = "manifests") -> str:
    """All files of an export as one text."""
    return "\n---\n".join(text.decode() for text in texts(workspace, folder).values())


def counts(plan: Finished) -> str:
    """The line of a plan that counts changes."""
    return next(line for line in plan.out.splitlines() if line.startswith(("Plan:", "No changes")))


def changes_nothing(plan: Finished) -> bool:
    """Whether a plan creates, updates and deletes nothing. Marks may still be written."""
    line = counts(plan)
    return line.startswith("No changes") or "0 to create, 0 to update, 0 to delete" in line


def document(text: str, address_line: str) -> str:
    """The document that has a line of metadata."""
    return next(part for part in text.split("---\n") if address_line in part)


def test_the_plan_of_an_export_changes_nothing(folder: Workspace) -> None:
    folder.run("export", expect=0)
    assert changes_nothing(folder.run("plan", "--refresh", "full"))


def test_an_export_sends_nothing_but_reads(folder: Workspace, organization: Api) -> None:
    folder.run("export", expect=0)
    requests = organization.emulator.requests
    assert requests
    assert {request.method for request in requests} == {"GET"}


def test_the_check_of_an_export_makes_no_call(folder: Workspace, organization: Api) -> None:
    folder.run("export", expect=0)
    paths = [request.path for request in organization.emulator.requests]
    lists_of_groups = [path for path in paths if path.endswith("/organization/groups")]
    assert len(lists_of_groups) == 1


def test_a_second_export_changes_no_byte(folder: Workspace) -> None:
    folder.run("export", expect=0)
    before, stack = texts(folder), (folder.folder / "reconciler.yaml").read_bytes()
    state = json.loads(folder.run("state", "export", expect=0).out)
    folder.run("export", "--force", expect=0)
    assert texts(folder) == before
    assert (folder.folder / "reconciler.yaml").read_bytes() == stack
    assert json.loads(folder.run("state", "export", expect=0).out)["serial"] == state["serial"]


def test_a_second_export_from_another_folder_changes_no_byte(folder: Workspace) -> None:
    folder.run("export", expect=0)
    before = texts(folder)
    outside = Workspace(folder.folder.parent, folder.emulator)
    done = outside.run("export", "-C", folder.folder.name, "--force", expect=0)
    assert "Wrote 0 objects" not in done.out
    assert texts(folder) == before


def test_an_export_from_another_folder_refuses_to_lose_a_declaration(folder: Workspace) -> None:
    folder.run("export", "--kind", "Group", "--layout", "flat", expect=0)
    before = texts(folder)
    outside = Workspace(folder.folder.parent, folder.emulator)
    only_roles = ("export", "--kind", "Role", "--layout", "flat", "--force")
    refused = outside.run(*only_roles, "-C", folder.folder.name, expect=1)
    assert "would lose it" in refused.err
    assert texts(folder) == before


def test_an_export_without_the_state_of_the_first_gives_the_same_names(folder: Workspace) -> None:
    folder.run("export", expect=0)
    before = texts(folder)
    shutil.rmtree(folder.folder / ".reconciler")
    folder.run("export", "--force", expect=0)
    assert texts(folder) == before


def test_a_bound_object_keeps_its_name_when_another_takes_the_name_too(
    folder: Workspace, organization: Api
) -> None:
    folder.run("export", "--kind", "ServiceAccount", expect=0)
    project = f"/organization/projects/{organization.ids['search']}"
    organization.admin("POST", f"{project}/service_accounts", name="bot")
    folder.run("export", "--kind", "ServiceAccount", "--force", expect=0)
    text = everything(folder)
    assert text.count("name: bot, project") == 1
    assert text.count("name: bot-") == 1


def test_after_the_state_is_lost_everything_can_be_adopted(
    folder: Workspace, organization: Api
) -> None:
    folder.run("export", "--adopt-in-manifests", expect=0)
    folder.apply()
    shutil.rmtree(folder.folder / ".reconciler")
    folder.apply()
    assert folder.plan().code == 0
    posted = [request for request in organization.emulator.requests if request.method != "GET"]
    marked = ("/assistants/", "/vector_stores/", "/agents/")
    assert all(any(part in request.path for part in marked) for request in posted)


def test_after_the_state_is_lost_no_object_is_made_twice(
    folder: Workspace, organization: Api
) -> None:
    folder.run("export", expect=0)
    shutil.rmtree(folder.folder / ".reconciler")
    folder.apply("--adopt")
    assert folder.plan().code == 0
    posted = [
        request.path for request in organization.emulator.requests if request.method == "POST"
    ]
    marked = ("/assistants/", "/vector_stores/", "/agents/")
    assert [path for path in posted if not any(part in path for part in marked)] == []


def test_objects_of_one_name_are_adopted_by_id(folder: Workspace) -> None:
    folder.run("export", expect=0)
    twins = [part for part in everything(folder).split("---\n") if "name: Twin" in part]
    assert len(twins) == 2
    assert all("lifecycle: {adopt: asst_" in twin for twin in twins)


def test_the_next_plan_is_empty(folder: Workspace) -> None:
    folder.run("export", expect=0)
    assert folder.plan().code == 0


def test_an_exported_object_is_found_by_its_mark_after_its_first_change(
    folder: Workspace, organization: Api
) -> None:
    assert organization.ids["store"]
    folder.run("export", "--kind", "VectorStore", expect=0)
    for path in folder.folder.rglob("vector-stores.yaml"):
        text = path.read_text(encoding="utf-8").replace("name: Handbook", "name: Manual")
        path.write_text(text, encoding="utf-8")
    folder.apply()
    shutil.rmtree(folder.folder / ".reconciler")
    assert folder.plan().code == 0


def test_nothing_is_bound_in_the_state_if_the_manifests_adopt(folder: Workspace) -> None:
    folder.run("export", "--adopt-in-manifests", expect=0)
    assert json.loads(folder.run("state", "list", "--format", "json", expect=0).out) == []
    assert "adopt: " in everything(folder)


def test_manifests_do_not_adopt_what_the_state_binds(folder: Workspace) -> None:
    folder.run("export", expect=0)
    assert "adopt: " not in document(everything(folder), "kind: VectorStore")
    assert "VectorStore/handbook" in folder.run("state", "list", expect=0).out


def test_ids_of_exported_objects_are_references(folder: Workspace, organization: Api) -> None:
    folder.run("export", expect=0)
    text = everything(folder)
    known = ("store", "support", "reader", "cleo", "dev", "search")
    assert [name for name in known if organization.ids[name] in text] == []
    assert 'vector_store_ids: ["${VectorStore/handbook}"]' in text


def test_an_id_of_an_object_that_is_not_exported_stays_with_a_comment(
    folder: Workspace, organization: Api
) -> None:
    folder.run("export", "--kind", "GroupMember", expect=0)
    group = organization.ids["support"]
    text = everything(folder)
    assert f"# Not exported, so by id: {group}\n" in text
    assert f"group_id: {group}" in text


def test_two_projects_of_one_name_take_the_end_of_their_ids(
    folder: Workspace, organization: Api
) -> None:
    folder.run("export", "--kind", "Project", expect=0)
    text = everything(folder)
    for name in ("search", "search2"):
        assert f"name: search-{organization.ids[name][-4:].lower()}" in text


def test_a_name_in_letters_without_accents_stands_for_unicode(folder: Workspace) -> None:
    folder.run("export", expect=0)
    assert "metadata: {name: groesse-and-mass}\nspec: {name: Größe & Maß}" in everything(folder)


def test_a_long_text_has_a_file_of_its_own(folder: Workspace) -> None:
    folder.run("export", expect=0)
    assert texts(folder)["prompts/support-bot.md"].decode() == INSTRUCTIONS
    assert "instructions: ${file:manifests/prompts/support-bot.md}" in everything(folder)


def test_defaults_of_the_api_are_left_out(folder: Workspace) -> None:
    folder.run("export", expect=0)
    twin = document(everything(folder), "{name: twin-")
    assert "spec: {model: gpt-4.1, name: Twin}" in twin


def test_an_archived_project_is_not_exported(folder: Workspace) -> None:
    folder.run("export", expect=0)
    assert "Old things" not in everything(folder)


def test_only_the_limits_that_most_projects_do_not_have_are_written(folder: Workspace) -> None:
    done = folder.run("export", expect=0)
    text = everything(folder)
    assert text.count("kind: RateLimit") == 1
    assert "spec: {model: gpt-4.1, max_requests_per_1_minute: 77}" in text
    assert "Rule: RateLimit:" in done.err


def test_all_limits_are_written_on_request(folder: Workspace) -> None:
    folder.run("export", "--kind", "RateLimit", "--all-limits", expect=0)
    assert everything(folder).count("kind: RateLimit") > 100
    assert changes_nothing(folder.run("plan"))


def test_files_are_attached_by_id_and_the_manifest_says_so(
    folder: Workspace, organization: Api
) -> None:
    folder.run("export", expect=0)
    store = document(everything(folder), "kind: VectorStore")
    assert f"file_id: {organization.ids['file']}" in store
    assert "does not give back the content" in store


def test_a_comment_says_how_to_rotate_a_key(folder: Workspace) -> None:
    folder.run("export", expect=0)
    account = document(everything(folder), "kind: ServiceAccount")
    assert "To\n# rotate: declare a ServiceAccountKey" in account


def test_a_webhook_is_exported_without_its_secret(folder: Workspace, organization: Api) -> None:
    made = organization.data("POST", "/webhook_endpoints", name="Batches",
                             url="https://example.com/hook",
                             event_types=["batch.completed"])  # fmt: skip
    folder.run("export", expect=0)
    text = everything(folder)
    assert "signing_secret: {write_to: {file: secrets/batches.key}}" in text
    assert made["signing_secret"] not in text
    assert changes_nothing(folder.run("plan"))


def test_a_text_that_contains_a_credential_is_left_out(
    folder: Workspace, organization: Api
) -> None:
    secret = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"
    organization.data("POST", "/assistants", "assistants=v2", model="gpt-4.1", name="Leaky",
                      instructions=f"Use {secret}")  # fmt: skip
    folder.run("export", expect=0)
    assert secret not in everything(folder)
    assert "instructions is left out: it contains a GitHub token" in everything(folder)
    assert changes_nothing(folder.run("plan"))


@pytest.mark.parametrize(
    ("transport", "reason"),
    [
        ({"headers": {"X-Trace": "1", "Authorization": "Bearer hunter2"}}, "the header Authorization"),
        ({"headers": {"x-api-key": "hunter2"}}, "the header x-api-key"),
        ({"server_url": "https://ci:hunter2@mcp.example.com"}, "a URL with a password"),
    ],
    ids=["authorization", "key", "url"],
)  # fmt: skip
def test_the_credential_of_a_tool_server_is_not_written(
    transport: dict[str, Any], reason: str, folder: Workspace, organization: Api
) -> None:
    server = {"type": "http", "server_url": "https://mcp.example.com", **transport}
    tool = {"type": "mcp", "server_label": "m", "transport": server}
    organization.data("POST", "/agents", "agents=v1", model="gpt-4.1", name="Leaky", tools=[tool])
    folder.run("export", expect=0)
    assert "hunter2" not in everything(folder)
    assert f"tools is left out: it contains {reason}" in everything(folder)
    assert changes_nothing(folder.run("plan"))


def test_headers_without_a_credential_are_exported(folder: Workspace, organization: Api) -> None:
    server = {"type": "http", "server_url": "https://mcp.example.com", "headers": {"X-Trace": "on"}}
    tool = {"type": "mcp", "server_label": "m", "transport": server}
    organization.data("POST", "/agents", "agents=v1", model="gpt-4.1", name="Open", tools=[tool])
    folder.run("export", expect=0)
    assert 'headers: {X-Trace: "on"}' in everything(folder)


def test_objects_that_name_each_other_are_exported(folder: Workspace, organization: Api) -> None:
    ids = organization.ids
    store = f"/vector_stores/{ids['store']}"
    organization.data("POST", store, "assistants=v2", metadata={"bot": ids["assistant"]})
    folder.run("export", expect=0)
    bound = folder.run("state", "list", expect=0).out
    assert "VectorStore/handbook" in bound
    assert "Assistant/support-bot" in bound
    assert changes_nothing(folder.run("plan"))


@pytest.mark.parametrize(
    ("layout", "file"),
    [
        ("project", "organization/groups.yaml"),
        ("kind", "groups.yaml"),
        ("flat", "manifests.yaml"),
    ],
)
def test_each_layout_has_its_files(folder: Workspace, layout: str, file: str) -> None:
    folder.run("export", "--layout", layout, expect=0)
    assert "kind: Group\n" in texts(folder)[file].decode()
    assert changes_nothing(folder.run("plan"))


def test_one_project_is_exported_alone(folder: Workspace, organization: Api) -> None:
    name = f"search-{organization.ids['search'][-4:].lower()}"
    folder.run("export", "--project", name, expect=0)
    assert {Path(file).parts[0] for file in texts(folder)} == {name}
    assert changes_nothing(folder.run("plan"))


STACK_WITH_A_KEY = """\
    kind: Stack
    metadata: {name: acme}
    spec:
      manifests: [manifests/]
      credentials:
        projects: {NAME: "${env.RECONCILER_VAR_KEY}"}
    """


def test_objects_of_a_project_with_a_key_are_in_the_project(
    folder: Workspace, organization: Api
) -> None:
    project = f"/organization/projects/{organization.ids['umlaut']}"
    made = organization.admin("POST", f"{project}/service_accounts", name="reader")
    key = made["api_key"]["value"]
    organization.with_key(key, "POST", "/vector_stores", "assistants=v2", name="Inside")
    folder.write({"reconciler.yaml": STACK_WITH_A_KEY.replace("NAME", "groesse-and-mass")})
    folder.variables["RECONCILER_VAR_KEY"] = key
    folder.run("export", expect=0)
    assert "metadata: {name: inside, project: groesse-and-mass}" in everything(folder)
    assert key not in everything(folder)
    assert changes_nothing(folder.run("plan"))


def test_objects_that_two_keys_show_are_exported_once(folder: Workspace) -> None:
    folder.write({"reconciler.yaml": STACK_WITH_A_KEY.replace("NAME", "default-project")})
    folder.variables["RECONCILER_VAR_KEY"] = folder.emulator.api_key
    folder.run("export", expect=0)
    assert everything(folder).count("kind: VectorStore") == 1
    assert "metadata: {name: handbook, project: default-project}" in everything(folder)
    assert changes_nothing(folder.run("plan"))


def test_a_selection_exports_what_matches_and_the_projects_that_it_needs(
    folder: Workspace,
) -> None:
    folder.run("export", "--select", "ServiceAccount/*", expect=0)
    kinds = {line for line in everything(folder).splitlines() if line.startswith("kind: ")}
    assert kinds == {"kind: Project", "kind: ServiceAccount"}


def test_only_unmanaged_objects_are_exported_on_request(
    folder: Workspace, organization: Api
) -> None:
    folder.run("export", "--kind", "Group", "--out", "manifests/groups", expect=0)
    organization.admin("POST", "/organization/groups", name="Sales")
    folder.run("export", "--kind", "Group", "--unmanaged", "--out", "manifests/new", expect=0)
    new = everything(folder, "manifests/new")
    assert "name: Sales" in new
    assert "name: Support" not in new
    assert changes_nothing(folder.run("plan"))


def test_what_is_not_read_is_taken_as_recorded(folder: Workspace, organization: Api) -> None:
    folder.run("export", "--out", "manifests/first", expect=0)
    project = f"/organization/projects/{organization.ids['search']}"
    organization.admin("POST", f"{project}/users", user_id=organization.ids["eli"], role="member")
    more = ("--kind", "ProjectUser", "--unmanaged", "--out", "manifests/more")
    folder.run("export", *more, expect=0)
    assert 'spec: {user_id: "${User/eli}", role: member}' in everything(folder, "manifests/more")
    assert changes_nothing(folder.run("plan"))


def test_what_other_manifests_declare_is_not_written_again(folder: Workspace) -> None:
    folder.run("export", "--kind", "Group", "--out", "manifests/groups", expect=0)
    done = folder.run("export", "--out", "manifests/rest", expect=0)
    assert "kind: Group\n" not in everything(folder, "manifests/rest")
    assert "1 Group (" not in done.err
    assert changes_nothing(folder.run("plan"))


def test_a_managed_limit_stays_declared_when_it_becomes_usual(
    folder: Workspace, organization: Api
) -> None:
    folder.run("export", "--kind", "RateLimit", expect=0)
    project = f"/organization/projects/{organization.ids['search']}/rate_limits"
    rows = {row["model"]: row for row in organization.admin("GET", f"{project}?limit=1000")["data"]}
    other = f"/organization/projects/{organization.ids['umlaut']}/rate_limits?limit=1000"
    usual = {row["model"]: row for row in organization.admin("GET", other)["data"]}["gpt-4.1"]
    usual_requests = usual["max_requests_per_1_minute"]
    organization.admin("POST", f"{project}/{rows['gpt-4.1']['id']}",
                       max_requests_per_1_minute=usual_requests)  # fmt: skip
    folder.run("export", "--kind", "RateLimit", "--force", expect=0)
    assert f"max_requests_per_1_minute: {usual_requests}" in everything(folder)
    assert changes_nothing(folder.run("plan"))


def test_a_kind_that_is_managed_elsewhere_is_referred_to(
    folder: Workspace, organization: Api
) -> None:
    folder.run("export", "--kind", "Group", "--out", "manifests/groups", expect=0)
    folder.run("export", "--kind", "GroupMember", "--out", "manifests/members", expect=0)
    assert "group_id: ${Group/support}" in everything(folder, "manifests/members").replace('"', "")
    assert "kind: Group\n" not in everything(folder, "manifests/members")


def test_a_stack_file_is_written_with_the_given_name(folder: Workspace) -> None:
    folder.run("export", "--kind", "Group", "--stack", "platform", expect=0)
    assert "metadata: {name: platform}\n" in (folder.folder / "reconciler.yaml").read_text()


def test_a_stack_file_is_named_after_its_folder(folder: Workspace) -> None:
    folder.run("export", "--kind", "Group", expect=0)
    assert "metadata: {name: acme}\n" in (folder.folder / "reconciler.yaml").read_text()


def test_a_stack_file_that_is_there_stays(folder: Workspace) -> None:
    text = "kind: Stack\nmetadata: {name: mine}\nspec: {manifests: [manifests/]} # ours\n"
    folder.write({"reconciler.yaml": text})
    folder.run("export", "--kind", "Group", expect=0)
    assert (folder.folder / "reconciler.yaml").read_text() == text


FOLD = ("--fold", "--kind", "RateLimit", "--kind", "SpendLimit")


@pytest.fixture
def alike(organization: Api) -> list[str]:
    """The projects that have the same limits, changed by hand."""
    projects = [organization.ids[key] for key in ("search", "search2", "umlaut", "japan")]
    for id in projects[:3]:
        path = f"/organization/projects/{id}"
        limits = organization.admin("GET", f"{path}/rate_limits?limit=1000")["data"]
        mini = next(row["id"] for row in limits if row["model"] == "gpt-4.1-mini")
        organization.admin("POST", f"{path}/rate_limits/{mini}", max_requests_per_1_minute=5)
        organization.admin("POST", f"{path}/spend_limit", threshold_amount=5000, currency="USD",
                           interval="month")  # fmt: skip
    path = f"/organization/projects/{projects[3]}"
    organization.admin("POST", f"{path}/spend_limit", threshold_amount=1, currency="USD",
                       interval="month")  # fmt: skip
    return projects


@pytest.mark.usefixtures("alike")
@pytest.mark.parametrize("extra", [(), ("--adopt-in-manifests",)])
def test_what_repeats_across_projects_is_folded(folder: Workspace, extra: tuple[str, ...]) -> None:
    folder.run("export", *FOLD, "--all-limits", *extra, expect=0)
    limits = texts(folder)["shared/spend-limits.yaml"].decode()
    assert limits.count("kind: SpendLimit") == 1
    assert 'metadata: {name: "${each.key}", project: "${each.key}"}' in limits
    assert changes_nothing(folder.run("plan"))


@pytest.mark.usefixtures("alike")
def test_what_differs_is_not_folded(folder: Workspace) -> None:
    folder.run("export", *FOLD, expect=0)
    single = [text for name, text in texts(folder).items() if name.startswith("project-")]
    assert any(
        b"threshold_amount: 1\n" in text or b"threshold_amount: 1}" in text for text in single
    )


@pytest.mark.usefixtures("alike")
def test_a_second_folded_export_changes_no_byte(folder: Workspace) -> None:
    folder.run("export", *FOLD, expect=0)
    before = texts(folder)
    folder.run("export", *FOLD, "--force", expect=0)
    assert texts(folder) == before


def test_a_report_for_programs_names_every_object(folder: Workspace) -> None:
    done = folder.run("export", "--format", "json", "--report", "export.md:markdown", expect=0)
    report = json.loads(done.out)
    assert report["complete"]
    assert report["plan_is_empty"]
    listed = folder.run("state", "list", "--format", "json", expect=0).out
    bound = {entry["address"]: entry["id"] for entry in json.loads(listed)}
    assert {entry["address"]: entry["id"] for entry in report["resources"]} == bound
    assert {path for path in report["files"] if path.endswith(".yaml")}
    assert any(left["kind"] == "File" for left in report["left_out"])
    page = (folder.folder / "export.md").read_text()
    assert page.startswith("### Export")
    assert "The plan of these manifests is empty." in page
