"""Encryption of shared states, exports and saved plans for age recipients.

Sealed bytes are a header, a nonce and an AES-256-GCM ciphertext. The header holds the data key,
wrapped with age for every recipient:

    RCNE | version, 1 byte | number of recipients, 2 bytes | length of the wrapped key, 4 bytes
         | wrapped key | SHA-256 of all the above, 8 bytes

Header and context are the associated data, so sealed bytes open only in the context that they were
sealed for. Recipients are public: encryption keeps a state confidential and detects changed or
moved bytes, but anyone who can write to the storage and knows the recipients can seal another
state.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from reconciler.errors import StateError
from reconciler.model.secret import Secret

IDENTITY_VARIABLE = "RECONCILER_AGE_IDENTITY"
MAGIC = b"RCNE"
VERSION = 1

_FIXED = struct.Struct(">4sBHI")
_CHECKSUM_BYTES = 8
_NONCE_BYTES = 12
_TAG_BYTES = 16
_KEY_BYTES = 32
_LARGEST_IDENTITY_FILE = 1 << 20
_SHOWN_CHARACTERS = 24
_AGE_KEY = "AGE-SECRET-KEY-"
_PASSPHRASE_PROTECTED = ("age-encryption.org/", "-----BEGIN AGE ENCRYPTED FILE-----")
# Texts rather than patterns: most stacks declare no encryption and need neither.
_SUSPICIOUS = "(?i)AGE-SECRET-KEY-|AGE-PLUGIN-|PRIVATE KEY"
_SSH_RECIPIENT = "(ssh-ed25519|ssh-rsa) "


class Cipher(Protocol):
    """Seals bytes for a context and opens them in that context only. Safe for use by any thread.

    A context names exactly one place, such as a stack, an environment, a kind and a number.
    """

    def seal(self, plain: bytes, context: str) -> bytes:
        """The bytes as they are stored."""

    def open(self, sealed: bytes, context: str) -> bytes:
        """The inverse of `seal`. Raises StateError."""


class NoEncryption:
    """The cipher of stacks without `encryption`: stores plain bytes, and refuses sealed ones."""

    def seal(self, plain: bytes, context: str) -> bytes:  # noqa: ARG002 - the protocol's
        """The bytes themselves."""
        return plain

    def open(self, sealed: bytes, context: str) -> bytes:  # noqa: ARG002 - the protocol's
        """The bytes themselves. Raises StateError if they are sealed."""
        if is_sealed(sealed):
            raise StateError(
                "the state is encrypted, but the stack declares no `encryption`",
                hint="Restore `encryption` in the stack file. To store the state unencrypted, run "
                "`reconciler state rekey`.",
            )
        return sealed


class AgeCipher:
    """Encrypts for age recipients; decrypts with the identities of a file.

    Each instance makes a data key of its own. `recipients` are `age1…` and SSH public keys; with
    none, the cipher can only open. `identity` is an age identity file or an SSH private key, read
    when something is opened for the first time; None where RECONCILER_AGE_IDENTITY is not set.
    `learn` receives every secret of that file before it is used.

    Raises StateError for an invalid recipient, and where the extra is missing.
    """

    def __init__(
        self,
        recipients: Sequence[str],
        identity: Path | None = None,
        *,
        learn: Callable[[Secret], None] = lambda _: None,
    ) -> None:
        _require_libraries()
        # Error messages name a recipient by its number in the list, because an entry may be a private
        # key by mistake.
        numbers = {text.strip(): number for number, text in enumerate(recipients, 1)}
        self._recipients = [_recipient(text, number) for text, number in numbers.items()]
        self._identity = identity
        self._learn = learn
        self._lock = threading.Lock()
        self._identities: Sequence[Any] | None = None
        self._keys: dict[bytes, bytes] = {}
        """A cache of data keys by their wrapped form. Unwrapping takes longer than decrypting a segment."""
        self._own: tuple[bytes, bytes] | None = None
        """The header of everything that this instance seals, and the data key."""

    def seal(self, plain: bytes, context: str) -> bytes:
        """Encrypt; needs no identity. Raises ValueError for a cipher without recipients."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        header, key = self._own_key()
        # A random nonce is safe: the data key lives only as long as this process, which seals far
        # fewer messages than 96 bits allow.
        nonce = os.urandom(_NONCE_BYTES)
        return header + nonce + AESGCM(key).encrypt(nonce, plain, _associated(header, context))

    def open(self, sealed: bytes, context: str) -> bytes:
        """Decrypt. Raises StateError for data that is not encrypted, and where no identity fits."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        parts = _split(sealed)
        key = self._data_key(parts)
        try:
            return AESGCM(key).decrypt(
                parts.nonce, parts.ciphertext, _associated(parts.header, context)
            )
        except InvalidTag:
            raise StateError(
                f'the data cannot be decrypted as "{context}": it was changed, or belongs to '
                "another state or position",
                hint="Restore what was written here. Encrypted data cannot be edited, renamed or "
                "copied to another place.",
            ) from None

    def _own_key(self) -> tuple[bytes, bytes]:
        import pyrage

        if not self._recipients:
            raise ValueError("a cipher without recipients cannot seal")
        with self._lock:
            # One key for all segments of a run: wrapping it for each would cost more than the rest.
            if self._own is None:
                key = os.urandom(_KEY_BYTES)
                wrapped = pyrage.encrypt(key, self._recipients)
                self._keys[wrapped] = key
                self._own = _header(wrapped, len(self._recipients)), key
            return self._own

    def _data_key(self, parts: _Parts) -> bytes:
        with self._lock:
            if parts.wrapped not in self._keys:
                self._keys[parts.wrapped] = self._unwrapped(parts)
            return self._keys[parts.wrapped]

    def _unwrapped(self, parts: _Parts) -> bytes:
        import pyrage

        if self._identity is None:
            raise StateError(
                f"the data is encrypted, and {IDENTITY_VARIABLE} is not set",
                hint=f"Set {IDENTITY_VARIABLE} to the path of an age identity file.",
            )
        if self._identities is None:
            self._identities = _read_identities(self._identity, self._learn)
        try:
            key = bytes(pyrage.decrypt(parts.wrapped, self._identities))
        except pyrage.DecryptError:
            raise StateError(
                f"no identity in {self._identity} can decrypt the data: it was encrypted for "
                f"{_recipients(parts.recipients)}",
                hint=f"Set {IDENTITY_VARIABLE} to the identity file of a recipient. Or let a "
                "recipient add yours to `encryption` and encrypt again: `reconciler state rekey` "
                "for a state, `plan --out` for a plan.",
            ) from None
        # An attacker who can write to the storage could have wrapped any bytes.
        if len(key) != _KEY_BYTES:
            raise _damaged()
        return key


def cipher_of(
    recipients: Sequence[str],
    env: Mapping[str, str],
    *,
    learn: Callable[[Secret], None] = lambda _: None,
) -> Cipher:
    """The cipher of a stack that declares these recipients; none means no encryption."""
    return opener_of(env, recipients, learn=learn) if recipients else NoEncryption()


def opener_of(
    env: Mapping[str, str],
    recipients: Sequence[str] = (),
    *,
    learn: Callable[[Secret], None] = lambda _: None,
) -> AgeCipher:
    """A cipher that opens sealed data, even if the stack no longer declares `encryption`."""
    value = env.get(IDENTITY_VARIABLE)
    # The variable holds a path. A user may put the key itself there, and errors about a missing
    # file would print it.
    if value and (re.search(_SUSPICIOUS, value) or "\n" in value):
        for secret in secrets_of(value):
            learn(secret)
        raise StateError(
            f"{IDENTITY_VARIABLE} contains an identity, and not the path of a file",
            hint=f"Write the identity to a file that only you can read, and set "
            f"{IDENTITY_VARIABLE} to its path.",
        )
    return AgeCipher(recipients, Path(value) if value else None, learn=learn)


def is_sealed(data: bytes) -> bool:
    """Whether the data was written by a cipher that encrypts."""
    return data.startswith(MAGIC)


def secrets_of(identities: str) -> tuple[Secret, ...]:
    """The secret lines of an identity file, for the redactor."""
    secrets = []
    for line in identities.splitlines():
        text = line.strip()
        # Comments, and the first and last line of an SSH key, are public.
        if text and not text.startswith(("#", "-----")):
            secrets.append(Secret(text))
    return tuple(secrets)


class _Parts(Struct, frozen=True):
    """The parts of sealed bytes."""

    header: bytes
    recipients: int
    wrapped: bytes
    nonce: bytes
    ciphertext: bytes


def _header(wrapped: bytes, recipients: int) -> bytes:
    content = _FIXED.pack(MAGIC, VERSION, recipients, len(wrapped)) + wrapped
    return content + _checksum(content)


def _split(sealed: bytes) -> _Parts:
    if not is_sealed(sealed):
        if MAGIC.startswith(sealed):  # nothing, or cut off within the first bytes
            raise _damaged()
        raise StateError(
            "the state is not encrypted, although the stack declares `encryption`",
            hint="Run `reconciler state rekey` to encrypt it. If it was encrypted before, find out "
            "first who replaced it.",
        )
    # The version first: a newer format may have another header, and must not look like damage.
    version = sealed[len(MAGIC) : len(MAGIC) + 1]
    if version > bytes([VERSION]):
        raise StateError(
            f"the data was encrypted by a newer version of reconciler (encryption format "
            f"{version[0]}; this version supports formats up to {VERSION})",
            hint="Use the version of reconciler that wrote it, or a later one.",
        )
    if len(sealed) < _FIXED.size:
        raise _damaged()
    _, number, recipients, wrapped_bytes = _FIXED.unpack_from(sealed)
    content = sealed[: _FIXED.size + wrapped_bytes]
    end = len(content) + _CHECKSUM_BYTES
    intact = sealed[len(content) : end] == _checksum(content)
    rest = sealed[end:]
    if number != VERSION or not intact or len(rest) < _NONCE_BYTES + _TAG_BYTES:
        raise _damaged()
    return _Parts(
        sealed[:end],
        recipients,
        content[_FIXED.size :],
        rest[:_NONCE_BYTES],
        rest[_NONCE_BYTES:],
    )


def _checksum(content: bytes) -> bytes:
    """Tells damage from an identity that does not fit. Authenticity is proved by the cipher."""
    return hashlib.sha256(content).digest()[:_CHECKSUM_BYTES]


def _associated(header: bytes, context: str) -> bytes:
    # The header contains its own length, so no other header and context have the same bytes.
    return header + context.encode()


def _damaged() -> StateError:
    return StateError(
        "the encrypted data is damaged: it was cut off or changed",
        hint="Restore it from a backup or an export.",
    )


def _require_libraries() -> None:
    try:
        import cryptography.hazmat.primitives.ciphers.aead  # noqa: F401 - whether it is installed
        import pyrage  # noqa: F401 - whether it is installed
    except ImportError as error:
        raise StateError(
            f"encryption needs packages that are not installed: {error.name}",
            hint="Install reconciler with its extra `encryption`.",
        ) from error


def _recipient(text: str, number: int) -> Any:
    import pyrage

    if re.search(_SUSPICIOUS, text):
        raise StateError(
            f"recipient {number} of `encryption` is a private identity, not a public key",
            hint="Make a new identity, and declare its public key. Whoever read the stack file "
            "knows this one.",
        )
    is_ssh = re.match(_SSH_RECIPIENT, text) is not None
    parse = pyrage.ssh.Recipient.from_str if is_ssh else pyrage.x25519.Recipient.from_str
    try:
        return parse(text)
    except pyrage.RecipientError:
        shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
        raise StateError(
            f'recipient {number} of `encryption` is not a public key that is supported: "{shown}"',
            hint="Use the `age1…` key that `age-keygen -y` prints, or an SSH key of type "
            "ssh-ed25519 or ssh-rsa.",
        ) from None


def _read_identities(path: Path, learn: Callable[[Secret], None]) -> Sequence[Any]:
    content = _read_private(path)
    text = content.decode("utf-8", "replace")
    # Before anything can fail, because an error of the library may quote a line.
    for secret in secrets_of(text):
        learn(secret)
    if text.startswith(_PASSPHRASE_PROTECTED):
        raise StateError(
            f"the identity file {path} is protected by a passphrase, which is not supported",
            hint="Decrypt it with `age --decrypt` to a file that only you can read, and set "
            f"{IDENTITY_VARIABLE} to that file.",
        )
    if text.startswith("-----BEGIN"):
        return [_ssh_identity(path, content)]
    identities = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.strip().startswith("#"):
            identities.append(_age_identity(path, number, line.strip()))
    if not identities:
        raise StateError(
            f"the identity file {path} contains no identity",
            hint="`age-keygen -o FILE` writes an identity file.",
        )
    return identities


def _read_private(path: Path) -> bytes:
    """The content of the identity file. Raises StateError for a file that others can access."""
    try:
        with path.open("rb") as stream:
            # The open file, not the path: the file behind the path could be replaced in between.
            _refuse_public(path, os.fstat(stream.fileno()))
            content = stream.read(_LARGEST_IDENTITY_FILE + 1)
    except OSError as error:
        raise StateError(
            f"the identity file {path} cannot be read: {error.strerror or error}",
            hint=f"{IDENTITY_VARIABLE} names it. Set it to the path of an age identity file.",
        ) from error
    if len(content) > _LARGEST_IDENTITY_FILE:
        raise StateError(
            f"the identity file {path} is too large to be one",
            hint=f"Set {IDENTITY_VARIABLE} to the path of an age identity file.",
        )
    return content


def _refuse_public(path: Path, status: os.stat_result) -> None:
    # Unlike in ssh, the group may read: Kubernetes mounts secrets like that if `fsGroup` is set.
    open_to = status.st_mode & (stat.S_IRWXO | stat.S_IWGRP)
    if os.name == "posix" and open_to:
        raise StateError(
            f"the identity file {path} is accessible to other users "
            f"(mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"Run `chmod 600 {path}`.",
        )


def _ssh_identity(path: Path, content: bytes) -> Any:
    import pyrage

    try:
        return pyrage.ssh.Identity.from_buffer(content)
    except pyrage.IdentityError:
        raise StateError(
            f"the SSH key {path} cannot be used: it is protected by a passphrase, of an "
            "unsupported type, or damaged",
            hint="Use a key of type ed25519 or RSA without a passphrase, or an age identity.",
        ) from None


def _age_identity(path: Path, number: int, line: str) -> Any:
    import pyrage

    try:
        return pyrage.x25519.Identity.from_str(line)
    except pyrage.IdentityError:
        raise StateError(
            f"line {number} of the identity file {path} is not a supported identity",
            hint=f"Identities are lines that begin with {_AGE_KEY}1. Plugins are not supported.",
        ) from None


def _recipients(number: int) -> str:
    return "another recipient" if number == 1 else f"{number} other recipients"
