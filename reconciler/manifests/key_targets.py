"""Checks where keys can be written, so that an apply does not fail halfway."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from msgspec import Struct

from reconciler.manifests.configuration import STACK_FILES, STATE_FOLDER
from reconciler.manifests.paths import shown

_OF_OTHERS = {".git", ".github"}


class KeyTargets:
    """Checks targets. Facts about folders are cached, because many keys can share one."""

    def __init__(self, root: Path, state: Path, manifests: Collection[str]) -> None:
        """Takes the stack's folder, the folder of its state, and the names of the manifest files."""
        self._root = root
        self._manifests = manifests
        folders = (os.path.realpath(state), str(root / STATE_FOLDER))
        self._states = tuple(
            f"{folder}{os.sep}" for folder in folders if not root.is_relative_to(folder)
        )
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
        # Symbolic links are followed as far as they lead; a loop of them is left to be found where
        # it is written to.
        is_link = os.path.islink(file)  # noqa: PTH114
        real = (
            os.path.realpath(file)
            if is_link
            else f"{folder.real}{os.sep}{file.rpartition(os.sep)[2]}"
        )
        return f"{real}{os.sep}".startswith(self._states)

    def _folder(self, path: str) -> _Folder:
        if path not in self._folders:
            self._folders[path] = self._looked_at(path)
        return self._folders[path]

    def _looked_at(self, path: str) -> _Folder:
        folder = self._root / path
        parts = PurePosixPath(path).parts
        below = next(
            (parent for parent in (folder, *folder.parents) if parent.exists()), self._root
        )
        return _Folder(
            path=str(folder),
            real=os.path.realpath(folder).rstrip(os.sep),
            shown=shown(folder / "_", self._root).removesuffix("_"),
            of_others=next((part for part in parts if part.casefold() in _OF_OTHERS), ""),
            in_a_file="" if below.is_dir() else shown(below, self._root),
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
    """The file that would have to be a folder for the path to exist, or an empty string."""
    return next((str(parent) for parent in PurePosixPath(path).parents if str(parent) in files), "")
