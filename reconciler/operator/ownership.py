"""Owners of the Secrets with delivered keys.

Every Secret that a Stack fills has a label with the uid of the Stack. With the deletion policy Delete
it also has an owner reference, so that Kubernetes deletes the Secret with the Stack. With Retain, keys
stay in use after the Stack is gone.

The state names the Secrets with keys. Listing Secrets would need the right to read all of them.
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
    """The variable that makes the sink mark the Secrets of a Stack."""
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
        # Only our own entry changes. Others may have added owners of their own.
        present = list(metadata.get("ownerReferences") or ())
        wanted = [entry for entry in present if entry.get("uid") != stack.uid]
        if owned:
            wanted.append(_reference(stack))
        if wanted == present:
            continue
        # The version makes the API server refuse the patch if the list of owners changed meanwhile.
        patch = {
            "metadata": {
                "uid": metadata.get("uid"),
                "resourceVersion": metadata.get("resourceVersion"),
                "ownerReferences": wanted,
            }
        }
        kube.patch_secret(key, patch)


def _secrets_in(places: Iterable[str], namespace: str) -> set[str]:
    """The names of the Secrets of a namespace."""
    # Kubernetes deletes objects whose owner is in another namespace, since it cannot find the owner.
    prefix = f"kubernetes:{namespace}/"
    names = set()
    for place in places:
        if place.startswith(prefix):
            names.add(place.removeprefix(prefix).split("/")[0])
    return names


def _reference(stack: StackObject) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "Stack",
        "name": stack.key.name,
        "uid": stack.uid,
    }
