"""Claims about sealed bytes: who can open them, where, and what everybody else is told."""

from __future__ import annotations

import builtins
import hashlib
import json
import os
import struct
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyrage
import pytest
from pyrage import x25519

from reconciler.errors import StateError
from reconciler.model.secret import Redactor, Secret
from reconciler.state.encryption import (
    AgeCipher,
    NoEncryption,
    cipher_of,
    is_sealed,
    opener_of,
    secrets_of,
)

PLAIN = b'{"id": "asst_1"}'
HERE = "acme/prod/segment/7"

Keep = Callable[..., Path]


class Person:
    """Somebody with an age identity."""

    def __init__(self) -> None:
        identity = x25519.Identity.generate()
        self.secret = str(identity)
        self.recipient = str(identity.to_public())


@pytest.fixture
def anna() -> Person:
    return Person()


@pytest.fixture
def ben() -> Person:
    return Person()


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    """Writes a file that only its owner can read."""

    def write(*lines: str, mode: int = 0o600) -> Path:
        path = tmp_path / f"identity{len(list(tmp_path.iterdir()))}.txt"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        path.chmod(mode)
        return path

    return write


@pytest.fixture
def sealed(anna: Person) -> bytes:
    return AgeCipher([anna.recipient]).seal(PLAIN, HERE)


def refusal(cipher: AgeCipher | NoEncryption, sealed: bytes, context: str = HERE) -> str:
    with pytest.raises(StateError) as caught:
        cipher.open(sealed, context)
    assert caught.value.hint
    return f"{caught.value} | {caught.value.hint}"


def wrapped_key(sealed: bytes) -> bytes:
    (length,) = struct.unpack_from(">I", sealed, 7)
    return sealed[11 : 11 + length]


def rewritten(sealed: bytes, *, recipients: int, wrapped: bytes) -> bytes:
    """The bytes with another, valid header."""
    content = b"RCNE\x01" + struct.pack(">HI", recipients, len(wrapped)) + wrapped
    rest = sealed[11 + len(wrapped_key(sealed)) + 8 :]
    return content + hashlib.sha256(content).digest()[:8] + rest


def ssh_key(folder: Path, kind: str, passphrase: str = "") -> tuple[Path, str]:
    path = folder / f"id_{kind}"
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "a comment", "-f", path]
    subprocess.run(command, check=True)
    return path, path.with_suffix(".pub").read_text(encoding="utf-8")


# --- opening --------------------------------------------------------------------------------------


def test_each_recipient_opens_what_was_sealed_for_all(
    anna: Person, ben: Person, keep: Keep
) -> None:
    sealed = AgeCipher([anna.recipient, ben.recipient]).seal(PLAIN, HERE)
    opened = [AgeCipher([], keep(who.secret)).open(sealed, HERE) for who in (anna, ben)]
    assert opened == [PLAIN, PLAIN]


def test_nothing_of_the_content_can_be_read_in_sealed_bytes(sealed: bytes) -> None:
    assert is_sealed(sealed)
    assert b"asst" not in sealed


def test_the_same_bytes_are_sealed_differently_each_time(anna: Person) -> None:
    cipher = AgeCipher([anna.recipient])
    sealed = {cipher.seal(PLAIN, HERE) for _ in range(1000)}
    assert len({value[-len(PLAIN) - 16 :] for value in sealed}) == 1000


def test_each_cipher_has_a_data_key_of_its_own_wrapped_with_age(anna: Person) -> None:
    identity = x25519.Identity.from_str(anna.secret)
    keys = {
        pyrage.decrypt(wrapped_key(AgeCipher([anna.recipient]).seal(PLAIN, HERE)), [identity])
        for _ in range(3)
    }
    assert [len(key) for key in keys] == [32, 32, 32]


def test_empty_bytes_can_be_sealed(anna: Person, keep: Keep) -> None:
    sealed = AgeCipher([anna.recipient]).seal(b"", HERE)
    assert AgeCipher([], keep(anna.secret)).open(sealed, HERE) == b""


