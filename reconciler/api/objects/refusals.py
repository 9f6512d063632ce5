"""Tells refusals of single files from refusals of a whole store or account."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from reconciler.errors import ApiError, NotFoundError
from reconciler.model.values import Member

# The API refuses files with 400. The other statuses are those of proxies and compatible servers.
_REFUSED = (400, 413, 415, 422)
_OF_THE_STORE = frozenset({"vector_store_expired", "insufficient_quota"})
_OF_OTHERS = r"(?i)\b(quota|storage limit|billing|server had an error)\b"
"""Words of a refusal that blame the account or the server, regardless of its status."""
# "Files with extensions [.png, .xyz] are not supported for retrieval": the API refuses the whole
# batch for one such file, and names extensions, not files.
_EXTENSIONS = r"(?i)extensions? \[([^\]]*)\]"


def is_about_the_file(error: ApiError) -> bool:
    """Whether the API refused a file because of its content, its size or its name.

    All other errors (keys, limits, lost answers, server errors) fail the whole change.
    """
    if type(error) is not ApiError or error.status not in _REFUSED:
        return False
    # Invalid options for attaching come from the manifest, and affect all files alike.
    param = error.param or ""
    if "chunk" in param or "attributes" in param:
        return False
    return error.code not in _OF_THE_STORE and not re.search(_OF_OTHERS, str(error))


def refused_members(batch: Sequence[Member], error: ApiError) -> list[Member] | None:
    """The members of a refused batch that the error names, by extension or by id.

    Empty where it names none; None where the error is not about files.
    """
    named = [member for member in batch if _names(error, member)]
    # A file that was deleted meanwhile is refused with a 404 that names it. A 404 that names no
    # file is about the store.
    if isinstance(error, NotFoundError):
        return named or None
    if not is_about_the_file(error):
        return None
    return named


def _names(error: ApiError, member: Member) -> bool:
    text = str(error)
    if isinstance(member.file_id, str) and member.file_id in text:
        return True
    match = re.search(_EXTENSIONS, text)
    # The name of a file that is declared by its id is unknown here.
    if match is None or not member.content:
        return False
    extensions = {part.strip(" '\"").lower() for part in match[1].split(",")}
    return PurePosixPath(member.key).suffix.lower() in extensions - {""}
