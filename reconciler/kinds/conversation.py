"""Conversations: what was said, kept for responses to go on from.

The API has no list of conversations, so one is known by the id in the state alone. Its first items are set when it is
made; what is said later is not ours to manage.
"""

from __future__ import annotations

from reconciler.kinds.parts import metadata
from reconciler.model.calls import Calls
from reconciler.model.kind import Field, Kind, Mutability, Readable, ScopeType
from reconciler.model.types import Either, ListOf, Object, Property, Tagged, Text

_FILE_ID = Property("file_id", Text(min_length=1), "The id of an uploaded file.")
_DETAIL = Property("detail", Text(choices=("auto", "low", "high", "original")), "How closely it is looked at.")
_PART = Tagged(
    {
        "input_text": Object((Property("text", Text(multiline=True), "The text.", required=True),)),
        "output_text": Object((Property("text", Text(multiline=True), "What the model said.", required=True),)),
        "input_image": Object(
            (Property("image_url", Text(min_length=1), "Its address or data URL."), _FILE_ID, _DETAIL)
        ),
        "input_file": Object(
            (
                _FILE_ID,
                Property("file_url", Text(min_length=1), "The address of the file."),
                Property("file_data", Text(min_length=1), "The content of the file, as a data URL."),
                Property("filename", Text(min_length=1), "The name of the file."),
                Property("detail", Text(choices=("auto", "low", "high")), "How closely it is looked at."),
            )
        ),
    }
)
_CONTENT = Either(Text(multiline=True), ListOf(_PART, min_items=1))
_MESSAGE = Object(
    (
        Property("type", Text(choices=("message",)), "What sort of item it is.", default="message"),
        Property("role", Text(choices=("user", "assistant", "system", "developer")), "Who says it.", required=True),
        Property("content", _CONTENT, "What is said: a text, or a list of parts.", required=True),
    )
)

KIND = Kind(
    name="Conversation",
    doc="A conversation that responses can go on from. The API cannot list them: without the state it is lost.",
    scope=ScopeType.PROJECT_KEY,
    collection="/conversations",
    natural_key=(),
    calls=Calls(listable=False),
    mark="metadata",
    destroys="what was said in it cannot be gone on from",
    fields=(
        Field(
            "items",
            ListOf(_MESSAGE, max_items=20),
            "What is said at the beginning. It can only be set at creation.",
            default=[],
            mutability=Mutability.FIXED,
            readable=Readable.NEVER,
        ),
        Field("metadata", metadata(), "Up to 16 pairs; one of them is our mark.", default={}, nullable=True),
    ),
    example="""\
kind: Conversation
metadata:
  name: welcome
spec:
  items:
    - {role: developer, content: Answer in one sentence.}
  metadata: {team: cx}
""",
)
