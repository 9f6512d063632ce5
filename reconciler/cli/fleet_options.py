"""What the commands of `reconciler fleet` share: options, settings and the list of stacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import click
from msgspec import Struct
from msgspec.structs import replace

from reconciler.app.env_durations import settle_seconds
from reconciler.app.plans import PlanRequest
from reconciler.app.policy_request import PolicyRequest
from reconciler.app.sharing import Sharing
from reconciler.app.spend import SpendReader
from reconciler.cli.fleet_telemetry import FleetTelemetry
from reconciler.cli.interrupts import Interrupts, listening
from reconciler.cli.logs import listen
from reconciler.cli.options import (
    GlobalOptions,
    decorated,
    metrics_option,
    notify_option,
    policy_options,
    report_options,
    spend_option,
)
from reconciler.cli.redaction import redactor
from reconciler.cli.reporting import begin_reports, talk
from reconciler.cli.session import settings_of
from reconciler.cli.tracing import begin_trace
from reconciler.fleet.runner import FleetOptions
from reconciler.fleet.shards import parse_shard, stacks_of
from reconciler.fleet.stack_run import FleetContext, StackRequest
from reconciler.fleet.stacks import FoundStack, StackChoice, find_stacks
from reconciler.manifests import Settings
from reconciler.model.durations import seconds_of_option
from reconciler.model.fleet import Command
from reconciler.state.address import parse_address, secret_parts

_MOST_REPEATED = 3
"""How many times the same notice of different stacks is shown."""

CommandFunction = Callable[..., Any]

_STACKS = click.option(
    "--stacks",
    multiple=True,
    metavar="GLOB",
    help="Only stacks in folders that match, as in 'stacks/*' or 'teams/**'; repeatable. "
    "By default all below the current folder or -C.",
)
_SHARD = click.option(
    "--shard",
    metavar="NUMBER/TOTAL",
    help="Only this shard of the stacks. Stacks of one organization stay together.",
)
_AT_ONCE = click.option(
    "--at-once",
    type=click.IntRange(1, 200),
    default=16,
    metavar="N",
    help="Run at most this many stacks in parallel; 16 by default. --parallelism bounds the "
    "calls of each.",
)
_STACK_TIMEOUT = click.option(
    "--stack-timeout",
    metavar="DURATION",
    help="Stop a stack after this time, once its calls in flight have ended: 5m, 1h.",
)
_MAX_FAILURES = click.option(
    "--max-failures",
    type=click.IntRange(1),
    metavar="N",
    help="Start no further stack after this many have failed.",
)


class FleetChoice(Struct, frozen=True):
    """The stacks that the command line selects."""

    stacks: tuple[str, ...] = ()
    shard: str | None = None


class CommandFleet:
    """The stacks of one command line, and what they share."""

    def __init__(self, options: GlobalOptions, choice: FleetChoice) -> None:
        # First, so that a bad report is refused before the work rather than after it.
        begin_reports(options)
        listen(options)
        begin_trace(options)
        self.options = options
        self.interrupts: Interrupts = listening()
        settings = settings_of(options)
        for secret in secret_parts(settings.backend or ""):
            redactor.add(secret)
        # `-e` may be a pattern here, and must not become the environment of every stack.
        self.settings: Settings = replace(settings, environment=None, learn=redactor.add)
        self.stacks = _chosen(self.settings, options, choice)
        self.telemetry = FleetTelemetry(options, self.settings, _grouping(options, choice))
        # One recorder, reader and redactor for all stacks, which run in threads of this process.
        self.context = FleetContext(
            recorder=self.telemetry.recorder,
            spend=SpendReader() if options.spend else None,
            base_url=options.base_url,
            stop=self.interrupts.stop,
            redactor=redactor,
            notice=_Notices(),
        )
        self.policies = PolicyRequest(options.policies, options.override_policy, is_for_many=True)

    def check_backend(self) -> None:
        """Raise StateError for an address of the state that no stack could use."""
        if self.settings.backend:
            parse_address(self.settings.backend)

    @contextmanager
    def sharing(self) -> Iterator[FleetContext]:
        """The context of a run, in which stacks of one organization share a reading."""
        numbers = Counter(stack.organization for stack in self.stacks)
        sharing = Sharing(
            stacks=max(numbers.values(), default=1),
            settle_seconds=settle_seconds(self.settings.env),
        )
        try:
            yield replace(self.context, sharing=sharing)
        finally:
            sharing.close()


def _grouping(options: GlobalOptions, choice: FleetChoice) -> str:
    """The label that separates the metrics of this part of the fleet at a Pushgateway."""
    parts = (options.chdir.resolve().name, options.env, *choice.stacks, choice.shard)
    return " ".join(part for part in parts if part)


def _chosen(settings: Settings, options: GlobalOptions, choice: FleetChoice) -> list[FoundStack]:
    stack_choice = StackChoice(choice.stacks, options.env)
    if choice.shard is None:
        return find_stacks(settings, stack_choice)
    # Parsed first: a bad shard is refused before thousands of files are read.
    shard = parse_shard(choice.shard)
    return stacks_of(shard, find_stacks(settings, stack_choice))


class _Notices:
    """Shows notices of stacks, and the same notice of many stacks only a few times."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, sentence: str) -> None:
        text = sentence.partition(": ")[2]
        number = self._numbers.get(text, 0) + 1
        self._numbers[text] = number
        if number <= _MOST_REPEATED:
            talk(sentence)
        if number == _MOST_REPEATED:
            talk("The same notice of further stacks is left out.")


