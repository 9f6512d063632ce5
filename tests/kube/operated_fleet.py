"""Many Stacks of many Organizations at a real API server, and operators that die, lag and come back.

What it costs the organizations is seen at real emulators, whose objects say in the end whether
anything was made twice, left over, or written without an approval.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from reconciler.operator.crds import as_yaml
from tests.fleet.beds import live_objects
from tests.fleet.organizations import Organization, Organizations
from tests.kube.test_operator import ACCOUNT, OURS, RULES
from tests.servers.kube import Cluster
from tests.servers.postgres import free_port
from tests.waiting import wait_for

PATIENCE = 120
LEASE_SECONDS = "2"
_AT_ONCE = 100
"""How many Stacks one command of kubectl declares."""
_LATE = Path(__file__).with_name("late_operator.py")
SETTLED = ("Applied", "InSync")


@dataclass
class OperatedStack:
    """A Stack with a project of its own, which has an account and a rate limit."""

    name: str
    organization: Organization
    mode: str
    limit: int = 500

    def objects(self) -> list[str]:
        """What the organization has once it is applied."""
        return [f"project {self.name}", f"service_account {self.name}"]

    def manifest(self) -> str:
        return (
            f"kind: Project\nmetadata: {{name: app}}\nspec: {{name: {self.name}}}\n---\n"
            f"kind: ServiceAccount\nmetadata: {{name: bot, project: app}}\n"
            f"spec: {{name: {self.name}}}\n---\n"
            "kind: RateLimit\nmetadata: {name: gpt-4.1, project: app}\n"
            f"spec: {{model: gpt-4.1, max_requests_per_1_minute: {self.limit}}}\n"
        )


@dataclass
class OperatedFleet:
    """A namespace with Organizations and Stacks, and the operators that watch it."""

    cluster: Cluster
    namespace: str
    platform: Organizations
    backend: str
    folder: Path
    stacks: list[OperatedStack] = field(default_factory=list)
    operators: list[subprocess.Popen[bytes]] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)
    interval: str = "30s"
    """Time between two looks of an operator at a Stack."""
    patience: float = PATIENCE
    """How many seconds to wait for what the operators do."""
    lease_seconds: str = LEASE_SECONDS

    def prepare(self) -> None:
        """Create the definitions, the account of the operator, and the Organizations."""
        self.cluster.kubectl("apply", "--server-side", "-f", "-", input=as_yaml())
        self.token = self.cluster.create_account(self.namespace, ACCOUNT, RULES)
        for home in self.platform:
            name = f"org-{home.number}"
            keys = {"admin": home.admin_key, "default": home.api_key}
            self._apply("v1", "Secret", name, stringData=keys)
            references = {
                each: {"secretRef": {"name": name, "key": key}}
                for each, key in (("adminKey", "admin"), ("defaultKey", "default"))
            }
            spec = {"baseUrl": self.platform.base_url, **references}
            self._apply(f"{OURS}/v1alpha1", "Organization", name, spec=spec)

    def declare(self, stacks: Iterable[OperatedStack]) -> None:
        """Create or change Stacks and the ConfigMaps with their manifests."""
        self.stacks = list(stacks)
        for first in range(0, len(self.stacks), _AT_ONCE):
            some = self.stacks[first : first + _AT_ONCE]
            self.cluster.apply(*(each for stack in some for each in self._objects(stack)))

    def _objects(self, stack: OperatedStack) -> Iterator[dict[str, Any]]:
        head = f"kind: Stack\nmetadata: {{name: {self.namespace}-{stack.name}}}\nspec: {{}}\n"
        files = {"reconciler.yaml": head, "main.yaml": stack.manifest()}
        labels = {"labels": {"reconciler.dev/source": "true"}}
        yield self._object("v1", "ConfigMap", stack.name, data=files, metadata=labels)
        spec = {
            "organizationRef": {"name": f"org-{stack.organization.number}"},
            "source": {"configMap": {"name": stack.name}},
            "interval": self.interval,
            "mode": stack.mode,
        }
        yield self._object(f"{OURS}/v1alpha1", "Stack", stack.name, spec=spec)

    def _apply(self, version: str, kind: str, name: str, **parts: Any) -> None:
        self.cluster.apply(self._object(version, kind, name, **parts))

    def _object(self, version: str, kind: str, name: str, **parts: Any) -> dict[str, Any]:
        metadata = {"name": name, "namespace": self.namespace, **parts.pop("metadata", {})}
        return {"apiVersion": version, "kind": kind, "metadata": metadata, **parts}

    # --- operators

    def start(self, *options: str, clock_ahead: float = 0.0) -> int:
        """Start an operator, whose clock may be wrong; gives its number."""
        number, port = len(self.operators), free_port()
        log = self.folder / f"operator-{number}.log"
        command = [
            *(sys.executable, str(_LATE), str(clock_ahead), "operator"),
            *("--namespace", self.namespace, "--liveness-port", str(port)),
            *options,
        ]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.cluster.kubeconfig(self.token)),
            "RECONCILER_BACKEND": self.backend,
            "RECONCILER_SETTLE_SECONDS": "0.1",
            "RECONCILER_LEASE_SECONDS": self.lease_seconds,
        }
        with log.open("wb") as file:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )
        self.operators.append(process)
        self.ports.append(port)
        self.logs.append(log)
        self.until(lambda: self._is_ready(number))
        return number

    def _is_ready(self, number: int) -> bool:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.ports[number]}/readyz")
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    def kill(self, number: int) -> None:
        """Kill an operator with SIGKILL."""
        self.operators[number].kill()
        self.operators[number].wait()

    def close(self) -> None:
        for process in self.operators:
            if process.poll() is None:
                process.kill()
                process.wait()

    # --- what came of it

    def reasons(self) -> dict[str, str]:
        """The reason of the condition `Ready` of each Stack."""
        path = f"/apis/{OURS}/v1alpha1/namespaces/{self.namespace}/stacks"
        return {item["metadata"]["name"]: _reason(item) for item in self.cluster.get(path)["items"]}

    def are_settled(self) -> bool:
        """Whether all Stacks in mode `apply` say that they are, and are."""
        reasons = self.reasons()
        return self.wrong() == [] and all(
            reasons[stack.name] in SETTLED for stack in self.stacks if stack.mode == "apply"
        )

    def wrong(self) -> list[str]:
        """What differs between the organizations and the Stacks in mode `apply`, in words."""
        problems: list[str] = []
        for home in self.platform:
            mine = [one for one in self.stacks if one.organization is home and one.mode == "apply"]
            expected = Counter(name for stack in mine for name in stack.objects())
            live = live_objects(home)
            problems += [f"missing: {name} × {n}" for name, n in (expected - live).items()]
            problems += [f"too much: {name} × {n}" for name, n in (live - expected).items()]
            limits = {
                item.body["name"]: item.hidden["limits"].get("gpt-4.1", {})
                for item in home.objects("project")
            }
            problems += [
                f"{stack.name} has another limit"
                for stack in mine
                if limits.get(stack.name, {}).get("max_requests_per_1_minute") != stack.limit
            ]
        return problems

    def unapproved(self) -> list[str]:
        """Writes that name a Stack which nobody approved."""
        names = {stack.name.encode() for stack in self.stacks if stack.mode != "apply"}
        return [
            f"{request.method} {request.path}"
            for home in self.platform
            for request in home.requests
            if request.method != "GET" and any(name in request.request_content for name in names)
        ]

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that the operators do by themselves."""
        # One reading of a large fleet costs the API server more, so it is read less often.
        pause = 0.1 + len(self.stacks) / 200
        wait_for(condition, seconds=self.patience, explain=self.explain, pause=pause)

    def explain(self) -> str:
        """What is not as declared, and the end of the logs."""
        logs = "\n".join(log.read_text()[-2000:] for log in self.logs)
        return f"{(*self.wrong(), self.reasons())}\n{logs}"


def _reason(item: dict[str, Any]) -> str:
    conditions = item.get("status", {}).get("conditions", [])
    return str(next((each["reason"] for each in conditions if each["type"] == "Ready"), ""))


__all__ = ["LEASE_SECONDS", "OperatedFleet", "OperatedStack"]
