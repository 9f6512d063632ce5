"""The Helm chart: every combination of values is accepted by the API server, and nothing asks for more than it needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Workspace
from tests.kube.helm import (
    CHART,
    DEPLOY,
    PLAIN,
    RELEASE,
    VALUES,
    helm,
    objects,
    of_kind,
    pods,
    rendered,
)
from tests.servers.kube import Cluster

pytestmark = pytest.mark.kube

OPERATOR_VALUES = [path for path in VALUES if "fleet-drift" not in path.name]
every_combination = pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)


def definition(kind: str) -> dict[str, Any]:
    """A kind of the Prometheus operator, of which the chart makes an object. Any object of it is accepted."""
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [version],
        },
    }


@pytest.fixture(scope="module")
def teams(cluster: Cluster) -> None:
    """What the combinations need to be there: namespaces, and the kind of the Prometheus operator."""
    for name in ("team-search", "team-support"):
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    made = [definition(kind) for kind in ("ServiceMonitor", "PrometheusRule")]
    cluster.apply(*made)
    names = [f"crd/{each['metadata']['name']}" for each in made]
    cluster.kubectl("wait", "--for=condition=Established", *names, "--timeout=30s")


@every_combination
def test_the_api_server_accepts_everything_and_warns_of_nothing(
    cluster: Cluster, teams: None, restricted_namespace: str, values: Path
) -> None:
    manifests = rendered(restricted_namespace, "--values", values)
    cluster.create_account(restricted_namespace, "default")  # a controller would have made it
    dry_run = ("apply", "--dry-run=server", "--validate=strict", "--server-side", "-f", "-")
    ended = cluster.kubectl(*dry_run, "--force-conflicts", input=manifests)
    assert (ended.out.count("server dry run"), ended.err) == (len(documents(manifests)), "")


@every_combination
def test_every_pod_satisfies_the_restricted_pod_security_standard(
    cluster: Cluster, restricted_namespace: str, values: Path
) -> None:
    made = list(pods(objects(restricted_namespace, "--values", values)))
    assert made
    for pod in made:
        account = pod["spec"].get("serviceAccountName", "default")
        cluster.create_account(restricted_namespace, account)
        create = ("create", "--dry-run=server", "-n", restricted_namespace, "-f", "-")
        assert "created" in cluster.kubectl(*create, input=json.dumps(pod)).out


@every_combination
def test_every_container_has_a_memory_limit_and_no_writable_root(values: Path) -> None:
    for pod in pods(objects("tests", "--values", values)):
        for container in pod["spec"]["containers"] + pod["spec"].get("initContainers", []):
            assert container["resources"]["limits"]["memory"]
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


@every_combination
def test_every_volume_that_is_mounted_exists_and_is_used(values: Path) -> None:
    for pod in pods(objects("tests", "--values", values)):
        containers = pod["spec"]["containers"] + pod["spec"].get("initContainers", [])
        mounted = {mount["name"] for each in containers for mount in each["volumeMounts"]}
        volumes = [volume["name"] for volume in pod["spec"]["volumes"]]
        assert (mounted, len(volumes)) == (set(volumes), len(set(volumes)))


@every_combination
def test_no_manifest_holds_a_secret(values: Path) -> None:
    manifests = objects("tests", "--values", values)
    assert of_kind(manifests, "Secret") == []


@pytest.mark.parametrize("values", OPERATOR_VALUES, ids=lambda path: path.stem)
def test_the_policy_for_the_network_lets_probes_and_metrics_through(values: Path) -> None:
    manifests = objects("tests", "--values", values)
    for policy in of_kind(manifests, "NetworkPolicy"):
        [deployment] = of_kind(manifests, "Deployment")
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        ports = {port["containerPort"] for port in container["ports"]}
        assert {
            port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]
        } == ports
        selected = policy["spec"]["podSelector"]["matchLabels"].items()
        assert selected <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_repositories_over_ssh_may_be_reached() -> None:
    values = CHART / "ci" / "git-sync-values.yaml"
    [policy] = of_kind(objects("tests", "--values", values), "NetworkPolicy")
    assert 22 in {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    [policy] = of_kind(objects("tests"), "NetworkPolicy")
    assert 22 not in {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}


def test_the_nightly_job_finds_the_stacks_of_the_repository(workspace: Workspace) -> None:
    values = CHART / "ci" / "fleet-drift-values.yaml"
    [job] = of_kind(objects("tests", "--values", values), "CronJob")
    [container] = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    folder = "platform/current/teams/search"
    stack = "kind: Stack\nmetadata: {name: search}\n"
    project = "kind: Project\nmetadata: {name: main}\nspec: {name: Main}\n"
    workspace.write({f"{folder}/reconciler.yaml": stack, f"{folder}/project.yaml": project})
    arguments = [
        argument.replace("/sources", str(workspace.folder)) for argument in container["args"]
    ]
    report = workspace.run(*arguments, expect=0)
    assert "teams/search" in report.out + report.err


# --- values


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "operator.replica=2"], "additional properties 'replica' not allowed"),
        (["--set", "backend.existingSecret="], "backend/existingSecret"),
        (["--set", "watch.namespaces={Team_A}"], "watch/namespaces/0"),
        (["--set", "image.digest=latest"], "image/digest"),
        (["--set", "fullnameOverride=Bad Name"], "fullnameOverride"),
        (
            ["--set", "watch.allNamespaces=true", "--set", "watch.namespaces={a}"],
            "watch.namespaces has no effect with watch.allNamespaces",
        ),
        (["--set", "serviceAccount.create=false"], "serviceAccount.name is needed"),
        (
            [
                "--set",
                "sources.gitSync[0].name=a",
                "--set",
                "sources.gitSync[0].repo=git@host:a.git",
            ],
            "ssh needs existingSecret",
        ),
        (
            ["--set", "sources.gitSync[0].name=a", "--set", "sources.gitSync[0].repo=file:///etc"],
            "sources/gitSync/0/repo",
        ),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_values_that_cannot_work_are_refused(arguments: list[str], said: str) -> None:
    ended = helm("template", RELEASE, CHART, *arguments, expect=1)
    assert said in ended.err


def test_the_schema_knows_every_value_and_no_other() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    assert sorted(_described(schema)) == sorted(["global", *_given(values, schema)])


def _described(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, child in schema["properties"].items():
        if "properties" in child:
            yield from _described(child, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def _given(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        child = schema["properties"][name]
        if "properties" in child:
            yield from _given(value, child, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def test_helm_finds_nothing_to_correct() -> None:
    for values in VALUES:
        assert "0 chart(s) failed" in helm("lint", "--strict", CHART, "--values", values).out


def test_dashboard_and_alerts_are_those_of_the_repository() -> None:
    enabled = [f"metrics.{name}.enabled=true" for name in ("dashboard", "prometheusRule")]
    options = [option for value in enabled for option in ("--set", value)]
    made = objects("tests", *options)
    [dashboard] = of_kind(made, "ConfigMap")
    [rule] = of_kind(made, "PrometheusRule")
    file = (DEPLOY / "grafana" / "reconciler.json").read_text("utf-8")
    alerts = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text("utf-8"))
    assert json.loads(dashboard["data"]["reconciler.json"]) == json.loads(file)
    assert rule["spec"] == alerts


@pytest.mark.parametrize("values", ["operator.enabled=true", "fleetDrift.enabled=true"])
def test_notices_are_sent_where_their_urls_are_known(values: str) -> None:
    more = ("--set", values, "--set", "notices.existingSecret=chat")
    for arguments, are_sent in ((more, True), (more[:2], False)):
        for pod in pods(objects("tests", "--no-hooks", *arguments)):
            [container] = pod["spec"]["containers"]
            names = {variable["name"] for variable in container["env"]}
            found = ("--notify" in container["args"], "RECONCILER_NOTICE_URLS" in names)
            assert found == (are_sent, are_sent)


def documents(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


def test_the_definitions_of_the_chart_are_those_of_the_plain_manifests() -> None:
    made = objects("tests", "--set", "crds.keep=false")
    crds = documents((PLAIN / "crds.yaml").read_text("utf-8"))
    assert of_kind(made, "CustomResourceDefinition") == crds
