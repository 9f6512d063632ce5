"""Finds the files that globs match, within the bounds and closed folders of a stack."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from reconciler.manifests.closed import LEAK, ClosedFiles, as_prefix
from reconciler.manifests.paths import Glob, compile_globs, normal, require_inside, walk
from reconciler.manifests.problems import ValueProblem

MAX_WALKED = 2_000_000
"""How many files all patterns of a configuration may visit together. A file counts once per
pattern."""


class FileSearch:
    """Searches the stack's folder, and counts the files that all searches visit together."""

    def __init__(self, root: Path, closed: ClosedFiles) -> None:
        self._root = root
        self._closed = closed
        self._walked_files = 0

    def find(self, glob: Glob, pattern: str, ignore: Sequence[str]) -> list[str]:
        """The open files that match, sorted. Messages call the glob `pattern`. Raises Problem."""
        ignored = compile_globs(ignore, contents=True) if ignore else None
        cut = len(glob.prefix) + 1 if glob.prefix else 0

        def is_selected(path: str) -> bool:
            name = normal(path)
            if not glob.matches(name):
                return False
            return ignored is None or not (ignored.fullmatch(name) or ignored.fullmatch(name[cut:]))

        top = require_inside(self._root, self._root / glob.prefix, pattern)
        self._closed.require_open(pattern, str(top))
        # The first apply writes such a key, and the second would upload it.
        for path in self._keys_to_come(glob):
            if is_selected(path):
                detail = f'"{path}" is the destination of a key, and "{pattern}" matches it: resources must not contain it.'
                raise ValueProblem(LEAK, detail)
        paths = [path for path in self._walked(glob) if is_selected(path)]
        for path in paths:
            _require_utf8_name(path)
        self._require_no_secret_folder(pattern, paths)
        return paths

    def _walked(self, glob: Glob) -> Iterator[str]:
        for path in walk(self._root, glob.prefix, depth=glob.depth):
            self._walked_files += 1
            if self._walked_files > MAX_WALKED:
                detail = f'With "{glob.pattern}", the patterns search more than {MAX_WALKED:,} files in total.'
                raise ValueProblem(
                    "Too many files", f"{detail} Start each pattern with the folder to search."
                )
            yield path

    def _require_no_secret_folder(self, pattern: str, paths: Iterable[str]) -> None:
        folders = {path.partition("/")[0] for path in paths if "/" in path}
        for folder in sorted(folders):
            if self._closed.is_secret_place(f"{as_prefix(self._root)}{folder}"):
                detail = f'"{pattern}" matches files in the folder "{folder}/", which resources must not read.'
                raise ValueProblem(LEAK, f'{detail} Add "{folder}/" to ignore.')

    def _keys_to_come(self, glob: Glob) -> list[str]:
        """Key files below a glob's fixed prefix that do not exist yet. Hidden files never match."""
        below = self._root / glob.prefix
        folder = as_prefix(below)
        names = []
        for text in self._closed.withheld:
            # As text first, because every pattern of a stack compares every key file.
            if text != str(below) and not text.startswith(folder):
                continue
            path = Path(text)
            is_hidden = any(part[0] == "." for part in path.relative_to(below).parts)
            if not is_hidden and not path.exists():
                names.append(path.relative_to(self._root).as_posix())
        return sorted(names)


def _require_utf8_name(path: str) -> None:
    """Raise Problem if the name is not UTF-8, which neither the API nor the state can store."""
    try:
        path.encode()
    except UnicodeEncodeError:
        if sys.getfilesystemencoding() == "utf-8":
            remedy = "its name is not valid UTF-8. Rename the file, or exclude it with `ignore`."
        else:
            remedy = (
                "its name cannot be decoded in this locale. Set LC_ALL=C.UTF-8 or PYTHONUTF8=1."
            )
        shown = path.encode(errors="backslashreplace").decode()
        raise ValueProblem("File name not readable", f'"{shown}": {remedy}') from None
