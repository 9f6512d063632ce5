"""The operator as a process, on a real API server, with its state in a real PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.emulator import Emulator
from reconciler.operator.crds import APPROVE, FINALIZER, STACK_LABEL, as_yaml
from tests.servers.kube import Cluster, account_name
from tests.servers.postgres import HOST, Database, free_port
from tests.servers.proxy import Proxy
from tests.waiting import wait_for

pytestmark = pytest.mark.kube

PATIENCE = 60
ACCOUNT = "operator"
OURS = "reconciler.dev"
RULES = [
    {"apiGroups": [OURS], "resources": ["stacks"], "verbs": ["get", "list", "watch", "patch"]},
    {"apiGroups": [OURS], "resources": ["organizations"], "verbs": ["get", "list", "watch"]},
    {
        "apiGroups": [OURS],
        "resources": ["stacks/status", "organizations/status"],
        "verbs": ["patch"],
    },
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]},
    {
        "apiGroups": [""],
        "resources": ["secrets"],
        "verbs": ["get", "create", "patch", "delete"],
    },
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
]
PROJECT = "kind: Project\nmetadata: {name: search}\nspec: {name: Search}\n"
DELIVERING = (
    PROJECT
    + "---\nkind: ServiceAccount\nmetadata: {name: indexer, project: search}\nspec:\n"
    + "  name: indexer\n"
    + "  key: {write_to: {kubernetes: {namespace: NAMESPACE, secret: indexer, key: KEY}}}\n"
)


@dataclass
class Setting:
    """A namespace with an Organization, and operators that watch it."""

    cluster: Cluster
    namespace: str
    emulator: Emulator
    backend: str
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)

    def prepare(self) -> None:
        self.cluster.kubectl("apply", "--server-side", "-f", "-", input=as_yaml())
        self.token = self.cluster.create_account(self.namespace, ACCOUNT, RULES)
        keys = {"admin": self.emulator.admin_key, "default": self.emulator.api_key}
        self.apply("v1", "Secret", "keys", stringData=keys)
        references = {
            name: {"secretRef": {"name": "keys", "key": key}}
            for name, key in (("adminKey", "admin"), ("defaultKey", "default"))
        }
        spec = {"baseUrl": self.emulator.base_url, **references}
        self.apply(f"{OURS}/v1alpha1", "Organization", "acme", spec=spec)

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start an operator, and wait until it is ready."""
        process = self.start_without_waiting(*options)
        self.until(lambda: self.probe("/readyz", -1) == 200)
        return process

    def start_without_waiting(self, *options: str) -> subprocess.Popen[bytes]:
        port = free_port()
        with (self.folder / f"operator-{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "reconciler", "operator"),
                    *("--namespace", self.namespace, "--liveness-port", str(port), *options),
                ],
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self.folder),
                    "KUBECONFIG": str(self.cluster.kubeconfig(self.token)),
                    "RECONCILER_BACKEND": self.backend,
                    "RECONCILER_SETTLE_SECONDS": "0.1",
                    "RECONCILER_LEASE_SECONDS": "5",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        self.ports.append(port)
        return process

    def probe(self, path: str, number: int = 0) -> int:
        """The status of a probe; 0 if nobody answers."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.ports[number]}{path}").status_code
        except httpx.TransportError:
            return 0

    def log(self, number: int = 0) -> str:
        return (self.folder / f"operator-{number}.log").read_text()

    def apply(self, version: str, kind: str, name: str, **parts: Any) -> None:
        metadata = {"name": name, "namespace": self.namespace, **parts.pop("metadata", {})}
        self.cluster.apply({"apiVersion": version, "kind": kind, "metadata": metadata, **parts})

    def declare(self, name: str = "search", manifest: str = PROJECT) -> None:
        files = {
            "reconciler.yaml": f"kind: Stack\nmetadata: {{name: {name}}}\nspec: {{}}\n",
            "main.yaml": manifest.replace("NAMESPACE", self.namespace),
        }
        labels = {"labels": {"reconciler.dev/source": "true"}}
        self.apply("v1", "ConfigMap", name, data=files, metadata=labels)

    def stack(self, name: str = "search", **spec: Any) -> None:
        base = {
            "organizationRef": {"name": "acme"},
            "source": {"configMap": {"name": name}},
            "interval": "30s",
        }
        self.apply(f"{OURS}/v1alpha1", "Stack", name, spec={**base, **spec})

    def path(self, name: str = "search") -> str:
        return f"/apis/{OURS}/v1alpha1/namespaces/{self.namespace}/stacks/{name}"

    def body(self, name: str = "search") -> dict[str, Any]:
        answer = self.cluster.call("GET", self.path(name))
        return answer.json() if answer.status_code == 200 else {}

    def reason(self, name: str = "search") -> str:
        conditions = self.body(name).get("status", {}).get("conditions", [])
        return str(next((c["reason"] for c in conditions if c["type"] == "Ready"), ""))

    def secret(self, name: str) -> dict[str, Any]:
        path = f"/api/v1/namespaces/{self.namespace}/secrets/{name}"
        answer = self.cluster.call("GET", path)
        return answer.json() if answer.status_code == 200 else {}

    def annotate(self, annotation: str, value: str, name: str = "search") -> None:
        words = ("annotate", "stack", name, "-n", self.namespace, f"{annotation}={value}")
        self.cluster.kubectl(*words, "--overwrite")

    def until_reason(self, reason: str, name: str = "search") -> None:
        self.until(lambda: self.reason(name) == reason)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that the operator does by itself."""
        wait_for(condition, seconds=PATIENCE, explain=self.explain)

    def explain(self) -> str:
        """The Stack and the logs of all operators."""
        logs = "\n".join(self.log(number) for number in range(len(self.processes)))
        return f"{self.body()}\n{logs}"

    def titles(self) -> list[str]:
        headers = {"Authorization": f"Bearer {self.emulator.admin_key}"}
        url = f"{self.emulator.base_url}/organization/projects?limit=100"
        names = [entry["name"] for entry in httpx.get(url, headers=headers).json()["data"]]
        return sorted(name for name in names if name != "Default project")

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        # Operators of other tests watch all namespaces of this server.
        stacks = self.path("").rstrip("/")
        for entry in self.cluster.get(stacks)["items"]:
            path = self.path(entry["metadata"]["name"])
            headers = {"Content-Type": "application/merge-patch+json"}
            body = {"metadata": {"finalizers": None}}
            self.cluster.call("PATCH", path, body, headers=headers)
        self.cluster.call("DELETE", stacks)


