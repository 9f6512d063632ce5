"""Checks resources against each other.

They find missing projects, shared key files, two addresses for one object, and cycles of references.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from msgspec import Struct

from reconciler.manifests.destinations import check_destinations, destinations
from reconciler.manifests.key_targets import KeyTargets
from reconciler.manifests.problems import Problems
from reconciler.manifests.references import MOST_GUESSES, AddressIndex, cycles, needs, trail_to
from reconciler.manifests.source_map import Document
from reconciler.model.address import Address
from reconciler.model.diagnostic import SourceLocation, nearest
from reconciler.model.paths import Trail
from reconciler.model.resource import Resource
from reconciler.model.rule import Rule

_ONE = {
    True: "there can be only one such object.",
    False: "without state nothing else distinguishes the two. ",
}

TWO_DECLARATIONS = "Two declarations of one object"
"""The summary of the problem that `lifecycle.adopt` with an id solves, where both objects exist."""


class CrossChecks(Struct, frozen=True):
    """Checks all resources and rules against each other.

    `projects` are those of the stack, `keys` the projects that the stack has keys for, each with
    its source location. `project_ids` are the ids of the stack's projects, and `allowed_sinks` globs
    of the places that keys may be delivered to.
    """

    resources: Mapping[Address, tuple[Resource, Document]]
    declared: AddressIndex
    projects: Mapping[str, SourceLocation | None]
    keys: Mapping[str, SourceLocation | None]
    targets: KeyTargets
    problems: Problems
    rules: Mapping[Address, tuple[Rule, Document]]
    project_ids: Mapping[str, str] = {}
    allowed_sinks: Sequence[str] = ()

    def check(self) -> None:
        """Report every problem."""
        self._projects()
        self._destinations()
        self._one_object_each()
        self._one_address_each()
        self._renames()
        self._cycles()

    def _all(self) -> Iterable[Resource]:
        return (resource for resource, _ in self.resources.values())

    def _add(self, resource: Resource, trail: Trail, summary: str, detail: str) -> None:
        location = self.resources[resource.address][1].location_of(trail)
        self.problems.add(summary, detail, place=location, address=resource.address)

    def _projects(self) -> None:
        own = self.declared.projects()
        for name in sorted(own.keys() & self.projects.keys()):
            detail = f"{own[name]} is declared and also listed in spec.projects as not managed here: remove one of the two."
            self.problems.add(
                "Project declared twice", detail, place=self.projects[name], address=own[name]
            )
        self._project_ids()
        if not self.declared.complete:
            return
        known = sorted(own.keys() | self.projects.keys())
        for name in sorted(self.keys.keys() - known):
            detail = f'No manifest declares project "{name}", and spec.projects does not list it.{nearest(name, known)}'
            self.problems.warn("Key for an unknown project", detail, place=self.keys[name])
        guesses: dict[str, str] = {}
        for address, (_, document) in (*self.resources.items(), *self.rules.items()):
            project = address.project
            if project is None or project in own or project in self.projects:
                continue
            if project not in guesses and len(guesses) < MOST_GUESSES:
                guesses[project] = nearest(project, known)
            guess = guesses.get(project, "")
            detail = f'No manifest declares project "{project}", and spec.projects does not list it.{guess}'
            location = document.location_of(("metadata", "project"))
            self.problems.add("Unknown project", detail, place=location, address=address)

    def _project_ids(self) -> None:
        """Report projects with several names."""
        # With two names, every apply would write both sets of values to the project in turn.
        named: dict[str, str] = {}
        for name, id in self.project_ids.items():
            other = named.setdefault(id, name)
            if other != name:
                detail = f"{id} is also spec.projects.{other} ({self.projects[other]}): keep one of the two names."
                self.problems.add("One project under two names", detail, place=self.projects[name])
        for resource in self._all():
            adopted = resource.lifecycle.adopt
            if resource.kind.defines_project and isinstance(adopted, str) and adopted in named:
                name = named[adopted]
                detail = f"{adopted} is also spec.projects.{name} ({self.projects[name]}): remove that entry."
                self._add(resource, ("lifecycle", "adopt"), "One project under two names", detail)

    def _one_address_each(self) -> None:
        """Report resources that adopt the same object."""
        seen: dict[tuple[Any, ...], Resource] = {}
        for resource in self._all():
            kind, adopted = resource.kind, resource.lifecycle.adopt
            if not isinstance(adopted, str):
                continue
            # Ids of a kind with a unique key are unique within a project only.
            home = resource.address.project if kind.unique_key else None
            other = seen.setdefault((kind.name, home, adopted), resource)
            if other is not resource:
                detail = f"{other.address} ({other.location}) also adopts {adopted}: keep one of the two."
                self._add(
                    resource, ("lifecycle", "adopt"), "One object under two addresses", detail
                )

    def _destinations(self) -> None:
        targets = chain.from_iterable(map(destinations, self._all()))
        check_destinations(list(targets), self.targets, self.allowed_sinks, self._add)

    def _one_object_each(self) -> None:
        """Report resources that describe the same object."""
        seen: dict[tuple[Any, ...], Resource] = {}
        for resource in self._all():
            kind = resource.kind
            # A mark tells two objects apart even if they look the same, and so does an id.
            if kind.mark or (isinstance(resource.lifecycle.adopt, str) and not kind.unique_key):
                continue
            identity = kind.identity(kind.fill_defaults(resource.spec))
            if identity is None:
                continue
            key = (resource.kind.name, resource.address.project, *identity.items())
            other = seen.setdefault(key, resource)
            if other is not resource:
                shown = ", ".join(f"{name} {value}" for name, value in identity.items()) or "it"
                detail = f"{other.address} already declares {shown}, and {_ONE[kind.unique_key]}"
                if not kind.unique_key:
                    names = " or ".join(name for name in identity if name in kind.by_name)
                    detail += f"Give one of the two another {names}, or set lifecycle: {{adopt: ID}} if both objects exist."
                self._add(resource, ("spec", *list(identity)[:1]), TWO_DECLARATIONS, detail)

    def _renames(self) -> None:
        """Report resources that would take over the same object."""
        taken: dict[Address, Resource] = {}
        for resource in self._all():
            earlier = resource.lifecycle.renamed_from
            if earlier is None:
                continue
            other = taken.setdefault(earlier, resource)
            if other is not resource:
                detail = f"{other.address} is also renamed from {earlier}; an object has only one address."
                self._add(
                    resource, ("lifecycle", "renamed_from"), "Invalid earlier address", detail
                )

    def _cycles(self) -> None:
        projects = self.declared.projects()
        edges = {resource.address: needs(resource, projects) for resource in self._all()}
        for ring in cycles(edges):
            resource, following = self.resources[ring[0]][0], ring[1 % len(ring)]
            trail = trail_to(resource.spec, following) or ()
            shown = " -> ".join(map(str, (*ring, ring[0])))
            self._add(resource, ("spec", *trail), "Cyclic references", f"{shown}.")
