"""Deletions by retention rules. `retention_match.py` decides which objects match."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec.structs import replace

from reconciler.engine import diff
from reconciler.engine.plan.removal import of_record
from reconciler.engine.retention_match import last_use, name_of
from reconciler.engine.snapshot import RetentionMatch, Snapshot
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Reason
from reconciler.model.resource import LiveObject, Record, shown_spec


def with_retention(snapshot: Snapshot, changes: list[Change]) -> list[Change]:
    """The changes, with deletions of everything that rules match."""
    removals: dict[Address, Change] = {}
    for match in snapshot.retention_matches:
        removals[match.address] = _removal(snapshot, match)
    # Addresses of matches are made of ids, so they cannot collide with declared ones. Another
    # change of such an address comes from an interrupted run that was deleting the object.
    others = [change for change in changes if change.address not in removals]
    return [*others, *removals.values()]


def _removal(snapshot: Snapshot, match: RetentionMatch) -> Change:
    live, project = match.live, match.address.project
    # No record describes the object: a rule matches only objects without an owner.
    record = Record(
        match.address,
        live.id,
        project_id=snapshot.project_id(project),
        # The key and the project must outlast the deletion.
        depends_on=snapshot.access_dependencies(project),
    )
    return replace(
        of_record(live.kind, record, Reason.RETENTION),
        action=Action.DELETE,
        before=shown_spec(live, None),
        # Apply does not delete an object that somebody changed after the rule matched it.
        pre_image=diff.image(live.kind, live),
        location=match.rule.location,
        destructive=_loss(live),
        matched_by=match.rule.address,
    )


def _loss(live: LiveObject) -> str:
    """A name and a date for the person who approves the deletion, because an id says little."""
    texts = []
    name = name_of(live.attributes)
    if name:
        texts.append(name)
    used = last_use(live)
    if used is not None:
        field, at = used
        # In UTC, so that the same plan shows the same day everywhere.
        day = datetime.fromtimestamp(at, UTC).date().isoformat()
        texts.append(f"last used on {day}" if field == "last_active_at" else f"of {day}")
    text = " ".join(texts)
    return f"{text}: {live.kind.destroys}" if live.kind.destroys else text
