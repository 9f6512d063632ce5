"""Files that the API refused: recorded, reported by each plan, and not sent again until they
change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from reconciler.model.kind import Kind
from reconciler.model.resource import LiveObject, Record
from reconciler.model.values import FileSet, Member, Spec

_MOST_TOLD = 10


def with_refusals(kind: Kind, spec: Spec, record: Record | None) -> Spec:
    """The spec, with refusals from the record for members that have not changed since."""
    # Only the record knows of refusals: a refused file is not in the store that the API shows.
    known: dict[str, Mapping[str, Member]] = {}
    for field in kind.own_calls:
        value = record.applied.get(field.name) if record else None
        if isinstance(value, FileSet):
            known[field.name] = _refused(value)
    if not any(known.values()):
        return spec
    return {name: _marked(value, known.get(name, {})) for name, value in spec.items()}


def refusals_told(kind: Kind, desired: Spec, live: LiveObject) -> Iterator[str]:
    """A sentence for each member that is missing because the API refused it."""
    for field in kind.own_calls:
        value = desired.get(field.name)
        if not isinstance(value, FileSet):
            continue
        refused = _refused(value)
        # A file may be there after all, uploaded by hand.
        shown = live.value(field.name)
        present = {member.key for member in shown.members} if isinstance(shown, FileSet) else set()
        missing = [member for key, member in refused.items() if key not in present]
        for member in missing[:_MOST_TOLD]:
            yield f"✗ {member.key} is left out: the API refused it {member.refused}"
        if len(missing) > _MOST_TOLD:
            yield f"✗ {len(missing) - _MOST_TOLD} more files are left out: the API refused them"


def _refused(files: FileSet) -> Mapping[str, Member]:
    return {member.key: member for member in files.members if member.refused}


def _marked(value: Any, known: Mapping[str, Member]) -> Any:
    if not known or not isinstance(value, FileSet):
        return value
    return FileSet(tuple(_as_known(member, known.get(member.key)) for member in value.members))


def _as_known(member: Member, earlier: Member | None) -> Member:
    # A changed file or setting may be accepted now, so it is sent again.
    if earlier is None or _sent(member) != _sent(earlier):
        return member
    return replace(member, refused=earlier.refused)


def _sent(member: Member) -> tuple[object, ...]:
    sha256 = member.content.sha256 if member.content else None
    return sha256, member.attributes, member.chunking_strategy
