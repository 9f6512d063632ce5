"""Settings of an organization and its projects, keys and certificates: what is special about each."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conftest import Workspace
from tests.whole_examples import OTHER_PEM, PEM, PROJECT

NIGHTLY = "kind: AdminKey\nmetadata: {name: nightly}\nspec: {name: nightly, key: {write_to: {file: secrets/n.key}}}\n"
GATEWAY = (
    "kind: Certificate\nmetadata: {name: gateway}\nspec: {certificate: '${file:gateway.pem}'}\n"
)
ACTIVE = "kind: CertificateActivation\nmetadata: {name: all}\nspec: {certificate_id: '${Certificate/gateway}'}\n"
IN_PROJECT = ACTIVE.replace("name: all", "name: one, project: search")


def listed(admin: httpx.Client, path: str) -> list[dict[str, Any]]:
    return admin.get(path).json()["data"]  # type: ignore[no-any-return]


# --- settings


@pytest.mark.parametrize("removal", ["undeclared", "destroyed"])
def test_data_retention_goes_back_to_what_it_was(
    workspace: Workspace, admin: httpx.Client, removal: str
) -> None:
    path = f"/organization/projects/{workspace.emulator.project_id}/data_retention"
    admin.post(path, json={"retention_type": "none"})
    stack = f"kind: Stack\nspec: {{projects: {{main: {workspace.emulator.project_id}}}}}\nmetadata: {{name: it}}\n"
    retention = "kind: DataRetention\nmetadata: {name: it, project: main}\nspec: {retention_type: zero_data_retention}\n"
    workspace.write({"reconciler.yaml": stack})
    workspace.declare(PROJECT, retention)
    workspace.apply()
    assert admin.get(path).json()["type"] == "zero_data_retention"
    if removal == "undeclared":
        workspace.declare(PROJECT)
        workspace.apply()
    else:
        workspace.run("destroy", "--yes", expect=0)
    assert admin.get(path).json()["type"] == "none"


def test_two_declarations_of_one_setting_are_refused(workspace: Workspace) -> None:
    limit = "kind: SpendLimit\nmetadata: {name: a}\nspec: {threshold_amount: 1}\n"
    workspace.declare(limit, limit.replace("name: a", "name: b"))
    assert "SpendLimit/a already declares it" in workspace.run("validate", expect=1).err


def test_a_changed_alert_keeps_what_the_manifest_does_not_say_again(
    workspace: Workspace, admin: httpx.Client
) -> None:
    alert = (
        "kind: SpendAlert\nmetadata: {name: it}\nspec: {threshold_amount: 100, notification_channel: "
        "{type: email, recipients: [b@example.com, A@example.com], subject_prefix: Money}}\n"
    )
    workspace.declare(alert)
    workspace.apply()
    workspace.declare(alert.replace("100", "200"))
    workspace.apply()
    (found,) = listed(admin, "/organization/spend_alerts")
    assert (found["threshold_amount"], found["notification_channel"]["subject_prefix"]) == (
        200,
        "Money",
    )
    others = ("[b@example.com, A@example.com]", "[a@example.com, B@example.com]")
    workspace.declare(alert.replace("100", "200").replace(*others))
    assert workspace.plan().code == 0


# --- admin keys


def test_an_admin_key_is_delivered_works_and_is_withdrawn(
    workspace: Workspace, admin: httpx.Client
) -> None:
    workspace.declare(NIGHTLY)
    done = workspace.apply()
    key = (workspace.folder / "secrets/n.key").read_text().strip()
    answer = httpx.get(
        admin.base_url.join("organization/users"), headers={"Authorization": f"Bearer {key}"}
    )
    assert (answer.status_code, key in done.out + done.err) == (200, False)
    workspace.run("destroy", "--yes", expect=0)
    assert not (workspace.folder / "secrets/n.key").exists()
    assert [one["name"] for one in listed(admin, "/organization/admin_api_keys")] == [
        "Emulator admin key"
    ]


def test_another_sink_gets_another_key(workspace: Workspace, admin: httpx.Client) -> None:
    workspace.declare(NIGHTLY)
    workspace.apply()
    first = listed(admin, "/organization/admin_api_keys")[-1]["id"]
    workspace.declare(NIGHTLY.replace("n.key", "m.key"))
    workspace.apply()
    names = {path.name for path in (workspace.folder / "secrets").glob("*.key")}
    assert names == {"m.key", "n.key"}
    assert first in [one["id"] for one in listed(admin, "/organization/admin_api_keys")]


@pytest.mark.parametrize(
    "command", [("destroy", "--yes"), ("apply", "--yes", "--replace", "AdminKey/nightly")]
)
def test_the_key_in_use_is_neither_deleted_nor_replaced(
    workspace: Workspace, admin: httpx.Client, command: tuple[str, ...]
) -> None:
    workspace.declare(NIGHTLY)
    workspace.apply()
    workspace.variables["OPENAI_ADMIN_KEY"] = (
        (workspace.folder / "secrets/n.key").read_text().strip()
    )
    refused = workspace.run(*command, expect=11)
    assert "this run authenticates with it" in refused.err
    assert "nightly" in [one["name"] for one in listed(admin, "/organization/admin_api_keys")]


# --- certificates


@pytest.fixture
def active(workspace: Workspace) -> Workspace:
    """A certificate that is active in the organization and in a project."""
    workspace.write({"gateway.pem": PEM})
    workspace.declare(PROJECT, GATEWAY, ACTIVE, IN_PROJECT)
    workspace.apply()
    return workspace


def where_active(admin: httpx.Client) -> list[tuple[str, str]]:
    project = listed(admin, "/organization/projects")[-1]["id"]
    places = {"organization": "/organization", "project": f"/organization/projects/{project}"}
    certificates = {name: listed(admin, f"{path}/certificates") for name, path in places.items()}
    return [
        (name, one["id"]) for name, found in certificates.items() for one in found if one["active"]
    ]


def test_a_certificate_is_active_where_it_is_declared_to_be(
    active: Workspace, admin: httpx.Client
) -> None:
    assert [place for place, _ in where_active(admin)] == ["organization", "project"]
    active.declare(PROJECT, GATEWAY, IN_PROJECT)
    active.apply()
    assert [place for place, _ in where_active(admin)] == ["project"]


def test_switching_a_certificate_off_elsewhere_is_repaired(
    active: Workspace, admin: httpx.Client
) -> None:
    ((_, id), _) = where_active(admin)
    admin.post(
        "/organization/certificates/deactivate", json={"certificate_ids": [id]}
    ).raise_for_status()
    assert "CertificateActivation/all   will be created" in active.plan().out
    active.apply()
    assert len(where_active(admin)) == 2


def test_another_certificate_takes_the_place_of_an_active_one(
    active: Workspace, admin: httpx.Client
) -> None:
    before = where_active(admin)
    active.write({"gateway.pem": OTHER_PEM})
    active.apply()
    assert active.plan().code == 0
    assert len(listed(admin, "/organization/certificates")) == 1
    after = where_active(admin)
    assert [place for place, _ in after] == [place for place, _ in before]
    assert {id for _, id in after}.isdisjoint({id for _, id in before})


# --- external keys and workload identities


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("{type: aws, name: n, kms_arn: k, role_arn: r}", 'Missing "external_id"'),
        (
            "{type: oci, name: n, region: r, vault_ocid: v, key_ocid: k, kms_arn: k}",
            '"kms_arn" cannot be combined with type: oci',
        ),
    ],
)
def test_an_external_key_has_the_fields_of_its_cloud(
    workspace: Workspace, spec: str, sentence: str
) -> None:
    workspace.declare(f"kind: ExternalKey\nmetadata: {{name: it}}\nspec: {spec}\n")
    assert sentence in workspace.run("validate", expect=1).err


def test_a_project_gives_its_external_key_up_before_the_key_goes(
    workspace: Workspace, admin: httpx.Client
) -> None:
    key = (
        "kind: ExternalKey\nmetadata: {name: k}\n"
        "spec: {type: azure, name: K, tenant_id: t, vault_uri: v, key_name: n}\n"
    )
    workspace.declare(
        key,
        PROJECT.replace("{name: Search}", "{name: Search, external_key_id: '${ExternalKey/k}'}"),
    )
    workspace.apply()
    assert len(listed(admin, "/organization/external_keys")[0]["api_project_ids"]) == 1
    workspace.declare(PROJECT)
    workspace.apply()
    assert listed(admin, "/organization/external_keys") == []


def test_a_federation_rule_is_changed_in_place_and_goes_with_its_provider(
    workspace: Workspace, admin: httpx.Client
) -> None:
    provider = "kind: WorkloadIdentityProvider\nmetadata: {name: ci}\nspec: {type: oidc, name: CI, issuer: i, audience: a}\n"
    account = "kind: ServiceAccount\nmetadata: {name: deploy, project: search}\nspec: {}\n"
    rule = (
        "kind: FederationRule\nmetadata: {name: main}\nspec:\n"
        "  workload_identity_provider_id: ${WorkloadIdentityProvider/ci}\n  project_id: ${Project/search}\n"
        "  service_account_id: ${ServiceAccount/search/deploy}\n  attribute_matchers: {ref: main, count: 1}\n"
    )
    workspace.declare(PROJECT, account, provider, rule)
    workspace.apply()
    providers = "/organization/workload_identity_providers"
    rules = f"{providers}/{listed(admin, providers)[0]['id']}/federation_rules"
    (first,) = listed(admin, rules)
    workspace.declare(PROJECT, account, provider, rule.replace("ref: main", "ref: next"))
    workspace.apply()
    (second,) = listed(admin, rules)
    assert (second["id"], second["attribute_matchers"]) == (
        first["id"],
        {"ref": "next", "count": 1},
    )
    workspace.run("destroy", "--yes", expect=0)
    assert listed(admin, providers) == []
