"""The wiring: from command-line options to a configuration, a provider, a state and a plan.

One session is one run of a command. Everything is made when it is first asked for, so a command pays for what it uses
and `validate` never opens a socket.
"""

from __future__ import annotations

import getpass
import logging
import math
import os
import re
import socket
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from reconciler import __version__
from reconciler.api.audit import Suspicion, blame, removed_lately
from reconciler.api.keys import KeyRing
from reconciler.api.objects.provider import HttpProvider
from reconciler.api.transport.base_url import DEFAULT_BASE_URL, check_base_url
from reconciler.api.transport.client import ANSWER_SECONDS, Client
from reconciler.api.transport.throttle import Throttle
from reconciler.cli.failures import redactor
from reconciler.cli.interrupts import listening
from reconciler.cli.key_usage import keys_in_use
from reconciler.cli.known_secrets import remembered
from reconciler.cli.logs import listen
from reconciler.cli.options import GlobalOptions, PlanningOptions
from reconciler.cli.origin import expect_declared, expect_recorded, has_moved
from reconciler.cli.outcome import Outcome
from reconciler.cli.page_hints import load_pages
from reconciler.cli.planning import Planning, plan_of_records
from reconciler.cli.progress import ProgressReporter
from reconciler.cli.reporting import reports_of, talk
from reconciler.cli.retired import retired
from reconciler.cli.saved_inputs import changed_inputs
from reconciler.cli.secret_digests import SecretDigests, key_of, new_key, revealed
from reconciler.engine.binding.attempts import unfinished_work
from reconciler.engine.binding.matcher import Ownership
from reconciler.engine.binding.renames import with_renamed_projects
from reconciler.engine.consistency import ConsistencyWindow
from reconciler.engine.inputs import PlanInputs, PlanOptions
from reconciler.engine.plan.guard import FEW_VANISHED, KeyInUse, Limits, refusals, vanished
from reconciler.engine.refresh.audit_trust import FullRefreshPolicy
from reconciler.engine.refresh.reader import Scope
from reconciler.errors import (
    ApiError,
    ConfigurationError,
    CredentialError,
    GuardError,
    StalePlanError,
    StateError,
    UsageError,
)
from reconciler.kinds import ALL_KINDS, KINDS
from reconciler.manifests import (
    Configuration,
    ParsedFiles,
    Remembered,
    Settings,
    Stack,
    check_credentials,
    load_configuration,
    load_stack,
)
from reconciler.model.address import Address
from reconciler.model.change import Action, ApplyResult, Drift, OutcomeStatus, Plan
from reconciler.model.change import Outcome as ChangeOutcome
from reconciler.model.consistency import AUDIT_CLOCK_SECONDS, ServerClock
from reconciler.model.diagnostic import Diagnostic, Severity, nearest
from reconciler.model.resource import Resource
from reconciler.model.rule import Rule
from reconciler.rules import RULE_KINDS
from reconciler.secrets.commands import run_program
from reconciler.secrets.sinks import SinkSet, known_files
from reconciler.state import StateStore

LOG = logging.getLogger("reconciler.cli")
SEARCHED = "searched"
"""The remark in the state that marked objects were searched for everywhere, and an apply of that was finished."""
_UNDECODED = re.compile("[\udc80-\udcff]")
LONGEST_SECONDS = 86_400.0
"""What a variable of the environment may set a wait to."""


