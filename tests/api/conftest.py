"""A real client and provider against the emulator, with a clock that only sleep advances."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.keys import Key, KeyRing
from reconciler.api.objects.provider import HttpProvider
from reconciler.api.transport.client import Client
from reconciler.api.transport.throttle import Throttle
from reconciler.emulator import Emulator, EmulatorOptions
from reconciler.errors import AmbiguousError, SinkError
from reconciler.kinds import KINDS
from reconciler.model.address import Address
from reconciler.model.kind import Kind
from reconciler.model.provider import Written
from reconciler.model.resource import LiveObject, Record
from reconciler.model.secret import Redactor, Secret
from reconciler.model.values import FileSet, LocalFile, Member, Spec


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclass
class Entry:
    name: str
    intent: dict[str, Any]
    began_at: float
    status: str = "begun"
    id: str | None = None
    result: dict[str, Any] = field(default_factory=dict)

    def done(self, id: str | None = None, **result: Any) -> None:
        self.status, self.id, self.result = "done", id, result


class MemorySteps:
    """A journal of one address in memory. `next_run` makes what was written so far the past."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.past: list[Entry] = []
        self.entries: list[Entry] = []
        self._lock = threading.Lock()

    @contextmanager
    def step(self, name: str, **intent: Any) -> Iterator[Entry]:
        entry = Entry(name, intent, self.clock())
        with self._lock:
            self.entries.append(entry)
        try:
            yield entry
        except AmbiguousError:
            raise
        except Exception:
            if entry.status == "begun":
                entry.status = "failed"
            raise
        if entry.status == "begun":
            entry.status = "failed"

    def unfinished(self, name: str) -> Sequence[Mapping[str, Any]]:
        return [
            {**entry.intent, "began_at": entry.began_at}
            for entry in self.past
            if entry.name == name and entry.status == "begun"
        ]

    def finished(self, name: str) -> Sequence[Mapping[str, Any]]:
        return [
            {"id": e.id, **e.result} for e in self.past if e.name == name and e.status == "done"
        ]

    def next_run(self) -> MemorySteps:
        later = MemorySteps(self.clock)
        later.past = [*self.past, *self.entries]
        return later

    @property
    def names(self) -> list[str]:
        return [entry.name for entry in self.entries]


