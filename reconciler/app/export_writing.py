"""Writes and loads the manifests of an export, and drops objects that cannot be declared."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.app.export_choice import SkippedObjects, SkipReasons, key_of, usual_values
from reconciler.app.export_request import ExportRequest
from reconciler.app.session import Session
from reconciler.engine.binding.natural_keys import is_gone
from reconciler.engine.scope import LiveState
from reconciler.errors import ConfigurationError, UsageError
from reconciler.export.files import document_of, files_of, write_files
from reconciler.export.fold import folded
from reconciler.export.naming import ObjectKey
from reconciler.export.references import references_to_cut
from reconciler.export.resource import ExportedResource
from reconciler.export.specs import ReferenceTargets, Unexportable, resource_of
from reconciler.kinds import KINDS
from reconciler.manifests import Configuration, load_configuration
from reconciler.manifests.discover import SUFFIXES
from reconciler.manifests.shapes import credential_of_value, is_secret_header
from reconciler.model.address import Address
from reconciler.model.resource import LiveObject, Record
from reconciler.model.values import references_in
from reconciler.rules import RULE_KINDS

HEADER = "Written by `reconciler export`. Edit freely."
_ROUNDS = 5
"""The most rounds of leaving out objects that cannot be declared before the export gives up."""


class ExistingManifests(Struct, frozen=True):
    """What manifests declare before an export."""

    elsewhere: frozenset[Address] = frozenset()
    """By manifests outside of the export's folder."""
    present: Mapping[Address, str] = field(default_factory=dict)
    """By manifests in the folder: the file of each."""


class ToWrite(Struct, frozen=True):
    """The objects to write, and facts about them."""

    objects: Mapping[Address, LiveObject]
    live: LiveState
    ambiguous: frozenset[Address]
    """The objects that manifests have to name by id."""
    norms: Mapping[ObjectKey, Mapping[str, Any]]
    key_comments: Mapping[str, str]
    """By the id of a service account: a comment about its keys."""
    file_names: Mapping[str, str]
    """The names of files, by id."""


