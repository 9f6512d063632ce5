"""Leftovers of interrupted runs, and objects that only carry a copy of a mark.

They are searched once every resource is bound, because a bound object is no leftover.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.binding.matcher import Matcher
from reconciler.engine.binding.natural_keys import is_gone
from reconciler.model.address import Address
from reconciler.model.resource import LiveObject


class Leftovers(Struct, frozen=True):
    """Objects that no resource is bound to, each with the address that it was created for."""

    abandoned: tuple[tuple[Address, LiveObject], ...] = ()
    """Marked objects of ours that lost their declaration, or that an interrupted replacement left behind."""
    copies: tuple[tuple[Address, LiveObject], ...] = ()
    """Objects with a mark of ours that nothing proves to be ours: copies, most likely. Never deleted."""
    undeclared: tuple[tuple[Address, LiveObject | None], ...] = ()
    """Unmarked objects that interrupted runs created for addresses that nothing declares or records.

    The address alone if the object does not exist, or if it is uncertain which one it is.
    """
    superseded: tuple[tuple[Address, LiveObject], ...] = ()
    """Unmarked objects that interrupted runs created for addresses of ours, with another natural key
    than the declared or recorded one."""


def find_leftovers(matcher: Matcher) -> Leftovers:
    """The leftovers, once the matcher has bound every resource."""
    abandoned: list[tuple[Address, LiveObject]] = []
    copies: list[tuple[Address, LiveObject]] = []
    for address, live in _unbound_marked(matcher):
        # Abandoned objects are deleted by the plan. Copies are only reported, since somebody may
        # use them.
        if matcher.marks.is_abandoned(address, live):
            abandoned.append((address, live))
        else:
            copies.append((address, live))
    return Leftovers(
        tuple(abandoned),
        tuple(copies),
        tuple(_created_for_nothing(matcher)),
        tuple(_superseded(matcher)),
    )


def _unbound_marked(matcher: Matcher) -> Iterator[tuple[Address, LiveObject]]:
    """Objects with a mark of ours that nothing is bound to.

    A job that has ended is no leftover: it is history, and its mark cannot be taken away.
    """
    for address, objects in matcher.marks.items():
        for live in objects:
            if not matcher.claims.is_claimed(live) and (live.kind.job is None or live.runs):
                yield address, live


def _created_for_nothing(matcher: Matcher) -> Iterator[tuple[Address, LiveObject | None]]:
    ownership = matcher.ownership
    # Unmarked objects of such addresses would be found by nothing else: no resource is bound to
    # them and no record names them.
    for address in ownership.unfinished:
        # Such an address was bound, or its record decides.
        if address in matcher.declared or address in matcher.records:
            continue
        # Even without an object, the unfinished journal entry has to be closed: yield the address
        # alone.
        created = _all_created(matcher, address, ownership.create_attempts.get(address, ()))
        for live in created or (None,):
            yield address, live


def _superseded(matcher: Matcher) -> Iterator[tuple[Address, LiveObject]]:
    """The manifest was edited after the run died, or its replacement is no longer declared while the record stays."""
    for address, attempts in matcher.ownership.create_attempts.items():
        if address not in matcher.declared and address not in matcher.records:
            continue
        wanted = matcher.keys.wanted.get(address)
        if wanted is None and address in matcher.declared:
            continue  # not known yet what is wanted, so any of them may be it
        # The journal stores the natural key of each attempt. If it differs from the present one,
        # the manifest was edited in between.
        earlier = [each for each in attempts if each.identity and each.identity != wanted]
        for live in _all_created(matcher, address, earlier):
            yield address, live


def _all_created(
    matcher: Matcher, address: Address, attempts: Iterable[CreateAttempt]
) -> list[LiveObject]:
    # By id, because two attempts can fit one object.
    created: dict[str, LiveObject] = {}
    for attempt in attempts:
        for live in _created_by(matcher, address, attempt):
            created[live.id] = live
    return list(created.values())


def _created_by(matcher: Matcher, address: Address, attempt: CreateAttempt) -> list[LiveObject]:
    free = []
    for live in matcher.live.objects(address.kind, address.project):
        # A marked object is judged by its mark, not by its age.
        has_owner = live.mark is not None or matcher.claims.is_claimed(live)
        if has_owner or is_gone(live) or not matcher.keys.is_free(live, address):
            continue
        if attempt.can_have_made(live):
            free.append(live)
    # An answered create names its object, which needs no further evidence.
    if attempt.id is not None:
        return free
    alike = []
    for live in free:
        is_alike = attempt.identity and attempt.identity in live.kind.identities(live.attributes)
        # Whatever is returned here gets deleted, so an object without a creation time is left
        # alone.
        is_of_known_age = live.attributes.get("created_at") is not None
        if is_alike and is_of_known_age and live.id not in matcher.claims.members:
            alike.append(live)
    # One of two is somebody else's, and nothing shows which.
    return alike if len(alike) == 1 else []