class MemorySinks:
    """Sinks that remember what they were given, and refuse on request."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}
        self.unready = False
        self.failing = False

    def check(self, target: Spec, *, address: Address) -> None:
        if self.unready:
            raise SinkError("the target is not ready")

    def put(
        self, target: Spec, secret: Secret, *, address: Address, token: str
    ) -> Mapping[str, Any]:
        if self.failing:
            raise SinkError("the target refused")
        self.held[target["file"]] = secret.reveal()
        return {"sink": "file", "file": target["file"], "digest": ""}

    def recall(self, target: Spec, *, address: Address) -> Secret | None:
        found = self.held.get(target["file"])
        return None if found is None else Secret(found)

    def fetch(self, target: Spec) -> Secret | None:
        return None

    def withdraw(self, target: Spec, receipt: Mapping[str, Any], *, address: Address) -> None:
        self.held.pop(receipt["file"], None)


@dataclass(frozen=True)
class Given:
    """A credential as the stack file would give it."""

    source: str
    secret: Secret | None = None
    file: str | None = None
    from_sink: Address | None = None


@dataclass
class World:
    """Everything between a kind and the emulator, and shortcuts for what tests do with it."""

    emulator: Emulator
    clock: Clock
    root: Path
    client: Client
    keys: KeyRing
    sinks: MemorySinks
    provider: HttpProvider
    steps: MemorySteps
    waits: list[tuple[str, float]]

    def create(
        self, kind: str, spec: Spec, *, project: str | None = None, mark: str | None = None
    ) -> Written:
        address = Address(kind, "it", project)
        return self.provider.create(
            KINDS[kind], project, spec, address=address, mark=mark, steps=self.steps
        )

    def update(
        self,
        live: LiveObject,
        changes: Spec,
        *,
        mark: str | None = None,
        record: Record | None = None,
    ) -> Written:
        address = Address(live.kind.name, "it", live.project)
        return self.provider.update(
            live, changes, address=address, mark=mark, record=record, steps=self.steps
        )

    def delete(self, live: LiveObject, *, record: Record | None = None) -> None:
        address = Address(live.kind.name, "it", live.project)
        self.provider.delete(live, address=address, record=record, steps=self.steps)

    def record_of(self, written: Written) -> Record:
        address = Address(written.live.kind.name, "it", written.live.project)
        return Record(address=address, id=written.live.id, delivered=written.delivered)

    def next_run(self) -> None:
        self.steps = self.steps.next_run()

    def write(self, path: str, content: str | bytes) -> LocalFile:
        """Write a file below the root, and describe it as a plan would."""
        data = content.encode() if isinstance(content, str) else content
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return LocalFile(path, hashlib.sha256(data).hexdigest(), len(data))

    def sent(self, method: str, path: str = "") -> list[Any]:
        """The requests so far of a method, whose path ends so."""
        return [r for r in self.emulator.requests if r.method == method and r.path.endswith(path)]

    def objects(self, kind: str) -> list[dict[str, Any]]:
        with self.emulator.store.lock:
            return [dict(record.body) for record in self.emulator.store.all(kind)]

    @property
    def key(self) -> Key:
        return self.keys.for_project(None)

    @property
    def admin(self) -> Key:
        return self.keys.admin()


@pytest.fixture(scope="session")
def server() -> Iterator[tuple[Emulator, Clock]]:
    """One emulator for all tests, and the clock that both sides read."""
    clock = Clock()
    with Emulator(clock=clock) as running:
        yield running, clock


@pytest.fixture
def clock(server: tuple[Emulator, Clock]) -> Clock:
    """The clock, a day after the last test."""
    clock = server[1]
    clock.now += 86_400
    clock.slept.clear()
    return clock


@pytest.fixture
def emulator(server: tuple[Emulator, Clock], clock: Clock) -> Emulator:
    """The emulator as it was at the beginning."""
    emulator, defaults = server[0], EmulatorOptions()
    names = [
        item.name for item in fields(EmulatorOptions) if item.name not in ("data", "seed", "faults")
    ]
    emulator.set_options(**{name: getattr(defaults, name) for name in names})
    emulator.clear_faults()
    emulator.reset()
    emulator.clear_requests()
    return emulator


@pytest.fixture
def make_world(emulator: Emulator, clock: Clock, tmp_path: Path) -> Iterator[Callable[..., World]]:
    made: list[Client] = []

    def make(
        *, throttle: Throttle | None = None, keys: Mapping[str, Any] | None = None, **options: Any
    ) -> World:
        waits: list[tuple[str, float]] = []
        client = Client(
            emulator.base_url,
            throttle=throttle or Throttle(clock=clock),
            redactor=Redactor(),
            clock=clock,
            sleep=clock.sleep,
            on_wait=lambda reason, until: waits.append((reason, until)),
        )
        made.append(client)
        given = {
            "admin": Given("OPENAI_ADMIN_KEY", Secret(emulator.admin_key)),
            "default": Given("OPENAI_API_KEY", Secret(emulator.api_key)),
            "projects": {},
            **(keys or {}),
        }
        ring = KeyRing(**given, root=tmp_path)
        sinks = MemorySinks()
        provider = HttpProvider(client, ring, sinks, tmp_path, {}, **options)
        return World(
            emulator, clock, tmp_path, client, ring, sinks, provider, MemorySteps(clock), waits
        )

    yield make
    for client in made:
        client.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()


@pytest.fixture
def search(world: World) -> str:
    """The id of a project that the configuration calls "search"."""
    written = world.create("Project", {"name": "Search"})
    world.provider.bind_project("search", written.live.id)
    world.emulator.clear_requests()
    return written.live.id


def kind(name: str) -> Kind:
    return KINDS[name]


@pytest.fixture
def pair(world: World) -> tuple[LiveObject, Member, Member]:
    """A store that holds a.md and b.md, and the two members."""
    members = [
        Member("a.md", world.write("a.md", "a")),
        Member("b.md", world.write("b.md", "b"), attributes={"n": 1}),
    ]
    written = world.create("VectorStore", {"name": "Handbook", "files": FileSet(tuple(members))})
    return written.live, *members
