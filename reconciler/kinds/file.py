"""Files: uploaded bytes with a purpose.

Nothing about a file can be changed, and the API tells neither a digest nor, for most purposes, the bytes. The state
remembers the digest of what was uploaded; without it a file is recognised by name, purpose and size.
"""

from __future__ import annotations

from reconciler.model.kind import Field, Kind, Mutability, Readable, ScopeType
from reconciler.model.types import Integer, LocalFileType, Object, Property, Text
from reconciler.model.values import LocalFile, Spec

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")


def _complete(spec: Spec) -> Spec:
    path = spec.get("path")
    if spec.get("filename") is None and isinstance(path, LocalFile):
        return {**spec, "filename": path.path.rpartition("/")[2]}
    return spec


def _identify(spec: Spec) -> Spec:
    path = spec.get("path")
    size = path.size if isinstance(path, LocalFile) else spec.get("bytes")
    return {"filename": spec.get("filename"), "purpose": spec.get("purpose"), "bytes": size}


KIND = Kind(
    name="File",
    doc="An uploaded file. Every change uploads a new one, and what refers to it follows.",
    scope=ScopeType.PROJECT_KEY,
    collection="/files",
    natural_key=("filename", "purpose", "bytes"),
    page_limit=10_000,
    create_before_destroy=True,
    destroys="the uploaded file is deleted and leaves every vector store",
    fill_defaults=_complete,
    identify=_identify,
    fields=(
        Field(
            "path",
            LocalFileType(),
            "The file to upload, below the stack's folder; up to 8 GB (above 512 MB it goes up in parts).",
            required=True,
            readable=Readable.NEVER,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "purpose",
            Text(choices=PURPOSES),
            "What the file is for; it decides which calls accept it.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "filename",
            # Quotes and control characters would not arrive as they are: a form has no way to spell them.
            Text(min_length=1, max_length=255, pattern=r'^[^\\"\x00-\x1f\x7f]+$'),
            "The name shown at the API, which may contain `/`. Left out, the last part of `path`.",
            mutability=Mutability.REPLACES,
        ),
        Field(
            "expires_after",
            Object(
                (
                    Property("anchor", Text(choices=("created_at",)), "From when the time counts.", required=True),
                    Property("seconds", Integer(3_600, 2_592_000), "An hour to thirty days.", required=True),
                )
            ),
            "When the API deletes the file by itself. An expired file is uploaded again by the next apply.",
            readable=Readable.NEVER,
            mutability=Mutability.REPLACES,
        ),
    ),
    example="""\
kind: File
metadata:
  name: price-list
spec:
  path: data/price-list.md
  purpose: assistants
""",
)
