"""Folders that are uploaded as one, such as a skill: which files are in them, and what their entry
file says of them.

The entry file begins with lines of YAML between two lines of `---`; the API takes name and
description from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from reconciler.manifests.files import Files
from reconciler.manifests.load import load_documents
from reconciler.manifests.problems import Problem, Problems
from reconciler.model.bundle import root_of
from reconciler.model.types import BundleType
from reconciler.model.values import FileSet, Member

_FENCE = "---\n"
_DESCRIBED_BY = ("name", "description")


def bundle_of(found: Mapping[str, Member], type: BundleType, files: Files) -> FileSet:
    """The members, by their paths below the folder that the entry file is in; raises Problem."""
    root = root_of(found, type.entry)
    if root is None:
        count = sum(path.rpartition("/")[2] == type.entry for path in found) or "none"
        raise Problem(
            f"No {type.entry}", f"The files must contain exactly one {type.entry}; found {count}."
        )
    for path in found:
        if not path.startswith(root):
            raise Problem(
                "File outside the folder",
                f'"{path}" is outside "{root}", the folder of {type.entry}.',
            )
    size = sum(member.content.size for member in found.values() if member.content)
    if len(found) > type.max_files or size > type.max_bytes:
        most = f"the limit is {type.max_files} files and {type.max_bytes // 1_048_576} MiB in total"
        raise Problem(
            "Folder too large", f'"{root}" has {len(found)} files of {size:,} bytes; {most}.'
        )
    members = {path.removeprefix(root): member for path, member in found.items()}
    described = _described(members[type.entry], files)
    return FileSet(
        tuple(
            replace(member, key=key, attributes=described if key == type.entry else None)
            for key, member in sorted(members.items())
        )
    )


def _described(entry: Member, files: Files) -> dict[str, str]:
    path = entry.content.path if entry.content else entry.key
    text = files.text(path)
    head, fence, _ = text.removeprefix(_FENCE).partition(f"\n{_FENCE}")
    if not text.startswith(_FENCE) or not fence:
        raise Problem(
            "No front matter",
            f'"{path}" must start with YAML front matter between two "---" lines.',
        )
    found = _read(head, path)
    for name in _DESCRIBED_BY:
        if not isinstance(found.get(name), str) or not found[name].strip():
            raise Problem(f'Missing "{name}"', f'The front matter of "{path}" must have a {name}.')
    return {name: found[name] for name in _DESCRIBED_BY}


def _read(head: str, path: str) -> Mapping[str, Any]:
    problems = Problems()
    documents = load_documents(head, path, problems)
    wrong = problems.in_reading_order()
    if wrong:
        raise Problem(wrong[0].summary, f'"{path}": {wrong[0].detail}')
    value = documents[0].value if len(documents) == 1 else None
    return value if isinstance(value, Mapping) else {}
