"""The handler of bundles: folders uploaded as one archive, each upload an immutable version.

The default version decides what the API has. A version that was written or read before need not be
read again, so a plan costs no call unless the default version changed outside; then its archive is
downloaded and measured. Old versions are kept, because clients may refer to them.
"""

from __future__ import annotations

import hashlib
import io
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable
from typing import BinaryIO

from msgspec.structs import replace

from reconciler.api.objects.change_context import FieldHandler, FieldWrite, create_once
from reconciler.api.objects.members import members_in
from reconciler.api.objects.scoped_client import ScopedClient, new_id_of
from reconciler.api.objects.uploads import Uploader
from reconciler.api.transport.request import Form
from reconciler.errors import AmbiguousError, NotFoundError
from reconciler.model.bundle import root_of
from reconciler.model.comparing import canonical, same
from reconciler.model.kind import Kind
from reconciler.model.resource import LiveObject, Record
from reconciler.model.types import BundleType
from reconciler.model.values import FileSet, LocalFile, Member

_CHUNK = 256 * 1024
# The earliest date of an archive. With a fixed one, the same files make the same archive.
_DATE = (1980, 1, 1, 0, 0, 0)
# macOS adds a folder of its own to archives, which is no part of the bundle.
_NO_FILES = "__MACOSX/"
_NOT_READABLE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)
# The most that an archive may unpack to, as a multiple of the bundle limit. A small archive can
# unpack to gigabytes, and anyone with write access to the project can upload one.
_LARGEST = 8


class BundleHandler(FieldHandler):
    """The handler of `BundleType` fields. Its values are `FileSet`s.

    The `file_id` of a member is the version that has it. `recorded` are the records of the state.
    """

    def __init__(self, uploader: Uploader, recorded: Iterable[Record] = ()) -> None:
        self._uploader = uploader
        self._known: dict[str, FileSet] = {}
        for record in recorded:
            for value in record.applied.values():
                if isinstance(value, FileSet) and (version := _version_of(value)):
                    self._known[version] = value

    def check(self, field_write: FieldWrite) -> None:
        """Raise StalePlanError if a file changed since the plan."""
        for member in members_in(field_write.value):
            self._uploader.check(member.upload)

    def form(self, field_write: FieldWrite) -> Form:
        """The archive for the create."""
        return self._form(field_write)

    def after_create(self, field_write: FieldWrite, live: LiveObject) -> FileSet:
        """The files that the create sent."""
        return self._learn(live, field_write.value)

    def read(self, client: ScopedClient, live: LiveObject) -> FileSet | None:
        """The files of the default version; None where the API does not return them."""
        # A version never changes, so one that was read or written before needs no download.
        known = self._known.get(_current(live))
        if known is not None:
            return known
        path = f"{live.kind.collection}/{{id}}/content"
        try:
            archive = client.download(path, ids={"id": live.own_id})
        except NotFoundError:
            return None
        members = _unpacked(archive, _type(live.kind))
        if members is None:
            return None
        return self._learn(live, FileSet(members))

    def write(self, field_write: FieldWrite, live: LiveObject) -> FileSet | None:
        """Upload a version, and make it the default."""
        if field_write.value is None:
            return None
        version = self._upload(field_write, live)
        # The upload requests this as well, but only the answer to this call confirms it.
        pointer = {_type(live.kind).version: version}
        with field_write.context.steps.step("point", version=version) as step:
            field_write.context.answer = field_write.context.collection.call(
                "update", live.own_id, json=pointer, repeatable=True
            )
            step.done(live.id)
        return self._learn(
            replace(live, attributes={**live.attributes, **field_write.context.answer}),
            field_write.value,
        )

    def _upload(self, field_write: FieldWrite, live: LiveObject) -> str:
        """The number of the new version.

        It is the default at once: after a crash, the next plan finds nothing left to do.
        """
        return create_once(
            lambda: self._send(field_write, live),
            lambda _: self._find_lost(field_write, live),
        )

    def _send(self, field_write: FieldWrite, live: LiveObject) -> str:
        path = f"{live.kind.collection}/{{id}}/versions"
        form = self._form(field_write, default="true")
        with field_write.context.steps.step("upload version") as step:
            made = field_write.context.client.request(
                "POST", path, ids={"id": live.own_id}, form=form
            )
            version = made.get("version")
            if not isinstance(version, str) or not version:
                raise AmbiguousError(
                    f"POST {path}: the answer has no version, so which one was made is unknown."
                )
            step.done(new_id_of(made, subject=f"POST {path}"), version=version)
        return version

    def _find_lost(self, field_write: FieldWrite, live: LiveObject) -> str | None:
        """The default version, if it changed and has the content that was sent."""
        now = field_write.context.collection.get(live.own_id)
        if now is None or _current(now) == _current(live):
            return None
        # Somebody else may have uploaded a version meanwhile, so its content decides.
        files = self.read(field_write.context.client, now)
        if files is None:
            return None
        type = field_write.field.type
        if not same(canonical(type, files), canonical(type, field_write.value)):
            return None
        version = now.attributes.get(_type(live.kind).version)
        return version if isinstance(version, str) else None

    def _form(self, field_write: FieldWrite, **fields: str) -> Form:
        name = "bundle"
        for member in members_in(field_write.value):
            # The folder in the archive must have the name of the bundle, which the entry file
            # gives.
            if member.attributes:
                name = str(member.attributes["name"])
                break
        return Form("files", f"{name}.zip", self._packed(field_write.value, name), fields)

    def _packed(self, value: FileSet, folder: str) -> BinaryIO:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for member in value.members:
                content = self._uploader.content(member.upload)
                entry = zipfile.ZipInfo(f"{folder}/{member.key}", _DATE)
                archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
        packed.seek(0)
        return packed

    def _learn(self, live: LiveObject, value: FileSet) -> FileSet:
        version = _current(live)
        members = [replace(member, file_id=version) for member in value.members]
        self._known[version] = FileSet(tuple(members))
        return self._known[version]


def _type(kind: Kind) -> BundleType:
    return next(field.type for field in kind.fields if isinstance(field.type, BundleType))


def _current(live: LiveObject) -> str:
    """The id of the default version."""
    return f"{live.id}/{live.attributes.get(_type(live.kind).version)}"


def _version_of(value: FileSet) -> str | None:
    """The version of a recorded set, if all members have the same."""
    versions = {member.file_id for member in value.members}
    return versions.pop() if len(versions) == 1 else None


def _unpacked(archive: bytes, type: BundleType) -> tuple[Member, ...] | None:
    """The files of an archive by their paths below the folder of the entry file.

    None if the archive is not a bundle.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            entries = [entry for entry in opened.infolist() if _is_file(entry)]
            # Both limits are checked before anything is unpacked.
            root = root_of((entry.filename for entry in entries), type.entry)
            if root is None or len(entries) > type.max_files * _LARGEST:
                return None
            if sum(entry.file_size for entry in entries) > type.max_bytes * _LARGEST:
                return None
            members = [_measured(opened, entry, root) for entry in entries]
    except _NOT_READABLE:
        return None
    return tuple(sorted(members, key=lambda member: member.key))


def _is_file(entry: zipfile.ZipInfo) -> bool:
    return not entry.is_dir() and not entry.filename.startswith(_NO_FILES)


def _measured(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, root: str) -> Member:
    digest, size = hashlib.sha256(), 0
    with archive.open(entry) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    # macOS decomposes the accents in file names; manifests have them composed.
    key = unicodedata.normalize("NFC", entry.filename.removeprefix(root))
    return Member(key, LocalFile(key, digest.hexdigest(), size))
