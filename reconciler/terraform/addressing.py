"""Addresses for drafts: projects first, then the objects in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct, field

from reconciler.export.naming import ObjectKey, Unnamed, addresses
from reconciler.model.address import Address
from reconciler.model.kind import Kind
from reconciler.terraform.drafted import Drafted, has_unique_ids
from reconciler.terraform.mapping import FindFile
from reconciler.terraform.names import label_of, module_label, project_label
from reconciler.terraform.state import TerraformInstance

_Projects = Mapping[str | None, str | None]
"""Names of projects by id. Objects of the organization are in the project None."""


class ExistingResources(Struct, frozen=True):
    """The resources and projects that the stack has already."""

    projects: Mapping[str, str] = field(default_factory=dict)
    """Ids of projects that the stack names without managing them, by name."""
    bound: Mapping[ObjectKey, Address] = field(default_factory=dict)
    """Addresses of objects in the stack's state. They are kept."""
    elsewhere: frozenset[Address] = frozenset()
    """Addresses that other manifests declare. They are not written again."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why instances cannot be declared, by their addresses in Terraform."""
    find_file: FindFile = lambda path, size: None  # noqa: ARG005
    """Finds the content of an uploaded file in the stack's folder."""


class Addressing(Struct, frozen=True):
    """The addresses of a conversion."""

    named: tuple[tuple[Drafted, Address], ...]
    by_id: Mapping[str, Address]
    """The addresses of objects whose ids are unique in the organization."""
    new_projects: Mapping[str, str]
    """Ids of projects that the stack has to name, by name."""


def addressed(
    drafts: Iterable[Drafted],
    kinds: Mapping[str, Kind],
    known: ExistingResources,
    display_names: Mapping[str, str],
) -> Addressing:
    """Give each draft an address. `display_names` are those of undeclared projects."""
    return _Namer(list(drafts), kinds, known).addressing(display_names)


class _Namer:
    def __init__(
        self, drafts: list[Drafted], kinds: Mapping[str, Kind], known: ExistingResources
    ) -> None:
        self._drafts = drafts
        self._kinds = kinds
        self._known = known
        # An instance can be drafted as several resources, and counts once.
        instances = {drafted.instance.address: drafted.instance for drafted in drafts}
        self._count = Counter(instance.resource_address for instance in instances.values())
        self._labels = {drafted.id: self._label(drafted.instance) for drafted in drafts}
        self._taken = dict(self._reserved())

    def addressing(self, display_names: Mapping[str, str]) -> Addressing:
        projects: dict[str | None, str | None] = {None: None}
        projects.update(self._project_names())
        new = self._new_projects(projects, display_names)
        projects |= {id: name for name, id in new.items()}
        by_key = self._addresses(self._drafts, projects)
        named = []
        for drafted in self._drafts:
            key = (drafted.kind, projects[drafted.project_id], drafted.id)
            named.append((drafted, by_key[key]))
        return Addressing(tuple(named), dict(self._by_id(named)), new)

    def _label(self, instance: TerraformInstance) -> str:
        return label_of(instance, is_only=self._count[instance.resource_address] == 1)

    def _reserved(self) -> Iterator[tuple[ObjectKey, Address]]:
        """Addresses that are kept or belong to others, by object."""
        project_kind = next(name for name, kind in self._kinds.items() if kind.defines_project)
        for name, id in self._known.projects.items():
            yield (project_kind, None, id), Address(project_kind, name)
        for address in self._known.elsewhere:
            # The object is unknown, so this only takes the name.
            yield (address.kind, address.project, f" {address.name}"), address
        yield from self._known.bound.items()

    def _project_names(self) -> dict[str, str]:
        """The names of projects that the stack knows or declares, by id."""
        names = {id: name for name, id in self._known.projects.items()}
        for (kind, _, id), address in self._known.bound.items():
            if self._kinds[kind].defines_project:
                names[id] = address.name
        # Projects are in the organization, so their names need no names of projects.
        own = [drafted for drafted in self._drafts if self._kinds[drafted.kind].defines_project]
        for (_, _, id), address in self._addresses(own, {None: None}).items():
            names[id] = address.name
        return names

    def _new_projects(self, names: _Projects, display_names: Mapping[str, str]) -> dict[str, str]:
        """Names for the projects without one, with their ids."""
        taken = {str(name).casefold() for name in names.values()}
        new: dict[str, str] = {}
        for id in dict.fromkeys(drafted.project_id for drafted in self._drafts):
            if id is None or id in names:
                continue
            name = project_label(display_names.get(id), id)
            if name in taken:
                name = f"{name}-{id[-4:].lower()}"
            taken.add(name)
            new[name] = id
        return new

    def _addresses(
        self, drafts: Iterable[Drafted], projects: _Projects
    ) -> dict[ObjectKey, Address]:
        return addresses((self._unnamed(drafted, projects) for drafted in drafts), self._taken)

    def _unnamed(self, drafted: Drafted, projects: _Projects) -> Unnamed:
        suffix = self._labels.get(drafted.draft.suffix, drafted.draft.suffix)
        return Unnamed(
            drafted.kind,
            projects[drafted.project_id],
            drafted.id,
            "-".join(filter(None, (self._label(drafted.instance), suffix))),
            module_label(drafted.instance),
        )

    def _by_id(self, named: Iterable[tuple[Drafted, Address]]) -> Iterator[tuple[str, Address]]:
        for (kind, _, id), address in self._known.bound.items():
            if has_unique_ids(self._kinds[kind]):
                yield id, address
        for drafted, address in named:
            if has_unique_ids(self._kinds[drafted.kind]):
                yield drafted.id, address
