"""Harmless reads that show what a key may do.

A probe is one GET of a list, limited to one entry. A failing server is not retried.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from reconciler.api.keys import Key
from reconciler.api.transport.client import Client
from reconciler.api.transport.organization import HEADER
from reconciler.api.transport.pages import QueryParameters
from reconciler.api.transport.request import Request
from reconciler.errors import ApiError


class ReadProbe(Struct, frozen=True):
    """A read to try. `path` is a route below the base URL, whose parameters `ids` fill."""

    path: str
    key: Key
    ids: Mapping[str, str] = field(default_factory=dict)
    query: QueryParameters = field(default_factory=dict)
    beta: str | None = None


class ProbeAnswer(Struct, frozen=True):
    """The answer to a probe: a body, or an error."""

    body: Mapping[str, Any] = field(default_factory=dict)
    organization: str = ""
    """The organization that the answer names."""
    error: ApiError | None = None

    @property
    def status(self) -> int | None:
        """The HTTP status; None without an answer."""
        return 200 if self.error is None else self.error.status


def ask(client: Client, probe: ReadProbe) -> ProbeAnswer:
    """Send a probe. Raises OrganizationError and Interrupted; an error of the API is an answer."""
    request = Request(
        "GET",
        probe.path,
        probe.key,
        probe.ids,
        query=probe.query,
        beta=probe.beta,
        attempts=1,
    )
    try:
        response = client.exchange(request)
    except ApiError as error:
        return ProbeAnswer(error=error)
    return ProbeAnswer(response.body, response.headers.get(HEADER, "").strip())
