"""Watches the cluster with kopf. The only module that imports it.

All handlers are of the type `event`, for which kopf writes nothing to objects: no annotation, no
finalizer, no status. Peering is off too, because the lease in the shared state keeps runs apart.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import kopf

from reconciler.operator.crds import GROUP, ORGANIZATIONS, SOURCE_LABEL, STACKS, VERSION
from reconciler.operator.kube import TOKEN_SECONDS
from reconciler.secrets.drivers.kubeconfig import Cluster

WATCH_SECONDS = 600
"""Time after which the API server ends a watch. kopf then begins it again."""
_GRACE_SECONDS = 30
_STOP_SECONDS = 0.2
"""Time between two checks of the stop flag."""


class Changes(Protocol):
    """Receives events. Called from the thread of the watches, so methods must not block."""

    def stack(self, body: Mapping[str, Any], *, is_gone: bool) -> None: ...

    def organization(self, body: Mapping[str, Any], *, is_gone: bool) -> None: ...

    def config_map(self, body: Mapping[str, Any], *, is_gone: bool) -> None: ...


def watch(
    changes: Changes,
    cluster: Callable[[], Cluster],
    *,
    namespaces: Sequence[str],
    stop: threading.Event,
) -> None:
    """Watch until `stop` is set, in this thread. Without namespaces, the whole cluster.

    Raises every error that kopf cannot recover from, such as a deleted definition.
    """
    asyncio.run(_watch(_registry(changes, cluster), namespaces, stop))


async def _watch(
    registry: kopf.OperatorRegistry, namespaces: Sequence[str], stop: threading.Event
) -> None:
    # kopf would wait for `stop` in a thread, which outlives watches that fail.
    flag = asyncio.Event()
    polling = asyncio.create_task(_set_with(stop, flag))
    try:
        await kopf.operator(
            registry=registry,
            settings=_settings(),
            clusterwide=not namespaces,
            namespaces=namespaces,
            stop_flag=flag,
        )
    finally:
        polling.cancel()


async def _set_with(stop: threading.Event, flag: asyncio.Event) -> None:
    while not stop.is_set():
        await asyncio.sleep(_STOP_SECONDS)
    flag.set()


def _registry(changes: Changes, cluster: Callable[[], Cluster]) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    async def on_stack(event: Mapping[str, Any], **_: Any) -> None:
        changes.stack(event["object"], is_gone=event["type"] == "DELETED")

    async def on_organization(event: Mapping[str, Any], **_: Any) -> None:
        changes.organization(event["object"], is_gone=event["type"] == "DELETED")

    async def on_config_map(event: Mapping[str, Any], **_: Any) -> None:
        changes.config_map(event["object"], is_gone=event["type"] == "DELETED")

    def login(**_: Any) -> kopf.ConnectionInfo:
        return _connection(cluster())

    kopf.on.event(GROUP, VERSION, STACKS, registry=registry)(on_stack)
    kopf.on.event(GROUP, VERSION, ORGANIZATIONS, registry=registry)(on_organization)
    kopf.on.event("", "v1", "configmaps", registry=registry)(on_config_map)
    kopf.on.login(registry=registry)(login)
    return registry


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    # kopf would create Events for its log messages, which have none of our redaction.
    settings.posting.enabled = False
    settings.peering.standalone = True
    # `require_definitions` has found the definitions, so the operator needs no right to list them.
    settings.scanning.disabled = True
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.client_timeout = WATCH_SECONDS + _GRACE_SECONDS
    settings.watching.connect_timeout = _GRACE_SECONDS
    # Without it, every ConfigMap of the cluster would be held in memory.
    settings.watching.label_selectors["", "v1", "configmaps"] = SOURCE_LABEL
    settings.networking.request_timeout = 2 * _GRACE_SECONDS
    # It would kill the process while runs finish their calls in flight.
    settings.process.ultimate_exiting_timeout = None
    return settings


def _connection(cluster: Cluster) -> kopf.ConnectionInfo:
    ca: dict[str, Any] = {}
    if isinstance(cluster.ca, bytes):
        ca["ca_data"] = cluster.ca
    elif cluster.ca is not None:
        ca["ca_path"] = cluster.ca
    if cluster.client_certificate is not None:
        ca["certificate_data"], ca["private_key_data"] = cluster.client_certificate
    expiration = None
    if cluster.token:
        # kopf asks again at the expiration. The file of a service account has a new token by then.
        expiration = datetime.now(UTC) + timedelta(seconds=10 * TOKEN_SECONDS)
    return kopf.ConnectionInfo(
        server=cluster.server, token=cluster.token or None, expiration=expiration, **ca
    )
