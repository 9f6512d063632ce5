"""Everything a plan is decided from, as one frozen value.

`refresh.collect` makes it from what the API answers and what the state records; `plan/` decides from it. No lookup here
makes a call or reads a clock, so one snapshot always gives the same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.engine.binding.leftovers import Leftovers
from reconciler.engine.binding.matcher import Binding
from reconciler.engine.inputs import PlanInputs
from reconciler.engine.overview import Overview
from reconciler.engine.scope import LiveState, Scope
from reconciler.engine.selection import Selection
from reconciler.model.address import Address
from reconciler.model.diagnostic import Diagnostic
from reconciler.model.kind import Kind
from reconciler.model.resource import LiveObject, Resource, shown_to_others
from reconciler.model.rule import Rule
from reconciler.model.values import Reference, Unknown, by_content, value_at

UNBOUND = Binding()


class Problem(Struct, frozen=True):
    """A diagnostic, and the addresses that it blocks."""

    diagnostic: Diagnostic
    blocks: Sequence[Address] = ()


class RetentionMatch(Struct, frozen=True):
    """An object that a retention rule removes, under the address that its id makes."""

    rule: Rule
    live: LiveObject
    address: Address


class Snapshot(Struct, frozen=True, dict=True):
    """The desired, recorded and live side of one plan, and which object belongs to which resource."""

    inputs: PlanInputs
    selection: Selection
    resources: Mapping[Address, Resource]
    """What is declared, with the contents of folders."""
    live: LiveState
    """What was read. Written by `collect` alone, and never after it has returned."""
    bindings: Mapping[Address, Binding]
    """Each selected resource with the object that it is bound to."""
    taken: Mapping[Address, Address | None] = {}
    """Recorded addresses whose objects carry a newer mark of another owner: the address it names, None elsewhere."""
    leftovers: Leftovers = Leftovers()
    """What interrupted runs left behind, and objects with a copied mark."""
    retention_matches: Sequence[RetentionMatch] = ()
    """What retention rules remove, except objects that a collection holds."""
    overview: Overview = Overview()
    """Every object that was read, and the lists that were not, where the caller asked for unmanaged objects."""
    missing_projects: frozenset[str] = frozenset()
    """Declared or recorded projects that do not exist, so that nothing in them can exist."""
    search_failed: bool = False
    """Whether a search for objects of ours failed in a way that may pass, so that it is due again."""
    retired: frozenset[Address] = frozenset()
    """Recorded objects of kinds that the API has ended, and that nothing declares."""
    diagnostics: Sequence[Diagnostic] = ()
    errors: Mapping[Address, Diagnostic] = {}
    """Why an address cannot be planned. Several addresses can share a diagnostic."""

    def with_problems(self, problems: Iterable[Problem]) -> Snapshot:
        """The snapshot with more diagnostics. The first error of an address stays."""
        diagnostics, errors = list(self.diagnostics), dict(self.errors)
        for problem in problems:
            diagnostics.append(problem.diagnostic)
            for address in problem.blocks:
                errors.setdefault(address, problem.diagnostic)
        return replace(self, diagnostics=diagnostics, errors=errors)

    def kind(self, address: Address) -> Kind:
        """The kind of an address."""
        return self.inputs.kinds[address.kind]

    def live_of(self, address: Address) -> LiveObject | None:
        """The object that a resource is bound to."""
        return self.bindings.get(address, UNBOUND).live

    def find(self, address: Address, id: str) -> LiveObject | None:
        """An object by its id, in the project of an address."""
        return self.live.find(address.kind, address.project, id)

    def was_listed(self, address: Address, id: str) -> bool:
        """Whether the list was read that would show an object."""
        try:
            return self.live.scope_of(address.kind, address.project, id) in self.live.listed
        except ValueError:  # a record with an id of another form
            return False

    def is_unreadable(self, address: Address) -> bool:
        """Whether the scope of an address may exist, and could not be read or was refused."""
        return self.live.is_unreadable(address.kind, address.project)

    def project_id(self, name: str | None) -> str | None:
        """The API's id of a project, where it exists."""
        return project_id(name, self.inputs, self.selection, self.bindings)

    def error_of(self, address: Address) -> Diagnostic | None:
        """The error of an address, or of the project that it is in."""
        project = self.selection.project_of(address)
        return self.errors.get(address) or (
            self.errors.get(project) if project is not None else None
        )

    def access_dependencies(self, project: str | None) -> tuple[Address, ...]:
        """The declared project, and the resource that delivers its key: both must outlive the project's objects."""
        if project is None:
            return ()
        needs = (self.selection.projects.get(project), self.inputs.key_writers.get(project))
        return tuple(address for address in needs if address is not None)

    def satisfied_by_object(self, resource: Resource) -> LiveObject | None:
        """An object of another kind that makes this resource unnecessary, such as a member for an invite."""
        other = self.inputs.kinds.get(resource.kind.made_unnecessary_by or "")
        if other is None:
            return None
        identity = resource.kind.identity(
            resource.kind.fill_defaults(resource.resolved(self.current_value))
        )
        if identity is None:
            return None
        if other.name not in self._by_identity:
            self._by_identity[other.name] = {
                frozenset(key.items()): live
                for live in self.live.objects(other.name, None)
                for key in other.identities(live.attributes)
            }
        return self._by_identity[other.name].get(frozenset(identity.items()))

    @cached_property
    def _by_identity(self) -> dict[str, dict[frozenset[tuple[str, Any]], LiveObject]]:
        """The objects of a kind by natural key. A cache: a natural key is looked up for every such resource."""
        return {}

    @cached_property
    def key_writers(self) -> frozenset[Address]:
        """The resources whose keys open projects."""
        return frozenset(self.inputs.key_writers.values())

    def current_value(self, reference: Reference) -> Any:
        """What a reference points at before anything is decided."""
        return current_value(reference, self.bindings)

    def inputs_digest(self, resource: Resource, lookup: Callable[[Reference], Any]) -> str | None:
        """The digest of what a job would be started with; None for other kinds, and while it is unknown."""
        return inputs_digest(resource, self.resources, lookup)

    def could_read(self, scopes: Iterable[Scope]) -> bool:
        """Whether no read of these scopes was refused."""
        return not any(
            scope in self.live.failed or scope in self.live.unsearched for scope in scopes
        )