class Session:
    """One run of one command."""

    def __init__(self, options: GlobalOptions) -> None:
        reports_of(options)  # refused now rather than after the work is done
        listen(options)
        self.options = options
        self.interrupts = listening()
        self._surveyed_at = -math.inf
        self.server_clock = ServerClock()
        self.plan_file_digest: str | None = None
        """SHA-256 of the file of the saved plan that is carried out, where it is one."""
        self.saved_variables: Mapping[str, Any] = {}
        """The variables of the saved plan that is carried out, where it is one."""
        self._new_key = new_key()
        self.parsed = ParsedFiles()
        """The files that manifests were read from."""

    # --- what is declared ------------------------------------------------------------------------------------------

    @cached_property
    def settings(self) -> Settings:
        """What the command line and the environment say about the configuration."""
        variables = {}
        for item in self.options.var:
            name, separator, value = item.partition("=")
            if not separator or not name:
                raise UsageError(f'--var "{item}": write NAME=VALUE')
            variables[name] = as_text(value)
            if "\ufffd" in variables[name] and "\ufffd" not in value:
                raise UsageError(f"--var {name}: the value is not text in UTF-8")
        return Settings(
            root=self.options.chdir,
            environment=self.options.env,
            variables=variables,
            variable_files=self.options.var_file,
            allow_env=self.options.allow_env,
            env={name: as_text(value) for name, value in os.environ.items()},
            saved_variables=self.saved_variables,
            learn=redactor.add,
        )

    @cached_property
    def stack(self) -> Stack:
        """The stack alone, for commands that need no manifests."""
        return load_stack(self.settings, remembered=self._remembered_by)

    @cached_property
    def configuration(self) -> Configuration:
        """All manifests, and what is in the files that they name; raises ConfigurationError with every problem."""
        return self._declared.completed()

    @property
    def declared(self) -> Configuration:
        """All manifests, and perhaps not yet what is in the files of folders; raises ConfigurationError."""
        return self.configuration if "configuration" in self.__dict__ else self._declared

    @cached_property
    def _declared(self) -> Configuration:
        return load_configuration(
            self.settings,
            KINDS,
            RULE_KINDS,
            parsed=self._parsed_before,
            remembered=self._remembered_by,
            whole=False,
        )

    def _remembered_by(self, stack: Stack) -> Remembered:
        """What the state of a stack knows of secrets."""

        def opened() -> StateStore:
            if "store" not in self.__dict__:
                self.store = _state_of(stack)
            return self.store

        return remembered(opened)

    def _parsed_before(self, stack: Stack) -> ParsedFiles:
        """What the state knows of the manifests. One that cannot be read is told by whoever needs more of it."""
        with suppress(StateError):
            self.store = _state_of(stack)
            self.parsed = ParsedFiles(self.store.parsed)
        return self.parsed

    def configured(self) -> Configuration:
        """The configuration, once it is sure that there is a key for all that it declares."""
        configuration = self.declared
        missing = check_credentials(configuration)
        if missing:
            raise ConfigurationError(missing)
        return configuration

    # --- the world -------------------------------------------------------------------------------------------------

    @cached_property
    def base_url(self) -> str:
        """Where the API is; never taken from a file, which a pull request could change."""
        return check_base_url(self.options.base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL)

    @cached_property
    def keys(self) -> KeyRing:
        """The credentials of the stack."""
        stack = self._known_stack
        credentials = stack.credentials
        return KeyRing(
            admin=credentials.admin, default=credentials.default, projects=credentials.projects, root=stack.root
        )

    @cached_property
    def progress(self) -> ProgressReporter:
        """What is said while a run goes on, and to whom."""
        return ProgressReporter(self.options, self.client)

    @cached_property
    def client(self) -> Client:
        """The one HTTP client of the run."""
        stack = self._known_stack
        client = Client(
            self.base_url,
            throttle=Throttle(admin_requests_per_minute=stack.admin_requests_per_minute),
            redactor=redactor,
            organization=stack.organization,
            user_agent=f"reconciler/{__version__}",
            answer_seconds=seconds_of("RECONCILER_ANSWER_SECONDS", ANSWER_SECONDS),
            parallelism=self.options.parallelism,
            server_clock=self.server_clock,
            on_wait=lambda reason, until: self.progress.waiting(reason, until),
            stop=self.interrupts.stop,
        )
        expect_declared(client, stack)
        return client

    @cached_property
    def provider(self) -> HttpProvider:
        """The API as the engine sees it."""
        stack = self.declared.stack
        expect_recorded(self.client, self.store, self.base_url)
        records = self.store.records().values()
        known = known_files(record.delivered for record in records)
        return HttpProvider(
            self.client,
            self.keys,
            SinkSet(
                stack.root,
                redactor=redactor,
                known=known,
                owner=f"{stack.name}/{stack.environment}",
                run=partial(run_program, stop=self.interrupts.stop),
            ),
            stack.root,
            stack.projects,
            default_project=stack.project,
            settle_seconds=settle_seconds(),
            reveal=partial(revealed, stack.read_secret),
            parallelism=min(self.options.parallelism, 4),
            recorded=records,
            pages=load_pages(self.store),
        )

    @cached_property
    def planning(self) -> Planning:
        """What is read for plans, and what is remembered of it."""
        refresh = self.declared.stack.refresh
        sweeps = FullRefreshPolicy(refresh.overlap_minutes * 60, refresh.full_every_hours, refresh.full_every_runs)
        return Planning(self.provider, self.client, self.keys, sweeps, parallelism=self.options.parallelism)

    @cached_property
    def store(self) -> StateStore:
        """The state, for reading; `writable` replaces it by one that can be written."""
        return _state_of(self._known_stack)

    def writable(self) -> StateStore:
        """The state, for writing, created where there is none."""
        stack = self._known_stack
        if "store" in self.__dict__:
            self.store.close()
        self.store = StateStore.open(
            stack.backend_path, stack=stack.name, environment=stack.environment, clock=self.server_clock
        )
        return self.store

    @property
    def _known_stack(self) -> Stack:
        return self.declared.stack if {"configuration", "_declared"} & self.__dict__.keys() else self.stack

    @cached_property
    def ownership(self) -> Ownership:
        """Who we are, and what earlier runs began and never ended."""
        stack = self._known_stack
        begun = unfinished_work(self.store.unfinished(), ALL_KINDS, clock=self.server_clock)
        return Ownership(
            stack.name,
            stack.environment,
            *begun,
            former=self.store.former_owners(),
            # The state is replaced by one that can be written, so each call asks the one of the moment.
            held_ids=lambda address: self.store.held_ids(address),
            holders=lambda kind, live_id: self.store.holders(kind, live_id),
        )

    @property
    def consistency(self) -> ConsistencyWindow:
        """How long what was just written is looked for."""
        return ConsistencyWindow(
            seconds=settle_seconds(),
            clock=self.server_clock,
            is_time_known=lambda: self.server_clock.is_known,
            pause=self.client.pause,
        )

    # --- plans -----------------------------------------------------------------------------------------------------

    def keys_in_use(self) -> dict[str, KeyInUse]:
        """For each project whose key a resource of ours delivers, that key; "" is the default scope."""
        return keys_in_use(self.declared, self.store.records())

    def key_writers(self) -> dict[str, Address]:
        """The same, as the resources that must be written before, and deleted after, what their keys open."""
        return {project: key.writer for project, key in self.keys_in_use().items()}

    def plan(
        self, planning: PlanningOptions, *, destroy: bool = False, unmanaged: bool = False, tolerant: bool = False
    ) -> Plan:
        """Read live state and make a plan; raises ConfigurationError for errors that concern no single address.

        The error of an address stays in the plan, with the address left as it is. In a `tolerant` plan, which is only
        for looking at, errors are warnings.
        """
        self.configured()
        kinds = (resource.kind for resource in self.declared.resources)
        for sentence in retired(kinds, base_url=self.base_url, today=datetime.now(UTC).date().isoformat()):
            talk(f"warning: {sentence}")
        rules = () if tolerant else self.declared.rules
        plan = self.unchecked_plan(planning, destroy=destroy, unmanaged=unmanaged, rules=rules)
        errors = [item for item in plan.diagnostics if item.severity is Severity.ERROR]
        general = [item for item in errors if item.address is None]
        if general and not tolerant:
            raise ConfigurationError(general)
        # Errors come first: they say what of the following is left out.
        warnings = [item for item in plan.diagnostics if item.severity is not Severity.ERROR]
        if tolerant:
            errors = [replace(item, severity=Severity.WARNING) for item in errors]
            warnings += self._vanished(plan)
        return replace(plan, diagnostics=(*errors, *self.configuration.warnings, *warnings))

    def _vanished(self, plan: Plan) -> list[Diagnostic]:
        """The warning of a drift report where so much is gone that a guard would refuse a plan."""
        return [
            Diagnostic("Recorded objects are gone at once", detail=f"{sentence}.", severity=Severity.WARNING)
            for sentence in vanished(plan, self.limits)
        ]

    def unchecked_plan(
        self,
        planning: PlanningOptions,
        *,
        destroy: bool = False,
        unmanaged: bool = False,
        rules: Sequence[Rule] = (),
    ) -> Plan:
        """The plan with its errors still in it."""
        declared = self.declared
        options = PlanOptions(
            destroy=destroy,
            adopt=planning.adopt,
            unmanaged=unmanaged,
            targets=parse_addresses(planning.target, "--target"),
            replace=parse_addresses(planning.replace, "--replace"),
            budget_calls=planning.budget,
        )
        records = self.store.records()
        parse_addresses(planning.allow_delete, "--allow-delete")  # refused before anything is called
        seal = self.seal(keep=False)

        def sealed(configuration: Configuration) -> tuple[Resource, ...]:
            return tuple(seal.resource(item, records.get(item.address)) for item in configuration.resources)

        inputs = PlanInputs(
            resources=sealed(declared),
            kinds=ALL_KINDS,
            records=records,
            ownership=self.ownership,
            projects=declared.stack.projects,
            keyed_projects=self._keyed_projects(),
            key_writers=self.key_writers(),
            outputs=declared.stack.outputs,
            previous_outputs=self.store.outputs(),
            state_serial=self.store.serial,
            state_is_new=self.store.meta(SEARCHED) is None,
            recently_written=lambda: self.store.made_since(self.server_clock() - settle_seconds()),
            consistency=self.consistency,
            options=options,
            rules=rules,
            removed=self._removed,
            server_time=self.server_clock,
            contents=None if declared.complete is None else lambda: sealed(self.configuration),
            pages={Scope(*listed): pages for listed, pages in load_pages(self.store).items()},
        )
        inputs = with_renamed_projects(inputs)
        self.ownership = inputs.ownership
        self._surveyed_at = time.monotonic()
        if planning.refresh == "none":
            plan = plan_of_records(inputs, parallelism=self.options.parallelism)
        else:
            with self.progress.reading(), self.client.at_most(planning.budget):
                plan = self.planning.plan(inputs, self.store, mode=planning.refresh)
        configuration = self.configuration
        unread = tuple(seal.unread(configuration.resources))
        return replace(
            plan,
            base_url=self.base_url,
            state_lineage=self.store.identity.lineage,
            config_digest=configuration.digest,
            variables=configuration.given.variables,
            input_digests=configuration.given.digests,
            diagnostics=(*plan.diagnostics, *unread),
        )

    def _removed(self, ids: Collection[str]) -> Collection[str]:
        """Of objects that were created moments ago, those that the audit log says are removed; none without a log."""
        try:
            since = self.server_clock() - settle_seconds() - AUDIT_CLOCK_SECONDS
            return removed_lately(self.client, self.keys, ids, since)
        except (ApiError, CredentialError) as error:
            LOG.info("The audit log cannot say what was removed: %s", error)
            return ()

    def _keyed_projects(self) -> tuple[str, ...]:
        """The projects with a key of their own; "" is the default scope."""
        return (*([""] if self.keys.has_project(None) else []), *self._known_stack.credentials.projects)

    def seal(self, *, keep: bool) -> SecretDigests:
        """What knows secrets by their digests; `keep` where the state is to know them from now on."""
        return SecretDigests(self.declared.stack.read_secret, key_of(self.store, new=self._new_key, keep=keep))

    def with_blame(self, plan: Plan) -> Plan:
        """The plan with what the audit log says about its drift; where the log cannot be read, a warning says so."""
        calls = self.client.calls
        try:
            culprits = blame(self.client, self.keys, list(map(_suspicion_of_drift, plan.drift)))
        except (ApiError, CredentialError) as error:
            warning = Diagnostic("The audit log cannot be read", str(error), severity=Severity.WARNING)
            return replace(plan, diagnostics=(*plan.diagnostics, warning))
        unknown = "the audit log has no entry about it"
        drift = (replace(item, blame=culprits.get((item.id, item.project_id), unknown)) for item in plan.drift)
        return replace(plan, drift=tuple(drift), calls=plan.calls + self.client.calls - calls)

    def with_culprits(self, result: ApplyResult) -> ApplyResult:
        """The result with what the audit log says about whatever moved since the plan was made, where it can be read.

        The log is of the control plane alone, so nothing is asked where only other objects moved.
        """
        moved = [
            outcome
            for outcome in result.of(OutcomeStatus.STALE)
            if outcome.change.id and ALL_KINDS[outcome.change.address.kind].scope.needs_admin_key
        ]
        if not moved or self.interrupts.stop.is_set():
            return result
        try:
            culprits = blame(self.client, self.keys, list(map(_suspicion_of_outcome, moved)))
        except (ApiError, CredentialError) as error:
            talk(f"The audit log cannot be read, so it is not known who did it: {error}")
            return result
        outcomes = (
            replace(outcome, blame=culprits.get((outcome.change.id or "", outcome.change.project_id), ""))
            if outcome.status is OutcomeStatus.STALE
            else outcome
            for outcome in result.outcomes
        )
        return replace(result, outcomes=tuple(outcomes))

    def check_guards(self, plan: Plan, planning: PlanningOptions) -> None:
        """Raise GuardError if a guard refuses the plan."""
        refused = self.with_refusals(plan, planning).refusals
        if refused:
            raise GuardError(refused)

    def with_refusals(self, plan: Plan, planning: PlanningOptions) -> Plan:
        """The plan with what guards refuse of it; a failure from here on is reported with it."""
        allowed = parse_addresses(planning.allow_delete, "--allow-delete")
        known = {*self.store.records(), *(change.address for change in plan.changes)}
        known |= {rule.address for rule in self.configuration.rules if rule.kind.removes}
        for address in allowed:
            if address not in known:
                hint = nearest(str(address), map(str, known))
                raise UsageError(f'--allow-delete: nothing here has the address "{address}".{hint}')
        found = refusals(plan, self.limits, allowed=allowed, keys=self.keys_in_use())
        Outcome.current.plan = replace(plan, refusals=tuple(found))
        return Outcome.current.plan

    @property
    def limits(self) -> Limits:
        """What the guards let pass."""
        guards = self._known_stack.guards
        # With another server than before, even a single object that is gone is a bad sign.
        few = 1 if has_moved(self.store, self.base_url) else FEW_VANISHED
        return Limits(
            max_delete_percent=guards.max_delete_percent,
            max_deletes=guards.max_deletes,
            max_vanished_percent=guards.max_vanished_percent,
            few_vanished=few,
        )

    def plan_age_seconds(self) -> float:
        """How long ago this run began to read live state; without end where another run made the plan."""
        return time.monotonic() - self._surveyed_at

    def check_still_valid(self, plan: Plan) -> None:
        """Raise StalePlanError unless a saved plan was made from this stack, these manifests and this state."""
        Outcome.current.plan = plan
        stack = self.configuration.stack
        if (plan.stack, plan.environment) != (stack.name, stack.environment):
            raise StalePlanError(
                f"the plan is of {plan.stack}/{plan.environment}, and this is {stack.name}/{stack.environment}",
                hint="Choose the environment with -e, or make a new plan.",
            )
        if plan.base_url != self.base_url:
            raise StalePlanError(
                f"the plan was made against {plan.base_url}, and this is {self.base_url}",
                hint="Set OPENAI_BASE_URL or --base-url to that address, or make a new plan.",
            )
        if plan.config_digest != self.configuration.digest:
            raise changed_inputs(plan, self.configuration.given)
        lineage = self.store.identity.lineage
        if plan.state_lineage not in ("", lineage):
            raise StalePlanError(
                f"the plan was made from another state of {plan.stack}/{plan.environment} (lineage "
                f"{plan.state_lineage}, here {lineage})",
                hint="The state was lost or replaced since. Plan again.",
            )
        if plan.state_serial != self.store.serial:
            raise StalePlanError(
                f"the state has moved on since the plan was made (serial {plan.state_serial}, now {self.store.serial})",
                hint="Another apply has run. Plan again.",
            )

    def bind_projects_of(self, plan: Plan) -> None:
        """Tell the provider the projects that a saved plan knows."""
        for change in plan.changes:
            if change.address.project and change.project_id:
                self.provider.bind_project(change.address.project, change.project_id)
            if ALL_KINDS[change.address.kind].defines_project and change.id and change.action is not Action.CREATE:
                self.provider.bind_project(change.address.name, change.id)

    def close(self) -> None:
        """Let go of connections and of the state."""
        for name in ("client", "store"):
            if name in self.__dict__:
                self.__dict__[name].close()