class ManifestWriter:
    """Writes the manifests of one export. `folder` is below the folder of the stack."""

    def __init__(
        self,
        session: Session,
        request: ExportRequest,
        folder: Path,
        declared: ExistingManifests,
        to_write: ToWrite,
    ) -> None:
        self.resources: list[ExportedResource] = []
        self.files: dict[str, str] = {}
        self.stale_files: list[str] = []
        """Manifests in the folder that this export did not write."""
        self._session = session
        self._request = request
        self._folder = folder
        self._prefix = folder.relative_to(session.settings.root.resolve()).as_posix()
        self._declared = declared
        self._to_write = to_write
        self._records: Mapping[Address, Record] = session.store.records()
        self._refused: dict[Address, str] = {}
        """Why objects are left out that the export has chosen."""

    def write(self) -> Configuration | None:
        """Write the manifests and load them; None if there is nothing to write.

        Objects that cannot be declared are left out. Raises UsageError if a file would be lost.
        """
        objects = self._to_write.objects
        problems: ConfigurationError | None = None
        # Leaving an object out can make another one undeclarable, such as an object that refers to
        # it.
        for _ in range(_ROUNDS):
            self._write(objects)
            if not self.files and not self.stale_files:
                return None
            try:
                return load_configuration(self._session.settings, KINDS, RULE_KINDS)
            except ConfigurationError as error:
                problems = error
                if not self._refuse(error, objects):
                    break
        raise problems or ConfigurationError([])

    def _refuse(self, error: ConfigurationError, objects: Collection[Address]) -> bool:
        """Leave out the objects with problems; False if the problems are not those of objects."""
        before = len(self._refused)
        for problem in error.diagnostics:
            address = problem.address
            if isinstance(address, Address) and address in objects:
                self._refused.setdefault(address, f"{problem.summary}: {problem.detail}")
        return len(self._refused) > before

    def _write(self, objects: Mapping[Address, LiveObject]) -> None:
        request = self._request
        resources = self._resources(objects)
        documents = []
        for resource in resources:
            address = resource.address
            adopt = request.adopt_in_manifests or address in self._to_write.ambiguous
            documents.append(document_of(resource, KINDS[address.kind], adopt=adopt))
        if request.fold:
            documents = folded(documents)
        files = files_of(documents, layout=request.layout, prefix=self._prefix, header=HEADER)
        self._refuse_losses(files, {resource.address for resource in resources})
        for name in self.files.keys() - files.keys():
            (self._folder / name).unlink(missing_ok=True)  # of an earlier round
        is_first = not self.files
        write_files(self._folder, files, force=request.force or not is_first)
        self.files, self.resources = files, resources
        self.stale_files = self._stale_files()

    def _refuse_losses(self, files: Collection[str], written: Collection[Address]) -> None:
        """Refuse to lose a declaration, or to duplicate it.

        An object whose declaration is lost counts as undeclared, and a plan would delete it.
        """
        prefix = "" if self._prefix in ("", ".") else f"{self._prefix}/"
        for address, file in self._declared.present.items():
            is_replaced = file.removeprefix(prefix) in files
            if is_replaced and address not in written and not self._is_gone(address):
                raise UsageError(
                    f"{file} declares {address}, which this export does not write, so replacing "
                    "the file would lose it",
                    hint="Name another folder with --out, or export everything.",
                )
            if not is_replaced and address in written:
                raise UsageError(
                    f"{file} declares {address} already, and this export writes it to another file",
                    hint="Remove that file first, or name another folder with --out.",
                )

    def _is_gone(self, address: Address) -> bool:
        """Whether the object of an address was looked for and does not exist any more."""
        record, live = self._records.get(address), self._to_write.live
        if record is None or address in self._refused:
            return address in self._refused
        scope = live.scope_of(address.kind, address.project, record.id)
        present = live.find(address.kind, address.project, record.id)
        # A list that was not read does not show that the object is gone.
        return scope in live.listed and (present is None or is_gone(present))

    def _resources(self, objects: Mapping[Address, LiveObject]) -> list[ExportedResource]:
        """The declarations of the objects that have one; notes the rest as left out."""
        kept = _only(objects, objects.keys() - self._refused.keys())
        known = self._reference_targets(kept)
        declarable = self._declarable(kept, known)
        refused = kept.keys() - declarable.keys()
        if refused:
            # Objects that refer to one of these must name it by id.
            known = self._reference_targets(_only(kept, declarable))
            again = {at for at, resource in declarable.items() if _refers_to(resource, refused)}
            declarable |= self._declarable(_only(kept, again), known)
        for address, target in references_to_cut(declarable):
            ids = {id: at for id, at in known.ids.items() if at not in target}
            declarable[address] = self._resource(kept[address], address, replace(known, ids=ids))
        return list(declarable.values())

    def _reference_targets(self, objects: Mapping[Address, LiveObject]) -> ReferenceTargets:
        usual = usual_values(objects.values())
        return ReferenceTargets(
            self._ids(objects),
            secret_in=credential_of_value,
            is_secret_header=is_secret_header,
            usual=usual,
            names=self._to_write.file_names,
        )

    def _declarable(
        self, objects: Mapping[Address, LiveObject], known: ReferenceTargets
    ) -> dict[Address, ExportedResource]:
        """The declarations of the objects that can have one. Notes why the others cannot."""
        declarable = {}
        for address, live in objects.items():
            try:
                declarable[address] = self._resource(live, address, known)
            except Unexportable as error:
                self._refused[address] = str(error)
        return declarable

    def _resource(
        self, live: LiveObject, address: Address, known: ReferenceTargets
    ) -> ExportedResource:
        resource = resource_of(live, address, known, norm=self._to_write.norms.get(key_of(live)))
        about_keys = self._to_write.key_comments.get(live.id)
        if about_keys is None:
            return resource
        return replace(resource, comments={**resource.comments, "": about_keys})

    def left_out(self) -> list[SkippedObjects]:
        """The objects that cannot be declared, by reason."""
        skipped = SkipReasons()
        for address, reason in self._refused.items():
            id = self._to_write.objects[address].id
            skipped.add(address.kind, address.project, id, reason)
        return skipped.grouped()

    def _ids(self, objects: Mapping[Address, LiveObject]) -> dict[str, Address]:
        """The addresses that references can name, by id."""
        ids: dict[str, Address] = {}
        for address in self._declared.elsewhere:
            record, kind = self._records.get(address), KINDS.get(address.kind)
            if record is not None and kind is not None and _has_own_id(address.kind):
                ids[kind.parent_and_id(record.id)[1]] = address
        for address, live in objects.items():
            if _has_own_id(address.kind):
                ids[live.own_id] = address
        return ids

    def _stale_files(self) -> list[str]:
        present = set()
        for path in self._folder.rglob("*"):
            if path.name.endswith(SUFFIXES) and path.is_file():
                present.add(path.relative_to(self._folder).as_posix())
        return sorted(present - self.files.keys())


def _only(
    objects: Mapping[Address, LiveObject], addresses: Collection[Address]
) -> dict[Address, LiveObject]:
    """Some of the objects, in their order."""
    return {address: live for address, live in objects.items() if address in addresses}


def _refers_to(resource: ExportedResource, addresses: Collection[Address]) -> bool:
    return any(reference.address in addresses for reference in references_in(resource.spec))


def _has_own_id(kind: str) -> bool:
    """Whether the id of such an object is unique across scopes."""
    return kind == "User" or not KINDS[kind].unique_key
