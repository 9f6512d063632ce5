"""Sinks of a rehearsal: keys go into a temporary folder, whatever destination a manifest names.

No file outside of that folder is written, no program runs, and no server is called.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from reconciler.app.deliveries import begun_deliveries, delivered
from reconciler.errors import SinkError
from reconciler.model.address import Address
from reconciler.model.secret import Redactor, Secret
from reconciler.model.sinks import named_sink, place_of
from reconciler.model.values import Spec
from reconciler.secrets.sinks import SinkSet
from reconciler.state import StateStore

_FILE = "file"


class RehearsedSinks:
    """The `Sinks` of a copy. Safe to use from threads.

    `store` is the state of the copy. A key can be read back where its real sink can do that, as an
    apply that resumes may need to. `withheld` has a line for each key that an apply would have delivered.
    """

    def __init__(
        self, root: Path, redactor: Redactor, store: Callable[[], StateStore], *, owner: str
    ) -> None:
        self._files = SinkSet(
            root,
            redactor,
            owner=owner,
            deliveries=lambda: delivered(store()),
            begun=lambda: begun_deliveries(store()),
            run=_run_nothing,
        )
        self._lock = threading.Lock()
        self.withheld: list[str] = []

    def check(self, target: Spec, *, address: Address) -> None:
        """Raise SinkError for a target of the wrong form. Whether it takes a key is unknown."""
        del address
        place_of(target)

    def put(
        self, target: Spec, secret: Secret, *, address: Address, token: str
    ) -> Mapping[str, Any]:
        """Keep the secret and return a receipt."""
        place = place_of(target)
        with self._lock:
            self.withheld.append(f"{address} → {place}")
        receipt = self._files.put(_temporary_target(target), secret, address=address, token=token)
        if _FILE in target:
            return receipt
        return {"sink": named_sink(target)[0].name, "place": place, "digest": receipt["digest"]}

    def recall(self, target: Spec, *, address: Address) -> Secret | None:
        """The secret of an earlier `put`, if the sink of the target can read it back."""
        if not named_sink(target)[0].reads_back:
            return None
        return self._files.recall(_temporary_target(target), address=address)

    def fetch(self, target: Spec) -> Secret | None:
        """None: a rehearsal reads no secret from elsewhere."""
        del target
        return None

    def withdraw(self, target: Spec, receipt: Mapping[str, Any], *, address: Address) -> None:
        """Remove the secret that `put` kept, if there is one."""
        kept = _temporary_target(target)
        held = {**receipt, **kept} if receipt else receipt
        with suppress(SinkError):
            self._files.withdraw(kept, held, address=address)

    def close(self) -> None:
        """Close the open resources of the sinks."""
        self._files.close()


def _temporary_target(target: Spec) -> dict[str, Any]:
    """The target in the temporary folder that replaces another target."""
    if _FILE in target:
        return dict(target)
    name = hashlib.sha256(place_of(target).encode()).hexdigest()
    return {_FILE: f"elsewhere/{name}"}


def _run_nothing(*_: Any, **__: Any) -> Any:
    raise SinkError("a rehearsal runs no program")
