"""HTTP clients for servers other than the API's, such as secret managers.

Proxy and certificates come from the environment, as for the API. Redirects are never followed,
because a credential or a key would go along to another host.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from reconciler.api.transport.base_url import check_base_url
from reconciler.api.transport.network import network_for
from reconciler.errors import SinkError, UsageError

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0


def connect(
    base_url: str,
    *,
    variable: str,
    environ: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
    ca: str | bytes | None = None,
    client_certificate: tuple[bytes, bytes] | None = None,
) -> httpx.Client:
    """A client for one server. Raises SinkError for an address or certificates that cannot be used.

    `variable` names the setting that the address comes from, for messages. `ca` is a file of
    trusted certificates, or its content, which replaces the usual ones. `client_certificate` is a
    certificate and its key in PEM.
    """
    try:
        address = check_base_url(base_url)
        network = network_for(address, environ)
    except UsageError as error:
        message = str(error).replace("The base URL", "its address").rstrip(".")
        raise SinkError(
            f"{variable} cannot be used: {message}", hint=f"correct {variable}"
        ) from None
    context = network.context
    try:
        if ca is not None:
            context = _trusting_only(ca)
        if client_certificate is not None:
            with _as_file(b"\n".join(client_certificate)) as path:
                context.load_cert_chain(path)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise SinkError(
            f"the certificates of {variable} cannot be used: {error}", hint="correct them"
        ) from None
    return httpx.Client(
        base_url=address,
        headers={"Accept": "application/json", "User-Agent": "reconciler", **(headers or {})},
        verify=context,
        proxy=network.proxy,
        timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        follow_redirects=False,
        trust_env=False,  # `network_for` has read the environment
    )


def _trusting_only(ca: str | bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # A file may hold the intermediate authority of a company without the root above it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if isinstance(ca, bytes):
        context.load_verify_locations(cadata=ca.decode())
    elif Path(ca).is_dir():
        context.load_verify_locations(capath=ca)
    else:
        context.load_verify_locations(cafile=ca)
    return context


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path with the content, for a library that reads only files."""
    # A private key must not reach a disk, so the file is in memory where that is possible.
    if sys.platform == "linux":
        descriptor = os.memfd_create("certificate")
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    # Imported late: it loads every compression library.
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.name
