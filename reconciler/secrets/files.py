"""Delivers keys to files that only their owner can read, from the moment they exist.

Foreign files are never overwritten. Ours are recognised by a digest: in the receipt in the state,
or in the proof beside each key, `.NAME.reconciler`. The proof is written before the key. If the
process dies in between, or the state is lost, the key can therefore still be replaced. The proof
contains digests and an address, no key.
"""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from posixpath import normpath
from typing import Any, ClassVar

from reconciler.errors import SinkError
from reconciler.model.secret import Secret
from reconciler.model.sinks import Receipt, SinkContext
from reconciler.model.types import Text, Type
from reconciler.secrets import digests

_LARGEST_OURS_BYTES = 65_536
# Systems allow 255 bytes, and the names of proof and draft are longer than that of the file.
_LONGEST_NAME_BYTES = 200


class FileSink:
    """Files below the stack's folder."""

    name: ClassVar[str] = "file"
    description: ClassVar[str] = "A file below the stack's folder; only its owner can read it."
    type: ClassVar[Type] = Text(min_length=1)
    keeps_versions: ClassVar[bool] = False
    reads_back: ClassVar[bool] = True

    def __init__(self, context: SinkContext) -> None:
        self._permit = context.permit
        self._receipt = context.receipt
        self._root = context.root.resolve()
        self._guard = threading.Lock()

    @staticmethod
    def place(target: str) -> str:
        """`file:PATH`, relative to the stack's folder and without detours."""
        return f"file:{normpath(target)}"

    def check(self, target: str, *, owner: str) -> None:
        """Raise SinkError if the file cannot take a key now. Writes nothing."""
        path = target
        with _explained(path):
            file = self._locate(path)
            self._require_ours(path, file, owner)
            folder = next(parent for parent in file.parents if parent.exists())
            if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
                raise SinkError(f'"{path}" cannot be written: {folder} is not a writable folder')

    def put(self, target: str, secret: Secret, *, owner: str, token: str) -> Receipt:  # noqa: ARG002 - a digest is enough
        """Write the key and a newline atomically, and return the receipt. Raises SinkError."""
        path = target
        content = secret.reveal().encode() + b"\n"
        with self._guard, _explained(path):
            file = self._locate(path)
            self._require_ours(path, file, owner)
            _make_private_folders(file.parent)
            mark = digests.digest(content)
            # The digest of the present content stays in the proof until the key is in place: after
            # a kill in between, the file must still be known as ours.
            current = _content(file)
            before = [
                known
                for known in self._digests(path, file, owner)
                if digests.matches(current, known)
            ]
            _replace(_proof_of(file), _proof(owner, [mark, *before]), self._permit)
            _replace(file, content, self._permit)
        return {"file": path, "digest": mark}

    def read(self, target: str, *, owner: str) -> Secret | None:
        """The key in the file, if the proof beside it says that we wrote it for this owner."""
        path = target
        with self._guard, _explained(path):
            file = self._locate(path)
            content, proof = _content(file), _read_proof(file)
            if proof.get("owner") != owner or not _is_proven(content, proof):
                return None
            return Secret(content.decode().strip())

    def withdraw(self, target: str, receipt: Receipt, *, owner: str) -> None:
        """Remove the file if its content still matches the receipt. Raises SinkError on failure."""
        path, digest = receipt.get("file", target), receipt.get("digest")
        if isinstance(path, str) and isinstance(digest, str):
            self._remove(path, digest)
        else:
            self._abandon(target, owner)

    def _remove(self, path: str, digest: str) -> None:
        with self._guard, _explained(path):
            # Somebody has put a link there since, or moved it outside: it is no longer our file.
            try:
                file = self._locate(path)
            except SinkError:
                return
            # A kill in here before may have left the proof alone, or with it the beginning of a
            # delivery.
            is_half_done = not _exists(file) and digest in _read_proof(file).get("digests", ())
            if is_half_done or digests.matches(_content(file), digest):
                self._permit()
                file.unlink(missing_ok=True)
                _proof_of(file).unlink(missing_ok=True)
                _temporary_of(file).unlink(missing_ok=True)
                _temporary_of(_proof_of(file)).unlink(missing_ok=True)
                _sync_folder(file.parent)

    def _abandon(self, path: str, owner: str) -> None:
        """Remove what an interrupted delivery left: the key that its proof knows, the proof, and
        temporary files."""
        with self._guard, _explained(path):
            try:
                file = self._locate(path)
            except SinkError:
                return
            proof = _read_proof(file)
            is_ours = proof.get("owner") == owner
            if is_ours and (not _exists(file) or _is_proven(_content(file), proof)):
                self._permit()
                file.unlink(missing_ok=True)
                _proof_of(file).unlink(missing_ok=True)
            for draft in (_temporary_of(file), _temporary_of(_proof_of(file))):
                draft.unlink(missing_ok=True)

    def _locate(self, path: str) -> Path:
        file = self._root / path
        if file.name in ("", ".", "..") or path.endswith(("/", os.sep)) or "\0" in path:
            raise SinkError(
                f"{path!r} does not name a file", hint="write a path such as secrets/indexer.key"
            )
        if len(os.fsencode(file.name)) > _LONGEST_NAME_BYTES:
            raise SinkError(
                f'the name of "{path}" is too long', hint=f"use at most {_LONGEST_NAME_BYTES} bytes"
            )
        # Links in the folders above are followed here, and must not lead outside.
        folder = file.parent.resolve()
        if not folder.is_relative_to(self._root):
            raise SinkError(
                f'"{path}" is outside {self._root}',
                hint="keys can only be written inside the stack's folder",
            )
        if (folder / file.name).is_symlink():
            raise SinkError(
                f'"{path}" is a symbolic link', hint="name the file itself, or remove the link"
            )
        return folder / file.name

    def _require_ours(self, path: str, file: Path, owner: str) -> None:
        if not _exists(file):
            return
        if not stat.S_ISREG(file.lstat().st_mode):
            raise SinkError(f'"{path}" is not a regular file', hint="choose another file")
        content = _content(file)
        # An empty file may have been made beforehand, for its permissions. There is nothing to lose.
        if not content or self._is_recorded(path, content, owner):
            return
        if not any(digests.matches(content, known) for known in self._digests(path, file, owner)):
            raise SinkError(
                f'"{path}" exists and was not written by reconciler, so it is not overwritten',
                hint="move it away, or choose another file",
            )
        _require_same_owner(path, file, owner)

    def _is_recorded(self, path: str, content: bytes, owner: str) -> bool:
        """Whether the state knows the content as this owner's, who may have been renamed since."""
        receipt = self._receipt(self.place(path), owner)
        return receipt is not None and digests.matches(content, str(receipt.get("digest")))

    def _digests(self, path: str, file: Path, owner: str) -> Iterator[str]:
        receipt = self._receipt(self.place(path), owner)
        if receipt is not None:
            yield str(receipt.get("digest"))
        yield from _digests_in(_read_proof(file))


