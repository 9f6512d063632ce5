"""`reconciler operator`: reconcile the Stacks of a Kubernetes cluster, until a signal."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import click

from reconciler.cli.interrupts import listening
from reconciler.cli.logs import listen
from reconciler.cli.operator_telemetry import operator_telemetry
from reconciler.cli.options import GlobalOptions, global_options, notify_option, spend_option
from reconciler.cli.redaction import redactor
from reconciler.errors import UsageError
from reconciler.manifests.shared_state import ADDRESS_VARIABLE


@click.command("operator")
@click.option(
    "--namespace",
    "namespaces",
    multiple=True,
    metavar="NAMESPACE",
    help="Reconcile the Stacks of this namespace only; repeatable.",
)
@click.option("--all-namespaces", is_flag=True, help="Reconcile the Stacks of all namespaces.")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    metavar="N",
    help="Number of Stacks to reconcile in parallel.",
)
@click.option(
    "--interval",
    default="10m",
    show_default=True,
    metavar="DURATION",
    help="Time between two runs of a Stack that sets no interval.",
)
@click.option(
    "--source-root",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder that the paths of sources are relative to.",
)
@click.option(
    "--liveness-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Answer probes at /livez and /readyz on this port.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve metrics for Prometheus at /metrics on this port.",
)
@click.option(
    "--grace",
    type=click.FloatRange(1, 3600),
    default=25,
    show_default=True,
    metavar="SECONDS",
    help="Time for the calls in flight after a signal; below terminationGracePeriodSeconds.",
)
@click.option(
    "--allow-local-state",
    is_flag=True,
    help="Accept a state in a local folder, which must be on a volume.",
)
@click.option("--once", is_flag=True, help="Reconcile each Stack once, and exit.")
@click.option("--crds", is_flag=True, help="Print the custom resource definitions, and exit.")
@notify_option
@spend_option
@global_options
def command(
    options: GlobalOptions,
    namespaces: tuple[str, ...],
    all_namespaces: bool,
    workers: int,
    interval: str,
    source_root: Path | None,
    liveness_port: int | None,
    metrics_port: int | None,
    grace: float,
    allow_local_state: bool,
    once: bool,
    crds: bool,
) -> int:
    """Reconcile the Stacks of a Kubernetes cluster until SIGTERM.

    The cluster is that of KUBECONFIG, or of the service account of the pod. The state is at
    RECONCILER_BACKEND. API keys come from the Secrets that Organizations name.
    """
    from reconciler.operator.crds import as_yaml

    if crds:
        click.echo(as_yaml(), nl=False)
        return 0
    # The whole cluster only on request: the operator needs rights in every namespace for it.
    if bool(namespaces) == all_namespaces:
        raise UsageError(
            "operator: name either namespaces or all of them",
            hint="Pass --namespace NAMESPACE, or --all-namespaces.",
        )
    # Imported here, since --crds and mistakes in options need none of it.
    from reconciler.app.spend import SpendReader
    from reconciler.operator.inputs import OperatorOptions
    from reconciler.operator.main import OperatorSettings, run_operator, session_environment
    from reconciler.operator.service import ServiceOptions

    listen(options)
    _log_steps()
    settings = OperatorSettings(
        OperatorOptions(
            env=session_environment(os.environ),
            backend=options.backend or os.environ.get(ADDRESS_VARIABLE, "").strip() or None,
            base_url=options.base_url,
            allow_env=options.allow_env,
            allow_sinks=options.allow_sinks,
            allow_sources=options.allow_sources,
            parallelism=options.parallelism,
            spend=SpendReader() if options.spend else None,
        ),
        ServiceOptions(namespaces, workers, grace),
        interval,
        source_root,
        allow_local_state,
        liveness_port,
        once,
    )
    interrupts = listening()
    telemetry = operator_telemetry(options, port=metrics_port, backend=settings.runs.backend)
    with interrupts.finishing_first(), telemetry as recorder:
        return run_operator(settings, redactor, interrupts.stop, recorder)


def _log_steps() -> None:
    """Log the steps of the operator, and the errors of kopf, like all other messages."""
    ours = logging.getLogger("reconciler")
    logging.getLogger("reconciler.operator").setLevel(logging.INFO)
    for name, level in (("kopf", logging.ERROR), ("asyncio", logging.WARNING)):
        logger = logging.getLogger(name)
        # Our handlers redact and escape, and those of the root logger do not.
        logger.handlers, logger.propagate = list(ours.handlers), False
        logger.setLevel(level)
