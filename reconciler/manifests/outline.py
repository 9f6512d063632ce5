"""Reads the name and the environments of a stack, without its manifests, credentials or state.

A fleet lists thousands of stacks, so this reads one file per stack and evaluates no expression.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from reconciler.manifests.configuration import DEFAULT_ENVIRONMENT, STATE_FOLDER
from reconciler.manifests.problems import Problems
from reconciler.manifests.shared_state import REMOTE, is_remote
from reconciler.manifests.source_map import Document
from reconciler.manifests.stack import Layers, stack_document, stack_name
from reconciler.model.secret import Secret

_FROM_ENVIRONMENT = "${env."


class EnvironmentOutline(Struct, frozen=True):
    """The settings of one environment in a stack file, with their expressions."""

    name: str
    is_declared: bool
    """False for the environment of a stack that declares none."""
    organization: str = ""
    backend: str = ""
    """`remote`, or `local:PATH` as the file spells the path."""
    state_folder: str = ""
    """The folder of a local state, absolute and without links unless an environment variable names it;
    else empty."""


class StackOutline(Struct, frozen=True):
    """The name of a stack, and its environments in the order of the file."""

    name: str
    environments: tuple[EnvironmentOutline, ...]


def read_outline(root: Path, secrets: Iterable[Secret] = ()) -> StackOutline:
    """The outline of the stack file in a folder. Raises ConfigurationError with all problems.

    `secrets` are masked in the messages.
    """
    root, problems, known = Path(os.path.realpath(root)), Problems(), tuple(secrets)
    document, _ = stack_document(root, known, problems)
    problems.raise_errors(known)
    names = list(Layers(document, "").spec.get("environments") or {})
    environments = [_environment(document, name, root, is_declared=True) for name in names]
    if not names:
        environments.append(_environment(document, DEFAULT_ENVIRONMENT, root, is_declared=False))
    return StackOutline(stack_name(document, root), tuple(environments))


def _environment(
    document: Document | None, name: str, root: Path, *, is_declared: bool
) -> EnvironmentOutline:
    layers = Layers(document, name)
    organization = layers.get("organization")
    backend, folder = _backend(layers.get("backend") or {}, root)
    return EnvironmentOutline(
        name, is_declared, str(organization or ""), backend=backend, state_folder=folder
    )


def _backend(backend: Mapping[str, Any] | str, root: Path) -> tuple[str, str]:
    if is_remote(backend) or isinstance(backend, str):
        return REMOTE, ""
    path = str((backend.get("local") or {}).get("path", STATE_FOLDER))
    # The value of the variable can differ from run to run, so the expression stands for the folder.
    if path.lstrip().startswith(_FROM_ENVIRONMENT):
        return f"local:{path}", path
    return f"local:{path}", os.path.realpath(root / path)
