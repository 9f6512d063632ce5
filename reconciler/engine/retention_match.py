"""Decides which objects retention rules match.

A rule describes objects and a minimum age. An object that is known to be wanted always stays: if it
is declared, recorded, bound or being created, if it carries the mark of any stack, if a collection
contains it, or if anything of ours names its id.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from reconciler.engine.scope import Scope
from reconciler.engine.snapshot import RetentionMatch, Snapshot
from reconciler.model.address import Address
from reconciler.model.kind import Kind, TerminalState
from reconciler.model.resource import LiveObject
from reconciler.model.rule import Rule
from reconciler.model.types import FileSetType
from reconciler.model.values import MAP, Spec, texts_in

_DAY = 86_400
TIMES = ("last_active_at", "created_at", "created")
"""Attributes with the age, in order of preference: the last use counts more than the creation."""


def matched_objects(snapshot: Snapshot) -> list[RetentionMatch]:
    """Matches of all retention rules. The contents of collections are not considered yet."""
    rules = snapshot.selection.retention_rules
    if not rules:
        return []
    # Ages are computed with the server's time, because a wrong local clock would delete too much.
    wanted, now = _wanted_ids(snapshot), snapshot.inputs.server_time()
    matched: dict[tuple[str, str], RetentionMatch] = {}
    for rule in rules:
        if not snapshot.could_read(rule_scopes(rule, snapshot.inputs.kinds)):
            continue  # a collection that could not be read may hold what the rule matches
        for live in snapshot.live.objects(rule.spec["of"], rule.address.project):
            if live.id in wanted or not matches(rule.spec["match"], live, now):
                continue
            address = _address_of(live)
            if address is not None and _is_unowned(snapshot, live, address):
                # Two keys can open one project, so an object can be listed twice.
                matched.setdefault((live.kind.name, live.id), RetentionMatch(rule, live, address))
    return list(matched.values())


def matches(match: Spec, live: LiveObject, now: float) -> bool:
    """Whether all conditions of a rule hold. A condition on a field that the answer lacks fails."""
    used = last_use(live)
    # An object without any time has no provable age and never matches.
    if used is None or now - used[1] < match["older_than_days"] * _DAY:
        return False
    # A rule that only names an age would match everything old, so it matches nothing.
    has_condition = False
    for name, value in match.items():
        if name == "older_than_days" or value is None:
            continue
        if not _holds(name, value, live.attributes):
            return False
        has_condition = True
    return has_condition


def last_use(live: LiveObject) -> tuple[str, float] | None:
    """The attribute that shows the age best, and its value in unix seconds."""
    for name in TIMES:
        at = live.attributes.get(name)
        # Zero means "unknown" in some answers and would count as 1970.
        if isinstance(at, int | float) and at > 0:
            return name, at
    return None


def name_of(attributes: Spec) -> str | None:
    """The display name of an object."""
    # Files have a filename, everything else a name.
    name = attributes.get("filename", attributes.get("name"))
    return name if isinstance(name, str) else None


def rule_scopes(rule: Rule, kinds: Mapping[str, Kind]) -> list[Scope]:
    """The scopes that decide about a rule: its objects, and collections that may contain them."""
    names = [rule.spec["of"]]
    names += [kind.name for kind in kinds.values() if collection_fields(kind) and not kind.parents]
    return [Scope(name, rule.address.project) for name in names]


def collection_fields(kind: Kind) -> frozenset[str]:
    """The fields of a kind that contain other objects."""
    return frozenset(field.name for field in kind.own_calls if isinstance(field.type, FileSetType))


def _holds(name: str, wanted: Any, attributes: Spec) -> bool:
    if name == "name":
        shown = name_of(attributes)
        return shown is not None and fnmatchcase(shown, wanted)
    shown = attributes.get(name)
    if not isinstance(wanted, MAP):
        return bool(shown == wanted)
    # An empty condition would match every object, so it matches none.
    if not wanted or not isinstance(shown, MAP):
        return False
    return all(shown.get(key) == wanted[key] for key in wanted)


def _address_of(live: LiveObject) -> Address | None:
    """An address made of the object's id; None if the id cannot be part of an address."""
    try:
        # Ids are opaque and can contain anything. Without an address, the deletion could not be
        # allowed or refused.
        return Address.parse("/".join(filter(None, (live.kind.name, live.project, live.id))))
    except ValueError:
        return None


def _is_unowned(snapshot: Snapshot, live: LiveObject, address: Address) -> bool:
    inputs = snapshot.inputs
    # A mark of any stack counts, not only ours: other stacks may share the organization.
    if address in snapshot.resources or address in inputs.records or live.is_marked:
        return False
    # An interrupted run created it for an address of ours and will bind it.
    if inputs.ownership.created_ids.get(live.id, address) != address:
        return False
    is_gone = live.kind.terminal_state(live.attributes) is TerminalState.GONE
    # The API would refuse the deletion, in every run again.
    if is_gone or live.kind.read_only_reason(live.attributes) is not None:
        return False
    # A create without an answer may have made it, so the next run will look for it.
    identities = live.kind.identities(live.attributes)
    for attempted, attempts in inputs.ownership.create_attempts.items():
        if attempted.kind != live.kind.name:
            continue
        for attempt in attempts:
            is_alike = attempt.id is not None or attempt.identity in identities
            if is_alike and attempt.can_have_made(live):
                return False
    return True


def _wanted_ids(snapshot: Snapshot) -> set[str]:
    """All texts in all our resources and objects. They include the ids of all objects that are ours
    or that ours refer to.
    """
    inputs = snapshot.inputs
    # Outputs too: somebody outside may use an id that only an output contains.
    sources: list[Any] = [inputs.outputs, inputs.previous_outputs]
    for resource in inputs.resources:
        sources += (resource.spec, resource.lifecycle.adopt)
    for record in inputs.records.values():
        sources += (record.id, record.deposed, record.applied, record.delivered)
    for binding in snapshot.bindings.values():
        if binding.live is not None:
            sources += (binding.live.id, binding.live.attributes, binding.live.own_calls)
    for rule in inputs.rules:
        sources.append(rule.spec)
    return set(texts_in(sources))
