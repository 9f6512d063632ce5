"""Many organizations at one address, as on the platform: a request belongs to the one whose key it carries.

    with Organizations(20, EmulatorOptions(admin_rpm=7)) as platform:
        platform.base_url
        platform[3].admin_key, platform[3].state

Each organization is a whole emulator with its own objects, keys, limits, audit log and faults. As on
the platform, nothing in a request but its key says which one is meant. Their default projects share
one id, so whatever mixes organizations up finds an object where it should find none.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from starlette.types import Receive, Scope, Send

from reconciler.emulator import EmulatorOptions
from reconciler.emulator._uvicorn import make_server
from reconciler.emulator.app import App
from reconciler.emulator.recorder import RequestRecord
from reconciler.emulator.state import State
from reconciler.emulator.store import ORGANIZATION, ObjectRow, Store
from reconciler.emulator.world import DEFAULT_PROJECT, add_admin_key, add_key


@dataclass(frozen=True)
class Organization:
    """One organization, and the keys that open it."""

    number: int
    id: str
    admin_key: str
    api_key: str
    app: App

    @property
    def state(self) -> State:
        return self.app.state

    @property
    def store(self) -> Store:
        """All objects; hold `store.lock` for reads that must be consistent."""
        return self.app.state.store

    @property
    def requests(self) -> list[RequestRecord]:
        """The requests so far, oldest first."""
        return self.app.state.recorder.all()

    def calls(self) -> Counter[str]:
        """How often each route was asked, refused requests included."""
        return Counter(f"{request.method} {request.route}" for request in self.requests)

    def refused(self) -> int:
        """How many requests got a 429."""
        return sum(request.status == 429 for request in self.requests)

    def forget_requests(self) -> None:
        self.app.state.recorder.clear()

    def revoke_admin_key(self) -> None:
        """Make the admin key one that the organization refuses, as if somebody had deleted it."""
        store = self.store
        with store.lock:
            record = store.key_record(self.admin_key)
            if record is not None:
                store.remove(record)
                store.commit()

    def reset(self) -> None:
        """Return to the objects of the beginning, and to none of its requests."""
        self.state.reset()
        _change_keys(self.store, self.admin_key, self.api_key)

    def restore_admin_key(self) -> None:
        """Take the admin key again after `revoke_admin_key`."""
        with self.store.lock:
            if self.store.key_record(self.admin_key) is None:
                _add_admin_key(self.store, self.admin_key)

    def objects(self, kind: str) -> list[ObjectRow]:
        """The records of a kind, archived ones left out."""
        with self.store.lock:
            return [item for item in self.store.all(kind) if item.body.get("status") != "archived"]


class Organizations:
    """A server for many organizations, running inside a `with` block. Iterates over them."""

    def __init__(
        self,
        count: int,
        options: EmulatorOptions | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        given = options or EmulatorOptions()
        self._all = [_new(number, given, clock) for number in range(count)]
        self.base_url = ""
        self._listener: socket.socket | None = None

    def __getitem__(self, number: int) -> Organization:
        return self._all[number]

    def __iter__(self) -> Iterator[Organization]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        for one in self._all:
            one.store.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._home(scope).app(scope, receive, send)

    def _home(self, scope: Scope) -> Organization:
        """The organization of the key of a request. An unknown key is refused by any of them."""
        for name, value in scope["headers"]:
            if name == b"authorization":
                secret = value.decode("latin-1").partition(" ")[2].strip()
                for one in self._all:
                    if one.store.key_record(secret) is not None:
                        return one
        return self._all[0]

    def start(self) -> None:
        """Listen; after a `stop`, at the same address as before."""
        port = int(self.base_url.rpartition(":")[2].split("/")[0]) if self.base_url else 0
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(512)
        self.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        self._server = make_server(self, on_started=lambda: None)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, daemon=True
        )
        self._thread.start()
        self._server.wait_until_started()

    def stop(self) -> None:
        """Stop listening; requests in flight may be cut off. The objects stay."""
        self._server.stop()
        self._thread.join()

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables with the keys of all organizations, and the address."""
        keys = {"OPENAI_BASE_URL": self.base_url}
        for one in self._all:
            keys[admin_variable(one.number)] = one.admin_key
            keys[key_variable(one.number)] = one.api_key
        return keys

    def calls(self) -> Counter[str]:
        """How often each route was asked in all organizations."""
        total: Counter[str] = Counter()
        for one in self._all:
            total += one.calls()
        return total

    def reset(self) -> None:
        """Return all organizations to their beginning."""
        for one in self._all:
            one.reset()

    def forget_requests(self) -> None:
        for one in self._all:
            one.forget_requests()


def admin_variable(number: int) -> str:
    """The environment variable with the admin key of an organization."""
    return f"ORG_{number:02}_ADMIN_KEY"


def key_variable(number: int) -> str:
    """The environment variable with the project key of an organization."""
    return f"ORG_{number:02}_API_KEY"


def _new(number: int, options: EmulatorOptions, clock: Callable[[], float]) -> Organization:
    id = f"org-fleet{number:02}"
    state = State(replace(options, organization=id), clock=clock)
    admin_key, api_key = f"sk-admin-fleet{number:02}{'a' * 24}", f"sk-fleet{number:02}{'p' * 24}"
    _change_keys(state.store, admin_key, api_key)
    return Organization(number, id, admin_key, api_key, App(state))


def _change_keys(store: Store, admin_key: str, api_key: str) -> None:
    """Put keys in the place of those that every emulator begins with."""
    with store.lock:
        for record in [*store.all("admin_key"), *store.all("api_key")]:
            store.remove(record)
        _add_admin_key(store, admin_key)
        project = store.get("project", ORGANIZATION, DEFAULT_PROJECT)
        owner = next(iter(store.collection("user", ORGANIZATION).ordered()))
        assert project is not None
        add_key(
            store,
            project,
            api_key,
            name="Fleet key",
            owner={"type": "user", "id": owner.id},
            roams=True,
        )
        store.commit()


def _add_admin_key(store: Store, secret: str) -> None:
    add_admin_key(store, secret, name="Fleet admin key")
    store.commit()
