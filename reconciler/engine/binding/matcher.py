"""Binds addresses to objects: decides which live object belongs to which resource.

The evidence is considered in this order: the id in our state; the id that the manifest adopts; our mark on the object,
as far as it proves anything (see `marks`); an unfinished journal entry; for objects that exist by themselves, the
natural key. Any other object with the same natural key is foreign until the manifest or the command line says `adopt`.
It causes an error (see `conflicts`), never a silent second object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from reconciler.engine.binding import conflicts
from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.binding.claims import Claims
from reconciler.engine.binding.marks import Marks
from reconciler.engine.binding.natural_keys import NaturalKeys, is_gone
from reconciler.engine.inputs import PlanInputs
from reconciler.engine.scope import LiveState
from reconciler.model.address import Address
from reconciler.model.diagnostic import Diagnostic
from reconciler.model.resource import LiveObject, Record, Resource
from reconciler.model.values import Spec


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
    """The address under which the record is stored, if it differs from that of the resource."""
    ended: LiveObject | None = None
    """The recorded object, if it is still listed but has ended. It is not bound."""
    replacement: LiveObject | None = None
    """The object that an interrupted replacement created: the successor of `live`."""
    left: Address | None = None
    """The recorded address in another project from which the resource was renamed. Objects cannot move along."""


Match = tuple[LiveObject, BindingSource]


class Matcher:
    """Binds resources one after the other. No object is bound twice.

    A long class, because each sort of evidence depends on the claims and errors of those before it.

    Create it once all lists are read, and `bind` each resource in dependency order. Afterwards, `leftovers` finds here
    which objects were bound to no resource.
    """

    def __init__(
        self,
        inputs: PlanInputs,
        live: LiveState,
        declared: Mapping[Address, Resource],
        project_id: Callable[[str | None], str | None],
    ) -> None:
        """`project_id` returns the id of a project by its name."""
        self.live = live
        self.records = inputs.records
        self.ownership = inputs.ownership
        self.declared = declared
        self.diagnostics: list[Diagnostic] = []
        self.marks = Marks(
            live,
            inputs.records,
            inputs.ownership,
            declared=declared.keys(),
            state_is_new=inputs.state_is_new,
        )
        self.taken = dict(self.marks.taken())
        """Recorded addresses whose objects another owner has marked since: its address, or None for another stack."""
        self.claims = Claims(inputs.records, declared, self.taken)
        self.keys = NaturalKeys(
            live, inputs.ownership, self.claims, declared=declared, records=inputs.records
        )
        self._adopts_all = inputs.options.adopt
        self._destroying = inputs.options.destroy
        self._project_id = project_id
        self._moved = inputs.moved

    def bind(self, resource: Resource, spec: Spec, inputs: str | None = None) -> Binding:
        """Bind a resource. `spec` is completed and resolved; `inputs` is the digest of a job's inputs."""
        address, source = resource.address, self._source(resource)
        left = source if source is not None and self._is_elsewhere(resource, source) else None
        renamed = source if left is None else None
        # Noted even for a resource that is bound by its id: whether another one may have the same
        # natural key depends on it.
        self.keys.wanted[address] = resource.kind.identity(spec)
        record = self.records.get(renamed or address)
        stored = self._moved.get(renamed or address, renamed)
        if record is not None and record.address in self.taken:
            if self.taken[record.address] is None:
                # Another stack manages the object now. A new one would be a second object.
                self._report_taken(resource, record)
                return Binding(record=record, renamed_from=stored)
            # The mark names another address of ours: the record is outdated and proves nothing.
            record = None
        match = self._match(resource, spec, record, renamed, inputs)
        if match is None:
            # A match by id leaves out objects that have ended. The reason of the new one tells
            # whether the old one was archived or deleted.
            gone = self.live.find(address.kind, address.project, record.id) if record else None
            return Binding(record=record, renamed_from=stored, ended=gone, left=left)
        live, how = match
        # At once, so that no resource that is bound later gets the same object.
        self.claims.claim(live, address)
        replacement = None
        if how is BindingSource.STATE:
            # Only a recorded object can be the old half of an interrupted replacement.
            replacement = self._replacement(resource, spec, inputs)
        if replacement is not None:
            self.claims.claim(replacement, address)
        return Binding(live, how, record, stored, replacement=replacement, left=left)

    def _match(
        self,
        resource: Resource,
        spec: Spec,
        record: Record | None,
        renamed: Address | None,
        inputs: str | None,
    ) -> Match | None:
        # Do not adopt an object only to destroy it. With a unique key, it is ours without adoption.
        may_adopt = not self._destroying or resource.kind.unique_key
        errors = len(self.diagnostics)
        # From the strongest evidence to the weakest: the id in the state is what we did ourselves,
        # a mark can be copied, a journal entry knows only times, and names are free to everybody.
        match = self._by_state(resource, record)
        if match is None and may_adopt:
            match = self._by_adoption(resource)
        if match is None:
            match = self._by_mark(resource, renamed, inputs)
        if match is None:
            match = self._by_journal(resource, spec)
        # After an error, weaker evidence must not bind another object silently.
        if match is not None or not may_adopt or len(self.diagnostics) > errors:
            return match
        adopt = resource.lifecycle.adopt
        if isinstance(adopt, str) and resource.address not in self.records:
            self.diagnostics.append(self._nothing_to_adopt(resource, adopt))
            return None
        return self._by_natural_key(resource, spec)

    def _nothing_to_adopt(self, resource: Resource, id: str) -> Diagnostic:
        """Why the object that the manifest says to adopt cannot be adopted."""
        live = self.live.find(resource.address.kind, resource.address.project, id)
        if live is not None and is_gone(live):
            return conflicts.ended(resource, live)
        return conflicts.nothing_to_adopt(resource, id)

    # Renamed resources

    def _source(self, resource: Resource) -> Address | None:
        """The earlier address of a resource, with the present name of its project."""
        source = resource.lifecycle.renamed_from
        if source is None:
            return None
        # `renamed_from` is written with the name that the project had then.
        project = self.ownership.renamed_projects.get(source.project or "", source.project)
        source = Address(source.kind, source.name, project)
        # A second apply with the same `renamed_from` finds the new record and has nothing to rename.
        return None if source in self.declared or resource.address in self.records else source

    def _is_elsewhere(self, resource: Resource, source: Address) -> bool:
        """Whether the record of the earlier address is in another project than the resource.

        Project ids decide, not names. Objects cannot move between projects.
        """
        record, address = self.records.get(source), resource.address
        if record is None or source.project == address.project:
            return False
        # The recorded id first: the name may belong to another project by now.
        before = record.project_id or self._project_id(source.project)
        after = self._project_id(address.project)
        if before is not None and after is not None:
            return before != after
        # Without both ids, where the object is listed decides. Ids of unique-key kinds repeat in every
        # project, so they prove nothing.
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
        # Checked before the mark, because the state knows our own objects better than their
        # metadata.
        owner = self.claims.owner_of_id(address, adopt)
        if owner is not None and owner != address:
            self.diagnostics.append(conflicts.already_managed(resource, adopt, owner))
            return None
        # Metadata of jobs is immutable: their mark only says who started them.
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
        # A renamed object carries the mark of its earlier address until it is written again.
        previous = source if source is not None and source not in self.declared else renamed
        for address in dict.fromkeys([resource.address, previous or resource.address]):
            unbound = self._unbound_marked(resource, address)
            candidates = self._trusted(resource, address, unbound, inputs)
            if len(candidates) > 1:
                self.diagnostics.append(
                    conflicts.several(resource, candidates, f'carry the mark of "{address}"')
                )
            if candidates:
                return candidates[0], BindingSource.MARK
            # A destroy deletes only what is certainly ours, so it need not ask about a copy.
            if unbound and resource.kind.job is None and not self._destroying:
                return self._by_unproved_mark(resource, unbound)
        job = self._job_of_undeclared_address(resource, inputs)
        return (job, BindingSource.MARK) if job is not None else None

    def _unbound_marked(self, resource: Resource, address: Address) -> list[LiveObject]:
        """The objects with the mark of an address that a resource may have."""
        unbound = []
        for live in self.marks.of(address):
            is_reserved = self.claims.is_reserved(live, resource.address)
            if not is_reserved and not self.claims.is_claimed(live):
                unbound.append(live)
        return unbound

    def _trusted(
        self, resource: Resource, address: Address, unbound: list[LiveObject], inputs: str | None
    ) -> list[LiveObject]:
        """The marked objects whose mark proves that they belong to the resource."""
        # A job belongs to its inputs: prefer one with the same inputs, else one that still runs.
        if resource.kind.job is not None:
            same = _latest(_with_inputs(unbound, inputs)) or _latest(
                live for live in unbound if live.runs
            )
            return [same] if same is not None else []
        # Without any history the state was lost, and the mark is the only evidence there is.
        proved = [live for live in unbound if self.marks.is_proved(address, live)]
        if not proved and not self.marks.has_history(address):
            return unbound
        return proved

    def _by_unproved_mark(self, resource: Resource, unbound: list[LiveObject]) -> Match | None:
        """An unproved mark of an address whose own object is gone: a copy, or the state is outdated."""
        if len(unbound) == 1 and (resource.lifecycle.adopt is True or self._adopts_all):
            return unbound[0], BindingSource.ADOPTED
        self.diagnostics.append(conflicts.unproved_mark(resource, unbound))
        return None

    def _job_of_undeclared_address(
        self, resource: Resource, inputs: str | None
    ) -> LiveObject | None:
        """A job with the same inputs from an address that is no longer declared. Its mark cannot be changed."""
        if resource.kind.job is None:
            return None
        home = (resource.address.kind, resource.address.project)
        free: list[LiveObject] = []
        for address, objects in self.marks.items():
            if (address.kind, address.project) == home and address not in self.declared:
                free += [live for live in objects if not self.claims.is_claimed(live)]
        return _latest(_with_inputs(free, inputs))

    # By journal

    def _by_journal(self, resource: Resource, spec: Spec) -> Match | None:
        attempts = self.ownership.create_attempts.get(resource.address)
        if not attempts:
            return None
        created = _created_by(attempts, self.keys.candidates(resource, spec))
        if len(created) > 1:
            self.diagnostics.append(
                conflicts.several(
                    resource, created, "were made since the last run began to create it"
                )
            )
        return (created[0], BindingSource.JOURNAL) if created else None

    def _replacement(self, resource: Resource, spec: Spec, inputs: str | None) -> LiveObject | None:
        """The object that an interrupted replacement created beside the recorded one."""
        attempts = self.ownership.create_attempts.get(resource.address)
        if not attempts:
            return None
        marked = []
        for live in self.marks.of(resource.address):
            is_claimed = self.claims.is_claimed(live)
            if not is_claimed and self.ownership.may_have_made(resource.address, live):
                marked.append(live)
        if resource.kind.job is not None:
            return _latest(_with_inputs(_created_by(attempts, marked), inputs))
        match = self._by_journal(resource, spec)
        # A mark is the better proof: within one window, two objects can have the same natural key.
        if marked:
            return marked[0]
        return match[0] if match is not None else None

    # By natural key

    def _by_natural_key(self, resource: Resource, spec: Spec) -> Match | None:
        candidates = self.keys.candidates(resource, spec)
        alive = [live for live in candidates if live.kind.terminal_state(live.attributes) is None]
        # With a unique key there is at most one living object, and nobody else can mean another.
        if resource.kind.unique_key and candidates and len(alive) <= 1:
            return (alive or candidates)[0], BindingSource.NATURAL
        if not candidates:
            self.diagnostics += self.keys.problems_of_unbound(resource, spec)
            return None
        if len(candidates) > 1:
            same_key = "have the same " + conflicts.key_text(resource, spec)
            self.diagnostics.append(conflicts.several(resource, candidates, same_key))
            return None
        live = candidates[0]
        # Before `adopt`, which permits taking an object of nobody, and none of another stack.
        if live.mark is not None and self.ownership.address(live.mark) is None:
            self.diagnostics.append(conflicts.foreign(resource, live))
            return None
        if resource.lifecycle.adopt is True or self._adopts_all:
            return live, BindingSource.ADOPTED
        self.diagnostics.append(conflicts.exists_already(resource, spec, live))
        return None

    def _report_taken(self, resource: Resource, record: Record) -> None:
        live = self.live.find(record.address.kind, record.address.project, record.id)
        if live is not None and not self._destroying:
            self.diagnostics.append(conflicts.foreign(resource, live))


def _created_by(
    attempts: Sequence[CreateAttempt], objects: Iterable[LiveObject]
) -> list[LiveObject]:
    """The objects that any of the attempts can have created."""
    return [live for live in objects if any(attempt.can_have_made(live) for attempt in attempts)]


def _with_inputs(jobs: Iterable[LiveObject], inputs: str | None) -> list[LiveObject]:
    return [live for live in jobs if inputs is not None and live.inputs == inputs]


def _latest(objects: Iterable[LiveObject]) -> LiveObject | None:
    """The object that was created last, as far as the answers tell."""
    return max(objects, key=lambda live: live.attributes.get("created_at") or 0, default=None)
