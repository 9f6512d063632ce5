"""Binding addresses to objects: which live object is which resource.

In this order: the id in our state; our mark on the object; an unfinished journal entry; for objects that exist by
themselves, the natural key. Anything else with the same natural key is somebody else's until the manifest or the
command line says `adopt`: a conflict, and never a silent second object.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct, field

from reconciler.engine.refresh import LiveState
from reconciler.model.address import Address
from reconciler.model.diagnostic import Diagnostic, nearest
from reconciler.model.kind import Ended, Removal
from reconciler.model.resource import LiveObject, Record, Resource
from reconciler.model.values import FileSet, Spec

JOURNAL_TOLERANCE_SECONDS = 5
"""How much earlier than our own clock an object's `created_at` may be and still be of an unfinished create."""


class Found(StrEnum):
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
    """

    live: LiveObject | None = None
    found: Found = Found.NOT
    record: Record | None = None
    renamed_from: Address | None = None
    ended: LiveObject | None = None
    successor: LiveObject | None = None


class Attempt(Struct, frozen=True):
    """A create that a run sent and did not live to record: the id it was answered, or what the object is known by."""

    began: float
    id: str | None
    identity: Spec


class Ownership(Struct):
    """Who we are, for marks: `stack/environment/`, and what was begun and never ended (address to unix seconds).

    `made` are the attempts to make an object among them; `noted` are the ids of all that they made for anybody.
    """

    stack: str
    environment: str
    begun: Mapping[Address, float] = field(default_factory=dict)
    made: Mapping[Address, Sequence[Attempt]] = field(default_factory=dict)
    noted: Mapping[str, Address] = field(default_factory=dict)

    def mark(self, address: Address) -> str:
        """The mark that our object for an address carries."""
        return f"{self.stack}/{self.environment}/{address}"

    def address(self, mark: str | None) -> Address | None:
        """The address that a mark of ours names; None for no mark and for marks of others."""
        prefix = f"{self.stack}/{self.environment}/"
        if mark is None or not mark.startswith(prefix):
            return None
        try:
            return Address.parse(mark.removeprefix(prefix))
        except ValueError:
            return None


class Matcher:
    """Binds resources one after the other, so that no object is given to two of them."""

    def __init__(
        self,
        live: LiveState,
        records: Mapping[Address, Record],
        ownership: Ownership,
        *,
        declared: Iterable[Address],
        adopt_all: bool,
        destroying: bool = False,
    ) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._live = live
        self._records = records
        self._ownership = ownership
        self._declared = set(declared)
        self._adopt_all = adopt_all
        self._destroying = destroying
        self._claimed = {
            (address.kind, address.project, id): address
            for address, record in records.items()
            for id in (record.id, *record.deposed)
        }
        self._members = {id for record in records.values() for id in _member_ids(record.applied.values())}
        self._delivered = {str(key.get("key_id")) for record in records.values() for key in record.delivered.values()}
        self._marked = self._by_mark()
        self._natural: dict[tuple[str, str | None], dict[tuple[object, ...], list[LiveObject]]] = {}
        self._wanted: dict[Address, Spec | None] = {}

    def bind(self, resource: Resource, spec: Spec, inputs: str | None = None) -> Binding:
        """The object of a resource whose completed, resolved spec is `spec`; `inputs` is the digest of a job's."""
        address, renamed = resource.address, self._renamed(resource)
        self._wanted[address] = resource.kind.identity(spec)
        record = self._records.get(renamed or address)
        bound = self._by_state(resource, record) or self._by_mark_of(resource, renamed, inputs)
        bound = bound or self._by_journal(resource, spec)
        if not self._destroying or resource.kind.found_by_key:
            # What is not ours yet is not taken over only to be destroyed.
            bound = bound or self._by_adoption(resource) or self._by_natural_key(resource, spec)
        if bound is None:
            gone = self._live.find(address.kind, address.project, record.id) if record else None
            return Binding(record=record, renamed_from=renamed, ended=gone)
        live, found = bound
        self._claimed[(address.kind, address.project, live.id)] = address
        successor = self._successor(resource, spec, inputs) if found is Found.STATE else None
        if successor is not None:
            self._claimed[(address.kind, address.project, successor.id)] = address
        return Binding(live, found, record, renamed, successor=successor)

    def marked_but_undeclared(self) -> Iterable[tuple[Address, LiveObject]]:
        """Objects with our mark whose address nothing declares and no record knows, and surplus ones of any address.

        A job that has ended is neither: it is what once ran, and its mark cannot be taken away.
        """
        for address, objects in self._marked.items():
            for live in objects:
                if not self.is_claimed(live) and (live.kind.job is None or live.runs):
                    yield address, live

    def made_and_undeclared(self) -> Iterator[tuple[Address, LiveObject | None]]:
        """Objects without a mark that dead runs made for addresses that nothing declares or records any more.

        The address alone where there is none, or where it is not certain which one it is.
        """
        for address in self._ownership.begun:
            if address not in self._declared and address not in self._records:
                attempts = self._ownership.made.get(address, ())
                found = {live.id: live for attempt in attempts for live in self._made_by(address, attempt)}
                yield from ((address, live) for live in found.values() or (None,))

    def made_and_superseded(self) -> Iterator[tuple[Address, LiveObject]]:
        """Objects without a mark that dead runs made for addresses of ours, and that are not what is wanted there now.

        What was to be made has been edited since, or is not declared any more while what it was to replace still is
        recorded.
        """
        for address, attempts in self._ownership.made.items():
            if address in self._declared or address in self._records:
                wanted = self._wanted.get(address)
                old = [item for item in attempts if item.identity and item.identity != wanted]
                known = wanted is not None or address not in self._declared
                found = {live.id: live for item in old if known for live in self._made_by(address, item)}
                yield from ((address, live) for live in found.values())

    def _made_by(self, address: Address, attempt: Attempt) -> list[LiveObject]:
        free = [
            live
            for live in self._live.objects(address.kind, address.project)
            if live.mark is None
            and not self.is_claimed(live)
            and not self._is_gone(live)
            and self._is_free(live, address)
        ]
        if attempt.id is not None:
            return [live for live in free if live.id == attempt.id]
        # This is to be deleted, so what does not tell its age is left alone.
        alike = [
            live
            for live in free
            if attempt.identity
            and attempt.identity in live.kind.identities(live.attributes)
            and live.attributes.get("created_at") is not None
            and is_since(live, attempt.began)
            and live.id not in self._members
        ]
        return alike if len(alike) == 1 else []

    def unmanaged(self) -> Iterable[LiveObject]:
        """Objects that neither a manifest nor the state knows, and that could be ours, among all that was listed."""
        shown = (live.carried.values() for objects in self._live.listed.values() for live in objects.values())
        members = self._members | self._delivered | {id for values in shown for id in _member_ids(values)}
        for objects in self._live.listed.values():
            for live in objects.values():
                mine = live.id in members or self.is_claimed(live) or self._ownership.address(live.mark) is not None
                theirs = live.kind.always_exists or live.kind.hold_on(live.attributes) is not None
                if not mine and not theirs and live.kind.ending(live.attributes) is None:
                    yield live

    def _renamed(self, resource: Resource) -> Address | None:
        source = resource.lifecycle.renamed_from
        if source is None or source in self._declared or resource.address in self._records:
            return None
        return source

    def _by_state(self, resource: Resource, record: Record | None) -> tuple[LiveObject, Found] | None:
        if record is None:
            return None
        live = self._live.find(resource.address.kind, resource.address.project, record.id)
        return (live, Found.STATE) if live is not None and not self._is_gone(live) else None

    def _by_mark_of(
        self, resource: Resource, renamed: Address | None, inputs: str | None
    ) -> tuple[LiveObject, Found] | None:
        source = resource.lifecycle.renamed_from
        previous = source if source is not None and source not in self._declared else renamed
        for address in dict.fromkeys([resource.address, previous or resource.address]):
            found = [live for live in self._marked.get(address, ()) if not self.is_claimed(live)]
            if resource.kind.job is not None:
                found = _of_these_inputs(found, inputs) or _latest(live for live in found if live.runs)
            if len(found) > 1:
                self._report_many(resource, found, f'carry the mark of "{address}"')
                return found[0], Found.MARK
            if found:
                return found[0], Found.MARK
        run = self._under_another_name(resource, inputs)
        return (run[0], Found.MARK) if run else None

    def _under_another_name(self, resource: Resource, inputs: str | None) -> list[LiveObject]:
        """A job that ran for the same inputs at an address that nothing declares any more: its mark cannot move."""
        if resource.kind.job is None:
            return []
        home = (resource.address.kind, resource.address.project)
        free = [
            live
            for address, objects in self._marked.items()
            if (address.kind, address.project) == home and address not in self._declared
            for live in objects
            if not self.is_claimed(live)
        ]
        return _of_these_inputs(free, inputs)

    def _by_journal(self, resource: Resource, spec: Spec) -> tuple[LiveObject, Found] | None:
        since = self._ownership.begun.get(resource.address)
        if since is None:
            return None
        found = [live for live in self._candidates(resource, spec) if is_since(live, since)]
        if len(found) > 1:
            self._report_many(resource, found, "were made since the last run began to create it")
        return (found[0], Found.JOURNAL) if found else None

    def _successor(self, resource: Resource, spec: Spec, inputs: str | None) -> LiveObject | None:
        if resource.address not in self._ownership.made:
            return None
        marked = (live for live in self._marked.get(resource.address, ()) if not self.is_claimed(live))
        if resource.kind.job is not None:
            began = self._ownership.begun.get(resource.address, math.inf)
            return next(iter(_of_these_inputs([live for live in marked if is_since(live, began)], inputs)), None)
        bound = self._by_journal(resource, spec)
        return next(marked, bound[0] if bound else None)

    def _by_adoption(self, resource: Resource) -> tuple[LiveObject, Found] | None:
        wanted = resource.lifecycle.adopt
        if not isinstance(wanted, str):
            return None
        live = self._live.find(resource.address.kind, resource.address.project, wanted)
        if live is None or self._is_gone(live):
            if resource.address not in self._records:
                self._report(resource, "Nothing to adopt", f'the API knows no {resource.kind.name} with id "{wanted}"')
            return None
        owner = self._claimed.get((resource.address.kind, resource.address.project, wanted))
        if owner is not None and owner != resource.address:
            self._report(resource, "Already managed", f'"{wanted}" is bound to {owner}')
            return None
        return live, Found.ADOPTED

    def _by_natural_key(self, resource: Resource, spec: Spec) -> tuple[LiveObject, Found] | None:
        found = self._candidates(resource, spec)
        alive = [live for live in found if live.kind.ending(live.attributes) is None]
        if resource.kind.found_by_key and found and len(alive) <= 1:
            return (alive or found)[0], Found.NATURAL
        if not found:
            self._report_absent(resource, spec)
            return None
        if len(found) > 1:
            self._report_many(resource, found, "have the same " + _key_text(resource, spec))
            return None
        live = found[0]
        if live.mark is not None and self._ownership.address(live.mark) is None:
            self._report(resource, "Managed by another stack", f'{live.id} carries the mark "{live.mark}"')
            return None
        if resource.lifecycle.adopt is True or self._adopt_all:
            return live, Found.ADOPTED
        self._report(
            resource,
            "An object like this exists already",
            f"{live.id} has the same {_key_text(resource, spec)} and is not managed here. To take it over set "
            f"lifecycle: {{adopt: true}}, or run plan and apply with --adopt, or "
            f"reconciler import {resource.address} {live.id}",
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

    def _is_free(self, live: LiveObject, address: Address) -> bool:
        """Whether a dead run did not make it for another address, be it as a part of something."""
        return self._ownership.noted.get(live.id, address) == address

    def _is_gone(self, live: LiveObject) -> bool:
        return live.kind.ending(live.attributes) is Ended.GONE

    def _by_mark(self) -> dict[Address, list[LiveObject]]:
        """The objects of each address. Two keys can open one project, and what both show is one object all the same."""
        marked: dict[Address, dict[str, LiveObject]] = defaultdict(dict)
        for objects in self._live.listed.values():
            for live in objects.values():
                address = self._ownership.address(live.mark)
                if address is None or address.kind != live.kind.name or self._is_gone(live):
                    continue
                if live.id not in marked[address] or live.project == address.project:
                    marked[address][live.id] = live
        return {address: list(found.values()) for address, found in marked.items()}

    def _report_absent(self, resource: Resource, spec: Spec) -> None:
        home = (resource.address.kind, resource.address.project)
        listed = self._live.objects(*home)
        # The API makes the rows of a new project by itself, a moment later; nobody makes people and their keys.
        is_complete = bool(listed) or (resource.kind.removal is not Removal.RESTORE and self._live.was_listed(*home))
        owner = self._owner_of_like(resource, spec)
        if owner is not None and owner not in self._declared:
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

    def _nearest_like(self, resource: Resource, spec: Spec) -> str:
        """The existing object that is spelt most like the one that is missing, as a question."""
        name = resource.kind.natural_key[0]
        known = (live.value(name) for live in self._live.objects(resource.address.kind, resource.address.project))
        return nearest(str(spec.get(name) or ""), (item for item in known if isinstance(item, str)))

    def _owner_of_like(self, resource: Resource, spec: Spec) -> Address | None:
        """The address that has the object with the natural key of a spec, for kinds that have one a key."""
        identity = resource.kind.identity(spec) if resource.kind.found_by_key else None
        alike = self._natural_index(resource).get(tuple(identity.items()), []) if identity is not None else []
        owners = [self._claimed.get((live.kind.name, live.project, live.id)) for live in alike]
        return next((owner for owner in owners if owner is not None), None)

    def _report_many(self, resource: Resource, found: list[LiveObject], what: str) -> None:
        ids = ", ".join(sorted(live.id for live in found))
        self._report(
            resource,
            "More than one object could be this resource",
            f"{ids} {what}. Say which one with lifecycle: {{adopt: ID}} or reconciler import {resource.address} ID",
        )

    def _report(self, resource: Resource, summary: str, detail: str) -> None:
        self.diagnostics.append(Diagnostic(summary, detail, address=resource.address, place=resource.place))


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


def is_since(live: LiveObject, began: float) -> bool:
    """Whether an object can be of a create that began at a time: it is no older, or does not tell its age.

    Before a create begins there is no object like it that is nobody's: a plan with one is a conflict.
    """
    created = live.attributes.get("created_at")
    return not isinstance(created, int | float) or created >= began - JOURNAL_TOLERANCE_SECONDS


def _key_text(resource: Resource, spec: Spec) -> str:
    identity = resource.kind.identity(spec) or {}
    return ", ".join(f'{name} "{value}"' for name, value in identity.items())
