"""Access tokens with a lifetime, shared by the threads of a run."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from msgspec import Struct

from reconciler.model.secret import Redactor, Secret

_SPARE_SECONDS = 120.0
"""How long before its end a token is replaced: a request may take a while."""


class AccessToken(Struct, frozen=True):
    """A bearer token and its end; None for a token whose end is unknown."""

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
        self._ends_at = math.inf

    def header(self) -> dict[str, str]:
        """The `Authorization` header. Raises the errors of getting a token."""
        # One thread gets the token, and the others wait for it.
        with self._lock:
            if self._token is None or self._is_old():
                self._token = self._get()
                self._redactor.add(Secret(self._token.text))
                self._ends_at = math.inf
                if self._token.seconds is not None:
                    self._ends_at = time.monotonic() + self._token.seconds
            return {"Authorization": f"Bearer {self._token.text}"}

    def _is_old(self) -> bool:
        return time.monotonic() > self._ends_at - _SPARE_SECONDS
