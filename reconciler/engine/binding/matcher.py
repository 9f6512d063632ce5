"""Binding addresses to objects: which live object is which resource.

In this order: the id in our state; the id that the manifest says to adopt; our mark on the object, where it proves
anything (see `marks`); an unfinished journal entry; for objects that exist by themselves, the natural key. Any other
object with the same natural key belongs to somebody else until the manifest or the command line says `adopt`. That is
an error (see `conflicts`), and never a silent second object.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum

from msgspec import Struct

from reconciler.engine.binding import conflicts
from reconciler.engine.binding.marks import Marks
from reconciler.engine.inputs import PlanInputs
from reconciler.engine.scope import LiveState
from reconciler.model.address import Address
from reconciler.model.diagnostic import Diagnostic
from reconciler.model.kind import OnRemove, Removal, TerminalState
from reconciler.model.resource import LiveObject, Record, Resource
from reconciler.model.values import FileSet, Spec


class BindingSource(StrEnum):
    """How a resource was bound to its object."""

    NOT = "not found"
    STATE = "by the id in the state"
    MARK = "by our mark"
    JOURNAL = "by an unfinished create"
    NATURAL = "by natural key"
    ADOPTED = "because it is to be adopted"


class Binding(Struct, frozen=True):
    """A resource with its object and its record."""

    live: LiveObject | None = None
    source: BindingSource = BindingSource.NOT
    record: Record | None = None
    renamed_from: Address | None = None
    """The address under which the record is stored, where the resource has another one now."""
    ended: LiveObject | None = None
    """The recorded object, where it still shows but has come to its end. It is not bound."""
    replacement: LiveObject | None = None
    """The object that an interrupted replacement created: it follows `live`."""
    left: Address | None = None
    """The recorded address in another project that the resource is renamed from. Objects cannot move with it."""


Match = tuple[LiveObject, BindingSource]


class Matcher:
    """Binds resources one after the other, so that no object is given to two of them.

    Construct it once all lists are read. `bind` each resource in dependency order; afterwards `leftovers` reads here
    what no resource was bound to.
    """

    def __init__(
        self,
        inputs: PlanInputs,
        live: LiveState,
        declared: Mapping[Address, Resource],
        project_id: Callable[[str | None], str | None],
    ) -> None:
        """`project_id` gives the id of a project by its name."""
        options = inputs.options
        self.live = live
        self.records = records = inputs.records
        self.ownership = inputs.ownership
        self.declared = declared
        self.diagnostics: list[Diagnostic] = []
        self.contested: dict[Address, Address] = {}
        """Resources whose object is recorded for an address that no manifest declares any more: that address."""
        self.wanted: dict[Address, Spec | None] = {}
        """The natural key that each resource asked for, where its spec is known so far."""
        self._adopts_all = options.adopt
        self._destroying = options.destroy
        self._project_id = project_id
        self._moved = inputs.moved
        self.marks = Marks(
            live,
            records,
            inputs.ownership,
            declared=declared.keys(),
            state_is_new=inputs.state_is_new,
        )
        self.taken = dict(self.marks.taken())
        """Recorded addresses whose objects another owner has marked since: the address it names, None elsewhere."""
        # A record whose object was taken has no claim on it, but still one on the objects that it superseded.
        self._claimed = {
            (address.kind, address.project, id): address
            for address, record in records.items()
            for id in (record.deposed if address in self.taken else (record.id, *record.deposed))
        }
        self._reserved = {
            (address.kind, address.project, resource.lifecycle.adopt): address
            for address, resource in declared.items()
            if isinstance(resource.lifecycle.adopt, str) and address not in records
        }
        self.members = {
            id for record in records.values() for id in member_ids(record.applied.values())
        }
        """The ids of the files in collections of ours."""
        self.delivered_keys = {
            str(key.get("key_id"))
            for record in records.values()
            for key in record.delivered.values()
        }
        self._natural: dict[tuple[str, str | None], dict[tuple[object, ...], list[LiveObject]]] = {}

    def bind(self, resource: Resource, spec: Spec, inputs: str | None = None) -> Binding:
        """The object of a resource whose completed, resolved spec is `spec`; `inputs` is the digest of a job's."""
        address, source = resource.address, self._source(resource)
        left = source if source is not None and self._is_elsewhere(resource, source) else None
        renamed = source if left is None else None
        self.wanted[address] = resource.kind.identity(spec)
        record = self.records.get(renamed or address)
        stored = self._moved.get(renamed or address, renamed)
        if record is not None and record.address in self.taken:
            if self.taken[record.address] is None:
                self._report_taken(resource, record)
                return Binding(record=record, renamed_from=stored)
            record = None
        match = self._match(resource, spec, record, renamed, inputs)
        if match is None:
            gone = self.live.find(address.kind, address.project, record.id) if record else None
            return Binding(record=record, renamed_from=stored, ended=gone, left=left)
        live, how = match
        self._claim(live, address)
        replacement = (
            self._replacement(resource, spec, inputs) if how is BindingSource.STATE else None
        )
        if replacement is not None:
            self._claim(replacement, address)
        return Binding(live, how, record, stored, replacement=replacement, left=left)

    def is_claimed(self, live: LiveObject) -> bool:
        """Whether an object is bound or recorded."""
        return (live.kind.name, live.project, live.id) in self._claimed

    def is_free(self, live: LiveObject, address: Address) -> bool:
        """Whether no interrupted run created an object for another address, or as a part of another object."""
        return self.ownership.created_ids.get(live.id, address) == address

    def _claim(self, live: LiveObject, address: Address) -> None:
        self._claimed[address.kind, address.project, live.id] = address

    def _match(
        self,
        resource: Resource,
        spec: Spec,
        record: Record | None,
        renamed: Address | None,
        inputs: str | None,
    ) -> Match | None:
        # Nothing is adopted only to be destroyed.
        may_adopt = not self._destroying or resource.kind.unique_key
        errors = len(self.diagnostics)
        match = self._by_state(resource, record)
        if match is None and may_adopt:
            match = self._by_adoption(resource)
        match = (
            match or self._by_mark(resource, renamed, inputs) or self._by_journal(resource, spec)
        )
        if match is not None or not may_adopt or len(self.diagnostics) > errors:
            return match
        adopt = resource.lifecycle.adopt
        if isinstance(adopt, str) and resource.address not in self.records:
            self.diagnostics.append(conflicts.nothing_to_adopt(resource, adopt))
            return None
        return self._by_natural_key(resource, spec)

    # Renamed resources

    def _source(self, resource: Resource) -> Address | None:
        """The address that a resource had before, under the present name of its project."""
        source = resource.lifecycle.renamed_from
        if source is None:
            return None
        project = self.ownership.renamed_projects.get(source.project or "", source.project)
        source = Address(source.kind, source.name, project)
        return None if source in self.declared or resource.address in self.records else source

    def _is_elsewhere(self, resource: Resource, source: Address) -> bool:
        """Whether a recorded address is in another project than the resource that is renamed from it.

        The ids of the projects decide, not their names. Objects cannot move between projects.
        """
        record, address = self.records.get(source), resource.address
        if record is None or source.project == address.project:
            return False
        before = record.project_id or self._project_id(source.project)
        after = self._project_id(address.project)
        if before is not None and after is not None:
            return before != after
        if resource.kind.unique_key:
            return True
        is_here = self.live.find(address.kind, address.project, record.id) is not None
        return not is_here and self.live.find(source.kind, source.project, record.id) is not None

    # By state and by adoption

    def _by_state(self, resource: Resource, record: Record | None) -> Match | None:
        if record is None:
            return None
        live = self.live.find(resource.address.kind, resource.address.project, record.id)
        return (live, BindingSource.STATE) if live is not None and not is_gone(live) else None

    def _by_adoption(self, resource: Resource) -> Match | None:
        address, adopt = resource.address, resource.lifecycle.adopt
        if not isinstance(adopt, str):
            return None
        live = self.live.find(address.kind, address.project, adopt)
        if live is None or is_gone(live):
            return None
        owner = self._claimed.get((address.kind, address.project, adopt))
        if owner is not None and owner != address:
            self.diagnostics.append(conflicts.already_managed(resource, adopt, owner))
            return None
        # The mark of a job cannot be changed: it only says who started it.
        if self.ownership.is_foreign(live.mark) and resource.kind.job is None:
            self.diagnostics.append(conflicts.foreign(resource, live))
            return None
        is_marked = self.ownership.present_address(live.mark) == address
        return live, BindingSource.MARK if is_marked else BindingSource.ADOPTED

    # By mark

    def _by_mark(
        self, resource: Resource, renamed: Address | None, inputs: str | None
    ) -> Match | None:
        source = resource.lifecycle.renamed_from
        previous = source if source is not None and source not in self.declared else renamed
        for address in dict.fromkeys([resource.address, previous or resource.address]):
            unbound = [
                live
                for live in self.marks.of(address)
                if not self.is_claimed(live) and not self._is_reserved(live, resource.address)
            ]
            candidates = self._trusted(resource, address, unbound, inputs)
            if len(candidates) > 1:
                self.diagnostics.append(
                    conflicts.several(resource, candidates, f'carry the mark of "{address}"')
                )
            if candidates:
                return candidates[0], BindingSource.MARK
            if unbound and resource.kind.job is None and not self._destroying:
                return self._by_unproved_mark(resource, unbound)
        job = self._job_of_undeclared_address(resource, inputs)
        return (job, BindingSource.MARK) if job is not None else None

    def _trusted(
        self, resource: Resource, address: Address, unbound: list[LiveObject], inputs: str | None
    ) -> list[LiveObject]:
        """Those of some marked objects whose mark proves that they are the resource's."""
        if resource.kind.job is not None:
            same = _latest(_with_inputs(unbound, inputs)) or _latest(
                live for live in unbound if live.runs
            )
            return [same] if same is not None else []
        proved = [live for live in unbound if self.marks.is_proved(address, live)]
        if not proved and not self.marks.has_history(address):
            return unbound
        return proved

    def _by_unproved_mark(self, resource: Resource, unbound: list[LiveObject]) -> Match | None:
        """An object with the mark of an address whose own object is gone: a copy, or the work of a later state."""
        if len(unbound) == 1 and (resource.lifecycle.adopt is True or self._adopts_all):
            return unbound[0], BindingSource.ADOPTED
        self.diagnostics.append(conflicts.unproved_mark(resource, unbound))
        return None

    def _job_of_undeclared_address(
        self, resource: Resource, inputs: str | None
    ) -> LiveObject | None:
        """A job that ran for the same inputs at an address that nothing declares any more: its mark cannot move."""
        if resource.kind.job is None:
            return None
        home = (resource.address.kind, resource.address.project)
        free = [
            live
            for address, objects in self.marks.items()
            if (address.kind, address.project) == home and address not in self.declared
            for live in objects
            if not self.is_claimed(live)
        ]
        return _latest(_with_inputs(free, inputs))

    # By journal

    def _by_journal(self, resource: Resource, spec: Spec) -> Match | None:
        attempts = self.ownership.create_attempts.get(resource.address)
        if not attempts:
            return None
        created = [
            live
            for live in self._candidates(resource, spec)
            if any(attempt.can_have_made(live) for attempt in attempts)
        ]
        if len(created) > 1:
            self.diagnostics.append(
                conflicts.several(
                    resource, created, "were made since the last run began to create it"
                )
            )
        return (created[0], BindingSource.JOURNAL) if created else None

    def _replacement(self, resource: Resource, spec: Spec, inputs: str | None) -> LiveObject | None:
        attempts = self.ownership.create_attempts.get(resource.address)
        if not attempts:
            return None
        marked = [
            live
            for live in self.marks.of(resource.address)
            if not self.is_claimed(live) and self.ownership.may_have_made(resource.address, live)
        ]
        if resource.kind.job is not None:
            created = [
                live for live in marked if any(attempt.can_have_made(live) for attempt in attempts)
            ]
            return _latest(_with_inputs(created, inputs))
        match = self._by_journal(resource, spec)
        if marked:
            return marked[0]
        return match[0] if match is not None else None

    # By natural key

    def _by_natural_key(self, resource: Resource, spec: Spec) -> Match | None:
        candidates = self._candidates(resource, spec)
        alive = [live for live in candidates if live.kind.terminal_state(live.attributes) is None]
        if resource.kind.unique_key and candidates and len(alive) <= 1:
            return (alive or candidates)[0], BindingSource.NATURAL
        if not candidates:
            self._report_absent(resource, spec)
            self._report_nameless(resource, spec)
            return None
        if len(candidates) > 1:
            same_key = "have the same " + conflicts.key_text(resource, spec)
            self.diagnostics.append(conflicts.several(resource, candidates, same_key))
            return None
        live = candidates[0]
        if live.mark is not None and self.ownership.address(live.mark) is None:
            self.diagnostics.append(conflicts.foreign(resource, live))
            return None
        if resource.lifecycle.adopt is True or self._adopts_all:
            return live, BindingSource.ADOPTED
        self.diagnostics.append(conflicts.exists_already(resource, spec, live))
        return None

    def _candidates(self, resource: Resource, spec: Spec) -> list[LiveObject]:
        """Objects with the natural key of the spec that nobody has, and that are no part of a collection of ours."""
        return [
            live
            for live in self._alike(resource, spec)
            if not self.is_claimed(live)
            and not self._is_reserved(live, resource.address)
            and live.id not in self.members
            and self.ownership.address(live.mark) is None
            and self.is_free(live, resource.address)
        ]

    def _alike(self, resource: Resource, spec: Spec) -> list[LiveObject]:
        """Every object with the natural key of the spec."""
        identity = resource.kind.identity(spec)
        if identity is None:
            return []
        home = (resource.address.kind, resource.address.project)
        if home not in self._natural:
            index: dict[tuple[object, ...], list[LiveObject]] = defaultdict(list)
            for live in self.live.objects(*home):
                if not is_gone(live):
                    for key in resource.kind.identities(live.attributes):
                        index[tuple(key.items())].append(live)
            self._natural[home] = index
        return self._natural[home].get(tuple(identity.items()), [])

    def _is_reserved(self, live: LiveObject, address: Address) -> bool:
        """Whether the manifest of another address names an object by its id."""
        return self._reserved.get((live.kind.name, live.project, live.id), address) != address

    # Errors

    def _report_taken(self, resource: Resource, record: Record) -> None:
        live = self.live.find(record.address.kind, record.address.project, record.id)
        if live is not None and not self._destroying:
            self.diagnostics.append(conflicts.foreign(resource, live))

    def _report_absent(self, resource: Resource, spec: Spec) -> None:
        kind = resource.kind
        home = (resource.address.kind, resource.address.project)
        listed = self.live.objects(*home)
        # The API makes the rows of a new project by itself, a moment later; nobody makes people and their keys.
        is_complete = bool(listed) or (
            kind.removal is not Removal.RESTORE and self.live.was_listed(*home)
        )
        owner = self._owner_of_alike(resource, spec)
        if owner is not None and owner in self.declared:
            self.diagnostics.append(conflicts.declared_twice(resource, spec, self.declared[owner]))
        elif owner is not None:
            self.contested[resource.address] = owner
            self.diagnostics.append(conflicts.bound_elsewhere(resource, spec, owner))
        elif kind.always_exists and is_complete and kind.identity(spec) is not None:
            self.diagnostics.append(conflicts.absent(resource, spec, listed))

    def _report_nameless(self, resource: Resource, spec: Spec) -> None:
        """Report objects that may be the resource, where no answer shows the natural key any more."""
        kind = resource.kind
        if kind.identify is not None or kind.always_exists or kind.identity(spec) is None:
            return
        listed = self.live.objects(resource.address.kind, resource.address.project)
        # Where other objects show their names, one without a name is simply one that nobody named.
        if any(all(live.shows(name) for name in kind.natural_key) for live in listed):
            return
        nameless = [
            live.id
            for live in listed
            if not self.is_claimed(live) and not kind.identities(live.attributes)
        ]
        if nameless:
            self.diagnostics.append(conflicts.nameless(resource, nameless))

    def _owner_of_alike(self, resource: Resource, spec: Spec) -> Address | None:
        """The address that has the object with the natural key of a spec, where there must not be a second one.

        That is so for kinds that have one object a key, and for an object that loses its declaration and stays.
        """
        for live in self._alike(resource, spec):
            owner = self._claimed.get((live.kind.name, live.project, live.id))
            if owner is not None and self._keeps_its_object(owner, live):
                return owner
        return None

    def _keeps_its_object(self, owner: Address, live: LiveObject) -> bool:
        other = self.declared.get(owner)
        if other is not None:
            # A declaration that has changed asks for another object by now, and lets go of this one.
            wanted = self.wanted.get(owner) or other.kind.identity(
                other.kind.fill_defaults(other.spec)
            )
            return other.kind.unique_key and wanted in other.kind.identities(live.attributes)
        record = self.records.get(owner)
        on_remove = (record.on_remove or live.kind.on_remove) if record is not None else None
        return live.kind.unique_key or on_remove is OnRemove.RETAIN


def is_gone(live: LiveObject) -> bool:
    """Whether an object still shows, but nothing is left of it."""
    return live.kind.terminal_state(live.attributes) is TerminalState.GONE


def member_ids(values: Iterable[object]) -> Iterator[str]:
    """The ids of the objects that collections hold."""
    for value in values:
        if isinstance(value, FileSet):
            yield from (
                member.file_id for member in value.members if isinstance(member.file_id, str)
            )


def _with_inputs(jobs: Iterable[LiveObject], inputs: str | None) -> list[LiveObject]:
    return [live for live in jobs if inputs is not None and live.inputs == inputs]


def _latest(objects: Iterable[LiveObject]) -> LiveObject | None:
    """The object that was created last, as far as the answers tell."""
    return max(objects, key=lambda live: live.attributes.get("created_at") or 0, default=None)
