"""The part of the configuration that a plan covers: the selected resources, their order, and the
resources to destroy.

It depends on the inputs alone, so it is known before anything is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from reconciler.engine.graph import closure, in_dependency_order, invert
from reconciler.engine.inputs import PlanInputs
from reconciler.errors import UsageError
from reconciler.model.address import Address
from reconciler.model.diagnostic import nearest
from reconciler.model.resource import NO_ADDRESSES, Resource
from reconciler.model.rule import Rule


class Selection(Struct, frozen=True):
    """The part of the configuration that a plan covers."""

    needs: Mapping[Address, frozenset[Address]]
    """The declared addresses that each resource depends on: references, its project, the key that opens it."""
    projects: Mapping[str, Address]
    """The resource that declares each project, by the project's name."""
    to_destroy: frozenset[Address]
    """All resources, or the targets and everything that depends on them; empty unless `destroy` is asked for."""
    order: Sequence[Address]
    """The selected addresses, each after those it needs."""
    selected: frozenset[Address]
    retention_rules: Sequence[Rule]
    """The rules that remove objects. Empty with targets and for a destroy: neither deletes unrelated objects."""

    def project_of(self, address: Address) -> Address | None:
        """The resource that declares the project of an address."""
        return self.projects.get(address.project or "")


def select(inputs: PlanInputs) -> Selection:
    """The selection. Raises UsageError for a target that is neither declared nor recorded."""
    _check_targets(inputs)
    options, projects = inputs.options, _projects(inputs)
    needs = {
        resource.address: _needs_of(resource, projects, inputs) for resource in inputs.resources
    }
    to_destroy = _to_destroy(inputs, needs)
    selected = set(needs)
    # A target cannot be planned without the resources that it refers to.
    if options.targets:
        selected = closure(needs, (*options.targets, *to_destroy))
    # All of them, so that an order with targets is a part of the order without.
    ordered = in_dependency_order(needs, key=lambda address: address.sort_key)
    retention_rules: Sequence[Rule] = ()
    if not options.destroy and not options.targets:
        retention_rules = [rule for rule in inputs.rules if rule.kind.removes]
    return Selection(
        needs=needs,
        projects=projects,
        to_destroy=to_destroy,
        order=[address for address in ordered if address in selected],
        selected=frozenset(selected),
        retention_rules=retention_rules,
    )


def _projects(inputs: PlanInputs) -> dict[str, Address]:
    projects: dict[str, Address] = {}
    for resource in inputs.resources:
        if resource.kind.defines_project:
            projects[resource.address.name] = resource.address
    return projects


def _check_targets(inputs: PlanInputs) -> None:
    options = inputs.options
    if not options.targets and not options.replace:
        return
    # A target can also be a recorded object whose manifest is gone.
    known = {resource.address for resource in inputs.resources} | set(inputs.records)
    for address in (*options.targets, *options.replace):
        if address not in known:
            hint = nearest(str(address), map(str, known))
            raise UsageError(f'Nothing here has the address "{address}".{hint}')


def _needs_of(
    resource: Resource, projects: Mapping[str, Address], inputs: PlanInputs
) -> frozenset[Address]:
    address = resource.address
    needs = set(resource.references)
    if address.project is not None and address.project in projects:
        needs.add(projects[address.project])
    # Objects of the data API are reached with a project key. If this run creates that key, it has
    # to come first.
    writer = inputs.key_writers.get(address.project or "")
    if writer is not None and not resource.kind.scope.needs_admin_key:
        needs.add(writer)
    # A key writer is in the project that its own key opens.
    return frozenset(needs - {address}) or NO_ADDRESSES


def _to_destroy(
    inputs: PlanInputs, needs: Mapping[Address, frozenset[Address]]
) -> frozenset[Address]:
    if not inputs.options.destroy:
        return NO_ADDRESSES
    # Destroying a target without its dependents would leave them broken.
    if inputs.options.targets:
        return frozenset(closure(invert(needs), inputs.options.targets))
    return frozenset(needs)
