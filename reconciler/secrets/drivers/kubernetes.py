"""Delivers keys to Secrets of Kubernetes, by server-side apply.

Each key has a field manager of its own, named after its owner. So the API server knows the owner of
each part of a Secret, and refuses a write to the part of another owner. Such a write is never
forced. Our own parts are found in the metadata, without the values.

The operator runs the stacks of many people with one credential. So it sets OWNER_VARIABLE: Secrets
then get its labels and owner, and a Secret that is not of the same stack is left alone as a whole.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from reconciler.errors import SinkError
from reconciler.model.secret import Secret
from reconciler.model.sinks import Receipt, SinkContext
from reconciler.model.types import Object, Property, Text, Type
from reconciler.secrets.drivers.fields import secret_in
from reconciler.secrets.drivers.kubeconfig import Cluster, cluster_of
from reconciler.secrets.drivers.paths import quoted
from reconciler.secrets.http import SinkHttp, SinkResponse, fields_of, message_in
from reconciler.secrets.once import Once

if TYPE_CHECKING:
    import httpx

OWNER_VARIABLE = "RECONCILER_KUBERNETES_OWNER"
"""The variable with `labels` and `ownerReferences` for Secrets, as JSON. Set by the operator."""

OPERATOR_MANAGER = "reconciler-operator"
"""The field manager of the operator, which changes owners of Secrets and no keys."""

_MANAGER = "reconciler/"
_LONGEST_MANAGER_BYTES = 128
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_KEY = re.compile(r"(?!\.\.?$)[A-Za-z0-9._-]{1,253}")
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_PLACEHOLDER = "reconciler checks whether it may write here"


class KubernetesSink:
    """Secrets of Kubernetes."""

    name: ClassVar[str] = "kubernetes"
    description: ClassVar[str] = "A Secret of the Kubernetes cluster in KUBECONFIG, or of this pod."
    type: ClassVar[Type] = Object(
        (
            Property("namespace", Text(min_length=1), "The namespace.", required=True),
            Property("secret", Text(min_length=1), "The name of the Secret.", required=True),
            Property("key", Text(min_length=1), "The key within the Secret.", required=True),
        )
    )
    keeps_versions: ClassVar[bool] = False
    reads_back: ClassVar[bool] = True

    def __init__(self, context: SinkContext) -> None:
        self._context = context
        self._connection = Once[SinkHttp]()

    @staticmethod
    def place(target: Any) -> str:
        """`kubernetes:NAMESPACE/SECRET/KEY`."""
        for name, pattern in (("namespace", _NAMESPACE), ("secret", _NAME), ("key", _KEY)):
            if not pattern.fullmatch(target[name]):
                raise ValueError(f"{quoted(target[name])} is no {name} that Kubernetes accepts")
        return f"kubernetes:{target['namespace']}/{target['secret']}/{target['key']}"

    def check(self, target: Any, *, owner: str) -> None:
        """Raise SinkError where the API server would refuse: it is asked to pretend (`dryRun`).

        The value of the trial is not a key, so it conflicts with a value of another manager.
        """
        manager = self._manager(target, owner)
        self._require_own(target, manager, owner)
        answer = self._apply(target, _PLACEHOLDER, manager, dry_run=True)
        if answer.status not in (200, 201):
            raise self._refused(answer, target, "write")
        if (answer.body.get("metadata") or {}).get("deletionTimestamp"):
            # The API server still accepts fields of it, and they would be deleted with it.
            namespace, secret = target["namespace"], target["secret"]
            raise SinkError(
                f"the Secret {namespace}/{secret} is being deleted",
                hint="wait until its finalizers are done, or choose another Secret",
            )

    def put(self, target: Any, secret: Secret, *, owner: str, token: str) -> Receipt:  # noqa: ARG002 - apply may be repeated
        """Apply the key, and return the field manager."""
        manager = self._manager(target, owner)
        self._require_own(target, manager, owner)
        answer = self._apply(target, secret.reveal(), manager)
        if answer.status not in (200, 201):
            raise self._refused(answer, target, "write")
        return {"manager": manager}

    def read(self, target: Any, *, owner: str) -> Secret | None:
        """The value, if it is our field."""
        manager = self._manager(target, owner)
        metadata = self._metadata(target)
        if metadata is None or manager not in _managers_of(metadata, target["key"]):
            return None
        return self.fetch(target)

    def fetch(self, target: Any) -> Secret | None:
        """The value, of any owner; None if there is none."""
        answer = self._http.get(self._path(target))
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._refused(answer, target, "read")
        encoded = (answer.body.get("data") or {}).get(target["key"])
        try:
            value = base64.b64decode(str(encoded or ""), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        return secret_in(value)

    def withdraw(self, target: Any, receipt: Receipt, *, owner: str) -> None:
        """Remove our field, and the Secret if nobody else has a part in it.

        A field that another manager has changed belongs to that manager, and stays.
        """
        manager = str(receipt.get("manager") or self._manager(target, owner))
        metadata = self._metadata(target)
        if metadata is None or not any(manager == name for name, _ in _managed(metadata)):
            return
        others = {name for name, _ in _managed(metadata)} - {manager, OPERATOR_MANAGER}
        # An empty Secret would be left over. The preconditions refuse the delete if somebody writes
        # to the Secret meanwhile.
        if not others:
            preconditions = {
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            }
            body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}
            answer = self._http.send("DELETE", self._path(target), json_body=body)
        else:
            answer = self._apply(target, None, manager)
        if answer.status not in (200, 202, 404):
            raise self._refused(answer, target, "remove the key from")

    # --- reading

    def _metadata(self, target: Any) -> Mapping[str, Any] | None:
        answer = self._http.get(self._path(target), headers={"Accept": _METADATA})
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._refused(answer, target, "look up")
        return dict(answer.body.get("metadata") or {})

    @property
    def _ownership(self) -> Mapping[str, Any]:
        return dict(json.loads(self._context.env.get(OWNER_VARIABLE) or "{}"))

    def _require_own(self, target: Any, manager: str, owner: str) -> None:
        """Raise SinkError for a Secret of another owner, if we write for many stacks."""
        ownership = self._ownership
        if not ownership:
            return
        metadata = self._metadata(target)
        if metadata is None:
            return
        present = metadata.get("labels") or {}
        labels = ownership["labels"]
        if all(present.get(name) == value for name, value in labels.items()):
            return
        # Keys that were delivered before the stack came to the cluster have no label yet.
        of_stack = "/".join([_MANAGER.rstrip("/"), *owner.split("/")[:2], ""])
        if any(name == manager or name.startswith(of_stack) for name, _ in _managed(metadata)):
            return
        shown = " ".join(f"{name}={value}" for name, value in labels.items())
        place = f"{target['namespace']}/{target['secret']}"
        raise SinkError(
            f"the Secret {place} is not of this Stack, so no key is written into it",
            hint=f"choose another Secret, or give it to the Stack: kubectl label secret "
            f"{target['secret']} -n {target['namespace']} {shown}",
        )

    def _manager(self, target: Any, owner: str) -> str:
        """The name of the field manager. That of the receipt outlives a renaming of the owner."""
        receipt = self._context.receipt(self.place(target), owner)
        if receipt is not None and isinstance(receipt.get("manager"), str):
            return str(receipt["manager"])
        # Each key has its own manager, because fields that a manager does not apply again are
        # removed.
        whole = f"{_MANAGER}{owner}#{target['key']}"
        if len(whole.encode()) <= _LONGEST_MANAGER_BYTES and whole.isprintable():
            return whole
        return _MANAGER + hashlib.sha256(whole.encode()).hexdigest()

    def _owned_by(self, target: Any, other: str) -> SinkError:
        holder = other.removeprefix(_MANAGER).rpartition("#")[0] or "another resource"
        if other.startswith(_MANAGER):
            return SinkError(
                f"{self._shown(target)} holds the key of {holder}, which would be lost",
                hint=f"choose another Secret or key, or remove it if {holder} no longer exists",
            )
        return SinkError(
            f'{self._shown(target)} was written by "{other}", so it is not overwritten',
            hint="choose another Secret or key, or remove it",
        )

    # --- requests

    def _apply(
        self, target: Any, value: str | None, manager: str, *, dry_run: bool = False
    ) -> SinkResponse:
        metadata: dict[str, Any] = {"name": target["secret"], "namespace": target["namespace"]}
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
        # Fields that a manager applied before and now leaves out are removed.
        if value is not None:
            metadata.update(self._ownership)
            encoded = base64.b64encode(value.encode()).decode()
            body["data"] = {target["key"]: encoded}
        params = {"fieldManager": manager}
        if dry_run:
            params["dryRun"] = "All"
        return self._http.send(
            "PATCH",
            self._path(target),
            json_body=body,
            params=params,
            # Only metadata comes back, so that the answer shows no keys of others.
            headers={"Content-Type": "application/apply-patch+yaml", "Accept": _METADATA},
            is_write=not dry_run,
        )

    def _path(self, target: Any) -> str:
        return f"api/v1/namespaces/{target['namespace']}/secrets/{target['secret']}"

    def _shown(self, target: Any) -> str:
        return f'"{target["key"]}" of the Secret {target["namespace"]}/{target["secret"]}'

    def _refused(self, answer: SinkResponse, target: Any, action: str) -> SinkError:
        if answer.status == 409:
            for manager in _conflicting(answer.body):
                return self._owned_by(target, manager)
        explanation = self._http.explanation(answer)
        message = (
            f"{self._http.server} refuses to {action} {self._shown(target)} "
            f"(status {answer.status}{explanation})"
        )
        if answer.status == 401:
            return SinkError(message, hint="renew the token or certificate of the kubeconfig")
        if answer.status == 403:
            return SinkError(
                message,
                hint=f"allow get, create, patch and delete on secrets in {target['namespace']}",
            )
        return SinkError(message, hint="correct the target in write_to, or run the command again")

    @property
    def _http(self) -> SinkHttp:
        return self._connection.get(self._connect)

    def _connect(self) -> SinkHttp:
        context = self._context
        cluster = cluster_of(context.env)
        client = context.connect(
            cluster.server,
            variable=f"the server in {cluster.source}",
            ca=cluster.ca,
            client_certificate=cluster.client_certificate,
        )
        client.auth = self._authorized(cluster)
        return SinkHttp(client, context, f"Kubernetes at {cluster.server}", message_of=message_in)

    def _authorized(self, cluster: Cluster) -> Callable[[httpx.Request], httpx.Request]:
        """Adds the token to each request."""
        redactor = self._context.redactor

        # A token in a file is read each time: that of a pod lasts an hour, and a run may last longer.
        def authorized(request: httpx.Request) -> httpx.Request:
            token = cluster.current_token()
            if token:
                redactor.add(Secret(token))
                request.headers["Authorization"] = f"Bearer {token}"
            return request

        return authorized


def _managed(metadata: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The field managers, each with its fields."""
    for entry in metadata.get("managedFields") or ():
        yield str(entry.get("manager") or ""), entry.get("fieldsV1") or {}


def _managers_of(metadata: Mapping[str, Any], key: str) -> set[str]:
    """The field managers of one key of a Secret."""
    return {
        manager
        for manager, fields in _managed(metadata)
        if f"f:{key}" in (fields.get("f:data") or {})
    }


_CONFLICT = re.compile(r'conflict with "((?:[^"\\]|\\.)*)"')


def _conflicting(body: Any) -> Iterator[str]:
    """The field managers that a conflict names."""
    # The name of the manager is only in the message.
    causes = fields_of(fields_of(body).get("details")).get("causes")
    if not isinstance(causes, list):
        return
    for cause in map(fields_of, causes):
        match = _CONFLICT.search(message_in(cause))
        if cause.get("reason") == "FieldManagerConflict" and match:
            yield match[1]
