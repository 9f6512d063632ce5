"""A fake of what the operator uses of the API server of Kubernetes, without watches.

https://kubernetes.io/docs/reference/using-api/api-concepts/: a status is changed by its subresource alone, a spec that
changes has a new generation, every change has a new resource version, and an object with finalizers stays until the
last one is removed.
"""

from __future__ import annotations

import base64
import copy
from itertools import count
from typing import Any

from tests.servers.fake_http import FakeAnswer, FakeRequest, FakeServer

TOKEN = "token-of-the-operator-of-these-tests"
Key = tuple[str, str, str]


class FakeCluster(FakeServer):
    """Objects by their plural, namespace and name."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[Key, dict[str, Any]] = {}
        self._numbers = count(1)

    # --- what people do

    def put(self, plural: str, name: str, namespace: str = "team", **parts: Any) -> dict[str, Any]:
        """Create or replace an object, as `kubectl apply` does."""
        metadata = parts.pop("metadata", {})
        key = (plural, namespace, name)
        old = self.objects.get(key)
        number = next(self._numbers)
        entry = {
            **parts,
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": f"uid-{number}",
                "generation": 1,
                "creationTimestamp": f"2026-01-01T00:00:{number % 60:02d}Z",
                **(old["metadata"] if old else {}),
                **metadata,
            },
        }
        if old is not None:
            entry.setdefault("status", old.get("status", {}))
            if old.get("spec") != entry.get("spec"):
                entry["metadata"]["generation"] += 1
        self.objects[key] = entry
        self._touch(entry)
        return entry

    def put_secret(self, name: str, namespace: str = "team", **data: str) -> None:
        """Create or replace a Secret."""
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
        self.put("secrets", name, namespace, data=encoded)

    def change(self, plural: str, name: str, namespace: str = "team", **spec: Any) -> None:
        """Change fields of a spec."""
        entry = self.objects[(plural, namespace, name)]
        self.put(plural, name, namespace, spec={**entry["spec"], **spec})

    def annotate(self, name: str, annotation: str, value: str, namespace: str = "team") -> None:
        """Set an annotation of a Stack."""
        entry = self.objects[("stacks", namespace, name)]
        entry["metadata"].setdefault("annotations", {})[annotation] = value
        self._touch(entry)

    def delete(self, plural: str, name: str, namespace: str = "team") -> None:
        """Delete an object; it stays while it has finalizers."""
        entry = self.objects[(plural, namespace, name)]
        entry["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"
        self._touch(entry)
        self._collect((plural, namespace, name))

    def stack(self, name: str = "search", namespace: str = "team") -> dict[str, Any]:
        """A Stack as it is now."""
        return self.objects[("stacks", namespace, name)]

    def events(self) -> list[str]:
        """The reasons of all Events, in order."""
        return [entry["reason"] for key, entry in self.objects.items() if key[0] == "events"]

    def writes(self) -> list[FakeRequest]:
        """The requests that changed something."""
        return [request for request in self.requests if request.method != "GET"]

    # --- what the server does

    def answer(self, request: FakeRequest) -> FakeAnswer:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _status(401, "Unauthorized")
        match request.parts:
            case ("apis", "reconciler.dev", "v1alpha1", *rest) | ("api", "v1", *rest):
                return self._resource(request, rest)
        return _status(404, "the server could not find the requested resource")

    def _resource(self, request: FakeRequest, rest: list[str]) -> FakeAnswer:
        match rest:
            case [plural]:
                return self._listed(request, plural, None)
            case ["namespaces", namespace, plural]:
                if request.method == "POST":
                    name = f"{request.body['metadata']['generateName']}{next(self._numbers)}"
                    return FakeAnswer(201, self.put(plural, name, namespace, **request.body))
                return self._listed(request, plural, namespace)
            case ["namespaces", namespace, plural, name, *subresource]:
                return self._one(request, (plural, namespace, name), subresource)
        return _status(404, "not found")

    def _listed(self, request: FakeRequest, plural: str, namespace: str | None) -> FakeAnswer:
        name, _, value = request.query.get("labelSelector", "").partition("=")
        items = []
        for (kind, place, _), entry in self.objects.items():
            labels = entry["metadata"].get("labels", {})
            is_chosen = not name or (name in labels and value in ("", labels[name]))
            if kind == plural and namespace in (None, place) and is_chosen:
                items.append(entry)
        return FakeAnswer(200, {"metadata": {"resourceVersion": "1"}, "items": items})

    def _one(self, request: FakeRequest, key: Key, subresource: list[str]) -> FakeAnswer:
        entry = self.objects.get(key)
        if entry is None:
            return _status(404, f'"{key[2]}" not found')
        if request.method == "GET":
            return FakeAnswer(200, entry)
        changed = copy.deepcopy(entry)
        if request.headers.get("content-type") == "application/json-patch+json":
            if not all(_operate(changed, operation) for operation in request.body):
                return _status(422, "the server rejected our request")
        else:
            uid = request.body.get("metadata", {}).get("uid", entry["metadata"]["uid"])
            if uid != entry["metadata"]["uid"]:
                return _status(409, "Precondition failed: UID in precondition")
            part = {"status": request.body["status"]} if subresource else request.body
            _merge(changed, part)
        if changed.get("spec") != entry.get("spec"):
            changed["metadata"]["generation"] += 1
        self.objects[key] = changed
        self._touch(changed)
        self._collect(key)
        return FakeAnswer(200, changed)

    def _touch(self, entry: dict[str, Any]) -> None:
        entry["metadata"]["resourceVersion"] = str(next(self._numbers))

    def _collect(self, key: Key) -> None:
        metadata = self.objects[key]["metadata"]
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            del self.objects[key]


def _merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict) and isinstance(target.get(name), dict):
            _merge(target[name], value)
        elif isinstance(value, dict):
            target[name] = {}
            _merge(target[name], value)
        else:
            target[name] = value


def _operate(target: Any, operation: dict[str, Any]) -> bool:
    """One operation of a JSON patch; False if it fails."""
    *parents, last = [
        part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]
    ]
    for part in parents:
        if not isinstance(target, dict) or part not in target:
            return False
        target = target[part]
    match operation["op"]:
        case "test":
            return bool(isinstance(target, dict) and target.get(last) == operation["value"])
        case "remove":
            return isinstance(target, dict) and target.pop(last, None) is not None
        case "add" if isinstance(target, list):
            target.append(operation["value"])
            return True
        case _:
            target[last] = operation["value"]
            return True


def _status(code: int, message: str) -> FakeAnswer:
    return FakeAnswer(code, {"kind": "Status", "message": message, "code": code})
