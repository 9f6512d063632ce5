"""Permissions of the operator's account by the roles of the chart: all that it needs, and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from reconciler.errors import SinkError
from tests.kube.helm import RELEASE, rendered
from tests.secrets.drivers.conftest import INDEXER, KEY, Run, delivered, run
from tests.servers.kube import Cluster, account_name

__all__ = ["run"]

pytestmark = pytest.mark.kube

GROUP = "reconciler.dev"
Deploy = Callable[..., str]
Permission = tuple[str, str, str]
"""Verb, resource and name; an empty name for all."""

OPERATOR: set[Permission] = {
    *((verb, "stacks", "") for verb in ("get", "list", "watch", "patch")),
    ("list", "organizations", ""),
    ("watch", "organizations", ""),
    ("patch", "stacks/status", ""),
    ("patch", "organizations/status", ""),
    ("list", "configmaps", ""),
    ("watch", "configmaps", ""),
    ("create", "events", ""),
}
"""What every operator may do in the namespaces that it watches."""


def deployed(cluster: Cluster, namespace: str, *values: str, watched: str = "") -> str:
    """Deploy the chart with values; a token of the operator that may list Stacks in `watched`."""
    options = [option for value in ("crds.install=false", *values) for option in ("--set", value)]
    cluster.kubectl("apply", "-f", "-", input=rendered(namespace, "--no-hooks", *options))
    token = cluster.token_of(namespace, RELEASE)
    needed = {"apiGroups": [GROUP], "resources": ["stacks"], "verbs": ["list"]}
    cluster.wait_until_allowed(token, watched or namespace, needed)
    return token


@pytest.fixture
def deploy(cluster: Cluster, namespace: str) -> Iterator[Deploy]:
    """Deploys the chart in the namespace of the test."""
    yield partial(deployed, cluster, namespace)
    # Roles of the whole cluster would outlive the test otherwise.
    mine = ("-l", "app.kubernetes.io/name=reconciler", "--ignore-not-found")
    cluster.kubectl("delete", "clusterrole,clusterrolebinding", *mine)


@pytest.fixture(scope="module")
def namespace_of_an_operator(cluster: Cluster) -> str:
    """A namespace with an operator that delivers keys to one Secret."""
    namespace = cluster.create_namespace()
    deployed(cluster, namespace, "secrets.delivered={openai-search}")
    return namespace


def permissions(cluster: Cluster, token: str, namespace: str) -> set[Permission]:
    """All that an account may do in a namespace, except for what every account may."""
    nobody = cluster.create_account("default", "nobody")
    return _rules(cluster, token, namespace) - _rules(cluster, nobody, namespace)


def _rules(cluster: Cluster, token: str, namespace: str) -> set[Permission]:
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    answer = cluster.call("POST", path, body, token=token).raise_for_status().json()
    return {
        (verb, resource, name)
        for rule in answer["status"]["resourceRules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames") or ("",)
    }


def test_by_default_the_operator_reads_one_secret_of_its_own_namespace(
    cluster: Cluster, namespace: str, deploy: Deploy
) -> None:
    token = deploy()
    assert permissions(cluster, token, namespace) == OPERATOR | {("get", "secrets", "openai")}
    assert permissions(cluster, token, "default") == set()


@pytest.mark.parametrize(
    ("verb", "resource", "more"),
    [
        ("list", "secrets", {}),
        ("watch", "secrets", {}),
        ("get", "secrets", {"name": "another"}),
        ("create", "secrets", {"name": "openai"}),
        ("get", "configmaps", {}),
        ("create", "pods", {}),
        ("create", "serviceaccounts", {"subresource": "token"}),
        ("create", "stacks", {"group": GROUP}),
        ("delete", "stacks", {"group": GROUP}),
        ("patch", "organizations", {"group": GROUP}),
        ("patch", "roles", {"group": "rbac.authorization.k8s.io"}),
        ("get", "nodes", {"namespace": ""}),
        ("list", "namespaces", {"namespace": ""}),
        ("list", "customresourcedefinitions", {"namespace": "", "group": "apiextensions.k8s.io"}),
        ("impersonate", "users", {"namespace": ""}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(filter(None, value.values())),
)
def test_the_operator_may_not(
    cluster: Cluster,
    namespace_of_an_operator: str,
    verb: str,
    resource: str,
    more: dict[str, str],
) -> None:
    namespace = namespace_of_an_operator
    asked = f"{resource}.{more['group']}" if "group" in more else resource
    asked += f"/{more['name']}" if "name" in more else ""
    options = [f"--subresource={more['subresource']}"] if "subresource" in more else []
    options += [] if more.get("namespace") == "" else ["-n", namespace]
    account = account_name(namespace, RELEASE)
    ended = cluster.kubectl("auth", "can-i", verb, asked, *options, "--as", account, expect=1)
    assert ended.out.strip() == "no"


def test_a_namespace_that_is_not_watched_is_closed(
    cluster: Cluster, namespace: str, deploy: Deploy
) -> None:
    first, second, other = (cluster.create_namespace("watched") for _ in range(3))
    token = deploy(f"watch.namespaces={{{first},{second}}}", watched=first)
    expected = OPERATOR | {("get", "secrets", "openai")}
    assert permissions(cluster, token, first) == expected
    assert permissions(cluster, token, second) == expected
    assert permissions(cluster, token, other) == set()
    assert permissions(cluster, token, namespace) == set()


def test_an_operator_of_all_namespaces_reads_the_named_secret_in_each(
    cluster: Cluster, namespace: str, deploy: Deploy
) -> None:
    token = deploy("watch.allNamespaces=true", watched="default")
    other = cluster.create_namespace()
    assert permissions(cluster, token, other) == OPERATOR | {("get", "secrets", "openai")}


def test_all_secrets_are_opened_only_by_an_asterisk(
    cluster: Cluster, namespace: str, deploy: Deploy
) -> None:
    token = deploy("secrets.keys={*}")
    assert permissions(cluster, token, namespace) == OPERATOR | {("get", "secrets", "")}


def test_without_secrets_the_operator_may_read_none(
    cluster: Cluster, namespace: str, deploy: Deploy
) -> None:
    token = deploy("secrets.keys=null")
    assert permissions(cluster, token, namespace) == OPERATOR


def test_a_secret_that_is_named_for_delivery_gets_keys_and_another_does_not(
    cluster: Cluster, namespace: str, deploy: Deploy, run: Run
) -> None:
    token = deploy("secrets.delivered={search}")
    sinks = run({"KUBECONFIG": str(cluster.kubeconfig(token))})

    def target(secret: str) -> dict[str, object]:
        return {"kubernetes": {"namespace": namespace, "secret": secret, "key": "api-key"}}

    sinks.check(target("search"), address=INDEXER)
    receipt = delivered(sinks, target("search"))
    assert sinks.recall(target("search"), address=INDEXER) == KEY
    sinks.withdraw(target("search"), receipt, address=INDEXER)
    with pytest.raises(SinkError, match='"another" is forbidden'):
        sinks.check(target("another"), address=INDEXER)


@pytest.mark.parametrize(
    ("role", "allowed", "refused"),
    [("view", "list", "create"), ("edit", "patch", "escalate")],
)
def test_roles_of_the_cluster_can_include_stacks(
    cluster: Cluster, namespace: str, deploy: Deploy, role: str, allowed: str, refused: str
) -> None:
    deploy("rbac.aggregate=true")
    roles = cluster.get("/apis/rbac.authorization.k8s.io/v1/clusterroles")["items"]
    label = f"rbac.authorization.k8s.io/aggregate-to-{role}"
    verbs = {
        verb
        for found in roles
        if found["metadata"].get("labels", {}).get(label) == "true"
        and found["metadata"]["name"].startswith(namespace)
        for rule in found["rules"]
        for verb in rule["verbs"]
    }
    assert (allowed in verbs, refused in verbs) == (True, False)
