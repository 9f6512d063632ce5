"""Keys that take turns: how a manifest rotates them, and what the state records of them.

The record of a resource has an entry for each key field, `delivered[FIELD]`:

    {key_id, target, receipt, made_at, expires_at, previous: [{…, replaced_at}, …]}

It describes the current key, and below `previous` the earlier keys that are still valid. Times are
unix seconds of the server. `is_open` says that an interrupted delivery of the last of the earlier
keys may have reached a destination of the current one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

from reconciler.model.durations import DAY_SECONDS, seconds_of
from reconciler.model.json_codec import sorted_json
from reconciler.model.sinks import EARLIER_KEYS, targets_of
from reconciler.model.values import Spec

OVERLAP_SECONDS = 7 * DAY_SECONDS
"""The least time that an earlier key stays valid, unless `rotate.overlap` sets another."""

UNUSED_SECONDS = DAY_SECONDS
"""The least time that an earlier key must be unused before its revocation, unless the manifest sets
another.
"""

PREVIOUS = EARLIER_KEYS
KEPT = "kept"
"""The part of an earlier key that names the second slot it was copied to: `{target, receipt}`."""
_OF_ONE_KEY = ("key_id", "target", "receipt", "made_at", "expires_at")


class KeyAction(StrEnum):
    """The action of a plan on a key."""

    ROTATE = "rotate"
    """A new key is created and delivered, and the current one becomes an earlier key."""
    REVOKE = "revoke"
    """An earlier key is deleted."""
    KEEP = "keep"
    """An earlier key stays valid, or a rotation waits."""


class KeyStep(Struct, frozen=True):
    """One step of a key field in a plan."""

    field: str
    action: KeyAction
    why: str
    """The sentence of the plan: `will be rotated: 93 days old`."""
    key_id: str | None = None
    """The key that is revoked or kept."""
    unused_seconds: float | None = None
    """For a revocation: how long the key must be unused. Apply checks that once more; None to revoke
    it in any case."""
    makes_object: bool = False
    """Whether the rotation creates another object, because the object itself is the key."""
    is_due: bool = False
    """Whether the interval of the manifest has passed."""

    @property
    def at_once(self) -> bool:
        """Whether a key is revoked even if it is in use."""
        return self.action is KeyAction.REVOKE and self.unused_seconds is None


class RotationPolicy(Struct, frozen=True):
    """The `rotate` of a manifest, in seconds."""

    every: float | None = None
    """The age at which a key is rotated; None for never."""
    overlap: float = OVERLAP_SECONDS
    """The least time that an earlier key stays valid."""
    unused: float = UNUSED_SECONDS
    """The least time that an earlier key must be unused before it is revoked."""


def policy_of(value: Any) -> RotationPolicy:
    """The policy in the value of a key field; the defaults where it sets none."""
    rotate = _map_at(value, "rotate")
    revoke = _map_at(rotate, "revoke")
    return RotationPolicy(
        every=seconds_of(rotate.get("every")),
        overlap=_seconds_or(OVERLAP_SECONDS, rotate.get("overlap")),
        unused=_seconds_or(UNUSED_SECONDS, revoke.get("when_unused_for")),
    )


def _map_at(value: Any, name: str) -> Mapping[str, Any]:
    part = value.get(name) if isinstance(value, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _seconds_or(default: float, text: Any) -> float:
    # Not `or`: `0s` is a duration that a manifest may set.
    seconds = seconds_of(text)
    return default if seconds is None else seconds


def same_places(left: Any, right: Any) -> bool:
    """Whether two `write_to` name the same destinations."""
    return set(map(sorted_json, targets_of(left))) == set(map(sorted_json, targets_of(right)))


def current_key(entry: Spec) -> dict[str, Any]:
    """The parts of an entry that describe its current key."""
    return {name: entry[name] for name in _OF_ONE_KEY if entry.get(name) is not None}


def earlier_keys(entry: Any) -> Sequence[Spec]:
    """The earlier keys of an entry, oldest first."""
    # A state can be edited by hand, so every part of an entry is checked.
    keys = entry.get(PREVIOUS) if isinstance(entry, Mapping) else None
    if not isinstance(keys, list | tuple):
        return []
    return [key for key in keys if isinstance(key, Mapping)]


def key_ids(entry: Any) -> Iterator[str]:
    """The ids of all keys of an entry, the current one first."""
    keys = (entry, *earlier_keys(entry)) if isinstance(entry, Mapping) else ()
    yield from (key["key_id"] for key in keys if isinstance(key.get("key_id"), str))


def with_next(entry: Spec, key: Spec, *, replaced_at: float) -> dict[str, Any]:
    """The entry once another key is the current one. Without a current key, that is the first.

    `kept` of the new key is the second slot of the one that it succeeds.
    """
    if entry.get("key_id") == key.get("key_id"):
        return _with_earlier(current_key(key), earlier_keys(entry))
    earlier = list(earlier_keys(entry))
    if entry.get("key_id"):
        replaced = {**current_key(entry), "replaced_at": replaced_at}
        if key.get(KEPT):
            replaced[KEPT] = key[KEPT]
        earlier.append(replaced)
    # An interrupted delivery may have recorded the new key as an earlier one: see `with_open`.
    earlier = [old for old in earlier if old.get("key_id") != key.get("key_id")]
    return _with_earlier(current_key(key), earlier)


def with_open(entry: Spec, key: Spec, *, replaced_at: float) -> dict[str, Any]:
    """The entry once a delivery of another key was interrupted: its destination may have it."""
    if key.get("key_id") in set(key_ids(entry)):
        return dict(entry)
    uncertain = {**current_key(key), "replaced_at": replaced_at}
    return {**entry, PREVIOUS: [*earlier_keys(entry), uncertain], "is_open": True}


def without_key(entry: Spec, key_id: str) -> dict[str, Any]:
    """The entry without one of its earlier keys."""
    rest = [key for key in earlier_keys(entry) if key.get("key_id") != key_id]
    return _with_earlier(entry, rest)


def _with_earlier(entry: Spec, earlier: Sequence[Spec]) -> dict[str, Any]:
    rest = {name: part for name, part in entry.items() if name != PREVIOUS}
    return {PREVIOUS: list(earlier), **rest} if earlier else rest


def reason_to_keep(step: KeyStep, shown: Spec, now: float) -> str:
    """Why a key must not be revoked after all, as the API shows it now; empty if it may be."""
    if step.unused_seconds is None:
        return ""
    if "last_used_at" not in shown:
        return f"{step.key_id} stays: the API does not show when it was last used."
    # Null means that the key was never used.
    used_at = shown["last_used_at"]
    is_time = isinstance(used_at, int | float)
    if used_at is None or (is_time and now - used_at >= step.unused_seconds):
        return ""
    return f"{step.key_id} stays: it was used after the plan was made."
