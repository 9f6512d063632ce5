"""The requests of the operator to the API server of Kubernetes, except for watches.

kopf watches. Address and credentials are those of the sink `kubernetes`: KUBECONFIG, or
the service account of the pod, whose token is read again as it is replaced.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from reconciler.api.transport.side_client import connect
from reconciler.errors import ReconcilerError
from reconciler.model.secret import Redactor, Secret
from reconciler.operator.bodies import decoded_at, mapping_at
from reconciler.operator.crds import API_VERSION, GROUP, ORGANIZATIONS, STACKS
from reconciler.operator.resources import ObjectKey
from reconciler.secrets.drivers.kubeconfig import Cluster, cluster_of
from reconciler.secrets.drivers.kubernetes import OPERATOR_MANAGER

COMPONENT = "reconciler"
TOKEN_SECONDS = 60.0
"""How long the token of a service account is used before it is read again."""
_PAGE = 500
_MERGE = "application/merge-patch+json"
_JSON_PATCH = "application/json-patch+json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_SHOWN = 300


class KubeError(ReconcilerError):
    """The API server refuses a request, or cannot be reached. `status` is None without an answer."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class KubeClient:
    """A client of one API server. Thread-safe."""

    def __init__(
        self,
        env: Mapping[str, str],
        redactor: Redactor,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._env = env
        self._redactor = redactor
        self._clock = clock
        self._lock = threading.Lock()
        self._cluster: Cluster | None = None
        self._client: httpx.Client | None = None
        self._read_at = 0.0

    @property
    def cluster(self) -> Cluster:
        """The API server and its credentials, read again. Raises SinkError."""
        cluster = cluster_of(self._env)
        if cluster.token:
            self._redactor.add(Secret(cluster.token))
        return cluster

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = self._cluster = None

    # --- our resources

    def require_definitions(self) -> None:
        """Raise KubeError, with the status 404, unless the API server offers our resources."""
        # By discovery, which every account may read. Definitions themselves need a right of their own.
        answer = self._send("GET", "apis")
        if answer.status_code != 200:
            raise self._refused(answer, "list what it offers")
        groups = _json(answer).get("groups") or ()
        if not any(isinstance(group, Mapping) and group.get("name") == GROUP for group in groups):
            raise KubeError("The custom resource definitions are not installed.", status=404)

    def stacks(self, namespace: str | None) -> Iterator[Mapping[str, Any]]:
        """All Stacks, of one namespace or of all."""
        return self._listed(f"apis/{API_VERSION}", namespace, STACKS)

    def organizations(self, namespace: str | None) -> Iterator[Mapping[str, Any]]:
        """All Organizations, of one namespace or of all."""
        return self._listed(f"apis/{API_VERSION}", namespace, ORGANIZATIONS)

    def config_maps(self, namespace: str | None, label: str) -> Iterator[Mapping[str, Any]]:
        """All ConfigMaps with a label, of one namespace or of all."""
        return self._listed("api/v1", namespace, "configmaps", labelSelector=label)

    def stack(self, key: ObjectKey) -> Mapping[str, Any] | None:
        """A Stack as it is now; None if there is none."""
        return self._object(_path(STACKS, key))

    def patch_status(
        self, plural: str, key: ObjectKey, uid: str, patch: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        """Merge a patch into a status. None if the object is gone or was replaced."""
        # The uid makes the server refuse a patch to a new object under the same name.
        body = {"metadata": {"uid": uid}, "status": patch}
        path = f"{_path(plural, key)}/status"
        return self._changed("PATCH", path, body, {"Content-Type": _MERGE})

    def patch(self, key: ObjectKey, operations: list[dict[str, Any]]) -> Mapping[str, Any] | None:
        """Apply a JSON patch to a Stack. None if it is gone, or a `test` of the patch fails."""
        return self._changed("PATCH", _path(STACKS, key), operations, {"Content-Type": _JSON_PATCH})

    # --- other objects

    def secret(self, key: ObjectKey) -> Mapping[str, bytes] | None:
        """The data of a Secret; None if there is none."""
        body = self._object(_secret_path(key))
        if body is None:
            return None
        return decoded_at(body, "data")

    def secret_metadata(self, key: ObjectKey) -> Mapping[str, Any] | None:
        """The metadata of a Secret, without its data; None if there is none."""
        body = self._object(_secret_path(key), {"Accept": _METADATA})
        if body is None:
            return None
        return mapping_at(body, "metadata")

    def patch_secret(self, key: ObjectKey, patch: Mapping[str, Any]) -> bool:
        """Merge a patch into a Secret. False if it is gone or changed meanwhile."""
        headers = {"Content-Type": _MERGE, "Accept": _METADATA}
        params = {"fieldManager": OPERATOR_MANAGER}
        return self._changed("PATCH", _secret_path(key), patch, headers, params) is not None

    def create_event(self, namespace: str, body: Mapping[str, Any]) -> None:
        """Create an Event. Raises KubeError."""
        answer = self._send("POST", f"api/v1/namespaces/{namespace}/events", body)
        if answer.status_code not in (200, 201):
            raise self._refused(answer, "create an Event")

    # --- requests

    def _listed(
        self,
        group: str,
        namespace: str | None,
        plural: str,
        **params: str,
    ) -> Iterator[Mapping[str, Any]]:
        where = f"{group}/{plural}"
        if namespace is not None:
            where = f"{group}/namespaces/{namespace}/{plural}"
        # In pages, since one answer with thousands of Stacks costs the API server too much memory.
        params = {**params, "limit": str(_PAGE)}
        while True:
            answer = self._send("GET", where, params=params)
            if answer.status_code != 200:
                raise self._refused(answer, f"list {plural}")
            body = _json(answer)
            for entry in body.get("items") or ():
                if isinstance(entry, Mapping):
                    yield entry
            following = mapping_at(body, "metadata").get("continue")
            if not following:
                return
            params["continue"] = str(following)

    def _object(
        self, path: str, headers: Mapping[str, str] | None = None
    ) -> Mapping[str, Any] | None:
        answer = self._send("GET", path, headers=headers)
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            raise self._refused(answer, f"read {path}")
        return _json(answer)

    def _changed(
        self,
        method: str,
        path: str,
        body: Any,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None = None,
    ) -> Mapping[str, Any] | None:
        answer = self._send(method, path, body, headers=headers, params=params)
        if answer.status_code in (200, 201):
            return _json(answer)
        # 409: another uid or resource version. 422: a `test` of a JSON patch failed.
        if answer.status_code in (404, 409) or (
            answer.status_code == 422 and headers.get("Content-Type") == _JSON_PATCH
        ):
            return None
        raise self._refused(answer, f"change {path}")

    def _send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers = {"Content-Type": "application/json", **(headers or {})}
        for is_last in (False, True):
            try:
                answer = self._connected().request(
                    method, path, content=content, params=params, headers=headers
                )
            except httpx.HTTPError as error:
                why = self._redactor(str(error) or type(error).__name__)
                raise KubeError(
                    f"The API server of Kubernetes cannot be reached: {why}."
                ) from error
            if answer.status_code != 401 or is_last:
                return answer
            # The token may have been replaced just now, so one 401 is no refusal yet.
            self._forget()
        return answer

    def _connected(self) -> httpx.Client:
        with self._lock:
            now, client = self._clock(), self._client
            if client is None or now - self._read_at >= TOKEN_SECONDS:
                self._read_at = now
                cluster = self.cluster
                if client is None or cluster != self._cluster:
                    # A request of another thread may still use the old one, so it is not closed.
                    client = self._new_client(cluster)
                    self._cluster = cluster
                self._client = client
            return client

    def _new_client(self, cluster: Cluster) -> httpx.Client:
        headers = {}
        if cluster.token:
            headers["Authorization"] = f"Bearer {cluster.token}"
        return connect(
            cluster.server,
            variable=f"the server in {cluster.source}",
            environ=self._env,
            headers=headers,
            ca=cluster.ca,
            client_certificate=cluster.client_certificate,
        )

    def _forget(self) -> None:
        with self._lock:
            self._cluster = self._client = None

    def _refused(self, answer: httpx.Response, action: str) -> KubeError:
        message = str(_json(answer).get("message") or "")
        # The message comes from the network, and goes into logs and statuses.
        text = "".join(char for char in self._redactor(message) if char.isprintable())[:_SHOWN]
        details = f"status {answer.status_code}"
        if text:
            details += f": {text}"
        return KubeError(
            f"The API server of Kubernetes refuses to {action} ({details}).",
            status=answer.status_code,
        )


def _path(plural: str, key: ObjectKey) -> str:
    return f"apis/{API_VERSION}/namespaces/{key.namespace}/{plural}/{quote(key.name)}"


def _secret_path(key: ObjectKey) -> str:
    return f"api/v1/namespaces/{key.namespace}/secrets/{quote(key.name)}"


def _json(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, Mapping) else {}
