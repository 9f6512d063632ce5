"""Binds addresses to objects: decides which live object belongs to which resource.

The evidence is considered in this order: the id in our state; the id that the manifest adopts; our
mark on the object, as far as it proves anything (see `marks`); an unfinished journal entry; for
objects that always exist, the natural key. Any other object with the same natural key is foreign
until the manifest or the command line says `adopt`. It causes an error (see `conflicts`), never a
silent second object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from reconciler.engine.binding import conflicts
from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.binding.bindings import Binding, BindingSource, Match
from reconciler.engine.binding.claims import Claims
from reconciler.engine.binding.mark_match import MarkMatcher, latest, with_inputs
from reconciler.engine.binding.marks import Marks
from reconciler.engine.binding.natural_keys import NaturalKeys, is_gone
from reconciler.engine.binding.renames import RenamedResources
from reconciler.engine.inputs import PlanInputs
from reconciler.engine.scope import LiveState
from reconciler.model.address import Address
from reconciler.model.diagnostic import Diagnostic
from reconciler.model.resource import LiveObject, Record, Resource
from reconciler.model.values import Spec


class Matcher:
    """Binds resources one after the other. No object is bound twice.

    Create it once all lists are read, and `bind` each resource in dependency order. Afterwards,
    `leftovers` finds the objects that no resource was bound to.
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
        self._by_mark = MarkMatcher(
            self.marks,
            self.claims,
            declared=declared,
            options=inputs.options,
            diagnostics=self.diagnostics,
        )
        self._renames = RenamedResources(inputs, live, declared.keys(), project_id)
        self._adopts_all = inputs.options.adopt
        self._destroying = inputs.options.destroy
        self._moved = inputs.moved

    def bind(self, resource: Resource, spec: Spec, inputs: str | None = None) -> Binding:
        """Bind a resource. `spec` is completed and resolved; `inputs` is the digest of a job's inputs."""
        address = resource.address
        renamed, left = self._renames.source(resource), None
        if renamed is not None and self._renames.is_elsewhere(resource, renamed):
            renamed, left = None, renamed
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
            # A match by id leaves out objects that have ended. The reason of the create depends on
            # whether the old object was archived or deleted.
            ended = None
            if record is not None:
                ended = self.live.find(address.kind, address.project, record.id)
            return Binding(record=record, renamed_from=stored, ended=ended, left=left)
        live, source = match
        # At once, so that no resource that is bound later gets the same object.
        self.claims.claim(live, address)
        replacement = None
        if source is BindingSource.STATE:
            # Only a recorded object can be the old half of an interrupted replacement.
            replacement = self._replacement(resource, spec, inputs)
        if replacement is not None:
            self.claims.claim(replacement, address)
        return Binding(live, source, record, stored, replacement=replacement, left=left)

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
            match = self._by_mark.match(resource, renamed, inputs)
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

    # By state and by adoption

    def _by_state(self, resource: Resource, record: Record | None) -> Match | None:
        if record is None:
            return None
        live = self.live.find(resource.address.kind, resource.address.project, record.id)
        if live is None or is_gone(live):
            return None
        return live, BindingSource.STATE

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
            return latest(with_inputs(_created_by(attempts, marked), inputs))
        match = self._by_journal(resource, spec)
        # A mark is the better proof: within one window, two objects can have the same natural key.
        if marked:
            return marked[0]
        return None if match is None else match[0]

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
        # Before `adopt`, which permits taking an unowned object, but not one of another stack.
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
