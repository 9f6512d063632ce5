"""Decides which files manifests cannot read.

Manifests can come from untrusted pull requests, so nothing in them can open such a file. A file is
closed because of its location (`secrets/`, the state), because a key was or will be written to it,
because it is the same file under another name (links, other spellings), or because its content is
known to be secret.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Collection
from functools import cached_property
from pathlib import Path

from msgspec import Struct

from reconciler.manifests.configuration import STATE_FOLDER
from reconciler.manifests.problems import ValueProblem

LEAK = "A credential does not belong in a manifest"

SENT_FOLDER = "secrets"
"""The folder of secrets. Manifests can send its files as secrets, and cannot read them."""

_PROOFS = (".reconciler", ".reconciler-new")
"""Suffixes of the files that `secrets/files.py` writes beside a key: `.NAME.reconciler`."""

# Bounds on the work for one file and for the whole folder, whatever a pull request adds to either.
_LONGEST_SECRET_BYTES = 65_536
_SHORTEST_COPY_BYTES = 8
_LONGEST_COPY_BYTES = 8_192
_SHORTEST_PART_BYTES = 16
_MOST_FILES = 10_000
_MOST_PHRASES = 200
_MOST_TOKENS = 1_000

_TOKEN = re.compile(rb"[A-Za-z0-9_-]{16,}")
_KEY = re.compile(rb"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{16,}")


def _nothing() -> Collection[str]:
    return ()


class Remembered(Struct, frozen=True):
    """The secrets that the state knows from deliveries and applies. Both functions are called only
    when needed.
    """

    paths: Callable[[], Collection[str]] = _nothing
    """Returns the files that keys were delivered to, relative to the stack's folder."""
    holds: Callable[[bytes], bool] = lambda _: False
    """Whether some bytes, without the newline at the end, are a known secret."""


class Contents(Struct, frozen=True):
    """The contents of the files below `secrets/`, indexed for searching them in other files."""

    whole: frozenset[bytes]
    """Complete contents."""
    tokens: frozenset[bytes]
    """Contents that are a single word."""
    phrases: tuple[bytes, ...]
    """Contents that require a text search."""

    def are_in(self, data: bytes) -> bool:
        """Whether a file is one of the contents, or contains one."""
        if data.strip() in self.whole:
            return True
        if self.tokens and not self.tokens.isdisjoint(_TOKEN.findall(data)):
            return True
        return bool(self.phrases) and any(phrase in data for phrase in self.phrases)


