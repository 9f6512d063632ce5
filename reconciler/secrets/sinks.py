"""The sinks of a run. They move a key from the API's answer to its destination and keep no copy.

A target is what `write_to` of a manifest names, `{SINK: VALUE}`. The state stores the receipt of a
delivery. It names the place and recognises the key, and does not contain it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from reconciler.errors import SinkError, UncertainDeliveryError
from reconciler.model.address import Address
from reconciler.model.allowance import Allowance
from reconciler.model.secret import Redactor, Secret
from reconciler.model.sinks import (
    Receipt,
    Sink,
    SinkContext,
    named_sink,
    place_of,
    places_of,
    receipts_in,
)
from reconciler.model.sources import SecretSource, is_source
from reconciler.model.values import Spec
from reconciler.secrets import digests

if TYPE_CHECKING:
    from reconciler.secrets.commands import Runner


def _run_program(*arguments: Any, **options: Any) -> Any:
    # Imported late: most stacks deliver to no command, and processes take long to import.
    from reconciler.secrets.commands import run_program

    return run_program(*arguments, **options)


def _connect_nowhere(*_: Any, **__: Any) -> Any:
    raise SinkError("this run has no network for sinks")


class SinkSet:
    """All sinks, behind the `Sinks` protocol. Thread-safe.

    `root` is the stack's folder: files stay below it, and commands run in it. `owner` names the
    owner of the keys as `stack/environment`: two environments that name the same place must not
    replace each other's keys. `env` has the addresses and credentials of sinks. `deliveries` are
    the receipts of earlier runs, below any value, and `begun` the targets of deliveries without a
    recorded outcome, each with its address; both are asked at the first use. `permit` is called
    just before each write, and raises to prevent that; give `run` the same. `allowed` are globs of
    places, see `Allowance`. `withheld` are keys in use, which no command gets.
    """

    def __init__(
        self,
        root: Path,
        redactor: Redactor,
        *,
        owner: str = "",
        env: Mapping[str, str] | None = None,
        deliveries: Callable[[], Iterable[tuple[Address, Any]]] = tuple,
        begun: Callable[[], Iterable[tuple[Address, Any]]] = tuple,
        allowed: Sequence[str] = (),
        withheld: Sequence[Secret] = (),
        connect: Callable[..., Any] = _connect_nowhere,
        run: Runner = _run_program,
        permit: Callable[[], None] = lambda: None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._redactor = redactor
        self._owner = owner
        self._allowance = Allowance(allowed)
        self._history = _History(deliveries, begun, self._owner_of)
        self._context = SinkContext(
            env=env or {},
            root=root,
            redactor=redactor,
            permit=permit,
            connect=self._connect,
            run=run,
            sleep=sleep,
            receipt=self._history.receipt,
            was_begun=self._history.was_begun,
            withheld=tuple(withheld),
        )
        self._make_client = connect
        self._clients: list[Any] = []
        self._sinks: dict[str, Sink] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections of all sinks."""
        while self._clients:
            self._clients.pop().close()

    def check(self, target: Spec, *, address: Address) -> None:
        """Raise SinkError if the target cannot take a key now. Writes and runs nothing."""
        sink, value = self._sink(target)
        self._allowance.require(place_of(target))
        sink.check(value, owner=self._owner_of(address))

    def put(self, target: Spec, secret: Secret, *, address: Address, token: str) -> Receipt:
        """Deliver the key and return the receipt: `{sink, place, digest, …}`.

        `token` identifies the key, see `Sink.put`. Raises SinkError if the target did not take the
        key, and UncertainDeliveryError if it may have.
        """
        self._redactor.add(secret)
        sink, value = self._sink(target)
        place, owner = place_of(target), self._owner_of(address)
        # Checked again: a plan file may be applied with another list of places.
        self._allowance.require(place)
        try:
            made = sink.put(value, secret, owner=owner, token=token)
        except UncertainDeliveryError:
            self._history.begin(place, owner)
            raise
        except SinkError:
            raise
        # Ctrl-C, or a mistake of a driver: nobody knows whether the key arrived.
        except BaseException:
            self._history.begin(place, owner)
            raise
        mark = digests.digest(secret.reveal().encode() + b"\n")
        receipt = {"sink": sink.name, "place": place, "digest": mark, **made}
        self._history.record(place, owner, receipt)
        return receipt

    def recall(self, target: Spec, *, address: Address) -> Secret | None:
        """The key of an earlier `put` for the address, where the sink can read it back."""
        sink, value = self._sink(target)
        if not sink.reads_back:
            return None
        secret = sink.read(value, owner=self._owner_of(address))
        if secret is not None:
            self._redactor.add(secret)
        return secret

    def fetch(self, target: Spec) -> Secret | None:
        """The secret at a source's target, of any owner; None if there is none.

        Raises SinkError. Whether it may be read is for the caller to decide.
        """
        sink, value = self._sink(target)
        if not is_source(type(sink)):
            raise SinkError(f'"{sink.name}" cannot be read')
        secret = cast("SecretSource", sink).fetch(value)
        if secret is not None:
            self._redactor.add(secret)
        return secret

    def withdraw(self, target: Spec, receipt: Receipt, *, address: Address) -> None:
        """Remove the key that `put` delivered, if it is unchanged. Raises SinkError on failure.

        With an empty receipt, `put` was interrupted, and what it wrote is removed. The receipt of
        an older key removes its version, where the sink keeps versions, and never a newer key.
        """
        sink, value = self._sink(target)
        place, owner = place_of(target), self._owner_of(address)
        newest = self._history.receipt(place, owner)
        is_outdated = receipt and newest and newest.get("digest") != receipt.get("digest")
        # The place holds a newer key by now.
        if is_outdated and not sink.keeps_versions:
            return
        sink.withdraw(value, receipt, owner=owner)
        if not is_outdated:
            self._history.forget(place, owner)

    def _connect(self, *arguments: Any, **more: Any) -> Any:
        client = self._make_client(*arguments, **more)
        self._clients.append(client)
        return client

    def _owner_of(self, address: Address) -> str:
        return "/".join(part for part in (self._owner, str(address)) if part)

    def _sink(self, target: Spec) -> tuple[Sink, Any]:
        driver, value = named_sink(target)
        with self._lock:
            if driver.name not in self._sinks:
                self._sinks[driver.name] = driver(self._context)
            return self._sinks[driver.name], value


