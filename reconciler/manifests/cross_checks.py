"""Checks across resources: missing projects, shared key files, two addresses for one object,
cycles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from reconciler.manifests.key_targets import KeyTargets, folder_among
from reconciler.manifests.paths import relative
from reconciler.manifests.problems import Problem, Problems
from reconciler.manifests.references import MOST_GUESSES, AddressIndex, cycles, needs, trail_to
from reconciler.manifests.source_map import Document
from reconciler.model.address import Address
from reconciler.model.diagnostic import SourceLocation, nearest
from reconciler.model.paths import Trail
from reconciler.model.resource import Resource
from reconciler.model.rule import Rule
from reconciler.model.sinks import targets_of
from reconciler.model.types import KeySinkType

_ONE = {
    True: "there can be only one such object.",
    False: "without state nothing else distinguishes the two. ",
}


def key_files(resource: Resource) -> Iterator[tuple[str, str]]:
    """The files that a resource's keys are written to, with the field that names each."""
    for field in resource.kind.own_calls:
        value = resource.spec.get(field.name) if isinstance(field.type, KeySinkType) else None
        for target in targets_of(value.get("write_to") if isinstance(value, Mapping) else None):
            path = target.get("file")
            if isinstance(path, str):
                try:
                    yield field.name, relative(path)
                except Problem:
                    continue  # noted where the resource is checked by itself


class CrossChecks(Struct, frozen=True):
    """Checks all resources and rules against each other.

    `projects` are those of the stack, `keys` the projects that the stack has keys for, each with
    its source location. `project_ids` are the ids of the stack's projects.
    """

    resources: Mapping[Address, tuple[Resource, Document]]
    declared: AddressIndex
    projects: Mapping[str, SourceLocation | None]
    keys: Mapping[str, SourceLocation | None]
    targets: KeyTargets
    problems: Problems
    rules: Mapping[Address, tuple[Rule, Document]]
    project_ids: Mapping[str, str] = {}

    def check(self) -> None:
        """Report every problem."""
        self._projects()
        self._key_files()
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
            if project is not None and project not in own and project not in self.projects:
                detail = (
                    f'No manifest declares project "{project}", and spec.projects does not list it.'
                )
                if project not in guesses:
                    guesses[project] = (
                        nearest(project, known) if len(guesses) < MOST_GUESSES else ""
                    )
                location = document.location_of(("metadata", "project"))
                self.problems.add(
                    "Unknown project", detail + guesses[project], place=location, address=address
                )

    def _project_ids(self) -> None:
        """A project must have one name. With two names, both sets of values would be written to it
        in turn."""
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
        """No two resources may adopt the same object."""
        seen: dict[tuple[Any, ...], Resource] = {}
        for resource in self._all():
            kind, adopted = resource.kind, resource.lifecycle.adopt
            if not isinstance(adopted, str):
                continue
            home = resource.address.project if kind.unique_key else None
            other = seen.setdefault((kind.name, home, adopted), resource)
            if other is not resource:
                detail = f"{other.address} ({other.location}) also adopts {adopted}: keep one of the two."
                self._add(
                    resource, ("lifecycle", "adopt"), "One object under two addresses", detail
                )

    def _key_files(self) -> None:
        files = [
            (resource, name, path) for resource in self._all() for name, path in key_files(resource)
        ]
        written: dict[str, Resource] = {}
        for resource, name, path in files:
            trail: Trail = ("spec", name, "write_to", "file")
            other = written.setdefault(path, resource)
            if other is not resource:
                detail = f'{other.address} also writes its key to "{path}".'
                self._add(resource, trail, "Two keys in one file", detail)
            elif objection := self.targets.objection(path):
                self._add(
                    resource, trail, "Unusable file for a key", f"{objection} Choose another file."
                )
        for resource, name, path in files:
            if above := folder_among(path, written):
                detail = f'{written[above].address} writes its key to "{above}", which therefore cannot be a folder.'
                self._add(
                    resource, ("spec", name, "write_to", "file"), "Unusable file for a key", detail
                )

    def _one_object_each(self) -> None:
        seen: dict[tuple[Any, ...], Resource] = {}
        for resource in self._all():
            kind = resource.kind
            # A mark tells two objects apart even if they look the same.
            identity = None if kind.mark else kind.identity(kind.fill_defaults(resource.spec))
            if identity is None or (
                isinstance(resource.lifecycle.adopt, str) and not kind.unique_key
            ):
                continue  # an id tells an object from all others
            key = (resource.kind.name, resource.address.project, *identity.items())
            other = seen.setdefault(key, resource)
            if other is not resource:
                shown = ", ".join(f"{name} {value}" for name, value in identity.items()) or "it"
                detail = f"{other.address} already declares {shown}, and {_ONE[kind.unique_key]}"
                if not kind.unique_key:
                    names = " or ".join(name for name in identity if name in kind.by_name)
                    detail += f"Give one of the two another {names}, or set lifecycle: {{adopt: ID}} if both objects exist."
                self._add(
                    resource,
                    ("spec", *list(identity)[:1]),
                    "Two declarations of one object",
                    detail,
                )

    def _renames(self) -> None:
        taken: dict[Address, Resource] = {}
        for resource in self._all():
            earlier = resource.lifecycle.renamed_from
            other = taken.setdefault(earlier, resource) if earlier else resource
            if other is not resource:
                detail = f"{other.address} is also renamed from {earlier}; an object has only one address."
                self._add(
                    resource, ("lifecycle", "renamed_from"), "Invalid earlier address", detail
                )

    def _cycles(self) -> None:
        projects = self.declared.projects()
        edges = {
            address: needs(resource, projects) for address, (resource, _) in self.resources.items()
        }
        for ring in cycles(edges):
            resource, following = self.resources[ring[0]][0], ring[1 % len(ring)]
            trail = trail_to(resource.spec, following) or ()
            shown = " -> ".join(str(address) for address in (*ring, ring[0]))
            self._add(resource, ("spec", *trail), "Cyclic references", f"{shown}.")
