"""Threads: conversations of an assistant's runs. The live platform retired them together with
assistants.

The API has no list of threads, so the id in the state is the only way to find one. Kind `Message`
declares its messages.
"""

from __future__ import annotations

from reconciler.kinds.assistant import TOOL_RESOURCES
from reconciler.kinds.parts import metadata
from reconciler.model.calls import Calls
from reconciler.model.kind import Field, Kind, Retirement, ScopeType

RETIREMENT = Retirement(
    since="2026-08-26",
    successor="Conversation",
    sentence="The live platform retired threads and their messages on 2026-08-26, together with "
    "assistants. Use kind Conversation there; kinds Thread and Message work only on servers "
    "that still have the /threads endpoints.",
    # Threads cannot be listed, so the list that was retired with them shows whether they exist.
    probe="/assistants",
)

KIND = Kind(
    name="Thread",
    doc="A conversation of an assistant's runs. The API cannot list threads, so losing the state loses track of it.",
    scope=ScopeType.PROJECT_KEY,
    collection="/threads",
    # Threads can be equal in every field, and nothing lists them.
    natural_key=(),
    calls=Calls(listable=False),
    mark="metadata",
    beta="assistants=v2",
    retirement=RETIREMENT,
    destroys="its messages and runs are deleted",
    fields=(
        Field(
            "tool_resources",
            TOOL_RESOURCES,
            "The files and vector stores that the assistant's tools use in this thread. The API "
            "adds files attached to messages, so set either this or attachments.",
            default={},
            nullable=True,
            # An update keeps the parts that it was not sent.
            merged=True,
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
kind: Thread
metadata:
  name: rehearsal
spec:
  metadata: {team: cx}
""",
)
