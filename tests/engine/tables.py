"""Snapshots and plans made from declared, recorded and live values. No HTTP, no files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from reconciler.engine.inputs import PlanInputs, PlanOptions
from reconciler.engine.ownership import Ownership
from reconciler.engine.plan.planner import make_plan
from reconciler.engine.refresh.collect import collect
from reconciler.engine.refresh.recorded import StateReader
from reconciler.engine.snapshot import Snapshot
from reconciler.errors import ApiError
from reconciler.kinds import ALL_KINDS, KINDS
from reconciler.model.address import Address
from reconciler.model.calls import Parent
from reconciler.model.change import Change, Plan
from reconciler.model.kind import Kind
from reconciler.model.resource import MARK_KEY, Lifecycle, LiveObject, Record, Resource
from reconciler.model.rule import Rule

NOW = 1_800_000_000.0
DAY = 86_400.0
OURS, OTHERS = "shop/prod", "blog/prod"


class MemoryReader(StateReader):
    """Answers from a list of objects. Kinds in `refuses` fail; projects in `closed` have no key."""

    def __init__(
        self,
        objects: Iterable[LiveObject],
        *,
        refuses: Mapping[str, ApiError] | None = None,
        closed: Collection[str | None] = (),
    ) -> None:
        super().__init__({})
        self.asked: list[str] = []
        """Every call: a kind for its list, else the id, else the names of fields."""
        self._objects = list(objects)
        self._refuses = refuses or {}
        self._closed = closed

    def can_read(self, kind: Kind, project: str | None) -> bool:
        """Whether a key opens the project."""
        return kind.scope.needs_admin_key or project not in self._closed

    def list(
        self,
        kind: Kind,
        project: str | None,
        parent: Parent = (),
        *,
        only_ids: frozenset[str] | None = None,
        fresh: bool = False,
        is_optional: bool = False,
    ) -> Sequence[LiveObject]:
        """The objects of a kind in a project, or the error that the kind has."""
        del only_ids, fresh, is_optional
        self.asked.append(kind.name)
        if kind.name in self._refuses:
            raise self._refuses[kind.name]
        return [
            live
            for live in self._objects
            if live.kind is kind
            and live.project == project
            and kind.parent_and_id(live.id)[0] == parent
        ]

    def read_own_calls(self, live: LiveObject, names: Iterable[str]) -> LiveObject:
        """The object as it is; the calls are counted."""
        self.asked.append(f"{live.id}: {', '.join(sorted(names))}")
        return live


class World(NamedTuple):
    """The three sides of a plan, and what else it is made from."""

    desired: Sequence[Resource] = ()
    prior: Sequence[Record] = ()
    live: Sequence[LiveObject] = ()
    options: PlanOptions = PlanOptions()
    ownership: Ownership = Ownership("shop", "prod")
    rules: Sequence[Rule] = ()
    projects: Mapping[str, str] = {}
    refuses: Mapping[str, ApiError] = {}
    closed: Collection[str | None] = ()
    more: Mapping[str, Any] = {}

    @property
    def reader(self) -> MemoryReader:
        return MemoryReader(self.live, refuses=self.refuses, closed=self.closed)

    @property
    def inputs(self) -> PlanInputs:
        return PlanInputs(
            resources=self.desired,
            kinds=ALL_KINDS,
            records={record.address: record for record in self.prior},
            ownership=self.ownership,
            projects=self.projects,
            options=self.options,
            rules=self.rules,
            server_time=lambda: NOW,
            **self.more,
        )

    def snapshot(self) -> Snapshot:
        return collect(self.inputs, self.reader, parallelism=1)

    def plan(self) -> Plan:
        return make_plan(self.snapshot())

    def change(self, address: str, *, id: str | None = None) -> Change:
        """The change of an address; with `id`, that of one of its objects."""
        changes = [
            change
            for change in self.plan().changes
            if change.address == at(address) and (id is None or change.id == id)
        ]
        assert len(changes) == 1, [
            (str(change.address), change.reason) for change in self.plan().changes
        ]
        return changes[0]


def at(address: str) -> Address:
    return Address.parse(address)


def declared(address: str, spec: dict[str, Any], **lifecycle: Any) -> Resource:
    return Resource(at(address), KINDS[at(address).kind], spec, Lifecycle(**lifecycle))


def recorded(address: str, id: str, applied: dict[str, Any] | None = None, **more: Any) -> Record:
    return Record(at(address), id, applied=applied or {}, **more)


def shown(
    kind: str, id: str, attributes: dict[str, Any] | None = None, project: str | None = None
) -> LiveObject:
    return LiveObject(ALL_KINDS[kind], id, attributes or {}, project)


def store(
    id: str, name: str = "Docs", *, mark: str = "", project: str | None = None, **more: Any
) -> LiveObject:
    """A vector store as the API shows it; `mark` is the address that its mark names, with the owner or without."""
    owner = "" if mark.count("/") > 2 else f"{OURS}/"
    metadata = {MARK_KEY: owner + mark} if mark else {}
    attributes = {"id": id, "name": name, "metadata": metadata, "status": "completed", **more}
    return shown("VectorStore", id, attributes, project)
