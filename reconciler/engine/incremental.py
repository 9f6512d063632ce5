"""Reading less: a scope in which the audit log shows no change since we last saw it in order is not read again.

What an apply leaves in order is remembered with the time at which its reading began. The next plan asks the log, once
for all, what happened since, a while before that included since entries come late. The log is believed only as long as
it still shows what it showed before; an entry of a family that we do not know, a gap, a log that is off: everything is
read. So is, after so many hours or runs, everything anyway.

The memory only ever proves that there is nothing to do: a scope in which a plan finds something is read after all, and
planned anew.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import asdict

from reconciler.engine.inputs import PlanInputs
from reconciler.errors import ApiError, CredentialError
from reconciler.model.address import Address
from reconciler.model.change import ApplyResult, OutcomeStatus, Plan, Reading
from reconciler.model.kind import Kind, Scope
from reconciler.model.log import Entry

Seat = tuple[str, str | None]
"""A kind's name and a project's name in the configuration: what is listed, and remembered, together."""

_OTHER_FAMILIES = (
    "api_key.", "certificate.", "certificates.", "checkpoint.permission.", "external_key.", "external_storage.",
    "group.", "invite.", "ip_allowlist.", "login.", "logout.", "organization.", "project.", "rate_limit.", "role.",
    "scim.", "service_account.", "tunnel.", "user.", "workload_identity_provider.",
    "workload_identity_provider_mapping.",
)  # fmt: skip
"""Families of entries that are known; which kinds they touch is for the kinds to say."""

_SERVER_LAG_SECONDS = 60.0


class Memory(Struct, frozen=True):
    """What is known from earlier runs: since when each seat is in order, and which entries are accounted for.

    `full_at` is when everything was read last, `runs` counts the applies since. Times are unix seconds of the server.
    """

    seats: Mapping[Seat, float] = field(default_factory=dict)
    entries: Mapping[str, float] = field(default_factory=dict)
    full_at: float = 0.0
    runs: int = 0

    def dump(self) -> str:
        """The memory as text, to keep beside the state."""
        seats = [[kind, project, at] for (kind, project), at in self.seats.items()]
        return json.dumps({**asdict(self), "seats": seats})

    @classmethod
    def load(cls, text: str | None) -> Memory | None:
        """The memory of a text; None for no text, and for one that cannot be used."""
        try:
            data = json.loads(text or "null")
            seats = {(kind, project): float(at) for kind, project, at in data.pop("seats")}
            return cls(seats=seats, **data)
        except (ValueError, TypeError, AttributeError, KeyError):
            return None


class Sweeps(Struct, frozen=True):
    """When everything is read whatever the log says, and how late its entries may come."""

    overlap_seconds: float = 900.0
    hours: float = 24.0
    runs: int = 20


class Trust(Struct, frozen=True):
    """Which seats need no reading, or why none is trusted; `asked_at` is when the log was asked, before any reading."""

    seats: frozenset[Seat] = frozenset()
    because: str = ""
    asked_at: float = 0.0
    oldest: float | None = None


Log = Callable[[float], Sequence[Entry]]
"""Gives the entries since a time, in unix seconds. Raises ApiError or CredentialError where it cannot."""


def decide(inputs: PlanInputs, memory: Memory | None, log: Log, *, now: float, sweeps: Sweeps) -> Trust:
    """Which seats are as we left them. Asks the log at most once, and not at all where it could save nothing."""
    if memory is None:
        return Trust(because="no earlier reading is remembered", asked_at=now)
    if now - memory.full_at > sweeps.hours * 3600 or memory.runs >= sweeps.runs:
        return Trust(because="everything is read from time to time", asked_at=now)
    options = inputs.options
    if options.unmanaged or options.adopt or options.destroy or inputs.state_is_new:
        return Trust(because="all objects are asked for", asked_at=now)
    seats = {seat for seat in _recorded_seats(inputs) if seat in memory.seats}
    if len(seats) < 2:
        return Trust(asked_at=now)
    try:
        fresh = _unaccounted(log, memory, since=min(memory.seats[seat] for seat in seats) - sweeps.overlap_seconds)
        touched = _touched(seats, fresh, inputs)
    except (ApiError, CredentialError) as error:
        return Trust(because=f"the audit log cannot be used: {error}", asked_at=now)
    kept = frozenset(seats - touched)
    return Trust(kept, "", now, min((memory.seats[seat] for seat in kept), default=None))


def _touched(seats: set[Seat], entries: Iterable[Entry], inputs: PlanInputs) -> set[Seat]:
    """The seats in which entries may have changed something; raises ApiError for an entry that nobody knows."""
    names = _project_names(inputs)
    touched: set[Seat] = set()
    for entry in entries:
        if entry.type == "resource.deleted":
            ids = {address for address, record in inputs.records.items() if record.id == entry.resource_id}
            touched |= {(address.kind, address.project) for address in ids}
        elif entry.type.startswith("tenant."):
            touched |= {seat for seat in seats if seat[1] is None}
        else:
            kinds = [kind for kind in inputs.kinds.values() if entry.type.startswith(kind.events)]
            if not kinds and not entry.type.startswith(_OTHER_FAMILIES):
                raise ApiError(f'it has an entry of an unknown type, "{entry.type}"')
            touched |= {seat for kind in kinds for seat in seats if _may_touch(kind, seat, entry, names)}
    return touched


def _may_touch(kind: Kind, seat: Seat, entry: Entry, names: Mapping[str, str]) -> bool:
    if seat[0] != kind.name:
        return False
    if kind.scope is Scope.ORGANIZATION or entry.project_id is None:
        return True
    return seat[1] == names.get(entry.project_id)


def _unaccounted(log: Log, memory: Memory, *, since: float) -> list[Entry]:
    """The entries that nobody has accounted for yet; raises ApiError where the log forgot what it showed before."""
    if not memory.entries:
        raise ApiError("it has not shown any change of ours so far")
    newest = max(memory.entries.values())
    entries = log(min(since, newest))
    seen = {entry.id for entry in entries}
    if any(at >= min(since, newest) and id not in seen for id, at in memory.entries.items()):
        raise ApiError("it does not show any more what it showed before")
    return [entry for entry in entries if entry.id not in memory.entries]


def _recorded_seats(inputs: PlanInputs) -> set[Seat]:
    """The seats whose kinds the log tells about, and in which every declared resource has an object."""
    unbound = {_seat(item.address) for item in inputs.resources if item.address not in inputs.records}
    seats = {_seat(address) for address in inputs.records}
    return {seat for seat in seats - unbound if is_told_of(inputs.kinds.get(seat[0]))}


def is_told_of(kind: Kind | None) -> bool:
    """Whether the log tells of every change of the kind."""
    return kind is not None and bool(kind.events) and not kind.surroundings


def _project_names(inputs: PlanInputs) -> dict[str, str]:
    names = {id: name for name, id in inputs.projects.items()}
    for address, record in inputs.records.items():
        if inputs.kinds[address.kind].defines_project if address.kind in inputs.kinds else False:
            names[record.id] = address.name
        elif address.project and record.project_id:
            names.setdefault(record.project_id, address.project)
    return names


def unsettled(plan: Plan, trust: Trust) -> set[Seat]:
    """The trusted seats in which a plan has something to do, so that they have to be read after all."""
    return {_seat(change.address) for change in plan.pending} & trust.seats


class Writes(Struct, frozen=True):
    """What a run wrote, by the ids that the log would name: how many writes of each object, and other ids it made."""

    objects: Counter[str]
    others: Collection[str] = ()


def remembered(
    memory: Memory | None,
    trust: Trust,
    result: ApplyResult,
    writes: Writes,
    entries: Sequence[Entry],
    *,
    kinds: Mapping[str, Kind],
    sweeps: Sweeps,
) -> Memory:
    """The memory after an apply: what it left in order, and which entries are its own or older than its reading.

    An object that the log names more often than we wrote it was somebody else's to write as well, so none of those
    entries is taken to be ours, and the next plan reads the scope.
    """
    was = memory or Memory()
    good = {OutcomeStatus.APPLIED}
    failed = {_seat(outcome.change.address) for outcome in result.outcomes if outcome.status not in good}
    seen = {_seat(change.address) for change in result.plan.changes}
    in_order = {seat for seat in seen - failed if is_told_of(kinds.get(seat[0]))}
    named = Counter(entry.resource_id for entry in entries)
    mine = {
        entry.id: entry.at
        for entry in entries
        if entry.at < trust.asked_at - _SERVER_LAG_SECONDS
        or entry.resource_id in writes.others
        or named[entry.resource_id] == writes.objects[entry.resource_id or ""]
    }
    known = {**was.entries, **mine}
    oldest = trust.asked_at - sweeps.overlap_seconds - 2 * _SERVER_LAG_SECONDS
    newest = max(known.values(), default=0.0)
    return Memory(
        seats=dict.fromkeys(in_order, trust.asked_at),
        entries={id: at for id, at in known.items() if at >= min(oldest, newest)},
        full_at=was.full_at if trust.seats else trust.asked_at,
        runs=was.runs + 1 if trust.seats else 0,
    )


def _seat(address: Address) -> Seat:
    return address.kind, address.project


def reading_of(trust: Trust) -> Reading:
    """For reports: how many scopes were not read again, since when, or why all were."""
    return Reading(len(trust.seats), trust.oldest, trust.because)
