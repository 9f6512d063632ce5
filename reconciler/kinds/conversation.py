"""Conversations: stored messages that responses can continue from.

The API has no list of conversations, so the id in the state is the only way to find one. Its first
items are set at creation; reconciler does not manage later ones.
"""

from __future__ import annotations

from reconciler.kinds.parts import metadata
from reconciler.model.calls import Calls
from reconciler.model.kind import Field, Kind, Mutability, Readable, ScopeType
from reconciler.model.types import Either, ListOf, Object, Property, Tagged, Text

_FILE_ID = Property("file_id", Text(min_length=1), "The id of an uploaded file.")
_DETAIL = Property(
    "detail",
    Text(choices=("auto", "low", "high", "original")),
    "The level of detail at which the model sees the image.",
)
_PART = Tagged(
    {
        "input_text": Object((Property("text", Text(multiline=True), "The text.", required=True),)),
        "output_text": Object(
            (
                Property(
                    "text", Text(multiline=True), "The text that the model produced.", required=True
                ),
            )
        ),
        "input_image": Object(
            (
                Property("image_url", Text(min_length=1), "The URL or data URL of the image."),
                _FILE_ID,
                _DETAIL,
            )
        ),
        "input_file": Object(
            (
                _FILE_ID,
                Property("file_url", Text(min_length=1), "The URL of the file."),
                Property(
                    "file_data", Text(min_length=1), "The content of the file, as a data URL."
                ),
                Property("filename", Text(min_length=1), "The name of the file."),
                Property(
                    "detail",
                    Text(choices=("auto", "low", "high")),
                    "The level of detail at which the model sees the image.",
                ),
            )
        ),
    }
)
_CONTENT = Either(Text(multiline=True), ListOf(_PART, min_items=1))
_MESSAGE = Object(
    (
        Property("type", Text(choices=("message",)), "The type of item.", default="message"),
        Property(
            "role",
            Text(choices=("user", "assistant", "system", "developer")),
            "The author of the message.",
            required=True,
        ),
        Property("content", _CONTENT, "The content: a string or a list of parts.", required=True),
    )
)

KIND = Kind(
    name="Conversation",
    doc="A conversation that responses can continue. The API cannot list conversations, so losing "
    "the state loses track of it.",
    scope=ScopeType.PROJECT_KEY,
    collection="/conversations",
    # Conversations can be equal in every field, and nothing lists them.
    natural_key=(),
    calls=Calls(listable=False),
    mark="metadata",
    destroys="responses can no longer continue the conversation",
    fields=(
        Field(
            "items",
            # The create call takes at most 20 items.
            ListOf(_MESSAGE, max_items=20),
            "The initial items.",
            default=[],
            # A replacement for other first items would lose everything that was said since.
            mutability=Mutability.FIXED,
            readable=Readable.NEVER,
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
kind: Conversation
metadata:
  name: welcome
spec:
  items:
    - {role: developer, content: Answer in one sentence.}
  metadata: {team: cx}
""",
)
