"""Sources of stacks: ConfigMaps, and folders that a sidecar keeps up to date.

The names in a Stack are untrusted. The files of a ConfigMap go into a new folder that is removed
after the run. A path has to stay below the folder of sources after links are resolved. A folder can be
replaced at any time, as git-sync does with each commit, so a run compares the revision before and after.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from reconciler.operator.bodies import decoded_at, mapping_at
from reconciler.operator.crds import PATH_PATTERN
from reconciler.operator.resources import ConfigMapReference

MAX_FILES = 20_000
"""The most files of a folder without git."""
MAX_BYTES = 256 << 20
_LARGEST_REFERENCE = 4096
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_PATH = re.compile(f"{PATH_PATTERN.removesuffix('$')}\\Z")
_CHUNK = 1 << 20


class SourceError(Exception):
    """A source that cannot be used. `reason` is that of the condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StoredConfigMap(Struct, frozen=True):
    """The data of a ConfigMap, compressed, because it is read only when a Stack is due."""

    digest: str
    """Of the names and contents, as 64 hexadecimal digits."""
    packed: bytes

    def files(self) -> dict[str, bytes]:
        """The contents by key."""
        encoded = json.loads(zlib.decompress(self.packed))
        return {key: base64.b64decode(text) for key, text in encoded.items()}


def stored(body: Mapping[str, Any]) -> StoredConfigMap:
    """The data of a ConfigMap of the API server. Values that are not text are left out."""
    files: dict[str, bytes] = {}
    for key, value in mapping_at(body, "data").items():
        if isinstance(value, str):
            files[str(key)] = value.encode("utf-8", "surrogatepass")
    files |= decoded_at(body, "binaryData")
    # Sorted, so that the digest does not depend on the order in which the server lists the keys.
    encoded = {key: base64.b64encode(files[key]).decode() for key in sorted(files)}
    text = json.dumps(encoded).encode()
    return StoredConfigMap(hashlib.sha256(text).hexdigest(), zlib.compress(text))


@contextmanager
def unpacked(stored: StoredConfigMap, reference: ConfigMapReference) -> Iterator[Path]:
    """A new folder with the files of a ConfigMap. It is removed at the end. Raises SourceError."""
    files = stored.files()
    # A new folder for each run: files of an earlier revision must not remain in it.
    folder = Path(tempfile.mkdtemp(prefix="reconciler-source-"))
    try:
        for key, path in _placed(files, reference):
            target = folder / path
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                # `x` refuses two keys with one path, instead of the second winning.
                with target.open("xb") as file:
                    file.write(files[key])
            except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                raise SourceError(
                    "SourceInvalid",
                    f'The ConfigMap "{reference.name}" has two files at "{path}". Correct its items.',
                ) from error
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _placed(files: Mapping[str, bytes], reference: ConfigMapReference) -> Iterator[tuple[str, str]]:
    pairs: Sequence[tuple[str, str]] = [(key, key) for key in files]
    if reference.items:
        pairs = [(item.key, item.path) for item in reference.items]
    for key, path in pairs:
        if key not in files:
            raise SourceError(
                "SourceInvalid",
                f'The ConfigMap "{reference.name}" has no key "{key}". Correct the items of the source.',
            )
        # The API server checks paths of items too, but an older definition may not.
        if not _PATH.fullmatch(path):
            raise SourceError(
                "SourceInvalid",
                f'The ConfigMap "{reference.name}" has the file "{path}", which is no relative path.',
            )
        yield key, path


class Checkout(Struct, frozen=True):
    """The present state of a folder below the folder of sources."""

    folder: Path
    """Where the files are, without links on the way."""
    revision: str
    """`git:COMMIT`, or `sha256:DIGEST` of names and contents."""