def test_the_identity_is_one_of_several_lines_between_comments(
    anna: Person, ben: Person, keep: Keep, sealed: bytes
) -> None:
    path = keep("# created: today", "", ben.secret, f"  {anna.secret}  ", "# the end")
    assert AgeCipher([], path).open(sealed, HERE) == PLAIN


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_an_ssh_key_is_a_recipient_and_an_identity(tmp_path: Path, kind: str) -> None:
    path, recipient = ssh_key(tmp_path, kind)
    sealed = AgeCipher([recipient]).seal(PLAIN, HERE)
    assert AgeCipher([], path).open(sealed, HERE) == PLAIN


def test_many_threads_share_a_cipher(anna: Person, keep: Keep) -> None:
    writer, reader = AgeCipher([anna.recipient]), AgeCipher([], keep(anna.secret))

    def there_and_back(number: int) -> bytes:
        context = f"acme/prod/segment/{number}"
        return reader.open(writer.seal(str(number).encode() * 99, context), context)

    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(there_and_back, range(200)))
    assert opened == [str(number).encode() * 99 for number in range(200)]


def test_a_data_key_is_unwrapped_once(
    anna: Person, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    cipher, path = AgeCipher([anna.recipient]), keep(anna.secret)
    first, second = cipher.seal(b"1", "1"), cipher.seal(b"2", "2")
    reader = AgeCipher([], path)
    opened = [reader.open(first, "1")]
    monkeypatch.setattr("pyrage.decrypt", lambda *_: pytest.fail("unwrapped again"))
    opened.append(reader.open(second, "2"))
    assert opened == [b"1", b"2"]


# --- what does not open ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "elsewhere",
    ["acme/dev/segment/7", "other/prod/segment/7", "acme/prod/segment/8", "acme/prod/snapshot/7"],
)
def test_bytes_moved_to_another_place_do_not_open(
    anna: Person, keep: Keep, sealed: bytes, elsewhere: str
) -> None:
    said = refusal(AgeCipher([], keep(anna.secret)), sealed, elsewhere)
    assert "it was changed, or belongs to another state or position" in said
    assert f'"{elsewhere}"' in said


def test_no_changed_byte_passes(anna: Person, keep: Keep, sealed: bytes) -> None:
    reader = AgeCipher([], keep(anna.secret))
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        refusal(reader, bytes(changed))


def test_no_cut_passes(anna: Person, keep: Keep, sealed: bytes) -> None:
    reader = AgeCipher([], keep(anna.secret))
    for length in range(len(sealed)):
        refusal(reader, sealed[:length])


def test_a_ciphertext_under_the_header_of_another_cipher_does_not_open(
    anna: Person, keep: Keep
) -> None:
    first, second = (AgeCipher([anna.recipient]).seal(PLAIN, HERE) for _ in range(2))
    body = len(PLAIN) + 12 + 16
    mixed = second[:-body] + first[-body:]
    assert "it was changed" in refusal(AgeCipher([], keep(anna.secret)), mixed)


def test_the_header_is_authenticated(anna: Person, keep: Keep, sealed: bytes) -> None:
    reader, wrapped = AgeCipher([], keep(anna.secret)), wrapped_key(sealed)
    assert rewritten(sealed, recipients=1, wrapped=wrapped) == sealed
    said = refusal(reader, rewritten(sealed, recipients=9, wrapped=wrapped))
    assert "it was changed" in said


@pytest.mark.parametrize("length", [0, 5, 16])
def test_a_data_key_of_another_length_is_damage(
    anna: Person, keep: Keep, sealed: bytes, length: int
) -> None:
    recipient = x25519.Recipient.from_str(anna.recipient)
    wrapped = pyrage.encrypt(bytes(length), [recipient])
    said = refusal(
        AgeCipher([], keep(anna.secret)), rewritten(sealed, recipients=1, wrapped=wrapped)
    )
    assert "is damaged" in said


def test_a_damaged_header_is_not_blamed_on_the_identity(
    anna: Person, keep: Keep, sealed: bytes
) -> None:
    changed = sealed.replace(b"X25519", b"X25518", 1)
    assert "is damaged" in refusal(AgeCipher([], keep(anna.secret)), changed)


@pytest.mark.parametrize("data", [b"", b"RC"], ids=["nothing", "the first bytes"])
def test_an_emptied_object_counts_as_damaged_and_not_as_an_empty_state(
    anna: Person, keep: Keep, data: bytes
) -> None:
    assert "is damaged" in refusal(AgeCipher([anna.recipient], keep(anna.secret)), data)


