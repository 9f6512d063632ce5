"""A fake of the Secrets API of Kubernetes, with the rules of server-side apply.

https://kubernetes.io/docs/reference/using-api/server-side-apply/: each manager owns the fields that it applied last. A
value that another manager owns cannot be changed without force; an equal one is shared. A field that a manager applied
before and leaves out now is removed, unless others own it too. An update takes the fields that it changes.
"""

from __future__ import annotations

import base64
import binascii
import copy
import json
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.servers.fake_http import FakeAnswer, FakeRequest, FakeServer

TOKEN = "token-of-the-admin-of-these-tests"
READ_ONLY_TOKEN = "token-of-a-reader-of-these-tests"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
NAMESPACES = ("search", "other")

Path = tuple[str, ...]


@dataclass
class StoredSecret:
    """A Secret as a tree of fields by their paths, and the managers of each field by (name, operation)."""

    uid: str
    version: str
    fields: dict[Path, str] = field(default_factory=dict)
    managers: dict[tuple[str, str], set[Path]] = field(default_factory=dict)
    immutable: bool = False
    deletion_began_at: str | None = None
    """While finalizers hold a deleted Secret, it is there and accepts fields."""

    @property
    def data(self) -> dict[str, str]:
        """The values by their keys, decoded."""
        return {
            path[1]: base64.b64decode(value).decode()
            for path, value in self.fields.items()
            if path[0] == "data"
        }


