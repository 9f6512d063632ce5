"""Replaces names of files, folders and secrets in a spec with their contents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from reconciler.manifests.bundles import bundle_of
from reconciler.manifests.deferred_files import DeferredFiles
from reconciler.manifests.expand import Instance
from reconciler.manifests.fast_validation import LATER
from reconciler.manifests.files import MAX_FILE_BYTES, Files
from reconciler.manifests.paths import normal
from reconciler.manifests.problems import ValueProblem
from reconciler.manifests.secret_inputs import SecretInputs, with_sources
from reconciler.manifests.validate import SchemaViolation
from reconciler.model.diagnostic import Severity
from reconciler.model.kind import Field
from reconciler.model.paths import Trail, dotted
from reconciler.model.types import BundleType, FileSetType, LocalFileType, MapOf
from reconciler.model.values import FileSet, LocalFile, Member, Reference, Template

MAX_SENT_BYTES = 100 * 1024 * 1024
"""The largest file that a check sends, since it is held in memory."""

MAX_KEY = 512
"""The longest path of a member: it is stored in an attribute of this size."""

_MAY_WAIT = {"file_id", "attributes", "chunking_strategy"}
"""Keys of a `files` entry that do not decide which files to read, so they can be references."""


class FileValues:
    """Replaces the values of one instance. `note` is called with each problem."""

    def __init__(
        self,
        instance: Instance,
        files: Files,
        inputs: SecretInputs,
        contents: DeferredFiles,
        note: Callable[[SchemaViolation], None],
    ) -> None:
        self._instance = instance
        self._files = files
        self._inputs = inputs
        self._contents = contents
        self._note = note
        self._lacks_members = False

    def replaced_in(self, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        """The spec with files, file sets and sources of secrets; the same object without any."""
        replaced: dict[str, Any] = {}
        kind = self._instance.kind
        if kind.takes_secrets:
            for field in kind.fields:
                if field.name in spec:
                    replaced[field.name] = self._with_sources(field, spec[field.name])
        for field in kind.own_calls:
            value, trail = spec.get(field.name), ("spec", field.name)
            if self._is_known(value, trail):
                self._replace(field, value, trail, replaced)
        return {**spec, **replaced} if replaced else spec

    def _replace(self, field: Field, value: Any, trail: Trail, replaced: dict[str, Any]) -> None:
        """Put the files that a field names into `replaced`, if its value names files."""
        if isinstance(field.type, LocalFileType) and isinstance(value, str):
            file = self._local_file(value, trail)
            self._warn_if_empty(file, trail)
            replaced[field.name] = file
        elif isinstance(field.type, MapOf) and isinstance(value, dict):
            sent: dict[str, Any] = {}
            for key, path in value.items():
                sent[key] = self._local_file(path, (*trail, key), most=MAX_SENT_BYTES)
            replaced[field.name] = sent
        elif isinstance(field.type, FileSetType) and isinstance(value, list):
            # The members are found and checked now. Their bytes are read later, during the first
            # calls of the API.
            finder = self._members(value, trail, self._files.unread)
            replaced[field.name] = _file_set(finder)
            address = self._instance.address
            if address is not None:
                self._contents.defer(address, field.name, self._instance.document, finder.item_of)
        elif isinstance(field.type, BundleType) and isinstance(value, list):
            replaced[field.name] = self._bundle(value, field.type, trail)

    def _with_sources(self, field: Field, value: Any) -> Any:
        """A value with the sources of secrets in place of their names."""
        return with_sources(field.type, value, self._inputs, self._report, ("spec", field.name))

    def _report(self, problem: ValueProblem, trail: Trail) -> None:
        self._note(SchemaViolation(trail, problem.summary, problem.detail))

    def _is_known(self, value: Any, trail: Trail) -> bool:
        """Whether all values are known that decide which files to read."""
        if isinstance(value, Reference | Template):
            detail = (
                f"{dotted(trail)} must be known before apply, so it cannot contain a reference."
            )
            self._note(SchemaViolation(trail, "Reference not possible here", detail))
        if isinstance(value, LATER):
            return False
        if isinstance(value, dict):
            for key, element in value.items():
                if key not in _MAY_WAIT and not self._is_known(element, (*trail, key)):
                    return False
        elif isinstance(value, list):
            for index, element in enumerate(value):
                if not self._is_known(element, (*trail, index)):
                    return False
        return True

    def _local_file(self, path: str, trail: Trail, *, most: int = MAX_FILE_BYTES) -> Any:
        try:
            return self._files.content(path, most=most)
        except ValueProblem as problem:
            self._report(problem, trail)
            return path

    def _warn_if_empty(self, file: Any, trail: Trail) -> None:
        if isinstance(file, LocalFile) and file.size == 0:
            detail = f'"{file.path}": the API rejects empty files.'
            self._note(SchemaViolation(trail, "Empty file", detail, severity=Severity.WARNING))

    def _members(
        self, entries: list[Any], trail: Trail, content: Callable[[str], LocalFile]
    ) -> MemberFinder:
        finder = MemberFinder(self._files, content)
        for index, entry in enumerate(entries):
            try:
                finder.add(index, entry)
            except ValueProblem as problem:
                self._report(problem, (*trail, index, "file_id" if "file_id" in entry else "path"))
                self._lacks_members = True
        return finder

    def _bundle(self, entries: list[Any], type: BundleType, trail: Trail) -> FileSet:
        # The bytes are needed now: the front matter of the entry file names the bundle.
        content = partial(self._files.content, most=type.max_bytes)
        members = _file_set(self._members(entries, trail, content))
        # A missing member was reported. Without it, the checks of the folder would mislead.
        if self._lacks_members:
            return members
        try:
            return bundle_of(members.by_key, type, self._files)
        except ValueProblem as problem:
            self._report(problem, trail)
            return members


class MemberFinder:
    """Finds the members of one `files` field, each once."""

    def __init__(self, files: Files, content: Callable[[str], LocalFile]) -> None:
        """`content` reads or describes the file at a path."""
        self._files = files
        self._content = content
        self.members: dict[str, Member] = {}
        """The members by key: the path, or the id of an uploaded file."""
        self.item_of: dict[str, int] = {}
        """The index of the entry that found a member, by its key."""

    def add(self, index: int, entry: Mapping[str, Any]) -> None:
        """Add the members of one entry. Raises Problem, also for a pattern without matches unless
        the entry permits that."""
        shared: dict[str, Any] = {
            "attributes": entry.get("attributes"),
            "chunking_strategy": entry.get("chunking_strategy"),
        }
        if "file_id" in entry:
            key = str(entry["file_id"])
            self._put(index, key, Member(key, None, entry["file_id"], **shared))
            return
        # An ignore pattern can be unknown after a problem, which was reported.
        ignore = [glob for glob in entry.get("ignore") or () if isinstance(glob, str)]
        paths = self._files.find(entry["path"], ignore)
        for path in paths:
            key = normal(path)
            if len(key) > MAX_KEY:
                raise ValueProblem(
                    "Path too long",
                    f'"{key[:60]}…" has {len(key)} characters; the maximum is {MAX_KEY}.',
                )
            self._put(index, key, Member(key, self._content(path), **shared))
        if not paths and entry.get("allow_empty") is not True:
            # A build step that did not run looks the same as a folder emptied on purpose.
            raise ValueProblem(
                "No files",
                f'"{entry["path"]}" matches no file. If this is intended, add `allow_empty: true`.',
            )

    def _put(self, index: int, key: str, member: Member) -> None:
        if key in self.members:
            other = self.item_of[key]
            if other == index:
                matches = "twice by the same item"
            else:
                matches = f"by files[{other}] and by files[{index}]"
            raise ValueProblem("File matched twice", f'"{key}" is matched {matches}.')
        self.members[key] = member
        self.item_of[key] = index


def _file_set(finder: MemberFinder) -> FileSet:
    return FileSet(tuple(sorted(finder.members.values(), key=lambda member: member.key)))
