"""The way to the API: address, proxy, certificates and clock."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.api.transport.base_url import is_loopback
from reconciler.api.transport.network import network_for
from reconciler.app.session import Session
from reconciler.errors import UsageError
from reconciler.model.consistency import ServerClock
from reconciler.model.doctor import DoctorFinding, FindingStatus

_TOLERABLE_SKEW_SECONDS = 60.0


def network_findings(session: Session) -> Iterator[DoctorFinding]:
    """Address, proxy and certificates, from the environment alone. Makes no call."""
    try:
        base_url = session.base_url
        network = network_for(base_url, session.settings.env)
    except UsageError as error:
        yield DoctorFinding(
            "network", FindingStatus.ERROR, f"{str(error).rstrip('.')}.", error.hint
        )
        return
    yield DoctorFinding("network", FindingStatus.OK, f"The API is at {base_url}.")
    route = network.described_proxy
    sentence = "Calls go to the API directly, without a proxy."
    if route:
        sentence = f"Calls go through {route}."
    yield DoctorFinding("proxy", FindingStatus.OK, sentence)
    if base_url.startswith("http://"):
        host = base_url.split("/")[2].rpartition(":")[0]
        where = "this machine" if is_loopback(host) else "there"
        yield DoctorFinding(
            "certificates", FindingStatus.OK, f"No certificate is needed: plain HTTP to {where}."
        )
        return
    sentence = f"The server's certificate is verified with {network.certificates}."
    yield DoctorFinding("certificates", FindingStatus.OK, sentence)


def clock_finding(clock: ServerClock) -> DoctorFinding:
    """The difference between the machine's clock and the server's."""
    if not clock.is_known:
        return DoctorFinding(
            "clock",
            FindingStatus.UNKNOWN,
            "No answer contained the server's time, so the clock was not checked.",
        )
    ahead = clock.ahead_seconds
    if abs(ahead) <= _TOLERABLE_SKEW_SECONDS:
        return DoctorFinding(
            "clock", FindingStatus.OK, "The clock of this machine agrees with the server's."
        )
    direction = "behind" if ahead > 0 else "ahead of"
    return DoctorFinding(
        "clock",
        FindingStatus.WARNING,
        f"The clock of this machine is {abs(ahead):,.0f} seconds {direction} the server's.",
        "Synchronize it (NTP). Runs correct the difference, but logs, certificates and the leases "
        "of shared states depend on the clock.",
    )
