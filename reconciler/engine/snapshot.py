"""The snapshot: everything that planning needs, frozen in one value.

`refresh.collect` makes it from the API's answers and the state's records; `plan/` decides from it.
No lookup makes a call or reads a clock, so the same snapshot always gives the same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.engine.binding.bindings import Binding
from reconciler.engine.binding.leftovers import Leftovers
from reconciler.engine.inputs import PlanInputs
from reconciler.engine.overview import Overview
from reconciler.engine.scope import LiveState, Scope
from reconciler.engine.selection import Selection
from reconciler.model.address import Address
from reconciler.model.diagnostic import Diagnostic
from reconciler.model.kind import Kind
from reconciler.model.resource import LiveObject, Resource, shown_to_others
from reconciler.model.rule import Rule
from reconciler.model.values import Reference, Spec, Unknown, by_content, value_at

UNBOUND = Binding()


class BlockingProblem(Struct, frozen=True):
    """A diagnostic, and the addresses that it blocks."""

    diagnostic: Diagnostic
    blocks: Sequence[Address] = ()


class RetentionMatch(Struct, frozen=True):
    """An object that a retention rule removes, with an address made of its id."""

    rule: Rule
    live: LiveObject
    address: Address


class Snapshot(Struct, frozen=True, dict=True):
    """Desired, recorded and live state of one plan, and the binding between resources and objects."""

    inputs: PlanInputs
    selection: Selection
    resources: Mapping[Address, Resource]
    """The declared resources, with the contents of folders."""
    live: LiveState
    """The live state. Only `collect` writes it, and never after returning."""
    bindings: Mapping[Address, Binding]
    """The selected resources with their objects."""
    taken: Mapping[Address, Address | None] = {}
    """Recorded addresses whose objects carry a newer mark of another owner, each with the owner's
    address, or None for another stack.
    """
    leftovers: Leftovers = Leftovers()
    """Leftovers of interrupted runs, and objects with a copied mark."""
    retention_matches: Sequence[RetentionMatch] = ()
    """Matches of retention rules, without objects that a collection contains."""
    overview: Overview = Overview()
    """Every object that was read, and all unread lists, if unmanaged objects were requested."""
    missing_projects: frozenset[str] = frozenset()
    """Declared or recorded projects that do not exist. Nothing in them can exist."""
    search_failed: bool = False
    """Whether a search for our objects failed temporarily and has to be repeated."""
    retired: frozenset[Address] = frozenset()
    """Recorded, undeclared objects of kinds that the API has retired."""
    diagnostics: Sequence[Diagnostic] = ()
    errors: Mapping[Address, Diagnostic] = {}
    """Why an address cannot be planned. Addresses can share a diagnostic."""

    def with_problems(self, problems: Iterable[BlockingProblem]) -> Snapshot:
        """The snapshot with more diagnostics. The first error of an address stays."""
        # Never mutate: earlier phases may still hold the old snapshot.
        diagnostics, errors = list(self.diagnostics), dict(self.errors)
        for problem in problems:
            diagnostics.append(problem.diagnostic)
            for address in problem.blocks:
                # The first error is the most specific: later phases report what follows from it.
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
        """Whether the list that would contain an object was read."""
        try:
            return self.live.scope_of(address.kind, address.project, id) in self.live.listed
        # The state may come from a version whose ids had another form.
        except ValueError:
            return False

    def is_unreadable(self, address: Address) -> bool:
        """Whether the scope of an address may exist but could not be read."""
        return self.live.is_unreadable(address.kind, address.project)

    def project_id(self, name: str | None) -> str | None:
        """The API's id of a project, where it exists."""
        return project_id(name, self.inputs, self.selection, self.bindings)

    def error_of(self, address: Address) -> Diagnostic | None:
        """The error of an address or of its project."""
        error, project = self.errors.get(address), self.selection.project_of(address)
        if error is not None or project is None:
            return error
        # Nothing in a project can be planned while the project itself has an error.
        return self.errors.get(project)

    def access_dependencies(self, project: str | None) -> tuple[Address, ...]:
        """The declared project, and the resource that delivers its key. Both must outlive the
        project's objects."""
        if project is None:
            return ()
        # In this order, because the key can only exist once the project does.
        needs = (self.selection.projects.get(project), self.inputs.key_writers.get(project))
        return tuple(filter(None, needs))

    def satisfied_by_object(self, resource: Resource) -> LiveObject | None:
        """An object of another kind that makes this resource unnecessary, such as a user for an
        invite."""
        other = self.inputs.kinds.get(resource.kind.made_unnecessary_by or "")
        if other is None:
            return None
        # The comparison uses completed specs, because defaults can be part of the natural key.
        identity = resource.kind.identity(
            resource.kind.fill_defaults(resource.resolved(self.current_value))
        )
        # A part is known only after apply. No object can be excluded, and none can be chosen.
        if identity is None:
            return None
        if other.name not in self._by_identity:
            by_identity = self._by_identity[other.name] = {}
            for live in self.live.objects(other.name, None):
                for key in other.identities(live.attributes):
                    by_identity[frozenset(key.items())] = live
        return self._by_identity[other.name].get(frozenset(identity.items()))

    @cached_property
    def _by_identity(self) -> dict[str, dict[frozenset[tuple[str, Any]], LiveObject]]:
        """The objects of a kind by natural key: a cache, because many resources look up the same
        kind."""
        return {}

    @cached_property
    def key_writers(self) -> frozenset[Address]:
        """The resources whose keys open projects."""
        return frozenset(self.inputs.key_writers.values())

    def current_value(self, reference: Reference) -> Any:
        """The value of a reference in the live object, before anything is decided."""
        return current_value(reference, self.bindings)

    def inputs_digest(self, resource: Resource, lookup: Callable[[Reference], Any]) -> str | None:
        """The digest of a job's inputs; None for other kinds, and while an input is unknown."""
        return inputs_digest(resource, self.resources, lookup)

    def could_read(self, scopes: Iterable[Scope]) -> bool:
        """Whether all of these scopes were read."""
        return not any(
            scope in self.live.failed or scope in self.live.unsearched for scope in scopes
        )


