"""Keys: which credential makes a call.

The admin key of the organization and the keys of projects are disjoint: neither can make the calls
of the other. An apply may write a project's key into a file that is a credential of the same stack,
so files are read when a key is needed, not before. A project without a credential of its own uses
the key that this apply created for it, else the default key.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from reconciler.errors import CredentialError
from reconciler.model.address import Address
from reconciler.model.secret import Secret

_MAX_FILE_BYTES = 8192
# The API shows a key as `sk-abc...xyz`, with dots or stars by route.
_HIDDEN = re.compile(r"[*.•…]+")
# The fewest last characters that identify a redacted key: all keys begin alike.
_SHOWN_END = 3


class CredentialLike(Protocol):
    """A credential of the stack: a description of its source, and its value or its file.

    `file` is a path below the stack's folder. `from_sink` is the resource whose delivered key it
    is. All are None where the source is empty, such as an environment variable that is not set.
    """

    @property
    def source(self) -> str: ...

    @property
    def secret(self) -> Secret | None: ...

    @property
    def file(self) -> str | None: ...

    @property
    def from_sink(self) -> Address | None: ...


class Key(Struct, frozen=True):
    """A key that can make calls now. `source` describes where it comes from.

    `project` is the project's name in the configuration. `project_id` is sent along if it is known:
    the API then refuses a key of another project instead of writing to the wrong place.
    """

    secret: Secret
    source: str
    is_admin: bool = False
    project: str | None = None
    project_id: str | None = None


class KeyRing:
    """All credentials of a stack. Safe to use from threads."""

    def __init__(
        self,
        *,
        admin: CredentialLike | None,
        default: CredentialLike | None,
        projects: Mapping[str, CredentialLike],
        root: Path,
        recall: Callable[[Address], Secret | None] = lambda _: None,
    ) -> None:
        self._admin = admin
        self._default = default
        self._projects = dict(projects)
        self._root = root
        self._recall = recall
        self._recalled: dict[Address, Secret | None] = {}
        self._learnt: dict[str, tuple[Secret, str]] = {}
        self._renewed: dict[Address, tuple[Secret, str]] = {}
        self._lock = threading.Lock()
        self._recalling = threading.Lock()
        """Held while a key is read, so that threads do not read it twice."""

    def admin(self) -> Key:
        """The organization's admin key; raises CredentialError where there is none."""
        secret = self._value(self._admin)
        if secret is None or self._admin is None:
            raise CredentialError(
                f"No admin key: {_why_missing(self._admin)}.",
                hint="Set OPENAI_ADMIN_KEY, or credentials.admin in the stack file. Projects, rate "
                "limits and service accounts need a key of the organization's admin API.",
            )
        return Key(secret, self._admin.source, is_admin=True)

    def for_project(self, name: str | None) -> Key:
        """The key for a project, None for the default key; raises CredentialError."""
        configured = self._find(name)
        if configured is not None:
            secret, source = configured
            return Key(secret, source, project=name)
        if name is None:
            raise CredentialError(
                f"No API key: {_why_missing(self._default)}.",
                hint="Set OPENAI_API_KEY, or credentials.default in the stack file.",
            )
        credential = self._projects.get(name, self._default)
        raise CredentialError(
            f'No API key for the project "{name}": {_why_missing(credential)}.',
            hint=f"Set credentials.projects.{name} in the stack file, to a variable or to the file "
            "that one of the project's service accounts writes its key to.",
        )

    def has_project(self, name: str | None) -> bool:
        """Whether there is a key for the project now; None is the project of the default key."""
        return self._find(name) is not None

    def is_in_use(self, redacted: str) -> bool:
        """Whether a redacted key is one of the keys that this program runs with.

        Keys in files are left out: another guard protects keys whose deliveries are known.
        """
        if not _HIDDEN.search(redacted):
            return False
        begin, *_, end = _HIDDEN.split(redacted)
        if len(end) < _SHOWN_END:
            return False
        for credential in (self._admin, self._default, *self._projects.values()):
            if credential is None or credential.secret is None:
                continue
            secret = credential.secret.reveal()
            if secret.startswith(begin) and secret.endswith(end):
                return True
        return False

    def learn(
        self,
        project: str,
        secret: Secret,
        *,
        writer: Address | None = None,
        source: str = "a key created by this apply",
    ) -> None:
        """Remember a new key, for use while the project has no other credential.

        It also replaces the earlier key of `writer` where a credential names that resource.
        """
        with self._lock:
            self._learnt.setdefault(project, (secret, source))
            if writer is not None:
                self._renewed[writer] = (secret, source)

    def _find(self, name: str | None) -> tuple[Secret, str] | None:
        if name is None:
            return self._sourced(self._default)
        own = self._projects.get(name)
        renewed = None
        with self._lock:
            learnt = self._learnt.get(name)
            if own is not None and own.from_sink is not None:
                renewed = self._renewed.get(own.from_sink)
        # A project with a credential of its own never falls back to the default key, even while the
        # credential is missing: the objects would be created in another project.
        if own is None:
            return learnt or self._sourced(self._default)
        # A key in a sink is read once a run, so a key that this run created for the same resource
        # is newer. The key of another resource may have fewer permissions.
        return renewed or self._sourced(own) or learnt

    def _sourced(self, credential: CredentialLike | None) -> tuple[Secret, str] | None:
        secret = self._value(credential)
        if secret is None or credential is None:
            return None
        return secret, credential.source

    def _value(self, credential: CredentialLike | None) -> Secret | None:
        if credential is None:
            return None
        # Read at each call: this apply may write the file.
        if credential.file is not None:
            return self._from_file(credential.file)
        if credential.from_sink is not None:
            return self._from_sink(credential.from_sink, credential.source)
        if credential.secret is None:
            return None
        return _checked(credential.secret.reveal(), credential.source)

    def _from_sink(self, writer: Address, source: str) -> Secret | None:
        """A key from its destination, None where it cannot be read. A new key has to be learnt."""
        with self._recalling:
            # One read serves the run, also one that failed: a destination that does not answer would
            # delay every read of the project.
            if writer not in self._recalled:
                secret = self._recall(writer)
                self._recalled[writer] = None
                if secret is not None:
                    self._recalled[writer] = _checked(secret.reveal(), source)
            return self._recalled[writer]

    def _from_file(self, name: str) -> Secret | None:
        # A link must not lead to a file that the stack does not own.
        path = (self._root / name).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise CredentialError(f'The credential file "{name}" is outside the stack\'s folder.')
        try:
            with path.open("rb") as file:
                text = file.read(_MAX_FILE_BYTES).decode()
        # The apply that creates the key writes the file.
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise CredentialError(
                f'The credential file "{name}" cannot be read: {type(error).__name__}.'
            ) from None
        return _checked(text, f'The credential file "{name}"')


def _checked(text: str, source: str) -> Secret | None:
    """The key in a text, stripped. A header takes one word of printable ASCII."""
    key = text.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise CredentialError(
            f"{source} does not hold a key: one line of plain text without spaces is expected."
        )
    if not key:
        return None
    return Secret(key)


def _why_missing(credential: CredentialLike | None) -> str:
    if credential is None:
        return "none is configured"
    if credential.from_sink is not None:
        return f"{credential.source} has none, or it cannot be read"
    if credential.file is not None:
        return f'the file "{credential.file}" is not there yet'
    return f"{credential.source} is empty"
