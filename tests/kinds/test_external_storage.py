"""External storage: a bucket for a project, which nothing can change."""

from __future__ import annotations

import httpx
import pytest

from tests.conftest import Workspace
from tests.whole_examples import PROJECT

AWS = "{type: aws, bucket: b, role_arn: r}"
GCP = """{type: gcp, bucket: b, workload_identity_project_number: '1', workload_identity_pool_id: p,
    workload_identity_provider_id: q}"""


def storage(provider: str, name: str = "it") -> str:
    spec = f"{{project_id: '${{Project/search}}', provider: {provider}}}"
    return f"kind: ExternalStorage\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def listed(admin: httpx.Client) -> list[dict[str, str]]:
    return admin.get("/organization/external_storage").json()["data"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "provider",
    [
        AWS,
        "{type: azure, tenant_id: t, subscription_id: s, resource_group: g, account_name: a, container: c}",
        GCP,
        "{type: oci, bucket: b, region: r, tenancy_ocid: t}",
    ],
)
def test_a_bucket_of_each_cloud_is_registered_once(
    workspace: Workspace, admin: httpx.Client, provider: str
) -> None:
    workspace.declare(PROJECT, storage(provider)).apply()
    assert len(listed(admin)) == 1
    assert workspace.plan().code == 0


def test_another_bucket_takes_another_registration(
    workspace: Workspace, admin: httpx.Client
) -> None:
    workspace.declare(PROJECT, storage(AWS)).apply()
    (before,) = listed(admin)
    workspace.declare(PROJECT, storage(AWS.replace("bucket: b", "bucket: other")))
    planned = workspace.plan()
    assert "ExternalStorage/it   will be replaced" in planned.out
    workspace.apply("--allow-delete", "ExternalStorage/it")
    (after,) = listed(admin)
    assert before["id"] != after["id"]


def test_a_field_of_another_cloud_is_refused_offline(workspace: Workspace) -> None:
    workspace.declare(PROJECT, storage("{type: aws, bucket: b, role_arn: r, tenancy_ocid: t}"))
    assert "tenancy_ocid" in workspace.run("validate", expect=1).err


def test_two_buckets_of_a_project_are_two_objects(
    workspace: Workspace, admin: httpx.Client
) -> None:
    workspace.declare(
        PROJECT, storage(AWS), storage(AWS.replace("bucket: b", "bucket: c"), "other")
    ).apply()
    assert len(listed(admin)) == 2
    assert workspace.plan().code == 0
