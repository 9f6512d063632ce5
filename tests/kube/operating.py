"""The operator as the chart deploys it: its account, its arguments, a shared state, and an emulator of the API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.emulator import Emulator
from tests.kube.helm import RELEASE, objects, of_kind
from tests.servers.kube import START_SECONDS, Cluster, account_name
from tests.servers.postgres import Database
from tests.waiting import wait_for

GROUP = "reconciler.dev/v1alpha1"
WAIT_SECONDS = 60
_SET_BY_TESTS = ("--source-root=", "--liveness-port=", "--metrics-port=", "--interval=", "--grace=")


class Deployment:
    """The chart in a namespace, and a process with the arguments and the account of its container."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path, *values: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        options = [
            option for value in ("crds.install=false", *values) for option in ("--set", value)
        ]
        made = objects(namespace, "--no-hooks", *options)
        cluster.apply(*made)
        [deployment] = of_kind(made, "Deployment")
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        self._arguments = [
            argument for argument in container["args"] if not argument.startswith(_SET_BY_TESTS)
        ]

    @property
    def user(self) -> str:
        """Whom the API server sees."""
        return account_name(self.namespace, RELEASE)

    @property
    def log(self) -> str:
        """What the process has written so far."""
        return (self.folder / "operator.log").read_text()

    def start(self, database: Database, *arguments: str) -> None:
        """Start the operator with a new token of its account."""
        token = self.cluster.token_of(self.namespace, RELEASE)
        needed = {"apiGroups": ["reconciler.dev"], "resources": ["stacks"], "verbs": ["list"]}
        self.cluster.wait_until_allowed(token, self.namespace, needed)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "KUBECONFIG": str(self.cluster.kubeconfig(token)),
            "RECONCILER_BACKEND": database.url(),
            "RECONCILER_SETTLE_SECONDS": "0.1",
        }
        command = [sys.executable, "-m", "reconciler", *self._arguments, *arguments]
        with (self.folder / "operator.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stop it, and give the exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(how)
        return process.wait(START_SECONDS)


def organization(cluster: Cluster, namespace: str, emulator: Emulator, **spec: Any) -> None:
    """An Organization whose keys are in the Secret `openai` of its namespace."""
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "openai", "namespace": namespace},
            "stringData": {"admin": emulator.admin_key, "default": emulator.api_key},
        },
        {
            "apiVersion": GROUP,
            "kind": "Organization",
            "metadata": {"name": "acme", "namespace": namespace},
            "spec": {
                "baseUrl": emulator.base_url,
                "adminKey": {"secretRef": {"name": "openai", "key": "admin"}},
                "defaultKey": {"secretRef": {"name": "openai", "key": "default"}},
                **spec,
            },
        },
    )


def stack(
    cluster: Cluster, namespace: str, name: str, *manifests: Mapping[str, Any], **spec: Any
) -> None:
    """A Stack whose source is a ConfigMap with these manifests."""
    file = {
        "kind": "Stack",
        "metadata": {"name": f"{namespace}-{name}"},
        "spec": {"manifests": ["manifests.yaml"], "backend": "remote"},
    }
    documents = "\n---\n".join(json.dumps(manifest) for manifest in manifests)
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {"reconciler.dev/source": "true"},
            },
            "data": {"reconciler.yaml": json.dumps(file), "manifests.yaml": documents},
        },
        {
            "apiVersion": GROUP,
            "kind": "Stack",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "source": {"configMap": {"name": name}},
                "organizationRef": {"name": "acme"},
                **spec,
            },
        },
    )


def path_of(namespace: str, name: str) -> str:
    """The path of a Stack at the API server."""
    return f"/apis/{GROUP}/namespaces/{namespace}/stacks/{name}"


def condition(body: Mapping[str, Any], type: str = "Ready") -> Mapping[str, Any]:
    """A condition of a Stack; empty until there is one."""
    conditions: Sequence[Mapping[str, Any]] = body.get("status", {}).get("conditions", ())
    return next((each for each in conditions if each["type"] == type), {})


def wait_for_reason(cluster: Cluster, namespace: str, name: str, *reasons: str) -> dict[str, Any]:
    """Wait until `Ready` of a Stack has one of these reasons; gives the Stack."""

    def read() -> dict[str, Any]:
        body: dict[str, Any] = cluster.get(path_of(namespace, name))
        if condition(body).get("reason") in reasons:
            return body
        return {}

    def explain() -> str:
        return json.dumps(cluster.get(path_of(namespace, name)).get("status"), indent=1)

    return wait_for(read, seconds=WAIT_SECONDS, explain=explain)