@pytest.fixture
def setting(
    cluster: Cluster, namespace: str, emulator: Emulator, database: Database, tmp_path: Path
) -> Iterator[Setting]:
    setting = Setting(cluster, namespace, emulator, database.url(), tmp_path)
    setting.prepare()
    yield setting
    setting.close()


def test_a_plan_is_approved_with_kubectl_and_applied_once(setting: Setting) -> None:
    setting.declare()
    setting.stack(mode="approve")
    operator = setting.start()
    setting.until_reason("AwaitingApproval")
    assert setting.titles() == []
    setting.annotate(APPROVE, setting.body()["status"]["plan"]["digest"])
    setting.until_reason("Applied")
    assert setting.titles() == ["Search"]
    assert APPROVE not in setting.body()["metadata"]["annotations"]
    assert setting.probe("/livez") == 200
    operator.send_signal(signal.SIGTERM)
    assert operator.wait(PATIENCE) == 0


def test_while_nothing_changes_a_stack_costs_one_request_an_interval_at_most(
    setting: Setting,
) -> None:
    names = [f"stack-{number}" for number in range(6)]
    for name in names:
        setting.declare(name, PROJECT.replace("Search", name).replace("search", name))
        setting.stack(name, mode="apply")
    setting.start("--workers", "2")
    for name in names:
        setting.until_reason("Applied", name)
        setting.annotate("reconciler.dev/reconcile", "1", name)
    for name in names:
        setting.until_reason("InSync", name)
    user = account_name(setting.namespace, ACCOUNT)
    numbers = {name: setting.body(name)["status"]["lastRun"]["number"] for name in names}
    with setting.cluster.audited() as audit:
        # The second look after this one writes a sign of life, and counts all runs until then.
        setting.until(
            lambda: all(
                setting.body(name)["status"]["lastRun"]["number"] >= numbers[name] + 2
                for name in names
            )
        )
    requests = audit.of(user=user)
    of_objects = [request for request in requests if request.name]
    assert len(of_objects) <= 2 * len(names), of_objects
    assert {request.resource for request in of_objects} <= {"stacks/status", "secrets"}


