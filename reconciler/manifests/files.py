"""The files that manifests name: texts to insert, bytes to upload, folders to synchronize.

Every file is read once per run, however many resources name it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from reconciler.manifests.closed import LEAK, SENT_FOLDER, ClosedFiles, Remembered, as_prefix
from reconciler.manifests.load import MAX_BYTES
from reconciler.manifests.paths import (
    Glob,
    compile_globs,
    exists_as_spelled,
    normal,
    relative,
    require_file,
    require_inside,
    walk,
)
from reconciler.manifests.problems import ValueProblem
from reconciler.manifests.shapes import credential_in
from reconciler.model.values import LocalFile, Member

T = TypeVar("T")

_CHUNK_BYTES = 1 << 20
_OVERLAP_BYTES = 4096
"""How much of a chunk is searched again with the next one, so that secrets across the boundary are
found."""

MAX_FILE_BYTES = 8 << 30
"""The largest file that the API accepts, uploaded in parts."""

MAX_WALKED = 2_000_000
"""How many files all patterns of a configuration may visit together. A file counts once per
pattern."""

MAX_KEY = 512
"""The longest path of a member: it is stored in an attribute of this size."""


class Files:
    """Access to the stack's folder, restricted to what manifests may read.

    A long class, because it is the only way to a file: every method has to apply the same checks, and a reviewer can
    see that here.
    """

    def __init__(
        self, root: Path, *, withheld: Iterable[Path] = (), secrets: Iterable[bytes] = ()
    ) -> None:
        """`withheld` are files with keys. Neither their bytes nor any of `secrets` may get into a
        resource."""
        self.root = root.resolve()
        self.secrets = tuple(secrets)
        self._closed = ClosedFiles(self.root)
        for path in withheld:
            self._closed.withhold(path)
        self._folders: dict[str, str] = {}
        self._walked_files = 0
        self._texts: dict[str, str | ValueProblem] = {}
        self._contents: dict[str, LocalFile | ValueProblem] = {}

    def withhold(self, path: Path) -> None:
        """Close one more file."""
        self._closed.withhold(path)

    def withhold_folder(self, folder: Path) -> None:
        """Close a folder, unless it contains the stack."""
        self._closed.withhold_folder(folder)

    def remember(self, remembered: Remembered) -> None:
        """Close files that the state knows to be secret."""
        self._closed.remember(remembered)

    def require_open(self, path: str) -> None:
        """Raise Problem if a file or folder is closed. Missing files are open."""
        real = str(require_inside(self.root, self.root / relative(path), path))
        self._closed.require_open(path, real)
        try:
            status = os.stat(real)  # noqa: PTH116
        except OSError:
            return  # whoever reads it says so
        if stat.S_ISREG(status.st_mode):
            self._closed.require_no_link(path, status)

    def was_delivered(self, path: str) -> bool:
        """Whether the proof of a delivery lies beside a file."""
        return self._closed.has_proof(os.path.realpath(self.root / relative(path)))

    def text(self, path: str) -> str:
        """The text of a file, for `${file:PATH}`. Raises Problem."""
        return _once(self._texts, self._read_text, path)

    def secret_text(self, path: str) -> str | None:
        """The content of a secret file without the newline at its end; None if there is no such
        file.

        Raises Problem.
        """
        real = require_inside(self.root, self.root / relative(path), path)
        # After links were followed: one in the folder may lead out of it.
        if not real.is_relative_to(self.root / SENT_FOLDER):
            raise ValueProblem(
                "Not a file of secrets", f'"{path}" points outside "{SENT_FOLDER}/".'
            )
        self._closed.require_no_key(path, str(real))
        if not real.exists():
            return None
        return self._decoded(path, str(require_file(self.root, path))).removesuffix("\n")

    def content(self, path: str, *, most: int = MAX_FILE_BYTES) -> LocalFile:
        """The content of a file for an upload of at most `most` bytes. Raises Problem."""
        # Asked before reading: a file that is too large would otherwise be hashed in full first.
        if most < MAX_FILE_BYTES:
            self._require_size(path, most)
        return _once(self._contents, self._read_content, path)

    def _require_size(self, path: str, most: int) -> None:
        """Raise Problem if a file is too large, before reading it."""
        try:
            size = os.stat(self._allowed(path)).st_size  # noqa: PTH116
        except OSError:
            return  # reading it says why
        _require_size(path, size, most)

    def unread(self, path: str) -> LocalFile:
        """A readable file whose bytes are read later; everything else is checked. Raises Problem.

        Files that need a closer check, such as links, are read immediately.
        """
        real = self._plain_place(path)
        try:
            # lstat, because a link needs the closer look.
            status = os.lstat(real) if real is not None else None
        except (OSError, ValueError):  # a closer look says what it is
            status = None
        if status is None or not stat.S_ISREG(status.st_mode):
            return self.content(path)
        _require_size(path, status.st_size, MAX_FILE_BYTES)
        return LocalFile(path, "", 0)

    def find(self, pattern: str, ignore: Sequence[str]) -> list[str]:
        """The files that a glob matches and no ignore pattern matches, sorted. Raises Problem.

        Ignore patterns match the path below the stack's folder and the path below the glob's fixed
        prefix. A pattern that matches a folder ignores everything in it.
        """
        glob = Glob(normal(relative(pattern)))
        # Names such as `[slug]` are common: a file that is named just as the pattern is meant.
        if not glob.is_wild or exists_as_spelled(self.root, glob.pattern):
            self._allowed(glob.pattern)
            return [glob.pattern]
        ignored = compile_globs(ignore, contents=True) if ignore else None
        cut = len(glob.prefix) + 1 if glob.prefix else 0

        def is_meant(path: str) -> bool:
            name = normal(path)
            if not glob.matches(name):
                return False
            return ignored is None or not (ignored.fullmatch(name) or ignored.fullmatch(name[cut:]))

        self._closed.require_open(
            pattern, str(require_inside(self.root, self.root / glob.prefix, pattern))
        )
        for path in self._keys_to_come(glob):
            if is_meant(path):
                detail = f'"{path}" is the destination of a key, and "{pattern}" matches it: resources must not contain it.'
                raise ValueProblem(LEAK, detail)
        paths = [path for path in self._walked(glob) if is_meant(path)]
        for path in paths:
            _require_utf8_name(path)
        self._require_no_secret_folder(pattern, paths)
        return paths

    def _walked(self, glob: Glob) -> Iterator[str]:
        for path in walk(self.root, glob.prefix, depth=glob.depth):
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
            if self._closed.is_secret_place(f"{as_prefix(self.root)}{folder}"):
                detail = f'"{pattern}" matches files in the folder "{folder}/", which resources must not read.'
                raise ValueProblem(LEAK, f'{detail} Add "{folder}/" to ignore.')

    def _keys_to_come(self, glob: Glob) -> list[str]:
        """Key files below a glob's fixed prefix that do not exist yet. Hidden files never match."""
        below = self.root / glob.prefix
        folder = as_prefix(below)
        names = []
        for text in self._closed.withheld:
            # As text first: every pattern of a stack compares every key file.
            if text != str(below) and not text.startswith(folder):
                continue
            path = Path(text)
            is_hidden = any(part[0] == "." for part in path.relative_to(below).parts)
            if not is_hidden and not path.exists():
                names.append(path.relative_to(self.root).as_posix())
        return sorted(names)

    def _read_text(self, path: str) -> str:
        text = self._decoded(path, self._allowed(path), is_secret=False)
        if what := credential_in(text):
            raise ValueProblem(
                LEAK,
                f'"{path}" contains what looks like {what}: manifests must not contain secrets.',
            )
        return text

    def _decoded(self, path: str, real: str, *, is_secret: bool = True) -> str:
        try:
            file, status = _opened_regular(real)
        except OSError as error:
            raise ValueProblem(
                "Cannot read the file", f'"{path}": {error.strerror or error}'
            ) from error
        with os.fdopen(file, "rb") as stream:
            if not is_secret:
                self._closed.require_no_link(path, status)
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueProblem(
                "File too large", f'"{path}" is larger than {MAX_BYTES // 1_000_000} MB.'
            )
        if not is_secret:
            self._closed.require_no_copy(path, data)
        try:
            return data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise ValueProblem("Not UTF-8", f'"{path}" is not UTF-8 text.') from error

    def _read_content(self, path: str) -> LocalFile:
        plain = self._opened_plainly(path)
        # The quick way serves nearly every file of a large folder; whatever is unusual takes the
        # careful one.
        file, status = plain or self._opened(path)
        size = status.st_size
        try:
            self._closed.require_no_link(path, status)
            _require_size(path, size, MAX_FILE_BYTES)
            # Large files are hashed piece by piece, small ones searched for secrets as a whole.
            if size >= _CHUNK_BYTES:
                return self._read_large(path, file)
            data = os.read(file, size + 1)
            while len(data) > size and (more := os.read(file, _CHUNK_BYTES)):  # it grew meanwhile
                data += more
            self._refuse_keys(path, data)
            return LocalFile(
                path if plain else relative(path), hashlib.sha256(data).hexdigest(), len(data)
            )
        except OSError as error:
            raise ValueProblem(
                "Cannot read the file", f'"{path}": {error.strerror or error}'
            ) from error
        finally:
            os.close(file)

    def _read_large(self, path: str, file: int) -> LocalFile:
        hashed, size, tail = hashlib.sha256(), 0, b""
        # A secret can lie across the border of two pieces.
        keep = max(_OVERLAP_BYTES, *map(len, self.secrets))
        while chunk := os.read(file, _CHUNK_BYTES):
            window = tail + chunk
            self._refuse_keys(path, window)
            hashed.update(chunk)
            size, tail = size + len(chunk), window[-keep:]
        return LocalFile(relative(path), hashed.hexdigest(), size)

    def _refuse_keys(self, path: str, data: bytes) -> None:
        for secret in self.secrets:
            if secret in data:
                raise ValueProblem(
                    LEAK, f'"{path}" contains a key that is in use: resources must not contain it.'
                )
        self._closed.require_no_copy(path, data)

    def _opened_plainly(self, path: str) -> tuple[int, os.stat_result] | None:
        """A regular file and its status, if it needs no closer check."""
        real = self._plain_place(path)
        if real is None:
            return None
        try:
            return _opened_regular(real, os.O_NOFOLLOW)
        except (OSError, ValueError):  # whatever it is, a closer look says so
            return None

    def _plain_place(self, path: str) -> str | None:
        """The real path of a file that is no link; None if its name or location needs a closer
        check.

        Resolving each folder once, instead of once per file, saves most of the time in large
        folders.
        """
        folder, _, name = path.rpartition("/")
        if not folder or not name or name[0] == ".":
            return None
        prefix = self._folders.get(folder)
        if prefix is None:
            prefix = self._folders[folder] = self._followed(folder, path)
        return f"{prefix}{name}" if prefix and self._closed.is_open_plainly(prefix, name) else None

    def _followed(self, folder: str, path: str) -> str:
        """The real path of a folder, with a trailing separator.

        Empty if its files need a closer check: because the spelling differs, or because it contains
        secrets.
        """
        # Another spelling, such as a//b, takes the careful way.
        if relative(f"{folder}/a").rpartition("/")[0] != folder:
            return ""
        real = str(require_inside(self.root, self.root / folder, path))
        return "" if self._closed.is_secret_place(real) else as_prefix(real)

    def _opened(self, path: str) -> tuple[int, os.stat_result]:
        """An open regular file and its status. Raises Problem if it may not be read."""
        real = self._allowed(path)
        try:
            return _opened_regular(real)
        except OSError as error:
            raise ValueProblem(
                "Cannot read the file", f'"{path}": {error.strerror or error}'
            ) from error

    def _allowed(self, path: str) -> str:
        """The real path of a file that may be read. Raises Problem.

        Closed files are refused before their existence is checked, so that it is not revealed.
        """
        self._closed.require_open(
            path, str(require_inside(self.root, self.root / relative(path), path))
        )
        return str(require_file(self.root, path))


