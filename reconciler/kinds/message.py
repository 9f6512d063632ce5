"""Messages in a thread. The live platform retired them together with assistants.

The API returns a string as a list of one part, so the two forms compare as equal. Only metadata can
be changed: changing the content creates another message at the end of the thread.
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

_DETAIL = Property(
    "detail",
    Text(choices=("auto", "low", "high")),
    "The level of detail at which the model sees the image.",
    default="auto",
)
_FILE_ID = Property("file_id", Text(min_length=1), "The file id.", required=True)


def _image(source: Property) -> Object:
    return Object((source, _DETAIL))


_PART = Tagged(
    {
        "text": Object(
            (
                Property(
                    "text", Text(min_length=1, multiline=True, inside="value"), "The text.", True
                ),
            )
        ),
        "image_file": Object(
            (Property("image_file", _image(_FILE_ID), "An uploaded image.", True),)
        ),
        "image_url": Object(
            (
                Property(
                    "image_url",
                    _image(
                        Property(
                            "url",
                            Text(pattern=r"^https?://\S+$"),
                            "The URL of the image.",
                            required=True,
                        )
                    ),
                    "An image on the web.",
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
    says = None
    if known:
        says = json.dumps(canonical(CONTENT, content), ensure_ascii=False, sort_keys=True)
    return {"thread_id": spec.get("thread_id"), "role": spec.get("role"), "says": says}


def _fixed(name: str, type: Any, doc: str, **rest: Any) -> Field:
    return Field(name, type, doc, mutability=Mutability.REPLACES, **rest)


KIND = Kind(
    name="Message",
    doc="A message in a thread. Messages are created in parallel; to order two, refer to the "
    "first in the metadata of the second.",
    scope=ScopeType.PROJECT_KEY,
    collection="/threads/{thread_id}/messages",
    # A thread can contain the same text twice; an adoption then needs the id.
    natural_key=("thread_id", "role", "content"),
    mark="metadata",
    beta="assistants=v2",
    retirement=RETIREMENT,
    destroys="later runs no longer read it",
    identify=_identify,
    fields=(
        _fixed("thread_id", Text(min_length=1), "The thread.", required=True),
        _fixed(
            "role", Text(choices=("user", "assistant")), "The author of the message.", required=True
        ),
        _fixed(
            "content",
            CONTENT,
            "The content: a string, or a list of texts and images.",
            required=True,
        ),
        _fixed(
            "attachments",
            ListOf(
                Object(
                    (
                        _FILE_ID,
                        Property(
                            "tools",
                            ListOf(
                                Tagged({"code_interpreter": Object(()), "file_search": Object(())}),
                                unordered=True,
                            ),
                            "The tools that may use the file.",
                            required=True,
                        ),
                    )
                )
            ),
            "Attached files, each with the tools that may use it.",
            default=[],
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
kind: Message
metadata:
  name: first-question
spec:
  thread_id: ${Thread/rehearsal}
  role: user
  content: Where is my parcel?
""",
)
