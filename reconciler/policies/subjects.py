"""Prepares the resources that policies judge: each as a map of plain values.

Values that only an apply provides become `Later`, and a rule that depends on one is undecided.
A rule sees only the source of a secret.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.cel import IndexedList, Later
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Plan, Reason, Unmanaged
from reconciler.model.diagnostic import SourceLocation
from reconciler.model.kind import Kind
from reconciler.model.values import (
    FileSet,
    LocalFile,
    Member,
    Reference,
    SecretValue,
    Spec,
    Template,
    Unknown,
)

RESOURCE_FIELDS = (
    "kind", "name", "project", "address", "id", "managed", "spec", "labels", "lifecycle",
)  # fmt: skip
CHANGE_FIELDS = ("action", "reason", "before", "after", "fields", "destroys", "loses")
_PLAIN = frozenset((str, int, float, bool, type(None)))
_GONE = (Action.DELETE, Action.FORGET)


class Subject(Struct, frozen=True):
    """A resource as policies see it, and the location of its declaration."""

    address: Address
    resource: Mapping[str, Any]
    change: Any
    live: Any
    location: SourceLocation | None = None
    action: str | None = None
    """None while it is not known, offline."""


class DeclaredSubject(Struct, frozen=True):
    """A declared resource, before it is planned."""

    address: Address
    spec: Spec
    lifecycle: Mapping[str, Any]
    location: SourceLocation | None = None


class Subjects(Struct, frozen=True):
    """All resources, and the values that every rule can read."""

    subjects: tuple[Subject, ...]
    """The resources to judge."""
    resources: IndexedList
    """The resources that rules can search, as `resources`."""
    now: datetime
    stack: str
    environment: str
    shutdowns: Mapping[str, datetime] = field(default_factory=dict)

    def among(self, others: Subjects) -> Subjects:
        """The same subjects, whose rules also see other resources."""
        return replace(self, resources=IndexedList([*self.resources, *others.resources]))


class Surroundings(Struct, frozen=True):
    """The values that do not depend on a resource, and the kinds by name."""

    now: datetime
    stack: str
    environment: str
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    shutdowns: Mapping[str, datetime] = field(default_factory=dict)
    """When models shut down, by model."""

    def of(self, subjects: Iterable[Subject], resources: Iterable[Any]) -> Subjects:
        """Subjects and the resources that their rules see, with these values."""
        return Subjects(
            tuple(subjects),
            IndexedList(resources),
            self.now,
            self.stack,
            self.environment,
            self.shutdowns,
        )


def plain(value: Any) -> Any:
    """A value of a spec as a rule sees it."""
    # By type first, since nearly all values are plain.
    if type(value) in _PLAIN:
        return value
    match value:
        case Unknown(source):
            return Later(source or "a value")
        case Reference() | Template():
            return Later(str(value))
        case SecretValue(source):
            return {"source": source}
        case LocalFile(path, sha256, size):
            return {"path": path, "sha256": sha256, "size": size}
        case FileSet(members):
            return [_member(member) for member in members]
        case Mapping():
            return {str(key): plain(part) for key, part in value.items()}
        case list() | tuple():
            return [plain(part) for part in value]
    return str(value)


def _member(member: Member) -> dict[str, Any]:
    content = plain(member.content) or {}
    return {
        **content,
        "key": member.key,
        "file_id": plain(member.file_id),
        "attributes": plain(member.attributes),
        "chunking_strategy": plain(member.chunking_strategy),
    }


def planned_subjects(
    plan: Plan, around: Surroundings, applied: Collection[Address] = ()
) -> Subjects:
    """The planned resources of a plan, and the live objects that it removes.

    The ids of new objects are known for changes that were `applied`.
    """
    subjects, remaining = [], []
    for change in plan.changes:
        # An object that an interrupted replacement left behind is not a declared resource.
        if change.reason is Reason.LEFT_BEHIND:
            continue
        subject = _planned(change, around, has_id=change.address in applied)
        subjects.append(subject)
        if change.action not in _GONE:
            remaining.append(subject.resource)
    return around.of(subjects, remaining)


def _planned(change: Change, around: Surroundings, *, has_id: bool) -> Subject:
    before = after = None
    if change.action is not Action.CREATE:
        before = plain(change.before)
    if change.action in _GONE:
        spec = before or {}
    else:
        spec = after = plain(change.after or change.desired)
    id: Any = change.id
    # A replacement still has the id of the old object, which no rule may rely on.
    if change.action in (Action.CREATE, Action.REPLACE) and not has_id:
        id = Later(f"${{{change.address}}}")
    resource = _resource(change.address, spec, id, around, _lifecycle(change))
    return Subject(
        address=change.address,
        resource=resource,
        change={
            "action": change.action.value,
            "reason": change.reason.value,
            "before": before,
            "after": after,
            "fields": list(change.field_names),
            "destroys": change.is_destructive,
            "loses": change.destroys if change.is_destructive else "",
        },
        live=_live(change, before),
        location=change.location,
        action=change.action.value,
    )


def live_subjects(plan: Plan, around: Surroundings) -> Subjects:
    """The live objects: those that the plan manages, and the unmanaged ones."""
    subjects = [_managed(change, around) for change in plan.changes if change.id and change.before]
    subjects += [_unmanaged(unmanaged, around) for unmanaged in plan.unmanaged]
    return around.of(subjects, (subject.resource for subject in subjects))


def _managed(change: Change, around: Surroundings) -> Subject:
    spec = plain(change.before)
    resource = _resource(change.address, spec, change.id, around, _lifecycle(change))
    return Subject(
        address=change.address,
        resource=resource,
        change=None,
        live=_live(change, spec),
        location=change.location,
        action=Action.NO_OP.value,
    )


def _unmanaged(unmanaged: Unmanaged, around: Surroundings) -> Subject:
    # The label comes from the API, and need not be a valid name. Nothing parses this address.
    address = Address(unmanaged.kind, unmanaged.label or unmanaged.id, unmanaged.project)
    resource = {
        **_resource(address, {}, unmanaged.id, around, {}),
        "managed": False,
    }
    live = {"id": unmanaged.id}
    return Subject(address, resource, None, live, None, Action.NO_OP.value)


def _live(change: Change, before: Any) -> Any:
    if change.id is None or before is None:
        return None
    return {**plain(change.facts), **(before or {}), "id": change.id}


def _lifecycle(change: Change) -> dict[str, Any]:
    return {
        "prevent_destroy": change.prevent_destroy,
        "on_remove": change.on_remove,
        "create_before_destroy": change.create_before_destroy,
    }


def _resource(
    address: Address, spec: Any, id: Any, around: Surroundings, lifecycle: Mapping[str, Any]
) -> dict[str, Any]:
    kind = around.kinds.get(address.kind)
    labels = None
    if kind is not None and kind.mark:
        labels = spec.get(kind.mark)
    # Every resource has labels, possibly none. Only the field of the spec may be absent.
    if type(labels) is Later and labels.may_be_absent:
        labels = Later(labels.source)
    return {
        "kind": address.kind,
        "name": address.name,
        "project": address.project,
        "address": str(address),
        "id": id,
        "managed": True,
        "spec": spec,
        "labels": labels if isinstance(labels, Mapping | Later) else {},
        "lifecycle": lifecycle,
    }


def declared_subjects(
    resources: Iterable[DeclaredSubject],
    around: Surroundings,
) -> Subjects:
    """Declared resources, offline: neither the plan nor the live objects are known."""
    subjects = tuple(_declared(resources, around))
    return around.of(subjects, (subject.resource for subject in subjects))


def _open(address: Address, spec: Spec, around: Surroundings) -> dict[str, Any]:
    """A declared spec with unknown values in the fields that it does not set."""
    values: dict[str, Any] = plain(spec)
    for declared in around.kinds[address.kind].fields:
        name = declared.name
        # Apply leaves such a field at its live value.
        if name not in values:
            values[name] = Later(f"the live value of {name}", may_be_absent=True)
    return values


def _declared(
    resources: Iterable[DeclaredSubject],
    around: Surroundings,
) -> Iterator[Subject]:
    plan, live = Later("the plan"), Later("the live object")
    for declared in resources:
        address = declared.address
        spec = _open(address, declared.spec, around)
        resource = _resource(address, spec, Later("the id"), around, declared.lifecycle)
        yield Subject(address, resource, plan, live, declared.location, None)
