"""The members of a vector store as a set, and the moves from one set to another.

Each file that we attach has the path and the digest of its source in its attributes, so the live
set needs no state. A run that died may have left two files for one path. The better one gets the
path; the others get a key of their own, which no manifest has, so they are removed. The functions
are pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.api.objects.bodies import plain
from reconciler.api.objects.scoped import id_of
from reconciler.model.comparing import comparable, same
from reconciler.model.types import FileSetType
from reconciler.model.values import FileSet, LocalFile, Member

PATH_KEY = "reconciler_path"
DIGEST_KEY = "reconciler_sha256"
_OURS = (PATH_KEY, DIGEST_KEY)


class Moves(Struct, frozen=True):
    """The moves, by the calls they take. All but `remove` are desired members.

    `add` are uploaded if they have content, and attached. `again` are attached with other options,
    which takes a detach. `retag` differ in their attributes only. `remove` are live members.
    """

    add: tuple[Member, ...]
    again: tuple[Member, ...]
    retag: tuple[Member, ...]
    remove: tuple[Member, ...]


def live_set(items: Iterable[Mapping[str, Any]]) -> FileSet:
    """The members in a list of a store's files. Files that are not ours have their id as key."""
    answers = list(items)
    alike: dict[str, Any] = {}
    by_key: dict[str, Member] = {}
    for answer in answers:
        member = _member(answer, alike)
        by_key[member.key] = member
    if len(by_key) < len(answers):
        by_key = _with_distinct_keys(answers, alike)
    return FileSet(tuple(by_key[key] for key in sorted(by_key)))


def _with_distinct_keys(
    answers: Iterable[Mapping[str, Any]], alike: dict[str, Any]
) -> dict[str, Member]:
    """The members by key, where several uploads of one file are in the store.

    The one that works, and else the newest, keeps the key; the id makes the others' unique.
    """
    by_key: dict[str, Member] = {}
    for answer in sorted(answers, key=_preference):
        member = _member(answer, alike)
        if member.key in by_key:
            member = replace(member, key=f"{member.key} ({member.file_id})")
        by_key[member.key] = member
    return by_key


def seen_set(image: Mapping[str, Mapping[str, Any]], applied: FileSet | None) -> FileSet | None:
    """The members in comparable form as a set; None where the file id of one is unknown."""
    ids = {member.key: member.file_id for member in applied.members} if applied else {}
    members = []
    for key, shown in image.items():
        sha256 = shown.get("sha256")
        file_id = ids.get(key) if sha256 else key
        if file_id is None:
            return None
        content = LocalFile(key, sha256, 0) if sha256 else None
        members.append(
            Member(key, content, file_id, shown.get("attributes"), shown.get("chunking_strategy"))
        )
    return FileSet(tuple(members))


def attachment(member: Member) -> dict[str, Any]:
    """The body that attaches a member, our two attributes included."""
    body: dict[str, Any] = {"file_id": member.file_id, "attributes": tags(member)}
    if member.chunking_strategy is not None:
        body["chunking_strategy"] = plain(member.chunking_strategy)
    return body


def tags(member: Member) -> dict[str, Any]:
    """All the attributes of a member at the API."""
    ours = {PATH_KEY: member.key, DIGEST_KEY: member.content.sha256} if member.content else {}
    return {**(member.attributes or {}), **ours}


def moves(before: FileSet, after: FileSet, type: FileSetType) -> Moves:
    """The moves from one set to the other."""
    by_key = {member.key: member for member in before.members if member.content}
    by_id = {member.file_id: member for member in before.members}
    sorted_out: dict[str, list[Member]] = {"add": [], "again": [], "retag": []}
    kept: set[Any] = set()
    for member in after.members:
        current = by_key.get(member.key) if member.content else by_id.get(member.file_id)
        if current is None and member.refused:
            continue
        if current is None or (member.content is not None and _digest(current) != _digest(member)):
            sorted_out["add"].append(member)
            continue
        kept.add(current.file_id)
        how = _difference(member, current, type)
        if how is not None:
            sorted_out[how].append(replace(member, file_id=current.file_id))
    remove = tuple(member for member in before.members if member.file_id not in kept)
    return Moves(
        tuple(sorted_out["add"]), tuple(sorted_out["again"]), tuple(sorted_out["retag"]), remove
    )


def _difference(desired: Member, live: Member, type: FileSetType) -> str | None:
    chunking = comparable(type.chunking_strategy, desired.chunking_strategy, live.chunking_strategy)
    if not same(*chunking):
        return "again"
    attributes = comparable(type.attributes, desired.attributes, live.attributes)
    # A file that is now declared by its id loses our attributes: it is no longer ours.
    return "retag" if not same(*attributes) or _digest(desired) != _digest(live) else None


def _digest(member: Member) -> str | None:
    return member.content.sha256 if member.content else None


def _preference(answer: Mapping[str, Any]) -> tuple[bool, float, str]:
    created = answer.get("created_at")
    newest = -float(created) if isinstance(created, int | float) else 0.0
    return answer.get("status") != "completed", newest, str(answer.get("id"))


def _member(answer: Mapping[str, Any], alike: dict[str, Any]) -> Member:
    """A member in the list of its store.

    Most members have equal options; `alike` shares those, so that large stores take less memory.
    """
    id, chunking = (
        id_of(answer, what="the list of a store's files"),
        answer.get("chunking_strategy"),
    )
    tagged: Any = answer.get("attributes") or {}
    path, sha256 = tagged.get(PATH_KEY), tagged.get(DIGEST_KEY)
    ours = isinstance(path, str) and isinstance(sha256, str)
    only_ours = ours and len(tagged) == len(_OURS)
    attributes = (
        {} if only_ours else {name: value for name, value in tagged.items() if name not in _OURS}
    )
    return Member(
        key=path if ours else id,
        # The list has no size; the digest identifies the content.
        content=LocalFile(path, sha256, 0) if ours else None,
        file_id=id,
        attributes=alike.setdefault(repr(attributes), attributes),
        chunking_strategy=alike.setdefault(repr(chunking), chunking),
    )
