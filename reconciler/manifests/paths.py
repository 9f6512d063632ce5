"""Paths of the stack: display, containment in the stack's folder, and globs.

Manifests can come from untrusted pull requests. A path is accepted only if its real location,
symbolic links resolved, is below the stack's folder.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache
from pathlib import Path

from msgspec import Struct

from reconciler.manifests.problems import ValueProblem

_WILD = re.compile(r"[*?\[]")
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
"""Paths that need no further checks: relative, without names that begin with a dot, already
normalized."""


def shown(path: Path, root: Path) -> str:
    """A path for messages: relative to the current folder, else to the stack's."""
    # Path.absolute would keep "..", and resolve would show the target of a link.
    absolute = Path(os.path.abspath(path))  # noqa: PTH100
    for base in (Path.cwd(), Path(os.path.abspath(root))):  # noqa: PTH100
        if absolute.is_relative_to(base):
            return absolute.relative_to(base).as_posix()
    return str(path)


def in_stack(file: str, root: Path) -> str:
    """The path of a file relative to the stack's folder, from the form that `shown` gives it.

    Links are resolved. A file outside the folder keeps its form.
    """
    top = root.resolve()
    for base in (Path.cwd(), root):
        real = (base / file).resolve()
        if real.is_relative_to(top) and real.exists():
            return real.relative_to(top).as_posix()
    return file


def normal(path: str) -> str:
    """A path in Unicode NFC, for comparison."""
    return path if path.isascii() else unicodedata.normalize("NFC", path)


@lru_cache(maxsize=256)  # few suffice, because a path is checked several times in a row
def relative(text: str) -> str:
    """A manifest's path in normal form, with `/`. Raises Problem if it cannot be below the folder."""
    if _PLAIN.fullmatch(text):
        return text
    if not text or "\0" in text:
        raise ValueProblem("Not a path", "Write the path of a file in the stack's folder.")
    # A Path takes ten times as long.
    if text.startswith("/") or os.path.isabs(text):  # noqa: PTH117
        raise ValueProblem(
            "Path outside the stack",
            f'"{text}" is absolute: write it relative to the stack\'s folder.',
        )
    simple = os.path.normpath(text).replace(os.sep, "/")
    if simple == ".." or simple.startswith("../"):
        raise ValueProblem(
            "Path outside the stack", f'"{text}" points outside the stack\'s folder.'
        )
    _require_no_git(simple.split("/"), text)
    return simple


def require_inside(root: Path, path: Path, text: str) -> Path:
    """The real path. Raises Problem if it is outside. `root` must be resolved."""
    try:
        real = path.resolve()
    except (OSError, RuntimeError) as error:
        raise ValueProblem("Cannot read the file", f'"{text}": {error}') from error
    if not real.is_relative_to(root):
        raise ValueProblem(
            "Path outside the stack", f'"{text}" points outside the stack\'s folder through a link.'
        )
    _require_no_git(real.relative_to(root).parts, text)
    return real


def _require_no_git(parts: Iterable[str], text: str) -> None:
    # A checkout of a CI job keeps its token in .git/config.
    if any(part.casefold() == ".git" for part in parts):
        raise ValueProblem(
            "Path inside .git", f'"{text}" is in a .git folder, which may contain credentials.'
        )


def require_file(root: Path, text: str) -> Path:
    """The regular file that a manifest names. Raises Problem for anything else."""
    real = require_inside(root, root / relative(text), text)
    try:
        mode = real.stat().st_mode
    except FileNotFoundError:
        raise ValueProblem(
            "No such file", f'"{text}" does not exist in the stack\'s folder.'
        ) from None
    except OSError as error:
        raise ValueProblem(
            "Cannot read the file", f'"{text}": {error.strerror or error}'
        ) from error
    if stat.S_ISDIR(mode):
        raise ValueProblem("Not a file", f'"{text}" is a folder.')
    if not stat.S_ISREG(mode):
        raise ValueProblem("Not a file", f'"{text}" is not a regular file.')
    return real


def exists_as_spelled(root: Path, path: str) -> bool:
    """Whether a path with wildcards is the literal name of a file or folder, such as `docs/[slug]`."""
    # Path.exists raises for names that are too long.
    return os.path.exists(root / path)  # noqa: PTH110


