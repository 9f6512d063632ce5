"""Places for tests to deliver keys to, one bed for each sink.

A bed is a server, or a folder, and what an application that reads its key there would see. To add one, write a module
with a class like `Bed` and list it in `BEDS`. Every test that is parametrized with `every_bed` then runs on it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

BEDS = {
    "file": "tests.secrets.beds.local:FileBed",
    "command": "tests.secrets.beds.local:CommandBed",
    "vault": "tests.secrets.beds.vault:VaultBed",
    "kubernetes": "tests.secrets.beds.kubernetes:KubernetesBed",
    "kubernetes_api_server": "tests.secrets.beds.api_server:ApiServerBed",
    "gitlab_variable": "tests.secrets.beds.gitlab:GitlabBed",
    "github_actions": "tests.secrets.beds.github:GithubBed",
    "aws_secrets_manager": "tests.secrets.beds.clouds:SecretsManagerBed",
    "aws_ssm": "tests.secrets.beds.clouds:ParameterStoreBed",
    "gcp_secret_manager": "tests.secrets.beds.clouds:GcpBed",
    "azure_key_vault": "tests.secrets.beds.clouds:AzureBed",
}
"""The class of each bed, as MODULE:CLASS."""

SERVERS = {"vault", "aws_secrets_manager", "aws_ssm", "gcp_secret_manager", "azure_key_vault"}
"""Beds whose server takes seconds to start, or whose requests are many; their tests are slow."""

KUBE = {"kubernetes_api_server"}
"""Beds on the API server that `make kube` builds."""

OTHER_CLIENTS = {"aws_secrets_manager", "aws_ssm"}
"""Beds whose sinks send their requests with a library of their own."""


class Bed(Protocol):
    """Where one sink delivers keys in a test. `folder` is the stack's folder."""

    removes: bool
    """Whether a withdrawal can remove a key."""
    holds_owner: bool
    """Whether the place itself names its owner."""

    def __init__(self) -> None:
        """Start what is needed, and empty it."""

    @property
    def env(self) -> Mapping[str, str]:
        """The environment of a process that delivers keys here."""

    def target(self, name: str) -> dict[str, Any]:
        """The target with a name, as `write_to` has it."""

    def keys(self, folder: Path) -> Mapping[str, str]:
        """The key that an application would read now, by the name of its target."""

    def plant(self, name: str, folder: Path) -> None:
        """Put something of somebody else at a target."""

    def planted(self, name: str, folder: Path) -> bool:
        """Whether that is still there, unchanged."""

    def save(self) -> Any:
        """What is stored outside of the folder."""

    def restore(self, saved: Any) -> None:
        """Bring that back, and nothing else; with None, nothing at all."""

    def close(self) -> None:
        """End what was started for this bed alone."""


@contextmanager
def bed_named(name: str) -> Iterator[Bed]:
    """A new bed, empty."""
    module, _, cls = BEDS[name].partition(":")
    bed: Bed = getattr(importlib.import_module(module), cls)()
    try:
        yield bed
    finally:
        bed.close()


def _marks(name: str) -> list[pytest.MarkDecorator]:
    if name in KUBE:
        return [pytest.mark.kube]
    return [pytest.mark.slow] if name in SERVERS else []


every_bed = pytest.mark.parametrize(
    "bed_name", [pytest.param(name, marks=_marks(name)) for name in BEDS]
)
