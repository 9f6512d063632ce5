"""One run over one stack: its configuration, its state and its connection to the API.

Each part is made at its first use, so a caller pays only for what it needs: validating manifests
opens no socket, and reading the history parses no manifest.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from msgspec.structs import replace

from reconciler.api.keys import KeyRing
from reconciler.api.objects.provider import HttpProvider
from reconciler.api.transport.base_url import DEFAULT_BASE_URL, check_base_url
from reconciler.api.transport.client import Client
from reconciler.api.transport.throttle import TokenSource
from reconciler.app.api_access import client_of, planning_of, provider_of
from reconciler.app.deliveries import recalled_key, sinks_of
from reconciler.app.env_durations import settle_seconds
from reconciler.app.known_secrets import was_delivered
from reconciler.app.listener import RunListener, SilentListener
from reconciler.app.pacing import token_source
from reconciler.app.planning import Planning
from reconciler.app.policy_request import PolicyRequest
from reconciler.app.run_manifests import RunManifests
from reconciler.app.run_state import RunState
from reconciler.app.secret_digests import new_key, revealed
from reconciler.app.secret_sources import SecretSources
from reconciler.app.sharing import Sharing
from reconciler.engine.binding.attempts import unfinished_work
from reconciler.engine.binding.deliveries import journaled_deliveries
from reconciler.engine.consistency import ConsistencyWindow
from reconciler.engine.ownership import Ownership
from reconciler.kinds import ALL_KINDS
from reconciler.manifests import Configuration, Settings, Stack
from reconciler.manifests.configuration import allowed_sources
from reconciler.model.consistency import ServerClock
from reconciler.model.provider import Sinks
from reconciler.model.secret import Redactor, Secret
from reconciler.model.traffic import TrafficObserver
from reconciler.model.values import SecretValue
from reconciler.state import StateStore
from reconciler.state.encryption import Cipher, cipher_of

if TYPE_CHECKING:
    from reconciler.policies import Policy

LOG = logging.getLogger("reconciler.app")


class _Closable(Protocol):
    def close(self) -> None: ...


_Part = TypeVar("_Part", bound=_Closable)


class Session:
    """Everything that one run over one stack needs. Leaving its `with` block closes it.

    `settings` name the stack's folder, its environment and its variables; keys and other settings
    come from `settings.env`. `base_url` overrides OPENAI_BASE_URL. The redactor learns every
    secret of the run. `notice` receives sentences for a person, and `progress` makes the listener
    once the client exists. `traffic` hears of each request. Setting `stop` ends the run after the
    calls in flight. `sharing` is what the sessions of a fleet share.

    It wires the parts of a run to each other: the state and the manifests open themselves, and the
    other parts are properties of a few lines that decide nothing. That makes many methods.
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
        self.program = ""
        """The program that runs many sessions: `fleet` or `operator`."""
        self.command = ""
        """The words of the command, as shown to other runs that share a limit or a lock."""
        self.is_background = False
        """Whether the run is unattended, and so gives way to others at a shared limit."""
        self.is_offline = False
        """Whether to make no network request, not even for a shared state."""
        self.network_environ: Mapping[str, str] = os.environ
        """The settings of proxy and certificates."""
        self.sharing = sharing
        server = base_url or settings.env.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL
        self.server_clock = sharing.server_clock(server) if sharing else ServerClock()
        # Evaluated at each call: commands set `is_offline` after they create the session.
        self.state = RunState(self.settings, self.server_clock, is_offline=lambda: self.is_offline)
        self.manifests = RunManifests(self.settings, self.state)
        self.read_at = -math.inf
        """When this run began to read live state (monotonic); never for a saved plan."""
        self.applies_saved_plan = False
        """Whether this run applies a plan that another run made."""
        self.new_digest_key = new_key()
        self._base_url = base_url
        self._make_progress = progress or SilentListener
        self._traffic = traffic
        self._client: Client | None = None
        # Parts close in the reverse order of their making. The state is last, because the client
        # and the sinks ask it for permission.
        self._parts = ExitStack()
        self._closed_at_end(self.state)

    # --- what the manifests declare ---------------------------------------------------------------

    @property
    def declared(self) -> Configuration:
        """All manifests; files inside declared folders may be unread. Raises ConfigurationError."""
        return self.manifests.declared

    @property
    def configuration(self) -> Configuration:
        """All manifests and every file that they name; raises ConfigurationError with every problem."""
        return self.manifests.completed

    def use_configuration(self, configuration: Configuration) -> None:
        """Use this configuration in place of the manifests."""
        self.manifests.use(configuration)

    def use_saved_variables(self, variables: Mapping[str, Any]) -> None:
        """Load the manifests with the variables of a saved plan."""
        self.settings = replace(self.settings, saved_variables=variables)
        self.manifests.settings = self.settings

    @property
    def stack(self) -> Stack:
        """The stack; reads the stack file alone where the manifests are not loaded."""
        return self.manifests.stack

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
            recall=partial(recalled_key, self),
        )

    @cached_property
    def progress(self) -> RunListener:
        """The listener of this run."""
        return self._make_progress(self.client)

    @property
    def client(self) -> Client:
        """The only HTTP client of the run."""
        if self._client is None:
            self._client = self._closed_at_end(client_of(self, self._traffic))
        return self._client

    @property
    def has_client(self) -> bool:
        """Whether the run has used the API, or was about to."""
        return self._client is not None

    @cached_property
    def throttle(self) -> TokenSource:
        """When the client may send requests."""
        throttle = token_source(self)
        if self.sharing is not None and self.sharing.keeps(throttle):
            return throttle
        return self._closed_at_end(throttle)

    @cached_property
    def provider(self) -> HttpProvider:
        """The API's objects, as the engine sees them."""
        return provider_of(self)

    def reveal(self, value: SecretValue) -> Secret:
        """A secret that a body names, right before it is sent; raises CredentialError."""
        return revealed(self.sources.read, value, reason=self.sources.reason)

    @cached_property
    def sinks(self) -> Sinks:
        """The destinations of this stack's keys."""
        return self._closed_at_end(sinks_of(self))

    @cached_property
    def sources(self) -> SecretSources:
        """The sources of the secrets that are sent to the API."""
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
        return planning_of(self)

    # --- the state --------------------------------------------------------------------------------

    @property
    def store(self) -> StateStore:
        """The state, for reading; after `writable`, for writing."""
        # An open state needs no stack: asking for the stack could parse its file.
        return self.state.opened or self.state.read(self.stack)

    def writable(self) -> StateStore:
        """Open the state for writing; creates it if there is none."""
        return self.state.write(self.stack)

    @cached_property
    def cipher(self) -> Cipher:
        """Encrypts for the recipients that the stack declares; without recipients, stores plain
        text.
        """
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
        """The search times for objects that were just written."""
        return ConsistencyWindow(
            seconds=settle_seconds(self.settings.env),
            clock=self.server_clock,
            is_time_known=lambda: self.server_clock.is_known,
            pause=self.client.waits.pause,
        )

    # --- the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the connections and the state."""
        self._parts.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _closed_at_end(self, part: _Part) -> _Part:
        """The part, which `close` closes before those that were made earlier."""
        return self._parts.enter_context(closing(part))
