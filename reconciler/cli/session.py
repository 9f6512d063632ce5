"""Connects a session of `app` with the command line: options, standard streams and signals."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from reconciler.app.policy_request import PolicyRequest
from reconciler.app.session import Session
from reconciler.cli.interrupts import listening
from reconciler.cli.logs import listen
from reconciler.cli.metrics import begin_metrics
from reconciler.cli.options import GlobalOptions
from reconciler.cli.progress import ProgressReporter
from reconciler.cli.redaction import redactor
from reconciler.cli.report_context import past_runs, wants
from reconciler.cli.reporting import begin_reports, talk
from reconciler.cli.tracing import begin_trace
from reconciler.errors import ReconcilerError, UsageError
from reconciler.manifests import Settings
from reconciler.manifests.shared_state import given_address
from reconciler.model.report import PastRun
from reconciler.state.address import secret_parts

_UNDECODED = re.compile("[\udc80-\udcff]")


class CommandSession(Session):
    """The session of one command. Raises UsageError for options that no command can use."""

    def __init__(self, options: GlobalOptions) -> None:
        # First, so that a bad report is refused before the work rather than after it.
        begin_reports(options)
        listen(options)
        self.options = options
        self.interrupts = listening()
        begin_trace(options)
        settings = settings_of(options)
        # Before anything can fail: an error about the backend names its address.
        for secret in secret_parts(settings.backend or ""):
            redactor.add(secret)
        super().__init__(
            settings,
            base_url=options.base_url,
            parallelism=options.parallelism,
            redactor=redactor,
            stop=self.interrupts.stop,
            notice=talk,
            progress=partial(ProgressReporter, options),
            traffic=begin_metrics(options, self),
        )
        # After the constructor of the base class, which sets defaults for these.
        self.command = options.command
        self.lock_wait = options.lock_wait
        self.policy_request = PolicyRequest(options.policies, options.override_policy)
        self._past_runs: tuple[PastRun, ...] | None = None
        options.outcome.history = self.past_runs

    def past_runs(self) -> tuple[PastRun, ...]:
        """The latest runs of the stack, for reports; none if the state cannot be read."""
        if self._past_runs is None:
            self._past_runs = ()
            with suppress(ReconcilerError, OSError):
                self._past_runs = past_runs(self.store)
        return self._past_runs

    def close(self) -> None:
        """Close the session."""
        # Reports are written later, and need the history of this state.
        if wants(self.options, "html"):
            self.past_runs()
        super().close()


def read_text(path: Path, what: str) -> str:
    """The text of a file that the user named; raises UsageError."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{what} {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} {path} cannot be read: it is not text in UTF-8") from error


def settings_of(options: GlobalOptions) -> Settings:
    """The settings of a stack, from options and environment. Raises UsageError."""
    settings = Settings(
        root=options.chdir,
        environment=options.env,
        variables=dict(_variables_of(options)),
        variable_files=options.var_file,
        allow_env=options.allow_env,
        allow_sinks=options.allow_sinks,
        allow_sources=options.allow_sources,
        backend=_as_text(options.backend or "") or None,
        env={name: _as_text(value) for name, value in os.environ.items()},
    )
    return replace(settings, backend=given_address(settings) or None)


def _variables_of(options: GlobalOptions) -> Iterator[tuple[str, str]]:
    for variable in options.var:
        name, separator, value = variable.partition("=")
        if not separator or not name:
            raise UsageError(f'--var "{variable}": write NAME=VALUE')
        text = _as_text(value)
        # U+FFFD stands for bytes that could not be decoded, unless it was typed.
        if "\ufffd" in text and "\ufffd" not in value:
            raise UsageError(f"--var {name}: the value is not text in UTF-8")
        yield name, text


def _as_text(value: str) -> str:
    """A value of the command line or the environment, with bytes outside the locale as UTF-8.

    Bytes that are not UTF-8 either become U+FFFD.
    """
    if _UNDECODED.search(value) is None:
        return value
    return os.fsencode(value).decode("utf-8", "replace")