def test_a_newer_format_asks_for_a_newer_program(anna: Person, keep: Keep, sealed: bytes) -> None:
    newer = sealed[:4] + b"\x02" + sealed[5:]
    said = refusal(AgeCipher([], keep(anna.secret)), newer)
    assert "newer version of reconciler (encryption format 2; this version supports" in said


def test_a_stack_without_encryption_refuses_sealed_bytes(sealed: bytes) -> None:
    said = refusal(NoEncryption(), sealed)
    assert "the state is encrypted, but the stack declares no `encryption`" in said
    assert "state rekey" in said


def test_a_stack_without_encryption_stores_bytes_as_they_are() -> None:
    cipher = NoEncryption()
    assert cipher.open(cipher.seal(PLAIN, HERE), "anything") == PLAIN == cipher.seal(PLAIN, HERE)


def test_a_stack_with_encryption_refuses_plain_bytes(anna: Person, keep: Keep) -> None:
    said = refusal(AgeCipher([anna.recipient], keep(anna.secret)), PLAIN)
    assert "is not encrypted, although the stack declares `encryption`" in said
    assert "state rekey" in said


# --- identities -----------------------------------------------------------------------------------


def test_sealing_needs_no_identity_and_opening_does(anna: Person) -> None:
    sealed = cipher_of([anna.recipient], {}).seal(PLAIN, HERE)
    with pytest.raises(StateError, match="RECONCILER_AGE_IDENTITY is not set"):
        cipher_of([anna.recipient], {}).open(sealed, HERE)


def test_the_variable_names_the_identity_file(anna: Person, keep: Keep, sealed: bytes) -> None:
    env = {"RECONCILER_AGE_IDENTITY": str(keep(anna.secret))}
    assert cipher_of([anna.recipient], env).open(sealed, HERE) == PLAIN
    assert opener_of(env).open(sealed, HERE) == PLAIN


def test_a_foreign_identity_says_for_how_many_others_it_was_encrypted(
    anna: Person, ben: Person, keep: Keep
) -> None:
    sealed = AgeCipher([anna.recipient, Person().recipient]).seal(PLAIN, HERE)
    path = keep(ben.secret)
    said = refusal(AgeCipher([ben.recipient], path), sealed)
    assert f"no identity in {path} can decrypt the data" in said
    assert "it was encrypted for 2 other recipients" in said
    assert anna.recipient not in said


def broken_identities(folder: Path) -> dict[str, tuple[Path, str]]:
    """Identity files that cannot be used, each with what is said of it."""

    def write(name: str, content: bytes) -> Path:
        path = folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path

    armored = b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n"
    valid = Person().secret.encode()
    return {
        "missing": (folder / "nowhere", "cannot be read: No such file or directory"),
        "folder": (folder, "cannot be read: Is a directory"),
        "empty": (write("empty", b"# only a comment\n\n"), "contains no identity"),
        "binary": (write("binary", bytes(range(128, 256))), "line 1 of the identity file"),
        "cut": (write("cut", valid + b"\n" + valid[:30]), "line 2 of the identity file"),
        "large": (write("large", b"#" * (1 << 21)), "is too large"),
        "passphrase": (
            write("p", b"age-encryption.org/v1\n-> scrypt"),
            "protected by a passphrase",
        ),
        "armored": (write("armored", armored), "protected by a passphrase, which is not supported"),
        "plugin": (write("plugin", b"AGE-PLUGIN-YUBIKEY-1QQ"), "Plugins are not supported"),
    }


@pytest.mark.parametrize(
    "name",
    ["missing", "folder", "empty", "binary", "cut", "large", "passphrase", "armored", "plugin"],
)
def test_an_unusable_identity_file_is_named_with_what_is_wrong(
    tmp_path: Path, sealed: bytes, name: str
) -> None:
    path, expected = broken_identities(tmp_path)[name]
    said = refusal(AgeCipher([], path), sealed)
    assert expected in said
    assert str(path) in said


