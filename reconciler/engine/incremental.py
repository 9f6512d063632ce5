"""Reading less: a scope in which the audit log shows no change since it was read is not read again.

What an apply leaves in order is remembered with the time at which it was read. The next plan asks the log, once for
all, what happened since, a while before that included since entries come late. An entry is settled for a scope where
the scope was read after it, or where it is our own write; any other makes the scope be read. The log is believed only
as long as it still shows what it showed before; an entry of a family that we do not know, a gap, a log that is off:
everything is read. So is, after so many hours or runs, everything anyway.

The memory only ever proves that there is nothing to do: a scope in which a plan finds something is read after all, and
planned anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.engine.inputs import PlanInputs
from reconciler.engine.own_writes import Owners, Write, is_of, owners, removes, tell_places
from reconciler.errors import ApiError, CredentialError
from reconciler.model.address import Address
from reconciler.model.change import ApplyResult, Change, OutcomeStatus, Plan, Reading
from reconciler.model.consistency import LIST_BEHIND_LOG_SECONDS
from reconciler.model.kind import Kind, Scope
from reconciler.model.log import Entry
from reconciler.model.values import Unknown, references_in

Seat = tuple[str, str | None]
"""A kind's name and a project's name in the configuration: what is listed, and remembered, together."""

_OTHER_FAMILIES = (
    "api_key.", "certificate.", "certificates.", "checkpoint.permission.", "external_key.", "external_storage.",
    "group.", "invite.", "ip_allowlist.", "login.", "logout.", "organization.", "project.", "rate_limit.", "role.",
    "scim.", "service_account.", "tunnel.", "user.", "workload_identity_provider.",
    "workload_identity_provider_mapping.",
)  # fmt: skip
"""Families of entries that are known; which kinds they touch is for the kinds to say."""

_MOST_CALLS = 10
"""How many calls reading the log may cost."""

_PROOFS = 20
"""How many of the newest entries are remembered, for the log to show them again."""

_EVERYTHING = "organization."
"""Entries that make everything be read: what they tell of may be the log's own switch."""


class Seen(Struct, frozen=True, array_like=True):
    """A seat that was in order: when it was read, and until when the log showed no change of it."""

    kind: str
    project: str | None
    read_at: float
    checked_at: float

    @property
    def seat(self) -> Seat:
        """What was seen."""
        return self.kind, self.project

    def settled_before(self, overlap_seconds: float) -> float:
        """No entry from before that time can tell anything new of it."""
        return max(self.checked_at - overlap_seconds, self.read_at - LIST_BEHIND_LOG_SECONDS)


