"""Files that the API refused: recorded, reported by each plan, and not sent again until they
change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from reconciler.model.kind import Kind
from reconciler.model.resource import LiveObject, Record
from reconciler.model.values import FileSet, Member, Spec

_MOST_SHOWN = 10
"""The most refused files that a plan lists for each field."""


def with_refusals(kind: Kind, spec: Spec, record: Record | None) -> Spec:
    """The spec, with refusals from the record for members that have not changed since."""
    # Only the record knows of refusals: a refused file is not in the store that the API shows.
    if record is None:
        return spec
    marked: dict[str, FileSet] = {}
    # Every set of files is a field with calls of its own.
    for field in kind.own_calls:
        applied, value = record.applied.get(field.name), spec.get(field.name)
        if isinstance(applied, FileSet) and isinstance(value, FileSet):
            refused = _refused(applied)
            if refused:
                marked[field.name] = _with_earlier_refusals(value, refused)
    return {**spec, **marked} if marked else spec


def refusal_warnings(kind: Kind, desired: Spec, live: LiveObject) -> Iterator[str]:
    """A sentence for each member that is missing because the API refused it."""
    for field in kind.own_calls:
        value = desired.get(field.name)
        if not isinstance(value, FileSet):
            continue
        refused = _refused(value)
        # Somebody may have uploaded the file by hand.
        shown = live.value(field.name)
        if isinstance(shown, FileSet):
            for member in shown.members:
                refused.pop(member.key, None)
        missing = list(refused.values())
        for member in missing[:_MOST_SHOWN]:
            yield f"✗ {member.key} is left out: the API refused it {member.refused}"
        if len(missing) > _MOST_SHOWN:
            yield f"✗ {len(missing) - _MOST_SHOWN:,} more files are left out: the API refused them"


def _refused(files: FileSet) -> dict[str, Member]:
    return {member.key: member for member in files.members if member.refused}


def _with_earlier_refusals(files: FileSet, refused: Mapping[str, Member]) -> FileSet:
    """The files, with the earlier refusals of those that are as they were then."""
    members = []
    for member in files.members:
        earlier = refused.get(member.key)
        # A changed file or setting may be accepted now, so it is sent again.
        if earlier is not None and _sent(member) == _sent(earlier):
            member = replace(member, refused=earlier.refused)
        members.append(member)
    return FileSet(tuple(members))


def _sent(member: Member) -> tuple[object, ...]:
    """The parts of a member that the API saw when it refused the file."""
    sha256 = member.content.sha256 if member.content else None
    return sha256, member.attributes, member.chunking_strategy
