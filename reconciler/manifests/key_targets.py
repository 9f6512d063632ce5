"""Checks where keys can be written, so that an apply does not fail halfway."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from msgspec import Struct

from reconciler.manifests.configuration import STACK_FILES, STATE_FOLDER
from reconciler.manifests.paths import shown

_OF_OTHERS = {".git", ".github"}
"""Folders of other programs, which publish or execute their files."""


class KeyTargets:
    """Checks targets. Facts about folders are cached, because many keys can share one."""

    def __init__(self, root: Path, state: Path, manifests: Collection[str]) -> None:
        """Takes the stack's folder, the folder of its state, and the names of the manifest files."""
        self._root = root
        self._manifests = manifests
        folders = (os.path.realpath(state), str(root / STATE_FOLDER))
        # If the state folder contains the stack, closing it would leave no place for a key.
        own = [folder for folder in folders if not root.is_relative_to(folder)]
        self._states = tuple(f"{folder}{os.sep}" for folder in own)
        self._folders: dict[str, _Folder] = {}

    def objection(self, path: str) -> str:
        """Why no key can be written to a path (relative and normalized); empty if it can."""
        above, _, name = path.rpartition("/")
        folder = self._folder(above)
        file = f"{folder.path}{os.sep}{name}"
        if path in STACK_FILES:
            return f'"{path}" is the stack file.'
        if f"{folder.shown}{name}" in self._manifests:
            return f'"{path}" is one of the manifests.'
        if os.path.isdir(file):  # noqa: PTH112 - a Path takes several times as long, here and below
            return f'"{path}" is a folder: name a file in it.'
        if self._is_state(file, folder):
            return f'"{path}" is in the state folder.'
        taken = name if name.casefold() in _OF_OTHERS else folder.of_others
        if taken:
            return f'"{path}" is in {taken}, whose files are published or executed.'
        return folder.in_a_file and f'"{path}" is below "{folder.in_a_file}", which is a file.'

    def _is_state(self, file: str, folder: _Folder) -> bool:
        # The folder is resolved already, so only a link needs to be. A loop of links resolves to
        # itself, and writing the key reports it.
        if os.path.islink(file):  # noqa: PTH114
            real = os.path.realpath(file)
        else:
            real = f"{folder.real}{os.sep}{file.rpartition(os.sep)[2]}"
        return f"{real}{os.sep}".startswith(self._states)

    def _folder(self, path: str) -> _Folder:
        if path not in self._folders:
            self._folders[path] = self._examined(path)
        return self._folders[path]

    def _examined(self, path: str) -> _Folder:
        folder = self._root / path
        # A folder that does not exist is created, if the nearest existing parent is a folder.
        existing = folder
        while not existing.exists():
            existing = existing.parent
        of_others = [part for part in PurePosixPath(path).parts if part.casefold() in _OF_OTHERS]
        return _Folder(
            path=str(folder),
            real=os.path.realpath(folder).rstrip(os.sep),
            shown=shown(folder / "_", self._root).removesuffix("_"),
            of_others=of_others[0] if of_others else "",
            in_a_file="" if existing.is_dir() else shown(existing, self._root),
        )


class _Folder(Struct, frozen=True):
    """A folder, its real path, and the prefix of its manifest files.

    `of_others` is a parent that belongs to someone else. `in_a_file` is a parent that is a file.
    """

    path: str
    real: str
    shown: str
    of_others: str
    in_a_file: str


def folder_among(path: str, files: Collection[str]) -> str:
    """The file that would have to be a folder for the path to exist; empty if there is none."""
    parents = map(str, PurePosixPath(path).parents)
    return next((parent for parent in parents if parent in files), "")
