"""What is in the files of folders, which nobody needs to know before live state is compared with
it.

The files themselves are found with everything else, so it is known which there are, where links
lead, and that they may be read. Reading thousands of them takes as long as a plan's first calls,
and can go on while these are answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from reconciler.manifests.file_advice import refused_by_size_or_name
from reconciler.manifests.files import Files
from reconciler.manifests.problems import Problem, Problems
from reconciler.manifests.source_map import Document
from reconciler.model.address import Address
from reconciler.model.resource import Resource
from reconciler.model.types import FileSetType
from reconciler.model.values import FileSet, Member


class _Due(Struct, frozen=True):
    """A field with members to be read: where its resource is declared, and by which of its items
    each was found.
    """

    field: str
    document: Document
    item_of: Mapping[str, int]


class DeferredFiles:
    """Remembers what is still to be read, and reads it."""

    def __init__(self, files: Files, problems: Problems) -> None:
        self._files = files
        self._problems = problems
        self._due: dict[Address, list[_Due]] = {}

    def leave(
        self, address: Address, field: str, document: Document, item_of: Mapping[str, int]
    ) -> None:
        """Leave the local files among a field's members to be read."""
        self._due.setdefault(address, []).append(_Due(field, document, item_of))

    def read_into(self, resources: Iterable[Resource]) -> Iterator[Resource]:
        """The resources with what their files hold; what cannot be read is noted, with the item
        that found it.
        """
        for resource in resources:
            due = self._due.get(resource.address, ())
            read = {one.field: self._whole(resource, one) for one in due}
            yield replace(resource, spec={**resource.spec, **read}) if read else resource

    def _whole(self, resource: Resource, due: _Due) -> FileSet:
        members: FileSet = resource.spec[due.field]
        found = FileSet(tuple(self._read(member, resource, due) for member in members.members))
        self._advise(found, resource, due)
        return found

    def _advise(self, found: FileSet, resource: Resource, due: _Due) -> None:
        """Warn, at each item of the field, of the files that the API is known to refuse."""
        type = resource.kind.by_name[due.field].type
        if not isinstance(type, FileSetType) or self._problems.errors:
            return  # what has to be mended is said first
        by_item: dict[int, list[Member]] = {}
        for member in found.members:
            if member.content is not None and member.content.sha256:  # it could be read
                by_item.setdefault(due.item_of[member.key], []).append(member)
        for index, members in sorted(by_item.items()):
            place = due.document.location_of(("spec", due.field, index, "path"))
            for summary, detail in refused_by_size_or_name(members, type):
                self._problems.warn(summary, detail, place=place, address=resource.address)

    def _read(self, member: Member, resource: Resource, due: _Due) -> Member:
        if member.content is None:
            return member
        try:
            return replace(member, content=self._files.content(member.content.path))
        except Problem as problem:
            place = due.document.location_of(("spec", due.field, due.item_of[member.key], "path"))
            self._problems.take(problem, place=place, address=resource.address)
            return member
