"""One run over one stack: its configuration, its state and its connection to the API.

Each part is made at its first use, so a caller pays only for what it needs: validating manifests
opens no socket, and reading the history parses no manifest.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from msgspec.structs import replace

from reconciler import __version__
from reconciler.api.keys import KeyRing
from reconciler.api.objects.provider import HttpProvider
from reconciler.api.transport.base_url import DEFAULT_BASE_URL, check_base_url
from reconciler.api.transport.client import ANSWER_SECONDS, Client
from reconciler.api.transport.throttle import TokenSource
from reconciler.app.backend import location_of
from reconciler.app.deliveries import begun_deliveries, delivered
from reconciler.app.known_secrets import remembered, was_delivered
from reconciler.app.origin import expect_declared, expect_recorded
from reconciler.app.pacing import follow_organization, suggest_organization, token_source
from reconciler.app.page_hints import load_pages
from reconciler.app.planning import Planning
from reconciler.app.policy_request import PolicyRequest
from reconciler.app.secret_digests import new_key, revealed
from reconciler.app.secret_sources import SecretSources
from reconciler.app.sharing import Sharing, client_parts, sharers_of
from reconciler.app.states import open_state
from reconciler.engine.apply.listener import Listener
from reconciler.engine.binding.attempts import unfinished_work
from reconciler.engine.binding.deliveries import journaled_deliveries
from reconciler.engine.consistency import ConsistencyWindow
from reconciler.engine.ownership import Ownership
from reconciler.engine.refresh.audit_trust import FullRefreshPolicy
from reconciler.errors import SinkError, StateError, UsageError
from reconciler.kinds import ALL_KINDS, KINDS
from reconciler.manifests import (
    Configuration,
    ParsedFiles,
    Settings,
    Stack,
    load_configuration,
    load_stack,
)
from reconciler.manifests.configuration import allowed_sources
from reconciler.manifests.problems import ValueProblem
from reconciler.manifests.shapes import OPENAI_KEY
from reconciler.model.address import Address
from reconciler.model.allowance import allowed_places
from reconciler.model.change import Change, Outcome, Plan
from reconciler.model.consistency import ServerClock
from reconciler.model.provider import Sinks
from reconciler.model.secret import Redactor, Secret
from reconciler.model.sinks import targets_of
from reconciler.model.tracing import span
from reconciler.model.traffic import TrafficObserver
from reconciler.model.values import SecretValue
from reconciler.rules import RULE_KINDS
from reconciler.secrets.sinks import SinkSet
from reconciler.state import StateStore
from reconciler.state.encryption import Cipher, cipher_of

if TYPE_CHECKING:
    from reconciler.policies import Policy

LOG = logging.getLogger("reconciler.app")
LONGEST_SECONDS = 86_400.0
"""The longest wait that an environment variable can set."""


class RunListener(Listener, Protocol):
    """Follows a run: its waits, its two phases and its changes. Called from any thread."""

    def waiting(self, reason: str, until: float) -> None:
        """A wait of more than two seconds begins; `until` is in Unix seconds."""

    def reading(self) -> AbstractContextManager[None]:
        """Surrounds the phase that reads live state."""

    def applying(self, plan: Plan) -> AbstractContextManager[None]:
        """Surrounds the phase that applies a plan."""


class Session:
    """Everything that one run over one stack needs. Leaving its `with` block closes it.

    `settings` name the stack's folder, its environment and its variables; keys and other settings
    come from `settings.env`. `base_url` overrides OPENAI_BASE_URL. The redactor learns every
    secret of the run. `notice` receives sentences for a person, and `progress` makes the listener
    once the client exists. `traffic` hears of each request. Setting `stop` ends the run after the
    calls in flight. `sharing` is what the sessions of a fleet share.

    A long class, because it is the only place that wires the parts of a run to each other. A part
    is a property of a few lines and decides nothing.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        base_url: str | None = None,
        parallelism: int = 10,
        redactor: Redactor | None = None,
        stop: threading.Event | None = None,
        notice: Callable[[str], None] = LOG.warning,
        progress: Callable[[Client], RunListener] | None = None,
        sharing: Sharing | None = None,
        traffic: TrafficObserver | None = None,
    ) -> None:
        self.redactor = redactor or Redactor()
        self.settings = replace(settings, learn=self.redactor.add)
        self.parallelism = parallelism
        self.stop = stop or threading.Event()
        self.notice = notice
        self.policy_request = PolicyRequest()
        """What the command line says about policies."""
        self.policies: tuple[Policy, ...] | None = None
        """The policies of the run, once `app.policies.policies_of` has loaded them."""
        self.lock_wait = 0.0
        """How many seconds to wait for another run that holds the lock."""
        self.accept_moved_state = False
        """Whether a state that was moved to another backend may still be read."""
        self.program = ""
        """What runs this session, if it runs many: `fleet` or `operator`."""
        self.command = ""
        """The words of the command, for people who share something with this run."""
        self.is_background = False
        """Whether nobody waits for this run, so that others come first where a limit is shared."""
        self.is_offline = False
        """Whether nothing may be asked over the network, a shared state included."""
        self.needs_manifests = True
        """Whether a folder without any manifest is an error. A missing file must not read as "delete everything"."""
        self.network_environ: Mapping[str, str] = os.environ
        """The settings of proxy and certificates."""
        self.sharing = sharing
        server = base_url or settings.env.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL
        self.server_clock = sharing.server_clock(server) if sharing else ServerClock()
        self.parsed = ParsedFiles()
        """The manifests that were read, for the state to cache."""
        self.read_at = -math.inf
        """When this run began to read live state (monotonic); never for a saved plan."""
        self.applies_saved_plan = False
        """Whether this run applies a plan that another run made."""
        self.new_digest_key = new_key()
        self._base_url = base_url
        self._make_progress = progress or SilentListener
        self._traffic = traffic
        self._configuration: Configuration | None = None
        self._stack: Stack | None = None
        self._store: StateStore | None = None
        self._state_error: StateError | None = None
        self._client: Client | None = None

    # --- what the manifests declare ---------------------------------------------------------------

    @property
    def declared(self) -> Configuration:
        """All manifests; files inside declared folders may be unread. Raises ConfigurationError."""
        if self._configuration is None:
            with span("load"):
                self._configuration = load_configuration(
                    self.settings,
                    KINDS,
                    RULE_KINDS,
                    parsed=self._parsed_files,
                    remembered=lambda stack: remembered(lambda: self._open_store(stack)),
                    outputs_of=self._outputs_of,
                    whole=False,
                    needs_manifests=self.needs_manifests,
                )
        return self._configuration

    def _outputs_of(self, stack: Stack, name: str) -> Mapping[str, Any] | None:
        """The outputs of another stack in the same environment, at the address of our state."""
        if self.is_offline:
            return None
        try:
            other = open_state(
                replace(stack, name=name), self.settings, writable=False, clock=self.server_clock
            )
        except StateError as error:
            summary = "Outputs of another stack cannot be read"
            raise ValueProblem(summary, f'The state of the stack "{name}": {error}') from error
        try:
            return other.outputs()
        finally:
            other.close()

    @property
    def configuration(self) -> Configuration:
        """All manifests and every file that they name; raises ConfigurationError with every problem."""
        self._configuration = self.declared.completed()
        return self._configuration

    def use_configuration(self, configuration: Configuration) -> None:
        """Use this configuration in place of the manifests."""
        self._configuration = configuration

    @property
    def stack(self) -> Stack:
        """The stack; reads the stack file alone where the manifests are not loaded."""
        if self._configuration is not None:
            return self._configuration.stack
        if self._stack is None:
            self._stack = load_stack(
                self.settings,
                remembered=lambda stack: remembered(lambda: self._open_store(stack)),
            )
        return self._stack

    # --- the API ----------------------------------------------------------------------------------

    @cached_property
    def base_url(self) -> str:
        """The API's address. Never read from a file, which a pull request could change."""
        given = self._base_url or self.settings.env.get("OPENAI_BASE_URL")
        return check_base_url(given or DEFAULT_BASE_URL)

    @cached_property
    def keys(self) -> KeyRing:
        """The stack's credentials."""
        credentials = self.stack.credentials
        return KeyRing(
            admin=credentials.admin,
            default=credentials.default,
            projects=credentials.projects,
            root=self.stack.root,
            recall=self._recall,
        )

    def _recall(self, writer: Address) -> Secret | None:
        """The delivered key of a resource, from the first of its destinations that has it.

        Where it was delivered last counts, else where the manifest delivers it.
        """
        record = self.store.records().get(writer)
        entries = record.delivered.values() if record is not None else ()
        places = [entry.get("target") for entry in entries if isinstance(entry, Mapping)]
        for resource in self.declared.resources if not places else ():
            if resource.address == writer:
                values = (resource.spec.get(field.name) for field in resource.kind.own_calls)
                places = [value.get("write_to") for value in values if isinstance(value, Mapping)]
        for target in (target for write_to in places for target in targets_of(write_to)):
            try:
                secret = self.sinks.recall(target, address=writer)
            except SinkError as error:
                self.notice(f"The key of {writer} cannot be read back: {error}")
                continue
            if secret is not None and OPENAI_KEY.fullmatch(secret.reveal()):
                return secret
        return None

    @cached_property
    def progress(self) -> RunListener:
        """The listener of this run."""
        return self._make_progress(self.client)

    @property
    def client(self) -> Client:
        """The only HTTP client of the run."""
        if self._client is None:
            stack = self.stack
            parts = client_parts(self.sharing, self.base_url, stack, self.network_environ)
            client = Client(
                self.base_url,
                throttle=self.throttle,
                transport=parts.transport,
                shared=parts.shared,
                redactor=self.redactor,
                organization=stack.organization,
                user_agent=f"reconciler/{__version__}",
                answer_seconds=seconds_of(
                    self.settings.env, "RECONCILER_ANSWER_SECONDS", ANSWER_SECONDS
                ),
                parallelism=self.parallelism,
                server_clock=self.server_clock,
                on_wait=lambda reason, until: self.progress.waiting(reason, until),
                stop=self.stop,
                permit=self._permit,
                observer=self._traffic,
                environ=self.network_environ,
            )
            expect_declared(client, stack)
            follow_organization(self, client)
            self._client = client
        return self._client

    @property
    def has_client(self) -> bool:
        """Whether the run has used the API, or was about to."""
        return self._client is not None

    @cached_property
    def throttle(self) -> TokenSource:
        """When the client may send requests."""
        return token_source(self)

    @cached_property
    def provider(self) -> HttpProvider:
        """The API's objects, as the engine sees them."""
        stack = self.declared.stack
        suggest_organization(self)
        expect_recorded(self.client, self.store, self.base_url)
        return HttpProvider(
            self.client,
            self.keys,
            self.sinks,
            stack.root,
            stack.projects,
            default_project=stack.project,
            settle_seconds=settle_seconds(self.settings.env),
            reveal=self.reveal,
            parallelism=min(self.parallelism, 4),
            recorded=self.store.records().values(),
            pages=load_pages(self.store),
        )

    def reveal(self, value: SecretValue) -> Secret:
        """A secret that a body names, right before it is sent; raises CredentialError."""
        return revealed(self.sources.read, value, reason=self.sources.reason)

    @cached_property
    def sinks(self) -> Sinks:
        """Where the keys of this stack are delivered."""
        stack = self.stack
        return SinkSet(
            stack.root,
            self.redactor,
            owner=f"{stack.name}/{stack.environment}",
            env=self.settings.env,
            deliveries=lambda: delivered(self.store),
            begun=lambda: begun_deliveries(self.store),
            allowed=allowed_places(self.settings.allow_sinks, self.settings.env),
            withheld=stack.in_use,
            connect=self._connect,
            run=self._run_program,
            permit=self._permit,
            sleep=self.stop.wait,
        )

    def _connect(self, address: str, **options: Any) -> Any:
        # Imported late, as programs are: few stacks deliver to a server.
        from reconciler.api.transport.side_client import connect

        return connect(address, environ=self.settings.env, **options)

    def _run_program(self, *arguments: Any, **options: Any) -> Any:
        # Imported late, since few stacks deliver to a command.
        from reconciler.secrets.commands import run_program

        return run_program(*arguments, **options, stop=self.stop, permit=self._permit)

    @cached_property
    def sources(self) -> SecretSources:
        """Where the secrets come from that are sent to the API."""
        stack = self.declared.stack
        return SecretSources(
            stack.read_secret,
            self.sinks.fetch,
            allowed=allowed_sources(self.settings),
            in_use=stack.in_use,
            was_delivered=was_delivered(lambda: self.store),
            learn=self.redactor.add,
        )

    @cached_property
    def planning(self) -> Planning:
        """Reads live state for plans, and saves the checkpoint of it."""
        refresh = self.declared.stack.refresh
        policy = FullRefreshPolicy(
            refresh.overlap_minutes * 60, refresh.full_every_hours, refresh.full_every_runs
        )
        sharers = sharers_of(self.sharing)
        return Planning(
            self.provider.for_planning(sharers=sharers),
            self.client,
            self.keys,
            policy,
            parallelism=self.parallelism,
            log=self.sharing.log(self.client, self.keys) if self.sharing else None,
            sharers=sharers,
        )

    def reading_age(self) -> float:
        """The age in seconds of the live state that the plan was made from."""
        return self.client.reading_age(self.read_at)

    # --- the state --------------------------------------------------------------------------------

    @property
    def store(self) -> StateStore:
        """The state, for reading; after `writable`, for writing."""
        return self._store or self._open_store(self.stack)

    def writable(self) -> StateStore:
        """Open the state for writing; creates it if there is none."""
        if self._store is None or self._store.is_read_only:
            if self._store is not None:
                self._store.close()
            self._store = self._open(self.stack, writable=True)
        return self._store

    def _open_store(self, stack: Stack) -> StateStore:
        if self._store is None:
            if self.is_offline and location_of(stack, self.settings).is_remote:
                raise StateError("a shared state cannot be read offline")
            self._store = self._open(stack, writable=False)
        return self._store

    def _open(self, stack: Stack, *, writable: bool) -> StateStore:
        # The caches ask first and get along without a state, so a failure is kept: a backend that
        # does not answer is waited for once.
        if self._state_error is not None:
            raise self._state_error
        try:
            return open_state(
                stack,
                self.settings,
                writable=writable,
                clock=self.server_clock,
                accept_moved=self.accept_moved_state,
            )
        except StateError as error:
            self._state_error = error
            raise

    def _permit(self) -> None:
        """Return if this run may call the API and deliver keys.

        Raises LeaseLostError if another run has replaced it.
        """
        if self._store is not None:
            self._store.permit()

    def _parsed_files(self, stack: Stack) -> ParsedFiles:
        # An unreadable state is reported by the first step that needs more of it than this cache.
        with suppress(StateError):
            self.parsed = ParsedFiles(self._open_store(stack).parse_cache.find)
        return self.parsed

    @cached_property
    def cipher(self) -> Cipher:
        """Encrypts for the recipients that the stack declares; without any, not at all."""
        return cipher_of(self.stack.recipients, self.settings.env, learn=self.settings.learn)

    @cached_property
    def ownership(self) -> Ownership:
        """This stack's identity, and what earlier runs left unfinished."""
        stack = self.stack
        entries = self.store.runs.unfinished()
        begun = unfinished_work(entries, ALL_KINDS, clock=self.server_clock)
        return Ownership(
            stack.name,
            stack.environment,
            *begun,
            former=self.store.remarks.former_owners(),
            deliveries=journaled_deliveries(entries),
            # `writable` replaces the store, so each call asks for the present one.
            held_ids=lambda address: self.store.held_ids(address),
            holders=lambda kind, live_id: self.store.holders(kind, live_id),
        )

    @property
    def consistency(self) -> ConsistencyWindow:
        """How long to search for an object that was written a moment ago."""
        return ConsistencyWindow(
            seconds=settle_seconds(self.settings.env),
            clock=self.server_clock,
            is_time_known=lambda: self.server_clock.is_known,
            pause=self.client.waits.pause,
        )

    def close(self) -> None:
        """Close the connections and the state."""
        parts = [self._client, self._store, self.__dict__.get("sinks")]
        if self.sharing is None or not self.sharing.keeps(self.__dict__.get("throttle")):
            parts.append(self.__dict__.get("throttle"))
        for resource in parts:
            if resource is not None:
                resource.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class SilentListener:
    """A `RunListener` that ignores everything."""

    def __init__(self, client: Client) -> None:
        pass

    def waiting(self, reason: str, until: float) -> None:
        """Ignore a wait."""

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Ignore the phase that reads live state."""
        yield

    @contextmanager
    def applying(self, plan: Plan) -> Iterator[None]:  # noqa: ARG002 - the protocol's
        """Ignore the phase that applies a plan."""
        yield

    def started(self, change: Change) -> None:
        """Ignore the start of a change."""

    def told(self, change: Change, text: str) -> None:
        """Ignore a message of a job."""

    def finished(self, outcome: Outcome) -> None:
        """Ignore the end of a change."""


def settle_seconds(env: Mapping[str, str]) -> float:
    """How long lists may lack a new object; RECONCILER_SETTLE_SECONDS overrides the default."""
    return seconds_of(env, "RECONCILER_SETTLE_SECONDS", ConsistencyWindow().seconds)


def seconds_of(env: Mapping[str, str], variable: str, default: float) -> float:
    """The number of seconds in an environment variable; raises UsageError naming the variable."""
    text = env.get(variable) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds <= LONGEST_SECONDS:  # not a number, or more than a clock can add
        raise UsageError(
            f'{variable} is "{text}": write a number of seconds, at most {LONGEST_SECONDS:.0f}',
        )
    return max(0.0, seconds)
