"""Binding addresses to objects: which live object is which resource.

In this order: the id in our state; the id that the manifest says to adopt; our mark on the object, where it proves
anything (see `marks`); an unfinished journal entry; for objects that exist by themselves, the natural key. Anything
else with the same natural key is somebody else's until the manifest or the command line says `adopt`: a conflict, and
never a silent second object.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct, field

from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.binding.marks import Marks, parse_mark
from reconciler.engine.refresh.reader import LiveState
from reconciler.model.address import Address
from reconciler.model.diagnostic import Diagnostic, nearest
from reconciler.model.kind import OnRemove, Removal, TerminalState
from reconciler.model.resource import MARK_KEY, LiveObject, Record, Resource
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
    """A resource and what it is bound to. `ended` objects are not bound: they are what once was there.

    `successor` is what a replacement made that began and never ended: the object that is to follow this one.
    `left` is the recorded address in another project from which the declaration has come, without its object.
    """

    live: LiveObject | None = None
    source: BindingSource = BindingSource.NOT
    record: Record | None = None
    renamed_from: Address | None = None
    ended: LiveObject | None = None
    replacement: LiveObject | None = None
    left: Address | None = None


class Ownership(Struct):
    """Who we are, for marks: `stack/environment/`, and what was begun and never ended (address to unix seconds).

    `made` are the attempts to make an object among them; `noted` are the ids of all that they made for anybody.
    `former` are the stacks, as `stack/environment`, that this state was imported from. `held_ids` gives every id that
    an address was ever bound to, and `holders` every address that was ever bound to an id of a kind.
    `renamed_projects` maps the former names of projects to their present ones.
    """

    stack: str
    environment: str
    unfinished: Mapping[Address, float] = field(default_factory=dict)
    create_attempts: Mapping[Address, Sequence[CreateAttempt]] = field(default_factory=dict)
    created_ids: Mapping[str, Address] = field(default_factory=dict)
    former: Collection[str] = ()
    held_ids: Callable[[Address], Collection[str]] = lambda _: ()
    holders: Callable[[str, str], Collection[Address]] = lambda _, __: ()
    renamed_projects: Mapping[str, str] = field(default_factory=dict)

    def mark(self, address: Address) -> str:
        """The mark that our object for an address carries."""
        return f"{self.stack}/{self.environment}/{address}"

    def address(self, mark: str | None) -> Address | None:
        """The address that a mark of ours names; None for no mark and for marks of others."""
        owner, address = parse_mark(mark)
        return address if owner == f"{self.stack}/{self.environment}" else None

    def present_address(self, mark: str | None) -> Address | None:
        """The same, with the present name of its project."""
        address = self.address(mark)
        project = self.renamed_projects.get(address.project or "") if address is not None else None
        return address if address is None or project is None else Address(address.kind, address.name, project)

    def is_foreign(self, mark: str | None) -> bool:
        """Whether a mark names another stack or environment, and none that this state was imported from."""
        owner, address = parse_mark(mark)
        return address is not None and owner not in (f"{self.stack}/{self.environment}", *self.former)

    def may_have_made(self, address: Address, live: LiveObject) -> bool:
        """Whether the journal knows an attempt for an address that made this object, or that may have."""
        if self.created_ids.get(live.id) == address:
            return True
        attempts = self.create_attempts.get(address, ())
        return any(attempt.id is None and attempt.can_have_made(live) for attempt in attempts)


class Matcher:
    """Binds resources one after the other, so that no object is given to two of them."""

    def __init__(
        self,
        live: LiveState,
        records: Mapping[Address, Record],
        ownership: Ownership,
        *,
        declared: Mapping[Address, Resource],
        adopt_all: bool,
        project_id: Callable[[str | None], str | None],
        state_is_new: bool = False,
        destroying: bool = False,
        moved: Mapping[Address, Address] | None = None,
    ) -> None:
        """`project_id` gives the id of a project by its name, and `moved` how addresses are stored that have moved."""
        self.diagnostics: list[Diagnostic] = []
        self.contested: dict[Address, Address] = {}
        """Resources whose object is recorded for an address that no manifest declares any more: that address."""
        self._live = live
        self._records = records
        self._ownership = ownership
        self._declared = declared
        self._adopt_all = adopt_all
        self._project_id = project_id
        self._destroying = destroying
        self._moved = moved or {}
        self._marks = Marks(live, records, ownership, declared=declared.keys(), state_is_new=state_is_new)
        self.taken = dict(self._marks.taken())
        """Recorded addresses whose objects another owner has marked since: the address it names, None elsewhere."""
        self._claimed = {
            (address.kind, address.project, id): address
            for address, record in records.items()
            for id in ((record.id, *record.deposed) if address not in self.taken else record.deposed)
        }
        self._reserved = {
            (address.kind, address.project, resource.lifecycle.adopt): address
            for address, resource in declared.items()
            if isinstance(resource.lifecycle.adopt, str) and address not in records
        }
        self._members = {id for record in records.values() for id in _member_ids(record.applied.values())}
        self._delivered = {str(key.get("key_id")) for record in records.values() for key in record.delivered.values()}
        self._natural: dict[tuple[str, str | None], dict[tuple[object, ...], list[LiveObject]]] = {}
        self._wanted: dict[Address, Spec | None] = {}

    def bind(self, resource: Resource, spec: Spec, inputs: str | None = None) -> Binding:
        """The object of a resource whose completed, resolved spec is `spec`; `inputs` is the digest of a job's."""
        address, source = resource.address, self._source(resource)
        left = source if source is not None and self._is_elsewhere(resource, source) else None
        renamed = source if left is None else None
        self._wanted[address] = resource.kind.identity(spec)
        record = self._records.get(renamed or address)
        stored = self._moved.get(renamed or address, renamed)
        if record is not None and record.address in self.taken:
            if self.taken[record.address] is None:
                self._report_taken(resource, record)
                return Binding(record=record, renamed_from=stored)
            record = None
        bound = self._bound(resource, spec, record, renamed, inputs)
        if bound is None:
            gone = self._live.find(address.kind, address.project, record.id) if record else None
            return Binding(record=record, renamed_from=stored, ended=gone, left=left)
        live, found = bound
        self._claimed[(address.kind, address.project, live.id)] = address
        successor = self._replacement(resource, spec, inputs) if found is BindingSource.STATE else None
        if successor is not None:
            self._claimed[(address.kind, address.project, successor.id)] = address
        return Binding(live, found, record, stored, replacement=successor, left=left)

    def _bound(
        self, resource: Resource, spec: Spec, record: Record | None, renamed: Address | None, inputs: str | None
    ) -> tuple[LiveObject, BindingSource] | None:
        # What is not ours yet is not taken over only to be destroyed.
        may_take_over = not self._destroying or resource.kind.unique_key
        errors = len(self.diagnostics)
        bound = self._by_state(resource, record)
        if bound is None and may_take_over:
            bound = self._by_adoption(resource)
        bound = bound or self._by_mark_of(resource, renamed, inputs) or self._by_journal(resource, spec)
        if bound is not None or not may_take_over or len(self.diagnostics) > errors:
            return bound
        if isinstance(resource.lifecycle.adopt, str) and resource.address not in self._records:
            self._report_nothing_to_adopt(resource, resource.lifecycle.adopt)
            return None
        return self._by_natural_key(resource, spec)

    def marked_but_undeclared(self) -> Iterable[tuple[Address, LiveObject]]:
        """Objects of ours that have lost their declaration, or that an interrupted replacement left behind.

        A job that has ended is neither: it is what once ran, and its mark cannot be taken away.
        """
        return ((address, live) for address, live in self._loose() if self._marks.is_abandoned(address, live))

    def surplus(self) -> Iterable[tuple[Address, LiveObject]]:
        """Objects with a mark of ours that nothing proves to be ours: copies, most likely. Nobody deletes them."""
        return ((address, live) for address, live in self._loose() if not self._marks.is_abandoned(address, live))

    def _loose(self) -> Iterator[tuple[Address, LiveObject]]:
        """Objects with a mark of ours that nothing is bound to."""
        for address, objects in self._marks.items():
            for live in objects:
                if not self.is_claimed(live) and (live.kind.job is None or live.runs):
                    yield address, live

    def created_but_undeclared(self) -> Iterator[tuple[Address, LiveObject | None]]:
        """Objects without a mark that dead runs made for addresses that nothing declares or records any more.

        The address alone where there is none, or where it is not certain which one it is.
        """
        for address in self._ownership.unfinished:
            if address not in self._declared and address not in self._records:
                attempts = self._ownership.create_attempts.get(address, ())
                found = {live.id: live for attempt in attempts for live in self._created_by(address, attempt)}
                yield from ((address, live) for live in found.values() or (None,))

    def created_but_superseded(self) -> Iterator[tuple[Address, LiveObject]]:
        """Objects without a mark that dead runs made for addresses of ours, and that are not what is wanted there now.

        What was to be made has been edited since, or is not declared any more while what it was to replace still is
        recorded.
        """
        for address, attempts in self._ownership.create_attempts.items():
            if address in self._declared or address in self._records:
                wanted = self._wanted.get(address)
                old = [item for item in attempts if item.identity and item.identity != wanted]
                known = wanted is not None or address not in self._declared
                found = {live.id: live for item in old if known for live in self._created_by(address, item)}
                yield from ((address, live) for live in found.values())

    def _created_by(self, address: Address, attempt: CreateAttempt) -> list[LiveObject]:
        free = [
            live
            for live in self._live.objects(address.kind, address.project)
            if live.mark is None
            and not self.is_claimed(live)
            and not self._is_gone(live)
            and self._is_free(live, address)
        ]
        if attempt.id is not None:
            return [live for live in free if attempt.can_have_made(live)]
        # This is to be deleted, so what does not tell its age is left alone.
        alike = [
            live
            for live in free
            if attempt.identity
            and attempt.identity in live.kind.identities(live.attributes)
            and live.attributes.get("created_at") is not None
            and attempt.can_have_made(live)
            and live.id not in self._members
        ]
        return alike if len(alike) == 1 else []

    def unmanaged(self) -> Iterable[LiveObject]:
        """Objects that neither a manifest nor the state knows, and that could be ours, among all that was listed."""
        shown = (live.own_calls.values() for objects in self._live.listed.values() for live in objects.values())
        members = self._members | self._delivered | {id for values in shown for id in _member_ids(values)}
        copies = {(live.kind.name, live.id) for _, live in self.surplus()}
        for objects in self._live.listed.values():
            for live in objects.values():
                has_our_mark = self._ownership.address(live.mark) is not None
                is_copy = (live.kind.name, live.id) in copies
                mine = live.id in members or self.is_claimed(live) or (has_our_mark and not is_copy)
                theirs = live.kind.always_exists or live.kind.read_only_reason(live.attributes) is not None
                if not mine and not theirs and live.kind.terminal_state(live.attributes) is None:
                    yield live

    def _source(self, resource: Resource) -> Address | None:
        """The address that a resource had before, under the present name of its project."""
        source = resource.lifecycle.renamed_from
        if source is None:
            return None
        project = self._ownership.renamed_projects.get(source.project or "", source.project)
        source = Address(source.kind, source.name, project)
        return None if source in self._declared or resource.address in self._records else source

    def _is_elsewhere(self, resource: Resource, source: Address) -> bool:
        """Whether a recorded address is in another project than the resource that is renamed from it.

        The ids of the projects decide, not their names. Objects cannot move between projects.
        """
        record, address = self._records.get(source), resource.address
        if record is None or source.project == address.project:
            return False
        before, after = record.project_id or self._project_id(source.project), self._project_id(address.project)
        if before is not None and after is not None:
            return before != after
        if resource.kind.unique_key:
            return True
        is_here = self._live.find(address.kind, address.project, record.id) is not None
        return not is_here and self._live.find(source.kind, source.project, record.id) is not None

    def _by_state(self, resource: Resource, record: Record | None) -> tuple[LiveObject, BindingSource] | None:
        if record is None:
            return None
        live = self._live.find(resource.address.kind, resource.address.project, record.id)
        return (live, BindingSource.STATE) if live is not None and not self._is_gone(live) else None

    def _by_mark_of(
        self, resource: Resource, renamed: Address | None, inputs: str | None
    ) -> tuple[LiveObject, BindingSource] | None:
        source = resource.lifecycle.renamed_from
        previous = source if source is not None and source not in self._declared else renamed
        for address in dict.fromkeys([resource.address, previous or resource.address]):
            loose = [
                live
                for live in self._marks.of(address)
                if not self.is_claimed(live) and not self._is_reserved(live, resource.address)
            ]
            if resource.kind.job is not None:
                found = _of_these_inputs(loose, inputs) or _latest(live for live in loose if live.runs)
            else:
                found = [live for live in loose if self._marks.is_proved(address, live)]
                if not found and not self._marks.has_history(address):
                    found = loose
            if len(found) > 1:
                self._report_many(resource, found, f'carry the mark of "{address}"')
                return found[0], BindingSource.MARK
            if found:
                return found[0], BindingSource.MARK
            if loose and resource.kind.job is None and not self._destroying:
                return self._by_unproved_mark(resource, loose)
        run = self._under_another_name(resource, inputs)
        return (run[0], BindingSource.MARK) if run else None

    def _by_unproved_mark(self, resource: Resource, loose: list[LiveObject]) -> tuple[LiveObject, BindingSource] | None:
        """An object with the mark of an address whose own object is gone: a copy, or the work of a later state."""
        if len(loose) == 1 and (resource.lifecycle.adopt is True or self._adopt_all):
            return loose[0], BindingSource.ADOPTED
        ids = ", ".join(sorted(live.id for live in loose))
        self._report(
            resource,
            "The object of this resource is gone, and another one carries its mark",
            f"{ids} carries our mark, and this state never held it: it is a copy, or this state is an older one. To "
            f"take it over {_ways_to_adopt(resource, loose)}. To have a new object made, remove the key "
            f'"{MARK_KEY}" from its metadata.',
        )
        return None

    def _under_another_name(self, resource: Resource, inputs: str | None) -> list[LiveObject]:
        """A job that ran for the same inputs at an address that nothing declares any more: its mark cannot move."""
        if resource.kind.job is None:
            return []
        home = (resource.address.kind, resource.address.project)
        free = [
            live
            for address, objects in self._marks.items()
            if (address.kind, address.project) == home and address not in self._declared
            for live in objects
            if not self.is_claimed(live)
        ]
        return _of_these_inputs(free, inputs)

    def _by_journal(self, resource: Resource, spec: Spec) -> tuple[LiveObject, BindingSource] | None:
        attempts = self._ownership.create_attempts.get(resource.address)
        if not attempts:
            return None
        found = [
            live
            for live in self._candidates(resource, spec)
            if any(attempt.can_have_made(live) for attempt in attempts)
        ]
        if len(found) > 1:
            self._report_many(resource, found, "were made since the last run began to create it")
        return (found[0], BindingSource.JOURNAL) if found else None

    def _replacement(self, resource: Resource, spec: Spec, inputs: str | None) -> LiveObject | None:
        attempts = self._ownership.create_attempts.get(resource.address)
        if not attempts:
            return None
        marked = (
            live
            for live in self._marks.of(resource.address)
            if not self.is_claimed(live) and self._ownership.may_have_made(resource.address, live)
        )
        if resource.kind.job is not None:
            made = [live for live in marked if any(attempt.can_have_made(live) for attempt in attempts)]
            return next(iter(_of_these_inputs(made, inputs)), None)
        bound = self._by_journal(resource, spec)
        return next(marked, bound[0] if bound else None)

    def _by_adoption(self, resource: Resource) -> tuple[LiveObject, BindingSource] | None:
        wanted = resource.lifecycle.adopt
        if not isinstance(wanted, str):
            return None
        live = self._live.find(resource.address.kind, resource.address.project, wanted)
        if live is None or self._is_gone(live):
            return None
        owner = self._claimed.get((resource.address.kind, resource.address.project, wanted))
        if owner is not None and owner != resource.address:
            self._report(resource, "Already managed", f'"{wanted}" is bound to {owner}')
            return None
        if self._ownership.is_foreign(live.mark) and resource.kind.job is None:
            self._report_foreign(resource, live)
            return None
        is_marked = self._ownership.present_address(live.mark) == resource.address
        return live, BindingSource.MARK if is_marked else BindingSource.ADOPTED

    def _report_nothing_to_adopt(self, resource: Resource, wanted: str) -> None:
        forms = " or ".join(resource.kind.id_forms)
        self._report(
            resource,
            "Nothing to adopt",
            f'the API knows no {resource.kind.name} with id "{wanted}"; ids of this kind are written {forms}',
        )

    def _report_taken(self, resource: Resource, record: Record) -> None:
        live = self._live.find(record.address.kind, record.address.project, record.id)
        if live is not None and not self._destroying:
            self._report_foreign(resource, live)

    def _report_foreign(self, resource: Resource, live: LiveObject) -> None:
        self._report(
            resource,
            "Managed by another stack",
            f'{live.id} carries the mark "{live.mark}". Let it go there first (lifecycle: {{on_remove: retain}}), or, '
            f'if that stack is gone, remove the key "{MARK_KEY}" from the metadata of {live.id}. If it is to stay '
            f"there, remove {resource.address} from the manifests: it is then forgotten here, and not deleted.",
        )

    def _by_natural_key(self, resource: Resource, spec: Spec) -> tuple[LiveObject, BindingSource] | None:
        found = self._candidates(resource, spec)
        alive = [live for live in found if live.kind.terminal_state(live.attributes) is None]
        if resource.kind.unique_key and found and len(alive) <= 1:
            return (alive or found)[0], BindingSource.NATURAL
        if not found:
            self._report_absent(resource, spec)
            self._report_nameless(resource, spec)
            return None
        if len(found) > 1:
            self._report_many(resource, found, "have the same " + _key_text(resource, spec))
            return None
        live = found[0]
        if live.mark is not None and self._ownership.address(live.mark) is None:
            self._report_foreign(resource, live)
            return None
        if resource.lifecycle.adopt is True or self._adopt_all:
            return live, BindingSource.ADOPTED
        self._report(
            resource,
            "An object like this exists already",
            f"{live.id} has the same {_key_text(resource, spec)} and is not managed here. To take it over "
            f"{_ways_to_adopt(resource, [live])}",
        )
        return None

    def _candidates(self, resource: Resource, spec: Spec) -> list[LiveObject]:
        """Objects with the natural key of the spec that are nobody's and no part of a collection of ours."""
        identity = resource.kind.identity(spec)
        if identity is None:
            return []
        index = self._natural_index(resource)
        found = index.get(tuple(identity.items()), [])
        return [
            live
            for live in found
            if not self.is_claimed(live)
            and not self._is_reserved(live, resource.address)
            and live.id not in self._members
            and self._ownership.address(live.mark) is None
            and self._is_free(live, resource.address)
        ]

    def _natural_index(self, resource: Resource) -> dict[tuple[object, ...], list[LiveObject]]:
        place = (resource.address.kind, resource.address.project)
        if place not in self._natural:
            index: dict[tuple[object, ...], list[LiveObject]] = defaultdict(list)
            for live in self._live.objects(*place):
                if not self._is_gone(live):
                    for identity in resource.kind.identities(live.attributes):
                        index[tuple(identity.items())].append(live)
            self._natural[place] = index
        return self._natural[place]

    def is_claimed(self, live: LiveObject) -> bool:
        """Whether an object is bound or recorded."""
        return (live.kind.name, live.project, live.id) in self._claimed

    def _is_reserved(self, live: LiveObject, address: Address) -> bool:
        """Whether the manifest of another address names an object by its id."""
        return self._reserved.get((live.kind.name, live.project, live.id), address) != address

    def _is_free(self, live: LiveObject, address: Address) -> bool:
        """Whether a dead run did not make it for another address, be it as a part of something."""
        return self._ownership.created_ids.get(live.id, address) == address

    def _is_gone(self, live: LiveObject) -> bool:
        return live.kind.terminal_state(live.attributes) is TerminalState.GONE

    def _report_absent(self, resource: Resource, spec: Spec) -> None:
        home = (resource.address.kind, resource.address.project)
        listed = self._live.objects(*home)
        # The API makes the rows of a new project by itself, a moment later; nobody makes people and their keys.
        is_complete = bool(listed) or (resource.kind.removal is not Removal.RESTORE and self._live.was_listed(*home))
        owner = self._owner_of_like(resource, spec)
        if owner is not None and owner in self._declared:
            other = self._declared[owner]
            self._report(
                resource,
                "Two declarations of one object",
                f"{_key_text(resource, spec)} is the object of {other.address} ({other.location}): keep one of the two",
            )
        elif owner is not None:
            self.contested[resource.address] = owner
            self._report(
                resource,
                "Bound to another address",
                f"{_key_text(resource, spec)} is {owner}, which no manifest declares any more. If it has a new name, "
                f"say lifecycle: {{renamed_from: {owner}}}; if not, remove the one first and declare the other then",
            )
        elif resource.kind.always_exists and is_complete and resource.kind.identity(spec) is not None:
            where = f'project "{resource.address.project}"' if resource.address.project else "the organization"
            self._report(
                resource,
                f"No such {resource.kind.name}",
                f"the API lists none with {_key_text(resource, spec)} in {where}, and objects of this kind cannot be "
                f"created.{self._nearest_like(resource, spec)} {resource.kind.absent}".rstrip(),
            )

    def _report_nameless(self, resource: Resource, spec: Spec) -> None:
        """Report objects that may be the resource, where no answer shows the natural key any more."""
        kind = resource.kind
        if kind.identify is not None or kind.always_exists or kind.identity(spec) is None:
            return
        listed = self._live.objects(resource.address.kind, resource.address.project)
        # A single object without a name is one that nobody named.
        if any(all(live.shows(name) for name in kind.natural_key) for live in listed):
            return
        nameless = [live.id for live in listed if not self.is_claimed(live) and not kind.identities(live.attributes)]
        if nameless:
            self._report(
                resource,
                "An object like this may exist already",
                f"the API does not show the {' and '.join(kind.natural_key)} of {', '.join(nameless[:3])}"
                f"{' …' if len(nameless) > 3 else ''}. Check the server and any proxy in between, and plan again, or "
                f"say which object it is with reconciler import {resource.address} ID",
            )

    def _nearest_like(self, resource: Resource, spec: Spec) -> str:
        """The existing object that is spelt most like the one that is missing, as a question."""
        name = resource.kind.natural_key[0]
        known = (live.value(name) for live in self._live.objects(resource.address.kind, resource.address.project))
        return nearest(str(spec.get(name) or ""), (item for item in known if isinstance(item, str)))

    def _owner_of_like(self, resource: Resource, spec: Spec) -> Address | None:
        """The address that has the object with the natural key of a spec, where there must not be a second one.

        That is so for kinds that have one object a key, and for an object that loses its declaration and stays.
        """
        identity = resource.kind.identity(spec)
        alike = self._natural_index(resource).get(tuple(identity.items()), []) if identity is not None else []
        owners = ((self._claimed.get((live.kind.name, live.project, live.id)), live) for live in alike)
        return next(
            (owner for owner, live in owners if owner is not None and self._keeps_its_object(owner, live)), None
        )

    def _keeps_its_object(self, owner: Address, live: LiveObject) -> bool:
        other = self._declared.get(owner)
        if other is not None:
            # A declaration that has changed asks for another object by now, and lets go of this one.
            wanted = self._wanted.get(owner) or other.kind.identity(other.kind.fill_defaults(other.spec))
            return other.kind.unique_key and wanted in other.kind.identities(live.attributes)
        record = self._records.get(owner)
        return live.kind.unique_key or (
            record is not None and (record.on_remove or live.kind.on_remove) is OnRemove.RETAIN
        )

    def _report_many(self, resource: Resource, found: list[LiveObject], what: str) -> None:
        ids = ", ".join(sorted(live.id for live in found))
        self._report(
            resource,
            "More than one object could be this resource",
            f"{ids} {what}. Say which one with lifecycle: {{adopt: ID}} or reconciler import {resource.address} ID, "
            f"where ID is one of these as they are written here",
        )

    def _report(self, resource: Resource, summary: str, detail: str) -> None:
        self.diagnostics.append(Diagnostic(summary, detail, address=resource.address, location=resource.location))


