"""Checks of `rotate` and `previous_to`: intervals that could not work, and slots that stay empty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.errors import SinkError
from reconciler.manifests.validate import SchemaViolation
from reconciler.model.durations import in_words, seconds_of
from reconciler.model.keys import policy_of
from reconciler.model.paths import Trail
from reconciler.model.resource import Resource
from reconciler.model.sinks import named_sink, targets_of


def key_problems(
    resource: Resource, name: str, value: Mapping[str, Any]
) -> Iterator[SchemaViolation]:
    """Problems of one key field of a resource."""
    trail: Trail = ("spec", name)
    yield from _intervals(resource, value, trail)
    yield from _second_slot(value, trail)


def _intervals(
    resource: Resource, value: Mapping[str, Any], trail: Trail
) -> Iterator[SchemaViolation]:
    rotate = value.get("rotate")
    if not isinstance(rotate, Mapping):
        return
    every = seconds_of(rotate.get("every"))
    if every is None:
        return
    policy, at = policy_of(value), (*trail, "rotate", "every")
    longest = max(policy.overlap, policy.unused)
    # Otherwise more than two keys would be valid at a time.
    if every <= longest:
        part = "overlap" if policy.overlap >= policy.unused else "revoke.when_unused_for"
        detail = (
            f"A key would be rotated every {in_words(every)}, before the one before it can be "
            f"revoked: {part} is {in_words(longest)}. Rotate less often, or shorten {part}."
        )
        yield SchemaViolation(at, "Interval shorter than the overlap", detail)
    lifetime = resource.spec.get("expires_in_seconds")
    if isinstance(lifetime, int) and not isinstance(lifetime, bool) and lifetime < every:
        detail = (
            f"The key expires after {in_words(lifetime)}, before it is rotated. Set "
            f"expires_in_seconds to at least {int(every + policy.overlap)}, or rotate more often."
        )
        yield SchemaViolation(at, "Interval longer than the life of the key", detail)


def _second_slot(value: Mapping[str, Any], trail: Trail) -> Iterator[SchemaViolation]:
    slot, write_to = value.get("previous_to"), value.get("write_to")
    if not isinstance(slot, Mapping):
        return
    at = (*trail, "previous_to")
    readable = []
    for target in targets_of(write_to):
        try:
            readable.append(named_sink(target)[0].reads_back)
        except SinkError:
            return  # reported by the schema
    if readable and not any(readable):
        detail = (
            "The earlier key is copied from its destination, and none of these can be read back. "
            "Deliver the key to a file as well, or remove previous_to."
        )
        yield SchemaViolation(at, "The second slot would stay empty", detail)
