"""Which base URLs may be given our keys.

The base URL decides who receives the keys, so it is checked before the first request. Plain http
would show them to everyone on the network path, so it is accepted only for loopback addresses.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

import httpx

from reconciler.errors import UsageError

DEFAULT_BASE_URL = "https://api.openai.com/v1"
_PORTS = {"http": 80, "https": 443}
_HINT = "Set OPENAI_BASE_URL or --base-url to something like https://api.openai.com/v1"


def check_base_url(url: str) -> str:
    """The base URL without a trailing slash; raises UsageError where keys must not be sent to it.

    Schemes other than https are refused (except http for loopback), and so are URLs with
    credentials, a query or a fragment. The messages do not repeat the URL, which may hold a
    password.
    """
    if any(character.isspace() or not character.isprintable() for character in url):
        raise UsageError("The base URL contains white space or control characters.", hint=_HINT)
    parts = _split(url)
    if parts.username is not None or parts.password is not None:
        raise UsageError("The base URL must not contain a user name or a password.", hint=_HINT)
    if "?" in url or "#" in url:
        raise UsageError("The base URL must not contain a query or a fragment.", hint=_HINT)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise UsageError(
            f"Plain http to {parts.hostname} would show the keys to everyone on the way.",
            hint="Use https; plain http is accepted for loopback addresses only.",
        )
    return url.rstrip("/")


def normal_form(url: str) -> str:
    """A checked base URL in the form in which two can be compared.

    Scheme and host are in lower case, `localhost` is 127.0.0.1, and a port is always given.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if host == "localhost":
        host = "127.0.0.1"
    if ":" in host:
        host = f"[{host}]"
    port = parts.port or _PORTS.get(parts.scheme, 80)
    return f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}"


def is_loopback(host: str) -> bool:
    """Whether a host stays on this machine: `localhost`, 127.0.0.0/8 or ::1."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname)
        # A port that is no number is found only by asking for it.
        _ = parts.port
        if has_host and ":" not in (parts.hostname or ""):
            # The socket and httpx convert the name by different rules; their errors name no URL.
            (parts.hostname or "").encode("idna")
        _ = httpx.URL(url).host
    except (ValueError, httpx.InvalidURL):
        raise UsageError("The base URL cannot be read.", hint=_HINT) from None
    if parts.scheme not in ("http", "https") or not has_host:
        raise UsageError("The base URL must begin with https:// and name a host.", hint=_HINT)
    return parts
