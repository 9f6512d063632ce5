"""Metrics of one command, written to a file or pushed once it has ended.

They never change the exit code: a run that went well stays a success if its metrics are lost.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.options import GlobalOptions
from reconciler.cli.redaction import redactor
from reconciler.cli.reporting import talk, writable
from reconciler.errors import ReconcilerError
from reconciler.model.change import ApplyResult, Plan
from reconciler.model.secret import Secret
from reconciler.model.traffic import SentRequest, TrafficObserver

if TYPE_CHECKING:
    from reconciler.cli.outcome import RunOutcome
    from reconciler.cli.session import CommandSession
    from reconciler.model.fleet import Command, StackId, StackStatus
    from reconciler.telemetry.metrics import PrometheusRecorder

LOG = logging.getLogger("reconciler.cli")
PUSHGATEWAY = "RECONCILER_PUSHGATEWAY_URL"
"""The variable with the address of a Pushgateway, which may contain a password."""


def begin_metrics(options: GlobalOptions, session: CommandSession) -> TrafficObserver | None:
    """Keep metrics of a command if an option or variable asks for them; the observer of its requests.

    Raises UsageError for a file that cannot be written.
    """
    if options.metrics is None and not os.environ.get(PUSHGATEWAY):
        return None
    # Most runs have no metrics, so their modules are imported only here.
    from reconciler.model.fleet import Command

    if options.command not in list(Command):
        return None
    recorder = recorder_for(options)
    if recorder is None:
        return None
    metrics = _CommandMetrics(recorder, session, Command(options.command))
    options.outcome.ended.append(metrics.publish)
    return metrics


def end_telemetry(outcome: RunOutcome, code: int) -> None:
    """Publish the telemetry of a command that ended with an exit code. Failures are warnings."""
    for ended in outcome.ended:
        try:
            ended(code)
        except KeyboardInterrupt:
            talk("Interrupted: the run has ended, and its telemetry is incomplete.")
            return
        except Exception as error:
            # The run has ended, so a failure here must not change its exit code.
            LOG.debug("telemetry", exc_info=True)
            talk(f"Warning: the telemetry of this run is incomplete: {type(error).__name__}.")


def recorder_for(options: GlobalOptions) -> PrometheusRecorder | None:
    """A recorder, if a file or a Pushgateway expects metrics.

    Raises UsageError for a file that cannot be written, and ImportError if the library is missing.
    """
    if options.metrics is not None:
        writable(options.metrics, "--metrics")
    address = os.environ.get(PUSHGATEWAY, "")
    if address:
        for secret in _secrets_of(address):
            redactor.add(secret)
    if options.metrics is None and not address:
        return None
    try:
        return new_recorder()
    except ImportError:
        if options.metrics is not None:
            raise
        # A warning only: the variable may be set for other programs.
        talk(f"Warning: {PUSHGATEWAY} is ignored: pip install 'reconciler-iac[metrics]' first.")
        return None


def new_recorder() -> PrometheusRecorder:
    """An empty recorder, whose labels pass the redactor."""
    from reconciler.telemetry.metrics import PrometheusRecorder

    return PrometheusRecorder(redact=redactor)


def publish_metrics(
    recorder: PrometheusRecorder, path: Path | None, grouping: Mapping[str, str]
) -> None:
    """Write metrics to a file and push them to the Pushgateway. Warns where that fails."""
    from reconciler.telemetry.exposition import push, write_file

    if path is not None:
        try:
            write_file(recorder.registry, path)
        except OSError as error:
            talk(f'Warning: metrics cannot be written to "{path}": {error.strerror or error}')
    address = os.environ.get(PUSHGATEWAY, "")
    if address:
        try:
            push(recorder.registry, address, grouping)
        except (OSError, ValueError) as error:
            talk(f"Warning: metrics cannot be pushed to the address in {PUSHGATEWAY}: {error}")


class _CommandMetrics:
    """The metrics of one command on one stack; the observer of its requests."""

    def __init__(
        self, recorder: PrometheusRecorder, session: CommandSession, command: Command
    ) -> None:
        self._recorder = recorder
        self._session = session
        self._command = command
        self._began_at = time.time()
        self._organization = ""
        self._calls = 0

    def sent(self, request: SentRequest) -> None:
        """Count a request."""
        self._organization = request.organization or self._organization
        self._calls += 1
        self._recorder.sent(request)

    def publish(self, code: int) -> None:
        """Publish the metrics of the command, which ended with an exit code."""
        from reconciler.model.fleet import StackResult

        outcome = self._session.options.outcome
        id = self._stack_id()
        self._recorder.record(
            StackResult(
                id,
                self._command,
                status_of(code, outcome.plan, outcome.result),
                code,
                organization=self._organization,
                plan=outcome.plan,
                result=outcome.result,
                calls=self._calls,
                began_at=self._began_at,
                ended_at=time.time(),
            )
        )
        # A run that failed early made no call. Do not open a client only for metrics.
        if self._session.has_client:
            self._recorder.limits(self._organization, self._session.client.admin_limits())
        grouping = {"stack": id.name, "environment": id.environment}
        publish_metrics(self._recorder, self._session.options.metrics, grouping)

    def _stack_id(self) -> StackId:
        from reconciler.model.fleet import StackId

        settings = self._session.settings
        folder = Path(settings.root).resolve().name
        try:
            stack = self._session.stack
        except ReconcilerError:
            # The stack file made the run fail, and its folder is the only name that is left.
            return StackId(folder, settings.environment or "", folder)
        return StackId(folder, stack.environment, stack.name)


def status_of(code: int, plan: Plan | None, result: ApplyResult | None) -> StackStatus:
    """The status of a stack after a command that ended with an exit code."""
    from reconciler.model.fleet import StackStatus

    by_code = {
        11: StackStatus.REFUSED,
        12: StackStatus.LOCKED,
        130: StackStatus.INTERRUPTED,
        1: StackStatus.FAILED,
        13: StackStatus.FAILED,
    }
    # Stale: refused as a whole before the apply, or objects changed during it.
    if code == 10 and result is None:
        return StackStatus.REFUSED
    if code == 10:
        return StackStatus.FAILED
    if code in by_code:
        return by_code[code]
    if result is not None and result.outcomes:
        return StackStatus.APPLIED
    if result is not None:
        return StackStatus.IN_SYNC
    if plan is not None and plan.drift:
        return StackStatus.DRIFTED
    if plan is not None and not plan.is_empty:
        return StackStatus.PENDING
    return StackStatus.IN_SYNC


def _secrets_of(address: str) -> list[Secret]:
    from urllib.parse import unquote, urlsplit

    try:
        password = urlsplit(address).password or ""
    except ValueError:
        return [Secret(address)]
    return [Secret(password), Secret(unquote(password))]
