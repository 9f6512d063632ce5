"""Reads the files that manifests name: texts to insert, bytes to upload, folders to synchronize.

Every file is read once per run, however many resources name it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from reconciler.manifests.closed import LEAK, SENT_FOLDER, ClosedFiles, Remembered, as_prefix
from reconciler.manifests.file_search import FileSearch
from reconciler.manifests.load import MAX_BYTES
from reconciler.manifests.paths import (
    Glob,
    exists_as_spelled,
    normal,
    relative,
    require_file,
    require_inside,
)
from reconciler.manifests.problems import ValueProblem
from reconciler.manifests.shapes import credential_in
from reconciler.model.values import LocalFile

T = TypeVar("T")

_CHUNK_BYTES = 1 << 20
_OVERLAP_BYTES = 4096
"""How much of a chunk is searched again with the next one, so that secrets across the boundary are
found."""

MAX_FILE_BYTES = 8 << 30
"""The largest file that the API accepts, uploaded in parts."""


class Files:
    """Access to the stack's folder, restricted to what manifests may read.

    It is the only way to a file. All checks are here and in `ClosedFiles`, so that one reading
    shows that every method applies them.
    """

    def __init__(
        self, root: Path, *, withheld: Iterable[Path] = (), secrets: Iterable[bytes] = ()
    ) -> None:
        """`withheld` are files with keys. Neither their bytes nor any of `secrets` may get into a
        resource."""
        self.root = root.resolve()
        self.secrets = tuple(secrets)
        self._closed = ClosedFiles(self.root)
        for path in withheld:
            self._closed.withhold(path)
        self._search = FileSearch(self.root, self._closed)
        self._folders: dict[str, str] = {}
        """The real path of each folder, with a trailing separator; empty if its files need a closer
        check."""
        self._texts: dict[str, str | ValueProblem] = {}
        self._contents: dict[str, LocalFile | ValueProblem] = {}

    def withhold(self, path: Path) -> None:
        """Close one more file."""
        self._closed.withhold(path)

    def withhold_folder(self, folder: Path) -> None:
        """Close a folder, unless it contains the stack."""
        self._closed.withhold_folder(folder)

    def remember(self, remembered: Remembered) -> None:
        """Close files that the state knows to be secret."""
        self._closed.remember(remembered)

    def require_open(self, path: str) -> None:
        """Raise Problem if a file or folder is closed. Missing files are open."""
        real = str(require_inside(self.root, self.root / relative(path), path))
        self._closed.require_open(path, real)
        try:
            status = os.stat(real)  # noqa: PTH116
        except OSError:
            return  # reading it reports the error
        if stat.S_ISREG(status.st_mode):
            self._closed.require_no_link(path, status)

    def was_delivered(self, path: str) -> bool:
        """Whether the proof of a delivery lies beside a file."""
        return self._closed.has_proof(os.path.realpath(self.root / relative(path)))

    def text(self, path: str) -> str:
        """The text of a file, for `${file:PATH}`. Raises Problem."""
        return _once(self._texts, self._read_text, path)

    def secret_text(self, path: str) -> str | None:
        """The content of a secret file without the newline at its end; None if there is no such
        file.

        Raises Problem.
        """
        real = require_inside(self.root, self.root / relative(path), path)
        # After links are resolved, since a link in the folder can lead out of it.
        if not real.is_relative_to(self.root / SENT_FOLDER):
            raise ValueProblem("Not a secret file", f'"{path}" points outside "{SENT_FOLDER}/".')
        self._closed.require_no_key(path, str(real))
        if not real.exists():
            return None
        return self._decoded(path, str(require_file(self.root, path))).removesuffix("\n")

    def content(self, path: str, *, most: int = MAX_FILE_BYTES) -> LocalFile:
        """The content of a file for an upload of at most `most` bytes. Raises Problem."""
        # Before reading, because a file that is too large would otherwise be hashed in full first.
        if most < MAX_FILE_BYTES:
            try:
                size = os.stat(self._allowed(path)).st_size  # noqa: PTH116
            except OSError:
                size = 0  # reading it reports the error
            _require_size(path, size, most)
        return _once(self._contents, self._read_content, path)

    def unread(self, path: str) -> LocalFile:
        """A readable file whose bytes are read later; everything else is checked. Raises Problem.

        Files that need a closer check, such as links, are read immediately.
        """
        real = self._plain_place(path)
        try:
            # lstat, because a link needs the closer check of `content`.
            status = os.lstat(real) if real is not None else None
        except (OSError, ValueError):  # `content` reports the type of the file
            status = None
        if status is None or not stat.S_ISREG(status.st_mode):
            return self.content(path)
        _require_size(path, status.st_size, MAX_FILE_BYTES)
        return LocalFile(path, "", 0)

    def find(self, pattern: str, ignore: Sequence[str]) -> list[str]:
        """The files that a glob matches and no ignore pattern matches, sorted. Raises Problem.

        Ignore patterns match the path below the stack's folder and the path below the glob's fixed
        prefix. A pattern that matches a folder ignores everything in it.
        """
        glob = Glob(normal(relative(pattern)))
        # Names such as `[slug]` are common: a file with exactly the name of the pattern wins.
        if not glob.is_wild or exists_as_spelled(self.root, glob.pattern):
            self._allowed(glob.pattern)
            return [glob.pattern]
        return self._search.find(glob, pattern, ignore)

    def _read_text(self, path: str) -> str:
        text = self._decoded(path, self._allowed(path), is_secret=False)
        if credential := credential_in(text):
            detail = f'"{path}" contains what looks like {credential}: manifests must not contain secrets.'
            raise ValueProblem(LEAK, detail)
        return text

    def _decoded(self, path: str, real: str, *, is_secret: bool = True) -> str:
        try:
            file, status = _opened_regular(real)
        except OSError as error:
            raise ValueProblem(
                "Cannot read the file", f'"{path}": {error.strerror or error}'
            ) from error
        with os.fdopen(file, "rb") as stream:
            # A secret is sent and never shown, so the checks against inserting one do not apply.
            if not is_secret:
                self._closed.require_no_link(path, status)
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueProblem(
                "File too large", f'"{path}" is larger than {MAX_BYTES // 1_000_000} MB.'
            )
        if not is_secret:
            self._closed.require_no_copy(path, data)
        try:
            return data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise ValueProblem("Not UTF-8", f'"{path}" is not UTF-8 text.') from error

    def _read_content(self, path: str) -> LocalFile:
        # Nearly every file of a large folder takes the quick path; links, other spellings and
        # closed files take the careful one.
        plain = self._opened_plainly(path)
        file, status = plain or self._opened(path)
        size = status.st_size
        try:
            self._closed.require_no_link(path, status)
            _require_size(path, size, MAX_FILE_BYTES)
            # A large file is hashed and searched for secrets in chunks, a small one as a whole.
            if size >= _CHUNK_BYTES:
                return self._read_large(path, file)
            data = os.read(file, size + 1)
            while len(data) > size and (more := os.read(file, _CHUNK_BYTES)):  # it grew meanwhile
                data += more
            self._refuse_keys(path, data)
            # Only normalized paths take the quick path.
            name = path if plain else relative(path)
            return LocalFile(name, hashlib.sha256(data).hexdigest(), len(data))
        except OSError as error:
            raise ValueProblem(
                "Cannot read the file", f'"{path}": {error.strerror or error}'
            ) from error
        finally:
            os.close(file)

    def _read_large(self, path: str, file: int) -> LocalFile:
        hashed, size, tail = hashlib.sha256(), 0, b""
        # A secret can lie across the boundary of two chunks, so the end of a chunk is searched again.
        keep = max(_OVERLAP_BYTES, *map(len, self.secrets))
        while chunk := os.read(file, _CHUNK_BYTES):
            window = tail + chunk
            self._refuse_keys(path, window)
            hashed.update(chunk)
            size, tail = size + len(chunk), window[-keep:]
        return LocalFile(relative(path), hashed.hexdigest(), size)

    def _refuse_keys(self, path: str, data: bytes) -> None:
        for secret in self.secrets:
            if secret in data:
                raise ValueProblem(
                    LEAK, f'"{path}" contains a key that is in use: resources must not contain it.'
                )
        self._closed.require_no_copy(path, data)

    def _opened_plainly(self, path: str) -> tuple[int, os.stat_result] | None:
        """A regular file and its status, if it needs no closer check."""
        real = self._plain_place(path)
        if real is None:
            return None
        try:
            return _opened_regular(real, os.O_NOFOLLOW)
        except (OSError, ValueError):  # the careful path reports the type of the file
            return None

    def _plain_place(self, path: str) -> str | None:
        """The real path of a file that is no link; None if its name or location needs a closer
        check.

        Resolving each folder once, instead of once per file, saves most of the time in large
        folders.
        """
        folder, _, name = path.rpartition("/")
        if not folder or not name or name[0] == ".":
            return None
        prefix = self._folders.get(folder)
        if prefix is None:
            prefix = self._folders[folder] = self._resolved(folder, path)
        if prefix and self._closed.is_open_plainly(prefix, name):
            return f"{prefix}{name}"
        return None

    def _resolved(self, folder: str, path: str) -> str:
        """The real path of a folder, with a trailing separator.

        Empty if its files need a closer check: because the spelling differs, or because it contains
        secrets.
        """
        # Another spelling, such as a//b, takes the careful path.
        if relative(f"{folder}/a").rpartition("/")[0] != folder:
            return ""
        real = str(require_inside(self.root, self.root / folder, path))
        if self._closed.is_secret_place(real):
            return ""
        return as_prefix(real)

    def _opened(self, path: str) -> tuple[int, os.stat_result]:
        """An open regular file and its status. Raises Problem if it may not be read."""
        real = self._allowed(path)
        try:
            return _opened_regular(real)
        except OSError as error:
            raise ValueProblem(
                "Cannot read the file", f'"{path}": {error.strerror or error}'
            ) from error

    def _allowed(self, path: str) -> str:
        """The real path of a file that may be read. Raises Problem."""
        # Before the existence of the file is checked, so that a message does not reveal it.
        self._closed.require_open(
            path, str(require_inside(self.root, self.root / relative(path), path))
        )
        return str(require_file(self.root, path))


def _require_size(path: str, size: int, most: int) -> None:
    """Raise Problem if a file is larger than permitted."""
    if size > most:
        detail = f'"{path}" has {size:,} bytes; the maximum is {most:,}.'
        raise ValueProblem("File too large", detail)


def _opened_regular(real: str, flags: int = 0) -> tuple[int, os.stat_result]:
    """An open regular file and its status. Raises OSError for anything else."""
    # Without O_NONBLOCK, opening a pipe would wait for its writer forever.
    file = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags)
    # The status of the open file, so that replacing the path in between has no effect.
    status = os.fstat(file)
    if stat.S_ISREG(status.st_mode):
        return file, status
    os.close(file)
    raise OSError(errno.EINVAL, "it is not a regular file")


def _once(known: dict[str, T | ValueProblem], read: Callable[[str], T], path: str) -> T:
    """The result of `read` for a path, or its problem, cached."""
    if path not in known:
        try:
            known[path] = read(path)
        except ValueProblem as problem:
            known[path] = problem
    result = known[path]
    if isinstance(result, ValueProblem):
        raise ValueProblem(result.summary, result.detail)
    return result