# The same lookups are needed by `refresh.collect` while it still makes the bindings.


def current_value(reference: Reference, bindings: Mapping[Address, Binding]) -> Any:
    """The value of a reference in the bound object; Unknown without an object, or without the field
    in its answer."""
    live, value = bindings.get(reference.address, UNBOUND).live, None
    if live is not None and reference.path:
        value = value_at(shown_to_others(live), reference.path)
    elif live is not None:
        # A reference without a path means the object's own id, which is what request bodies take.
        value = live.own_id
    return Unknown(str(reference)) if value is None else value


def project_id(
    name: str | None, inputs: PlanInputs, selection: Selection, bindings: Mapping[Address, Binding]
) -> str | None:
    """The API's id of a project, if it exists."""
    declared = selection.projects.get(name or "")
    if declared is not None:
        live = bindings.get(declared, UNBOUND).live
        # A declared project outranks an entry of the stack file with the same name.
        if live is not None:
            return live.id
    return inputs.projects.get(name or "")


def inputs_digest(
    resource: Resource, resources: Mapping[Address, Resource], lookup: Callable[[Reference], Any]
) -> str | None:
    """The digest of a job's inputs; None for other kinds, and while an input is unknown.

    An uploaded file counts by its content: the same bytes under another id are the same input.
    """
    # Only jobs are identified by their inputs.
    if resource.kind.job is None:
        return None
    # By content and not by id: a new upload has a new id and may be the same input.
    contents: dict[Address, Spec] = {}
    for address in resource.references:
        if address in resources:
            contents[address] = resources[address].spec
    spec = resource.resolved(by_content(contents, lookup))
    return resource.kind.inputs_digest(resource.kind.fill_defaults(spec))
