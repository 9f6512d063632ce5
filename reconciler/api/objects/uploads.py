"""Uploads local files, whole or in parts, with constant memory.

A plan names a file with its digest, and exactly those bytes must be sent. So the file is measured
right before the upload, and again while it is read (whole files) or by the server (parts).
"""

from __future__ import annotations

import hashlib
import io
import mimetypes
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct

from reconciler.api.objects.change_context import side_by_side
from reconciler.api.objects.scoped_client import ScopedClient, id_of
from reconciler.api.transport.request import Form
from reconciler.errors import (
    AmbiguousError,
    ApiError,
    NotFoundError,
    ReconcilerError,
    StalePlanError,
)
from reconciler.model.values import LocalFile

MEBIBYTE = 1024 * 1024
_CHUNK = 256 * 1024


class Uploader(Struct, frozen=True, dict=True):
    """Uploads files of the stack's folder `root`.

    Files above `whole_bytes` go up in parts of `part_bytes`, `parallelism` at a time.
    """

    root: Path
    whole_bytes: int = 512 * MEBIBYTE
    part_bytes: int = 64 * MEBIBYTE
    parallelism: int = 3

    def upload(
        self,
        client: ScopedClient,
        local: LocalFile,
        *,
        filename: str,
        purpose: str,
        expires_after: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Upload the file and return the object that the API created.

        Raises StalePlanError if the file changed since the plan, AmbiguousError if the outcome is
        unknown.
        """
        path = self._path(local)
        # Read once more in full: only the approved content may be sent.
        md5 = _measured(path, local)
        described = {"filename": filename, "purpose": purpose}
        # The API takes files above 512 MiB in parts only.
        if local.size <= self.whole_bytes:
            return self._whole(client, path, local, described, expires_after)
        return self._in_parts(client, path, local, described, expires_after, md5)

    def check(self, local: LocalFile) -> None:
        """Raise StalePlanError if the file changed since the plan."""
        _measured(self._path(local), local)

    def content(self, local: LocalFile) -> bytes:
        """The bytes of a small file; StalePlanError if they changed since the plan."""
        try:
            content = self._path(local).read_bytes()
        except OSError as error:
            raise _unreadable(local, error) from error
        if hashlib.sha256(content).hexdigest() != local.sha256:
            raise _changed(local)
        return content

    @cached_property
    def _resolved_root(self) -> Path:
        return self.root.resolve()

    def _path(self, local: LocalFile) -> Path:
        path = (self.root / local.path).resolve()
        # A link may have been put there since the plan.
        if not path.is_relative_to(self._resolved_root):
            raise StalePlanError(f'"{local.path}" leads out of the stack\'s folder.')
        return path

    def _whole(
        self,
        client: ScopedClient,
        path: Path,
        local: LocalFile,
        described: Mapping[str, str],
        expires_after: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        fields = {"purpose": described["purpose"]}
        # Forms have no nested values; the API takes them as `expires_after[anchor]`.
        for name, value in (expires_after or {}).items():
            fields[f"expires_after[{name}]"] = str(value)
        with path.open("rb") as file:
            window = FilePart(file, start=0, size=local.size)
            form = Form("file", described["filename"], io.BufferedReader(window, _CHUNK), fields)
            made = client.request("POST", "/files", form=form)
        # The file changed while it was sent, so the uploaded content is not the approved one.
        if window.sha256 != local.sha256:
            _discard(client, id_of(made, subject="POST /files"))
            raise _changed(local)
        return made

    def _in_parts(
        self,
        client: ScopedClient,
        path: Path,
        local: LocalFile,
        described: Mapping[str, str],
        expires_after: Mapping[str, Any] | None,
        md5: str,
    ) -> dict[str, Any]:
        kind = mimetypes.guess_type(described["filename"])[0] or "application/octet-stream"
        body = {**described, "bytes": local.size, "mime_type": kind}
        if expires_after:
            body["expires_after"] = dict(expires_after)
        # Repeating this is harmless: an upload that is not completed expires within an hour.
        upload = client.request("POST", "/uploads", json=body, repeatable=True)
        ids = {"upload": id_of(upload, subject="POST /uploads")}
        try:
            parts = self._send_parts(client, path, local, ids)
        except AmbiguousError as error:
            # A part may have arrived, but the file does not exist before the upload is completed.
            _cancel(client, ids)
            raise ApiError(
                f"{local.path} was not uploaded. {error}", status=error.status
            ) from error
        # An upload that nobody ends holds its parts for an hour.
        except BaseException:
            _cancel(client, ids)
            raise
        return _complete(client, ids, parts, md5)

    def _send_parts(
        self, client: ScopedClient, path: Path, local: LocalFile, ids: Mapping[str, str]
    ) -> list[str]:
        def send(start: int) -> str:
            # Parts may take minutes each, and an interrupted run must not send the rest.
            client.http.waits.check_stopped()
            size = min(self.part_bytes, local.size - start)
            # Each part has a file of its own, as threads would move the position of a common one.
            with path.open("rb") as file:
                form = Form(
                    "data",
                    "part",
                    io.BufferedReader(FilePart(file, start=start, size=size), _CHUNK),
                )
                part = client.request(
                    "POST", "/uploads/{upload}/parts", ids=ids, form=form, repeatable=True
                )
            return id_of(part, subject="POST /uploads/{upload}/parts")

        return side_by_side(send, range(0, local.size, self.part_bytes), workers=self.parallelism)


class FilePart(io.RawIOBase):
    """A part of a file as a file of its own. Keeps the digest of the bytes read from its start."""

    def __init__(self, file: BinaryIO, *, start: int, size: int) -> None:
        super().__init__()
        self._file = file
        self._start = start
        self._size = size
        self._position = 0
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The digest of the bytes since the last return to the start, in hexadecimal."""
        return self._digest.hexdigest()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        # A retry sends the form from its start again, so only the last attempt counts.
        if self._position == 0:
            self._digest = hashlib.sha256()
        return self._position

    def readinto(self, buffer: Any) -> int:
        # Never more than the size: the file may have grown since it was measured.
        wanted = min(len(buffer), max(self._size - self._position, 0))
        self._file.seek(self._start + self._position)
        chunk = self._file.read(wanted)
        buffer[: len(chunk)] = chunk
        self._digest.update(chunk)
        self._position += len(chunk)
        return len(chunk)


def _measured(path: Path, local: LocalFile) -> str:
    """The MD5 of the file in hexadecimal; StalePlanError if its content changed since the plan."""
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                sha256.update(chunk)
                md5.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise _unreadable(local, error) from error
    if (size, sha256.hexdigest()) != (local.size, local.sha256):
        raise _changed(local)
    return md5.hexdigest()


def _unreadable(local: LocalFile, error: OSError) -> StalePlanError:
    return StalePlanError(f'"{local.path}" cannot be read: {error.strerror}.')


def _changed(local: LocalFile) -> StalePlanError:
    return StalePlanError(
        f'"{local.path}" has changed since the plan was made.', hint="Plan again."
    )


def _complete(
    client: ScopedClient, ids: Mapping[str, str], parts: list[str], md5: str
) -> dict[str, Any]:
    # Not repeatable: it creates the file. The API compares the digest with what it received, which
    # finds a file that changed while its parts were read.
    try:
        done = client.request(
            "POST", "/uploads/{upload}/complete", ids=ids, json={"part_ids": parts, "md5": md5}
        )
    except AmbiguousError as error:
        # It may be complete: the caller looks for the file, which can be as old as its first part.
        error.sent_at = None
        raise
    except ReconcilerError:
        _cancel(client, ids)
        raise
    file = done.get("file")
    if not isinstance(file, dict):
        raise AmbiguousError("POST /uploads/{upload}/complete: the answer has no file.")
    return file


def _cancel(client: ScopedClient, ids: Mapping[str, str]) -> None:
    try:
        client.request("POST", "/uploads/{upload}/cancel", ids=ids, repeatable=True)
    # The upload expires within the hour anyway, and the caller raises the cause.
    except ReconcilerError:
        return


def _discard(client: ScopedClient, file_id: str) -> None:
    with suppress(NotFoundError):
        client.request("DELETE", "/files/{file}", ids={"file": file_id})
