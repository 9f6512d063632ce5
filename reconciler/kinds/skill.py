"""Skills: folders of instructions and scripts for agents and containers.

A skill consists of immutable versions. Changed content becomes a new version, which is made the
default; the skill keeps its id. Old versions are kept because something may refer to them. Name and
description come from SKILL.md.
"""

from __future__ import annotations

from reconciler.model.kind import KEEP, Field, Kind, ScopeType
from reconciler.model.types import BundleType
from reconciler.model.values import FileSet, Spec

_ENTRY = "SKILL.md"


def _identify(spec: Spec) -> Spec:
    files = spec.get("files")
    if not isinstance(files, FileSet):
        return {"name": spec.get("name")}
    entry = next((member.attributes for member in files.members if member.key == _ENTRY), None)
    return {"name": (entry or {}).get("name")}


KIND = Kind(
    name="Skill",
    doc="A folder of instructions and scripts. A change uploads a new version and makes it the default.",
    scope=ScopeType.PROJECT_KEY,
    collection="/skills",
    # Skills have no metadata for a mark.
    natural_key=("name",),
    # The API reads the name from the front matter of the entry file.
    identify=_identify,
    destroys="all its versions are deleted",
    fields=(
        Field(
            "files",
            BundleType(
                entry=_ENTRY, version="default_version", max_files=500, max_bytes=50 * 1024 * 1024
            ),
            "The folder, as globs (`path`, `ignore`). They must match exactly one SKILL.md, with "
            "`name` and `description` in its front matter; all other files must be in or below "
            "its folder.",
            required=True,
            # A skill always has a version, so it cannot be cleared.
            reset=KEEP,
        ),
    ),
    example="""\
kind: Skill
metadata:
  name: greeting
spec:
  files:
    - path: skills/greeting/**
""",
)
