"""Moves, checks and re-encrypts a state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from reconciler.app.applying import holding, locked
from reconciler.app.session import Session
from reconciler.app.states import ReadsBoth, StateOpener, location_of, opener_for
from reconciler.errors import StateError, UsageError
from reconciler.state import StateStore
from reconciler.state.address import BackendAddress
from reconciler.state.encryption import Cipher, opener_of
from reconciler.state.remote.storage import StorageFinding


def migrate(session: Session, target: BackendAddress) -> None:
    """Move the state to another address, with its journal and history.

    Raises StateError where there is a state already, and LockedError where one of both is in use.
    """
    here = location_of(session.stack, session.settings)
    if target.shown == here.shown:
        raise UsageError(f"the state is at {here.shown} already")
    opener = opener_for(session.stack, session.settings, session.server_clock)
    with locked(session, "state migrate"):
        with closing(opener.at(target, session.cipher, writable=True)) as copy:
            # The new address is the same storage: the copy sees the lock that we have just taken.
            if copy.holder() == session.store.holder():
                raise UsageError(f"{target.shown} and {here.shown} are the same state")
            _copy(session, session.store, copy)
        # A kill before this line leaves two equal states, of which the old one is still in use.
        session.store.remarks.mark_moved(target.shown)


def rekey(session: Session) -> None:
    """Store the whole state again, encrypted for the recipients that the stack declares now.

    Without recipients it is stored unencrypted.
    """
    here = location_of(session.stack, session.settings)
    opener = opener_for(session.stack, session.settings, session.server_clock)
    # The stored state may be encrypted for other recipients, or not at all.
    cipher = ReadsBoth(lambda: opener_of(session.settings.env), session.cipher)
    if here.folder is None:
        _rewrite(session, opener.at(here, cipher, writable=True))
        return
    plain, log = opener.plain_path(here.folder), opener.log_path(here.folder)
    old, new = (plain, log) if session.stack.recipients else (log, plain)
    source, copy = (_file(opener, here.folder, cipher, path) for path in (old, new))
    if old.exists():
        _convert(session, source, copy)
        for file in (old, old.with_name(f"{old.name}.lock")):
            file.unlink(missing_ok=True)
    elif not new.exists():
        raise UsageError(f"there is no state in {here.folder}")
    else:
        _rewrite(session, copy())


def check(session: Session) -> Iterator[StorageFinding]:
    """Prove that the backend supports locking and fencing, and that its state is complete."""
    here = location_of(session.stack, session.settings)
    if here.folder is None:
        opener = opener_for(session.stack, session.settings, session.server_clock)
        with closing(opener.storage(here)) as storage:
            storage.prepare()
            yield from storage.probe()
    yield _check_content(session)


def _check_content(session: Session) -> StorageFinding:
    claim = "The state is readable, complete and undamaged"
    try:
        store = session.store
        store.check()
        records = len(store.records())
        noun = "resource" if records == 1 else "resources"
        detail = f"{records} {noun}, serial {store.serial}"
    except StateError as error:
        return StorageFinding(
            claim, holds=False, detail=f"{error}. {error.hint}".rstrip(". ") + "."
        )
    return StorageFinding(claim, holds=True, detail=detail)


def _file(
    opener: StateOpener, folder: Path, cipher: Cipher, path: Path
) -> Callable[[], StateStore]:
    """Open the local state in a file, whose name shows whether it is encrypted."""
    if path == opener.log_path(folder):
        return lambda: opener.encrypted_file(folder, cipher)
    return lambda: opener.plain_file(folder, writable=True)


def _convert(
    session: Session, old: Callable[[], StateStore], new: Callable[[], StateStore]
) -> None:
    """Copy a local state into the other kind of file. The caller removes the old file."""
    with closing(old()) as source, holding(session, source, "state rekey"):
        # If an earlier attempt was killed after this line, the copy is complete, and only the
        # removal is left.
        if not source.remarks.moved_to:
            with closing(new()) as copy:
                _copy(session, source, copy)
            source.remarks.mark_moved("the other file of the same folder")


def _copy(session: Session, source: StateStore, copy: StateStore) -> None:
    from reconciler.state.transfer import copy_state

    with holding(session, copy, "state migrate"):
        copy_state(source, copy)
        copy.rewrite()


def _rewrite(session: Session, store: StateStore) -> None:
    with closing(store), holding(session, store, "state rekey"):
        store.rewrite()
