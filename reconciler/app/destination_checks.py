"""Asks the destinations of a plan's keys whether they would take them.

An apply asks once more before it creates a key. A plan asks first, so that a reviewer reads the
reason. If only this process lacks a credential, an address or a package, that is a warning: the
process that applies the plan may have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.engine.plan.blocking import with_blocked
from reconciler.errors import SinkError, SinkSetupError
from reconciler.kinds import ALL_KINDS
from reconciler.model.change import Action, Change, Plan
from reconciler.model.diagnostic import Diagnostic, Severity
from reconciler.model.provider import Sinks
from reconciler.model.sinks import places_of, targets_of
from reconciler.model.types import KeySinkType

_PARALLEL = 8
_DELIVERS = (Action.CREATE, Action.UPDATE, Action.REPLACE)


class _CheckedDelivery(Struct, frozen=True):
    change: Change
    target: Mapping[str, Any]


def with_checked_destinations(plan: Plan, sinks: Sinks) -> Plan:
    """The plan without the changes whose keys no destination would take, and with the reasons."""
    freed = set(chain.from_iterable(map(_freed, plan.changes)))
    planned = chain.from_iterable(map(_deliveries, plan.changes))
    # A destination that the same apply frees would still refuse the key now.
    deliveries = [each for each in planned if freed.isdisjoint(places_of(each.target))]
    if not deliveries:
        return plan
    with ThreadPoolExecutor(min(_PARALLEL, len(deliveries))) as pool:
        answers = pool.map(lambda delivery: _problem(sinks, delivery), deliveries)
        problems = [problem for problem in answers if problem is not None]
    errors = {}
    for problem in problems:
        if problem.severity is Severity.ERROR and problem.address is not None:
            errors[problem.address] = problem
    changes = with_blocked(plan.changes, errors)
    return replace(plan, changes=changes, diagnostics=(*plan.diagnostics, *problems))


def _deliveries(change: Change) -> Iterator[_CheckedDelivery]:
    if change.action not in _DELIVERS:
        return
    for name in _key_fields(change):
        if change.action is Action.UPDATE and name not in change.field_names:
            continue
        for target in targets_of(_write_to(change.desired, name)):
            yield _CheckedDelivery(change, target)


def _freed(change: Change) -> Iterator[str]:
    """The destinations that lose a key in a change, so that another key can go there."""
    for name in _key_fields(change):
        if change.action is Action.DELETE or name in change.field_names:
            yield from places_of(_write_to(change.before, name))


def _write_to(spec: Mapping[str, Any], name: str) -> Any:
    """The destinations of a key field."""
    value = spec.get(name)
    return value.get("write_to") if isinstance(value, Mapping) else None


def _key_fields(change: Change) -> Iterator[str]:
    kind = ALL_KINDS.get(change.address.kind)
    if kind is None:
        return
    for field in kind.own_calls:
        if isinstance(field.type, KeySinkType):
            yield field.name


def _problem(sinks: Sinks, delivery: _CheckedDelivery) -> Diagnostic | None:
    change = delivery.change
    try:
        sinks.check(delivery.target, address=change.address)
    except SinkError as error:
        is_setup = isinstance(error, SinkSetupError)
        return Diagnostic(
            "Destination not checked" if is_setup else "Destination refuses the key",
            _sentences(error),
            change.address,
            change.location,
            severity=Severity.WARNING if is_setup else Severity.ERROR,
        )
    return None


def _sentences(error: SinkError) -> str:
    parts = (str(error), error.hint)
    return " ".join(f"{part[:1].upper()}{part[1:].rstrip('.')}." for part in parts if part)