class ClosedFiles:
    """Decides which files of a stack's folder are closed. `root` must be resolved."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # Paths are compared as text: a Path takes several times as long, and folders have very many
        # files.
        self.withheld: set[str] = set()
        self.remembered = Remembered()
        self._state_folders: tuple[str, ...] = (as_prefix(root / STATE_FOLDER),)
        self._hidden: dict[str, frozenset[str] | None] = {}

    def withhold(self, path: Path) -> None:
        """Close a file that holds a key, or will hold one."""
        # Path.resolve would raise for a link to itself.
        self.withheld.add(os.path.realpath(path))

    def withhold_folder(self, folder: Path) -> None:
        """Close the folder of the state, unless it is the stack's folder or contains it."""
        real = Path(os.path.realpath(folder))
        if not self.root.is_relative_to(real):
            self._state_folders += (as_prefix(real),)

    def remember(self, remembered: Remembered) -> None:
        """Close files that the state knows to be secret."""
        self.remembered = remembered
        self.__dict__.pop("_delivered", None)

    # --- by location

    def require_open(self, text: str, real: str) -> None:
        """Raise Problem if the file or folder at `real` is closed. The message calls it `text`."""
        self.require_no_key(text, real)
        if self.is_secret_place(real):
            raise ValueProblem(
                LEAK, f'"{text}" is in the folder "{SENT_FOLDER}/", which resources must not read.'
            )

    def require_no_key(self, text: str, real: str) -> None:
        """Raise Problem if a key was or will be delivered to the file, or if it belongs to the
        state."""
        if real in self.withheld or real in self._delivered or self.has_proof(real):
            raise ValueProblem(LEAK, f'"{text}" holds a key: resources must not contain it.')
        if as_prefix(real).startswith(self._state_folders):
            raise ValueProblem(
                "File belongs to the state",
                f'"{text}" is part of the state: resources must not read it.',
            )

    def is_secret_place(self, real: str) -> bool:
        """Whether a resolved path is in the folder of secrets, under any spelling that the file
        system accepts."""
        if as_prefix(real).startswith(self._secret_folder):
            return True
        root = as_prefix(self.root)
        if not real.startswith(root):
            return False
        top = real.removeprefix(root).partition(os.sep)[0]
        # Windows ignores dots and blanks at the end of a name, and macOS the case of letters.
        return top.rstrip(". ").casefold() == SENT_FOLDER or self._is_same_folder(f"{root}{top}")

    # The quick check below serves folders with very many files: one set lookup per file, instead of
    # resolving each path.

    def is_open_plainly(self, prefix: str, name: str) -> bool:
        """Whether a file needs no further checks, judging by its resolved folder and its name.

        The folder must have passed `require_open`.
        """
        real = f"{prefix}{name}"
        if real in self.withheld or real in self._delivered or real.startswith(self._state_folders):
            return False
        # A folder that cannot be listed may contain the proof that the file holds a key.
        hidden = self._hidden_in(prefix)
        if not hidden:
            return hidden is not None
        return f".{name}{_PROOFS[0]}" not in hidden

    @cached_property
    def _secret_folder(self) -> str:
        return as_prefix(os.path.realpath(self.root / SENT_FOLDER))

    def _is_same_folder(self, folder: str) -> bool:
        try:
            return os.path.samefile(folder, self.root / SENT_FOLDER)  # noqa: PTH121
        except OSError:
            return False

    @cached_property
    def _delivered(self) -> frozenset[str]:
        return frozenset(os.path.realpath(self.root / path) for path in self.remembered.paths())

    def has_proof(self, real: str) -> bool:
        """Whether a key was ever delivered to the file, or the file is the proof of a delivery."""
        # The proof counts even if no manifest delivers a key to the file now.
        folder, _, name = real.rpartition(os.sep)
        if name.startswith(".") and name.endswith(_PROOFS):
            return True
        prefix, proof = f"{folder}{os.sep}", f".{name}{_PROOFS[0]}"
        hidden = self._hidden_in(prefix)
        if hidden is None:
            return os.path.exists(f"{prefix}{proof}")  # noqa: PTH110
        return proof in hidden

    def _hidden_in(self, prefix: str) -> frozenset[str] | None:
        """The hidden names in a folder; None if it can be entered but not listed."""
        if prefix not in self._hidden:
            self._hidden[prefix] = _hidden_names(prefix)
        return self._hidden[prefix]

    # --- by identity

    def require_no_link(self, text: str, status: os.stat_result) -> None:
        """Raise Problem if a hard link of the file is closed."""
        if status.st_nlink > 1 and (status.st_dev, status.st_ino) in self._identities:
            raise ValueProblem(
                LEAK,
                f'"{text}" is a hard link to a file that holds a secret: resources must not contain it.',
            )

    @property
    def _identities(self) -> frozenset[tuple[int, int]]:
        """Device and inode of every closed file."""
        # Not cached, because keys are withheld while files are read, and few files have hard links.
        identities = set()
        for path in (*self._secret_files(), *self.withheld, *self._delivered):
            status = _regular(path)
            if status is not None:
                identities.add((status.st_dev, status.st_ino))
        return frozenset(identities)

    # --- by content

    def require_no_copy(self, text: str, data: bytes) -> None:
        """Raise Problem if the content of a file is or contains a known secret."""
        if self._contents.whole and self._contents.are_in(data):
            detail = f'"{text}" contains a secret from a file in "{SENT_FOLDER}/": resources must not contain it.'
            raise ValueProblem(LEAK, detail)
        for candidate in self._candidates(text, data):
            if self.remembered.holds(candidate):
                detail = f'"{text}" contains a secret that was delivered or sent before: resources must not contain it.'
                raise ValueProblem(LEAK, detail)

    def _candidates(self, text: str, data: bytes) -> list[bytes]:
        """Parts of a file that could be secrets known only by digest: a small file as a whole, and
        each word that looks like a key."""
        candidates: list[bytes] = []
        if b"sk-" in data:  # much faster than the pattern
            candidates += set(_KEY.findall(data))
        # Each candidate is hashed once for every secret that was sent.
        if len(candidates) > _MOST_TOKENS:
            raise ValueProblem(
                LEAK,
                f'"{text}" contains more than {_MOST_TOKENS:,} strings that look like API keys.',
            )
        if _SHORTEST_COPY_BYTES <= len(data) <= _LONGEST_COPY_BYTES:
            # Editors and checkouts change the byte order mark and line ends of a copy.
            whole = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
            line, word = whole.removesuffix(b"\n"), whole.strip()
            candidates.append(line)
            if word != line:
                candidates.append(word)
        return candidates

    @cached_property
    def _contents(self) -> Contents:
        contents = set()
        for path in self._secret_files():
            if path.endswith(_PROOFS):
                continue
            content = _content(path).strip()
            # A file can equal a shorter text by chance.
            if len(content) >= _SHORTEST_COPY_BYTES:
                contents.add(content)
        # For the same reason, only a longer content is searched inside of other files.
        parts = {content for content in contents if len(content) >= _SHORTEST_PART_BYTES}
        tokens = frozenset(filter(_TOKEN.fullmatch, parts))
        return Contents(frozenset(contents), tokens, tuple(sorted(parts - tokens)[:_MOST_PHRASES]))

    def _secret_files(self) -> list[str]:
        """The files below the folder of secrets, as far as they can be listed."""
        files: list[str] = []
        for folder, _, names in os.walk(self._secret_folder):
            files += (os.path.join(folder, name) for name in names)  # noqa: PTH118
            if len(files) > _MOST_FILES:
                break
        return files[:_MOST_FILES]


def as_prefix(path: Path | str) -> str:
    """The path with a trailing separator: the prefix of all paths below it."""
    text = os.fspath(path)
    return text if text.endswith(os.sep) else f"{text}{os.sep}"


def _regular(path: str) -> os.stat_result | None:
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _content(path: str) -> bytes:
    """The content of a file that is small enough to be a secret, else empty."""
    status = _regular(path)
    if status is None or status.st_size > _LONGEST_SECRET_BYTES:
        return b""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read(_LONGEST_SECRET_BYTES)
    except OSError:
        return b""


def _hidden_names(folder: str) -> frozenset[str] | None:
    try:
        return frozenset(name for name in os.listdir(folder) if name[0] == ".")  # noqa: PTH208
    except OSError:
        return None