class _History:
    """The outcomes of earlier deliveries, by place and owner."""

    def __init__(
        self,
        deliveries: Callable[[], Iterable[tuple[Address, Any]]],
        begun: Callable[[], Iterable[tuple[Address, Any]]],
        owner_of: Callable[[Address], str],
    ) -> None:
        self._earlier = deliveries
        self._earlier_begun = begun
        self._owner_of = owner_of
        self._receipts: dict[tuple[str, str], Receipt] | None = None
        self._begun: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def receipt(self, place: str, owner: str) -> Receipt | None:
        """The receipt of the last delivery."""
        with self._lock:
            return self._read().get((place, owner))

    def was_begun(self, place: str, owner: str) -> bool:
        """Whether a delivery began and has no recorded outcome."""
        with self._lock:
            self._read()
            return (place, owner) in self._begun

    def begin(self, place: str, owner: str) -> None:
        """Note that a delivery began and has no known outcome."""
        with self._lock:
            self._read()
            self._begun.add((place, owner))

    def forget(self, place: str, owner: str) -> None:
        """Note that a place holds nothing of an owner any more."""
        with self._lock:
            self._read().pop((place, owner), None)
            self._begun.discard((place, owner))

    def record(self, place: str, owner: str, receipt: Receipt) -> None:
        """Note the outcome of a delivery."""
        with self._lock:
            self._read()[place, owner] = receipt
            self._begun.discard((place, owner))

    def _read(self) -> dict[tuple[str, str], Receipt]:
        # At the first use, because the state takes a while to read and most runs deliver nothing.
        if self._receipts is None:
            self._receipts = {}
            for address, delivered in self._earlier():
                for receipt in receipts_in(delivered):
                    self._receipts[place_in(receipt), self._owner_of(address)] = receipt
            for address, write_to in self._earlier_begun():
                for place in places_of(write_to):
                    self._begun.add((place, self._owner_of(address)))
        return self._receipts


def place_in(receipt: Receipt) -> str:
    """The place of a receipt; empty where it names none."""
    place = receipt.get("place")
    if isinstance(place, str):
        return place
    # Receipts of older versions have only the path of a file.
    if "file" in receipt:
        return place_of({"file": receipt["file"]})
    return ""


def known_files(specs: Iterable[Any]) -> dict[str, str]:
    """Path and digest of every file receipt below `specs`, such as the `delivered` of all records."""
    return {
        receipt["file"]: receipt["digest"]
        for receipt in receipts_in(list(specs))
        if receipt["sink"] == "file" and "file" in receipt
    }


def digests_in(specs: Iterable[Any]) -> Iterator[str]:
    """The digest of every receipt below `specs`."""
    return (receipt["digest"] for receipt in receipts_in(list(specs)))
