"""The refresh checkpoint: the scopes that an apply verified, so that the next plan can skip them.

The checkpoint proves only that nothing has to be done. A plan with a change in a scope reads the
scope after all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.engine.refresh.audit_attribution import Write
from reconciler.engine.refresh.audit_window import Counted
from reconciler.model.address import Address
from reconciler.model.consistency import LIST_BEHIND_LOG_SECONDS
from reconciler.model.log import AuditEntry

ScopeKey = tuple[str, str | None]
"""A kind's name and a project's name in the configuration: the unit that a checkpoint verifies."""


_PROOFS = 20
"""How many of the newest entries to remember. The next plan requires that the log still shows them.
"""


class VerifiedScope(Struct, frozen=True, array_like=True):
    """A scope without pending changes."""

    kind: str
    project: str | None
    read_at: float
    """When its lists were read, in unix seconds of the server."""
    checked_at: float
    """The end of the period in which the log is known to show no change of it."""

    @property
    def key(self) -> ScopeKey:
        """Kind and project."""
        return self.kind, self.project

    def settled_before(self, overlap_seconds: float) -> float:
        """Entries from before this time cannot report a change that the scope does not contain yet.

        Entries can be late by `overlap_seconds`, and lists can lag behind the log.
        """
        # Either is enough, hence the later time: the log was judged until the check, and the lists
        # contained everything until the reading.
        return max(self.checked_at - overlap_seconds, self.read_at - LIST_BEHIND_LOG_SECONDS)


class RefreshCheckpoint(
    Struct,
    frozen=True,
    # The state keeps checkpoints under these names.
    rename={"verified": "seen", "newest_entries": "shown", "projects_reported": "places_told"},
):
    """The scopes that earlier runs verified, their recent writes, and the newest log entries.

    Times are unix seconds of the server.
    """

    verified: Sequence[VerifiedScope] = ()
    writes: Sequence[Write] = ()
    """Recent own writes, whose entries must not count as changes by others."""
    newest_entries: Mapping[str, float] = field(default_factory=dict)
    """By id: the times of the newest entries that the log showed."""
    projects_reported: bool = False
    """Whether the log has proved to report the projects of objects."""
    serial: int = 0
    """The serial of the state that the checkpoint belongs to."""
    full_at: float = 0.0
    """When everything was read last."""
    runs: int = 0
    """Applies since then."""
    counted: Counted | None = None
    """The entries evaluated last, including the newest one; None if some were not evaluated."""

    @property
    def by_scope(self) -> Mapping[ScopeKey, VerifiedScope]:
        """The verified scopes by key."""
        return {verified.key: verified for verified in self.verified}

    def dump(self) -> str:
        """The checkpoint as JSON."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def load(cls, text: str | None) -> RefreshCheckpoint | None:
        """The inverse of `dump`; None for no text and for unusable text."""
        try:
            # An unusable checkpoint, such as one of another version, only means that everything is
            # read.
            return msgspec.json.decode(text or "null", type=cls | None)
        except msgspec.DecodeError:
            return None


class UnchangedScopes(Struct, frozen=True):
    """The scopes that need no reading, or the reason why all are read."""

    scopes: Mapping[ScopeKey, float] = field(default_factory=dict)
    """When each was read last."""
    full_refresh_reason: str = ""
    """Why every scope is read; empty if some are trusted."""
    setback: str = ""
    """What went wrong, in a few words for the plan; empty if nothing."""
    reasons: Mapping[ScopeKey, str] = field(default_factory=dict)
    """Why a single scope is read."""
    newest_entries: Mapping[str, float] = field(default_factory=dict)
    """By id: the times of the newest entries, if the log answered."""
    projects_reported: bool = False
    counted: Counted | None = None
    """As in `RefreshCheckpoint`."""
    writes: Sequence[Write] | None = None
    """As in `RefreshCheckpoint`; None if the log did not answer."""

    def without(self, scopes: Collection[ScopeKey], reason: str) -> UnchangedScopes:
        """The same, without some scopes, which are read after all."""
        # The rest of the log's answer stays: its entries were judged, whether or not these scopes
        # are read.
        kept = {scope: at for scope, at in self.scopes.items() if scope not in scopes}
        return replace(self, scopes=kept, reasons={**self.reasons, **dict.fromkeys(scopes, reason)})


def newest_entries_of(entries: Iterable[AuditEntry]) -> Mapping[str, float]:
    """The times of the newest entries by id, as a checkpoint remembers them."""
    newest = sorted(entries, key=lambda entry: entry.at, reverse=True)[:_PROOFS]
    return {entry.id: entry.at for entry in newest}


def scope_key(address: Address) -> ScopeKey:
    """The scope that an address belongs to."""
    return address.kind, address.project