def _ways_to_adopt(resource: Resource, found: Sequence[LiveObject]) -> str:
    """How to take over one of some objects; ids are spelled as manifests and `import` take them."""
    if len(found) > 1:
        return f"set lifecycle: {{adopt: ID}}, or run reconciler import {resource.address} ID"
    id = found[0].id
    return (
        f'set lifecycle: {{adopt: true}} or {{adopt: "{id}"}}, or run plan and apply with --adopt, or '
        f"reconciler import {resource.address} {id}"
    )


def _member_ids(values: Iterable[object]) -> Iterable[str]:
    """The ids of the objects that collections hold."""
    for value in values:
        if isinstance(value, FileSet):
            yield from (member.file_id for member in value.members if isinstance(member.file_id, str))


def _of_these_inputs(jobs: Iterable[LiveObject], inputs: str | None) -> list[LiveObject]:
    """The latest job that was started with these inputs."""
    return _latest(live for live in jobs if inputs is not None and live.inputs == inputs)


def _latest(objects: Iterable[LiveObject]) -> list[LiveObject]:
    """The object that was made last, as far as that is told."""
    return sorted(objects, key=lambda live: -(live.attributes.get("created_at") or 0))[:1]


def _key_text(resource: Resource, spec: Spec) -> str:
    identity = resource.kind.identity(spec) or {}
    return ", ".join(f'{name} "{value}"' for name, value in identity.items())
