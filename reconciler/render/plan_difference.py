"""Differences between an approved plan and the present one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.model.address import Address
from reconciler.model.change import Change, Plan
from reconciler.model.comparing import differing
from reconciler.model.plan_digest import change_digest
from reconciler.render import phrases
from reconciler.render.values import count, enclosed, more

_MOST_LINES = 20
_MOST_FIELDS = 6


def differences(approved: Plan, present: Plan) -> list[str]:
    """A line for each change that only one plan has, or that differs; a few, and how many more."""
    return _first_lines(
        _differences(_by_address(approved), _by_address(present), approved, present)
    )


def changes_of(plan: Plan) -> list[str]:
    """A line for each change of a plan, destructive ones first; a few, and how many more."""
    ordered = sorted(plan.pending, key=lambda change: not change.is_destructive)
    return _first_lines(map(_planned, ordered))


def _differences(
    before: Mapping[Address, Change],
    now: Mapping[Address, Change],
    approved: Plan,
    present: Plan,
) -> Iterator[str]:
    for address in sorted({*before, *now}):
        was, is_now = before.get(address), now.get(address)
        if was is None and is_now is not None:
            yield f"not approved: {_planned(is_now)}"
        elif is_now is None and was is not None:
            yield f"no longer planned: {_planned(was)}"
        elif was and is_now and change_digest(was) != change_digest(is_now):
            yield _changed(was, is_now)
    # Values of outputs can be long, or secret; the plan shows them where they may be seen.
    if approved.outputs != present.outputs:
        yield "the outputs differ"
    for name in ("stack", "environment", "base_url", "destroy"):
        if getattr(approved, name) != getattr(present, name):
            yield f"{name}: {getattr(approved, name)} was approved, now {getattr(present, name)}"


def _changed(was: Change, now: Change) -> str:
    if (was.action, was.reason) != (now.action, now.reason):
        return f"{now.address}: approved was “{phrases.will_be(was)}”, now “{phrases.will_be(now)}”"
    if was.id != now.id:
        return f"{now.address}: another object, {now.id} instead of {was.id}"
    names = differing(_values_of(was), _values_of(now))
    if not names:
        # The same fields change in the same way, but other fields of the object differ.
        names = differing(was.desired, now.desired) + differing(was.before, now.before)
    listed = ", ".join(names[:_MOST_FIELDS]) or "it"
    return f"{now.address}: other values of {listed}{more(len(names), _MOST_FIELDS)}"


def _values_of(change: Change) -> dict[str, tuple[Any, Any]]:
    return {field.dotted: (field.before, field.after) for field in change.fields}


def _by_address(plan: Plan) -> dict[Address, Change]:
    return {change.address: change for change in plan.pending}


def _planned(change: Change) -> str:
    lost = enclosed(" (destroys: ", change.destroys, ")")
    return f"{change.address} {phrases.will_be(change)}{lost}"


def _first_lines(lines: Iterator[str]) -> list[str]:
    listed = list(lines)
    if len(listed) <= _MOST_LINES:
        return listed
    left_out = count(len(listed) - _MOST_LINES + 1, "more difference")
    return [*listed[: _MOST_LINES - 1], f"and {left_out}"]
