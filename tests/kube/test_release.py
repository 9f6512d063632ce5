"""The life of a release of the chart: install, upgrade, uninstall, and what outlives it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kube.helm import CHART, PLAIN, RELEASE, helm
from tests.servers.kube import ADMIN_TOKEN, Cluster

pytestmark = pytest.mark.kube

STACK = {
    "apiVersion": "reconciler.dev/v1alpha1",
    "kind": "Stack",
    "metadata": {"name": "search", "namespace": "platform"},
    "spec": {"source": {"path": "platform/current"}, "organizationRef": {"name": "acme"}},
}
DEFINITION = "crd/stacks.reconciler.dev"


@pytest.fixture
def bare() -> Iterator[Cluster]:
    """A cluster of this test alone, without our definitions."""
    cluster = Cluster()
    try:
        yield cluster.start()
    finally:
        cluster.close()


def release(cluster: Cluster, *arguments: str | Path) -> None:
    """Run helm on the release as the administrator."""
    helm(*arguments, "--namespace", "platform", kubeconfig=cluster.kubeconfig(ADMIN_TOKEN))


def stack_exists(cluster: Cluster) -> bool:
    path = "/apis/reconciler.dev/v1alpha1/namespaces/platform/stacks/search"
    return cluster.call("GET", path).status_code == 200


def installed(cluster: Cluster, *arguments: str | Path) -> None:
    """Install the chart, and declare a Stack."""
    release(cluster, "install", RELEASE, CHART, "--create-namespace", *arguments)
    cluster.kubectl("wait", "--for=condition=Established", DEFINITION, "--timeout=30s")
    cluster.kubectl("apply", "-f", "-", input=json.dumps(STACK))


def test_definitions_and_stacks_outlive_the_release_and_a_new_one_takes_them_over(
    bare: Cluster,
) -> None:
    installed(bare)
    release(bare, "uninstall", RELEASE)
    bare.kubectl("get", "deployment", RELEASE, "-n", "platform", expect=1)
    assert stack_exists(bare)
    release(bare, "install", RELEASE, CHART)
    assert stack_exists(bare)


def test_helm_takes_over_what_kubectl_applied_and_kubectl_what_helm_installed(
    bare: Cluster,
) -> None:
    definitions = ("apply", "--server-side", "-f", str(PLAIN / "crds.yaml"))
    bare.kubectl(*definitions)
    installed(bare, "--take-ownership", "--force-conflicts")
    bare.kubectl(*definitions, "--force-conflicts")
    assert stack_exists(bare)


def test_an_upgrade_brings_new_definitions(bare: Cluster, tmp_path: Path) -> None:
    older = _older_chart(tmp_path)
    release(bare, "install", RELEASE, older, "--create-namespace")
    assert "suspend" not in _spec_fields(bare)
    release(bare, "upgrade", RELEASE, CHART)
    assert "suspend" in _spec_fields(bare)


def test_definitions_go_with_the_release_where_that_is_asked_for(bare: Cluster) -> None:
    installed(bare, "--set", "crds.keep=false")
    release(bare, "uninstall", RELEASE)
    bare.kubectl("wait", "--for=delete", DEFINITION, "--timeout=30s")
    assert not stack_exists(bare)


def _older_chart(folder: Path) -> Path:
    """The chart as if an earlier version had no field `suspend`."""
    chart = folder / "chart"
    shutil.copytree(CHART, chart)
    crds = chart / "files" / "crds.yaml"
    text = crds.read_text("utf-8")
    assert "\n              suspend:\n" in text
    crds.write_text(text.replace("\n              suspend:\n", "\n              paused:\n"))
    return chart


def _spec_fields(cluster: Cluster) -> set[str]:
    found: dict[str, Any] = cluster.get(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/stacks.reconciler.dev"
    )
    [version] = found["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    return set(schema["properties"]["spec"]["properties"])
