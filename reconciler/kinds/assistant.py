"""Assistants: a model with instructions and tools, called through threads and runs.

The live platform has retired them; servers that still have the endpoints are served in full. Every field can be
changed in place, lists are replaced as a whole, and null takes a field back to its default.
"""

from __future__ import annotations

from reconciler.kinds.parts import EFFORTS, EMPTY_PARAMETERS, JSON_SCHEMA_FORMAT, NAME_64, RANKING, metadata
from reconciler.model.kind import Field, Kind, Readable, Retirement, ScopeType
from reconciler.model.types import Boolean, Either, Integer, Json, ListOf, Number, Object, Property, Tagged, Text

FUNCTION = Object(
    (
        Property("name", NAME_64, "The name the model calls.", required=True),
        Property("description", Text(), "When and how to call it.", default=""),
        Property("parameters", Json(empty=EMPTY_PARAMETERS), "The arguments, as JSON Schema."),
        Property("strict", Boolean(), "Whether arguments must follow the schema exactly.", default=False),
    )
)

FILE_SEARCH = Object(
    (
        Property("max_num_results", Integer(1, 50), "The most results of a search."),
        Property(
            "ranking_options",
            RANKING,
            "How results are ranked.",
            default={"ranker": "default_2024_08_21", "score_threshold": 0},
        ),
    )
)

TOOL = Tagged(
    {
        "code_interpreter": Object(()),
        "file_search": Object(
            (
                Property(
                    "file_search",
                    FILE_SEARCH,
                    "Settings of the search.",
                    default={"ranking_options": {"ranker": "default_2024_08_21", "score_threshold": 0}},
                ),
            )
        ),
        "function": Object((Property("function", FUNCTION, "The function.", required=True),)),
    }
)

TOOL_RESOURCES = Object(
    (
        Property(
            "code_interpreter",
            Object((Property("file_ids", ListOf(Text(), max_items=20, unordered=True), "Ids of files.", default=[]),)),
            "Files for the code interpreter.",
            default={"file_ids": []},
        ),
        Property(
            "file_search",
            Object((Property("vector_store_ids", ListOf(Text(), max_items=1), "The id of one store.", default=[]),)),
            "The vector store for file search.",
            default={"vector_store_ids": []},
        ),
    )
)

KIND = Kind(
    name="Assistant",
    doc="A model with instructions, tools and the files they use.",
    scope=ScopeType.PROJECT_KEY,
    collection="/assistants",
    natural_key=("name",),
    mark="metadata",
    beta="assistants=v2",
    retirement=Retirement(
        since="2026-08-26",
        successor="Agent",
        sentence="The live platform retired assistants on 2026-08-26: use kind Agent there, and Assistant on servers "
        "that still have the /assistants endpoints.",
    ),
    fields=(
        Field("model", Text(min_length=1), "The model's id.", required=True),
        Field("name", Text(max_length=256), "The name people see.", default=None, nullable=True),
        Field("description", Text(max_length=512), "What it is for.", default=None, nullable=True),
        Field(
            "instructions",
            Text(max_length=256_000, multiline=True),
            "The system instructions.",
            default=None,
            nullable=True,
        ),
        Field("tools", ListOf(TOOL, max_items=128), "What it may call; replaced as a whole.", default=[], reset=[]),
        Field(
            "tool_resources",
            TOOL_RESOURCES,
            "The files and stores its tools use.",
            default={},
            nullable=True,
            merged=True,
        ),
        Field("metadata", metadata(), "Up to 16 pairs; one of them is our mark.", default={}, nullable=True),
        Field("temperature", Number(0, 2), "Sampling temperature.", default=1, nullable=True),
        Field("top_p", Number(0, 1), "Nucleus sampling.", default=1, nullable=True),
        Field(
            "response_format",
            Either(
                Text(choices=("auto",)),
                Tagged(
                    {
                        "text": Object(()),
                        "json_object": Object(()),
                        "json_schema": Object(
                            (Property("json_schema", JSON_SCHEMA_FORMAT, "The schema.", required=True),)
                        ),
                    }
                ),
            ),
            "The form of its answers.",
            default="auto",
            nullable=True,
        ),
        Field(
            "reasoning_effort",
            Text(choices=EFFORTS),
            "How much a reasoning model thinks. Not every server shows it again, and drift is invisible on those.",
            default=None,
            nullable=True,
            readable=Readable.SOMETIMES,
        ),
    ),
    example="""\
kind: Assistant
metadata:
  name: support-bot
spec:
  name: Support bot
  model: gpt-4.1
  instructions: Answer politely and briefly.
  tools: [{type: code_interpreter}]
""",
)
