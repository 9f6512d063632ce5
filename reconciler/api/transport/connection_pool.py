"""Connections that several clients share, for one server and one way to it."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from reconciler.api.transport.network import Network, network_for

_CONNECTIONS = 200
"""More requests at a time than the parallelism of ten stacks."""
_KEPT_CONNECTIONS = 50


class ConnectionPool(httpx.BaseTransport):
    """A transport that stays open when one of its clients is closed. Safe to use from threads.

    Raises UsageError where `environ` has a proxy or certificate setting that cannot be used.
    """

    def __init__(self, base_url: str, environ: Mapping[str, str]) -> None:
        network: Network = network_for(base_url, environ)
        self._transport = httpx.HTTPTransport(
            verify=network.context,
            proxy=network.proxy,
            limits=httpx.Limits(
                max_connections=_CONNECTIONS, max_keepalive_connections=_KEPT_CONNECTIONS
            ),
            trust_env=False,  # `network_for` has read the environment
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        return self._transport.handle_request(request)

    def close(self) -> None:
        """Do nothing: other clients may use the connections. `end` closes them."""

    def end(self) -> None:
        """Close the connections."""
        self._transport.close()
