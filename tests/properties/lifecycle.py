"""The life of a kind's example: create, change and end, under any faults.

Everything on our side is real: manifests are loaded from a folder, the state is on disk, requests go over HTTP to the
emulator. Only time is ours: nobody sleeps, and the emulator's clock moves with ours.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Any

from msgspec.structs import replace

from reconciler.api.keys import KeyRing
from reconciler.api.objects.provider import HttpProvider
from reconciler.api.transport.client import Client
from reconciler.api.transport.throttle import Throttle
from reconciler.app.deliveries import begun_deliveries, delivered
from reconciler.app.planning import Planning
from reconciler.app.secret_digests import SecretDigests, revealed
from reconciler.emulator import Emulator
from reconciler.engine.apply.scheduler import ApplyContext, apply_plan
from reconciler.engine.binding.attempts import unfinished_work
from reconciler.engine.consistency import ConsistencyWindow
from reconciler.engine.inputs import PlanInputs, PlanOptions
from reconciler.engine.ownership import Ownership
from reconciler.engine.refresh.audit_trust import FullRefreshPolicy
from reconciler.kinds import KINDS
from reconciler.manifests import Configuration, Settings, load_configuration
from reconciler.model.change import ApplyResult, OutcomeStatus, Plan
from reconciler.model.consistency import JUST_READ_SECONDS, ServerClock
from reconciler.model.diagnostic import Severity
from reconciler.model.kind import Kind
from reconciler.model.secret import Redactor
from reconciler.secrets import SinkSet
from reconciler.state import StateStore
from tests.properties.bench import pending
from tests.whole_examples import FILES, make_a_persons_key, whole_example

SETTLE_SECONDS = 12.0


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.woke_at: list[float] = []
        """The moments at which a sleep ended."""

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float, _: str = "") -> None:
        self.now += seconds
        self.woke_at.append(self.now)


@dataclass
class Life:
    """One stack with the example of one kind, on an emulator that begins anew."""

    kind: Kind
    emulator: Emulator
    clock: Clock
    root: Path
    answer_seconds: float = 120.0
    runs: int = 1
    """How often an apply is run until it goes through."""
    ahead_seconds: float = 0.0
    """How far the clock of our machine is ahead of the server's."""
    texts: dict[str, str] = field(default_factory=dict)
    calls: int = 0

    def __post_init__(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        self.emulator.clear_faults()
        self.emulator.reset()
        self.emulator.clear_requests()
        make_a_persons_key(self.emulator)
        self.clock.now += 86_400
        self.write(
            {
                "manifests.yaml": whole_example(self.kind),
                **{name: dedent(text) for name, text in FILES.items()},
            }
        )

    # --- what happens in it

    def phases(self) -> Iterator[str]:
        """Create, change and destroy, each followed by a look at what is there; the plan is empty after each."""
        self.applied()
        yield "created"
        self.change()
        self.applied()
        yield "changed"
        self.applied(destroy=True)
        yield "destroyed"

    def write(self, texts: dict[str, str]) -> None:
        """Write files of the stack's folder."""
        self.texts.update(texts)
        for name, text in texts.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def change(self) -> None:
        """Make an update due wherever there can be one: new content, another place for keys, and an outside edit.

        Secrets are content too.
        """
        manifests = re.sub(
            r"(?<!from_)file: secrets/", "file: others/", self.texts["manifests.yaml"]
        )
        contents = {
            name: text.rstrip("\n") + " changed\n"
            for name, text in self.texts.items()
            if not name.endswith(".yaml")
        }
        self.write({"manifests.yaml": manifests, **contents})
        for address, record in self.records().items():
            names = [
                item.name for item in KINDS[address.kind].fields if item.on_update and item.in_body
            ]
            self._edit(record.id, [name for name in names if name in record.applied])

    def vanish(self, id: str) -> None:
        """Somebody deletes an object."""
        store = self.emulator.store
        with store.lock:
            for live in [
                live for kind in store.counts() for live in store.all(kind) if live.id == id
            ]:
                store.remove(live)

    def _edit(self, id: str, names: list[str]) -> None:
        store = self.emulator.store
        with store.lock:
            for live in [
                live for kind in store.counts() for live in store.all(kind) if live.id == id
            ]:
                live.body.update(
                    {name: _other(live.body[name]) for name in names if name in live.body}
                )
                store.changed(live)

    # --- the commands

    def plan(self, **options: Any) -> Plan:
        """Plan as the command does."""
        with self._store() as store, self._client() as client:
            plan = self._planned(store, self._provider(store, client), client, **options)
            self.calls += client.calls
            return plan

    def twin(self, root: Path) -> Life:
        """Another runner with a copy of the manifests and the state."""
        shutil.copytree(self.root, root)
        other = copy(self)
        other.root = root
        return other

    def apply(
        self, *, meanwhile: Callable[[], object] | None = None, **options: Any
    ) -> ApplyResult:
        """Plan and apply as the command does. What happens `meanwhile` takes longer than a plan counts as current."""
        with self._store() as store, self._client() as client:
            provider = self._provider(store, client)
            plan = self._planned(store, provider, client, **options)
            if meanwhile is not None:
                meanwhile()
            age_seconds = 0.0 if meanwhile is None else 2 * JUST_READ_SECONDS
            run = replace(self._run(store, provider, client), age_seconds=lambda: age_seconds)
            result = apply_plan(plan, run)
            self.calls += client.calls
            return result

    def applied(self, **options: Any) -> None:
        """Apply, and insist that all of it went through, and that nothing is left to plan."""
        failed: list[str] = []
        for _ in range(self.runs):
            outcomes = [
                one
                for one in self.apply(**options).outcomes
                if one.status is not OutcomeStatus.APPLIED
            ]
            failed = [f"{one.change.address}: {one.message}" for one in outcomes]
            if not failed:
                break
        assert failed == []
        assert pending(self.plan(**options)) == []

    def records(self) -> dict[Any, Any]:
        """What the state remembers."""
        with self._store() as store:
            return dict(store.records())

    def forget(self) -> None:
        """Lose the state."""
        shutil.rmtree(self.root / ".reconciler")

    def counts(self) -> dict[str, int]:
        """How many objects there are of each sort; the log of what was done to them is not counted."""
        with self.emulator.store.lock:
            found = self.emulator.store.counts()
        return {
            name: count
            for name, count in found.items()
            if count and name not in ("audit_log", "file_batch")
        }

    def writes(self) -> list[str]:
        """The method of every write so far, in order."""
        return [request.method for request in self.emulator.requests if request.method != "GET"]

    # --- the wiring

    @property
    def _configuration(self) -> Configuration:
        keys = {
            "OPENAI_ADMIN_KEY": self.emulator.admin_key,
            "OPENAI_API_KEY": self.emulator.api_key,
        }
        return load_configuration(Settings(self.root, env=keys), KINDS)

    @property
    def _keys(self) -> KeyRing:
        given = self._configuration.stack.credentials
        return KeyRing(
            admin=given.admin, default=given.default, projects=given.projects, root=self.root
        )

    def _store(self) -> StateStore:
        self._server_clock = ServerClock(
            self._machine_clock
        )  # each command has to learn the time anew
        return StateStore.open(
            self.root / ".reconciler",
            stack="stack",
            environment="default",
            clock=self._server_clock,
        )

    def _machine_clock(self) -> float:
        return self.clock() + self.ahead_seconds

    def _client(self) -> AbstractContextManager[Client]:
        return closing(
            Client(
                self.emulator.base_url,
                throttle=Throttle(clock=self.clock),
                answer_seconds=self.answer_seconds,
                clock=self._machine_clock,
                server_clock=self._server_clock,
                sleep=self.clock.sleep,
            )
        )

    def _provider(self, store: StateStore, client: Client) -> HttpProvider:
        stack = self._configuration.stack
        return HttpProvider(
            client,
            self._keys,
            SinkSet(
                self.root,
                Redactor(),
                owner="stack/default",
                deliveries=lambda: delivered(store),
                begun=lambda: begun_deliveries(store),
            ),
            self.root,
            stack.projects,
            settle_seconds=SETTLE_SECONDS,
            parallelism=1,
            reveal=partial(revealed, stack.read_secret),
            recorded=store.records().values(),
        )

    def _refreshing(self, provider: HttpProvider, client: Client) -> Planning:
        """What the command line puts between the planner and the client, memory of answers included."""
        return Planning(provider, client, self._keys, FullRefreshPolicy(), parallelism=1)

    def _planned(
        self, store: StateStore, provider: HttpProvider, client: Client, **options: Any
    ) -> Plan:
        configuration = self._configuration
        records = store.records()
        seal = SecretDigests(configuration.stack.read_secret, "00")
        inputs = PlanInputs(
            tuple(
                seal.resource(item, records.get(item.address)) for item in configuration.resources
            ),
            KINDS,
            records,
            self._ownership(store),
            projects=configuration.stack.projects,
            state_is_new=not records,
            recently_written=lambda: store.runs.created_since(
                client.server_clock() - SETTLE_SECONDS
            ),
            consistency=self._settling(client),
            options=PlanOptions(**options),
        )
        return self._refreshing(provider, client).plan(inputs, store, mode="full")

    def _run(self, store: StateStore, provider: HttpProvider, client: Client) -> ApplyContext:
        run_id = store.runs.begin(command="apply", user="u", host="h", pid=1, plan_digest="d")
        return ApplyContext(
            provider,
            store,
            KINDS,
            self._ownership(store),
            run_id,
            parallelism=1,
            consistency=self._settling(client),
        )

    def _ownership(self, store: StateStore) -> Ownership:
        begun = unfinished_work(store.runs.unfinished(), KINDS, clock=self._server_clock)
        return Ownership("stack", "default", *begun, held_ids=store.held_ids, holders=store.holders)

    def _settling(self, client: Client) -> ConsistencyWindow:
        return ConsistencyWindow(
            seconds=SETTLE_SECONDS,
            clock=client.server_clock,
            is_time_known=lambda: client.server_clock.is_known,
            pause=self.clock.sleep,
        )


def conflicts(plan: Plan) -> list[str]:
    """The addresses of what a plan has errors about."""
    return sorted(str(one.address) for one in plan.diagnostics if one.severity is Severity.ERROR)


def _other(value: Any) -> Any:
    """Another value of the same sort."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value + " (edited)"
        case list():
            return []
    return value