def test_a_restart_of_the_api_server_is_survived(setting: Setting, restarts: Cluster) -> None:
    setting.declare()
    setting.stack(mode="plan")
    operator = setting.start()
    setting.until_reason("Observed")
    restarts.restart()
    setting.stack(mode="apply")
    setting.until_reason("Applied")
    assert operator.poll() is None
    assert setting.titles() == ["Search"]


def test_two_operators_apply_once_and_neither_reports_the_other(setting: Setting) -> None:
    setting.declare()
    setting.start()
    setting.start()
    for number in range(3):
        setting.declare(manifest=PROJECT.replace("Search", f"Search {number}"))
        setting.stack(mode="apply", variables={})
        setting.until(lambda: setting.titles() == [f"Search {number}"])  # noqa: B023
    setting.until(lambda: setting.reason() in ("Applied", "InSync"))
    assert "Locked" not in setting.log(0) + setting.log(1)
    applied = setting.log(0).count(": Applied:") + setting.log(1).count(": Applied:")
    assert applied >= 1


def test_a_killed_operator_leaves_no_duplicate_and_the_next_one_converges(
    setting: Setting,
) -> None:
    projects = "---\n".join(
        PROJECT.replace("search", f"p{number}").replace("Search", f"P{number:02}")
        for number in range(20)
    )
    setting.declare(manifest=projects)
    setting.stack(mode="apply")
    for _ in range(3):
        before = len(setting.titles())
        operator = setting.start()
        setting.until(lambda: len(setting.titles()) > before or before == 20)  # noqa: B023
        operator.kill()
        operator.wait()
    setting.start()
    setting.until(lambda: setting.reason() in ("Applied", "InSync"))
    assert setting.titles() == [f"P{number:02}" for number in range(20)]


def test_the_state_that_goes_away_for_a_while_is_survived(setting: Setting) -> None:
    good = setting.backend
    setting.declare()
    setting.stack(mode="apply")
    host, _, rest = good.rpartition(":")
    setting.backend = f"{host}:1/{rest.partition('/')[2]}"  # nothing listens there
    operator = setting.start()
    setting.until_reason("StateUnavailable")
    assert "s3cret" not in json.dumps(setting.body()) + setting.log()
    operator.send_signal(signal.SIGTERM)
    assert operator.wait(PATIENCE) == 0
    setting.backend = good
    setting.start()
    setting.until_reason("Applied")


def test_postgres_that_vanishes_while_the_operator_runs_is_survived(
    setting: Setting, database: Database
) -> None:
    with Proxy((HOST, database.port)) as proxy:
        setting.backend = database.url(port=proxy.port)
        setting.declare()
        setting.stack(mode="apply")
        operator = setting.start()
        setting.until_reason("Applied")
        proxy.refuse()
        setting.declare(manifest=PROJECT.replace("Search", "Renamed"))
        setting.until_reason("StateUnavailable")
        assert setting.titles() == ["Search"]
        proxy.restore()
        setting.until(lambda: setting.titles() == ["Renamed"])
        assert operator.poll() is None


