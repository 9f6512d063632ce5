"""Where keys may be written: to files that are nothing else, so that an apply does not find out after it began."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from msgspec import Struct

from reconciler.manifests.configuration import STACK_FILES, STATE_FOLDER
from reconciler.manifests.paths import shown

_OF_OTHERS = {".git", ".github"}


class KeyTargets(Struct, frozen=True):
    """The stack's folder, the folder of its state, and the names under which its manifests are known."""

    root: Path
    state: Path
    manifests: Collection[str]

    def objection(self, path: str) -> str:
        """Why no key can be written to a path (relative, in its simplest form), or an empty string."""
        file = self.root / path
        if path in STACK_FILES:
            return f'"{path}" is the stack file.'
        if shown(file, self.root) in self.manifests:
            return f'"{path}" is one of the manifests.'
        if file.is_dir():
            return f'"{path}" is a folder: name a file in it.'
        if self._is_state(path):
            return f'"{path}" is in the folder of the state.'
        taken = next((part for part in PurePosixPath(path).parts if part.casefold() in _OF_OTHERS), "")
        if taken:
            return f'"{path}" is in {taken}, where files are published or run.'
        below = next((parent for parent in file.parents if parent.exists()), self.root)
        return "" if below.is_dir() else f'"{path}" is below "{shown(below, self.root)}", which is a file.'

    def _is_state(self, path: str) -> bool:
        # Symbolic links are followed as far as they lead; a loop of them is left to be found where it is written to.
        real = Path(os.path.realpath(self.root / path))
        folders = (Path(os.path.realpath(self.state)), self.root / STATE_FOLDER)
        return any(real.is_relative_to(folder) for folder in folders if not self.root.is_relative_to(folder))


def folder_among(path: str, files: Collection[str]) -> str:
    """The one of some files that would have to be a folder for a path to exist, or an empty string."""
    return next((str(parent) for parent in PurePosixPath(path).parents if str(parent) in files), "")
