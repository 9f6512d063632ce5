"""Reads the contents of folders late, since only the comparison with live state needs them.

The files are found and checked early. Reading thousands of them takes as long as the first API calls
of a plan, and overlaps with these calls.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from reconciler.manifests.file_advice import is_refused, refused_by_size_or_name
from reconciler.manifests.files import Files
from reconciler.manifests.problems import Problems, ValueProblem
from reconciler.manifests.source_map import Document
from reconciler.model.address import Address
from reconciler.model.resource import Resource
from reconciler.model.types import FileSetType
from reconciler.model.values import FileSet, LocalFile, Member


class _Due(Struct, frozen=True):
    """A field with members to read."""

    field: str
    document: Document
    item_of: Mapping[str, int]
    """The index of the entry that found a member, by its key."""


class DeferredFiles:
    """Collects unread files, and reads them."""

    def __init__(self, files: Files, problems: Problems) -> None:
        self._files = files
        self._problems = problems
        self._due: defaultdict[Address, list[_Due]] = defaultdict(list)

    def defer(
        self, address: Address, field: str, document: Document, item_of: Mapping[str, int]
    ) -> None:
        """Defer the local files among a field's members."""
        self._due[address].append(_Due(field, document, item_of))

    def read_into(self, resources: Iterable[Resource]) -> Iterator[Resource]:
        """The resources with file contents. Reports unreadable files at the item that found them."""
        for resource in resources:
            read = {due.field: self._whole(resource, due) for due in self._due[resource.address]}
            yield replace(resource, spec={**resource.spec, **read}) if read else resource

    def _whole(self, resource: Resource, due: _Due) -> FileSet:
        members: FileSet = resource.spec[due.field]
        files = FileSet(tuple(self._read(member, resource, due) for member in members.members))
        self._advise(files, resource, due)
        return files

    def _advise(self, files: FileSet, resource: Resource, due: _Due) -> None:
        """Warn, at each item of the field, of files that the API is known to refuse."""
        type = resource.kind.by_name[due.field].type
        # Errors come first: a warning about files of a field that is wrong would distract.
        if not isinstance(type, FileSetType) or self._problems.errors:
            return
        by_item: dict[int, list[LocalFile]] = {}
        for member in files.members:
            file = member.content
            # A file without a digest could not be read.
            if file is not None and file.sha256 and is_refused(file, type):
                by_item.setdefault(due.item_of[member.key], []).append(file)
        for index, refused in sorted(by_item.items()):
            location = due.document.location_of(("spec", due.field, index, "path"))
            for summary, detail in refused_by_size_or_name(refused, type):
                self._problems.warn(summary, detail, place=location, address=resource.address)

    def _read(self, member: Member, resource: Resource, due: _Due) -> Member:
        if member.content is None:
            return member
        try:
            return replace(member, content=self._files.content(member.content.path))
        except ValueProblem as problem:
            place = due.document.location_of(("spec", due.field, due.item_of[member.key], "path"))
            self._problems.take(problem, place=place, address=resource.address)
            return member