def test_definitions_that_are_not_there_yet_are_waited_for(setting: Setting) -> None:
    setting.cluster.kubectl("delete", "-f", "-", input=as_yaml())
    setting.start_without_waiting()
    setting.until(lambda: "not installed" in setting.log())
    assert setting.probe("/readyz") == 503
    assert setting.probe("/livez") == 200
    setting.prepare()
    setting.declare()
    setting.stack(mode="apply")
    setting.until_reason("Applied")


def test_delivered_secrets_are_owned_by_stacks_that_destroy_and_survive_those_that_retain(
    setting: Setting,
) -> None:
    setting.declare(manifest=DELIVERING)
    setting.stack(mode="apply", deletionPolicy="Delete")
    setting.start()
    setting.until_reason("Applied")
    metadata = setting.secret("indexer")["metadata"]
    uid = setting.body()["metadata"]["uid"]
    assert metadata["labels"] == {STACK_LABEL: uid}
    assert [owner["uid"] for owner in metadata["ownerReferences"]] == [uid]
    setting.stack(mode="apply", deletionPolicy="Retain")
    setting.until(lambda: FINALIZER not in setting.body()["metadata"].get("finalizers", []))
    assert "ownerReferences" not in setting.secret("indexer")["metadata"]
    assert setting.secret("indexer")["data"]
    setting.stack(mode="apply", deletionPolicy="Delete")
    setting.until(lambda: FINALIZER in setting.body()["metadata"].get("finalizers", []))
    assert setting.secret("indexer")["metadata"]["ownerReferences"]
    setting.cluster.call("DELETE", setting.path())
    setting.until(lambda: not setting.body())
    assert not setting.secret("indexer")


def test_a_secret_of_somebody_else_gets_no_key(setting: Setting) -> None:
    setting.apply("v1", "Secret", "indexer", stringData={"PASSWORD": "theirs"})
    setting.declare(manifest=DELIVERING)
    setting.stack(mode="apply")
    setting.start()
    setting.until(lambda: setting.reason() not in ("", "Applied", "InSync"))
    assert list(setting.secret("indexer")["data"]) == ["PASSWORD"]
    conditions = setting.body()["status"]["conditions"]
    assert "not of this Stack" in next(c["message"] for c in conditions if c["type"] == "Ready")


@pytest.mark.parametrize(
    "spec",
    [
        {"source": {}},
        {"source": {"path": "a", "configMap": {"name": "b"}}},
        {"source": {"path": "../a"}},
        {"source": {"configMap": {"name": "b"}, "subPath": "a"}},
        {"mode": "everything"},
        {"interval": "1s"},
        {"interval": "200h"},
        {"deletionPolicy": "Delete"},
        {"deletionPolicy": "Delete", "mode": "plan"},
        {"allowDelete": ["*/*"]},
        {"environment": "a/b"},
    ],
)
def test_the_api_server_refuses_a_stack_that_breaks_the_rules(
    setting: Setting, spec: dict[str, Any]
) -> None:
    base = {"organizationRef": {"name": "acme"}, "source": {"path": "a"}}
    body = {
        "apiVersion": f"{OURS}/v1alpha1",
        "kind": "Stack",
        "metadata": {"name": "bad", "namespace": setting.namespace},
        "spec": {**base, **spec},
    }
    answer = setting.cluster.call("POST", setting.path("").rstrip("/"), body)
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"adminKey": {}},
        {"baseUrl": "http://example.org/v1"},
        {"baseUrl": "file:///etc/passwd"},
        {"organizationId": "acme"},
    ],
)
def test_the_api_server_refuses_an_organization_that_breaks_the_rules(
    setting: Setting, spec: dict[str, Any]
) -> None:
    key = {"adminKey": {"secretRef": {"name": "keys", "key": "admin"}}} if spec else {}
    body = {
        "apiVersion": f"{OURS}/v1alpha1",
        "kind": "Organization",
        "metadata": {"name": "bad", "namespace": setting.namespace},
        "spec": {**key, **spec},
    }
    path = setting.path("").replace("/stacks/", "/organizations")
    answer = setting.cluster.call("POST", path, body)
    assert answer.status_code == 422, answer.text
