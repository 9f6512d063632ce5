"""Messages: what is said in a thread. The live platform has retired them together with assistants.

A text reads back as a list of one part, so both spellings are one here. Only metadata can be changed: another content
is another message, and comes last in its thread.
"""

from __future__ import annotations

import json
from typing import Any

from reconciler.kinds.parts import metadata
from reconciler.kinds.thread import RETIREMENT
from reconciler.model.comparing import canonical
from reconciler.model.kind import Field, Kind, Mutability, ScopeType
from reconciler.model.types import Either, ListOf, Object, Property, Tagged, Text
from reconciler.model.values import Spec, has_unknown

_DETAIL = Property("detail", Text(choices=("auto", "low", "high")), "How closely it is looked at.", default="auto")
_FILE_ID = Property("file_id", Text(min_length=1), "The file.", required=True)


def _image(source: Property) -> Object:
    return Object((source, _DETAIL))


_PART = Tagged(
    {
        "text": Object((Property("text", Text(min_length=1, multiline=True, inside="value"), "The text.", True),)),
        "image_file": Object((Property("image_file", _image(_FILE_ID), "An uploaded image.", True),)),
        "image_url": Object(
            (
                Property(
                    "image_url",
                    _image(Property("url", Text(pattern=r"^https?://\S+$"), "Where it is.", required=True)),
                    "An image of the web.",
                    required=True,
                ),
            )
        ),
    }
)


def _as_parts(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}]


CONTENT = Either(Text(min_length=1, multiline=True), ListOf(_PART, min_items=1), as_other=_as_parts)


def _identify(spec: Spec) -> Spec:
    content = spec.get("content")
    known = content is not None and not has_unknown(content)
    says = json.dumps(canonical(CONTENT, content), ensure_ascii=False, sort_keys=True) if known else None
    return {"thread_id": spec.get("thread_id"), "role": spec.get("role"), "says": says}


def _fixed(name: str, type: Any, doc: str, **rest: Any) -> Field:
    return Field(name, type, doc, mutability=Mutability.REPLACES, **rest)


KIND = Kind(
    name="Message",
    doc="A message in a thread. Messages are made side by side; one that names another in its metadata comes after it.",
    scope=ScopeType.PROJECT_KEY,
    collection="/threads/{thread_id}/messages",
    natural_key=("thread_id", "role", "content"),
    mark="metadata",
    beta="assistants=v2",
    retirement=RETIREMENT,
    destroys="later runs do not read it any more",
    identify=_identify,
    fields=(
        _fixed("thread_id", Text(min_length=1), "The thread.", required=True),
        _fixed("role", Text(choices=("user", "assistant")), "Who says it.", required=True),
        _fixed("content", CONTENT, "What is said: a text, or a list of texts and images.", required=True),
        _fixed(
            "attachments",
            ListOf(
                Object(
                    (
                        _FILE_ID,
                        Property(
                            "tools",
                            ListOf(Tagged({"code_interpreter": Object(()), "file_search": Object(())}), unordered=True),
                            "The tools that may use it.",
                            required=True,
                        ),
                    )
                )
            ),
            "Files that come with it, each with the tools that may use it.",
            default=[],
        ),
        Field("metadata", metadata(), "Up to 16 pairs; one of them is our mark.", default={}, nullable=True),
    ),
    example="""\
kind: Message
metadata:
  name: first-question
spec:
  thread_id: ${Thread/rehearsal}
  role: user
  content: Where is my parcel?
""",
)
