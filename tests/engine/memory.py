"""An API in memory, so that a whole apply runs in milliseconds: no HTTP, no emulator, a real journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from reconciler.api.objects.reservations import InProcessReservations
from reconciler.engine.apply.context import ActionContext, ApplyContext, action_context
from reconciler.engine.apply.scheduler import apply_plan
from reconciler.engine.binding.attempts import unfinished_work
from reconciler.engine.consistency import ConsistencyWindow
from reconciler.engine.inputs import PlanInputs
from reconciler.engine.ownership import Ownership
from reconciler.engine.planning import collect_and_plan
from reconciler.errors import AmbiguousError, ApiError
from reconciler.kinds import KINDS
from reconciler.model.address import Address
from reconciler.model.calls import Parent
from reconciler.model.change import ApplyResult, Change, Plan
from reconciler.model.keys import KeyStep
from reconciler.model.kind import Kind
from reconciler.model.provider import ExpectedValue, IdReservations, Steps, Written
from reconciler.model.resource import MARK_KEY, LiveObject, Record
from reconciler.model.values import Spec
from reconciler.state import ChangeJournal, StateStore
from tests.engine.tables import NOW, MemoryReader, World

Fault = Callable[[], None]
"""Raises what a write answers."""


class MemoryApi(MemoryReader):
    """Objects that can be read and written. `faults` are the answers of the next creates, in order."""

    def __init__(self, objects: Iterable[LiveObject] = ()) -> None:
        super().__init__(objects)
        self.written: list[str] = []
        """Every write: `create Docs`, `update vs_1: name`, `delete vs_1`."""
        self.lost_after: deque[bool] = deque()
        """For each of the next creates whose answer is lost: whether the object was created."""
        self.refusals: dict[str, ApiError] = {}
        """The error of every write to an object, by its id or, for creates, its name."""
        self._reservations = InProcessReservations()
        self._numbers = iter(range(1, 1_000))

    @property
    def reservations(self) -> IdReservations:
        """The owners of ids."""
        return self._reservations

    @property
    def objects(self) -> list[LiveObject]:
        """What exists."""
        return self._objects

    def ids(self) -> list[str]:
        """The ids of what exists."""
        return sorted(live.id for live in self._objects)

    def get(
        self, kind: Kind, project: str | None, id: str, *, fresh: bool = False
    ) -> LiveObject | None:
        """One object."""
        del fresh
        known = (live for live in self._objects if live.kind is kind and live.id == id)
        return next((live for live in known if live.project == project), None)

    def newest(self, kind: Kind, project: str | None, parent: Parent = ()) -> Sequence[LiveObject]:
        """The first page of a list."""
        return self.list(kind, project, parent)

    def read_before_write(
        self, live: LiveObject, expected: Mapping[str, ExpectedValue]
    ) -> LiveObject:
        """The object as it is."""
        del expected
        return live

    def create(
        self,
        kind: Kind,
        project: str | None,
        spec: Spec,
        *,
        address: Address,
        mark: str | None,
        steps: Steps,
        record: Record | None = None,
    ) -> Written:
        """Create an object, unless its answer is to be lost before."""
        name = str(spec.get("name"))
        with steps.step("create", identity=kind.identity(spec)) as step:
            self._refuse(name)
            is_lost = bool(self.lost_after)
            if not is_lost or self.lost_after.popleft():
                live = self._new(kind, project, spec, mark)
            if is_lost:
                raise AmbiguousError("the answer was lost")
            step.done(live.id)
        self._reservations.reserve(live.id, address)
        return Written(live)

    def update(
        self,
        live: LiveObject,
        changes: Spec,
        *,
        address: Address,
        mark: str | None,
        record: Record | None,
        steps: Steps,
        keys: Sequence[KeyStep] = (),
    ) -> Written:
        """Change fields of an object."""
        del address, record, keys
        with steps.step("update") as step:
            self._refuse(live.id)
            self.written.append(f"update {live.id}: {', '.join(sorted(changes))}")
            attributes = {**live.attributes, **changes}
            if live.kind.mark and live.kind.mark in changes:
                metadata = dict(changes[live.kind.mark] or {})
                attributes[live.kind.mark] = {**metadata, **({MARK_KEY: mark} if mark else {})}
            changed = replace(live, attributes=attributes)
            self._objects[self._objects.index(live)] = changed
            step.done(live.id)
        return Written(changed)

    def delete(
        self, live: LiveObject, *, address: Address, record: Record | None, steps: Steps
    ) -> None:
        """Delete an object; one that is gone is no error."""
        del record
        with steps.step("delete") as step:
            self._refuse(live.id)
            self.written.append(f"delete {live.id}")
            self._objects = [other for other in self._objects if other.id != live.id]
            step.done(live.id)

    def cancel(self, live: LiveObject, *, steps: Steps) -> None:
        """Stop a job."""
        with steps.step("cancel") as step:
            self.written.append(f"cancel {live.id}")
            step.done(live.id)

    def job_events(self, live: LiveObject) -> Sequence[tuple[str, str]]:
        """No job says anything."""
        del live
        return ()

    def delete_leftovers(
        self, live: LiveObject, *, address: Address, record: Record | None, steps: Steps
    ) -> None:
        """Nothing is left behind here."""

    def _new(self, kind: Kind, project: str | None, spec: Spec, mark: str | None) -> LiveObject:
        number = next(self._numbers)
        attributes: dict[str, Any] = {"id": f"new_{number}", "created_at": NOW + 1, **spec}
        if kind.mark and mark:
            attributes[kind.mark] = {**(spec.get(kind.mark) or {}), MARK_KEY: mark}
        live = LiveObject(kind, f"new_{number}", attributes, project)
        self._objects.append(live)
        self.written.append(f"create {spec.get('name')}")
        return live

    def _refuse(self, key: str) -> None:
        if key in self.refusals:
            raise self.refusals[key]


class Stack:
    """A stack with a state on disk and an API in memory."""

    def __init__(self, folder: Path, api: MemoryApi, *, is_moving: bool = False) -> None:
        """`is_moving`: whether pauses move the clock, which else stands still."""
        self.api = api
        self._folder = folder
        self._is_moving = is_moving
        self.store = StateStore.open(folder, stack="shop", environment="prod", clock=lambda: NOW)
        self.pauses: list[float] = []
        """Every pause that a run has made."""

    def next_run(self) -> Stack:
        """The stack as another process finds it: the same API and state, a new journal reader."""
        self.store.close()
        return Stack(self._folder, self.api, is_moving=self._is_moving)

    def clock(self) -> float:
        """The present time, in unix seconds."""
        return NOW + (sum(self.pauses) if self._is_moving else 0.0)

    @property
    def ownership(self) -> Ownership:
        """What the journal knows of dead runs."""
        work = unfinished_work(self.store.runs.unfinished(), KINDS, clock=lambda: NOW)
        return Ownership(
            "shop",
            "prod",
            unfinished=work.began,
            create_attempts=work.made,
            created_ids=work.noted,
        )

    def plan(self, world: World) -> Plan:
        """The plan for what a world declares and this API shows."""
        return collect_and_plan(self._inputs(world), self.api, parallelism=1)

    def apply(self, world: World, plan: Plan | None = None, **context: Any) -> ApplyResult:
        """Apply a plan; without one, that of now."""
        plan = self.plan(world) if plan is None else plan
        return apply_plan(plan, self._apply_context(**context))

    def record(self, *records: Record) -> None:
        """Put records into the state, as an earlier run did."""
        for record in records:
            self.store.put(record)

    def context(self, plan: Plan) -> ActionContext:
        """What the actions of a plan share, before the first of them."""
        return action_context(plan, self._apply_context())

    @contextmanager
    def journal(self, change: Change) -> Iterator[ChangeJournal]:
        """The journal of one change, in a run of its own."""
        journal = self.store.runs.journal(self._begin_run(), redact=str)
        with journal.change(change.address, change.action.value) as change_journal:
            yield change_journal

    def _begin_run(self) -> int:
        return self.store.runs.begin(
            command="apply", user="ci", host="here", pid=1, plan_digest="digest"
        )

    def _apply_context(self, **context: Any) -> ApplyContext:
        return ApplyContext(
            self.api,
            self.store,
            KINDS,
            self.ownership,
            self._begin_run(),
            consistency=ConsistencyWindow(
                clock=self.clock, pause=lambda seconds, _: self.pauses.append(seconds)
            ),
            parallelism=1,
            **context,
        )

    def _inputs(self, world: World) -> PlanInputs:
        return replace(
            world.inputs, records=self.store.records(), ownership=self.ownership, kinds=KINDS
        )