# The same lookups are needed while the bindings are still being made, one after the other.


def current_value(reference: Reference, bindings: Mapping[Address, Binding]) -> Any:
    """What a reference points at in the bound object; Unknown where there is none, or it does not show the field."""
    live = bindings.get(reference.address, UNBOUND).live
    if live is None:
        return Unknown(str(reference))
    value = value_at(shown_to_others(live), reference.path) if reference.path else live.own_id
    return Unknown(str(reference)) if value is None else value


def project_id(
    name: str | None, inputs: PlanInputs, selection: Selection, bindings: Mapping[Address, Binding]
) -> str | None:
    """The API's id of a project: of the declared one where it is bound, else as the stack names it."""
    declared = selection.projects.get(name or "")
    live = bindings.get(declared, UNBOUND).live if declared is not None else None
    return live.id if live is not None else inputs.projects.get(name or "")


def inputs_digest(
    resource: Resource, resources: Mapping[Address, Resource], lookup: Callable[[Reference], Any]
) -> str | None:
    """The digest of what a job would be started with; None for other kinds, and while it is unknown.

    An uploaded file counts by its content: the same bytes under another id are the same input.
    """
    if resource.kind.job is None:
        return None
    contents = {
        address: resources[address].spec for address in resource.references if address in resources
    }
    spec = resource.resolved(by_content(contents, lookup))
    return resource.kind.inputs_digest(resource.kind.fill_defaults(spec))
