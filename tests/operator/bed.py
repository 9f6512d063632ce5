"""An operator on a fake cluster and an emulator, in this process and with a clock of the test."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from reconciler.emulator import Emulator
from reconciler.model.secret import Redactor
from reconciler.operator.crds import APPROVE, SOURCE_LABEL
from reconciler.operator.inputs import OperatorOptions
from reconciler.operator.kube import KubeClient
from reconciler.operator.queue import RunEnd
from reconciler.operator.reconcile import Reconciler
from reconciler.operator.registry import Registry
from reconciler.operator.resources import ObjectKey
from reconciler.operator.sources import SourceFolder
from tests.servers.fake_cluster import TOKEN, FakeCluster

STACK_FILE = "kind: Stack\nmetadata: {name: NAME}\nspec: {manifests: [main.yaml]}\n"
PROJECT = "kind: Project\nmetadata: {name: search}\nspec: {name: TITLE}\n"
NO_PROJECT = "kind: VectorStore\nmetadata: {name: kept}\nspec: {name: Kept}\n"


class Bed:
    """One cluster, one organization, and an operator that looks at a Stack when it is told to."""

    def __init__(self, folder: Path, cluster: FakeCluster, emulator: Emulator) -> None:
        self.folder = folder
        self.cluster = cluster
        self.emulator = emulator
        self.now = 1000.0
        self.redactor = Redactor()
        self.registry = Registry()
        self.sources = folder / "sources"
        self.sources.mkdir()
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(_kubeconfig(cluster.address))
        env = {"KUBECONFIG": str(kubeconfig), "RECONCILER_SETTLE_SECONDS": "0.1"}
        self.kube = KubeClient(env, self.redactor, clock=lambda: self.now)
        self.options = OperatorOptions(
            env=env, backend=f"local:{folder / 'state'}", base_url=emulator.base_url
        )
        self.reconciler = self.new_operator()
        cluster.put_secret("keys", admin=emulator.admin_key, default=emulator.api_key)
        self.organize()

    def new_operator(self, sources: SourceFolder | None = None) -> Reconciler:
        """Another operator on the same cluster, with a memory of its own."""
        return Reconciler(
            self.registry,
            self.kube,
            sources or SourceFolder(self.sources),
            self.options,
            self.redactor,
            clock=lambda: self.now,
        )

    def organize(self, name: str = "acme", namespace: str = "team", **spec: Any) -> None:
        """Create or change the Organization."""
        keys = {
            "adminKey": {"secretRef": {"name": "keys", "key": "admin"}},
            "defaultKey": {"secretRef": {"name": "keys", "key": "default"}},
        }
        self.cluster.put("organizations", name, namespace, spec={**keys, **spec})

    def declare(
        self, title: str = "Search", *, name: str = "search", manifest: str = PROJECT
    ) -> None:
        """Put manifests into the ConfigMap `search`."""
        self.cluster.put(
            "configmaps",
            "search",
            data={
                "reconciler.yaml": STACK_FILE.replace("NAME", name),
                "main.yaml": manifest.replace("TITLE", title),
            },
            metadata={"labels": {SOURCE_LABEL: "true"}},
        )

    def stack(self, name: str = "search", **spec: Any) -> None:
        """Create a Stack that reads the ConfigMap `search`."""
        defaults = {
            "organizationRef": {"name": "acme"},
            "source": {"configMap": {"name": "search"}},
            "interval": "1m",
        }
        self.cluster.put("stacks", name, spec={**defaults, **spec})

    def list(self) -> None:
        """Let the operator see the cluster as it is now."""
        before = self.registry.known()
        for body in list(self.kube.config_maps(None, SOURCE_LABEL)):
            self.registry.put_config_map(body)
        for body in list(self.kube.organizations(None)):
            self.registry.put_organization(body)
        for body in list(self.kube.stacks(None)):
            self.registry.put_stack(body)
        present = {
            key for key in before.stacks if ("stacks", *_parts(key)) not in self.cluster.objects
        }
        for key in present:
            self.registry.drop_stack(key)
        for key in before.organizations:
            if ("organizations", *_parts(key)) not in self.cluster.objects:
                self.registry.drop_organization(key)

    def look(self, name: str = "search", *, reconciler: Reconciler | None = None) -> RunEnd:
        """Let the operator see the cluster, and look at a Stack."""
        self.list()
        looking = reconciler or self.reconciler
        return looking.reconcile(ObjectKey("team", name), threading.Event())

    # --- what there is

    def status(self, name: str = "search") -> dict[str, Any]:
        """The status of a Stack."""
        status: dict[str, Any] = self.cluster.stack(name).get("status", {})
        return status

    def reason(self, name: str = "search", type: str = "Ready") -> str:
        """The reason of a condition."""
        return str(self.condition(name, type)["reason"])

    def condition(self, name: str = "search", type: str = "Ready") -> dict[str, Any]:
        """A condition of a Stack."""
        (found,) = [entry for entry in self.status(name)["conditions"] if entry["type"] == type]
        return dict(found)

    def approve(self, digest: str = "", name: str = "search") -> str:
        """Approve a digest, by default that of the plan in the status."""
        digest = digest or self.status(name)["plan"]["digest"]
        self.cluster.annotate(name, APPROVE, digest)
        return digest

    def titles(self) -> list[str]:
        """The names of the projects at the API, without the default one."""
        projects = self.call("GET", "/organization/projects")["data"]
        return sorted(entry["name"] for entry in projects if entry["name"] != "Default project")

    def rename(self, title: str) -> None:
        """Rename the only project by hand."""
        projects = self.call("GET", "/organization/projects")["data"]
        (id,) = [entry["id"] for entry in projects if entry["name"] != "Default project"]
        self.call("POST", f"/organization/projects/{id}", {"name": title})

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API as somebody else."""
        import httpx

        headers = {"Authorization": f"Bearer {self.emulator.admin_key}"}
        answer = httpx.request(
            method, f"{self.emulator.base_url}{path}", json=body, headers=headers
        )
        return answer.raise_for_status().json()


def _parts(key: ObjectKey) -> tuple[str, str]:
    return (key.namespace, key.name)


def _kubeconfig(address: str) -> str:
    return json.dumps(
        {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": address}}],
            "users": [{"name": "u", "user": {"token": TOKEN}}],
        }
    )
