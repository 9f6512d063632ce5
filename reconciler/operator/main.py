"""Puts the operator together from its settings."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from msgspec import Struct

from reconciler.app.sharing import Sharing
from reconciler.errors import UsageError
from reconciler.manifests.shapes import OPENAI_KEY
from reconciler.model.secret import Redactor
from reconciler.operator.crds import DEFAULT_INTERVAL, INTERVAL_PATTERN
from reconciler.operator.health import HealthServer
from reconciler.operator.inputs import OperatorOptions
from reconciler.operator.kube import KubeClient
from reconciler.operator.queue import WorkQueue
from reconciler.operator.reconcile import Reconciler
from reconciler.operator.registry import Registry
from reconciler.operator.service import OperatorService, ServiceOptions
from reconciler.operator.sources import SourceFolder
from reconciler.state.address import parse_address, secret_parts
from reconciler.telemetry.recorder import NoRecorder, Recorder

LOG = logging.getLogger("reconciler.operator")
_NO_RECORDER = NoRecorder()


class OperatorSettings(Struct, frozen=True):
    """The settings of the process, from the command line and the environment."""

    runs: OperatorOptions
    service: ServiceOptions
    interval: str = DEFAULT_INTERVAL
    """The interval of Stacks that name none."""
    source_root: Path | None = None
    allow_local_state: bool = False
    liveness_port: int | None = None
    once: bool = False

    def __repr__(self) -> str:
        # The address of the state may have a password.
        return "OperatorSettings()"


def require_extra() -> None:
    """Raise UsageError if the extra is not installed."""
    if find_spec("kopf") is None:
        raise UsageError(
            "the operator needs the package kopf, which is not installed",
            hint="Install it: pip install 'reconciler-iac[operator]'",
        )


def session_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for sessions, without API keys, which come from Organizations only."""
    return {name: value for name, value in environ.items() if not _holds_key(name, value)}


def _holds_key(name: str, value: str) -> bool:
    # By value too: a stack file could use a variable of any other name as its key.
    return name.startswith("OPENAI_") or OPENAI_KEY.fullmatch(value.strip()) is not None


def check_state(settings: OperatorSettings) -> None:
    """Raise UsageError for a state that a new pod would not find."""
    backend = settings.runs.backend
    hint = "Set RECONCILER_BACKEND to a shared state, such as postgresql://HOST/DATABASE."
    if not backend:
        raise UsageError("the operator needs the address of a state", hint=hint)
    address = parse_address(backend)
    if not address.is_remote and not settings.allow_local_state:
        raise UsageError(
            "the state is a local folder, which is lost with the pod unless a volume keeps it",
            hint=f"{hint} Or pass --allow-local-state.",
        )


def run_operator(
    settings: OperatorSettings,
    redactor: Redactor,
    stop: threading.Event,
    recorder: Recorder = _NO_RECORDER,
) -> int:
    """Run until `stop` is set; the exit code. Raises UsageError for settings that cannot work."""
    require_extra()
    check_state(settings)
    for secret in secret_parts(settings.runs.backend or ""):
        redactor.add(secret)
    if not re.fullmatch(INTERVAL_PATTERN, settings.interval):
        raise UsageError(f'"{settings.interval}" is no interval', hint="Write --interval 10m.")
    registry, queue = Registry(settings.interval), WorkQueue()
    kube = KubeClient(os.environ, redactor)
    sources = SourceFolder(settings.source_root)
    sharing = Sharing()
    reconciler = Reconciler(
        registry,
        kube,
        sources,
        settings.runs,
        redactor,
        sharing=sharing,
        recorder=recorder,
        wake=queue.wake,
    )
    service = OperatorService(registry, queue, kube, sources, reconciler, settings.service)
    health = _health(settings, service)
    try:
        if settings.once:
            service.run_once(stop)
        else:
            service.run(stop)
    finally:
        sharing.close()
        if health is not None:
            health.close()
    return 0


def _health(settings: OperatorSettings, service: OperatorService) -> HealthServer | None:
    if settings.liveness_port is None:
        return None
    try:
        health = HealthServer(settings.liveness_port, live=service.live, ready=service.ready)
    except OSError as error:
        raise UsageError(
            f"the probes cannot be served on port {settings.liveness_port}: {error}",
            hint="Choose another --liveness-port.",
        ) from error
    LOG.info("Probes are served on port %d.", health.port)
    return health
