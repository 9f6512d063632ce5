"""The way to the API: address, proxy, certificates and clock."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.api.transport.base_url import is_loopback
from reconciler.api.transport.network import network_for
from reconciler.app.session import Session
from reconciler.errors import UsageError
from reconciler.model.consistency import ServerClock
from reconciler.model.doctor import Finding, Status

_TOLERABLE_SKEW_SECONDS = 60.0


def network_findings(session: Session) -> Iterator[Finding]:
    """Address, proxy and certificates, from the environment alone. Makes no call."""
    try:
        base_url = session.base_url
        network = network_for(base_url, session.settings.env)
    except UsageError as error:
        yield Finding("network", Status.ERROR, f"{str(error).rstrip('.')}.", error.hint)
        return
    yield Finding("network", Status.OK, f"The API is at {base_url}.")
    route = network.described_proxy
    sentence = (
        f"Calls go through {route}." if route else "Calls go to the API directly, without a proxy."
    )
    yield Finding("proxy", Status.OK, sentence)
    if base_url.startswith("http://"):
        where = (
            "this machine" if is_loopback(base_url.split("/")[2].rpartition(":")[0]) else "there"
        )
        yield Finding(
            "certificates", Status.OK, f"No certificate is needed: plain HTTP to {where}."
        )
        return
    sentence = f"The server's certificate is verified with {network.certificates}."
    yield Finding("certificates", Status.OK, sentence)


def clock_finding(clock: ServerClock) -> Finding:
    """The difference between the machine's clock and the server's."""
    if not clock.is_known:
        return Finding(
            "clock",
            Status.UNKNOWN,
            "No answer told the server's time, so the clock was not checked.",
        )
    ahead = clock.ahead_seconds
    if abs(ahead) <= _TOLERABLE_SKEW_SECONDS:
        return Finding("clock", Status.OK, "The clock of this machine agrees with the server's.")
    direction = "behind" if ahead > 0 else "ahead of"
    return Finding(
        "clock",
        Status.WARNING,
        f"The clock of this machine is {abs(ahead):,.0f} seconds {direction} the server's.",
        "Synchronize it (NTP). Runs correct the difference, but logs, certificates and the leases "
        "of shared states depend on the clock.",
    )