def _require_size(path: str, size: int, most: int) -> None:
    """Raise Problem if a file is larger than permitted."""
    if size > most:
        detail = f'"{path}" has {size:,} bytes; the maximum is {most:,}.'
        raise ValueProblem("File too large", detail)


def _opened_regular(real: str, flags: int = 0) -> tuple[int, os.stat_result]:
    """An open regular file and its status. Raises OSError for anything else.

    The check applies to the open file, so that replacing it in between has no effect.
    """
    # Not blocking, or opening a pipe would wait for its writer for ever.
    file = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags)
    status = os.fstat(file)
    if stat.S_ISREG(status.st_mode):
        return file, status
    os.close(file)
    raise OSError(errno.EINVAL, "it is not a regular file")


def _require_utf8_name(path: str) -> None:
    """Raise Problem if the name is not UTF-8, which neither the API nor the state can store."""
    try:
        path.encode()
    except UnicodeEncodeError:
        if sys.getfilesystemencoding() == "utf-8":
            cure = "its name is not valid UTF-8. Rename the file, or exclude it with `ignore`."
        else:
            cure = "its name cannot be decoded in this locale. Set LC_ALL=C.UTF-8 or PYTHONUTF8=1."
        shown = path.encode(errors="backslashreplace").decode()
        raise ValueProblem("File name not readable", f'"{shown}": {cure}') from None