def _suspicion_of_drift(drift: Drift) -> Suspicion:
    return _suspicion(drift.address, drift.id, drift.project_id, deleted=drift.deleted)


def _suspicion_of_outcome(outcome: ChangeOutcome) -> Suspicion:
    change = outcome.change
    is_gone = not outcome.changed_since_plan  # an object that is still there moved field by field
    return _suspicion(change.address, change.id or "", change.project_id, deleted=is_gone)


def _suspicion(address: Address, id: str, project_id: str | None, *, deleted: bool) -> Suspicion:
    kind = ALL_KINDS[address.kind]
    return Suspicion(id, project_id, deleted, types=kind.audit_event_types, can_be_reset=kind.always_exists)


def _state_of(stack: Stack) -> StateStore:
    """The state of a stack, for reading."""
    return StateStore.open_for_reading(stack.backend_path, stack=stack.name, environment=stack.environment)


def settle_seconds() -> float:
    """How long what was just written may be missing from lists; RECONCILER_SETTLE_SECONDS changes it."""
    return seconds_of("RECONCILER_SETTLE_SECONDS", ConsistencyWindow().seconds)


def seconds_of(variable: str, default: float) -> float:
    """A number of seconds that a variable of the environment may change; raises UsageError naming it."""
    text = os.environ.get(variable) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds <= LONGEST_SECONDS:  # not a number, or more than a clock can add
        raise UsageError(f'{variable} is "{text}": write a number of seconds, at most {LONGEST_SECONDS:.0f}')
    return max(0.0, seconds)


def as_text(value: str) -> str:
    """A value of the command line or the environment; bytes that the locale could not decode are read as UTF-8.

    Bytes that are not UTF-8 either become U+FFFD.
    """
    return os.fsencode(value).decode("utf-8", "replace") if _UNDECODED.search(value) else value


def parse_addresses(texts: tuple[str, ...], option: str) -> tuple[Address, ...]:
    """Addresses given to an option; raises UsageError naming it."""
    found = []
    for text in texts:
        try:
            found.append(Address.parse(text))
        except ValueError as error:
            raise UsageError(f"{option}: {error}") from error
    return tuple(found)


def whoami() -> tuple[str, str, int]:
    """User, host and process id, for the lock and the history."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return user, socket.gethostname(), os.getpid()


def read_text(path: Path, what: str) -> str:
    """The text of a file that the user named; raises UsageError."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{what} {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} {path} cannot be read: it is not text in UTF-8") from error


__all__ = ["Session", "parse_addresses", "read_text", "talk", "whoami"]
