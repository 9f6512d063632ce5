"""Whose the Secrets with delivered keys are.

Every Secret that a Stack fills has a label with the uid of the Stack. An owner reference, which has
Kubernetes delete the Secret with the Stack, is there only with the deletion policy Delete: with
Retain, keys stay in use after the Stack is gone, whoever removes it and however.

Where the keys are is known from the state: a list of Secrets would need the right to read them all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from reconciler.operator.crds import API_VERSION, STACK_LABEL
from reconciler.operator.kube import KubeClient
from reconciler.operator.resources import DeletionPolicy, ObjectKey, StackObject
from reconciler.secrets.drivers.kubernetes import OWNER_VARIABLE


def ownership_environment(stack: StackObject) -> dict[str, str]:
    """The variable that has the sink mark the Secrets of a Stack."""
    ownership: dict[str, Any] = {"labels": {STACK_LABEL: stack.uid}}
    if stack.deletion_policy is DeletionPolicy.DELETE:
        ownership["ownerReferences"] = [_reference(stack)]
    return {OWNER_VARIABLE: json.dumps(ownership)}


def set_owned(kube: KubeClient, stack: StackObject, places: Iterable[str], *, owned: bool) -> None:
    """Add or remove the owner references of the Secrets of a Stack. Raises KubeError.

    `places` are those of delivered keys, as sinks name them. Secrets without the label of the Stack
    are left alone.
    """
    for name in sorted(_secrets_in(places, stack.key.namespace)):
        key = ObjectKey(stack.key.namespace, name)
        metadata = kube.secret_metadata(key)
        if metadata is None or (metadata.get("labels") or {}).get(STACK_LABEL) != stack.uid:
            continue
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
        kube.patch_secret(key, patch)


def _secrets_in(places: Iterable[str], namespace: str) -> set[str]:
    """The names of the Secrets of a namespace. An owner cannot be of another one."""
    prefix = f"kubernetes:{namespace}/"
    inside = (place.removeprefix(prefix) for place in places if place.startswith(prefix))
    return {place.split("/")[0] for place in inside}


def _reference(stack: StackObject) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "Stack",
        "name": stack.key.name,
        "uid": stack.uid,
    }
