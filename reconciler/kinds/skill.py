"""Skills: folders of instructions and scripts that agents and containers can use.

A skill is made of versions that never change. Other content is another version, which then counts; the skill and its id
stay. Old versions stay too, since something may have named one. Name and description are those in SKILL.md.
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
    doc="A folder of instructions and scripts. A change uploads a new version and lets that one count.",
    scope=ScopeType.PROJECT_KEY,
    collection="/skills",
    natural_key=("name",),
    identify=_identify,
    destroys="all its versions go with it",
    fields=(
        Field(
            "files",
            BundleType(entry=_ENTRY, version="default_version", max_files=500, max_bytes=50 * 1024 * 1024),
            "The folder, as globs (`path`, `ignore`). One folder in them has a SKILL.md, which says `name` and "
            "`description` in its front matter, and all other files are below that folder.",
            required=True,
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