def test_an_ssh_key_with_a_passphrase_is_refused(tmp_path: Path) -> None:
    path, recipient = ssh_key(tmp_path, "ed25519", passphrase="correct horse")
    sealed = AgeCipher([recipient]).seal(PLAIN, HERE)
    assert "protected by a passphrase" in refusal(AgeCipher([], path), sealed)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620, 0o644])
def test_an_identity_that_others_can_read_or_replace_is_refused(
    anna: Person, keep: Keep, sealed: bytes, mode: int
) -> None:
    path = keep(anna.secret, mode=mode)
    said = refusal(AgeCipher([], path), sealed)
    assert f"is accessible to other users (mode {mode:04o})" in said
    assert f"chmod 600 {path}" in said


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_the_group_may_read_an_identity_as_orchestrators_mount_it(
    anna: Person, keep: Keep, sealed: bytes, mode: int
) -> None:
    assert AgeCipher([], keep(anna.secret, mode=mode)).open(sealed, HERE) == PLAIN


def test_an_identity_may_come_through_a_pipe_that_can_be_read_once(anna: Person) -> None:
    first, second = (AgeCipher([anna.recipient]).seal(PLAIN, HERE) for _ in range(2))
    reading, writing = os.pipe()
    os.write(writing, anna.secret.encode())
    os.close(writing)
    try:
        cipher = AgeCipher([], Path(f"/dev/fd/{reading}"))
        opened = [cipher.open(first, HERE), cipher.open(second, HERE)]
    finally:
        os.close(reading)
    assert opened == [PLAIN, PLAIN]


def test_an_identity_in_the_variable_itself_is_refused_and_not_shown(anna: Person) -> None:
    redactor = Redactor()
    with pytest.raises(StateError, match="contains an identity, and not the path") as caught:
        opener_of({"RECONCILER_AGE_IDENTITY": anna.secret.lower()}, learn=redactor.add)
    assert anna.secret.lower() not in f"{caught.value}{caught.value.hint}"
    assert redactor.holds(anna.secret.lower())


def test_the_redactor_learns_every_secret_line_before_an_identity_is_refused(
    anna: Person, keep: Keep, sealed: bytes
) -> None:
    redactor = Redactor()
    path = keep("# public key: age1…", anna.secret, "not-an-identity")
    said = refusal(AgeCipher([], path, learn=redactor.add), sealed)
    assert anna.secret not in said
    assert "not-an-identity" not in said
    assert redactor.holds(anna.secret)


def test_the_secret_lines_of_an_ssh_key_are_its_body(tmp_path: Path) -> None:
    path, _ = ssh_key(tmp_path, "ed25519")
    text = path.read_text(encoding="utf-8")
    assert secrets_of(text) == tuple(map(Secret, text.splitlines()[1:-1]))


# --- recipients -----------------------------------------------------------------------------------


def test_no_recipients_mean_no_encryption() -> None:
    assert cipher_of([], {}).seal(PLAIN, HERE) == PLAIN


def test_a_cipher_without_recipients_seals_nothing() -> None:
    with pytest.raises(ValueError, match="without recipients"):
        AgeCipher([]).seal(PLAIN, HERE)


@pytest.mark.parametrize(
    "recipient",
    ["", "age1xyz", "ssh-ed25519 AAAA", "ecdsa-sha2-nistp256 AAAAE2VjZHNh", "a@example.org"],
)
def test_an_invalid_recipient_is_named_with_its_position(anna: Person, recipient: str) -> None:
    with pytest.raises(StateError, match="recipient 2 of `encryption`") as caught:
        cipher_of([anna.recipient, recipient], {})
    assert json.dumps(recipient)[:20] in str(caught.value)


def test_a_private_key_among_the_recipients_is_not_shown(anna: Person) -> None:
    with pytest.raises(StateError, match="recipient 1 of `encryption` is a private") as caught:
        cipher_of([anna.secret], {})
    assert anna.secret[:24] not in f"{caught.value}{caught.value.hint}"


@pytest.mark.parametrize("library", ["pyrage", "cryptography"])
def test_a_missing_package_names_the_extra(
    anna: Person, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == library:
            raise ModuleNotFoundError(f"No module named '{name}'", name=library)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(StateError, match=library) as caught:
        cipher_of([anna.recipient], {})
    assert "extra `encryption`" in caught.value.hint
