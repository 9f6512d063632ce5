"""Checks bundles: folders that are uploaded as one object, such as a skill.

The entry file begins with YAML front matter between two lines of `---`, from which the API takes
name and description.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from reconciler.manifests.files import Files
from reconciler.manifests.load import load_documents
from reconciler.manifests.problems import Problems, ValueProblem
from reconciler.model.bundle import root_of
from reconciler.model.types import BundleType
from reconciler.model.values import FileSet, Member

_FENCE = "---\n"
_DESCRIBED_BY = ("name", "description")


def bundle_of(by_path: Mapping[str, Member], type: BundleType, files: Files) -> FileSet:
    """The members, by path below the folder of the entry file. Raises Problem."""
    root = root_of(by_path, type.entry)
    if root is None:
        names = [path.rpartition("/")[2] for path in by_path]
        count = names.count(type.entry) or "none"
        raise ValueProblem(
            f"No {type.entry}", f"The files must contain exactly one {type.entry}; found {count}."
        )
    for path in by_path:
        if not path.startswith(root):
            raise ValueProblem(
                "File outside the folder",
                f'"{path}" is outside "{root}", the folder of {type.entry}.',
            )
    size = sum(member.content.size for member in by_path.values() if member.content)
    # Checked here, because the API refuses the folder only after all of it was sent.
    if len(by_path) > type.max_files or size > type.max_bytes:
        most = f"the limit is {type.max_files} files and {type.max_bytes // 1_048_576} MiB in total"
        raise ValueProblem(
            "Folder too large", f'"{root}" has {len(by_path)} files of {size:,} bytes; {most}.'
        )
    members = {path.removeprefix(root): member for path, member in by_path.items()}
    description = _described(members[type.entry], files)
    described = []
    for key, member in sorted(members.items()):
        # The name and description of the bundle are stored with its entry file.
        attributes = description if key == type.entry else None
        described.append(replace(member, key=key, attributes=attributes))
    return FileSet(tuple(described))


def _described(entry: Member, files: Files) -> dict[str, str]:
    path = entry.content.path if entry.content else entry.key
    text = files.text(path)
    head, fence, _ = text.removeprefix(_FENCE).partition(f"\n{_FENCE}")
    if not text.startswith(_FENCE) or not fence:
        raise ValueProblem(
            "No front matter",
            f'"{path}" must start with YAML front matter between two "---" lines.',
        )
    front_matter = _read(head, path)
    for name in _DESCRIBED_BY:
        if not isinstance(front_matter.get(name), str) or not front_matter[name].strip():
            raise ValueProblem(
                f'Missing "{name}"', f'The front matter of "{path}" must have a {name}.'
            )
    return {name: front_matter[name] for name in _DESCRIBED_BY}


def _read(head: str, path: str) -> Mapping[str, Any]:
    problems = Problems()
    documents = load_documents(head, path, problems)
    diagnostics = problems.in_reading_order()
    if diagnostics:
        # Without its position, which is within the front matter.
        first = diagnostics[0]
        raise ValueProblem(first.summary, f'"{path}": {first.detail}')
    # Anything but one map lacks the name, and the caller reports that.
    if len(documents) != 1 or not isinstance(documents[0].value, Mapping):
        return {}
    return documents[0].value
