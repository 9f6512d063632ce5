"""The scopes and ids that a plan has to read, computed from inputs and selection without a call.

Needed scopes hold declared and recorded objects, so a refused read is an error of theirs. Every
other scope is only searched: for objects of interrupted runs, and for matches of retention rules.
A failure there stops nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, product
from typing import Any

from reconciler.engine.inputs import PlanInputs
from reconciler.engine.retention_match import rule_scopes
from reconciler.engine.scope import OwnCallFields, Scope
from reconciler.engine.selection import Selection
from reconciler.model.address import Address
from reconciler.model.keys import earlier_keys, key_ids, policy_of
from reconciler.model.kind import Field, Kind, Readable
from reconciler.model.resource import Record, Resource, by_address
from reconciler.model.sharers import sharers_of
from reconciler.model.types import KeySinkType
from reconciler.model.values import Reference, Unknown

Lookup = Callable[[Reference], Any]
"""The current value of a reference, or Unknown."""


def before_reading(reference: Reference) -> Unknown:
    """The lookup that applies before anything was read."""
    return Unknown(str(reference))


class ReadTargets:
    """The scopes and ids of one plan. Immutable, and cached because every record uses each answer."""

    def __init__(self, inputs: PlanInputs, selection: Selection) -> None:
        self._inputs = inputs
        self._kinds = inputs.kinds
        self._selection = selection
        self._resources = by_address(inputs.resources)

    # Scopes

    @cached_property
    def outer(self) -> frozenset[Scope]:
        """The scopes to list that need no parent."""
        scopes = self.needed(before_reading) | self._created | self.retention | self.key_ids.keys()
        return frozenset(scope for scope in scopes if not self._kinds[scope.kind].parents)

    def nested(self, lookup: Lookup) -> set[Scope]:
        """The scopes to list inside parents, as far as `lookup` knows the parents."""
        scopes = self.needed(lookup) | self.retention
        return {scope for scope in scopes if self._kinds[scope.kind].parents}

    def needed(self, lookup: Lookup) -> set[Scope]:
        """The scopes of declared and recorded objects, and of objects that could make them
        unnecessary."""
        scopes = {scope for scope in self._own_scopes(lookup) if scope is not None}
        return scopes | {Scope(name, None) for name in self._substitutes(scopes)}

    def _own_scopes(self, lookup: Lookup) -> Iterator[Scope | None]:
        for address in self._selection.selected:
            yield self.declared_scope(self._resources[address], lookup)
        # Recorded objects count even if nothing declares them: they are to be deleted.
        for address in self.recorded:
            yield self.record_scopes[address]

    def _substitutes(self, scopes: Iterable[Scope]) -> set[str]:
        """The kinds whose objects make objects of some scopes unnecessary."""
        kinds = {self._kinds[scope.kind].made_unnecessary_by for scope in scopes}
        return {name for name in kinds if name}

    def declared_scope(self, resource: Resource, lookup: Lookup) -> Scope | None:
        """The scope that lists the object of a resource; None while its parent is unknown."""
        address, kind = resource.address, resource.kind
        # References are evaluated only where the parent depends on them: most kinds have none.
        parent = kind.parent_of(resource.resolved(lookup)) if kind.parents else ()
        return None if parent is None else Scope(address.kind, address.project, parent)

    @cached_property
    def record_scopes(self) -> Mapping[Address, Scope | None]:
        """The scope of each recorded object; None for unknown kinds and for ids of another form."""
        return {
            address: self._scope_of(address, record.id)
            for address, record in self._inputs.records.items()
        }

    @cached_property
    def recorded(self) -> frozenset[Address]:
        """The recorded addresses to read: all, or the targets with their projects."""
        # A recorded project is read along with its targets, because its id is needed to reach them.
        targets = self._inputs.options.targets
        # By name: the record of the project need not be a target itself.
        homes = {address.project for address in targets}
        recorded = set()
        for address in self._inputs.records:
            kind = self._kinds.get(address.kind)
            if kind is None:
                continue
            is_home = kind.defines_project and address.name in homes
            if not targets or address in targets or is_home:
                recorded.add(address)
        return frozenset(recorded)

    @property
    def _created(self) -> set[Scope]:
        """The scopes that can hold the objects of unfinished creates."""
        # Other addresses' unfinished work is left to a run without targets.
        if self._inputs.options.targets:
            return set()
        scopes: set[Scope] = set()
        for address in self._inputs.ownership.create_attempts:
            # The journal may be of another version, which knew other kinds.
            kind = self._kinds.get(address.kind)
            if kind is not None and not kind.parents:
                scopes.add(Scope(address.kind, address.project))
        return scopes

    @cached_property
    def key_ids(self) -> Mapping[Scope, frozenset[str]]:
        """The keys of other objects to look at, by the list that shows them.

        The age of a key is recorded, so it takes no read until there is an earlier key whose use
        decides.
        """
        wanted: dict[Scope, set[str]] = defaultdict(set)
        for address in self._selection.order:
            resource, record = self._resources[address], self._inputs.records.get(address)
            # A resource without a record has delivered no key that could be looked at.
            if record is None:
                continue
            for field in resource.kind.own_calls:
                kind = _key_kind(field)
                entry = record.delivered.get(field.name)
                if kind in self._kinds and _needs_look(entry, resource.spec.get(field.name)):
                    wanted[Scope(kind, address.project)].update(key_ids(entry))
        return _frozen(wanted)

    @cached_property
    def retention(self) -> frozenset[Scope]:
        """The scopes of objects that retention rules match, and of the collections that could hold them."""
        scopes: set[Scope] = set()
        for rule in self._selection.retention_rules:
            scopes.update(rule_scopes(rule, self._kinds))
        return frozenset(scopes)

    def marked(self, scopes: Iterable[Scope]) -> list[Scope]:
        """The scopes to search for our undeclared objects: those of every project with a key.

        The default scope is left out if no scope uses a project key: a stack that only manages the
        organization has nothing there, even if the environment has such a key.
        """
        used: set[str | None] = set()
        for scope in scopes:
            if not self._kinds[scope.kind].scope.needs_admin_key:
                used.add(scope.project)
        # Projects with a key are searched even if nothing is declared there any more: only marks
        # can tell what a lost state knew of them.
        projects: Sequence[str | None] = sorted(filter(None, {*used, *self._inputs.keyed_projects}))
        if used:
            projects = [None, *projects]
        marked: list[Scope] = []
        for project, kind in product(projects, self._kinds.values()):
            if kind.mark and not kind.parents and kind.calls.listable:
                marked.append(Scope(kind.name, project))
        return marked

    # Ids

    def known_ids(self, scopes: Collection[Scope]) -> list[tuple[Scope, str]]:
        """The objects in some scopes that a record or a manifest names by id."""
        return [(scope, id) for scope, id in self._known_ids if scope in scopes]

    @cached_property
    def _known_ids(self) -> list[tuple[Scope, str]]:
        return [(scope, id) for scope, id in self._named_ids() if scope is not None]

    def _named_ids(self) -> Iterator[tuple[Scope | None, str]]:
        records = self._inputs.records
        for address, record in records.items():
            yield self.record_scopes[address], record.id
        for scope, ids in self.key_ids.items():
            for id in sorted(ids):
                yield scope, id
        for address, record in records.items():
            # Only where the object itself is the key are the earlier keys objects of its scope.
            if record.deposed:
                for id in chain.from_iterable(map(key_ids, record.delivered.values())):
                    yield self.record_scopes[address], id
        for address, resource in self._resources.items():
            # `adopt: true` names no object; a text is the id of one, which a list may lack.
            adopt = resource.lifecycle.adopt
            if isinstance(adopt, str):
                yield self._scope_of(address, adopt), adopt

    def only_ids(self, scopes: Iterable[Scope]) -> dict[Scope, frozenset[str]]:
        """The scopes of which only known objects are needed, with their ids.

        A scope is read in full if an object has yet to be found or created there, if an interrupted
        run may have left one, or if the list itself matters.
        """
        inputs = self._inputs
        # Any object could be of interest, so lists are read completely.
        if inputs.options.unmanaged or inputs.options.adopt or inputs.state_is_new:
            return {}
        # To find an unbound object by mark or natural key, the whole list is needed.
        unbound = self._resources.keys() - inputs.records.keys()
        # An interrupted run may have left an object there whose id nobody recorded.
        unbound.update(inputs.ownership.unfinished)
        open_scopes = {(address.kind, address.project) for address in unbound}
        scopes = list(scopes)
        # An object that makes another one unnecessary need not be managed by anybody.
        substitutes = self._substitutes(scopes)
        wanted: dict[Scope, set[str]] = {}
        for scope in scopes:
            if (scope.kind, scope.project) in open_scopes or scope in self.retention:
                continue
            # The rule "at least one owner" needs the roles of all users.
            if not self._kinds[scope.kind].min_one and scope.kind not in substitutes:
                wanted[scope] = set()
        for address, record in inputs.records.items():
            home = self.record_scopes[address]
            if home in wanted:
                # Superseded objects are still to be deleted.
                wanted[home].update((record.id, *record.deposed))
        for scope, ids in self.key_ids.items():
            if scope in wanted:
                wanted[scope].update(ids)
        # A scope without ids is a search, and a search needs the whole list.
        return _frozen({scope: ids for scope, ids in wanted.items() if ids})

    def reads_singly(self, scope: Scope, count: int) -> bool:
        """Whether to read `count` objects one by one, if nothing else of the scope is needed."""
        pages = self._inputs.pages.get(scope, 1)
        return reads_singly(self._kinds[scope.kind], count, pages, self.sharers_of(scope))

    def sharers_of(self, scope: Scope) -> int:
        """How many stacks may read the list of a scope."""
        return sharers_of(self._kinds[scope.kind], scope.project, self._inputs.sharers)

    # Fields with calls of their own

    def recorded_own_calls(self) -> OwnCallFields:
        """The fields with calls of their own to read, for objects known from records."""
        wanted: dict[tuple[Scope, str], set[str]] = {}
        for address in self._selection.order:
            resource, record = self._resources[address], self._inputs.records.get(address)
            scope = self.record_scopes.get(address)
            if record is not None and scope is not None and resource.kind.own_calls:
                wanted[scope, record.id] = self.own_calls(resource, record)
        return wanted

    def own_calls(self, resource: Resource, record: Record | None) -> set[str]:
        """The managed fields with calls of their own; none if everything is destroyed."""
        # Contents of an object that is deleted as a whole do not matter.
        if self._inputs.options.destroy:
            return set()
        managed = set(resource.spec)
        if record is not None:
            # A field that was taken out of the manifest is still to be reset, so it is read too.
            managed.update(record.applied)
        names: set[str] = set()
        for field in resource.kind.own_calls:
            if field.name in managed and field.readable is not Readable.NEVER:
                names.add(field.name)
        return names

    def _scope_of(self, address: Address, id: str) -> Scope | None:
        kind = self._kinds.get(address.kind)
        if kind is None:
            return None
        try:
            return Scope(address.kind, address.project, kind.parent_and_id(id)[0])
        except ValueError:
            return None


def _frozen(ids: Mapping[Scope, Iterable[str]]) -> dict[Scope, frozenset[str]]:
    return {scope: frozenset(of_scope) for scope, of_scope in ids.items()}


def _key_kind(field: Field) -> str:
    """The kind that lists the keys of a field; empty if the API has no such list."""
    return field.type.listed_as if isinstance(field.type, KeySinkType) else ""


def _needs_look(entry: Any, value: Any) -> bool:
    """Whether a plan has to look at the keys of an object that is not a key itself."""
    if not isinstance(entry, Mapping) or not isinstance(value, Mapping):
        return False
    # Without a recorded age, only the list of keys shows when the key is due.
    is_of_unknown_age = policy_of(value).every is not None and entry.get("made_at") is None
    return bool(earlier_keys(entry)) or is_of_unknown_age


def reads_singly(kind: Kind, count: int, pages: int, sharers: int = 1) -> bool:
    """Whether to read this many objects one by one instead of a list that had `pages` pages last
    time.

    A single object is always read by id, because the list may have grown. `sharers` are the stacks
    that each read as many from the same list, which is read once for all of them.
    """
    # Equal numbers favour the list, which also shows what is new.
    is_fewer = 0 < count * sharers < pages or (count == 1 and sharers == 1)
    return is_fewer and kind.readable_singly