class MemberFinder:
    """Finds the members of one `files` field, each once."""

    def __init__(self, files: Files, content: Callable[[str], LocalFile]) -> None:
        """`content` returns what is known of a file; `item_of` receives the item that found each
        member."""
        self._files = files
        self._content = content
        self.members: dict[str, Member] = {}
        self.item_of: dict[str, int] = {}

    def add(self, index: int, item: Mapping[str, Any]) -> None:
        """Add the members of one item. Raises Problem, also for a pattern without matches unless
        the item permits that."""
        shared: dict[str, Any] = {
            name: item.get(name) for name in ("attributes", "chunking_strategy")
        }
        if "file_id" in item:
            self._put(
                index,
                str(item["file_id"]),
                Member(str(item["file_id"]), None, item["file_id"], **shared),
            )
            return
        ignore = [glob for glob in item.get("ignore") or () if isinstance(glob, str)]
        paths = self._files.find(item["path"], ignore)
        for path in paths:
            key = normal(path)
            if len(key) > MAX_KEY:
                raise ValueProblem(
                    "Path too long",
                    f'"{key[:60]}…" has {len(key)} characters; the maximum is {MAX_KEY}.',
                )
            self._put(index, key, Member(key, self._content(path), **shared))
        if not paths and item.get("allow_empty") is not True:
            # A build step that did not run looks the same as a folder that was emptied on purpose.
            raise ValueProblem(
                "No files",
                f'"{item["path"]}" matches no file. If this is intended, add `allow_empty: true`.',
            )

    def _put(self, index: int, key: str, member: Member) -> None:
        if key in self.members:
            other = self.item_of[key]
            if other == index:
                which = "twice by the same item"
            else:
                which = f"by files[{other}] and by files[{index}]"
            raise ValueProblem("File matched twice", f'"{key}" is matched {which}.')
        self.members[key] = member
        self.item_of[key] = index


def _once(known: dict[str, T | ValueProblem], read: Callable[[str], T], path: str) -> T:
    """The result of `read` for a path, or its problem, cached."""
    if path not in known:
        try:
            known[path] = read(path)
        except ValueProblem as problem:
            known[path] = problem
    result = known[path]
    if isinstance(result, ValueProblem):
        raise ValueProblem(result.summary, result.detail)
    return result
