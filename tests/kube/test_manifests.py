"""The plain manifests of deploy/kubernetes: what the chart makes, and what the API server takes.

`make manifests` writes them again.
"""

from __future__ import annotations

import os
import re

import pytest
import yaml

from tests.kube.helm import CHART, PLAIN, pods, rendered
from tests.servers.kube import Cluster

pytestmark = pytest.mark.kube

NAMESPACE = "reconciler"
VARIANTS = {
    "operator.yaml": ("Stacks of the namespace reconciler.", ()),
    "operator-all-namespaces.yaml": (
        "Stacks of all namespaces.",
        ("--set", "watch.allNamespaces=true"),
    ),
    "operator-git-sync.yaml": (
        "Stacks of the namespace reconciler, from git. Replace the repositories.",
        ("--values", CHART / "ci" / "git-sync-values.yaml"),
    ),
    "fleet-drift.yaml": (
        "A nightly report of drift, without operator and CRDs. Replace the repository.",
        ("--values", CHART / "ci" / "fleet-drift-values.yaml"),
    ),
}
_HELM = re.compile(r"^    *(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n", re.MULTILINE)


def plain(name: str) -> str:
    """What a file has to hold: what the chart makes, without the traces of Helm."""
    title, arguments = VARIANTS[name]
    made = rendered(NAMESPACE, "--no-hooks", "--set", "crds.install=false", *arguments)
    documents = [
        _HELM.sub("", re.sub(r"^# Source: .*\n", "", part, flags=re.MULTILINE)).strip()
        for part in made.split("\n---\n")
    ]
    texts = [document.removeprefix("---").strip() for document in documents]
    head = (
        f"# {title}\n# Written from deploy/helm/reconciler, which has more settings; do not edit.\n"
    )
    return head + "---\n".join(f"{text}\n" for text in texts if text)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_plain_manifest_is_what_the_chart_makes(name: str) -> None:
    path = PLAIN / name
    if os.environ.get("RECONCILER_GOLDEN") == "write":
        path.write_text(plain(name), encoding="utf-8")
    assert path.read_text("utf-8") == plain(name)


@pytest.fixture(scope="module")
def applied(crds: Cluster) -> Cluster:
    """The API server after what deploy/README.md says."""
    crds.kubectl("apply", "--server-side", "-k", str(PLAIN))
    return crds


def test_the_kustomization_brings_everything_that_the_operator_needs(applied: Cluster) -> None:
    for kind in ("deployment", "serviceaccount", "role", "rolebinding", "networkpolicy", "service"):
        applied.kubectl("get", kind, "reconciler", "-n", NAMESPACE)


def test_applying_the_manifests_again_changes_nothing(applied: Cluster) -> None:
    assert applied.kubectl("diff", "--server-side", "-k", str(PLAIN)).out == ""


@pytest.mark.parametrize("name", [*VARIANTS, "examples/stack.yaml"])
def test_the_api_server_takes_a_manifest_and_warns_of_nothing(applied: Cluster, name: str) -> None:
    path = PLAIN / name
    dry_run = ("apply", "--dry-run=server", "--validate=strict", "--server-side")
    ended = applied.kubectl(*dry_run, "--force-conflicts", "-f", str(path))
    count = len([document for document in yaml.safe_load_all(path.read_text("utf-8")) if document])
    assert (ended.out.count("serverside-applied (server dry run)"), ended.err) == (count, "")


def test_the_namespace_refuses_pods_that_do_more_than_those_of_the_manifests(
    applied: Cluster,
) -> None:
    labels = applied.get(f"/api/v1/namespaces/{NAMESPACE}")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("name", VARIANTS)
def test_a_manifest_names_no_template_of_helm(name: str) -> None:
    text = (PLAIN / name).read_text("utf-8")
    assert ("helm.sh/" in text, "{{" in text) == (False, False)
    documents = [document for document in yaml.safe_load_all(text) if document]
    assert list(pods(documents))
