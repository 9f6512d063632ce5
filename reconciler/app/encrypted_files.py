"""Saved plans and exports of stacks that declare `encryption`."""

from __future__ import annotations

from reconciler.app.session import Session
from reconciler.errors import StateError
from reconciler.state.encryption import opener_of
from reconciler.state.envelope import Content, disclose, enclose


def check_can_encrypt(session: Session) -> None:
    """Raise StateError if `encrypted` could not work, before a long run depends on it."""
    session.cipher.seal(b"", "")


def encrypted(session: Session, content: Content, text: str) -> str:
    """The text as its file holds it: unchanged where the stack declares no encryption."""
    stack = session.stack
    if not stack.recipients:
        return text
    return enclose(text, session.cipher, content, stack=stack.name, environment=stack.environment)


def decrypted(session: Session, content: Content, text: str, *, name: str) -> str:
    """The text of a file, encrypted or not, whatever the stack declares now; reads no manifest.

    Raises StateError naming the file.
    """
    settings = session.settings
    try:
        return disclose(text, lambda: opener_of(settings.env, learn=settings.learn), content)
    except StateError as error:
        raise StateError(f"{name}: {error}", hint=error.hint) from error
