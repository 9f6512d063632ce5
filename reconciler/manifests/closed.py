"""Which files are closed to manifests: secrets, delivered keys, the state, and every other way to
the same bytes.

Manifests may come from a stranger's pull request, so nothing that they say can open a file. A file
is closed because of where it is (`secrets/`, the state), because a key was or will be written to
it, because it is the same file under another name (links, other spellings), or because it holds the
same bytes.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from pathlib import Path

from msgspec import Struct

from reconciler.manifests.configuration import STATE_FOLDER
from reconciler.manifests.problems import Problem

LEAK = "A credential does not belong in a manifest"

SENT_FOLDER = "secrets"
"""The folder of secrets: manifests may have its files sent as secrets, and can read none of them.
"""

_PROOFS = (".reconciler", ".reconciler-new")
"""The endings of the files that `secrets/files.py` leaves beside a key: `.NAME.reconciler`."""

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
    """What the state knows of secrets that were delivered or sent.

    `paths` gives the files that keys were delivered to, relative to the stack's folder. `holds`
    tells whether some bytes, without the end of their line, are a secret that was delivered or
    sent. Both are asked only when needed.
    """

    paths: Callable[[], Collection[str]] = _nothing
    holds: Callable[[bytes], bool] = lambda _: False


class Contents(Struct, frozen=True):
    """The contents of the files below `secrets/`, arranged for looking them up in other files.

    `whole` are complete contents, `tokens` those that are one word, `phrases` those that have to be
    searched for.
    """

    whole: frozenset[bytes]
    tokens: frozenset[bytes]
    phrases: tuple[bytes, ...]


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
        """Close one file that holds a key, or will."""
        self.withheld.add(
            os.path.realpath(path)
        )  # Path.resolve would raise where a link leads to itself

    def withhold_folder(self, folder: Path) -> None:
        """Close the folder of the state, unless everything is in it."""
        real = Path(os.path.realpath(folder))
        if not self.root.is_relative_to(real):
            self._state_folders += (as_prefix(real),)

    def remember(self, remembered: Remembered) -> None:
        """Close what the state knows as a secret."""
        self.remembered = remembered
        self.__dict__.pop("_delivered", None)

    # --- by place
    # ----------------------------------------------------------------------------------------------------

    def require_open(self, text: str, real: str) -> None:
        """Raise Problem if the file or folder at `real` is closed to manifests, which call it
        `text`.
        """
        self.require_no_key(text, real)
        if self.is_secret_place(real):
            raise Problem(
                LEAK, f'"{text}" is in the folder "{SENT_FOLDER}/", which resources must not read.'
            )

    def require_no_key(self, text: str, real: str) -> None:
        """Raise Problem if a key was or will be delivered to the file, or if it belongs to the
        state.
        """
        if real in self.withheld or real in self._delivered or self.has_proof(real):
            raise Problem(LEAK, f'"{text}" holds a key: resources must not contain it.')
        if as_prefix(real).startswith(self._state_folders):
            raise Problem(
                "File belongs to the state",
                f'"{text}" is part of the state: resources must not read it.',
            )

    def is_secret_place(self, real: str) -> bool:
        """Whether a resolved path is the folder of secrets or below it, however the file system
        spells it.
        """
        if as_prefix(real).startswith(self._secret_folder):
            return True
        root = as_prefix(self.root)
        if not real.startswith(root):
            return False
        top = real.removeprefix(root).partition(os.sep)[0]
        # Windows leaves out dots and blanks at the end of a name; other systems fold cases.
        return top.rstrip(". ").casefold() == SENT_FOLDER or self._is_same_folder(f"{root}{top}")

    def is_open_plainly(self, prefix: str, name: str) -> bool:
        """Whether a file, by its resolved folder and its name, needs no closer look.

        The folder itself must have passed `require_open`.
        """
        real = f"{prefix}{name}"
        if real in self.withheld or real in self._delivered or real.startswith(self._state_folders):
            return False
        hidden = self._hidden_in(prefix)
        return hidden is not None and f".{name}{_PROOFS[0]}" not in hidden

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
        """Whether a key was once delivered to the file: whatever manifests say today, its proof
        lies beside it.
        """
        folder, _, name = real.rpartition(os.sep)
        is_proof = name.startswith(".") and name.endswith(_PROOFS)
        hidden, proof = self._hidden_in(f"{folder}{os.sep}"), f".{name}{_PROOFS[0]}"
        return is_proof or (
            os.path.exists(f"{folder}{os.sep}{proof}") if hidden is None else proof in hidden  # noqa: PTH110
        )

    def _hidden_in(self, prefix: str) -> frozenset[str] | None:
        """The hidden names in a folder; None where it can be entered and not listed."""
        if prefix not in self._hidden:
            self._hidden[prefix] = _hidden_names(prefix)
        return self._hidden[prefix]

    # --- by identity
    # -------------------------------------------------------------------------------------------------

    def require_no_link(self, text: str, status: os.stat_result) -> None:
        """Raise Problem if a file has another name, by a hard link, that is closed."""
        if status.st_nlink > 1 and (status.st_dev, status.st_ino) in self._identities:
            raise Problem(
                LEAK,
                f'"{text}" is a hard link to a file that holds a secret: resources must not contain it.',
            )

    @property
    def _identities(self) -> frozenset[tuple[int, int]]:
        """Device and inode of every closed file; not kept, since few files have a second name."""
        return frozenset(
            (status.st_dev, status.st_ino)
            for path in (*self._secret_files(), *self.withheld, *self._delivered)
            if (status := _regular(path)) is not None
        )

    # --- by content
    # --------------------------------------------------------------------------------------------------

    def require_no_copy(self, text: str, data: bytes) -> None:
        """Raise Problem if some bytes of a file are, or contain, a secret that is known by its
        content.
        """
        tokens = set(_TOKEN.findall(data)) if self._contents.tokens else set()
        if (
            data.strip() in self._contents.whole
            or not tokens.isdisjoint(self._contents.tokens)
            or any(phrase in data for phrase in self._contents.phrases)
        ):
            detail = f'"{text}" contains a secret from a file in "{SENT_FOLDER}/": resources must not contain it.'
            raise Problem(LEAK, detail)
        if any(map(self.remembered.holds, self._candidates(text, data))):
            detail = f'"{text}" contains a secret that was delivered or sent before: resources must not contain it.'
            raise Problem(LEAK, detail)

    def _candidates(self, text: str, data: bytes) -> Iterator[bytes]:
        """What could be a secret that is known by a digest alone: all of a small file, and each
        word like a key.
        """
        if _SHORTEST_COPY_BYTES <= len(data) <= _LONGEST_COPY_BYTES:
            whole = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
            yield from {whole.removesuffix(b"\n"), whole.strip()}
        keys = set(_KEY.findall(data)) if b"sk-" in data else set()
        if len(keys) > _MOST_TOKENS:
            raise Problem(
                LEAK,
                f'"{text}" contains more than {_MOST_TOKENS:,} strings that look like API keys.',
            )
        yield from keys

    @cached_property
    def _contents(self) -> Contents:
        found = {
            content
            for path in self._secret_files()
            if not path.endswith(_PROOFS)
            and len(content := _content(path).strip()) >= _SHORTEST_COPY_BYTES
        }
        parts = {content for content in found if len(content) >= _SHORTEST_PART_BYTES}
        tokens = frozenset(part for part in parts if _TOKEN.fullmatch(part))
        return Contents(frozenset(found), tokens, tuple(sorted(parts - tokens)[:_MOST_PHRASES]))

    def _secret_files(self) -> list[str]:
        """The files below the folder of secrets, as far as they can be listed."""
        found: list[str] = []
        for folder, _, names in os.walk(self._secret_folder):
            found += (os.path.join(folder, name) for name in names)  # noqa: PTH118
            if len(found) > _MOST_FILES:
                break
        return found[:_MOST_FILES]


def as_prefix(path: Path | str) -> str:
    """What a path and everything below it begin with, once written with a separator at the end."""
    text = os.fspath(path)
    return text if text.endswith(os.sep) else f"{text}{os.sep}"


def _regular(path: str) -> os.stat_result | None:
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _content(path: str) -> bytes:
    """The content of a file that is small enough to be a secret; empty for anything else."""
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
