"""Warnings about files that the API is known to refuse, by size and name.

They are not errors: the list of extensions can be outdated, and the API refuses each file on its
own, so the other files are still uploaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.model.types import FileSetType
from reconciler.model.values import LocalFile

_MOST_NAMED = 5
_MEBIBYTE = 1024 * 1024


def refused_by_size_or_name(
    files: Sequence[LocalFile], type: FileSetType
) -> Iterator[tuple[str, str]]:
    """Summary and detail for each group of files that the collection does not accept."""
    empty = [file for file in files if file.size == 0]
    if empty:
        yield "Empty file", f"{_named(empty)}: the API rejects empty files."
    large = [file for file in files if _is_too_large(file, type)]
    if large and type.max_bytes is not None:
        limit = type.max_bytes // _MEBIBYTE
        yield (
            "File too large",
            f"{_named(large)}: the API accepts at most {limit:,} MiB per file here.",
        )
    unread = [file for file in files if _is_unread(file, type)]
    if unread:
        known = " ".join(sorted(type.extensions))
        detail = f"{_named(unread)}: the API accepts only files with the extensions {known}. List the others in `ignore`."
        yield "Extension not supported", detail


def is_refused(file: LocalFile, type: FileSetType) -> bool:
    """Whether the collection does not accept a file."""
    return file.size == 0 or _is_too_large(file, type) or _is_unread(file, type)


def _is_too_large(file: LocalFile, type: FileSetType) -> bool:
    return type.max_bytes is not None and file.size > type.max_bytes


def _is_unread(file: LocalFile, type: FileSetType) -> bool:
    suffix = _suffix(file.path)
    return bool(type.extensions) and suffix not in type.extensions and suffix != ""


def _suffix(path: str) -> str:
    """The lower-case extension with its dot; empty if there is none, as for `.env` and `end.`."""
    # A PurePosixPath costs ten times as much, and folders have thousands of files.
    stem, _, extension = path.rpartition("/")[2].rpartition(".")
    return f".{extension.lower()}" if stem and extension else ""


def _named(files: list[LocalFile]) -> str:
    names = ", ".join(f'"{file.path}"' for file in files[:_MOST_NAMED])
    return names + (f" and {len(files) - _MOST_NAMED:,} more" if len(files) > _MOST_NAMED else "")
