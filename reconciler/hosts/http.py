"""Requests to a code host: few attempts, short time limits, and errors in sentences."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx

from reconciler.errors import HostError

_TIMEOUT_SECONDS = 20.0
# The seconds to wait before each attempt except the first.
_PAUSES = (1.0, 3.0)
_BUSY = (429, 500, 502, 503, 504)
_MOST_PAGES = 50


class HostHttp:
    """Sends requests to the API of one host. `name` and `permission` are for messages."""

    def __init__(
        self,
        name: str,
        address: str,
        headers: Mapping[str, str],
        *,
        permission: str,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._name = name
        self._permission = permission
        self._sleep = sleep
        # Redirects are not followed, because they would take the token along.
        self._client = httpx.Client(
            base_url=f"{address.rstrip('/')}/",
            headers=dict(headers),
            timeout=_TIMEOUT_SECONDS,
            follow_redirects=False,
        )
        weakref.finalize(self, self._client.close)  # a host lives as long as its run

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """The JSON of an answer."""
        return self._send("GET", path, params=params).json()

    def find(self, path: str) -> Any:
        """The JSON of an answer; None if it is refused, as for something that does not exist."""
        response = self._send("GET", path, accepted=(401, 403, 404))
        if not response.is_success:
            return None
        return response.json()

    def pages(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[Any]:
        """The elements of a list, over its pages."""
        for page in range(1, _MOST_PAGES + 1):
            elements = self.get(path, {"per_page": 100, "page": page, **(params or {})})
            yield from elements
            if len(elements) < 100:
                return

    def write(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """Send a change. A POST without an answer is not repeated: the next run corrects it."""
        return self._send(method, path, body=body).json()

    def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        accepted: tuple[int, ...] = (),
    ) -> httpx.Response:
        # A POST may have created its note or issue although its answer was lost: no second attempt.
        pauses = iter(() if method == "POST" else _PAUSES)
        while True:
            try:
                response = self._client.request(method, path, params=params, json=body)
            except httpx.TransportError as error:
                pause = next(pauses, None)
                if pause is None:
                    reason = str(error) or type(error).__name__
                    raise HostError(f"{self._name} cannot be reached: {reason}") from error
            else:
                if response.is_success or response.status_code in accepted:
                    return response
                pause = next(pauses, None)
                if pause is None or response.status_code not in _BUSY:
                    raise self._refused(method, path, response)
            self._sleep(pause)

    def _refused(self, method: str, path: str, response: httpx.Response) -> HostError:
        sentence = f"{self._name} refuses {method} {path} with status {response.status_code}"
        if response.status_code in (401, 403, 404):
            return HostError(sentence, hint=f"Give the token the permission {self._permission}.")
        return HostError(sentence)
