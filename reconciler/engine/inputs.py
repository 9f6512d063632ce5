"""The inputs of a plan, apart from live state."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from reconciler.engine.consistency import ConsistencyWindow
from reconciler.engine.ownership import Ownership
from reconciler.engine.scope import Scope
from reconciler.model.address import Address
from reconciler.model.ignoring import IgnoreRules
from reconciler.model.kind import Kind
from reconciler.model.resource import Record, Resource
from reconciler.model.rule import Rule


class PlanOptions(Struct, frozen=True):
    """The options of a plan."""

    # Options decide what is read as well, not only what is shown: `adopt` and `unmanaged` need
    # lists that a plain plan can do without.
    destroy: bool = False
    adopt: bool = False
    """Adopt every object that has the natural key of a declared resource."""
    unmanaged: bool = False
    """List objects that neither a manifest nor the state knows. Reads every kind in every project."""
    inventory: bool = False
    """With `unmanaged`: read settings that always exist too, and go on if a list cannot be read."""
    targets: tuple[Address, ...] = ()
    replace: tuple[Address, ...] = ()
    budget_calls: int | None = None
    is_preview: bool = False
    """Leave out everything that only apply needs to compare with later."""
    rotate_now: tuple[Address, ...] = ()
    """The resources whose keys are rotated at any age."""
    revoke_now: bool = False
    """Revoke the earlier keys of these resources at once."""
    offline: bool = False
    """Whether the records stand for live objects."""
    facts: bool = False
    """Keep the attributes of answers that are no fields of the kind, for policies."""


class PlanInputs(Struct, frozen=True):
    """The inputs of a plan, apart from live state."""

    resources: Sequence[Resource]
    kinds: Mapping[str, Kind]
    records: Mapping[Address, Record]
    ownership: Ownership
    projects: Mapping[str, str] = field(default_factory=dict)
    """The ids of projects that are used and not managed, by name."""
    keyed_projects: Collection[str] = ()
    """The projects with a key of their own; "" is the default scope."""
    key_writers: Mapping[str, Address] = field(default_factory=dict)
    """By project: the resource that delivers its key and must precede all users of the key."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    previous_outputs: Mapping[str, Any] = field(default_factory=dict)
    state_serial: int = 0
    state_is_new: bool = False
    """The state may have been lost, so the plan searches for marked objects that nothing declares."""
    # Functions, because each answer costs a call or needs the time of the server. A plan that stops
    # at an error of its manifests never calls them.
    recently_written: Callable[[], Mapping[Address, float]] = dict
    """Addresses whose objects were created moments ago, each with the latest possible time of the
    creation.

    Called once the server's time is known. Lists need not show these objects before the end of the
    `consistency` window.
    """
    removed: Callable[[Collection[str]], Collection[str]] = lambda _: ()
    """Those of some ids that were deleted according to the audit log. They are not waited for."""
    consistency: ConsistencyWindow = field(default_factory=ConsistencyWindow)
    options: PlanOptions = PlanOptions()
    rules: Sequence[Rule] = ()
    server_time: Callable[[], float] = time.time
    """In unix seconds. Retention rules compare ages with it."""
    # Reading ten thousand files takes as long as the first calls, so both happen at the same time.
    contents: Callable[[], Sequence[Resource]] | None = None
    """The resources with the contents of their folders. Called while the first calls are in flight."""
    pages: Mapping[Scope, int] = field(default_factory=dict)
    """The pages of each list at the last reading, if there was more than one."""
    sharers: int = 1
    """The number of stacks of the organization that share lists. Each needs a part of a list."""
    declarable: Collection[str] = ()
    """The kinds that a manifest can declare, which an overview covers."""
    ignore: IgnoreRules = IgnoreRules()
    """Unmanaged objects that no report mentions."""
    moved: Mapping[Address, Address] = field(default_factory=dict)
    """Addresses of records whose project has a new name, each with the stored address."""
