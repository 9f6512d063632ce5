"""Finds manifest files and reads their documents."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from reconciler.manifests.configuration import MODULE_FILES, STACK_FILES
from reconciler.manifests.files import Files
from reconciler.manifests.load import read_text
from reconciler.manifests.parsed import ParsedFiles
from reconciler.manifests.paths import (
    Glob,
    exists_as_spelled,
    normal,
    relative,
    require_file,
    require_inside,
    shown,
    walk,
)
from reconciler.manifests.problems import Problems, ValueProblem
from reconciler.manifests.source_map import Document
from reconciler.model.diagnostic import SourceLocation, nearest

SUFFIXES = (".yaml", ".yml", ".json")
_SKIPPED = {"secrets", "node_modules", "venv", "__pycache__"}
_LOOKS_LIKE_ONE = re.compile(r"""\b(kind|spec)["']?\s*:""")


def read_documents(
    files: Files,
    entries: Iterable[str] | None,
    kinds: Collection[str],
    place_of: Callable[..., SourceLocation | None],
    problems: Problems,
    parsed: ParsedFiles,
) -> Iterator[Document]:
    """The documents of all manifests in file order, parsed unless they are in the cache `parsed`.

    `entries` are the stack's `manifests`. Without them the whole folder is searched, and files that
    are no manifests are skipped, because other programs keep YAML and JSON there too.
    """
    strict, root = entries is not None, files.root
    for path in _files(files, ["."] if entries is None else list(entries), place_of, problems):
        name = shown(root / path, root)
        text = _read(files, path, name, problems)
        # Before parsing, which would take long for the lock files of package managers.
        if text is None or not (strict or _LOOKS_LIKE_ONE.search(text)):
            continue
        for document in parsed.documents(text, name, problems, is_json=path.endswith(".json")):
            if strict or _is_meant_for_us(document.value, kinds):
                yield document


def read_folder(
    files: Files, folder: str, problems: Problems, parsed: ParsedFiles
) -> Iterator[Document]:
    """The documents of all manifests below a folder of the stack, in file order."""
    for path in sorted(_walk(files.root, folder)):
        name = shown(files.root / path, files.root)
        text = _read(files, path, name, problems)
        if text is not None:
            yield from parsed.documents(text, name, problems, is_json=path.endswith(".json"))


def has_module(folder: Path) -> bool:
    """Whether a folder is a module."""
    return any((folder / name).is_file() for name in MODULE_FILES)


def _read(files: Files, path: str, name: str, problems: Problems) -> str | None:
    file = files.root / path
    try:
        status = file.lstat()
        # Messages quote the text of a manifest, so a link must not lead to a closed file. A plain
        # file was found below the folder, which needs no further check.
        if status.st_nlink > 1 or not stat.S_ISREG(status.st_mode):
            files.require_open(path)
            require_file(files.root, path)
    except OSError:
        pass  # reading it reports the error
    except ValueProblem as problem:
        problems.take(problem, place=SourceLocation(name, 1, 1))
        return None
    return read_text(file, name, problems)


def _is_meant_for_us(value: Any, kinds: Collection[str]) -> bool:
    """Whether a document is a manifest, rather than a file of another program."""
    if isinstance(value, list):
        # A list of documents is not a manifest, but its author needs the error.
        return any(map(_has_kind_and_spec, value))
    if not isinstance(value, Mapping) or not ("kind" in value or "spec" in value):
        return False
    version = value.get("apiVersion")
    if version is None or _is_ours(str(version)):
        return True
    # One of our kinds with another version is an error. Skipping it would look like a removal, and
    # delete the object.
    return "spec" in value and isinstance(value.get("kind"), str) and value["kind"] in kinds


def _has_kind_and_spec(value: Any) -> bool:
    return isinstance(value, Mapping) and "kind" in value and "spec" in value


def _is_ours(version: str) -> bool:
    """Whether an apiVersion is ours or a misspelling of ours."""
    return bool(nearest(version.partition("/")[0], ["reconciler"]))


def _files(
    files: Files,
    entries: list[str],
    place_of: Callable[..., SourceLocation | None],
    problems: Problems,
) -> list[str]:
    paths: dict[str, None] = {}
    for index, entry in enumerate(entries):
        try:
            paths.update(dict.fromkeys(_expand(files, entry)))
        except ValueProblem as problem:
            problems.take(problem, place=place_of("manifests", index))
    return sorted(path for path in paths if path not in STACK_FILES)


def _expand(files: Files, entry: str) -> list[str]:
    """The files that an entry of `manifests` names, as paths below the stack's folder."""
    root = files.root
    path = normal(relative(entry))
    if path == ".":
        path = ""
    glob = Glob(path)
    if glob.is_wild and not exists_as_spelled(root, path):
        require_inside(root, root / glob.prefix, entry)
        files.require_open(glob.prefix or ".")
        paths = [file for file in _walk(root, glob.prefix) if glob.matches(normal(file))]
        if not paths:
            raise ValueProblem("No manifests", f'"{entry}" matches no .yaml, .yml or .json file.')
        return paths
    real = require_inside(root, root / path, entry)
    files.require_open(path or ".")
    if real.is_dir():
        return list(_walk(root, path))
    require_file(root, path)
    if not path.endswith(SUFFIXES):
        raise ValueProblem("Not a manifest", f'"{entry}" is not a .yaml, .yml or .json file.')
    return [path]


def _walk(root: Path, folder: str) -> Iterator[str]:
    """The files below a folder that can be manifests, without those of other stacks and modules."""

    def enter(path: str) -> bool:
        inside = root / path
        if inside.name.casefold() in _SKIPPED:
            return False
        # A folder with a stack file is another stack. The manifests of a module are read once a
        # document declares it.
        return not any((inside / name).exists() for name in (*STACK_FILES, *MODULE_FILES))

    return (path for path in walk(root, folder, enter=enter) if path.endswith(SUFFIXES))
