"""The operator works with the roles of the chart, needs all of them, and asks the API server for little."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.emulator import Emulator
from tests.kube.operating import (
    WAIT_SECONDS,
    Deployment,
    organization,
    path_of,
    stack,
    wait_for_reason,
)
from tests.servers.kube import Audit, Cluster
from tests.servers.postgres import Database
from tests.waiting import wait_for

pytestmark = pytest.mark.kube

PROJECT = {"kind": "Project", "metadata": {"name": "main"}, "spec": {"name": "Main"}}
WATCHED = ("organizations", "configmaps")
STACKS = 8
"""So many that watches, which begin again after a minute without an event, do not matter."""
RUNS = 2
"""How often a test waits until each of its Stacks was looked at."""
Deploy = Callable[..., Deployment]


@pytest.fixture
def deploy(crds: Cluster, namespace: str, tmp_path: Path) -> Iterator[Deploy]:
    """Deploys the chart with values in the namespace of the test."""
    deployments = []

    def made(*values: str) -> Deployment:
        deployments.append(Deployment(crds, namespace, tmp_path, *values))
        return deployments[-1]

    yield made
    for deployment in deployments:
        deployment.stop()


def account(namespace: str) -> dict[str, Any]:
    """A service account whose key goes to the Secret `search`."""
    target = {"kubernetes": {"namespace": namespace, "secret": "search", "key": "api-key"}}
    return {
        "kind": "ServiceAccount",
        "metadata": {"name": "indexer", "project": "main"},
        "spec": {"name": "indexer", "key": {"write_to": target}},
    }


def refused(audit: Audit, deployment: Deployment) -> list[str]:
    """What the API server refused to the operator."""
    return [
        f"{request.verb} {request.uri}"
        for request in audit.of(user=deployment.user)
        if request.status in (401, 403)
    ]


def test_a_key_arrives_in_a_secret_that_the_roles_name(
    crds: Cluster, namespace: str, deploy: Deploy, database: Database, emulator: Emulator
) -> None:
    deployment = deploy("secrets.delivered={search}")
    organization(crds, namespace, emulator)
    stack(crds, namespace, "search", PROJECT, account(namespace), mode="apply")
    with crds.audited() as audit:
        deployment.start(database)
        wait_for_reason(crds, namespace, "search", "Applied", "InSync")
        assert deployment.stop() == 0
    held = crds.get(f"/api/v1/namespaces/{namespace}/secrets/search")
    key = base64.b64decode(held["data"]["api-key"]).decode()
    with emulator.store.lock:
        assert emulator.store.key_record(key) is not None
    assert refused(audit, deployment) == []
    assert key not in deployment.log


@pytest.mark.parametrize("watched", ["all namespaces", "two namespaces"])
def test_stacks_of_several_namespaces_share_an_organization(
    crds: Cluster,
    namespace: str,
    deploy: Deploy,
    database: Database,
    emulator: Emulator,
    watched: str,
) -> None:
    team, other = crds.create_namespace("team"), crds.create_namespace("other")
    values = "watch.allNamespaces=true"
    if watched == "two namespaces":
        values = f"watch.namespaces={{{namespace},{team}}}"
    deployment = deploy(values)
    organization(crds, namespace, emulator, allowedNamespaces=[team])
    reference = {"name": "acme", "namespace": namespace}
    for place in (team, other):
        project = {**PROJECT, "spec": {"name": f"Main {place}"}}
        stack(crds, place, "search", project, mode="apply", organizationRef=reference)
    with crds.audited() as audit:
        deployment.start(database)
        wait_for_reason(crds, team, "search", "Applied", "InSync")
        if watched == "all namespaces":
            wait_for_reason(crds, other, "search", "OrganizationNotAllowed")
        assert deployment.stop() == 0
    assert refused(audit, deployment) == []
    seen = {request.namespace for request in audit.of(user=deployment.user)}
    assert (other in seen) == (watched == "all namespaces")


def used(audit: Audit, deployment: Deployment) -> set[tuple[str, str]]:
    """The verbs and resources that the operator asked for, except for what every account may."""
    return {
        (request.verb, request.resource)
        for request in audit.of(user=deployment.user)
        if request.resource not in ("", "selfsubjectaccessreviews")
    }


def test_every_permission_is_used_and_no_other_is_asked_for(
    crds: Cluster, namespace: str, deploy: Deploy, database: Database, emulator: Emulator
) -> None:
    deployment = deploy("secrets.delivered={search}")
    organization(crds, namespace, emulator)
    manifests = (PROJECT, account(namespace))
    with crds.audited() as audit:
        deployment.start(database)
        stack(crds, namespace, "search", *manifests, mode="apply", deletionPolicy="Delete")
        wait_for_reason(crds, namespace, "search", "Applied", "InSync")
        crds.kubectl("delete", "stack", "search", "-n", namespace, "--timeout=60s")
        assert deployment.stop() == 0
    assert refused(audit, deployment) == []
    assert used(audit, deployment) == {
        *((verb, "stacks") for verb in ("list", "watch", "get", "patch")),
        *((verb, resource) for verb in ("list", "watch") for resource in WATCHED),
        # A patch that creates a Secret needs `create` too: see test_key_sink.py.
        *((verb, "secrets") for verb in ("get", "patch", "delete")),
        ("patch", "stacks/status"),
        ("patch", "organizations/status"),
        ("create", "events"),
    }
    namespaces = {request.namespace for request in audit.of(user=deployment.user)}
    assert namespaces == {namespace, ""}  # discovery is in none


def test_owners_of_secrets_follow_the_deletion_policy_with_rights_to_named_secrets_alone(
    crds: Cluster, namespace: str, deploy: Deploy, database: Database, emulator: Emulator
) -> None:
    deployment = deploy("secrets.delivered={search}")
    organization(crds, namespace, emulator)
    manifests = (PROJECT, account(namespace))
    deployment.start(database)
    for policy, owners in (("Delete", 1), ("Retain", 0), ("Delete", 1)):
        stack(crds, namespace, "search", *manifests, mode="apply", deletionPolicy=policy)
        wait_for_owners(crds, namespace, owners)
    stack(crds, namespace, "search", *manifests, mode="apply", deletionPolicy="Retain")
    crds.kubectl("delete", "stack", "search", "-n", namespace, "--timeout=60s")
    held = crds.get(f"/api/v1/namespaces/{namespace}/secrets/search")
    assert held["data"]
    assert "ownerReferences" not in held["metadata"]


def wait_for_owners(cluster: Cluster, namespace: str, number: int) -> None:
    """Wait until the Secret `search` exists and has so many owners."""
    path = f"/api/v1/namespaces/{namespace}/secrets/search"

    def has_owners() -> bool:
        answer = cluster.call("GET", path)
        owners = answer.json()["metadata"].get("ownerReferences", [])
        return answer.status_code == 200 and len(owners) == number

    wait_for(
        has_owners, seconds=WAIT_SECONDS, explain=lambda: cluster.call("GET", path).text, pause=0.1
    )


def test_a_stack_is_deleted_with_its_objects_by_an_operator_that_may_write_no_secret(
    crds: Cluster, namespace: str, deploy: Deploy, database: Database, emulator: Emulator
) -> None:
    deployment = deploy()
    organization(crds, namespace, emulator)
    stack(crds, namespace, "search", PROJECT, mode="apply", deletionPolicy="Delete")
    deployment.start(database)
    wait_for_reason(crds, namespace, "search", "Applied", "InSync")
    crds.kubectl("delete", "stack", "search", "-n", namespace, "--timeout=60s")


def test_a_stack_that_is_no_longer_deleted_with_its_objects_needs_no_right_to_secrets(
    crds: Cluster, namespace: str, deploy: Deploy, database: Database, emulator: Emulator
) -> None:
    deployment = deploy()
    organization(crds, namespace, emulator)
    stack(crds, namespace, "search", PROJECT, mode="apply", deletionPolicy="Delete")
    deployment.start(database)
    wait_for_reason(crds, namespace, "search", "Applied", "InSync")
    stack(crds, namespace, "search", PROJECT, mode="apply", deletionPolicy="Retain")
    crds.kubectl("delete", "stack", "search", "-n", namespace, "--timeout=60s")


def runs(cluster: Cluster, namespace: str, names: list[str]) -> list[int]:
    """How many runs each Stack has had, as its status says."""
    bodies = [cluster.get(path_of(namespace, name)) for name in names]
    return [body["status"]["lastRun"]["number"] for body in bodies]


def test_while_nothing_changes_there_is_at_most_one_request_for_each_stack_and_interval(
    crds: Cluster, namespace: str, deploy: Deploy, database: Database, emulator: Emulator
) -> None:
    names = [f"stack-{number}" for number in range(STACKS)]
    deployment = deploy()
    organization(crds, namespace, emulator)
    for name in names:
        project = {**PROJECT, "spec": {"name": f"Main {name}"}}
        stack(crds, namespace, name, project, mode="apply")
    deployment.start(database, "--interval=30s")  # the shortest
    for name in names:
        wait_for_reason(crds, namespace, name, "InSync")
    with crds.audited() as audit:
        before = runs(crds, namespace, names)
        wait_for(
            lambda: min(runs(crds, namespace, names)) >= max(before) + RUNS,
            seconds=240,
            explain=lambda: deployment.log,
            pause=0.5,
        )
        looks = sum(runs(crds, namespace, names)) - sum(before)
    sent = audit.of(user=deployment.user)
    assert refused(audit, deployment) == []
    assert 0 < len(sent) <= looks, [f"{request.verb} {request.uri}" for request in sent]