def choice_options(function: CommandFunction) -> CommandFunction:
    """Add the options that choose stacks; the command receives them as `choice`."""

    @wraps(function)
    def with_choice(**values: Any) -> Any:
        choice = FleetChoice(values.pop("stacks"), values.pop("shard"))
        return function(choice=choice, **values)

    return decorated(with_choice, (_STACKS, _SHARD))


def run_options(command: Command, *, refresh: str) -> Callable[[CommandFunction], CommandFunction]:
    """Add all options of a command that runs stacks. `refresh` is its default refresh mode.

    The command receives the stacks as `fleet`, the treatment of each as `request`, and how the
    fleet runs as `run`. It adds its own options to the request.
    """

    def add_options(function: CommandFunction) -> CommandFunction:
        @wraps(function)
        def with_run(**values: Any) -> Any:
            options: GlobalOptions = values.pop("options")
            # Check before the search for stacks, like every other mistake in the command line.
            run = _fleet_options(
                values.pop("at_once"), values.pop("stack_timeout"), values.pop("max_failures")
            )
            fleet = CommandFleet(options, values.pop("choice"))
            request = StackRequest(
                command,
                PlanRequest(refresh=values.pop("refresh")),
                parallelism=options.parallelism,
                lock_wait=options.lock_wait,
                policies=fleet.policies,
            )
            return function(fleet=fleet, request=request, run=run, **values)

        return decorated(
            with_run,
            (
                _refresh_option(refresh),
                _AT_ONCE,
                _STACK_TIMEOUT,
                _MAX_FAILURES,
                choice_options,
                policy_options,
                metrics_option,
                notify_option,
                spend_option,
                report_options,
            ),
        )

    return add_options


def _fleet_options(at_once: int, timeout: str | None, max_failures: int | None) -> FleetOptions:
    seconds = None
    if timeout is not None:
        seconds = seconds_of_option(timeout, "--stack-timeout")
    return FleetOptions(at_once=at_once, timeout=seconds, max_failures=max_failures)


def _refresh_option(default: str) -> CommandFunction:
    return click.option(
        "--refresh",
        type=click.Choice(("auto", "full")),
        default=default,
        show_default=True,
        help="How to read live state. auto: skip what the audit log shows as unchanged; full: read "
        "everything.",
    )
