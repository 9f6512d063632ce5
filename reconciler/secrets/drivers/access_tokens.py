"""Access tokens that last for a while, shared by the threads of a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from msgspec import Struct

from reconciler.model.secret import Redactor, Secret

_SPARE_SECONDS = 120.0
"""How long before its end a token is replaced: a request may take a while."""


class AccessToken(Struct, frozen=True):
    """A bearer token and how long it lasts; None for a token whose end is not known."""

    text: str
    seconds: float | None

    def __repr__(self) -> str:
        return "AccessToken(•••)"


class TokenCache:
    """Gets a token when there is none or it is about to end. Thread-safe."""

    def __init__(self, get: Callable[[], AccessToken], redactor: Redactor) -> None:
        self._get = get
        self._redactor = redactor
        self._lock = threading.Lock()
        self._token: AccessToken | None = None
        self._ends_at: float | None = None

    def header(self) -> dict[str, str]:
        """The `Authorization` header. Raises what getting a token raises."""
        with self._lock:
            if self._token is None or self._is_old():
                self._token = self._get()
                self._redactor.add(Secret(self._token.text))
                seconds = self._token.seconds
                self._ends_at = None if seconds is None else time.monotonic() + seconds
            return {"Authorization": f"Bearer {self._token.text}"}

    def _is_old(self) -> bool:
        return self._ends_at is not None and time.monotonic() > self._ends_at - _SPARE_SECONDS
