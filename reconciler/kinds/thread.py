"""Threads: what an assistant's runs talk in. The live platform has retired them together with assistants.

The API has no list of threads, so one is known by the id in the state alone. What is said in it are its messages.
"""

from __future__ import annotations

from reconciler.kinds.assistant import TOOL_RESOURCES
from reconciler.kinds.parts import metadata
from reconciler.model.calls import Calls
from reconciler.model.kind import Field, Kind, Retirement, ScopeType

RETIREMENT = Retirement(
    since="2026-08-26",
    successor="Conversation",
    sentence="The live platform retired threads and their messages on 2026-08-26, with assistants: use kind "
    "Conversation there, and Thread and Message on servers that still have the /threads endpoints.",
    probe="/assistants",
)

KIND = Kind(
    name="Thread",
    doc="A thread that an assistant's runs talk in. The API cannot list them: without the state it is lost.",
    scope=ScopeType.PROJECT_KEY,
    collection="/threads",
    natural_key=(),
    calls=Calls(listable=False),
    mark="metadata",
    beta="assistants=v2",
    retirement=RETIREMENT,
    destroys="its messages and runs go with it",
    fields=(
        Field(
            "tool_resources",
            TOOL_RESOURCES,
            "The files and stores that the assistant's tools use in this thread. Files that are attached to a message "
            "join them: set either.",
            default={},
            nullable=True,
            merged=True,
        ),
        Field("metadata", metadata(), "Up to 16 pairs; one of them is our mark.", default={}, nullable=True),
    ),
    example="""\
kind: Thread
metadata:
  name: rehearsal
spec:
  metadata: {team: cx}
""",
)
