"""Adds the matches of retention rules to a snapshot, without objects that a collection contains."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from reconciler.engine.binding.claims import Claims
from reconciler.engine.refresh.reader import Reader
from reconciler.engine.refresh.targets import ReadTargets
from reconciler.engine.retention_match import collection_fields, matched_objects
from reconciler.engine.scope import Scope
from reconciler.engine.snapshot import Snapshot
from reconciler.model.resource import LiveObject
from reconciler.model.values import texts_in


def with_retention_matches(
    snapshot: Snapshot, reader: Reader, targets: ReadTargets, claims: Claims
) -> Snapshot:
    """The snapshot with the matches of retention rules."""
    # The contents of a collection cost a call each, so they are read only if a rule matches.
    matches = matched_objects(snapshot)
    if not matches:
        return snapshot
    collections = list(_managed_collections(reader, targets, claims))
    reader.read_own_calls(
        {(scope, live.id): collection_fields(live.kind) for scope, live in collections}
    )
    contained: set[str] = set()
    for scope, live in collections:
        # Any text counts, whatever the field: deleting a referenced file would break the
        # collection.
        contained.update(texts_in(reader.state.listed[scope][live.id].own_calls))
    kept = [match for match in matches if match.live.id not in contained]
    return replace(snapshot, retention_matches=kept)


def _managed_collections(
    reader: Reader, targets: ReadTargets, claims: Claims
) -> Iterator[tuple[Scope, LiveObject]]:
    """The collections that protect their contents from retention rules, each with its list."""
    for scope in targets.retention:
        for live in reader.state.listed.get(scope, {}).values():
            # A collection that has ended contains nothing that anybody could use.
            has_ended = live.kind.terminal_state(live.attributes) is not None
            if has_ended or not collection_fields(live.kind):
                continue
            # A collection without an owner protects nothing, and its contents would cost a call.
            if live.is_marked or claims.is_claimed(live):
                yield scope, live
