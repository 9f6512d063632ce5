"""Key resources are delivered once, and replaced when lost or expired, but never while in use."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import httpx
import pytest

from reconciler.emulator.store import ObjectRow
from reconciler.emulator.world import DEFAULT_PROJECT
from tests.cli.test_plan_and_apply import PROJECT, admin, project_id
from tests.conftest import Workspace
from tests.whole_examples import make_a_persons_key

ACCOUNT = """\
kind: ServiceAccount
metadata: {name: indexer, project: search}
spec: {}
"""
KEY = """\
kind: ServiceAccountKey
metadata: {name: nightly, project: search}
spec:
  service_account_id: ${ServiceAccount/search/indexer}
  scopes: [api.all.read]
  key: {write_to: {file: secrets/nightly.key}}
"""
STACK = f"""\
kind: Stack
metadata: {{name: acme}}
spec: {{manifests: [m/], projects: {{legacy: {DEFAULT_PROJECT}}}}}
"""
LAPTOP = """\
kind: ProjectKey
metadata: {name: laptop, project: legacy}
spec: {name: Laptop, scopes: [api.all.read]}
"""


@pytest.fixture
def project(workspace: Workspace) -> Workspace:
    return workspace.write({"p.yaml": PROJECT, "a.yaml": ACCOUNT, "k.yaml": KEY})


@pytest.fixture
def legacy(workspace: Workspace) -> Workspace:
    make_a_persons_key(workspace.emulator)
    return workspace.write({"reconciler.yaml": STACK, "m/k.yaml": LAPTOP})


def keys(workspace: Workspace, project: str = "") -> list[dict[str, Any]]:
    with admin(workspace) as client:
        path = f"/organization/projects/{project or project_id(client)}/api_keys"
        found: list[dict[str, Any]] = client.get(
            path, params={"owner_project_access": "any"}
        ).json()["data"]
        return found


def stored(workspace: Workspace, name: str = "nightly") -> ObjectRow:
    """The one key of a name, with what no answer shows."""
    (found,) = [
        record for record in workspace.emulator.store.all("api_key") if record.body["name"] == name
    ]
    return found


def works(workspace: Workspace, key: str) -> bool:
    headers = {"Authorization": f"Bearer {key}"}
    return (
        httpx.get(f"{workspace.emulator.base_url}/vector_stores", headers=headers).status_code
        == 200
    )


def delivered(workspace: Workspace) -> str:
    return (workspace.folder / "secrets" / "nightly.key").read_text().strip()


def test_a_key_is_delivered_works_and_stops_with_its_declaration(project: Workspace) -> None:
    project.apply()
    key = delivered(project)
    assert works(project, key)
    (project.folder / "k.yaml").unlink()
    project.apply("--allow-delete", "ServiceAccountKey/search/nightly")
    assert not works(project, key)
    assert not (project.folder / "secrets" / "nightly.key").exists()


def test_scopes_change_in_place_and_the_key_stays(project: Workspace) -> None:
    project.apply()
    key = delivered(project)
    project.write({"k.yaml": KEY.replace("api.all.read", "api.all.write")}).apply()
    assert stored(project).hidden["scopes"] == ["api.all.write"]
    assert delivered(project) == key


def test_scopes_that_are_not_set_any_more_restrict_nothing(project: Workspace) -> None:
    project.apply()
    project.write({"k.yaml": KEY.replace("  scopes: [api.all.read]\n", "")}).apply()
    one = stored(project)
    assert one.hidden["scopes"] == []


def test_a_key_that_was_made_and_never_delivered_is_replaced(project: Workspace) -> None:
    kill = 'key: {write_to: {command: [sh, -c, "kill -9 $PPID"]}}'
    project.write({"k.yaml": KEY.replace("key: {write_to: {file: secrets/nightly.key}}", kill)})
    died = subprocess.run(
        project.command("apply", "--yes"),
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        check=False,
    )
    (lost,) = keys(project)
    assert died.returncode == -9
    project.write({"k.yaml": KEY}).apply("--allow-delete", "ServiceAccountKey/search/nightly")
    (found,) = keys(project)
    assert found["id"] != lost["id"]
    assert works(project, delivered(project))
    assert project.plan().code == 0


def test_a_key_whose_answer_was_lost_is_made_again(project: Workspace) -> None:
    project.emulator.add_fault("on=POST:*/service_accounts/*/api_keys,do=reset,when=after")
    project.apply()
    assert len(keys(project)) == 1
    assert works(project, delivered(project))


def test_a_key_whose_time_is_over_is_replaced(project: Workspace) -> None:
    project.apply()
    before = delivered(project)
    one = stored(project)
    one.body["expires_at"] = 1
    project.apply()
    assert delivered(project) != before
    assert works(project, delivered(project))


def test_a_lost_state_makes_no_second_key(project: Workspace) -> None:
    project.apply()
    key = delivered(project)
    for path in (project.folder / ".reconciler").iterdir():
        path.unlink()
    assert "exists already" in project.run("apply", "--yes", expect=1).err
    project.apply("--adopt")
    assert len(keys(project)) == 1
    assert delivered(project) == key


def test_the_key_that_an_account_came_with_is_not_unmanaged(project: Workspace) -> None:
    account = ACCOUNT.replace("{}", "{key: {write_to: {file: secrets/indexer.key}}}")
    project.write({"a.yaml": account}).apply()
    assert len(keys(project)) == 2
    shown = json.loads(project.run("drift", "--unmanaged", "--format", "json", expect=2).out)
    unmanaged = shown["reconciler"]["unmanaged"]
    assert "ServiceAccountKey" not in {entry["kind"] for entry in unmanaged}


def test_a_persons_key_is_bound_by_name_and_stays_when_nobody_declares_it(
    legacy: Workspace,
) -> None:
    legacy.apply()
    one = stored(legacy, "Laptop")
    assert one.hidden["scopes"] == ["api.all.read"]
    (legacy.folder / "m" / "k.yaml").unlink()
    legacy.write(
        {"m/other.yaml": "kind: SpendLimit\nmetadata: {name: o}\nspec: {threshold_amount: 1}\n"}
    ).apply()
    assert "Laptop" in [key["name"] for key in keys(legacy, DEFAULT_PROJECT)]


def test_a_persons_key_is_revoked_only_where_the_manifest_asks_for_it(legacy: Workspace) -> None:
    legacy.write({"m/k.yaml": LAPTOP + "lifecycle: {on_remove: delete}\n"}).apply()
    legacy.run("destroy", "--yes", expect=0)
    assert "Laptop" not in [key["name"] for key in keys(legacy, DEFAULT_PROJECT)]


def test_a_key_that_nobody_made_is_an_error_that_says_so(legacy: Workspace) -> None:
    legacy.write({"m/k.yaml": LAPTOP.replace("Laptop", "Desktop")})
    assert "cannot be created" in legacy.run("plan", expect=1).err


def test_two_keys_of_one_name_are_told_apart_by_owner_and_never_guessed(legacy: Workspace) -> None:
    store = legacy.emulator.store
    one = stored(legacy, "Laptop")
    ben = next(user for user in store.all("user") if user.body["email"] == "ben@example.com")
    other = {
        **one.hidden,
        "digest": "of another",
        "owner": {"type": "user", "id": ben.id},
        "scopes": [],
    }
    store.add("api_key", DEFAULT_PROJECT, {**one.body, "id": "key_bens"}, **other)
    assert "More than one object could be this resource" in legacy.run("plan", expect=1).err
    legacy.write(
        {"m/k.yaml": LAPTOP.replace("{name: Laptop", "{name: Laptop, owner: Ben@example.com")}
    ).apply()
    assert store.get("api_key", DEFAULT_PROJECT, "key_bens").hidden["scopes"] == ["api.all.read"]  # type: ignore[union-attr]
    assert one.hidden["scopes"] == []


def test_the_key_in_use_is_neither_changed_nor_revoked(project: Workspace) -> None:
    project.apply()
    project.variables["OPENAI_API_KEY"] = delivered(project)
    (project.folder / "k.yaml").unlink()
    done = project.run(
        "apply", "--yes", "--allow-delete", "ServiceAccountKey/search/nightly", expect=11
    )
    assert "this run authenticates with it" in done.err
    assert works(project, delivered(project))


def test_an_account_whose_key_is_revoked_is_destructive_in_every_report(
    workspace: Workspace,
) -> None:
    account = "kind: ServiceAccount\nmetadata: {name: indexer, project: search}\n"
    workspace.declare(
        PROJECT, f"{account}spec: {{key: {{write_to: {{file: secrets/indexer.key}}}}}}\n"
    ).apply()
    workspace.declare(PROJECT, f"{account}spec: {{}}\n")
    shown = workspace.plan("--report", "plan.md:markdown", "--report", "plan.json:json")
    said = "revokes the key delivered to secrets/indexer.key: whatever uses it stops working"
    assert shown.out.startswith("Destructive\n")
    assert f"destroys: {said}" in shown.out
    assert "1 destructive." in shown.out
    assert shown.code == 11
    markdown = (workspace.folder / "plan.md").read_text()
    assert "<details open>" in markdown
    assert f"**Destroys:** {said}" in markdown
    assert "1 destructive" in markdown.splitlines()[0]
    report = json.loads((workspace.folder / "plan.json").read_text())
    assert report["reconciler"]["destructive"] == ["ServiceAccount/search/indexer"]
    (change,) = [item for item in report["resource_changes"] if item["reconciler"]["destroys"]]
    assert change["reconciler"]["destroys"] == said


def test_more_revoked_keys_than_may_be_deleted_are_refused(workspace: Workspace) -> None:
    account = "kind: ServiceAccount\nmetadata: {name: indexer, project: search}\n"
    workspace.write(
        {"reconciler.yaml": "kind: Stack\nmetadata: {name: a}\nspec: {guards: {max_deletes: 0}}\n"}
    )
    workspace.declare(
        PROJECT, f"{account}spec: {{key: {{write_to: {{file: secrets/indexer.key}}}}}}\n"
    ).apply()
    workspace.declare(PROJECT, f"{account}spec: {{}}\n")
    refused = workspace.run("apply", "--yes", expect=11)
    assert "revokes 1 key (ServiceAccount/search/indexer)" in refused.err
    assert (workspace.folder / "secrets/indexer.key").exists()
    workspace.apply("--allow-delete", "ServiceAccount/search/indexer")
