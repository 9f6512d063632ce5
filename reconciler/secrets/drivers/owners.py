"""The owner of a key, as tags, labels and annotations of other systems can hold it."""

from __future__ import annotations

import hashlib

OWNER = "reconciler"
"""The key of the tag that names the owner of a key."""

_DIGEST_CHARACTERS = 32


def owner_tag(owner: str, *, longest: int = 256) -> str:
    """An owner as the value of a tag. The end of a long one is replaced by a digest of the whole."""
    if len(owner) <= longest:
        return owner
    digest = hashlib.sha256(owner.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{owner[: longest - _DIGEST_CHARACTERS - 1]}.{digest}"


def is_ours(tag: str | None, owner: str, *, is_recorded: bool) -> bool:
    """Whether a place is this owner's, by its tag.

    With `is_recorded`, the state has a receipt of its content: then it is ours also under an earlier
    name of the owner.
    """
    return tag in (owner, owner_tag(owner)) or (bool(tag) and is_recorded)


def foreign_owner(tag: str | None) -> str:
    """The owner of a foreign place, as the end of a sentence about it."""
    if tag:
        return f'belongs to "{tag}"'
    return "exists and was not written by reconciler, so it is not overwritten"
