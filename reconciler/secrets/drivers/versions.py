"""The version before another, in services that number the versions of a secret."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from reconciler.model.sinks import Receipt


class Replaced(Struct, frozen=True):
    """The version before another, and the token of its key."""

    version: int
    token: str


def mark_of(version: int, token: object) -> str:
    """The mark of a version of ours. A newer foreign version does not have it."""
    return f"{version}.{token}"


def version_before(
    replaced: Mapping[str, Replaced], receipt: Receipt, recorded: Receipt | None
) -> Replaced | None:
    """The version whose key is valid without that of the receipt.

    A put of this run is taken back where another sink refused the key; `replaced` has the version
    before, by token. An interrupted put left the key of the `recorded` receipt valid.
    """
    # The recorded receipt may be that of the put which is taken back, so it does not count.
    if receipt:
        return replaced.get(str(receipt.get("token")))
    if recorded is None or not isinstance(recorded.get("version"), int):
        return None
    return Replaced(recorded["version"], str(recorded.get("token")))
