"""The API server of Kubernetes, and a namespace for each test. See `tests/servers/kube.py`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kube.helm import PLAIN
from tests.servers.kube import Cluster, running_cluster

__all__ = ["cluster", "crds", "namespace", "restarts", "restricted_namespace"]


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """A running API server."""
    return running_cluster()


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """An empty namespace of this test alone."""
    return cluster.create_namespace()


@pytest.fixture
def restricted_namespace(cluster: Cluster) -> str:
    """A namespace that refuses Pods which do not satisfy the Pod Security Standard `restricted`."""
    return cluster.create_namespace(
        "restricted", {"pod-security.kubernetes.io/enforce": "restricted"}
    )


@pytest.fixture
def restarts(cluster: Cluster) -> Iterator[Cluster]:
    """The API server, for a test that stops it: it runs again afterwards, whatever the test did."""
    yield cluster
    if not cluster.is_running:
        cluster.start_apiserver()


@pytest.fixture(scope="session")
def crds(cluster: Cluster) -> Cluster:
    """The API server, with the definitions of Stack and Organization."""
    cluster.kubectl("apply", "--server-side", "-f", str(PLAIN / "crds.yaml"))
    definitions = ("crd/stacks.reconciler.dev", "crd/organizations.reconciler.dev")
    cluster.kubectl("wait", "--for=condition=Established", *definitions, "--timeout=30s")
    return cluster