class SourceFolder:
    """The folder of sources. Thread-safe.

    The digest of a folder without git is computed again only if the name, size or time of a file
    changed.
    """

    def __init__(self, root: Path | None) -> None:
        self._root = root
        self._digests: dict[Path, tuple[str, str]] = {}
        self._lock = threading.Lock()

    def resolve(self, path: str, sub_path: str | None = None) -> Checkout:
        """The folder that a path names. Raises SourceError."""
        if self._root is None:
            raise SourceError(
                "SourceInvalid",
                "The operator has no folder of sources. Start it with --source-root DIR, or use a "
                "ConfigMap.",
            )
        root = Path(os.path.realpath(self._root))
        checkout = self._inside(root, root / path, path)
        folder = checkout
        if sub_path is not None:
            folder = self._inside(checkout, checkout / sub_path, f"{path}/{sub_path}")
        commit = commit_of(checkout, within=root)
        if commit:
            return Checkout(folder, f"git:{commit}")
        return Checkout(folder, self._digest(folder))

    def _inside(self, root: Path, path: Path, shown: str) -> Path:
        # After links are resolved, since a checkout may contain a link to any file of the pod.
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(root):
            raise SourceError(
                "SourceInvalid", f'The path "{shown}" leads out of the folder of sources.'
            )
        if not real.is_dir():
            raise SourceError(
                "SourceNotFound", f'There is no folder "{shown}" in the folder of sources.'
            )
        return real

    def _digest(self, folder: Path) -> str:
        entries = list(_entries(folder))
        fingerprint = hashlib.sha256(repr(entries).encode("utf-8", "surrogatepass")).hexdigest()
        with self._lock:
            known = self._digests.get(folder)
        if known is not None and known[0] == fingerprint:
            return known[1]
        digest = hashlib.sha256()
        for name, *_ in entries:
            digest.update(f"{name}\0".encode("utf-8", "surrogatepass"))
            digest.update(_content_digest(folder / name))
        revision = f"sha256:{digest.hexdigest()}"
        with self._lock:
            self._digests[folder] = (fingerprint, revision)
        return revision


def _entries(folder: Path) -> Iterator[tuple[str, int, int, int]]:
    """Name, size, time and inode of each file, in order. Links are named and not followed."""
    files: list[tuple[str, int, int, int]] = []
    total = 0
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in sorted(names):
            path = Path(parent, name)
            try:
                status = path.lstat()
            except OSError as error:
                raise _unreadable(error) from error
            files.append(
                (str(path.relative_to(folder)), status.st_size, status.st_mtime_ns, status.st_ino)
            )
            total += status.st_size
        if len(files) > MAX_FILES or total > MAX_BYTES:
            raise SourceError(
                "SourceInvalid",
                f"The folder has more than {MAX_FILES:,} files or {MAX_BYTES >> 20} MiB. Use a git "
                "checkout, whose commit is its revision.",
            )
    return iter(files)


def _raise(error: OSError) -> None:
    raise _unreadable(error)


def _unreadable(error: OSError) -> SourceError:
    return SourceError(
        "SourceNotFound", f"The source cannot be read: {error.strerror or type(error).__name__}."
    )


def _content_digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    try:
        if path.is_symlink():
            digest.update(b"link " + os.fsencode(path.readlink()))
        # Not for pipes, which would block.
        elif path.is_file():
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
    except OSError as error:
        raise _unreadable(error) from error
    return digest.digest()


def commit_of(checkout: Path, *, within: Path) -> str:
    """The commit that is checked out; empty for a folder without git.

    Reads at most four small files and runs no program. Folders that links or `gitdir` name have to
    be below `within`.
    """
    folder = _git_folder(checkout)
    if folder is None or not Path(os.path.realpath(folder)).is_relative_to(within):
        return ""
    head = _line(folder / "HEAD")
    if _COMMIT.fullmatch(head):
        return head
    reference = head.removeprefix("ref: ")
    if reference == head or not _PATH.fullmatch(reference):
        return ""
    common = folder / (_line(folder / "commondir") or ".")
    # Branches of a worktree are in the folder that it shares with others.
    for place in (folder, common):
        commit = _line(place / reference)
        if _COMMIT.fullmatch(commit):
            return commit
    return _packed(common / "packed-refs", reference)


def _git_folder(checkout: Path) -> Path | None:
    entry = checkout / ".git"
    if entry.is_dir():
        return entry
    text = _line(entry)
    folder = text.removeprefix("gitdir: ")
    if folder == text:
        return None
    return checkout / folder


def _packed(path: Path, reference: str) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        commit, _, name = line.partition(" ")
        if name == reference and _COMMIT.fullmatch(commit):
            return commit
    return ""


def _line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_REFERENCE).decode("utf-8", "replace").strip()
    except OSError:
        return ""
