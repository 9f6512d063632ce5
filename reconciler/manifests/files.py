"""The files that manifests name: texts to insert, bytes to upload, folders to keep in step.

Every file is read once per run, however many resources name it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from reconciler.manifests.configuration import STATE_FOLDER
from reconciler.manifests.load import MAX_BYTES
from reconciler.manifests.paths import Glob, compile_globs, normal, relative, require_file, require_inside, walk
from reconciler.manifests.problems import Problem
from reconciler.model.values import LocalFile, Member

T = TypeVar("T")

_LEAK = "A credential does not belong in a manifest"
_CHUNK_BYTES = 1 << 20
_PROOFS = (".reconciler", ".reconciler-new")
"""How the files are called that `secrets/files.py` leaves beside a key: `.NAME.reconciler`."""

SENT_FOLDER = "secrets"
"""The folder with the files whose text manifests may send to the API, and may not read."""

MAX_KEY = 512
"""The path of a member is kept in an attribute, and those end here."""


class Files:
    """The stack's folder, seen through what manifests may read of it."""

    def __init__(self, root: Path, *, withheld: Iterable[Path] = (), secrets: Iterable[bytes] = ()) -> None:
        """`withheld` are files that hold keys: their bytes must not get into any resource, and no `secrets` either."""
        self.root = root.resolve()
        self.secrets = tuple(secrets)
        self._closed: tuple[str, ...] = (_as_prefix(self.root / STATE_FOLDER),)
        # Paths are kept and compared as text: a Path takes several times as long, and folders have very many files.
        self._withheld = {os.path.realpath(path) for path in withheld}
        self._sent: set[str] = set()
        self._folders: dict[str, tuple[str, frozenset[str] | None]] = {}
        self._hidden: dict[str, frozenset[str] | None] = {}
        self._texts: dict[str, str | Problem] = {}
        self._contents: dict[str, LocalFile | Problem] = {}

    def withhold(self, path: Path) -> None:
        """Keep one more file out of every resource."""
        self._withheld.add(os.path.realpath(path))  # Path.resolve would raise where a link leads to itself

    def withhold_folder(self, folder: Path) -> None:
        """Keep a folder out of every resource, unless everything is in it."""
        real = Path(os.path.realpath(folder))
        if not self.root.is_relative_to(real):
            self._closed += (_as_prefix(real),)

    def text(self, path: str) -> str:
        """The text of a file, for `${file:PATH}`; raises Problem."""
        return _once(self._texts, self._read_text, path)

    def secret_text(self, path: str) -> str | None:
        """What a file of secrets holds, without the end of its line; None where there is no such file.

        From now on nothing else can have it. Raises Problem.
        """
        real = require_inside(self.root, self.root / relative(path), path)
        if not real.is_relative_to(self.root / SENT_FOLDER):
            raise Problem("Not a file of secrets", f'"{path}" leads out of "{SENT_FOLDER}/".')
        self._require_open(path, str(real))
        self._sent.add(str(real))
        return self._decoded(path, str(require_file(self.root, path))).removesuffix("\n") if real.exists() else None

    def content(self, path: str) -> LocalFile:
        """What a file's bytes are, for an upload; raises Problem."""
        return _once(self._contents, self._read_content, path)

    def unread(self, path: str) -> LocalFile:
        """A file that may be read, and is not yet: all but its bytes is known to be right; raises Problem.

        What needs a closer look, such as a link, is read at once.
        """
        real = self._plain_place(path)
        try:
            is_regular = real is not None and stat.S_ISREG(os.lstat(real).st_mode)
        except (OSError, ValueError):  # a closer look says what it is
            is_regular = False
        return LocalFile(path, "", 0) if is_regular else self.content(path)

    def find(self, pattern: str, ignore: Sequence[str]) -> list[str]:
        """The files that a glob matches and no ignore pattern does, sorted; raises Problem.

        Ignore patterns are held against the path below the stack's folder and below the glob's fixed part. A pattern
        that matches a folder ignores what is in it.
        """
        glob = Glob(normal(relative(pattern)))
        if not glob.is_wild:
            require_file(self.root, glob.pattern)
            return [glob.pattern]
        ignored = compile_globs(ignore, contents=True) if ignore else None
        cut = len(glob.prefix) + 1 if glob.prefix else 0

        def is_meant(path: str) -> bool:
            name = normal(path)
            if not glob.matches(name):
                return False
            return ignored is None or not (ignored.fullmatch(name) or ignored.fullmatch(name[cut:]))

        require_inside(self.root, self.root / glob.prefix, pattern)
        for path in self._keys_to_come(glob):
            if is_meant(path):
                detail = f'"{path}" will hold a key, and "{pattern}" matches it: no resource may contain it.'
                raise Problem(_LEAK, detail)
        return [path for path in walk(self.root, glob.prefix, depth=glob.depth) if is_meant(path)]

    def _keys_to_come(self, glob: Glob) -> list[str]:
        """The key files below a glob's fixed part that do not exist yet; hidden ones are never found."""
        below = self.root / glob.prefix
        folder = _as_prefix(below)
        inside = (Path(path) for path in self._withheld if path == str(below) or path.startswith(folder))
        missing = (path for path in inside if not path.exists())
        visible = (path for path in missing if not any(part[0] == "." for part in path.relative_to(below).parts))
        return sorted(path.relative_to(self.root).as_posix() for path in visible)

    def _read_text(self, path: str) -> str:
        return self._decoded(path, self._allowed(path))

    def _decoded(self, path: str, real: str) -> str:
        try:
            with open(real, "rb") as file:  # noqa: PTH123
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise Problem("Cannot read the file", f'"{path}": {error.strerror or error}') from error
        if len(data) > MAX_BYTES:
            raise Problem("File too large", f'"{path}" has more than {MAX_BYTES // 1_000_000} MB.')
        try:
            return data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise Problem("Not UTF-8", f'"{path}" is not text in UTF-8.') from error

    def _read_content(self, path: str) -> LocalFile:
        plain = self._opened_plainly(path)
        file, size = plain or self._opened(path)
        try:
            if size >= _CHUNK_BYTES:
                return self._read_large(path, file)
            data = os.read(file, size + 1)
            while len(data) > size and (more := os.read(file, _CHUNK_BYTES)):  # it grew meanwhile
                data += more
            self._refuse_keys(path, data)
            return LocalFile(path if plain else relative(path), hashlib.sha256(data).hexdigest(), len(data))
        except OSError as error:
            raise Problem("Cannot read the file", f'"{path}": {error.strerror or error}') from error
        finally:
            os.close(file)

    def _read_large(self, path: str, file: int) -> LocalFile:
        hashed, size, tail = hashlib.sha256(), 0, b""
        keep = max(map(len, self.secrets), default=1) - 1
        while chunk := os.read(file, _CHUNK_BYTES):
            window = tail + chunk
            self._refuse_keys(path, window)
            hashed.update(chunk)
            size, tail = size + len(chunk), window[-keep:] if keep else b""
        return LocalFile(relative(path), hashed.hexdigest(), size)

    def _refuse_keys(self, path: str, data: bytes) -> None:
        for secret in self.secrets:
            if secret in data:
                raise Problem(_LEAK, f'"{path}" contains a key that is in use: no resource may contain it.')

    def _opened_plainly(self, path: str) -> tuple[int, int] | None:
        """A regular file and its size in bytes, where it needs no closer look."""
        real = self._plain_place(path)
        if real is None:
            return None
        try:
            return _opened_regular(real, os.O_NOFOLLOW)
        except (OSError, ValueError):  # whatever it is, a closer look says so
            return None

    def _plain_place(self, path: str) -> str | None:
        """Where a file is, if it is no link; None for what needs a closer look by its name, or by where it is.

        Following each folder once, and not once for each of its files, is most of what a large folder costs.
        """
        folder, _, name = path.rpartition("/")
        if not folder or not name or name[0] == ".":
            return None
        known = self._folders.get(folder)
        if known is None:
            known = self._folders[folder] = self._followed(folder, path)
        prefix, hidden = known
        real = f"{prefix}{name}"
        if real in self._withheld or real in self._sent or real.startswith(self._closed):
            return None
        if hidden is None or (hidden and f".{name}{_PROOFS[0]}" in hidden):
            return None
        return real

    def _followed(self, folder: str, path: str) -> tuple[str, frozenset[str] | None]:
        """Where a folder really is, with a separator at the end, and the hidden names in it.

        None for these where what is in the folder needs a closer look: it cannot be listed, or is spelt in another way.
        """
        if relative(f"{folder}/a").rpartition("/")[0] != folder:
            return "", None
        prefix = _as_prefix(require_inside(self.root, self.root / folder, path))
        return prefix, self._hidden_in(prefix)

    def _opened(self, path: str) -> tuple[int, int]:
        """A regular file that may be read, open, and its size in bytes; raises Problem."""
        real = self._allowed(path)
        try:
            return _opened_regular(real)
        except OSError as error:
            raise Problem("Cannot read the file", f'"{path}": {error.strerror or error}') from error

    def _allowed(self, path: str) -> str:
        """Where a file really is that may be read; raises Problem."""
        real = str(require_file(self.root, path))
        if real in self._sent:
            raise Problem(_LEAK, f'"{path}" holds a secret that is sent to the API: nothing else may contain it.')
        self._require_open(path, real)
        return real

    def _require_open(self, path: str, real: str) -> None:
        if real in self._withheld or self._is_delivered(real):
            raise Problem(_LEAK, f'"{path}" holds a key: no resource may contain it.')
        if _as_prefix(real).startswith(self._closed):
            raise Problem("Not a file of the stack", f'"{path}" belongs to the state, and not to any resource.')

    def _is_delivered(self, real: str) -> bool:
        """Whether a key was once delivered to a file: whatever the manifests say today, its proof lies beside it."""
        folder, _, name = real.rpartition(os.sep)
        is_proof = name.startswith(".") and name.endswith(_PROOFS)
        hidden, proof = self._hidden_in(f"{folder}{os.sep}"), f".{name}{_PROOFS[0]}"
        return is_proof or (os.path.exists(f"{folder}{os.sep}{proof}") if hidden is None else proof in hidden)  # noqa: PTH110

    def _hidden_in(self, prefix: str) -> frozenset[str] | None:
        """The hidden names in a folder; None where it can be entered and not listed."""
        if prefix not in self._hidden:
            self._hidden[prefix] = _hidden_names(prefix)
        return self._hidden[prefix]