class FakeKubernetes(FakeServer):
    """Knows the namespaces `search` and `other`."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets: dict[tuple[str, str], StoredSecret] = {}
        self._versions = count(1)

    def update(self, namespace: str, name: str, key: str, value: str, *, manager: str) -> None:
        """What somebody else does with `kubectl edit`."""
        secret = self.secrets.setdefault((namespace, name), self._new())
        path = ("data", key)
        for paths in secret.managers.values():
            paths.discard(path)
        secret.managers.setdefault((manager, "Update"), set()).add(path)
        secret.fields[path] = base64.b64encode(value.encode()).decode()
        self._touch(secret)

    def answer(self, request: FakeRequest) -> FakeAnswer:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in (TOKEN, READ_ONLY_TOKEN):
            return _status(401, "Unauthorized", "Unauthorized")
        match request.parts:
            case ("api", "v1", "namespaces", namespace, "secrets", name):
                if request.method != "GET" and token == READ_ONLY_TOKEN:
                    message = f'secrets "{name}" is forbidden: User "reader" cannot {request.method.lower()}'
                    return _status(403, "Forbidden", message)
                return self._secret(request, namespace, name)
        return _status(404, "NotFound", "the server could not find the requested resource")

    def _secret(self, request: FakeRequest, namespace: str, name: str) -> FakeAnswer:
        secret = self.secrets.get((namespace, name))
        if request.method == "PATCH":
            return self._apply(request, namespace, name)
        if secret is None:
            return _status(404, "NotFound", f'secrets "{name}" not found')
        if request.method == "DELETE":
            wanted = (request.body or {}).get("preconditions") or {}
            if wanted.get("uid", secret.uid) != secret.uid:
                return _status(409, "Conflict", "Precondition failed: UID in precondition")
            if wanted.get("resourceVersion", secret.version) != secret.version:
                return _status(409, "Conflict", "Precondition failed: ResourceVersion")
            del self.secrets[namespace, name]
            return _status(200, "", "")
        return FakeAnswer(200, _shown(request, namespace, name, secret))

    def _apply(self, request: FakeRequest, namespace: str, name: str) -> FakeAnswer:
        if problem := _problem(request, namespace, name):
            return problem
        manager = (request.query["fieldManager"], "Apply")
        stored = self.secrets.get((namespace, name))
        if stored is None and namespace not in NAMESPACES:
            return _status(404, "NotFound", f'namespaces "{namespace}" not found')
        secret = copy.deepcopy(stored) if stored is not None else self._new()
        applied = _fields_of(request.body)
        conflicts = [
            (other, path)
            for path, value in applied.items()
            for other, paths in secret.managers.items()
            if other != manager and path in paths and secret.fields.get(path) != value
        ]
        if conflicts and request.query.get("force") != "true":
            return _conflict(conflicts)
        for path in secret.managers.get(manager, set()) - applied.keys():
            if not any(
                path in paths for other, paths in secret.managers.items() if other != manager
            ):
                secret.fields.pop(path, None)
        for (other, _), path in conflicts:
            secret.managers[other, _].discard(path)
        if secret.immutable and any(secret.fields.get(path) != applied[path] for path in applied):
            return _status(422, "Invalid", "field is immutable when `immutable` is set")
        secret.fields |= applied
        secret.managers[manager] = set(applied)
        secret.managers = {name: paths for name, paths in secret.managers.items() if paths}
        if request.query.get("dryRun") != "All":
            if (
                stored is None
                or stored.fields != secret.fields
                or stored.managers != secret.managers
            ):
                self._touch(secret)
            self.secrets[namespace, name] = secret
        status = 201 if stored is None else 200
        return FakeAnswer(status, _shown(request, namespace, name, secret))

    def _new(self) -> StoredSecret:
        number = next(self._versions)
        return StoredSecret(f"uid-{number}", str(number))

    def _touch(self, secret: StoredSecret) -> None:
        secret.version = str(next(self._versions))


def _problem(request: FakeRequest, namespace: str, name: str) -> FakeAnswer | None:
    if request.headers.get("content-type") != "application/apply-patch+yaml":
        return _status(
            415, "UnsupportedMediaType", "the body of the request was in an unknown format"
        )
    if not request.query.get("fieldManager"):
        return _status(400, "BadRequest", "fieldManager is required for apply patch")
    if len(request.query["fieldManager"].encode()) > 128:
        return _status(422, "Invalid", "fieldManager: may not be more than 128 bytes")
    body = request.body
    if (body.get("apiVersion"), body.get("kind")) != ("v1", "Secret"):
        return _status(400, "BadRequest", "apiVersion and kind must be set")
    metadata = body.get("metadata") or {}
    if metadata.get("name") != name or metadata.get("namespace", namespace) != namespace:
        return _status(
            400, "BadRequest", "the name of the object does not match the name on the URL"
        )
    if "managedFields" in metadata:
        return _status(400, "BadRequest", "metadata.managedFields must be nil")
    for value in (body.get("data") or {}).values():
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, TypeError):
            return _status(400, "BadRequest", "illegal base64 data")
    return None


def _fields_of(body: dict[str, Any]) -> dict[Path, str]:
    fields: dict[Path, str] = {
        ("data", key): value for key, value in (body.get("data") or {}).items()
    }
    for part in ("annotations", "labels"):
        named = (body.get("metadata") or {}).get(part) or {}
        fields |= {("metadata", part, key): value for key, value in named.items()}
    return fields


def _shown(request: FakeRequest, namespace: str, name: str, secret: StoredSecret) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "uid": secret.uid,
        "resourceVersion": secret.version,
        "managedFields": [
            {
                "manager": manager,
                "operation": operation,
                "apiVersion": "v1",
                "fieldsType": "FieldsV1",
                "fieldsV1": _tree(paths),
            }
            for (manager, operation), paths in secret.managers.items()
        ],
    }
    if secret.deletion_began_at is not None:
        metadata["deletionTimestamp"] = secret.deletion_began_at
    if request.headers.get("accept") == METADATA:
        return {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
        }
    data = {path[1]: value for path, value in secret.fields.items() if path[0] == "data"}
    return {"kind": "Secret", "apiVersion": "v1", "metadata": metadata, "data": data}


def _tree(paths: set[Path]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path in sorted(paths):
        node = tree
        for part in path:
            node = node.setdefault(f"f:{part}", {})
        if path[0] == "data":
            tree["f:data"].setdefault(".", {})
    return tree


def _conflict(conflicts: list[tuple[tuple[str, str], Path]]) -> FakeAnswer:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {json.dumps(manager)}"
            + ("" if operation == "Apply" else " using v1"),
            "field": "." + ".".join(path),
        }
        for (manager, operation), path in conflicts
    ]
    told = f"Apply failed with {len(causes)} conflict: {causes[0]['message']}: {causes[0]['field']}"
    answer = _status(409, "Conflict", told)
    return FakeAnswer(409, {**answer.body, "details": {"causes": causes}})


def _status(code: int, reason: str, message: str) -> FakeAnswer:
    status = "Success" if code < 400 else "Failure"
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": status}
    return FakeAnswer(code, {**body, "message": message, "reason": reason, "code": code})
