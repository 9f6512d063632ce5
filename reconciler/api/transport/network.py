"""Proxy and certificates from the environment, with the rules of curl.

httpx reads the same variables, but its constructor fails for a `NO_PROXY` with an IPv6 range and
for a broken `SSL_CERT_FILE`, without naming the variable. A client talks to a single host, so one
decision is enough.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import re
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from msgspec import Struct

from reconciler.api.transport.base_url import is_loopback
from reconciler.errors import UsageError

_PROXY_VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_NO_PROXY_VARIABLES = ("no_proxy", "NO_PROXY")
_SCHEMES = ("http", "https", "socks5", "socks5h")
_HASHED_NAME = r"[0-9a-f]{8}\.[0-9]+"
_HTTPS_PORT = 443


class Network(Struct, frozen=True):
    """The route to one host. `proxy` is None for a direct connection.

    `proxy_variable` names the variable of the proxy. `certificates` describes the trusted
    authorities.
    """

    context: ssl.SSLContext
    proxy: httpx.Proxy | None = None
    proxy_variable: str = ""
    certificates: str = ""

    @property
    def described_proxy(self) -> str:
        """`the proxy HOST:PORT (HTTPS_PROXY)`, without its password; empty without a proxy."""
        if self.proxy is None:
            return ""
        url = self.proxy.url
        host = url.host
        if url.port:
            host += f":{url.port}"
        return f"the proxy {host} ({self.proxy_variable})"


def network_for(base_url: str, environ: Mapping[str, str]) -> Network:
    """The route to the API; raises UsageError naming a variable that cannot be used.

    A loopback address is never reached through a proxy: plain http may not leave the machine.
    """
    parts = urlsplit(base_url)
    if parts.scheme == "http":
        # Plain http needs no certificate, and loading the trusted ones takes time.
        return Network(_context())
    context, certificates = _trusting(environ)
    if is_loopback(parts.hostname or ""):
        return Network(context, certificates=certificates)
    proxy, variable = _proxy(parts.hostname or "", parts.port or _HTTPS_PORT, environ)
    # A proxy that is reached by https is checked with the same certificates as the API.
    if proxy is not None and proxy.url.scheme == "https":
        proxy.ssl_context = context
    return Network(context, proxy, variable, certificates)


# --- the proxy


def _proxy(host: str, port: int, environ: Mapping[str, str]) -> tuple[httpx.Proxy | None, str]:
    variable = next((name for name in _PROXY_VARIABLES if environ.get(name, "").strip()), None)
    exceptions = next((environ[name] for name in _NO_PROXY_VARIABLES if environ.get(name)), "")
    if variable is None or bypasses(exceptions, host, port):
        return None, ""
    value = environ[variable].strip()
    if "://" not in value:
        value = f"http://{value}"
    url = _proxy_url(value)
    # The value is not repeated: it may contain a password.
    hint = f"Set {variable} to http://HOST:PORT, or unset it, or add {host} to NO_PROXY."
    if url is None:
        raise UsageError(f"{variable} does not hold the address of a proxy.", hint=hint)
    if url.scheme not in _SCHEMES:
        raise UsageError(
            f'{variable} names a proxy of the type "{url.scheme}", which is not supported.',
            hint=hint,
        )
    if url.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise UsageError(
            f"{variable} names a SOCKS proxy, and the package socksio, which speaks to such "
            "proxies, is missing.",
            hint=f"Install reconciler with its extra `socks`. Or: {hint[0].lower()}{hint[1:]}",
        )
    return httpx.Proxy(url), variable


def _proxy_url(text: str) -> httpx.URL | None:
    if not text.isprintable() or " " in text:
        return None
    try:
        parts = urlsplit(text)
        # A port out of range is found only by asking for it.
        _ = parts.port
        (parts.hostname or "").encode("idna")
        url = httpx.URL(text)
        return url if url.host else None
    except (ValueError, httpx.InvalidURL):
        return None


def bypasses(exceptions: str, host: str, port: int) -> bool:
    """Whether NO_PROXY lists a host: by name, parent domain, address or CIDR range.

    Also accepts `*`, `*.example.com`, `host:port` and bracketed IPv6 addresses. Invalid entries are
    ignored, as in curl.
    """
    host = host.rstrip(".").lower()
    return any(
        _matches(entry.lower(), host, port) for entry in re.split(r"[\s,]+", exceptions) if entry
    )


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    entry = entry.rpartition("://")[2]
    address, network = _address(host), _network(entry)
    # An IPv6 address has colons of its own, so a port is looked for in other entries only.
    if network is None and (match := re.fullmatch(r"(.+):(\d+)", entry)):
        if int(match[2]) != port:
            return False
        entry = match[1]
        network = _network(entry)
    if network is not None:
        return address is not None and address in network
    domain = entry.removeprefix("*").strip(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with suppress(ValueError):
        address = ipaddress.ip_address(host.strip("[]"))
        if isinstance(address, ipaddress.IPv6Address):
            return address.ipv4_mapped or address
        return address
    return None


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    address, slash, bits = entry.partition("/")
    with suppress(ValueError):
        return ipaddress.ip_network(f"{address.strip('[]')}{slash}{bits}", strict=False)
    return None


# --- the certificates


def _trusting(environ: Mapping[str, str]) -> tuple[ssl.SSLContext, str]:
    """A context, and a description of the certificates that it trusts."""
    context = _context()
    _log_keys(context, environ)
    file, folder = environ.get("SSL_CERT_FILE", ""), environ.get("SSL_CERT_DIR", "")
    if file:
        _load_file(context, file)
    if folder:
        for path in folder.split(os.pathsep):
            context.load_verify_locations(capath=path)
    # With a file beside it, a folder without certificates does no harm.
    if folder and not file:
        _require_hashed(folder)
    if not file and not folder:
        import certifi

        context.load_verify_locations(cafile=certifi.where())
        return context, "the bundled certificates of Mozilla"
    given = {"SSL_CERT_FILE": file, "SSL_CERT_DIR": folder}
    return context, " and ".join(f"{name} ({value})" for name, value in given.items() if value)


def _context() -> ssl.SSLContext:
    """A context with the checks of curl.

    `ssl.create_default_context` refuses the certificate authorities of many companies.
    """
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    except ssl.SSLError as error:
        raise UsageError(
            f"OpenSSL cannot be started: {error}", hint="Check the file that OPENSSL_CONF names."
        ) from error
    # A file may hold the intermediate authority of a company without the root above it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _log_keys(context: ssl.SSLContext, environ: Mapping[str, str]) -> None:
    path = environ.get("SSLKEYLOGFILE")
    if not path:
        return
    try:
        context.keylog_filename = path
    except OSError as error:
        raise UsageError(
            f"SSLKEYLOGFILE ({path}) cannot be written: {error.strerror or error}",
            hint="Correct SSLKEYLOGFILE, or unset it.",
        ) from error


def _load_file(context: ssl.SSLContext, path: str) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        if isinstance(error, ssl.SSLError) or not isinstance(error, OSError):
            why = "is a folder" if Path(path).is_dir() else "holds no certificate in PEM format"
        else:
            why = f"cannot be read: {error.strerror or error}"
        raise UsageError(
            f"SSL_CERT_FILE ({path}) {why}.",
            hint="Set SSL_CERT_FILE to a PEM file with the trusted certificates, or unset it.",
        ) from error


def _require_hashed(folders: str) -> None:
    """Check a folder that OpenSSL would silently ignore, so that it trusted no certificate."""
    for folder in folders.split(os.pathsep):
        if any(re.fullmatch(_HASHED_NAME, name) for name in _names_in(folder)):
            return
    raise UsageError(
        f"SSL_CERT_DIR ({folders}) holds no certificates under their hashed names.",
        hint="Run `openssl rehash` on the folder, or set SSL_CERT_FILE to a PEM file, or unset "
        "SSL_CERT_DIR.",
    )


def _names_in(folder: str) -> Iterable[str]:
    with suppress(OSError):
        return os.listdir(folder)  # noqa: PTH208 - names, not paths
    return ()