def _opened_regular(real: str, flags: int = 0) -> tuple[int, int]:
    """A regular file, open, and its size in bytes; raises OSError where it is something else.

    What is tested is what was opened, so nobody can put something else in its place in between.
    """
    file = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags)
    status = os.fstat(file)
    if stat.S_ISREG(status.st_mode):
        return file, status.st_size
    os.close(file)
    raise OSError(errno.EINVAL, "it is not a regular file")


def _hidden_names(folder: str) -> frozenset[str] | None:
    """The hidden names in a folder; None where it can be entered and not listed."""
    try:
        return frozenset(name for name in os.listdir(folder) if name[0] == ".")  # noqa: PTH208
    except OSError:
        return None


def _as_prefix(path: Path | str) -> str:
    """What the path and everything below it begin with, once written with a separator at the end."""
    text = os.fspath(path)
    return text if text.endswith(os.sep) else f"{text}{os.sep}"


class MemberFinder:
    """The members that the items of one `files` field come to, each found once."""

    def __init__(self, files: Files, content: Callable[[str], LocalFile]) -> None:
        """`content` gives what a file is known to hold; `item_of` says by which item each member was found."""
        self._files = files
        self._content = content
        self.members: dict[str, Member] = {}
        self.item_of: dict[str, int] = {}

    def add(self, index: int, item: Mapping[str, Any]) -> str:
        """Take in one item; raises Problem. The answer is a warning, or empty."""
        shared: dict[str, Any] = {name: item.get(name) for name in ("attributes", "chunking_strategy")}
        if "file_id" in item:
            self._put(index, str(item["file_id"]), Member(str(item["file_id"]), None, item["file_id"], **shared))
            return ""
        ignore = [one for one in item.get("ignore") or () if isinstance(one, str)]
        found = self._files.find(item["path"], ignore)
        for path in found:
            key = normal(path)
            if len(key) > MAX_KEY:
                raise Problem("Path too long", f'"{key[:60]}…" has {len(key)} characters; {MAX_KEY} fit.')
            self._put(index, key, Member(key, self._content(path), **shared))
        return "" if found else f'"{item["path"]}" matches no file.'

    def _put(self, index: int, key: str, member: Member) -> None:
        if key in self.members:
            other = self.item_of[key]
            which = "twice by the same item" if other == index else f"by files[{other}] and by files[{index}]"
            raise Problem("File matched twice", f'"{key}" is matched {which}.')
        self.members[key] = member
        self.item_of[key] = index


def _once(known: dict[str, T | Problem], read: Callable[[str], T], path: str) -> T:
    """What `read` gives for a path, or the problem that it raises, each found out once."""
    if path not in known:
        try:
            known[path] = read(path)
        except Problem as problem:
            known[path] = problem
    found = known[path]
    if isinstance(found, Problem):
        raise Problem(found.summary, found.detail)
    return found