class Glob(Struct, frozen=True, dict=True):
    """A pattern for paths below a folder: `*` and `?` within a name, `[…]` one character, `**` any
    number of folders.

    A name that literally equals a part of the pattern matches too, including brackets.

    Names that begin with a dot match only if the pattern spells out the dot.
    """

    pattern: str

    @cached_property
    def is_wild(self) -> bool:
        """Whether the pattern contains a wildcard."""
        return bool(_WILD.search(self.pattern))

    @cached_property
    def prefix(self) -> str:
        """The folder above every match, as far as the pattern spells it out; empty for the top."""
        fixed: list[str] = []
        for part in self.pattern.split("/")[:-1]:
            if _WILD.search(part):
                break
            fixed.append(part)
        return "/".join(fixed)

    @cached_property
    def depth(self) -> int | None:
        """The largest number of folders below the prefix in a match; None if unlimited."""
        rest = self.pattern[len(self.prefix) :].strip("/").split("/")
        return None if "**" in rest else len(rest) - 1

    def matches(self, path: str) -> bool:
        """Whether a whole relative path matches."""
        if self._folder:
            return path.startswith(self._folder) and path != self._folder
        return self._regex.fullmatch(path) is not None

    @cached_property
    def _folder(self) -> str:
        """The folder of `FOLDER/**`, with a slash at its end; empty for other patterns."""
        # Most patterns have this form, and a regular expression takes long to compile.
        if self.prefix and self.pattern == f"{self.prefix}/**":
            return f"{self.prefix}/"
        return ""

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return compile_globs([self.pattern])


def compile_globs(patterns: Iterable[str], *, contents: bool = False) -> re.Pattern[str]:
    """One regular expression for all globs; with `contents`, it also matches everything in matching
    folders."""
    below = "(?:/.*)?" if contents else ""
    choices = "|".join(f"(?:{_glob_regex(pattern)}){below}" for pattern in patterns)
    try:
        return re.compile(choices, re.DOTALL)
    except re.error as error:
        raise ValueProblem("Not a glob", f"{error.msg}.") from error


def _glob_regex(pattern: str) -> str:
    """The regular expression of one glob."""
    # The atomic groups keep a hostile pattern from taking exponential time: if `*` and `**` stand
    # before something fixed, the first match of that is as good as any other.
    runs: list[list[str]] = [[]]
    for part in normal(pattern).strip("/").split("/"):
        if part != "**":
            runs[-1].append(_segment_regex(part))
        elif runs[-1] or len(runs) == 1:
            runs.append([])
    first, *rest = ["/".join(run) for run in runs]
    if not rest:
        return first
    text = f"{first}/" if first else ""
    for run in rest[:-1]:
        text += f"(?>(?:[^/]+/)*?{run}/)"
    if not rest[-1]:
        return f"{text}.+"
    return f"{text}(?:[^/]+/)*{rest[-1]}"


def _segment_regex(part: str) -> str:
    """The regular expression of one name in a glob."""
    pieces, literal, at = [], "", 0
    while at < len(part):
        char = part[at]
        end = part.find("]", at + 2) if char == "[" else -1
        if char == "*":
            pieces.append(literal)
            literal = ""
        elif char == "?":
            literal += "[^/]"
        elif end > 0:
            # `[slug]` is a set of characters to a glob, and part of a name to many frameworks.
            characters = _character_class(part[at + 1 : end])
            literal += f"(?:{characters}|{re.escape(part[at : end + 1])})"
            at = end
        else:
            literal += re.escape(char)
        at += 1
    if not pieces:
        return literal
    middle = "".join(f"(?>[^/]*?{piece})" for piece in pieces[1:] if piece)
    return f"{pieces[0]}{middle}[^/]*{literal}"


def _character_class(inside: str) -> str:
    """The class of characters that brackets of a glob contain; `!` and `^` negate it."""
    is_negated = inside[0] in "!^"
    listed = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside[is_negated:])
    return f"[^/{listed}]" if is_negated else f"[{listed}]"


def walk(
    root: Path, folder: str, *, depth: int | None = None, enter: Callable[[str], bool] | None = None
) -> Iterator[str]:
    """The files below a folder, sorted, as paths relative to the root.

    Hidden names, linked folders and folders rejected by `enter` are skipped. The caller has to
    check where linked files lead.
    """
    # A stack instead of recursion, because an attacker's folder can be nested deeper than the
    # interpreter's stack.
    waiting: list[tuple[Iterator[os.DirEntry[str]], str, int]] = [
        (_entries(root, folder), folder, 0)
    ]
    while waiting:
        entries, above, level = waiting[-1]
        entry = next(entries, None)
        if entry is None:
            waiting.pop()
            continue
        path = f"{above}/{entry.name}" if above else entry.name
        if entry.is_dir(follow_symlinks=False):
            if (depth is None or level < depth) and (enter is None or enter(path)):
                waiting.append((_entries(root, path), path, level + 1))
        elif entry.is_file(follow_symlinks=False) or (
            entry.is_symlink() and not _leads_to_folder(entry)
        ):
            yield path


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: reading it reports the error with its location
        return False


def _entries(root: Path, folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(root / folder) as entries:
            visible = [entry for entry in entries if entry.name[0] != "."]
        # Sorted, so that plans and messages have the same order on every file system.
        visible.sort(key=lambda entry: entry.name)
        return iter(visible)
    except (FileNotFoundError, NotADirectoryError):
        return iter(())
    except OSError as error:
        raise ValueProblem(
            "Cannot read the folder", f'"{folder}": {error.strerror or error}'
        ) from error