def _digests_in(proof: Mapping[str, Any]) -> Iterator[str]:
    for known in proof.get("digests", ()):
        # The proof is a file that others can edit.
        if isinstance(known, str):
            yield known


def _is_proven(content: bytes, proof: Mapping[str, Any]) -> bool:
    """Whether a proof knows a content."""
    return any(digests.matches(content, known) for known in _digests_in(proof))


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SinkError(f'"{path}" cannot be used for a key: {error.strerror or error}') from error
    # The errors of pathlib for a malformed name, and for links in a loop.
    except (UnicodeEncodeError, RuntimeError) as error:
        raise SinkError(f"{path!r} cannot be used for a key: {error}") from error


def _require_same_owner(path: str, file: Path, owner: str) -> None:
    holder = _read_proof(file).get("owner", owner)
    if _content(file) and holder != owner:
        raise SinkError(
            f'"{path}" holds the key of {holder}, which would be lost',
            hint=f"choose another file, or delete the file if {holder} no longer exists",
        )


def _proof_of(file: Path) -> Path:
    return file.with_name(f".{file.name}.reconciler")


def _temporary_of(file: Path) -> Path:
    # Always the same name, so that the next delivery cleans up after a kill.
    return file.with_name(f".{file.name}.reconciler-new")


def _proof(owner: str, known: list[str]) -> bytes:
    return json.dumps({"owner": owner, "digests": known}).encode() + b"\n"


def _read_proof(file: Path) -> Mapping[str, Any]:
    try:
        proof = json.loads(_content(_proof_of(file)) or b"{}")
    except ValueError:
        return {}
    if not isinstance(proof, dict):
        return {}
    return proof


def _content(file: Path) -> bytes:
    """The content of an ordinary file, truncated if it is too long to be ours; empty if there is
    none."""
    try:
        if not stat.S_ISREG(file.lstat().st_mode):
            return b""
        with file.open("rb") as stream:
            return stream.read(_LARGEST_OURS_BYTES)
    except FileNotFoundError:
        return b""


def _exists(file: Path) -> bool:
    return file.exists() or file.is_symlink()


def _make_private_folders(folder: Path) -> None:
    # Each folder is created with its permissions: `parents=True` would give them to the last one only.
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for parent in reversed(missing):
        with suppress(FileExistsError):
            parent.mkdir(mode=0o700)
        _sync_folder(parent.parent)


def _replace(file: Path, content: bytes, permit: Callable[[], None]) -> None:
    """Write a file atomically, never readable by others."""
    temporary = _temporary_of(file)
    temporary.unlink(missing_ok=True)
    # Created anew and with its permissions: nobody else can have opened it, and no link is followed.
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600
    )
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        # The disk may have been slow, so the last moment before the file changes counts.
        permit()
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(file.parent)


def _sync_folder(folder: Path) -> None:
    # Not every system can.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
