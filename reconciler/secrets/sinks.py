"""Sinks: they move a key from the API's answer into a file or a command, and keep no copy.

A target is the `write_to` of a manifest, `{file: PATH}` or `{command: [ARG, …]}`. The state stores
the receipt of a delivery. It names the target and recognises the key, and does not contain it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from reconciler.errors import SinkError
from reconciler.model.address import Address
from reconciler.model.secret import Redactor, Secret
from reconciler.model.values import Spec
from reconciler.secrets.commands import CommandSink, Runner, run_program
from reconciler.secrets.files import FileSink


class SinkSet:
    """All sinks, behind the `Sinks` protocol. Thread-safe.

    `root` is the stack's folder: files stay below it, and commands run in it. `known` are the
    digests of earlier receipts by path (see `known_files`); a file with such a digest is ours to
    replace. `owner` names the owner of the keys as `stack/environment`: two environments that name
    the same file must not replace each other's keys. `permit` is called just before a
    file is replaced or removed, and raises to prevent that; give `run` the same.
    """

    def __init__(
        self,
        root: Path,
        redactor: Redactor,
        *,
        owner: str = "",
        known: Mapping[str, str] | None = None,
        run: Runner = run_program,
        permit: Callable[[], None] = lambda: None,
    ) -> None:
        self._redactor = redactor
        self._files = FileSink(root, known or {}, owner=owner, permit=permit)
        self._commands = CommandSink(root, redactor, run)

    def check(self, target: Spec) -> None:
        """Raise SinkError if the target cannot take a secret now. Writes and runs nothing."""
        match _shape(target):
            case "file", str(path):
                self._files.check(path)
            case _, command:
                self._commands.check(command)

    def put(self, target: Spec, secret: Secret, *, address: Address) -> Mapping[str, Any]:
        """Deliver the secret and a newline.

        The receipt is `{sink: file, file, digest}` or `{sink: command, command, digest}`. Raises
        SinkError if the target did not take the secret (a command that fails may have).
        """
        self._redactor.add(secret)
        match _shape(target):
            case "file", str(path):
                return self._files.put(path, secret, address=address)
            case _, command:
                return self._commands.put(command, secret, address=address)

    def recall(self, target: Spec, *, address: Address) -> Secret | None:
        """The secret of an earlier `put` for the address, if the file still holds it. Commands
        return nothing."""
        match _shape(target):
            case "file", str(path):
                return self._files.recall(path, address=address)
        return None

    def withdraw(self, target: Spec, receipt: Mapping[str, Any]) -> None:
        """Remove the file that `put` wrote, if it is unchanged. Raises SinkError on failure.

        Without a receipt, `put` was interrupted, and what it had written is removed.
        """
        path, digest = receipt.get("file", target.get("file")), receipt.get("digest")
        if isinstance(path, str) and isinstance(digest, str):
            self._files.withdraw(path, digest)
        elif isinstance(path, str):
            self._files.abandon(path)


def known_files(specs: Iterable[Any]) -> dict[str, str]:
    """Path and digest of every file receipt below `specs`, such as the `delivered` of all records."""
    return {receipt["file"]: receipt["digest"] for spec in specs for receipt in _receipts_in(spec)}


def digests_in(specs: Iterable[Any]) -> Iterator[str]:
    """The digest of every receipt below `specs`, of files and of commands."""
    return (
        receipt["digest"] for spec in specs for receipt in _receipts_in(spec, ("file", "command"))
    )


def _receipts_in(value: Any, sinks: Collection[str] = ("file",)) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        sink = value.get("sink")
        if sink in sinks and sink in value and "digest" in value:
            yield value
        for element in value.values():
            yield from _receipts_in(element, sinks)
    elif isinstance(value, list | tuple):
        for element in value:
            yield from _receipts_in(element, sinks)


def _shape(target: Spec) -> tuple[str, Any]:
    match dict(target):
        case {"file": str(path), **rest} if path and not rest:
            return "file", path
        case {"command": [_, *_] as command, **rest} if not rest and all(
            isinstance(arg, str) for arg in command
        ):
            return "command", command
    raise SinkError(
        "a key can be written to a file or to a command",
        hint="write {file: PATH} or {command: [PROGRAM, ARG, …]}",
    )
