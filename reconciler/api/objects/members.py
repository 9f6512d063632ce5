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
from reconciler.api.objects.scoped_client import id_of
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
    ids = {member.key: member.file_id for member in members_in(applied)}
    members = []
    for key, shown in image.items():
        sha256 = shown.get("sha256")
        content = LocalFile(key, sha256, 0) if sha256 else None
        # The key of a file that is not ours is its id.
        file_id = ids.get(key) if sha256 else key
        if file_id is None:
            return None
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
    attributes = dict(member.attributes or {})
    # The API replaces attributes as a whole, so ours go along with every change of them.
    if member.content:
        attributes |= {PATH_KEY: member.key, DIGEST_KEY: member.content.sha256}
    return attributes


def moves(before: FileSet, after: FileSet, type: FileSetType) -> Moves:
    """The moves from one set to the other."""
    by_key = {member.key: member for member in before.members if member.content}
    by_id = {member.file_id: member for member in before.members}
    sorted_out: dict[str, list[Member]] = {"add": [], "again": [], "retag": []}
    kept: set[Any] = set()
    for member in after.members:
        current = by_key.get(member.key) if member.content else by_id.get(member.file_id)
        # The API refused this very content before. Another attempt has the same outcome.
        if current is None and member.refused:
            continue
        # The content of a file cannot be modified: another content is another file.
        if current is None or (
            member.content is not None and digest_of(current) != digest_of(member)
        ):
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
    # No call modifies the chunking of a member, so it is detached and attached again.
    if not same(*chunking):
        return "again"
    attributes = comparable(type.attributes, desired.attributes, live.attributes)
    # A file that is now declared by its id loses our attributes: it is no longer ours.
    if not same(*attributes) or digest_of(desired) != digest_of(live):
        return "retag"
    return None


def members_in(value: Any) -> tuple[Member, ...]:
    """The members of a file set; none for any other value, such as that of another field."""
    return value.members if isinstance(value, FileSet) else ()


def digest_of(member: Member) -> str | None:
    """The SHA-256 of a member's content, in hexadecimal; None for a file that is not ours."""
    return member.content.sha256 if member.content else None


def _preference(answer: Mapping[str, Any]) -> tuple[bool, float, str]:
    """Sorts the files of one path: indexed ones before others, then the newest first."""
    created = answer.get("created_at")
    newest = -float(created) if isinstance(created, int | float) else 0.0
    return answer.get("status") != "completed", newest, str(answer.get("id"))


def _member(answer: Mapping[str, Any], alike: dict[str, Any]) -> Member:
    """A member in the list of its store.

    Most members have equal options; `alike` shares those, so that large stores take less memory.
    """
    id = id_of(answer, subject="the list of a store's files")
    chunking = answer.get("chunking_strategy")
    # The API shows attributes since 2025, and compatible servers may lack them.
    tagged: Any = answer.get("attributes") or {}
    path, sha256 = tagged.get(PATH_KEY), tagged.get(DIGEST_KEY)
    key, content = id, None
    if isinstance(path, str) and isinstance(sha256, str):
        # The list has no size; the digest identifies the content.
        key, content = path, LocalFile(path, sha256, 0)
    attributes: dict[str, Any] = {}
    # Nearly all members have just our two attributes, so that nothing remains to copy.
    if content is None or len(tagged) > len(_OURS):
        attributes = {name: value for name, value in tagged.items() if name not in _OURS}
    return Member(
        key=key,
        content=content,
        file_id=id,
        attributes=alike.setdefault(repr(attributes), attributes),
        chunking_strategy=alike.setdefault(repr(chunking), chunking),
    )
