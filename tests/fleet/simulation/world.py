"""A stack of the simulation, and the calls that plans of it make: by the program's own estimate."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import NamedTuple

from msgspec.structs import replace

from reconciler.api.transport.throttle import RateLimitKey
from reconciler.engine.inputs import PlanInputs
from reconciler.engine.ownership import Ownership
from reconciler.engine.refresh.affected_scopes import is_reported_in_audit_log
from reconciler.engine.refresh.checkpoint import ScopeKey
from reconciler.engine.refresh.estimate import Estimate, ExpectedRead
from reconciler.engine.scope import Scope
from reconciler.kinds import ALL_KINDS, KINDS
from reconciler.model.address import Address
from reconciler.model.resource import Record, Resource
from tests.engine.tables import MemoryReader

_BOTH = 2
"""What stacks read of their own is the same from two stacks on."""
LOG = RateLimitKey(True, "GET", "/organization/audit_logs")


class Call(NamedTuple):
    """A request: its rate limit, and what it asks for. Equal calls get equal answers."""

    limit: RateLimitKey
    subject: tuple[str, str, str]
    """Kind, project and page or id."""


@dataclass(frozen=True)
class Profile:
    """What each stack declares: the number of objects of each kind in its project."""

    objects: tuple[tuple[str, int], ...]
    organization_objects: tuple[tuple[str, int], ...] = ()
    """What it declares in the organization itself."""

    @property
    def count(self) -> int:
        """How many objects that is, with the project."""
        return 1 + sum(count for _, count in (*self.objects, *self.organization_objects))


TYPICAL = Profile(
    (("ServiceAccount", 3), ("RateLimit", 5), ("ProjectUser", 4)),
    (("Group", 2),),
)
"""A team: a project with accounts, limits, people, and two groups of the organization."""
WITH_BUDGET = Profile((*TYPICAL.objects, ("SpendLimit", 1)), TYPICAL.organization_objects)
"""The same with a kind that the audit log does not report."""


@cache
def kinds_in_log(profile: Profile) -> tuple[str, ...]:
    """The kinds of the profile whose changes the audit log reports, the project included."""
    names = ["Project", *(name for name, _ in (*profile.objects, *profile.organization_objects))]
    return tuple(name for name in names if is_reported_in_audit_log(KINDS[name]))


@cache
def own_reading(profile: Profile, stack: int) -> tuple[Call, ...]:
    """The calls of a plan that reads everything, without those that stacks share."""
    return tuple(call for call in _calls(profile, stack, _BOTH, ()) if call.subject[1])


@cache
def shared_reading(profile: Profile, stacks: int) -> tuple[Call, ...]:
    """The calls that all stacks of an organization share: its own lists, to their ends."""
    calls = _calls(profile, 0, stacks, ())
    return tuple(call for call in calls if not call.subject[1])


def changed_reading(profile: Profile, stack: int, kind: str) -> tuple[Call, ...]:
    """The calls of a plan of which the log says that only one kind changed, in this stack alone."""
    trusted = {
        key
        for key in _scope_keys(profile, stack)
        if key[0] != kind and is_reported_in_audit_log(KINDS[key[0]])
    }
    return tuple(_calls(profile, stack, 1, trusted))


def apply_calls(stack: int, kind: str) -> tuple[Call, ...]:
    """The calls of an apply that puts one object right: its pre-image and the write."""
    collection = KINDS[kind].route("read", in_project=True)[1]
    subject = (kind, _project(stack), "changed")
    return (
        Call(RateLimitKey(True, "GET", collection), (*subject[:2], "pre-image")),
        Call(RateLimitKey(True, "POST", collection), subject),
    )


def _calls(
    profile: Profile, stack: int, stacks: int, trusted: Collection[ScopeKey]
) -> Iterator[Call]:
    """The calls of one of so many stacks that read at the same time."""
    inputs = replace(_inputs(profile, stack), pages=_pages(profile, stacks), sharers=stacks)
    reads = Estimate(inputs, MemoryReader(()), trusted).reads()
    # Sorted, because the order of a set of texts is another one in every process.
    for read in sorted(reads, key=lambda read: read.scope.sort_key):
        yield from _calls_of(read, inputs, stack)


def _calls_of(read: ExpectedRead, inputs: PlanInputs, stack: int) -> Iterator[Call]:
    kind, project = ALL_KINDS[read.scope.kind], read.scope.project
    method, path = kind.route(read.call, in_project=project is not None, parent=read.scope.parent)
    limit = RateLimitKey(kind.scope.needs_admin_key, method, path)
    place = "" if project is None else _project(stack)
    if read.call == "list":
        # A stack stops at its last object. All stacks together read the organization's lists to the end.
        pages = max(read.calls, inputs.pages.get(read.scope, 1))
        parts = [f"page {number}" for number in range(pages)]
    else:
        ids = (record.id for at, record in inputs.records.items() if at.kind == kind.name)
        parts = list(ids)[: read.calls]
    for part in parts:
        yield Call(limit, (kind.name, place, part))


def _pages(profile: Profile, stacks: int) -> dict[Scope, int]:
    """How long the organization's lists are, with what all of its stacks have there."""
    counts = (("Project", 1), *profile.organization_objects)
    return {
        Scope(name, None): ceil(count * stacks / KINDS[name].page_limit) for name, count in counts
    }


def _scope_keys(profile: Profile, stack: int) -> set[ScopeKey]:
    return {(at.kind, at.project) for at in _inputs(profile, stack).records}


def _inputs(profile: Profile, stack: int) -> PlanInputs:
    resources = list(_resources(profile, stack))
    records = {
        resource.address: Record(resource.address, _id(stack, resource)) for resource in resources
    }
    return PlanInputs(
        resources=resources,
        kinds=ALL_KINDS,
        records=records,
        ownership=Ownership(f"team-{stack}", "prod"),
        declarable=KINDS.keys(),
    )


def _resources(profile: Profile, stack: int) -> Iterator[Resource]:
    yield Resource(Address("Project", "app"), KINDS["Project"], {"name": f"team-{stack}"})
    for name, count in profile.objects:
        for number in range(count):
            yield Resource(Address(name, f"{name}-{number}", "app"), KINDS[name], {})
    for name, count in profile.organization_objects:
        for number in range(count):
            yield Resource(Address(name, f"{name}-{number}"), KINDS[name], {})


def _project(stack: int) -> str:
    return f"proj_{stack}"


def _id(stack: int, resource: Resource) -> str:
    return f"{resource.address.name}_{stack}"
