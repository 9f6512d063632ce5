"""What piles up and is nobody's: objects that a rule matches become deletions of the plan.

A rule must say of an object what it is, and how old at least. Whatever a rule says, all is passed over that somebody
is known to want: what is declared, recorded, bound or begun, what carries the mark of any stack, what a collection of
any stack holds, and what anything of ours names by its id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from msgspec.structs import replace

from reconciler.engine import diff
from reconciler.engine.plan.drift import shown_spec
from reconciler.engine.plan.removal import of_record
from reconciler.engine.refresh.collect import Collector
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Reason
from reconciler.model.kind import TerminalState
from reconciler.model.resource import LiveObject, Record
from reconciler.model.rule import Rule
from reconciler.model.values import MAP, FileSet, Spec, Template

_DAY = 86_400
_TIMES = ("last_active_at", "created_at", "created")
"""Where objects tell how old they are; where one tells when it was used last, that counts."""


def with_retention(survey: Collector, changes: list[Change]) -> list[Change]:
    """The changes, with the deletions of all that rules match."""
    swept = {change.address: change for change in _matched_by_rule(survey, changes)}
    # What remains of such an address is the memory of a run that died deleting there.
    return [*(change for change in changes if change.address not in swept), *swept.values()]


def _matched_by_rule(survey: Collector, changes: Iterable[Change]) -> list[Change]:
    if not survey.retention_rules:
        return []
    wanted, now, found = _wanted(survey, changes), survey.inputs.server_time(), dict[tuple[str, str], Change]()
    for rule in survey.retention_rules:
        if not survey.knows_all_for(rule):
            continue  # a collection that could not be read may hold what the rule matches
        for live in survey.state.objects(rule.spec["of"], rule.address.project):
            address = _address_of(live)
            if (
                address is not None
                and live.id not in wanted
                and matches(rule.spec["match"], live, now)
                and _is_nobodys(survey, live, address)
            ):
                # Two keys can open one project, so an object can be listed twice.
                found.setdefault((live.kind.name, live.id), _removal(survey, rule, live, address))
    held = set(_texts([live.own_calls for live in survey.read_collections()])) if found else set()
    return [change for change in found.values() if change.id not in held]


def matches(match: Spec, live: LiveObject, now: float) -> bool:
    """Whether an object is all that a rule says. What an object does not tell, it is not."""
    last = next((at for name in _TIMES if isinstance(at := live.attributes.get(name), int | float) and at > 0), None)
    if last is None or now - last < match["older_than_days"] * _DAY:
        return False
    asked = {name: value for name, value in match.items() if name != "older_than_days" and value is not None}
    return bool(asked) and all(_is_so(name, value, live.attributes) for name, value in asked.items())


def _is_so(name: str, wanted: Any, attributes: Spec) -> bool:
    if name == "name":
        shown = _name_of(attributes)
        return shown is not None and fnmatchcase(shown, wanted)
    shown = attributes.get(name)
    if isinstance(wanted, MAP):
        return isinstance(shown, MAP) and bool(wanted) and all(shown.get(key) == wanted[key] for key in wanted)
    return bool(shown == wanted)


def _name_of(attributes: Spec) -> str | None:
    found = attributes.get("filename", attributes.get("name"))
    return found if isinstance(found, str) else None


def _address_of(live: LiveObject) -> Address | None:
    """The address of an object that nobody declares: its own id, where one can be written so."""
    try:
        return Address.parse("/".join(part for part in (live.kind.name, live.project, live.id) if part))
    except ValueError:
        return None


def _is_nobodys(survey: Collector, live: LiveObject, address: Address) -> bool:
    inputs = survey.inputs
    taken = address in survey.resources or address in inputs.records or live.is_marked
    noted = inputs.ownership.created_ids.get(live.id, address) != address
    kept = (
        live.kind.read_only_reason(live.attributes) is not None
        or live.kind.terminal_state(live.attributes) is TerminalState.GONE
    )
    identities = live.kind.identities(live.attributes)
    begun = any(
        attempt.can_have_made(live) and (attempt.id is not None or attempt.identity in identities)
        for at, attempts in inputs.ownership.create_attempts.items()
        for attempt in attempts
        if at.kind == live.kind.name
    )
    return not (taken or noted or kept or begun)


def _wanted(survey: Collector, changes: Iterable[Change]) -> set[str]:
    """Every text in what is ours: among them are the ids of all that is ours, or is named by it."""
    inputs = survey.inputs
    bound = [binding.live for binding in survey.bindings.values() if binding.live is not None]
    sources: list[Any] = [
        [change.id for change in changes],
        [(resource.spec, resource.lifecycle.adopt) for resource in inputs.resources],
        [(record.id, record.deposed, record.applied, record.delivered) for record in inputs.records.values()],
        [(live.id, live.attributes, live.own_calls) for live in bound],
        [rule.spec for rule in inputs.rules],
        inputs.outputs,
        inputs.previous_outputs,
    ]
    return set(_texts(sources))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, FileSet):
        for member in value.members:
            yield from _texts((member.file_id, member.attributes))
    elif isinstance(value, Template):
        yield from _texts(value.parts)


def _removal(survey: Collector, rule: Rule, live: LiveObject, address: Address) -> Change:
    project, openers = address.project, survey.access_dependencies(address.project)
    record = Record(address, live.id, project_id=survey.project_id(project), depends_on=openers)
    return replace(
        of_record(live.kind, record, Reason.RETENTION),
        action=Action.DELETE,
        before=shown_spec(live, None),
        pre_image=diff.image(live.kind, live),
        location=rule.location,
        destructive=_lost(live),
        matched_by=rule.address,
    )


def _lost(live: LiveObject) -> str:
    """What is lost, for whoever approves it: a name and a day, where the id says little."""
    times = [(name, live.attributes.get(name)) for name in _TIMES]
    name, at = next((name, at) for name, at in times if isinstance(at, int | float) and at > 0)
    day = datetime.fromtimestamp(at, UTC).date().isoformat()
    since = f"last used on {day}" if name == "last_active_at" else f"of {day}"
    what = " ".join([part for part in (_name_of(live.attributes), since) if part])
    return f"{what}: {live.kind.destroys}" if live.kind.destroys else what
