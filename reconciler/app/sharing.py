"""What the sessions of a fleet share: answers, connections, the pace and the server's clock.

Sessions of one process may share these for any stacks, servers and keys: each part belongs to its
server, organization or key. A session without a `Sharing` has its own parts.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

from reconciler.api.keys import KeyRing
from reconciler.api.transport.base_url import normal_form
from reconciler.api.transport.throttle import Throttle, TokenSource
from reconciler.engine.refresh.audit_window import AuditLog
from reconciler.manifests import Stack
from reconciler.manifests.configuration import Credential
from reconciler.model.consistency import SETTLE_SECONDS, SHARED_SECONDS, ServerClock
from reconciler.model.pace import SharedPace

if TYPE_CHECKING:
    from reconciler.api.transport.client import Client
    from reconciler.api.transport.connection_pool import ConnectionPool
    from reconciler.api.transport.shared_reads import SharedReader

T = TypeVar("T")


class Sharing:
    """The shared parts of one fleet run. Leaving its `with` block closes the connections.

    `stacks` is the most stacks of one organization that share it: a long list is read once for all
    stacks that need an object of it. Answers are used for `max_age_seconds`.
    `settle_seconds` is how long lists may lack what was written. Safe to use from threads.
    """

    def __init__(
        self,
        *,
        stacks: int = 1,
        max_age_seconds: float = SHARED_SECONDS,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        # Every session imports this module, and only those of a fleet share anything.
        from reconciler.api.audit_tail import AuditTail
        from reconciler.api.transport.shared_reads import SharedReads

        self.stacks = stacks
        self.reads = SharedReads(max_age_seconds=max_age_seconds, settle_seconds=settle_seconds)
        self._tail = AuditTail(refused_seconds=max_age_seconds)
        self._answer_seconds: float | None = None
        self._lock = threading.RLock()  # making a pace asks for another part
        self._clocks: dict[Hashable, ServerClock] = {}
        self._throttles: dict[Hashable, Throttle] = {}
        self._paces: dict[Hashable, TokenSource] = {}
        self._pace_databases: dict[Hashable, SharedPace] = {}
        self._pools: dict[Hashable, ConnectionPool] = {}

    def view(self, *, answer_seconds: float, stacks: int) -> Sharing:
        """The same parts, for one session that uses no answer older than `answer_seconds`.

        `stacks` is how many stacks of its organization read at about that time. A view is not
        closed.
        """
        view = copy.copy(self)
        view._answer_seconds, view.stacks = answer_seconds, stacks
        return view

    def server_clock(self, base_url: str) -> ServerClock:
        """The clock of a server. The address need not be a valid one."""
        return self._once(self._clocks, base_url.rstrip("/"), ServerClock)

    def throttle(self, base_url: str, stack: Stack) -> Throttle:
        """The pace of a stack's organization and key. The lowest configured pace applies."""
        credentials = stack.credentials
        secret = _secret(credentials.admin) or _secret(credentials.default)
        pace = stack.admin_requests_per_minute
        if secret is None:
            return Throttle(admin_requests_per_minute=pace)
        key = (normal_form(base_url), stack.organization, secret)
        throttle = self._once(self._throttles, key, Throttle)
        # Each stack can lower it: a lower limit in one stack file applies to its whole
        # organization.
        throttle.limit(pace)
        return throttle

    def keeps(self, throttle: TokenSource | None) -> bool:
        """Whether other sessions get this throttle too, so that it outlives the present one."""
        with self._lock:
            kept = [*self._throttles.values(), *self._paces.values()]
        return any(throttle is entry for entry in kept)

    def shared_throttle(
        self, local: Throttle, make: Callable[[], TokenSource | None]
    ) -> TokenSource:
        """What `make` puts around a throttle of this fleet, made once; else the throttle itself."""
        return self._once(self._paces, id(local), lambda: make() or local)

    def pace_database(self, address: str, make: Callable[[], SharedPace]) -> SharedPace:
        """The pace at an address: one for all organizations, so that they share its connections."""
        return self._once(self._pace_databases, address, make)

    def transport(self, base_url: str, environ: Mapping[str, str]) -> ConnectionPool:
        """The connections to a server. Raises UsageError for settings that cannot be used."""
        from reconciler.api.transport.connection_pool import ConnectionPool

        # Stacks with other settings of proxy or certificates must not get these connections.
        settings = tuple(sorted((name, environ[name]) for name in environ if _is_network(name)))
        return self._once(
            self._pools, (base_url, settings), lambda: ConnectionPool(base_url, environ)
        )

    def reader(self, base_url: str, stack: Stack) -> SharedReader:
        """A stack's part in the shared answers."""
        from reconciler.api.transport.shared_reads import SharedReader

        server = normal_form(base_url)
        clock = self.server_clock(base_url)
        reader = SharedReader(self.reads, server, stack.organization or "", clock)
        if self._answer_seconds is not None:
            oldest = clock() - self._answer_seconds
            reader.refuse_before(oldest - self.reads.settle_seconds)
        return reader

    def log(self, client: Client, keys: KeyRing) -> AuditLog:
        """The audit log for the plans of a session, read once for all of its organization."""
        return partial(self._tail.read, client, keys)

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            for pool in self._pools.values():
                pool.end()
            self._pools.clear()
            for pace in self._paces.values():
                pace.close()
            self._paces.clear()
            for database in self._pace_databases.values():
                database.close()
            self._pace_databases.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _once(self, parts: dict[Hashable, T], key: Hashable, make: Callable[[], T]) -> T:
        with self._lock:
            if key not in parts:
                parts[key] = make()
            return parts[key]


def number_of_stacks(sharing: Sharing | None) -> int:
    """How many stacks may share what a session reads."""
    return sharing.stacks if sharing is not None else 1


def _secret(credential: Credential | None) -> Hashable | None:
    return credential.secret if credential is not None else None


def _is_network(name: str) -> bool:
    return name.lower().endswith("_proxy") or name.startswith("SSL")
