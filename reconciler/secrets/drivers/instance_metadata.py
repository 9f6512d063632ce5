"""The services that give a machine of a cloud its own credentials, at addresses of its own network.

They speak plain http, because they are on the machine or one hop away. So requests carry no
credential, never pass a proxy, and go to no other address.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from reconciler.errors import SinkError

SECONDS = 3.0
_HOSTS = {"metadata.google.internal", "metadata", "localhost"}
_OK = 200


def is_local(host: str) -> bool:
    """Whether a host is a metadata service: a known name, or a link-local or loopback address."""
    if host in _HOSTS:
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_link_local or address.is_loopback


def ask(
    url: str, *, variable: str, params: Mapping[str, str], headers: Mapping[str, str]
) -> Any | None:
    """The JSON of a metadata service's answer; None if there is no such service here.

    `variable` names the setting that moves the service, for messages. Raises SinkError for an
    address that is none, and for an answer that is not 200.
    """
    # Imported late: validation loads drivers and sends nothing.
    import httpx

    try:
        host = httpx.URL(url).host
    except httpx.InvalidURL:
        host = ""
    if not is_local(host):
        raise SinkError(
            f"{variable} is not the address of a metadata service", hint=f"correct {variable}"
        )
    try:
        with httpx.Client(trust_env=False, timeout=SECONDS, follow_redirects=False) as client:
            answer = client.get(url, params=params, headers=headers)
    # No such service: this is no machine of that cloud.
    except httpx.TransportError:
        return None
    if answer.status_code != _OK:
        raise SinkError(
            f"the metadata service of this machine answers with status {answer.status_code}",
            hint="give the machine an identity that may write secrets",
        )
    try:
        return answer.json()
    except ValueError:
        return None
