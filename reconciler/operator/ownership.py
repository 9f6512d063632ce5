"""Whose the Secrets with delivered keys are.

Every Secret that a Stack fills has a label with the uid of the Stack. An owner reference, which has
Kubernetes delete the Secret with the Stack, is there only with the deletion policy Delete: with
Retain, keys stay in use after the Stack is gone, whoever removes it and however.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reconciler.operator.crds import API_VERSION, STACK_LABEL
from reconciler.operator.kube import KubeClient, KubeError
from reconciler.operator.resources import DeletionPolicy, ObjectKey, StackObject
from reconciler.secrets.drivers.kubernetes import OWNER_VARIABLE

FORBIDDEN = 403


def ownership_environment(stack: StackObject) -> dict[str, str]:
    """The variable that has the sink mark the Secrets of a Stack."""
    ownership: dict[str, Any] = {"labels": {STACK_LABEL: stack.uid}}
    if stack.deletion_policy is DeletionPolicy.DELETE:
        ownership["ownerReferences"] = [_reference(stack)]
    return {OWNER_VARIABLE: json.dumps(ownership)}


def set_owned(kube: KubeClient, stack: StackObject, *, owned: bool) -> None:
    """Add or remove the owner references of the Secrets of a Stack. Raises KubeError."""
    namespace = stack.key.namespace
    for secret in _secrets(kube, stack):
        metadata = secret.get("metadata") or {}
        present = list(metadata.get("ownerReferences") or ())
        wanted = [entry for entry in present if entry.get("uid") != stack.uid]
        if owned:
            wanted.append(_reference(stack))
        if wanted == present:
            continue
        patch = {
            "metadata": {
                "uid": metadata.get("uid"),
                "resourceVersion": metadata.get("resourceVersion"),
                "ownerReferences": wanted,
            }
        }
        kube.patch_secret(ObjectKey(namespace, str(metadata.get("name"))), patch)


def _secrets(kube: KubeClient, stack: StackObject) -> list[Mapping[str, Any]]:
    try:
        return list(kube.secrets_of(stack.key.namespace, f"{STACK_LABEL}={stack.uid}"))
    except KubeError as error:
        if error.status != FORBIDDEN:
            raise
        # Roles that let keys be delivered include the right to list Secrets, so there are none.
        return []


def _reference(stack: StackObject) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "Stack",
        "name": stack.key.name,
        "uid": stack.uid,
    }
