"""The test cluster applies RBAC, counts requests, and keeps data over a restart."""

from __future__ import annotations

import json

import pytest

from tests.servers.kube import Cluster, account_name

pytestmark = pytest.mark.kube

READS_CONFIG_MAPS = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "tests"},
    "spec": {"containers": [{"name": "tests", "image": "example"}]},
}


def config_map(namespace: str, **data: str) -> dict[str, object]:
    metadata = {"name": "tests", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_an_account_may_do_what_its_role_allows_and_nothing_else(
    cluster: Cluster, namespace: str
) -> None:
    token = cluster.create_account(namespace, "reader", [READS_CONFIG_MAPS])
    cluster.apply(config_map(namespace, a="1"))
    found = cluster.kubectl("get", "cm", "tests", "-n", namespace, "-o", "json", token=token)
    assert json.loads(found.out)["data"] == {"a": "1"}
    for refused in (["get", "secrets", "-n", namespace], ["get", "cm", "-n", "default"]):
        ended = cluster.kubectl(*refused, token=token, expect=1)
        assert f'User "{account_name(namespace, "reader")}" cannot list' in ended.err


def test_requests_are_counted_by_user_and_verb(cluster: Cluster, namespace: str) -> None:
    token = cluster.create_account(namespace, "reader", [READS_CONFIG_MAPS])
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    with cluster.audited() as audit:
        for _ in range(3):
            cluster.call("GET", path, token=token)
        cluster.call("DELETE", f"{path}/tests", token=token)
        cluster.call("GET", path)
    user = account_name(namespace, "reader")
    assert audit.count(user=user, verb="list", resource="configmaps", status=200) == 3
    assert audit.count(user=user, verb="delete", namespace=namespace, status=403) == 1
    assert audit.count(user=user) == 4


def test_a_watch_is_one_request(cluster: Cluster, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps?watch=1&timeoutSeconds=1"
    with cluster.audited() as audit:
        cluster.call("GET", path)
    assert audit.count(verb="watch") == 1


def test_a_restart_keeps_data_tokens_and_the_address(
    restarts: Cluster, cluster: Cluster, namespace: str
) -> None:
    token = cluster.create_account(namespace, "reader", [READS_CONFIG_MAPS])
    cluster.apply(config_map(namespace, a="1"))
    address = cluster.address
    cluster.restart()
    answer = cluster.call("GET", f"/api/v1/namespaces/{namespace}/configmaps/tests", token=token)
    assert (answer.json()["data"], cluster.address) == ({"a": "1"}, address)


def test_a_restricted_namespace_refuses_an_ordinary_pod(
    cluster: Cluster, restricted_namespace: str
) -> None:
    cluster.create_account(restricted_namespace, "default")
    pod = json.dumps(POD)
    refused = ["create", "--dry-run=server", "-n", restricted_namespace, "-f", "-"]
    ended = cluster.kubectl(*refused, input=pod, expect=1)
    assert "violates PodSecurity" in ended.err
