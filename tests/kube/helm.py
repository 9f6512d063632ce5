"""The Helm chart, rendered and installed with the real command line of Helm."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.servers.kube import LONGEST_COMMAND_SECONDS, Ended
from tests.servers.kube_programs import helm_program

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "reconciler"
PLAIN = DEPLOY / "kubernetes"
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
"""Combinations of values that users have."""
RELEASE = "reconciler"


def helm(*arguments: str | Path, kubeconfig: Path | None = None, expect: int | None = 0) -> Ended:
    """Run helm; with `expect`, insist on the exit code. No configuration of whoever runs the tests is read."""
    with tempfile.TemporaryDirectory() as home:
        ended = subprocess.run(
            [str(helm_program()), *map(str, arguments)],
            env={
                "PATH": os.environ["PATH"],
                "HOME": home,
                "KUBECONFIG": str(kubeconfig or Path(home) / "none"),
            },
            capture_output=True,
            text=True,
            timeout=LONGEST_COMMAND_SECONDS,
            check=False,
        )
    if expect is not None:
        assert ended.returncode == expect, f"{arguments}: {ended.stdout}{ended.stderr}"
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def rendered(namespace: str, *arguments: str | Path) -> str:
    """What the chart makes of some values, as text."""
    return helm("template", RELEASE, CHART, "--namespace", namespace, *arguments).out


def objects(namespace: str, *arguments: str | Path) -> list[dict[str, Any]]:
    """What the chart makes of some values."""
    documents = yaml.safe_load_all(rendered(namespace, *arguments))
    return [document for document in documents if document]


def of_kind(manifests: Sequence[Mapping[str, Any]], *kinds: str) -> list[Mapping[str, Any]]:
    """The objects of some kinds."""
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def pods(manifests: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The Pods that controllers would make of these objects."""
    for manifest in of_kind(manifests, "Deployment", "CronJob", "Pod"):
        template = manifest
        if manifest["kind"] == "CronJob":
            template = manifest["spec"]["jobTemplate"]["spec"]["template"]
        elif manifest["kind"] == "Deployment":
            template = manifest["spec"]["template"]
        metadata = {"name": f"pod-of-{manifest['metadata']['name']}"}
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
