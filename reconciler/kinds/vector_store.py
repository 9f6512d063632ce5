"""Vector stores: searchable collections of files, synchronized with a folder.

Each attached file carries the digest and the relative path of its source in its attributes, so a
folder can be compared with a store without state. A file that fails to index is reported, not
uploaded repeatedly.
"""

from __future__ import annotations

from reconciler.kinds.parts import CHUNKING, attributes, metadata
from reconciler.model.destruction import EVERYTHING, LossRule, Lost, When
from reconciler.model.kind import KEEP, Field, Kind, Mutability, Readable, ScopeType, TerminalState
from reconciler.model.types import FileSetType, Integer, Object, Property, Text

# fmt: off
EXTENSIONS = frozenset({
    ".c", ".cpp", ".cs", ".css", ".doc", ".docx", ".go", ".html", ".java", ".js", ".json", ".md", ".pdf", ".php",
    ".pptx", ".py", ".rb", ".sh", ".tex", ".ts", ".txt",
})
# fmt: on
"""The file types that a store can index. The API rejects others when they are attached."""

KIND = Kind(
    name="VectorStore",
    doc="A collection of files that the `file_search` tool searches.",
    scope=ScopeType.PROJECT_KEY,
    collection="/vector_stores",
    # Names are not unique: several stores can share one.
    natural_key=("name",),
    mark="metadata",
    beta="assistants=v2",
    # `expires_at` moves with every use, so only the status tells whether a store has expired.
    terminal_states={("status", "expired"): TerminalState.REPLACE},
    destroys="its index is deleted and must be rebuilt",
    fields=(
        # Answers contain null or an empty name for a store without one.
        Field("name", Text(), "The display name.", default="", nullable=True),
        Field(
            "description",
            Text(),
            "A description of the store.",
            # The modify call does not accept the description.
            mutability=Mutability.FIXED,
            readable=Readable.SOMETIMES,
        ),
        Field(
            "expires_after",
            Object(
                (
                    Property(
                        "anchor",
                        Text(choices=("last_active_at",)),
                        "The event that starts the timer.",
                        required=True,
                    ),
                    Property("days", Integer(1, 365), "Days of inactivity.", required=True),
                )
            ),
            "When an unused store expires. The next apply replaces an expired store.",
            default=None,
            nullable=True,
            losses=(
                LossRule(
                    When.FALLS,
                    Lost.DATA,
                    "makes the store expire after {after} days of inactivity instead of {before}",
                    at=("days",),
                    unset=EVERYTHING,
                ),
            ),
        ),
        Field(
            "files",
            FileSetType(
                attributes=attributes(reserved=2),
                chunking_strategy=CHUNKING,
                extensions=EXTENSIONS,
                max_bytes=512 * 1024 * 1024,
            ),
            "The files in the store: folder globs (`path`, `ignore`) and uploaded files "
            "(`file_id`), each with `attributes` and a `chunking_strategy`. The list is complete: "
            "other attached files are detached, and deleted if reconciler uploaded them. Removing "
            "the field leaves the content unchanged.",
            # Answers never contain the files. They are listed by calls of their own, and
            # `chunking_strategy: auto` comes back as the static sizes.
            reset=KEEP,
        ),
        Field(
            "metadata",
            metadata(),
            "Up to 16 key-value pairs; reconciler uses one for its ownership mark.",
            default={},
            nullable=True,
        ),
    ),
    example="""\
kind: VectorStore
metadata:
  name: handbook
spec:
  name: Handbook
  expires_after: {anchor: last_active_at, days: 30}
  files:
    - path: handbook/**/*.md
      attributes: {team: cx}
""",
)
