"""Everything that a plan is made from, live state apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from reconciler.engine.consistency import ConsistencyWindow
from reconciler.engine.ownership import Ownership
from reconciler.engine.scope import Scope
from reconciler.model.address import Address
from reconciler.model.kind import Kind
from reconciler.model.resource import Record, Resource
from reconciler.model.rule import Rule


class PlanOptions(Struct, frozen=True):
    """What a caller may ask of a plan beyond "what is different"."""

    destroy: bool = False
    adopt: bool = False
    unmanaged: bool = False
    targets: tuple[Address, ...] = ()
    replace: tuple[Address, ...] = ()
    budget_calls: int | None = None


class PlanInputs(Struct, frozen=True):
    """Everything a plan is made from, live state apart.

    `projects` are the ids of scopes that are used and not managed, `keyed_projects` those with a key of their own,
    "" being the default scope. `key_writers` names, for a project, the resource that delivers the key which opens it,
    so that it comes before what needs the key. `state_is_new` makes the plan look for marked objects that nothing
    declares any more. `fresh` gives the addresses whose objects were created moments ago, each with the latest time at
    which that can have been; it is asked once the server's time is known. What of it does not show yet is waited for as
    `settling` says, unless `removed` says of its id that it was removed again.
    What `rules` match that remove is deleted by its age at `server_time`, in unix seconds. `contents` gives the
    resources again with what is in the files of folders; it is asked for while the first answers are awaited. `pages`
    is how long lists were when they were read last, where that was more than a page. `moved` maps addresses of records
    to those under which they are stored, where their project has a new name.
    """

    resources: Sequence[Resource]
    kinds: Mapping[str, Kind]
    records: Mapping[Address, Record]
    ownership: Ownership
    projects: Mapping[str, str] = field(default_factory=dict)
    keyed_projects: Collection[str] = ()
    key_writers: Mapping[str, Address] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    previous_outputs: Mapping[str, Any] = field(default_factory=dict)
    state_serial: int = 0
    state_is_new: bool = False
    recently_written: Callable[[], Mapping[Address, float]] = dict
    removed: Callable[[Collection[str]], Collection[str]] = lambda _: ()
    consistency: ConsistencyWindow = field(default_factory=ConsistencyWindow)
    options: PlanOptions = PlanOptions()
    rules: Sequence[Rule] = ()
    server_time: Callable[[], float] = time.time
    contents: Callable[[], Sequence[Resource]] | None = None
    pages: Mapping[Scope, int] = field(default_factory=dict)
    moved: Mapping[Address, Address] = field(default_factory=dict)
