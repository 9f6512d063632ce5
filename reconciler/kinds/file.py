"""Files: uploaded content with a purpose.

A file cannot be changed, and the API returns neither a digest nor, for most purposes, the content.
The state records the digest of the uploaded content; without it, a file is identified by name,
purpose and size.
"""

from __future__ import annotations

from reconciler.kinds.parts import FILE_EXPIRY
from reconciler.model.kind import Field, Kind, Mutability, Readable, ScopeType
from reconciler.model.types import LocalFileType, Text
from reconciler.model.values import LocalFile, Spec

# The purposes that uploads accept. Results of jobs have others, which only the API assigns.
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
    doc="An uploaded file. Any change uploads a new file and updates the resources that refer to it.",
    scope=ScopeType.PROJECT_KEY,
    collection="/files",
    # The API shows no digest, and for most purposes refuses to return the content.
    natural_key=("filename", "purpose", "bytes"),
    # Unlike other lists, that of files accepts pages of up to 10,000.
    page_limit=10_000,
    # Dependents switch to the new id first. Deleting the old file before would break them in
    # between.
    create_before_destroy=True,
    destroys="the file is deleted and removed from every vector store",
    fill_defaults=_complete,
    identify=_identify,
    fields=(
        Field(
            "path",
            LocalFileType(),
            "The file to upload, in the stack's folder; up to 8 GB (files above 512 MB are uploaded in parts).",
            required=True,
            readable=Readable.NEVER,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "purpose",
            Text(choices=PURPOSES),
            "The purpose of the file, which determines the API calls that accept it.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "filename",
            # A multipart form cannot represent quotes and control characters in a file name.
            Text(min_length=1, max_length=255, pattern=r'^[^\\"\x00-\x1f\x7f]+$'),
            "The name at the API, which may contain `/`. Defaults to the last part of `path`.",
            mutability=Mutability.REPLACES,
        ),
        Field(
            "expires_after",
            FILE_EXPIRY,
            "When the API deletes the file automatically. The next apply uploads an expired file again.",
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