class Memory(Struct, frozen=True):
    """What is known from earlier runs: what they left in order, what they wrote lately, what the log showed last.

    `places_told` where the log has proved to name the projects of objects. `serial` is the state's that this is about.
    `full_at` is when everything was read last, `runs` counts the applies since. Times are unix seconds of the server.
    """

    seen: Sequence[Seen] = ()
    writes: Sequence[Write] = ()
    shown: Mapping[str, float] = field(default_factory=dict)
    places_told: bool = False
    serial: int = 0
    full_at: float = 0.0
    runs: int = 0

    @property
    def seats(self) -> Mapping[Seat, Seen]:
        """What was left in order, by where it is."""
        return {seen.seat: seen for seen in self.seen}

    def dump(self) -> str:
        """The memory as text, to keep beside the state."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def load(cls, text: str | None) -> Memory | None:
        """The memory of a text; None for no text, and for one that cannot be used."""
        try:
            return msgspec.json.decode(text or "null", type=cls | None)
        except msgspec.DecodeError:
            return None


class Sweeps(Struct, frozen=True):
    """When everything is read whatever the log says, and how late its entries may come."""

    overlap_seconds: float = 900.0
    hours: float = 24.0
    runs: int = 20


class Trust(Struct, frozen=True):
    """Which seats need no reading, each with when it was read last, or `because` of what none is trusted.

    `setback` says in a few words what went wrong, where a reader of the plan should know. `reasons` are why single
    seats are read. `shown` are the newest entries of the log, where it answered.
    """

    seats: Mapping[Seat, float] = field(default_factory=dict)
    because: str = ""
    setback: str = ""
    reasons: Mapping[Seat, str] = field(default_factory=dict)
    shown: Mapping[str, float] = field(default_factory=dict)
    places_told: bool = False

    def without(self, seats: Collection[Seat], reason: str) -> Trust:
        """The same, with some seats to be read after all."""
        kept = {seat: at for seat, at in self.seats.items() if seat not in seats}
        return replace(self, seats=kept, reasons={**self.reasons, **dict.fromkeys(seats, reason)})


Log = Callable[[float, int], Sequence[Entry]]
"""Gives the entries since a time, in unix seconds. Raises ApiError or CredentialError where it cannot, or where that
takes more than so many calls."""


def decide(inputs: PlanInputs, memory: Memory | None, log: Log, *, sweeps: Sweeps) -> Trust:
    """Which seats are as we left them. Asks the log at most once, and not at all where it could save nothing."""
    if memory is None:
        return Trust(because="no earlier reading is remembered")
    if memory.serial != inputs.state_serial:
        return Trust(because="the state was changed since the last apply")
    if due := _sweep_due(memory, sweeps, inputs.server_time()):
        return due
    options = inputs.options
    if options.unmanaged or options.adopt or options.destroy or inputs.state_is_new:
        return Trust(because="all objects are asked for")
    seats = _trustworthy(inputs, memory)
    if len(seats) < 2:
        return Trust(reasons=_reasons(inputs, memory, {}))
    try:
        told, trust = _asked(log, memory, list(seats.values()), inputs, sweeps)
        touched = _touched(seats.values(), told, inputs, sweeps)
    except (ApiError, CredentialError) as error:
        return Trust(because=f"the audit log cannot be used: {error}", setback=_in_short(error))
    if due := _sweep_due(memory, sweeps, inputs.server_time()):  # the server's clock is known by now
        return due
    kept = {seat: seen.read_at for seat, seen in seats.items() if seat not in touched}
    return replace(trust, seats=kept, reasons=_reasons(inputs, memory, touched))


def _sweep_due(memory: Memory, sweeps: Sweeps, now: float) -> Trust | None:
    if abs(now - memory.full_at) > sweeps.hours * 3600:
        every = f"{sweeps.hours:g} hours"
    elif memory.runs >= sweeps.runs:
        every = f"{sweeps.runs} applies"
    else:
        return None
    because = f"everything is read every {every}, and it is due"
    return Trust(because=because, setback=f"that is due every {every}, until an apply does it")


def _in_short(error: ApiError | CredentialError) -> str:
    status = error.status if isinstance(error, ApiError) else None
    return f"the audit log answers {status}" if status else f"the audit log cannot be used: {error}"


def _trustworthy(inputs: PlanInputs, memory: Memory) -> Mapping[Seat, Seen]:
    """The seats that were in order, whose kinds the log tells about, and where nothing is declared that is new."""
    unbound = _unbound(inputs)
    recorded = {_seat(address) for address in inputs.records}
    return {
        seat: seen
        for seat, seen in memory.seats.items()
        if seat in recorded and seat not in unbound and is_told_of(inputs.kinds.get(seat[0]))
    }


def _unbound(inputs: PlanInputs) -> set[Seat]:
    return {_seat(item.address) for item in inputs.resources if item.address not in inputs.records}


def _reasons(inputs: PlanInputs, memory: Memory, touched: Mapping[Seat, str]) -> Mapping[Seat, str]:
    """Why each seat is read that is not trusted."""
    reasons = {}
    unbound, seats = _unbound(inputs), memory.seats
    for seat in {_seat(address) for address in chain(inputs.records, (item.address for item in inputs.resources))}:
        if not is_told_of(inputs.kinds.get(seat[0])):
            reasons[seat] = "the audit log does not tell of every change there"
        elif seat in unbound:
            reasons[seat] = "something new is declared there"
        elif seat not in seats:
            reasons[seat] = "the last apply did not leave it in order"
        elif seat in touched:
            reasons[seat] = f"the audit log has {touched[seat]}"
    return reasons


def is_told_of(kind: Kind | None) -> bool:
    """Whether the log tells of every change of the kind."""
    return kind is not None and bool(kind.events)


class _Told(Struct, frozen=True):
    """What the log answered: entries, oldest or newest first, and the writes of ours that they may be."""

    entries: Sequence[Entry]
    ours: Owners
    places_told: bool


def _asked(log: Log, memory: Memory, seen: Sequence[Seen], inputs: PlanInputs, sweeps: Sweeps) -> tuple[_Told, Trust]:
    """What the log tells; raises ApiError where it forgot what it showed before, or never showed anything of ours."""
    if not memory.shown and not memory.writes:
        raise ApiError("it has not shown any change of ours so far")
    since = min(one.checked_at for one in seen) - sweeps.overlap_seconds
    start = min(since, max(memory.shown.values(), default=since))
    # Every seat costs a call to read, so a log that costs as many is not worth reading to its end.
    entries = log(start, max(1, min(_MOST_CALLS, len(seen) // 2)))
    known = {entry.id for entry in entries}
    if any(at >= start and id not in known for id, at in memory.shown.items()):
        raise ApiError("it does not show any more what it showed before")
    proved = tell_places(entries, memory.writes, inputs.kinds)
    places_told = memory.places_told if proved is None else proved
    ours = owners(entries, memory.writes, inputs.kinds, places_told=places_told)
    if not memory.shown and not ours:
        raise ApiError("it has not shown any change of ours so far")
    told = _Told(entries, ours, places_told)
    return told, Trust(shown=_newest(entries), places_told=places_told)


def _newest(entries: Iterable[Entry]) -> Mapping[str, float]:
    newest = sorted(entries, key=lambda entry: entry.at, reverse=True)[:_PROOFS]
    return {entry.id: entry.at for entry in newest}


def _touched(seen: Collection[Seen], told: _Told, inputs: PlanInputs, sweeps: Sweeps) -> Mapping[Seat, str]:
    """The seats in which entries may have changed something, each with the type of such an entry.

    Raises ApiError for an entry that nobody knows.
    """
    reach = _Reach(seen, inputs, places_told=told.places_told)
    touched: dict[Seat, str] = {}
    since = min(one.settled_before(sweeps.overlap_seconds) for one in seen)
    for entry in (entry for entry in told.entries if entry.at >= since):
        mine = told.ours.get(entry.id, ())
        for one in reach.of(entry):
            if (
                one.seat not in touched
                and entry.at >= one.settled_before(sweeps.overlap_seconds)
                and not _is_settled(entry, mine, one.seat)
            ):
                touched[one.seat] = entry.type
    return touched


def _is_settled(entry: Entry, mine: Sequence[Write], seat: Seat) -> bool:
    """Whether an entry is our own, and what it did to a seat is recorded; what goes may take others with it."""
    gone = {(write.kind, write.project) for write in mine if write.removes}
    return bool(mine) and (not removes(entry) or seat in gone)


class _Reach:
    """Which seats an entry may tell of. Each entry finds those of its kinds and project, without a look at the rest."""

    def __init__(self, seen: Collection[Seen], inputs: PlanInputs, *, places_told: bool) -> None:
        self._seen = seen
        self._inputs = inputs
        self._names = _project_names(inputs) if places_told else None
        self._of_kind: dict[str, list[Seen]] = defaultdict(list)
        self._at: dict[Seat, Seen] = {}
        for one in seen:
            self._of_kind[one.kind].append(one)
            self._at[one.seat] = one

    def of(self, entry: Entry) -> Iterable[Seen]:
        """The seats of an entry; raises ApiError for one of a type that nobody knows."""
        if entry.type == "resource.deleted":
            found = {_seat(at) for at, record in self._inputs.records.items() if _has_part(record.id, entry)}
            return [self._at[seat] for seat in found if seat in self._at]
        if entry.type.startswith("tenant."):
            return [one for one in self._seen if one.project is None]
        if entry.type.startswith(_EVERYTHING):
            return self._seen
        kinds = [kind for kind in self._inputs.kinds.values() if is_of(entry, kind.events)]
        if not kinds and not entry.type.startswith(_OTHER_FAMILIES):
            raise ApiError(f'it has an entry of an unknown type, "{entry.type}"')
        return chain.from_iterable(self._in_place(kind, entry) for kind in kinds)

    def _in_place(self, kind: Kind, entry: Entry) -> Iterable[Seen]:
        seats = self._of_kind.get(kind.name, ())
        if self._names is None or entry.project_id is None or not self._is_of_one_project(entry):
            return seats
        homes = (None, *self._names.get(entry.project_id, ()))
        return [self._at[kind.name, home] for home in homes if (kind.name, home) in self._at]

    def _is_of_one_project(self, entry: Entry) -> bool:
        """Whether an entry can only be about objects of kinds that live in projects."""
        scopes = {kind.scope for kind in self._inputs.kinds.values() if is_of(entry, kind.events[:1])}
        return scopes == {Scope.PROJECT}


def _has_part(id: str, entry: Entry) -> bool:
    return entry.resource_id is not None and entry.resource_id in id


def _project_names(inputs: PlanInputs) -> dict[str, set[str]]:
    """The names that each project has in the configuration, by its id."""
    names: dict[str, set[str]] = defaultdict(set)
    for name, id in inputs.projects.items():
        names[id].add(name)
    for address, record in inputs.records.items():
        if address.kind in inputs.kinds and inputs.kinds[address.kind].defines_project:
            names[record.id].add(address.name)
        elif address.project and record.project_id:
            names[record.project_id].add(address.project)
    return names


def unsettled(plan: Plan, trust: Trust, kinds: Mapping[str, Kind]) -> set[Seat]:
    """The trusted seats that have to be read after all: a plan has something to do there, or decided by them."""
    due = {_seat(change.address) for change in (*plan.pending, *plan.blocked)}
    for change in plan.pending:
        due |= set(_looked_into(change, kinds))
    due |= {_seat(at) for output in plan.outputs for at in _unknown_in(output.after)}
    return due & trust.seats.keys()


def _looked_into(change: Change, kinds: Mapping[str, Kind]) -> Iterator[Seat]:
    """The seats of other kinds whose live objects decide about a change.

    The state alone knows neither an object that nobody manages nor a field that only the server sets.
    """
    other = kinds[change.address.kind].satisfied_by if change.address.kind in kinds else None
    if other is not None:
        yield other, None
    for reference in references_in(change.desired):
        if reference.path:
            yield _seat(reference.address)


def _unknown_in(value: Any) -> Iterator[Address]:
    """The address that an output waits for, where it is a single expression."""
    if isinstance(value, Unknown):
        text = value.source.removeprefix("${").removesuffix("}")
        with suppress(ValueError):
            yield Address.parse(text.partition(".")[0])


class Done(Struct, frozen=True):
    """What an apply did: its result, what it wrote, when its plan began to read, and the state that it left.

    `entries` are those of the log at its end, None where it was not asked or did not answer.
    """

    result: ApplyResult
    writes: Sequence[Write]
    asked_at: float
    serial: int
    entries: Sequence[Entry] | None = None


def remembered(memory: Memory | None, trust: Trust, done: Done, *, kinds: Mapping[str, Kind], sweeps: Sweeps) -> Memory:
    """The memory after an apply: what it left in order, with when that was read."""
    was = memory or Memory()
    entries = done.entries or ()
    in_order = {_seat(change.address) for change in done.result.plan.changes} - _left_undone(done.result)
    writes = [*was.writes, *done.writes]
    proved = tell_places(entries, writes, kinds)
    shown = _newest(entries) or trust.shown
    return Memory(
        seen=[
            Seen(*seat, read_at=trust.seats.get(seat, done.asked_at), checked_at=done.asked_at)
            for seat in sorted(in_order, key=lambda seat: (seat[0], seat[1] or ""))
            if is_told_of(kinds.get(seat[0]))
        ],
        writes=_still_to_come(writes, done.asked_at, sweeps),
        shown=was.shown if done.entries is None and not shown else shown,
        places_told=(trust.places_told if trust.shown else was.places_told) if proved is None else proved,
        serial=done.serial,
        full_at=was.full_at if trust.seats else done.asked_at,
        runs=was.runs + 1 if trust.seats else 0,
    )


def carried_on(memory: Memory, done: Done, *, sweeps: Sweeps) -> Memory:
    """The memory after an apply whose plan was not made here, or not of everything: nothing new is in order."""
    undone = _left_undone(done.result)
    seen = [one for one in memory.seen if one.seat not in undone]
    checked_at = min((one.checked_at for one in seen), default=done.asked_at)
    return replace(
        memory,
        seen=seen,
        writes=_still_to_come([*memory.writes, *done.writes], checked_at, sweeps),
        serial=done.serial,
        runs=memory.runs + 1,
    )


def _still_to_come(writes: Iterable[Write], checked_at: float, sweeps: Sweeps) -> Sequence[Write]:
    """The writes whose entries a plan may ask for that relies on the log from then on."""
    return [write for write in writes if write.may_come_late(checked_at - sweeps.overlap_seconds)]


def _left_undone(result: ApplyResult) -> set[Seat]:
    """The seats in which something was to be done and was not."""
    applied = {outcome.change.address for outcome in result.of(OutcomeStatus.APPLIED)}
    undone = {_seat(change.address) for change in result.plan.pending if change.address not in applied}
    return undone | {_seat(change.address) for change in result.plan.blocked}


def _seat(address: Address) -> Seat:
    return address.kind, address.project


def reading_of(trust: Trust) -> Reading:
    """For reports: how many scopes were not read again, since when, or why all were."""
    oldest = min(trust.seats.values(), default=None)
    return Reading(len(trust.seats), oldest, trust.because, setback=trust.setback)
