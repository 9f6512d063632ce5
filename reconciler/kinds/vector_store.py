"""Vector stores: searchable collections of files, kept in step with a folder.

Each file that we attach carries the digest and the relative path of its source in its attributes, so a folder can be
compared with a store without any state of ours. A file that fails to index is reported, not uploaded again and again.
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
"""The files that a store can read. The API refuses others when they are attached."""

KIND = Kind(
    name="VectorStore",
    doc="A collection of files that the `file_search` tool searches.",
    scope=ScopeType.PROJECT_KEY,
    collection="/vector_stores",
    natural_key=("name",),
    mark="metadata",
    beta="assistants=v2",
    terminal_states={("status", "expired"): TerminalState.REPLACE},
    destroys="its index is deleted and has to be built again",
    fields=(
        Field("name", Text(), "The name people see.", default="", nullable=True),
        Field(
            "description",
            Text(),
            "What the store is for. The API takes it at creation, does not always show it, and cannot change it.",
            mutability=Mutability.FIXED,
            readable=Readable.SOMETIMES,
        ),
        Field(
            "expires_after",
            Object(
                (
                    Property("anchor", Text(choices=("last_active_at",)), "From when the time counts.", required=True),
                    Property("days", Integer(1, 365), "Days without use.", required=True),
                )
            ),
            "When an unused store expires. An expired store is replaced by the next apply.",
            default=None,
            nullable=True,
            losses=(
                LossRule(
                    When.FALLS,
                    Lost.DATA,
                    "makes the store expire after {after} days without use, not {before}",
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
            "What the store holds: folder globs (`path`, `ignore`) and uploaded files (`file_id`), each with "
            "`attributes` and a `chunking_strategy`. Set, it is the whole content: what else is attached is detached, "
            "and deleted if we uploaded it. No longer set, the content stays as it is.",
            reset=KEEP,
        ),
        Field("metadata", metadata(), "Up to 16 pairs; one of them is our mark.", default={}, nullable=True),
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
